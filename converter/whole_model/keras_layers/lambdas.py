"""Layers of code of known forms: Lambda, whose bytecode is read and never run.

What the code computes is an expression (`converter.files.bytecode`); its operators and functions
become what the operators of a graph become, by the same table. Whatever else it does is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from converter.files.bytecode import CodeError, Expression, Function, read_function
from converter.files.bytecode import expressions as e
from converter.files.kinds import written
from converter.files.model_config import Config, call_arguments, is_keras_tensor
from converter.whole_model.keras_classes import OF_CODE
from converter.whole_model.keras_layers import of_code, operators
from converter.whole_model.keras_layers.call import Call, NotLiftedError, Value
from converter.whole_model.keras_layers.function_names import (
    CONSTANTS,
    EPSILON,
    FUNCTIONS,
    LISTS,
    ROOTS,
    Known,
    full_name,
)

TABLE: Mapping[str, operators.Lifting] = {**operators.TENSORFLOW, **of_code.FUNCTIONS}
"""What `Known.operator` names."""


@dataclass(frozen=True, slots=True)
class Code:
    """The function of a Lambda layer, and the data that the file has for its arguments, the first
    of which is what the layer reads."""

    function: Function
    given: Mapping[str, Any]

    @property
    def text(self) -> str:
        """What it computes, as Python would write it."""
        data = ", ".join(
            f"{name}={written(one)}" for name, one in self.given.items() if name in self.names
        )
        told = e.as_text(self.function.result)
        return f"{told} with {data}" if data else told

    @property
    def names(self) -> set[str]:
        return {one.name for one in e.every(self.function.result) if isinstance(one, e.Argument)}

    @property
    def assumed(self) -> list[str]:
        """What is nowhere in the file, in words: the meaning of global names."""
        named = [one for one in e.every(self.function.result) if isinstance(one, e.Named)]
        found = {}
        for one in named:
            root = one.path.partition(".")[0]
            full = full_name(one.path, one.assumed)
            if one.assumed:
                meaning = ROOTS.get(root, "Python's own")
                found[root] = f"{root} is {meaning}"
            if full == EPSILON:
                found[EPSILON] = f"{one.path}() is 1e-07"
        return [found[name] for name in sorted(found)]


def read_code(config: Config) -> Code:
    """The code of a Lambda layer by its configuration. Raises CodeError for one that is not in the
    file, or that is not understood."""
    code, defaults, free = _dumped(config.get("function"))
    function = read_function(code)
    arguments = config.get("arguments") or {}
    if not isinstance(arguments, dict) or not set(arguments) <= _settable(function):
        raise CodeError("its arguments are not those of its function")
    if not function.parameters:
        raise CodeError("its function takes no argument")
    given: dict[str, Any] = {}
    names = function.parameters[1:]
    if len(defaults) > len(function.parameters) or len(free) != len(function.free):
        raise CodeError("it has not as many values as its function takes")
    late = names[len(names) - len(defaults) :] if len(defaults) <= len(names) else names
    given.update(zip(late, defaults[len(defaults) - len(late) :], strict=True))
    given.update({name: _plain(one) for name, one in arguments.items()})
    missing = {*names, *function.keyword} - set(given)
    if missing:
        raise CodeError(f"its argument {min(missing)!r} has no value in the file")
    if {"mask", "training"} & set(function.parameters):
        raise CodeError("it reads a mask, or whether it trains")
    given.update({name: _plain(one) for name, one in zip(function.free, free, strict=True)})
    return Code(function, given)


def _settable(function: Function) -> set[str]:
    return {*function.parameters[1:], *function.keyword}


def _dumped(said: Any) -> tuple[Any, list[Any], list[Any]]:
    """(code, defaults, values from around it) in any of the ways to write a function: a list, the
    same within an object (keras 2.13 to 2.15), or an object of the three (keras 3)."""
    if isinstance(said, dict) and said.get("class_name") == "__lambda__":
        inner = said.get("config")
        inner = inner if isinstance(inner, dict) else {}
        said = inner.get("value", [inner.get(key) for key in ("code", "defaults", "closure")])
    said = _plain(said)
    if not isinstance(said, list) or len(said) != 3:
        name = said.get("config") if isinstance(said, dict) else said
        raise CodeError(f"of {written(name)} the file has no code")
    code, *values = said
    lists = [[] if one is None else one for one in values]
    if not all(isinstance(one, list) for one in lists):
        raise CodeError("its values are no lists")
    return code, [_plain(one) for one in lists[0]], [_plain(one) for one in lists[1]]


def _plain(value: Any) -> Any:
    """Tuples and arrays as lists (keras 2.3.1 `layers/core.py`, Lambda.get_config)."""
    if isinstance(value, dict) and value.get("class_name") == "__tuple__":
        return value.get("items")
    if isinstance(value, dict) and value.get("type") == "ndarray":
        return value.get("value")
    return value


def why_not(config: Any) -> str:
    """Why a Lambda layer cannot be read, whatever its input; '' if nothing is known against it."""
    try:
        code = read_code(config if isinstance(config, dict) else {})
    except CodeError as error:
        return f"{OF_CODE}: {error}"
    for one in e.every(code.function.result):
        if isinstance(one, e.Called) and not _asks_for_a_name(one) and _name(one) not in CALLED:
            return f"{OF_CODE}: it calls {e.as_text(one.function)}, which is none that is known"
    return ""


CALLED = frozenset([*FUNCTIONS, EPSILON])


def _name(one: e.Called) -> str:
    """The full name of the function that is called; '' of none that has one."""
    named = one.function
    return full_name(named.path, named.assumed) if isinstance(named, e.Named) else ""


def _asks_for_a_name(one: Expression) -> bool:
    """`hasattr(tf, 'depth_to_space')`: code for several versions of TensorFlow."""
    return (
        isinstance(one, e.Called)
        and one.function == e.Named("hasattr", assumed=True)
        and len(one.arguments) == 2
        and isinstance(one.arguments[0], e.Named)
        and isinstance(one.arguments[1], e.Constant)
    )


def _same(one: Expression, other: Expression) -> bool:
    """Whether two expressions are one, but for the names of functions, which are one operator."""
    if isinstance(one, e.Named) and isinstance(other, e.Named):
        names = [full_name(each.path, each.assumed) for each in (one, other)]
        known = [FUNCTIONS.get(name) for name in names]
        return names[0] == names[1] or (known[0] is not None and known[0] == known[1])
    ours, theirs = e.parts(one), e.parts(other)
    if not ours or len(ours) != len(theirs) or type(one) is not type(other):
        return one == other
    if e.without_parts(one) != e.without_parts(other):
        return False
    return all(_same(a, b) for a, b in zip(ours, theirs, strict=True))


def _lambda(call: Call) -> Value:
    try:
        _check_call(call.arguments)
        code = read_code(call.config)
        found = _Run(call, code).result()
        _check_shape(call.config.get("output_shape"), found)
    except (CodeError, NotLiftedError) as error:
        raise _of_code(error) from None
    return found


def _of_code(error: Exception) -> NotLiftedError:
    return NotLiftedError(f"{OF_CODE}: {error}")


def _check_call(call: Any) -> None:
    """A layer that reads one tensor, or a list of them, and nothing by keyword."""
    named = call.get("kwargs") if isinstance(call, dict) else call_arguments(call)
    others = [key for key, one in (named or {}).items() if one is not None and key != "training"]
    if others:
        raise NotLiftedError(f"it is called with {', '.join(map(str, others))}")
    if isinstance(call, dict) and "args" in call:
        given = call["args"]
        first = given[0] if isinstance(given, list) and len(given) == 1 else None
        if not all(map(is_keras_tensor, first if isinstance(first, list) else [first])):
            raise NotLiftedError("it reads values within each other")


def _check_shape(said: Any, found: Value) -> None:
    """A shape that the layer states, without the batch, is the one that its code gives: the layers
    behind it were made for it."""
    said = _plain(said)
    is_shape = isinstance(said, list) and all(one is None or type(one) is int for one in said)
    if not is_shape:
        return
    pairs = zip(said, found.in_keras, strict=False)
    if len(said) != found.rank or any(None not in pair and pair[0] != pair[1] for pair in pairs):
        raise NotLiftedError(
            f"its output_shape is {said}, and its code gives {list(found.in_keras)}"
        )


LAYERS: dict[str, Callable[[Call], Value]] = {"Lambda": _lambda}


@dataclass
class _Run:
    """The expression of a function, part by part: a `Value` of the program, or plain data."""

    call: Call
    code: Code
    known: dict[int, Any] = field(default_factory=dict)

    def result(self) -> Value:
        found = self.of(self.code.function.result)
        if not isinstance(found, Value):
            raise NotLiftedError("it gives no tensor, or several")
        return found

    def of(self, one: Expression) -> Any:
        """A part that stands in several places is computed once."""
        if id(one) not in self.known:
            self.known[id(one)] = self.fresh(one)
        return self.known[id(one)]

    def fresh(self, one: Expression) -> Any:
        match one:
            case e.Constant(value):
                return _listed(value)
            case e.Argument(name):
                return self.argument(name)
            case e.Named(path, assumed):
                return _constant(path, assumed)
            case e.Called():
                return self.called(one)
            case e.Operated(operator, left, right):
                return self.operated(operator, self.of(left), self.of(right))
            case e.Negated(of):
                return self.negated(self.of(of))
            case e.Item(of, index):
                return self.item(self.of(of), self.of(index))
            case e.Part(start, stop, step):
                sides = (self.of(start), self.of(stop), self.of(step))
                return dict(zip(("start", "stop", "step"), sides, strict=True))
            case e.Listed(items):
                return [self.of(item) for item in items]
            case e.Unpacked(of, index, count):
                return self.unpacked(self.of(of), index, count)
            case e.Either(condition, first, second):
                if not _asks_for_a_name(condition) or not _same(first, second):
                    raise NotLiftedError(f"it depends on {e.as_text(condition)}")
                return self.of(first)
        raise NotLiftedError(f"{e.as_text(one)} is none that is known")

    def argument(self, name: str) -> Any:
        if name != self.code.function.parameters[0]:
            return self.code.given[name]
        values = self.call.values
        return values[0] if len(values) == 1 else list(values)

    def apply(self, operator: str, values: Sequence[Value], given: Mapping[str, Any]) -> Value:
        """An operator of the graph's tables, of the same layer."""
        part = replace(self.call, class_name="TFOpLambda", values=tuple(values), arguments=None)
        return TABLE[operator](part, given)

    # ---- operators

    def operated(self, operator: str, left: Any, right: Any) -> Any:
        tensors = [one for one in (left, right) if isinstance(one, Value)]
        if operator not in OPERATORS:
            raise NotLiftedError(f"its operator {operator} is none that is known")
        if not tensors:
            return _number(operator, left, right)
        given = {}
        if not isinstance(left, Value):
            given[operators.FIRST] = left
        elif not isinstance(right, Value):
            given["y"] = right
        return self.apply(OPERATORS[operator], tensors, given)

    def negated(self, value: Any) -> Any:
        if isinstance(value, Value):
            return self.apply("math.negative", [value], {})
        return _number("-", 0, value)

    def item(self, of: Any, index: Any) -> Any:
        if isinstance(of, Value):
            spec = ["..." if one is ... else one for one in _as_list(index)]
            return self.apply("__operators__.getitem", [of], {"slice_spec": spec})
        is_place = isinstance(of, list) and type(index) is int and -len(of) <= index < len(of)
        if not is_place:
            raise NotLiftedError("it takes a part of what is no tensor")
        return of[index]

    def unpacked(self, of: Any, index: int, count: int) -> Any:
        if not isinstance(of, list) or len(of) != count:
            raise NotLiftedError(f"it takes what it reads for {count} values")
        return of[index]

    # ---- functions

    def called(self, one: e.Called) -> Any:
        name = _name(one)
        if self.call.era.theano:
            raise NotLiftedError("what it calls is another function on Theano")
        if name == EPSILON and not one.arguments:
            return 1e-7
        if name not in FUNCTIONS:
            text = e.as_text(one.function)
            raise NotLiftedError(f"it calls {text}, which is none that is known")
        given = self.given(FUNCTIONS[name], one)
        return self.of_function(name, FUNCTIONS[name], given)

    def given(self, known: Known, one: e.Called) -> dict[str, Any]:
        """What a function is called with, by the names that its operator has for it."""
        text = e.as_text(one.function)
        count = len(one.arguments) - len(one.keywords)
        if count > len(known.takes):
            raise NotLiftedError(f"it calls {text} with {count} arguments")
        names = [*known.takes[:count], *(known.also.get(name, name) for name in one.keywords)]
        strange = [name for name in names if name not in (*known.takes, "name")]
        if strange or len(set(names)) < len(names):
            raise NotLiftedError(f"it calls {text} with {', '.join(strange) or 'one twice'}")
        given = dict(zip(names, map(self.of, one.arguments), strict=True))
        given.pop("name", None)
        for name, value in known.only.items():
            if given.pop(name, value) != value:
                raise NotLiftedError(f"it calls {text} with another {name} than {value}")
        return {**known.default, **given}

    def of_function(self, name: str, known: Known, given: dict[str, Any]) -> Value:
        values: list[Value] = []
        for place, parameter in enumerate(known.takes[: known.values]):
            found = given.pop(parameter, None)
            several = found if parameter in LISTS else [found]
            is_list = isinstance(several, list) and len(several) > 0
            if is_list and all(isinstance(one, Value) for one in several):
                values += several
            elif known.values > 1 and found is not None:
                given[operators.FIRST if place == 0 else parameter] = found
            else:
                raise NotLiftedError(f"it calls {name} with no tensor")
        if not values or any(_holds_value(one) for one in given.values()):
            raise NotLiftedError(f"it calls {name} with no tensor, or with one as a setting")
        return self.apply(known.operator, values, given)


