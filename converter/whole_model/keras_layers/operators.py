"""Operators on tensors: `TFOpLambda`, `SlicingOpLambda` and `TensorFlowOpLayer` of tf.keras, Keras
3's operations.

tf.keras names the function, and its constants stand in the call (before 2.4 it keeps a node of
TensorFlow's graph, which is read as such a call); Keras 3 has a class for each, and a configuration
and the call's arguments. All are read by one table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from converter.files.kinds import whole
from converter.files.model_config import (
    CONSTANT,
    Config,
    call_arguments,
    first_argument,
    is_reference,
)
from converter.whole_model import tensorflow_nodes
from converter.whole_model.arithmetic import constant, each, times
from converter.whole_model.keras_layers.activation import activation_op
from converter.whole_model.keras_layers.call import MAP, Call, NotLiftedError, Value
from converter.whole_model.keras_layers.merging import beside, combined
from converter.whole_model.keras_layers.norms import linear
from converter.whole_model.keras_layers.shaping import permuted, reshaped
from converter.whole_model.keras_layers.windows import resize_op
from converter.whole_model.ranges import channels, number, padding
from resnet_pt.ops import (
    ELU,
    Activation,
    Clamp,
    Concatenate,
    DepthToSpace,
    Elementwise,
    Factor,
    LeakyReLU,
    Pad,
    Permute,
    Pick,
    Reduce,
    Reshape,
    Reverse,
    Slice,
    SpaceToDepth,
    UnitNorm,
)
from resnet_pt.ops.combine import How
from resnet_pt.ops.protocol import MAX_CHANNELS

Arguments = Mapping[str, Any]
Lifting = Callable[[Call, Arguments], Value]

FIRST = "first"
"""The argument that stands for a constant on the left of an operator."""


def lift_operator(call: Call) -> Value | None:
    """The value of an operator; None for a layer. Raises NotLiftedError for one that is not
    understood."""
    if call.class_name == tensorflow_nodes.CLASS:
        function, arguments = tensorflow_nodes.function_of(call.config, call.arguments)
        return _run(call, TENSORFLOW, function, _of_tensorflow(arguments))
    if call.class_name in ("TFOpLambda", "SlicingOpLambda"):
        function = str(call.config.get("function"))
        return _run(call, TENSORFLOW, function, _of_tensorflow(call.arguments))
    if call.class_name not in KERAS_3:
        return None
    return _run(call, KERAS_3, call.class_name, _of_keras_3(call.config, call.arguments))


def _run(call: Call, table: Mapping[str, Lifting], name: str, arguments: Arguments) -> Value:
    if name not in table:
        raise NotLiftedError(f"the function {name!r} is not understood")
    return table[name](call, arguments)


def _of_tensorflow(call: Any) -> dict[str, Any]:
    """Its constants by name, tensors left out."""
    given = {key: one for key, one in call_arguments(call).items() if key != "name"}
    if isinstance(call, list) and call and call[0] == CONSTANT:
        given[FIRST] = first_argument(call)
    return {key: one for key, one in given.items() if one is not None}


def _of_keras_3(config: Config, call: Any) -> dict[str, Any]:
    """Its settings and constants by name; a constant on the right is `y`, on the left `first`."""
    call = call if isinstance(call, dict) else {}
    given = {key: one for key, one in config.items() if key not in ("name", "dtype", "trainable")}
    named = {k: v for k, v in (call.get("kwargs") or {}).items() if v is not None}
    if any(map(_is_tensor, named.values())):
        raise NotLiftedError("it reads a value by keyword")
    given.update(named)
    positional = list(call.get("args", ()))
    for place, one in enumerate(positional):
        if not _is_tensor(one):
            given[FIRST if place == 0 else "y" if place == 1 else f"arg{place}"] = one
    return given


def _is_tensor(one: Any) -> bool:
    if isinstance(one, list):
        return bool(one) and all(_is_tensor(each_one) for each_one in one)
    return isinstance(one, dict) and one.get("class_name") == "__keras_tensor__"


# ---- arithmetic


def _arithmetic(how: How) -> Lifting:
    def lift(call: Call, given: Arguments) -> Value:
        if len(call.values) == 2:
            if call.values[0].rank != call.values[1].rank:
                raise NotLiftedError("it joins values of different ranks")
            return combined(call, how)
        if FIRST in given:
            return _with_constant(call, how, given[FIRST], is_first=True)
        rest = [one for key, one in given.items() if key in ("y", "value", "bias", "x2")]
        if len(rest) != 1 or is_reference(rest[0]):
            raise NotLiftedError("its arguments are not one value and one constant")
        return _with_constant(call, how, rest[0], is_first=False)

    return lift


def _with_constant(call: Call, how: How, said: Any, is_first: bool) -> Value:
    value, found = call.value, constant(said)
    if found is None:
        raise NotLiftedError("its constant is not a number, or one for each channel")
    if how in ("maximum", "minimum") and isinstance(found, float):
        bounds = (found, None) if how == "maximum" else (None, found)
        return call.add(Clamp(*bounds), value)
    if how == "divide" and is_first:
        value, how = call.add(Elementwise("reciprocal"), value), "multiply"
    scale, offset = _line(how, found)
    if how == "subtract" and is_first:
        scale, offset = -1.0, found
    return call.add(linear(value, scale, offset), value)


def _line(how: How, number: Factor) -> tuple[Factor, Factor]:
    """(scale, offset) of x with a constant behind it."""
    if how == "add":
        return 1.0, number
    if how == "subtract":
        return 1.0, times(number, -1.0)
    if how == "multiply":
        return number, 0.0
    if how != "divide":
        raise NotLiftedError(f"it is {how} with a number for each channel")
    if 0.0 in (number if isinstance(number, tuple) else (number,)):
        raise NotLiftedError("it divides by 0")
    return each(number, lambda one: 1.0 / one), 0.0


# ---- the rest


def _activation(name: str) -> Lifting:
    def lift(call: Call, given: Arguments) -> Value:
        if given:
            raise NotLiftedError(f"it is called with {', '.join(map(str, given))}")
        op = activation_op(call, name, call.value)
        return call.value if op is None else call.add(op, call.value)

    return lift


def _gelu(call: Call, given: Arguments) -> Value:
    name = "gelu_tanh" if given.get("approximate") else "gelu"
    op = activation_op(call, name, call.value)
    assert op
    return call.add(op, call.value)


def _elu(call: Call, given: Arguments) -> Value:
    alpha = number(given.get("alpha", 1.0), "alpha")
    return call.add(Activation("elu") if alpha == 1.0 else ELU(alpha), call.value)


def _power(call: Call, given: Arguments) -> Value:
    """The square, and the root, which are other functions in torch too."""
    exponent = constant(given.get("y", given.get("x2")))
    if FIRST in given or exponent not in POWERS:
        raise NotLiftedError("it raises to another power than 2 or 0.5")
    return call.add(Elementwise(POWERS[exponent]), call.value)


POWERS: Mapping[Any, str] = {2.0: "square", 0.5: "sqrt"}


def _clip(call: Call, given: Arguments) -> Value:
    names = ("x_min", "x_max"), ("clip_value_min", "clip_value_max")
    low, high = next(
        ((given[a], given[b]) for a, b in names if a in given and b in given), (None, None)
    )
    bounds = constant(low), constant(high)
    if not all(isinstance(one, float) for one in bounds):
        raise NotLiftedError("its bounds are not two numbers")
    least, most = number(low, "a bound"), number(high, "a bound")
    if least > most:
        raise NotLiftedError(f"its bounds are {least} and {most}, the wrong way round")
    return call.add(Clamp(least, most), call.value)


def _stack(call: Call, given: Arguments) -> Value:
    """The values along an axis that they had not before."""
    rank, axis = call.values[0].rank, given.get("axis", 0)
    if type(axis) is not int or not -rank - 1 <= axis <= rank + 1 or axis == 0:
        raise NotLiftedError(f"it stacks along axis {axis}")
    place = axis - 1 if axis > 0 else axis + rank + 1
    last = call.values[0].last
    values = [with_axis(call, call.turned(one, last), place) for one in call.values]
    return call.add(Concatenate(values[0].here(place)), *values)


def with_axis(call: Call, value: Value, place: int) -> Value:
    """A value with one axis more, of length 1, at a place behind the batch in Keras."""
    sides = [-1 if side is None else side for side in value.in_keras]
    if sides.count(-1) > 1:
        raise NotLiftedError("it makes an axis in a map of a size that is not said")
    sides.insert(place, 1)
    op = Reshape(tuple(sides), value.is_moved, len(sides) >= MAP and value.last)
    return call.add(op, value, plain=True)


def _leaky(call: Call, given: Arguments) -> Value:
    slope = given.get("negative_slope", given.get("alpha", 0.2))
    return call.add(LeakyReLU(number(slope, "slope")), call.value)


def _softmax(call: Call, given: Arguments) -> Value:
    from converter.whole_model.keras_layers.activation import _softmax_op

    return call.add(_softmax_op(call.value, given.get("axis", -1)), call.value)


def _elementwise(name: str) -> Lifting:
    return lambda call, given: call.add(Elementwise(name), call.value)


def _reduced(mode: Any) -> Lifting:
    def lift(call: Call, given: Arguments) -> Value:
        value, said = call.value, given.get("axis", given.get("y"))
        axes = said if isinstance(said, list) else [said]
        if said is None or given.get("initial") is not None:
            raise NotLiftedError("it works over all axes, the batch too")
        if len(axes) >= value.rank and not given.get("keepdims"):
            raise NotLiftedError("it leaves one number of each batch entry, without an axis")
        places = tuple(sorted(value.axis(one) for one in axes))
        keeps = bool(given.get("keepdims"))
        found = call.add(Reduce(mode, places, keeps), value)
        return found if keeps else without(call, value, places, found)

    return lift


def _concat(call: Call, given: Arguments) -> Value:
    return beside(call, given.get("axis", -1))


def _resize(call: Call, given: Arguments) -> Value:
    if given.get("preserve_aspect_ratio"):
        raise NotLiftedError("its preserve_aspect_ratio is set")
    size = given.get("size", given.get("y"))
    if not isinstance(size, list) or len(size) != 2:
        raise NotLiftedError(f"its size is {size!r}")
    way = given.get("interpolation", given.get("method", "bilinear"))
    if call.value.rank != 3 or given.get("data_format") == "channels_first":
        raise NotLiftedError("it resizes what is no map with channels last")
    is_keras_3 = call.class_name != "TFOpLambda"
    if is_keras_3 and given.get("data_format") is None and call.channels_first:
        raise NotLiftedError("which axes it resizes is Keras' image_data_format, and in no file")
    value = call.turned(call.value, last=True)
    sizes = tuple(channels(one, "size") for one in size)
    return call.add(resize_op(call, sizes, {**given, "interpolation": way}), value)


def _pad(call: Call, given: Arguments) -> Value:
    value = call.value
    widths = given.get("paddings", given.get("pad_width", given.get("y")))
    mode = str(given.get("mode", "constant")).lower()
    if mode != "constant":
        raise NotLiftedError(f"its mode is {mode!r}")
    if not isinstance(widths, list) or len(widths) != value.rank + 1:
        raise NotLiftedError(f"it pads by {widths!r}")
    pairs = [call.numbers(one, 2, "paddings", padding) for one in widths]
    if any(pairs[0]):
        raise NotLiftedError("it pads the batch")
    amounts = [(0, 0)] * value.rank
    for place, pair in enumerate(pairs[1:]):
        amounts[value.here(place)] = (pair[0], pair[1])
    filled = number(given.get("constant_values") or 0.0, "constant_values")
    return call.add(Pad(tuple(amounts), filled), value)


def _reshaped(call: Call, given: Arguments) -> Value:
    shape = given.get("newshape", given.get("shape", given.get("y")))
    if not isinstance(shape, list) or len(shape) < 2 or shape[0] not in (-1, None):
        raise NotLiftedError(f"it makes the shape {shape!r}, of another batch")
    target = [-1 if one is None else whole(one, "shape", -1, MAX_CHANNELS) for one in shape[1:]]
    if shape[0] == -1 and None in call.value.shape:  # what is left need not be the batch
        raise NotLiftedError(f"whether {shape!r} leaves the batch as it is depends on the size")
    return reshaped(call, target)


def _transposed(call: Call, given: Arguments) -> Value:
    axes = given.get("axes", given.get("perm", given.get("y")))
    if not isinstance(axes, list) or not axes or axes[0] != 0:
        raise NotLiftedError(f"it puts the axes in the order {axes!r}, the batch elsewhere")
    return permuted(call, [whole(one, "axes", 1, 8) - 1 for one in axes[1:]])


def _expanded(call: Call, given: Arguments) -> Value:
    """One axis more, of length 1."""
    value, axis = call.value, given.get("axis", given.get("y"))
    if type(axis) is not int or not -value.rank - 1 <= axis <= value.rank + 1 or axis == 0:
        raise NotLiftedError(f"it makes an axis at {axis}")
    return with_axis(call, value, axis - 1 if axis > 0 else axis + value.rank + 1)


def _squeezed(call: Call, given: Arguments) -> Value:
    """Axes of length 1 are taken away."""
    value, said = call.value, given.get("axis", given.get("squeeze_dims"))
    axes = said if isinstance(said, list) else [said]
    places = sorted(value.axis(one) for one in axes)
    sides = [value.shape[place] for place in places]
    if not places or any(side != 1 for side in sides) or len(places) >= value.rank:
        raise NotLiftedError(f"it takes away axes of the lengths {sides}")
    found = value
    for place in reversed(places):
        found = call.add(Pick(place, 0), found)
    return without(call, value, places, found)


def _reversed(call: Call, given: Arguments) -> Value:
    value, said = call.value, given.get("axis", given.get("y"))
    axes = said if isinstance(said, list) else [said]
    return call.add(Reverse(tuple(sorted(value.axis(one) for one in axes))), value)


def _unit_length(call: Call, given: Arguments) -> Value:
    said = given.get("axis", given.get("y"))
    if said is None or given.get("epsilon", 1e-12) != 1e-12:
        raise NotLiftedError("it is over the batch too, or of another epsilon than 1e-12")
    axes = said if isinstance(said, list) else [said]
    return call.add(UnitNorm(tuple(sorted(call.value.axis(one) for one in axes))), call.value)


def _between_depth_and_space(kind: type[DepthToSpace] | type[SpaceToDepth]) -> Lifting:
    def lift(call: Call, given: Arguments) -> Value:
        block = channels(given.get("block_size", given.get("y")), "block_size")
        if call.value.rank != 3 or given.get("data_format", "NHWC") != "NHWC":
            raise NotLiftedError("it moves between depth and space what is no map with them last")
        return call.add(kind(block), call.turned(call.value, last=True))

    return lift


def _same(call: Call, given: Arguments) -> Value:
    return call.value


def _cast(call: Call, given: Arguments) -> Value:
    """Numbers that keep all that they are in float32; Keras 3's type is the operation's own."""
    dtype = given.get("dtype", call.config.get("dtype"))
    if dtype not in ("float32", "float64"):
        raise NotLiftedError(f"it makes {dtype} of it")
    return call.value


def without(call: Call, before: Value, places: Sequence[int], found: Value) -> Value:
    """`found` has lost axes of what was `before`, and the others lie in that order: as they lie in
    Keras, or with the channels second, as a value of its rank does."""
    left = [place for place in range(before.rank) if place not in places]
    wanted = sorted(left, key=before.there)
    if before.last and len(left) >= MAP:
        wanted = [wanted[-1], *wanted[:-1]]
    if wanted == left:
        return found
    return call.add(Permute(tuple(left.index(place) for place in wanted)), found)


def _item(call: Call, given: Arguments) -> Value:
    """A part of one axis or more; of an axis of which one element is taken nothing is left."""
    spec = given.get("slice_spec", given.get("y", given.get("key")))
    spec = spec if isinstance(spec, list) else [spec]
    value = call.value
    dots = [place for place, one in enumerate(spec) if _named(one, "__ellipsis__") or one == "..."]
    if dots:
        missing = value.rank + 1 - sum(one is not None for one in spec) + 1
        spec = [*spec[: dots[0]], *[{}] * missing, *spec[dots[0] + 1 :]]
    new, spec = _new_axes(spec)
    if len(spec) > value.rank + 1:
        raise NotLiftedError("it takes parts of more axes than there are")
    for place, one in enumerate(spec):
        if isinstance(one, dict):
            value = _part(call, value, place, one)
    single = [place for place, one in enumerate(spec) if not isinstance(one, dict)]
    for place in reversed(single):
        value = _element(call, value, place, spec[place])
    for place in new:
        value = with_axis(call, value, place - 1)
    return value


def _new_axes(spec: Sequence[Any]) -> tuple[list[int], list[Any]]:
    """Where an index makes axes, in what it gives, and the index without them."""
    new: list[int] = []
    place = 0
    for one in spec:
        if one is None:
            new.append(place)
        place += one is None or isinstance(one, dict)
    if 0 in new:
        raise NotLiftedError("it makes an axis in front of the batch")
    return new, [one for one in spec if one is not None]


def _element(call: Call, value: Value, place: int, index: Any) -> Value:
    """One element of an axis, which is taken away."""
    if place == 0 or value.rank == 1 or not isinstance(index, int) or isinstance(index, bool):
        raise NotLiftedError("it takes one of the batch, or leaves no axis")
    here = value.here(place - 1)
    found = call.add(Pick(here, whole(index, "an index", -MAX_CHANNELS, MAX_CHANNELS)), value)
    return without(call, value, (here,), found)


def _named(one: Any, name: str) -> bool:
    return isinstance(one, dict) and one.get("class_name") == name


def _part(call: Call, value: Value, place: int, one: Any) -> Value:
    inner = one.get("config", one)
    if not isinstance(inner, dict):
        raise NotLiftedError("it takes what is no part of an axis")
    start, stop, step = (inner.get(key) for key in ("start", "stop", "step"))
    if (start, stop, step) in ((None, None, None), (None, None, 1), (0, None, 1), (0, None, None)):
        return value
    if place == 0:
        raise NotLiftedError("it takes a part of the batch")
    if (start, stop, step) == (None, None, -1):
        return call.add(Reverse((value.here(place - 1),)), value)
    numbers = [whole(0 if start is None else start, "start", -MAX_CHANNELS, MAX_CHANNELS)]
    stop = None if stop is None else whole(stop, "stop", -MAX_CHANNELS, MAX_CHANNELS)
    leap = whole(1 if step is None else step, "step", 1, MAX_CHANNELS)
    return call.add(Slice(value.here(place - 1), numbers[0], stop, leap), value)


ACTIVATED: Mapping[str, str] = {
    "relu": "relu",
    "relu6": "relu6",
    "elu": "elu",
    "selu": "selu",
    "silu": "silu",
    "sigmoid": "sigmoid",
    "softplus": "softplus",
    "softsign": "softsign",
    "tanh": "tanh",
    "exp": "exponential",
}

ELEMENTWISE = ("abs", "square", "sqrt", "negative", "log")

TENSORFLOW: dict[str, Lifting] = {
    "math.add": _arithmetic("add"),
    "__operators__.add": _arithmetic("add"),
    "nn.bias_add": _arithmetic("add"),
    "math.subtract": _arithmetic("subtract"),
    "math.multiply": _arithmetic("multiply"),
    "math.truediv": _arithmetic("divide"),
    "math.divide": _arithmetic("divide"),
    "math.maximum": _arithmetic("maximum"),
    "math.minimum": _arithmetic("minimum"),
    **{f"nn.{name}": _activation(known) for name, known in ACTIVATED.items()},
    **{f"math.{name}": _activation(known) for name, known in ACTIVATED.items()},
    **{f"math.{name}": _elementwise(name) for name in ELEMENTWISE},
    "clip_by_value": _clip,
    "math.pow": _power,
    "math.rsqrt": _elementwise("rsqrt"),
    "stack": _stack,
    "nn.elu": _elu,
    "nn.gelu": _gelu,
    "nn.leaky_relu": _leaky,
    "nn.softmax": _softmax,
    "math.reduce_mean": _reduced("mean"),
    "math.reduce_max": _reduced("max"),
    "math.reduce_min": _reduced("min"),
    "math.reduce_sum": _reduced("sum"),
    "concat": _concat,
    "image.resize": _resize,
    "compat.v1.pad": _pad,
    "reshape": _reshaped,
    "compat.v1.transpose": _transposed,
    "__operators__.getitem": _item,
    "expand_dims": _expanded,
    "compat.v1.squeeze": _squeezed,
    "squeeze": _squeezed,
    "reverse": _reversed,
    "math.l2_normalize": _unit_length,
    "linalg.l2_normalize": _unit_length,
    "nn.depth_to_space": _between_depth_and_space(DepthToSpace),
    "nn.space_to_depth": _between_depth_and_space(SpaceToDepth),
    "identity": _same,
    "stop_gradient": _same,
    "cast": _cast,
}
"""TensorFlow's functions, by the names that tf.keras 2.4 to 2.15 gives them."""

