"""Activations, by name and as layers, of every age of Keras."""

from __future__ import annotations

from typing import Any

from converter.files.model_config import class_of, function_named
from converter.whole_model.arithmetic import constant
from converter.whole_model.keras_layers.call import (
    Call,
    From,
    Lifting,
    NotLiftedError,
    Value,
)
from converter.whole_model.ranges import channels, number
from resnet_pt.ops import (
    ELU,
    Activation,
    Clipped,
    Elementwise,
    HardSigmoid,
    LeakyReLU,
    Op,
    PReLU,
    SharedPReLU,
    Softmax,
    Thresholded,
)
from resnet_pt.ops.activation import ACTIVATIONS
from resnet_pt.ops.elementwise import NAMES, SIXTH

LOG_SOFTMAX = ("log_softmax", "log_softmax_v2")
"""The second is the name that `tf.nn.log_softmax` has as a function, which tf.keras writes."""

LEAKY = 0.2
"""The slope of an activation named 'leaky_relu', in tf.keras 2 and in Keras 3."""


def activation_op(call: Call, name: Any, value: Value) -> Op | None:
    """The op of an activation as a configuration says it; None for 'linear'."""
    name = function_named(name)
    if name is None or name == "linear":
        return None
    if isinstance(name, dict) and isinstance(name.get("config"), dict):
        return _layer_as_activation(call, name, value)
    if not isinstance(name, str):
        raise NotLiftedError("its activation is custom code")
    if ">" in name:
        raise NotLiftedError(f"its activation {name!r} is a function of the project's own")
    if name == "softmax":
        return _softmax_op(value, -1)
    if name in LOG_SOFTMAX:
        return Softmax((value.axis(-1),), log=True)
    if name in ("hard_sigmoid", "hard_swish", "hard_silu"):
        return HardSigmoid(_hard_slope(call), times_input=name != "hard_sigmoid")
    if name == "leaky_relu":
        return LeakyReLU(LEAKY)
    if name in ACTIVATIONS:
        return Activation(name)
    if name in NAMES:
        return Elementwise(name)
    raise NotLiftedError(f"its activation {name!r} is none that is known")


def _hard_slope(call: Call) -> float:
    if not call.era.version:
        raise NotLiftedError("its hard_sigmoid depends on the Keras that wrote the file, not said")
    return SIXTH if call.era.major >= 3 else 0.2


def _layer_as_activation(call: Call, layer: Any, value: Value) -> Op | None:
    """`Dense(8, activation=LeakyReLU(0.1))`."""
    build = SETTINGS.get(class_of(layer))
    if build is None:
        raise NotLiftedError(f"its activation is an object of the class {class_of(layer)}")
    inner = Call(
        call.class_name, call.layer, layer["config"], (value,), call.module, call.id, call.era
    )
    return build(inner)


def _softmax_op(value: Value, axis: Any) -> Op:
    """Over the channels it is the activation of that name."""
    axes = axis if isinstance(axis, list) else [axis]
    places = tuple(value.axis(one) for one in axes)
    if places == (0,):
        return Activation("softmax")
    return Softmax(tuple(sorted(places)))


def activated(call: Call, value: Value) -> Value:
    """A value behind the activation that the layer applies itself."""
    op = activation_op(call, call.config.get("activation"), value)
    return value if op is None else call.add(op, value, part="_activation")


def _activation(call: Call) -> Value:
    op = activation_op(call, call.config.get("activation"), call.value)
    return call.value if op is None else call.add(op, call.value)


def _relu(call: Call) -> Op:
    config = call.config
    maximum, slope = config.get("max_value"), number(config.get("negative_slope") or 0.0, "slope")
    threshold = number(config.get("threshold") or 0.0, "threshold")
    if maximum is None and not threshold:
        return LeakyReLU(slope) if slope else Activation("relu")
    if maximum == 6 and not slope and not threshold:
        return Activation("relu6")
    return Clipped(None if maximum is None else number(maximum, "max_value"), slope, threshold)


def _leaky_relu(call: Call) -> Op:
    slope = constant(call.first("negative_slope", "alpha"))
    if not isinstance(slope, float):
        raise NotLiftedError("its slope is not a number")
    return LeakyReLU(slope)


def _elu(call: Call) -> Op:
    alpha = constant(call.config.get("alpha", 1.0))
    if not isinstance(alpha, float):
        raise NotLiftedError("its alpha is not a number")
    return Activation("elu") if alpha == 1.0 else ELU(alpha)


def _thresholded(call: Call) -> Op:
    theta = constant(call.config.get("theta", 1.0))
    if not isinstance(theta, float):
        raise NotLiftedError("its theta is not a number")
    return Thresholded(theta)


def _softmax(call: Call) -> Op:
    return _softmax_op(call.value, call.config.get("axis", -1))


SETTINGS = {
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "ELU": _elu,
    "ThresholdedReLU": _thresholded,
    "Softmax": _softmax,
}
"""The layers without weights, which an activation may be too."""


def _as_layer(name: str) -> Lifting:
    return lambda call: call.add(SETTINGS[name](call), call.value)


def _prelu(call: Call) -> Value:
    """Slopes for the shape behind the batch; an axis that is shared has one (2.15 `prelu.py`)."""
    value, shared = call.value, call.config.get("shared_axes") or []
    places = {value.axis(one) for one in (shared if isinstance(shared, list) else [shared])}
    sides = [1 if place in places else side for place, side in enumerate(value.shape)]
    if any(side is None for side in sides):
        raise NotLiftedError("its slopes are for pixels, and the size of its map is not said")
    known = tuple(channels(side, "a side") for side in sides)
    if len(known) == 1 and not places:
        return call.add(PReLU(known[0]), value, weights={"weight": From("alpha")})
    move = _channels_second(value)
    return call.add(SharedPReLU(known), value, weights={"weight": From("alpha", move)})


def _channels_second(value: Value) -> tuple[Any, ...]:
    from converter.mapping.transforms import Transpose

    if not value.is_moved:
        return ()
    last = value.rank - 1
    return (Transpose((last, *range(last)), "channels first"),)


LAYERS: dict[str, Lifting] = {
    "Activation": _activation,
    **{name: _as_layer(name) for name in SETTINGS},
    "PReLU": _prelu,
}