OPERATORS: Mapping[str, str] = {
    "+": "__operators__.add",
    "-": "math.subtract",
    "*": "math.multiply",
    "/": "math.truediv",
    "classic /": "math.truediv",
    "**": "math.pow",
}
"""Python's, of which one side at least is a tensor of floats."""


def _holds_value(one: Any) -> bool:
    if isinstance(one, list):
        return any(map(_holds_value, one))
    return isinstance(one, Value)


def _as_list(index: Any) -> list[Any]:
    return index if isinstance(index, list) else [index]


def _listed(value: Any) -> Any:
    """A constant; tuples are lists, as a configuration has them."""
    return [_listed(one) for one in value] if isinstance(value, tuple) else value


def _constant(path: str, assumed: bool) -> Any:
    name = full_name(path, assumed)
    if name not in CONSTANTS:
        raise NotLiftedError(f"it reads {path}, which is none that is known")
    return CONSTANTS[name]


def _number(operator: str, left: Any, right: Any) -> float:
    """Of two numbers, as Python computes it; of whole ones Python 2's '/' is another."""
    if not all(type(one) in (int, float) for one in (left, right)):
        raise NotLiftedError("it computes with what is no number")
    both_whole = type(left) is int and type(right) is int
    try:
        if operator in ("+", "-", "*"):
            compute: Callable[[float, float], float] = COMPUTED[operator]
            found = compute(left, right)
        elif operator == "/" or (operator == "classic /" and not both_whole):
            found = left / right
        else:
            raise NotLiftedError(f"it computes {operator} of numbers")
        is_sane = math.isfinite(found) and abs(found) < 1e30
    except (ArithmeticError, OverflowError):
        is_sane = False
    if not is_sane:
        raise NotLiftedError("it computes a number that is none")
    return found


COMPUTED: Mapping[str, Callable[[float, float], float]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}
