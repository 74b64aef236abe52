"""What straight code computes, as an expression of its arguments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MAX_SIZE = 400
"""Parts of one expression, each counted as often as it stands in it."""

MAX_DEPTH = 60
"""Expressions within each other."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A number, a text, None, True, False, Ellipsis or a tuple of these, as the code has it."""

    value: Any


@dataclass(frozen=True, slots=True)
class Argument:
    """One of the function's arguments, or (`free`) a variable from around it."""

    name: str
    free: bool = False


@dataclass(frozen=True, slots=True)
class Named:
    """What a dotted name means: of a module that the code imports, or of a global name, which is
    nowhere in the code (`assumed`)."""

    path: str
    assumed: bool


@dataclass(frozen=True, slots=True)
class Attribute:
    """`of.name` of a value."""

    of: Expression
    name: str


@dataclass(frozen=True, slots=True)
class Called:
    """A function called with arguments, the last of them by the names in `keywords`."""

    function: Expression
    arguments: tuple[Expression, ...]
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operated:
    """An operator of Python between two values: '+', '-', '*', '/', '//', '**', 'classic /'."""

    operator: str
    left: Expression
    right: Expression


@dataclass(frozen=True, slots=True)
class Negated:
    of: Expression


@dataclass(frozen=True, slots=True)
class Item:
    """`of[index]`."""

    of: Expression
    index: Expression


@dataclass(frozen=True, slots=True)
class Part:
    """`start:stop:step` within an index."""

    start: Expression
    stop: Expression
    step: Expression


@dataclass(frozen=True, slots=True)
class Listed:
    """A list or a tuple that the code makes."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Unpacked:
    """Number `index` of the `count` that `of` is made of: `a, b = of`."""

    of: Expression
    index: int
    count: int


@dataclass(frozen=True, slots=True)
class Either:
    """`one` where the condition is true, else `other`."""

    condition: Expression
    one: Expression
    other: Expression


Expression = (
    Constant
    | Argument
    | Named
    | Attribute
    | Called
    | Operated
    | Negated
    | Item
    | Part
    | Listed
    | Unpacked
    | Either
)


def parts(one: Expression) -> tuple[Expression, ...]:
    """The expressions that one is made of."""
    match one:
        case Attribute(of) | Negated(of) | Unpacked(of):
            return (of,)
        case Called(function, arguments):
            return (function, *arguments)
        case Operated(_, left, right):
            return (left, right)
        case Item(of, index):
            return (of, index)
        case Part(start, stop, step):
            return (start, stop, step)
        case Listed(items):
            return items
        case Either(condition, first, second):
            return (condition, first, second)
    return ()


def without_parts(one: Expression) -> tuple[Any, ...]:
    """What of it is no expression."""
    match one:
        case Attribute(_, name):
            return (name,)
        case Called(_, _, keywords):
            return keywords
        case Operated(operator):
            return (operator,)
        case Unpacked(_, index, count):
            return (index, count)
    return ()


def every(one: Expression) -> Iterator[Expression]:
    """It, and all that it is made of."""
    yield one
    for part in parts(one):
        yield from every(part)


MAX_TEXT = 120


def as_text(one: Expression) -> str:
    """It as Python would write it, cut where it is long."""
    text = _text(one)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}…"


def _text(one: Expression) -> str:
    match one:
        case Constant(value):
            return "..." if value is ... else repr(value)
        case Argument(name) | Named(name):
            return name
        case Attribute(of, name):
            return f"{_inner(of)}.{name}"
        case Called(function, arguments, keywords):
            plain = len(arguments) - len(keywords)
            given = [_text(value) for value in arguments[:plain]]
            pairs = zip(keywords, arguments[plain:], strict=True)
            given += [f"{name}={_text(value)}" for name, value in pairs]
            return f"{_inner(function)}({', '.join(given)})"
        case Operated(operator, left, right):
            return f"{_inner(left)} {operator.removeprefix('classic ')} {_inner(right)}"
        case Negated(of):
            return f"-{_inner(of)}"
        case Item(of, index):
            several = isinstance(index, Listed)
            inside = ", ".join(map(_text, index.items)) if several else _text(index)  # type: ignore[union-attr]
            return f"{_inner(of)}[{inside}]"
        case Part(start, stop, step):
            sides = ["" if x == Constant(None) else _text(x) for x in (start, stop, step)]
            return ":".join(sides if sides[2] else sides[:2])
        case Listed(items):
            return f"[{', '.join(map(_text, items))}]"
        case Unpacked(of, index, _):
            return f"{_inner(of)}[{index}]"
        case Either(condition, first, second):
            return f"{_inner(first)} if {_inner(condition)} else {_inner(second)}"
    raise AssertionError(one)


def _inner(one: Expression) -> str:
    text = _text(one)
    return f"({text})" if isinstance(one, Operated | Negated | Either) else text
