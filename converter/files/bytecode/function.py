"""Straight code → the expression that it returns, by following what it puts on Python's stack."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from converter.files.bytecode.expressions import (
    MAX_DEPTH,
    MAX_SIZE,
    Argument,
    Attribute,
    Called,
    Constant,
    Either,
    Expression,
    Item,
    Listed,
    Named,
    Negated,
    Operated,
    Part,
    Unpacked,
    parts,
)
from converter.files.bytecode.instructions import OPERATORS, PYTHONS, Python, Step, instructions
from converter.files.bytecode.marshalled import Code, CodeError, read_code

MAX_TEXT = 2**16
"""Characters of a function in a configuration."""

MAX_STACK = 64

MAX_PATHS = 4

JUMPS = ("POP_JUMP_IF_FALSE", "POP_JUMP_IF_TRUE")

MAX_NESTED = 4
"""Tuples within each other, in a constant."""

PLAIN = 0x1 | 0x2 | 0x10 | 0x40
"""Flags that change nothing: fast locals, a scope of its own, nested, without free variables."""

FUTURE = 0x1FFE000
"""`from __future__ import …`, of every Python; and 0x4000000, that it has a docstring (3.13)."""

DOCUMENTED = 0x4000000


@dataclass(frozen=True, slots=True)
class Function:
    """What a function computes of its `parameters`; `keyword` are those that take a keyword alone,
    `free` the names of what it has from around it, in the order in which a file lists them."""

    parameters: tuple[str, ...]
    keyword: tuple[str, ...]
    free: tuple[str, ...]
    result: Expression


def read_function(text: Any) -> Function:
    """The function whose code is `text`, as Keras writes it: in base64, or, before 2.0.9, its bytes
    as characters (keras 1.2.2 and 2.3.1 `utils/generic_utils.py`, func_dump and func_load).

    Raises CodeError for anything else, for code that is not understood, and where two versions of
    Python would read it as different functions.
    """
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise CodeError("its function is no text, or a long one")
    found: list[Function] = []
    wrong: list[CodeError] = []
    for code in read_code(_bytes(text)):
        for python in PYTHONS:
            if python.layout == code.layout:
                try:
                    found.append(_Reading(code, python).function())
                except CodeError as error:
                    wrong.append(error)
    if not found:
        raise max(wrong, key=lambda error: error.place)
    if any(one != found[0] for one in found):
        raise CodeError("different versions of Python read it as different functions")
    return found[0]


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()).encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        return text.encode("raw_unicode_escape")


class _Null:
    """What Python puts beside a function that is no method."""


NULL = _Null()

Slot = Expression | _Null


class _Reading:
    """One code object, as one Python would run it."""

    def __init__(self, code: Code, python: Python) -> None:
        self.code = code
        self.python = python
        self.stack: list[Slot] = []
        self.sizes: dict[int, tuple[int, int]] = {}
        self.kept: list[Expression] = []
        self.keywords: tuple[str, ...] = ()
        self.paths = 0
        count = len(code.parameters) + code.keyword
        if code.flags & ~(PLAIN | FUTURE | DOCUMENTED):
            raise CodeError("it takes any number of arguments, or is a generator")
        if count > len(code.variables):
            raise CodeError("its arguments are not among its variables")
        self.parameters = code.variables[:count]
        self.variables: dict[str, Expression] = {one: Argument(one) for one in self.parameters}

    def function(self) -> Function:
        """What it computes. A CodeError says how far its instructions were read."""
        steps = list(instructions(self.code.code, self.python))
        try:
            return self.followed(steps)
        except CodeError as error:
            raise CodeError(str(error), len(self.code.code)) from None

    def followed(self, steps: Sequence[Step]) -> Function:
        first = [(step.name, step.argument) for step in steps[:2]]
        if self.python.finds_null and ("RESUME", 0) not in first:
            raise CodeError(f"it does not begin as code of Python {self.python.version}")
        result = self.path({step.place: step for step in steps}, 0)
        plain = len(self.code.parameters)
        return Function(self.parameters[:plain], self.parameters[plain:], self.code.free, result)

    def path(self, steps: Mapping[int, Step], place: int) -> Expression:
        """What the code gives from a place on. All jumps lead on, so that it ends."""
        while True:
            if place not in steps:
                raise CodeError("it does not end with what it gives")
            step = steps[place]
            place = step.next
            if step.name == "RETURN_VALUE":
                result = self.pop()
                if self.stack or self.keywords:
                    raise CodeError("it leaves values behind")
                return result
            if step.name in ("JUMP_FORWARD", *JUMPS):
                target = step.target(self.python)
                if target < step.next:
                    raise CodeError("it jumps back")
                if step.name in JUMPS:
                    return self.either(steps, (place, target), step.name)
                place = target
            else:
                self.step(step.name, step.argument)

    def either(self, steps: Mapping[int, Step], places: tuple[int, int], name: str) -> Expression:
        """What it gives by a condition, each way with what is there before."""
        condition = self.pop()
        self.paths += 1
        if self.paths > MAX_PATHS:
            raise CodeError("it has more branches than straight code has")
        stack, variables = [*self.stack], {**self.variables}
        found = [self.path(steps, places[0])]
        self.stack, self.variables = stack, variables
        found.append(self.path(steps, places[1]))
        if name == "POP_JUMP_IF_TRUE":
            found.reverse()
        result = Either(condition, found[0], found[1])
        self.measure(result)
        return result

    def step(self, name: str, argument: int) -> None:
        if self.keywords and name not in ("PRECALL", "CALL"):
            raise CodeError("it names arguments of no call")
        if name in ARITHMETIC:
            right, left = self.pop(), self.pop()
            self.push(Operated(ARITHMETIC[name], left, right))
        elif name.startswith("SLICE+"):
            self.slice(int(name[-1]))
        else:
            HANDLERS[name](self, argument)

    # ---- the stack

    def push(self, *values: Slot) -> None:
        for value in values:
            if not isinstance(value, _Null):
                self.measure(value)
            self.stack.append(value)
        if len(self.stack) > MAX_STACK:
            raise CodeError("it keeps too many values")

    def measure(self, value: Expression) -> None:
        """Its size, from that of its parts, which were measured when they were pushed; whatever is
        measured is kept, so that no other has its identity."""
        if id(value) in self.sizes:
            return
        size, depth = 1, 0
        for one in parts(value):
            self.measure(one)
            more, below = self.sizes[id(one)]
            size, depth = size + more, max(depth, below + 1)
        if size > MAX_SIZE or depth > MAX_DEPTH:
            raise CodeError(f"it is an expression of more than {MAX_SIZE} parts, or too deep")
        self.sizes[id(value)] = size, depth
        self.kept.append(value)

    def slot(self) -> Slot:
        if not self.stack:
            raise CodeError("it takes a value that is not there")
        return self.stack.pop()

    def pop(self) -> Expression:
        found = self.slot()
        if isinstance(found, _Null):
            raise CodeError("it takes a value that is not there")
        return found

    def several(self, count: int) -> tuple[Expression, ...]:
        if count > len(self.stack):
            raise CodeError("it takes a value that is not there")
        return tuple(reversed([self.pop() for _ in range(count)]))

    # ---- names and constants

    def name(self, number: int, names: tuple[Any, ...]) -> Any:
        if not 0 <= number < len(names):
            raise CodeError("it names what is not there")
        return names[number]

    def constant(self, number: int) -> None:
        self.push(Constant(_plain(self.name(number, self.code.constants), self.code)))

    def load(self, number: int) -> None:
        name = self.name(number, self.code.variables)
        if name not in self.variables:
            raise CodeError(f"it reads {name!r} before it is there")
        self.push(self.variables[name])

    def store(self, number: int) -> None:
        self.variables[self.name(number, self.code.variables)] = self.pop()

    def load_two(self, numbers: int) -> None:
        self.load(numbers >> 4)
        self.load(numbers & 15)

    def store_and_load(self, numbers: int) -> None:
        self.store(numbers >> 4)
        self.load(numbers & 15)

    def store_two(self, numbers: int) -> None:
        self.store(numbers >> 4)
        self.store(numbers & 15)

    def free(self, number: int) -> None:
        """A variable from around the function."""
        names = (
            self.code.variables if self.python.finds_null else (*self.code.cells, *self.code.free)
        )
        name = self.name(number, names)
        if name not in self.code.free or name in self.code.cells:
            raise CodeError("it has functions of its own")
        self.push(Argument(name, free=True))

    def copy_free(self, count: int) -> None:
        if count != len(self.code.free):
            raise CodeError("its variables are not told apart")

    def global_(self, number: int) -> None:
        is_called = self.python.finds_null and number & 1
        number = number >> 1 if self.python.finds_null else number
        named = Named(self.name(number, self.code.names), assumed=True)
        if not is_called:
            self.push(named)
        elif self.python.version == "3.13":
            self.push(named, NULL)
        else:
            self.push(NULL, named)

    def attribute(self, number: int) -> None:
        is_method = self.python.marks_methods and number & 1
        name = self.name(number >> 1 if self.python.marks_methods else number, self.code.names)
        found = _attribute(self.pop(), name)
        if not is_method:
            self.push(found)
        elif self.python.version == "3.13":
            self.push(found, NULL)
        else:
            self.push(NULL, found)

    def method(self, number: int) -> None:
        found = _attribute(self.pop(), self.name(number, self.code.names))
        self.push(NULL, found)

    def import_(self, number: int) -> None:
        """`import a` and `from a import …`: what is told is the module's own name."""
        wanted, level = self.pop(), self.pop()
        if level not in (Constant(0), Constant(-1)):
            raise CodeError("it imports from around its own module")
        path = self.name(number, self.code.names)
        is_whole = wanted != Constant(None)
        self.push(Named(path if is_whole else path.partition(".")[0], assumed=False))

    def import_from(self, number: int) -> None:
        module = self.pop()
        if not isinstance(module, Named) or module.assumed:
            raise CodeError("it imports from what is no module")
        self.push(module, _attribute(module, self.name(number, self.code.names)))

    # ---- values

    def pop_top(self, argument: int) -> None:
        self.pop()

    def swap(self, count: int) -> None:
        if count < 2 or count > len(self.stack):
            raise CodeError("it takes a value that is not there")
        self.stack[-1], self.stack[-count] = self.stack[-count], self.stack[-1]

    def nothing(self, argument: int) -> None:
        pass

    def negate(self, argument: int) -> None:
        self.push(Negated(self.pop()))

    def binary(self, number: int) -> None:
        right, left = self.pop(), self.pop()
        self.push(Operated(self.name(number, OPERATORS + OPERATORS), left, right))

    def item(self, argument: int) -> None:
        index, of = self.pop(), self.pop()
        self.push(Item(of, index))

    def part(self, count: int) -> None:
        if count not in (2, 3):
            raise CodeError("it makes a part of what is no axis")
        sides = self.several(count)
        self.push(Part(sides[0], sides[1], sides[2] if count == 3 else Constant(None)))

    def slice(self, kind: int) -> None:
        """Python 2's `x[a:b]`, each side there or not."""
        none = Constant(None)
        stop = self.pop() if kind & 2 else none
        start = self.pop() if kind & 1 else none
        self.push(Item(self.pop(), Part(start, stop, none)))

    def binary_slice(self, argument: int) -> None:
        start, stop = self.several(2)
        self.push(Item(self.pop(), Part(start, stop, Constant(None))))

    def listed(self, count: int) -> None:
        self.push(Listed(self.several(count)))

    def extend(self, place: int) -> None:
        """`[1, 2, 3]`: an empty list, and a constant tuple that it gets."""
        more, before = self.pop(), self.pop()
        is_known = isinstance(more, Constant) and isinstance(more.value, tuple)
        if place != 1 or not isinstance(before, Listed) or not is_known:
            raise CodeError("it puts lists together")
        items = more.value  # type: ignore[union-attr]
        self.push(Listed((*before.items, *map(Constant, items))))

    def unpack(self, count: int) -> None:
        of = self.pop()
        if count > MAX_STACK:
            raise CodeError("it keeps too many values")
        self.push(*(Unpacked(of, index, count) for index in reversed(range(count))))

    # ---- calls

    def push_null(self, argument: int) -> None:
        self.push(NULL)

    def name_keywords(self, number: int) -> None:
        names = self.name(number, self.code.constants)
        self.keywords = _names(names)

    def call_function(self, count: int) -> None:
        """The last arguments are pairs of a name and a value in Python before 3.6."""
        pairs, count = (count >> 8, count & 0xFF) if self.python.counts_pairs else (0, count)
        named = self.several(2 * pairs)
        given = self.several(count)
        names = _names(tuple(getattr(one, "value", None) for one in named[::2]))
        self.push(Called(self.pop(), (*given, *named[1::2]), names))

    def call_by_name(self, count: int) -> None:
        names = self.pop()
        keywords = _names(names.value if isinstance(names, Constant) else None)
        self.called(self.several(count), keywords, self.pop())

    def call_method(self, count: int) -> None:
        given = self.several(count)
        self.called(given, (), self.function_beside_null())

    def call(self, count: int) -> None:
        keywords, self.keywords = self.keywords, ()
        given = self.several(count)
        self.called(given, keywords, self.function_beside_null())

    def call_with_names(self, count: int) -> None:
        names = self.pop()
        keywords = _names(names.value if isinstance(names, Constant) else None)
        given = self.several(count)
        self.called(given, keywords, self.function_beside_null())

    def function_beside_null(self) -> Expression:
        one, other = self.slot(), self.slot()
        if isinstance(one, _Null) == isinstance(other, _Null):
            raise CodeError("it calls what is no function")
        found = other if isinstance(one, _Null) else one
        assert not isinstance(found, _Null)
        return found

    def called(
        self, given: tuple[Expression, ...], keywords: tuple[str, ...], function: Expression
    ) -> None:
        if len(keywords) > len(given):
            raise CodeError("it names arguments of no call")
        self.push(Called(function, given, keywords))


