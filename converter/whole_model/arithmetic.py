"""What the operators in a graph do to a picture: `preprocess_input` and the like, as layers.

Keras 2.4 to 2.15 writes an operator on a tensor as a `TFOpLambda` with the name of a function,
Keras 3 as a class of that operator; the constants stand in the call. Those that scale, shift or
pick channels are read, nothing is run.

Sources: tf.keras 2.10 and 2.15 `layers/core/tf_op_layer.py`; keras 3.15 `src/ops/numpy.py`,
`src/applications/imagenet_utils.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from converter.files.model_config import is_reference
from converter.whole_model.ranges import number
from resnet_pt.ops import Factor, Rescaling


@dataclass(frozen=True, slots=True)
class Reverse:
    """The channels in reverse: RGB becomes BGR."""


@dataclass(frozen=True, slots=True)
class Pick:
    """One channel of a picture, without its axis."""

    channel: int


@dataclass(frozen=True, slots=True)
class Stack:
    """Tensors side by side along the last axis, or along axis 1, which is a vector's last;
    `is_new` if they had no such axis before."""

    is_new: bool
    axis: int = -1


@dataclass(frozen=True, slots=True)
class Channels:
    """The channels with these numbers, in this order; None stands for all that there are."""

    picks: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Sum:
    """Two tensors, added."""


@dataclass(frozen=True, slots=True)
class Same:
    """The tensor as it is, in another type."""


Operation = Rescaling | Reverse | Pick | Stack | Sum | Same


def times(value: Factor, factor: Factor) -> Factor:
    """The product, channel by channel."""
    return _each(value, factor, lambda a, b: a * b)


def plus(value: Factor, other: Factor) -> Factor:
    """The sum, channel by channel."""
    return _each(value, other, lambda a, b: a + b)


def each(value: Factor, compute: Callable[[float], float]) -> Factor:
    """The same function of every number."""
    return tuple(map(compute, value)) if isinstance(value, tuple) else compute(value)


def _each(one: Factor, other: Factor, compute: Callable[[float, float], float]) -> Factor:
    if isinstance(one, tuple) and isinstance(other, tuple):
        return tuple(compute(a, b) for a, b in zip(one, other, strict=True))
    if isinstance(other, tuple):
        return each(other, lambda b: compute(one, b))  # type: ignore[arg-type]
    return each(one, lambda a: compute(a, other))


# ---- Keras 3: a class for each operator


def keras_3(class_name: str, config: Mapping[str, Any], call: Any) -> Operation | None:
    """The operation of a call in a Keras 3 configuration, or None for one that is not known."""
    if not isinstance(call, dict):
        return None
    arguments = [*call.get("args", ()), *(call.get("kwargs") or {}).values()]
    if class_name == "Cast":
        return Same() if config.get("dtype") == "float32" else None
    if class_name == "GetItem":
        return _item(arguments[1:])
    if class_name in ("Stack", "Concatenate"):
        is_last = config.get("axis") == -1
        return Stack(is_new=class_name == "Stack") if is_last else None
    operator = OPERATORS.get(class_name)
    if operator is None or len(arguments) != 2:
        return None
    first, second = (_is_tensor(one) for one in arguments)
    if first and second:
        return Sum() if operator == "add" else None
    value = constant(arguments[0] if second else arguments[1])
    return None if value is None else _elementwise(operator, value, is_first=second)


OPERATORS: Mapping[str, str] = {
    "Add": "add",
    "Subtract": "subtract",
    "Multiply": "multiply",
    "Divide": "divide",
    "TrueDivide": "divide",
}


def _is_tensor(argument: Any) -> bool:
    return isinstance(argument, dict) and argument.get("class_name") == "__keras_tensor__"


def _item(arguments: Sequence[Any]) -> Operation | None:
    """`x[..., 2]`: an ellipsis and a number."""
    spec = arguments[0] if len(arguments) == 1 else None
    if not isinstance(spec, list) or len(spec) != 2 or not _is_ellipsis(spec[0]):
        return None
    return _picked(spec[1])


def _is_ellipsis(argument: Any) -> bool:
    return isinstance(argument, dict) and argument.get("class_name") == "__ellipsis__"


def _picked(last: Any) -> Operation | None:
    """What the index of the last axis takes."""
    if isinstance(last, int) and not isinstance(last, bool):
        return Pick(last)
    if isinstance(last, dict):
        inner = last.get("config", last)
        bounds = {key: inner.get(key) for key in ("start", "stop", "step")}
        if bounds == {"start": None, "stop": None, "step": -1}:
            return Reverse()
    return None


# ---- tf.keras: the name of a function


def tf_keras(function: Any, arguments: Mapping[str, Any], first: Any = None) -> Operation | None:
    """The operation of a `TFOpLambda` or `SlicingOpLambda`, or None for one that is not known.
    `first` is the constant on its left, if there is one."""
    given = {key: value for key, value in arguments.items() if key not in ("name", "data_format")}
    if function == "cast":
        return Same() if given == {"dtype": "float32"} else None
    if function in ("concat", "stack"):
        if function == "concat" and given.get("axis") == 1:
            return Stack(is_new=False, axis=1)
        return Stack(is_new=function == "stack") if given.get("axis") == -1 else None
    if function == "__operators__.getitem":
        spec = given.get("slice_spec")
        is_last = isinstance(spec, list) and len(spec) == 2 and _is_ellipsis(spec[0])
        return _picked(spec[1]) if is_last and spec else None
    operator = FUNCTIONS.get(str(function))
    if operator is None or len(given) != 1:
        return None
    (argument,) = given.values()
    if first is None and is_reference(argument):
        return Sum() if operator == "add" else None
    if first is not None and not is_reference(argument):
        return None
    value = constant(argument if first is None else first)
    return None if value is None else _elementwise(operator, value, is_first=first is not None)


FUNCTIONS: Mapping[str, str] = {
    "math.add": "add",
    "__operators__.add": "add",
    "nn.bias_add": "add",
    "math.subtract": "subtract",
    "math.multiply": "multiply",
    "math.truediv": "divide",
    "math.divide": "divide",
}


# ---- both


def _elementwise(operator: str, value: Factor, is_first: bool) -> Operation | None:
    """x with a constant behind the operator, or before it."""
    if operator == "add":
        return Rescaling(1.0, value)
    if operator == "subtract":
        return Rescaling(-1.0, value) if is_first else Rescaling(1.0, times(value, -1.0))
    if operator == "multiply":
        return Rescaling(value, 0.0)
    if is_first or 0.0 in (value if isinstance(value, tuple) else (value,)):
        return None
    return Rescaling(each(value, lambda one: 1.0 / one), 0.0)


def constant(value: Any) -> Factor | None:
    """A number, or one for each channel: a list, with axes of length 1 around it. Keras 3 wraps
    tensors and arrays (`__tensor__`, `__numpy__`), Keras 2.0 numpy's numbers (`{"value": …}`)."""
    if isinstance(value, dict):
        inner = value.get("config", value)
        value = inner.get("value") if isinstance(inner, dict) else None
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, list) and all(_is_number(one) for one in value):
        return tuple(number(one, "a constant") for one in value)
    return number(value, "a constant") if _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