KERAS_3: dict[str, Lifting] = {
    "Add": _arithmetic("add"),
    "Subtract": _arithmetic("subtract"),
    "Multiply": _arithmetic("multiply"),
    "Divide": _arithmetic("divide"),
    "TrueDivide": _arithmetic("divide"),
    "Maximum": _arithmetic("maximum"),
    "Minimum": _arithmetic("minimum"),
    **{name.title(): _activation(known) for name, known in ACTIVATED.items()},
    **{name.title(): _elementwise(name) for name in ("abs", *ELEMENTWISE)},
    "Absolute": _elementwise("abs"),
    "Clip": _clip,
    "Power": _power,
    "Stack": _stack,
    "Elu": _elu,
    "Gelu": _gelu,
    "LeakyRelu": _leaky,
    "Softmax": _softmax,
    "HardSigmoid": _activation("hard_sigmoid"),
    "HardSilu": _activation("hard_silu"),
    "Mean": _reduced("mean"),
    "Max": _reduced("max"),
    "Amax": _reduced("max"),
    "Min": _reduced("min"),
    "Sum": _reduced("sum"),
    "Concatenate": _concat,
    "Resize": _resize,
    "Pad": _pad,
    "Reshape": _reshaped,
    "Transpose": _transposed,
    "GetItem": _item,
    "StopGradient": _same,
    "Cast": _cast,
}
"""Keras 3's operations (3.15 `src/ops`), by their classes. Layers of these names are told apart."""
