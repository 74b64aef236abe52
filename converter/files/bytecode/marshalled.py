"""A code object as `marshal` writes it, of Python 2.7 and 3.4 to 3.13, read as plain data.

Sources: CPython 2.7, 3.7, 3.9, 3.11 and 3.13 `Python/marshal.c`, r_object.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

MAX_DEPTH = 16
"""Objects within each other; code that is understood has 3."""

MAX_DIGITS = 20
"""Digits, of 15 bits each, of a whole number."""


class CodeError(Exception):
    """Bytecode that is damaged, or does what is not understood; the text says what."""

    def __init__(self, words: str, place: int = 0) -> None:
        super().__init__(words)
        self.place = place
        """The byte of the instructions that it is about."""


Layout = Literal["2", "3.4", "3.8", "3.11"]
"""How a code object is written: by Python 2.7, or from that Python 3 on."""

LAYOUTS: tuple[Layout, ...] = ("2", "3.4", "3.8", "3.11")

NUMBERS: dict[Layout, tuple[str, ...]] = {
    "2": ("positional", "locals", "stack", "flags"),
    "3.4": ("positional", "keyword", "locals", "stack", "flags"),
    "3.8": ("positional", "before", "keyword", "locals", "stack", "flags"),
    "3.11": ("positional", "before", "keyword", "stack", "flags"),
}
"""The whole numbers that a code object begins with."""

OLD = ("code", "constants", "names", "variables", "free", "cells", "file", "name")
OBJECTS: dict[Layout, tuple[str, ...]] = {
    "2": OLD,
    "3.4": OLD,
    "3.8": OLD,
    "3.11": ("code", "constants", "names", "variables", "kinds", "file", "name", "qualified"),
}
"""The objects that follow them, before the number of the first line."""

LOCAL, CELL, FREE = 0x20, 0x40, 0x80
"""What a variable is, from Python 3.11 on (`Include/internal/pycore_code.h`, CO_FAST_LOCAL)."""


@dataclass(frozen=True, slots=True)
class Code:
    """A code object. `parameters` are the names of its arguments, `keyword` how many more take a
    keyword alone; `free` the names of the variables that it has from around it."""

    layout: Layout
    parameters: tuple[str, ...]
    keyword: int
    flags: int
    code: bytes
    constants: tuple[Any, ...]
    names: tuple[str, ...]
    variables: tuple[str, ...]
    """Its local variables; from Python 3.11 on those that it has from around it too."""
    cells: tuple[str, ...]
    free: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unread:
    """A constant of a kind that nothing is made of: a complex number, a list, a set."""

    kind: str


def read_code(data: bytes) -> list[Code]:
    """The code object in `data`, in each layout that reads all of it. Raises CodeError if none
    does, in the words of the one that came furthest."""
    found: list[Code] = []
    worst = (-1, "it is empty")
    for layout in LAYOUTS:
        reader = _Reader(data, layout)
        try:
            found.append(reader.all())
        except CodeError as error:
            worst = max(worst, (reader.place, str(error)))
    if not found:
        raise CodeError(worst[1])
    return found


class _Missing:
    """What a reference means while its object is being read."""


class _Reader:
    """Reads from front to back. Nothing is allocated by a size that the data states: every object
    takes a byte at least, and the data is bounded by who calls."""

    def __init__(self, data: bytes, layout: Layout) -> None:
        self.data = data
        self.layout = layout
        self.place = 0
        self.depth = 0
        self.known: list[Any] = []
        self.strings: list[str] = []

    def all(self) -> Code:
        code = self.object()
        if not isinstance(code, Code):
            raise CodeError("it is no code object")
        if self.place != len(self.data):
            raise CodeError(f"{len(self.data) - self.place} bytes follow its end")
        return code

    def take(self, count: int) -> bytes:
        if count < 0 or count > len(self.data) - self.place:
            raise CodeError("it ends early")
        self.place += count
        return self.data[self.place - count : self.place]

    def number(self, form: str = "<i") -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def object(self) -> Any:
        """The next object; one that is flagged may be referred to later, by its number."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise CodeError("it is nested too deeply")
        byte = self.number("<B")
        flag, kind = byte & 0x80, chr(byte & 0x7F)
        if flag and self.layout == "2":
            raise CodeError("it is not of Python 2")
        number = len(self.known)
        if flag:
            self.known.append(_Missing)
        found = self.of_kind(kind)
        if flag:
            self.known[number] = found
        self.depth -= 1
        return found

    def of_kind(self, kind: str) -> Any:
        if kind in SINGLE:
            return SINGLE[kind]
        if kind in "()[<>":
            return self.several(kind)
        if kind in READERS:
            return READERS[kind](self)
        raise CodeError(f"it holds an object of the kind {kind!r}")

    def several(self, kind: str) -> Any:
        count = self.number("<B") if kind == ")" else self.number()
        if not 0 <= count <= len(self.data) - self.place:
            raise CodeError("it ends early")
        items = tuple(self.object() for _ in range(count))
        return items if kind in "()" else Unread("a list or a set")

    def long(self) -> int:
        """A whole number in digits of 15 bits, its sign that of their count."""
        count = self.number()
        if abs(count) > MAX_DIGITS:
            raise CodeError(f"it holds a whole number of {abs(count)} digits")
        value = sum(int(self.number("<H")) << (15 * place) for place in range(abs(count)))
        return value if count >= 0 else -value

    def float_text(self) -> float:
        try:
            return float(self.take(self.number("<B")))
        except ValueError:
            raise CodeError("it holds a number that is none") from None

    def complex(self) -> Unread:
        self.take(16)
        return Unread("a complex number")

    def raw(self) -> bytes:
        """Bytes, and Python 2's text."""
        return self.take(self.number())

    def interned(self) -> str:
        """Python 2's names, which are referred to later, and Python 3's text beyond ASCII."""
        data = self.take(self.number())
        if self.layout != "2":
            return _utf8(data)
        text = data.decode("latin-1")
        self.strings.append(text)
        return text

    def reference(self) -> Any:
        number = self.number()
        if not 0 <= number < len(self.known) or self.known[number] is _Missing:
            raise CodeError("it refers to what is not there")
        return self.known[number]

    def interned_reference(self) -> str:
        number: int = self.number()
        if not 0 <= number < len(self.strings):
            raise CodeError("it refers to what is not there")
        return self.strings[number]

    def code(self) -> Code:
        numbers = {name: self.number() for name in NUMBERS[self.layout]}
        objects = {name: self.object() for name in OBJECTS[self.layout]}
        self.number()  # of the first line
        for _ in range(2 if self.layout == "3.11" else 1):
            self.object()  # which instruction is of which line, and where exceptions are met
        if not isinstance(objects["code"], bytes):
            raise CodeError("its instructions are no bytes")
        texts = {name: _texts(objects[name]) for name in ("names", "variables")}
        constants, count = objects["constants"], numbers["positional"]
        variables = texts["variables"]
        if not isinstance(constants, tuple) or not 0 <= count <= len(variables):
            raise CodeError("its arguments are not among its variables")
        if numbers.get("before", 0) > 1:
            raise CodeError("it takes arguments that have no names")
        if self.layout == "3.11":
            cells, free = _by_kind(variables, objects["kinds"])
        else:
            cells, free = _texts(objects["cells"]), _texts(objects["free"])
        return Code(
            self.layout,
            variables[:count],
            numbers.get("keyword", 0),
            numbers["flags"],
            objects["code"],
            constants,
            texts["names"],
            variables,
            cells,
            free,
        )