def _attribute(of: Expression, name: str) -> Expression:
    return Named(f"{of.path}.{name}", of.assumed) if isinstance(of, Named) else Attribute(of, name)


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, tuple) or not all(isinstance(one, str) for one in value):
        raise CodeError("it names arguments of no call")
    return value


def _plain(value: Any, code: Code, room: int = MAX_SIZE, depth: int = 0) -> Any:
    """A constant, if it is one of plain values; Python 2's bytes are text."""
    if value is None or value is ... or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes) and code.layout == "2" and value.isascii():
        return value.decode("ascii")
    if isinstance(value, tuple) and len(value) <= room and depth < MAX_NESTED:
        each = room // max(len(value), 1)
        return tuple(_plain(one, code, each, depth + 1) for one in value)
    kind = "a function of its own" if isinstance(value, Code) else "a value that is not plain"
    raise CodeError(f"it has {kind}")


ARITHMETIC = {
    "BINARY_ADD": "+",
    "BINARY_SUBTRACT": "-",
    "BINARY_MULTIPLY": "*",
    "BINARY_POWER": "**",
    "BINARY_DIVIDE": "classic /",
    "BINARY_TRUE_DIVIDE": "/",
    "BINARY_FLOOR_DIVIDE": "//",
    "INPLACE_ADD": "+",
    "INPLACE_SUBTRACT": "-",
    "INPLACE_MULTIPLY": "*",
    "INPLACE_POWER": "**",
    "INPLACE_DIVIDE": "classic /",
    "INPLACE_TRUE_DIVIDE": "/",
    "INPLACE_FLOOR_DIVIDE": "//",
}

