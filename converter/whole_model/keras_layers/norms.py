"""Norms: by kept statistics, and of each value by itself; scales and offsets."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from converter.files.model_config import class_of
from converter.mapping.transforms import Reshaped, Transform, Transpose, unsqueezed
from converter.whole_model.arithmetic import constant, each, times
from converter.whole_model.keras_layers.call import (
    Call,
    From,
    Lifting,
    NotLiftedError,
    Value,
)
from converter.whole_model.ranges import channels, number
from resnet_pt.ops import (
    AxisNorm,
    GroupNorm,
    LayerNorm,
    Linear,
    Norm,
    Op,
    UnitNorm,
    Weighted,
)

VECTORS = {
    "weight": From("gamma"),
    "bias": From("beta"),
    "running_mean": From("moving_mean"),
    "running_var": From("moving_variance"),
}


def _only(value: Any) -> Any:
    """tf.keras writes a list of one axis."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _side(value: Value, place: int) -> int:
    side = value.shape[place]
    if side is None:
        raise NotLiftedError("how many numbers it normalises is not in the configuration")
    return channels(side, "channels")


def _batch_norm(call: Call) -> Value:
    config, value = call.config, call.value
    if config.get("mode", 0) != 0:
        raise NotLiftedError("mode 1 and 2 normalise by the batch at hand")
    if config.get("renorm"):
        raise NotLiftedError("renorm=True keeps statistics of another kind")
    if call.era.version and call.era.version < (1, 0, 8):
        raise NotLiftedError("Keras before 1.0.8 keeps, or adds epsilon to, another deviation")
    place = value.axis(_only(config.get("axis", -1)))
    settings = (
        _side(value, place),
        number(call.first("epsilon"), "epsilon"),
        1 - number(config.get("momentum", 0.99), "momentum"),
        call.flag("scale", default=True),
        call.flag("center", default=True),
    )
    plain = place == 0 and value.rank in (1, 3)
    op: Op = Norm(*settings) if plain else AxisNorm(place, *settings)
    return call.add(op, value, weights=VECTORS)


def _layer_norm(call: Call) -> Value:
    config, value = call.config, call.value
    said = config.get("axis", -1)
    axes = said if isinstance(said, list) else [said]
    places = [value.axis(one) for one in axes]
    order = sorted(range(len(places)), key=lambda one: places[one])
    is_rms = bool(config.get("rms_scaling"))
    op = LayerNorm(
        tuple(places[one] for one in order),
        tuple(_side(value, places[one]) for one in order),
        number(config.get("epsilon", 1e-3), "epsilon"),
        call.flag("scale", default=True) or is_rms,
        call.flag("center", default=True) and not is_rms,
        is_rms,
    )
    move = _moved(value, axes)
    return call.add(op, value, weights={"weight": From("gamma", move), "bias": From("beta", move)})


def _rms_norm(call: Call) -> Value:
    """x / sqrt(mean of squares + epsilon) * scale (Keras 3.9 to 3.15 `rms_normalization.py`).

    Keras sorts the axes as they are written and multiplies by the scale as it is, so that it lies
    along the last axes whichever were normalised: one that is for others is refused.
    """
    config, value = call.config, call.value
    said = config.get("axis", -1)
    axes = sorted(said) if isinstance(said, list) else [said]
    places = [value.axis(one) for one in axes]
    if [value.there(one) for one in places] != list(range(value.rank))[-len(places) :]:
        raise NotLiftedError("it scales the last axes, and normalises others")
    order = sorted(places)
    op = LayerNorm(
        tuple(order),
        tuple(_side(value, one) for one in order),
        number(config.get("epsilon", 1e-6), "epsilon"),
        beta=False,
        about_zero=True,
    )
    return call.add(op, value, weights={"weight": From("scale", _moved(value, axes))})


NORMED = frozenset(
    [
        *("Dense", "Conv1D", "Conv2D", "Conv3D"),
        *("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"),
    ]
)
"""Layers whose kernel a SpectralNormalization divides: while it trains, in the array itself."""


def _spectral_norm(call: Call) -> Value:
    """When it predicts it is the layer that it holds, whose kernel was divided by what training
    found (2.15 and 3.15 `spectral_normalization.py`, call)."""
    inner = call.config.get("layer")
    name = class_of(inner) if isinstance(inner, dict) else ""
    if not isinstance(inner, dict) or name not in NORMED:
        raise NotLiftedError(f"it holds a {name or 'layer'}")
    held = replace(call, class_name=name, config=inner["config"])
    return call.known[name](held)


