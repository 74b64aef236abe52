"""Layers that join values: sums, products, side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from converter.whole_model.keras_layers.call import (
    MAP,
    Call,
    Lifting,
    NotLiftedError,
    Value,
    same_rank,
)
from converter.whole_model.keras_layers.norms import linear
from converter.whole_model.ranges import number
from resnet_pt.ops import Add, Combine, Concatenate, Dot, MisfitError
from resnet_pt.ops.combine import How

HOW: dict[str, How] = {
    "Add": "add",
    "Subtract": "subtract",
    "Multiply": "multiply",
    "Average": "average",
    "Maximum": "maximum",
    "Minimum": "minimum",
}


def combined(call: Call, how: How) -> Value:
    """The values number by number; of lower rank they get axes behind the batch, as Keras gives
    them (2.3.1 `merge.py`)."""
    if len(call.values) < 2:
        raise NotLiftedError(f"it joins {len(call.values)} value")
    values, _, _ = same_rank(call, call.values)
    if how == "add":
        try:
            Add().shape(*(one.shape for one in values))
            return call.add(Add(), *values)
        except MisfitError:  # an axis of length 1 is repeated
            pass
    return call.add(Combine(how), *values)


def _joining(how: How) -> Lifting:
    return lambda call: combined(call, how)


def beside(call: Call, axis: Any) -> Value:
    """The values side by side."""
    last = call.values[0].last
    values = [call.turned(one, last) for one in call.values]
    if len({one.rank for one in values}) != 1:
        raise NotLiftedError("it sets values of different ranks side by side")
    return call.add(Concatenate(values[0].axis(axis)), *values)


def _concatenate(call: Call) -> Value:
    return beside(call, call.config.get("axis", -1))


OLD_DOT = (2, 2, 4)
"""The last Keras whose `batch_dot` multiplies the last two axes of maps as matrices, and repeats
the others (2.2.4 `tensorflow_backend.py`; 2.2.5 has numpy's). TensorFlow 1.13 to 2.0, with the old
one, and 2.1, with the new, all write 2.2.4-tf. An unknown version is `()`, and so before it."""


def _dot(call: Call) -> Value:
    return dotted(call, call.first("axes"), call.flag("normalize", default=False))


def dotted(call: Call, said: Any, normalize: bool) -> Value:
    """Sums of products over an axis of each, which lie as in Keras for it."""
    axes = said if isinstance(said, list | tuple) else [said, said]
    if len(call.values) != 2 or len(axes) != 2:
        raise NotLiftedError("it is a dot product of other than two values")
    is_old = call.era.version <= OLD_DOT and not call.era.theano
    if is_old and max(value.rank for value in call.values) >= MAP:
        raise NotLiftedError(
            "a dot product of maps was another one in Keras up to 2.2.4 and TensorFlow up to 2.0, "
            "and the file does not rule these out"
        )
    last = call.values[0].last
    one, other = (call.turned(value, last=False) for value in call.values)
    places = (one.axis(axes[0]), other.axis(axes[1]))
    return call.turned(call.add(Dot(places, normalize), one, other), last)


MODES: dict[str, How] = {"sum": "add", "mul": "multiply", "ave": "average", "max": "maximum"}


def _merge(call: Call) -> Value:
    """Keras 1's (1.2.2 `engine/topology.py`, Merge)."""
    mode = call.config.get("mode")
    if mode == "concat":
        return beside(call, call.config.get("concat_axis", -1))
    if mode == "dot":
        return dotted(call, call.first("dot_axes"), normalize=False)
    if mode not in MODES:
        raise NotLiftedError(f"its mode is {mode!r}")
    return combined(call, MODES[str(mode)])


def _scaled_sum(call: Call) -> Value:
    """keras.applications' InceptionResNetV2: x + y * scale (2.15 `inception_resnet_v2.py`,
    CustomScaleLayer)."""
    if len(call.values) != 2:
        raise NotLiftedError(f"it joins {len(call.values)} values, and not two")
    one, other = call.values
    scale = number(call.first("scale"), "scale")
    scaled = call.add(linear(other, scale, 0.0), other, part="_scaled")
    return combined(replace(call, values=(one, scaled)), "add")


LAYERS: dict[str, Lifting] = {
    **{name: _joining(how) for name, how in HOW.items()},
    "Concatenate": _concatenate,
    "Dot": _dot,
    "Merge": _merge,
    "CustomScaleLayer": _scaled_sum,
}