HANDLERS: dict[str, Callable[[_Reading, int], None]] = {
    "POP_TOP": _Reading.pop_top,
    "ROT_TWO": lambda reading, _: reading.swap(2),
    "SWAP": _Reading.swap,
    "NOP": _Reading.nothing,
    "RESUME": _Reading.nothing,
    "PRECALL": _Reading.nothing,
    "TO_BOOL": _Reading.nothing,
    "UNARY_POSITIVE": _Reading.nothing,
    "UNARY_NEGATIVE": _Reading.negate,
    "BINARY_OP": _Reading.binary,
    "BINARY_SUBSCR": _Reading.item,
    "BINARY_SLICE": _Reading.binary_slice,
    "BUILD_SLICE": _Reading.part,
    "BUILD_TUPLE": _Reading.listed,
    "BUILD_LIST": _Reading.listed,
    "LIST_EXTEND": _Reading.extend,
    "UNPACK_SEQUENCE": _Reading.unpack,
    "LOAD_CONST": _Reading.constant,
    "LOAD_FAST": _Reading.load,
    "LOAD_FAST_LOAD_FAST": _Reading.load_two,
    "STORE_FAST": _Reading.store,
    "STORE_FAST_LOAD_FAST": _Reading.store_and_load,
    "STORE_FAST_STORE_FAST": _Reading.store_two,
    "LOAD_DEREF": _Reading.free,
    "COPY_FREE_VARS": _Reading.copy_free,
    "LOAD_GLOBAL": _Reading.global_,
    "LOAD_ATTR": _Reading.attribute,
    "LOAD_METHOD": _Reading.method,
    "IMPORT_NAME": _Reading.import_,
    "IMPORT_FROM": _Reading.import_from,
    "PUSH_NULL": _Reading.push_null,
    "KW_NAMES": _Reading.name_keywords,
    "CALL_FUNCTION": _Reading.call_function,
    "CALL_FUNCTION_KW": _Reading.call_by_name,
    "CALL_METHOD": _Reading.call_method,
    "CALL": _Reading.call,
    "CALL_KW": _Reading.call_with_names,
}
"""What each instruction does, beside the arithmetic."""