def _moved(value: Value, axes: list[Any]) -> tuple[Transform, ...]:
    """A layer norm's array has its sides in the order in which the axes are written, and Keras
    reads its numbers as if that were their order in the value (2.15 `layer_normalization.py` and
    3.15 `src/ops/nn.py`, _broadcast)."""
    places = [value.axis(axis) for axis in axes]
    in_keras = sorted(places, key=value.there)
    found: tuple[Transform, ...] = ()
    if places != in_keras:
        written, read = (
            tuple(_side(value, place) for place in some) for some in (places, in_keras)
        )
        found = (Reshaped(written, read),)
    order = sorted(range(len(places)), key=lambda one: in_keras[one])
    if order != sorted(order):
        found = (*found, Transpose(tuple(order), "axes in torch's order"))
    return found


def _group_norm(call: Call) -> Value:
    config, value = call.config, call.value
    place = value.axis(_only(config.get("axis", -1)))
    count = _side(value, place)
    said = config.get("groups", 32)
    op = GroupNorm(
        count if said == -1 else channels(said, "groups"),
        count,
        number(config.get("epsilon", 1e-3), "epsilon"),
        place,
        call.flag("scale", default=True),
        call.flag("center", default=True),
    )
    return call.add(op, value, weights={"weight": From("gamma"), "bias": From("beta")})


def _unit_norm(call: Call) -> Value:
    said = call.config.get("axis", -1)
    axes = said if isinstance(said, list) else [said]
    return call.add(UnitNorm(tuple(sorted(call.value.axis(one) for one in axes))), call.value)


def linear(value: Value, scale: Any, offset: Any, place: int | None = None) -> Op:
    """x * scale + offset, one number or one for each of Keras' last axis (or at a `place`)."""
    scales, offsets = (one if isinstance(one, tuple) else (one,) for one in (scale, offset))
    return Linear(scales, offsets, value.here(value.rank - 1) if place is None else place)


def _rescaling(call: Call) -> Value:
    """Keras 3 scales the first axis where its own `image_data_format`, which no layer keeps, says
    that channels come first (3.15 `rescaling.py`, call); tf.keras always scales the last."""
    scale, offset = constant(call.first("scale")), constant(call.config.get("offset", 0.0))
    if scale is None or offset is None:
        raise NotLiftedError("its scale or offset is not a number, or one for each channel")
    if isinstance(scale, tuple) and call.channels_first and call.era.major >= 3:
        raise NotLiftedError(
            "which axis its scales are for is in Keras' image_data_format, and not in the file"
        )
    return call.add(linear(call.value, scale, offset), call.value)


def _normalization(call: Call) -> Value:
    """(x - mean) / max(sqrt(variance), 1e-7); keras 2.15 and 3.15 `normalization.py`."""
    config, value = call.config, call.value
    if config.get("invert"):
        raise NotLiftedError("it is inverted")
    said = _only(config.get("axis", -1))
    if config.get("mean") is None:
        if said in (None, []):
            raise NotLiftedError("it was adapted over all axes, channels too")
        place = value.axis(said)
        norm = Norm.standardizing(_side(value, place))
        if place or value.rank not in (1, 3):
            raise NotLiftedError("it normalises another axis than the channels")
        vectors = {
            "running_mean": From("moving_mean"),
            "running_var": From("moving_variance"),
        }
        return call.add(norm, value, weights=vectors)
    mean, variance = constant(config["mean"]), constant(config["variance"])
    if mean is None or variance is None:
        raise NotLiftedError("its mean or variance is not a number for each channel")
    scale = each(variance, lambda one: 1 / max(math.sqrt(one), 1e-7))
    offset = times(times(mean, -1.0), scale)
    place = value.here(value.rank - 1) if said in (None, []) else value.axis(said)
    return call.add(linear(value, scale, offset, place), value)


def _layer_scale(call: Call) -> Value:
    """keras.applications' ConvNeXt: x times a gamma for each channel, which come last."""
    value = call.value
    place = value.here(value.rank - 1)
    sizes = tuple(_side(value, place) if one == place else 1 for one in range(value.rank))
    shaped = (unsqueezed(sizes),)
    return call.add(Weighted(sizes), value, weights={"weight": From("gamma", shaped)})


LAYERS: dict[str, Lifting] = {
    "BatchNormalization": _batch_norm,
    "BatchNormalizationV1": _batch_norm,
    "BatchNormalizationV2": _batch_norm,
    "SyncBatchNormalization": _batch_norm,
    "LayerNormalization": _layer_norm,
    "GroupNormalization": _group_norm,
    "RMSNormalization": _rms_norm,
    "SpectralNormalization": _spectral_norm,
    "UnitNormalization": _unit_norm,
    "Rescaling": _rescaling,
    "Normalization": _normalization,
    "LayerScale": _layer_scale,
}
