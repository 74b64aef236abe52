"""Dense, and layers that give the same numbers in another shape or order."""

from __future__ import annotations

from converter.files.kinds import whole
from converter.files.model_config import class_of
from converter.mapping.transforms import IO_TO_OI
from converter.whole_model.keras_layers.activation import activated
from converter.whole_model.keras_layers.call import (
    MAP,
    Call,
    From,
    Lifting,
    NotLiftedError,
    Value,
)
from converter.whole_model.ranges import channels
from resnet_pt.ops import Dense, DenseLast, Flatten, Op, Permute, RepeatVector, Reshape
from resnet_pt.ops.protocol import MAX_CHANNELS


def _dense(call: Call) -> Value:
    """On the last axis in Keras; a Dense of Keras before 2 reads vectors alone."""
    value = call.value
    units = channels(call.first("units", "output_dim"), "units")
    bias = call.flag("use_bias", "bias", default=True)
    inputs = value.in_keras[-1]
    if inputs is None:
        raise NotLiftedError("how many numbers it reads is not in the configuration")
    op: Op = Dense(inputs, units, bias)
    if value.rank > 1:
        op = DenseLast(inputs, units, bias, value.is_moved)
    weights = {"weight": From("kernel", (IO_TO_OI,)), "bias": From("bias")}
    return activated(call, call.add(op, value, weights=weights))


def _flatten(call: Call) -> Value:
    """Told `channels_first`, it writes them last (since 2.1.6 `core.py`); before, as they lie."""
    value = call.value
    first = call.config.get("data_format") == "channels_first"
    if first and value.rank >= MAP:
        return call.add(Flatten("hwc"), call.turned(value, last=False))
    if first and value.rank > 1:
        raise NotLiftedError("it reads a sequence whose channels come first")
    return call.add(Flatten("hwc" if value.is_moved else "chw"), value)


def _reshape(call: Call) -> Value:
    target = call.first("target_shape")
    if not isinstance(target, list | tuple):
        raise NotLiftedError(f"its target_shape is {target!r}")
    return reshaped(call, [whole(one, "target_shape", -1, MAX_CHANNELS) for one in target])


def reshaped(call: Call, target: list[int]) -> Value:
    """A value in another shape behind the batch, as it lies in Keras."""
    value, last = call.value, not call.channels_first
    op = Reshape(tuple(target), value.is_moved, len(target) >= MAP and last)
    return call.add(op, value, last=last)


def _permute(call: Call) -> Value:
    dims = call.first("dims")
    return permuted(call, [whole(one, "dims", 1, 8) - 1 for one in dims])


def permuted(call: Call, places: list[int]) -> Value:
    """A value whose axis i behind the batch, in Keras, is the axis `places[i]` of what is read."""
    value = call.value
    if sorted(places) != list(range(value.rank)):
        raise NotLiftedError(f"it permutes {len(places)} axes, and {value.rank} come")
    if value.is_moved:  # axes as they lie in Keras, those that come first here last
        places = [places[-1], *places[:-1]]
    return call.add(Permute(tuple(value.here(one) for one in places)), value)


def _repeat(call: Call) -> Value:
    return call.add(RepeatVector(channels(call.first("n"), "n")), call.value)


def _time_distributed(call: Call) -> Value:
    """A Dense, an activation and the like do the same to each step as to a sequence."""
    inner = call.config.get("layer")
    name = class_of(inner) if isinstance(inner, dict) else ""
    if not isinstance(inner, dict) or name not in ("Dense", "Activation", "Dropout"):
        raise NotLiftedError(f"it repeats a {name or 'layer'} for each step")
    call.config = inner["config"]
    if name == "Dense":
        return _dense(call)
    if name == "Dropout":
        from converter.whole_model.keras_layers.training import LAYERS as TRAINING

        return TRAINING[name](call)
    from converter.whole_model.keras_layers.activation import LAYERS as ACTIVATIONS

    return ACTIVATIONS[name](call)


LAYERS: dict[str, Lifting] = {
    "Dense": _dense,
    "TimeDistributedDense": _dense,
    "TimeDistributed": _time_distributed,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Permute": _permute,
    "RepeatVector": _repeat,
}