SINGLE: dict[str, Any] = {"N": None, "T": True, "F": False, ".": ...}

READERS: dict[str, Callable[[_Reader], Any]] = {
    "c": _Reader.code,
    "i": _Reader.number,
    "I": lambda reader: reader.number("<q"),
    "l": _Reader.long,
    "g": lambda reader: reader.number("<d"),
    "f": _Reader.float_text,
    "y": _Reader.complex,
    "s": _Reader.raw,
    "t": _Reader.interned,
    "u": lambda reader: _utf8(reader.take(reader.number())),
    "a": lambda reader: _ascii(reader.take(reader.number())),
    "A": lambda reader: _ascii(reader.take(reader.number())),
    "z": lambda reader: _ascii(reader.take(reader.number("<B"))),
    "Z": lambda reader: _ascii(reader.take(reader.number("<B"))),
    "r": _Reader.reference,
    "R": _Reader.interned_reference,
}


def _utf8(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")


def _ascii(data: bytes) -> str:
    return data.decode("latin-1")


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, tuple) or not all(isinstance(one, str) for one in value):
        raise CodeError("its names are no text")
    return value


def _by_kind(variables: tuple[str, ...], kinds: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(cells, free variables) of Python 3.11 and later."""
    if not isinstance(kinds, bytes) or len(kinds) != len(variables):
        raise CodeError("its variables are not told apart")
    pairs = list(zip(variables, kinds, strict=True))
    return (
        tuple(name for name, kind in pairs if kind & CELL),
        tuple(name for name, kind in pairs if kind & FREE),
    )
