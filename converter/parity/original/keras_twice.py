"""Faults of the Keras that is asked: layers of channels-first maps are asked a second way.

`data_format` says in which order a map's axes lie, and nothing else: a layer gives the same numbers
channels last, on the map turned. Where it does not, the fault is Keras', and the answer of channels
last counts: that is TensorFlow's own order, the only one in which it convolves on a CPU.

Known so far: `keras.ops.add` of keras 3.15 on TensorFlow (`backend/tensorflow/numpy.py`, add) takes
an array of one axis that is not 1 for a bias, and adds it along the last axis wherever that is as
long, so that a channels-first bias goes along the width where there are as many columns as filters.
Conv2D, DepthwiseConv2D, SeparableConv2D and Conv2DTranspose add theirs with it; pools, pads, norms
and Dense layers do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

CHANNELS_FIRST, CHANNELS_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
"""The axes of a map (N, H, W, C) in the order (N, C, H, W), and back."""

TURNED = frozenset(
    [
        *("Conv2D", "DepthwiseConv2D", "SeparableConv2D"),
        *("MaxPooling2D", "AveragePooling2D", "GlobalMaxPooling2D", "GlobalAveragePooling2D"),
        *("ZeroPadding2D", "Flatten", "BatchNormalization"),
    ]
)
"""Classes whose layers can be asked channels last. A Conv2DTranspose of channels-first maps runs on
no CPU."""

TOLERANCE: Mapping[str, float] = {"float32": 1e-4, "float64": 1e-10}
"""How far rounding takes the two answers apart, of the largest number: sums in another order."""

AT_FAULT = "those of channels last, the order that TensorFlow computes in, are taken"
ITS_OWN = (
    "the file was written by Keras 3, and what its project saw may have had this fault: its "
    "answers are taken as they are; a record made by the Keras and backend that ran it decides "
    "(--against)"
)


def asked_twice(layer: Any, faults: dict[str, float] | None, keeps: bool = False) -> Any:
    """The call of a channels-first layer, or None for any other: it gives the answer of channels
    last where the two differ, and notes the difference in `faults` as `{layer: of the largest}`.
    With `keeps` it gives Keras' own answer all the same."""
    kind = type(layer).__name__
    is_norm = kind == "BatchNormalization" and layer.axis in (1, -3)
    if kind not in TURNED or not (is_norm or _data_format(layer) == "channels_first"):
        return None
    own = layer.call
    twin: list[Any] = []

    def call(x: Any, *args: Any, **kwargs: Any) -> Any:
        answer = own(x, *args, **kwargs)
        if len(x.shape) != 4:  # a norm of vectors
            return answer
        if not twin:
            twin.append(channels_last(layer, x))
        other = _second(layer, twin[0], x)
        if not hasattr(answer, "numpy"):  # a graph that is being compiled
            return answer if keeps else other
        apart = _apart(np.asarray(answer), np.asarray(other))
        if apart <= TOLERANCE[layer.compute_dtype]:
            return answer
        if faults is not None:
            faults[layer.name] = max(apart, faults.get(layer.name, 0.0))
        return answer if keeps else other

    return call


def _data_format(layer: Any) -> str:
    return str(getattr(layer, "data_format", ""))


def channels_last(layer: Any, x: Any) -> Any:
    """A layer of the same settings and weights for maps (N, H, W, C)."""
    config = layer.get_config()
    turned = {"axis": -1} if "axis" in config else {"data_format": "channels_last"}
    twin = type(layer).from_config({**config, **turned})
    batch, channels, height, width = x.shape
    twin.build((batch, height, width, channels))
    twin.set_weights(layer.get_weights())
    return twin


def _second(layer: Any, twin: Any, x: Any) -> Any:
    """The second answer. The activation is the layer's own, which may have been made exact, on the
    map as it lies there: a softmax is over its last axis, whatever that is."""
    import keras

    activation = getattr(layer, "activation", None)
    if activation is not None:
        twin.activation = keras.activations.linear
    answer = twin.call(keras.ops.transpose(x, CHANNELS_LAST))
    is_map = len(answer.shape) == 4
    answer = keras.ops.transpose(answer, CHANNELS_FIRST) if is_map else answer
    return answer if activation is None else activation(answer)


def _apart(one: Any, other: Any) -> float:
    """The largest difference, of the largest number; infinite for arrays of other shapes."""
    if one.shape != other.shape:
        return float("inf")
    differ = (one != other) & ~(np.isnan(one) & np.isnan(other))
    if not differ.any():
        return 0.0
    apart, largest = np.abs(one[differ] - other[differ]).max(), np.abs(other).max()
    return float(apart / largest) if largest and np.isfinite(apart / largest) else float("inf")


def adds_along_width(add: Callable[[Any, Any], Any]) -> bool:
    """Whether a Keras' `add` takes a channels-first bias for one along the width: 1 and 2, added to
    zeros of two channels and one row of two columns."""
    bias = np.array([1.0, 2.0], "float32").reshape(1, 2, 1, 1)
    zeros = np.zeros((1, 2, 1, 2), "float32")
    return not np.array_equal(np.asarray(add(zeros, bias)), zeros + bias)


def in_words(keras: Any, faults: Mapping[str, float], keeps: bool) -> str:
    """What was found, for the notes of a report; '' where Keras was right."""
    if not faults:
        return ""
    name, *others = sorted(faults, key=lambda one: -faults[one])
    more = f" and {len(others)} more layers" if others else ""
    cause = "it adds a bias along the width where that is the number of filters"
    why = f" ({cause})" if adds_along_width(keras.ops.add) else ""
    return (
        f"Keras {keras.__version__} on {keras.backend.backend()} is at fault: channels first, "
        f"{name}{more} give other numbers than channels last, by up to {faults[name]:.1e} of the "
        f"largest{why}; {ITS_OWN if keeps else AT_FAULT}"
    )
