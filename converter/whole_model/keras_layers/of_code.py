"""What functions of Keras' backend and of TensorFlow compute that no operator of a graph is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from converter.whole_model.keras_layers import activation, windows
from converter.whole_model.keras_layers.activation import activation_op
from converter.whole_model.keras_layers.call import Call, NotLiftedError, Value
from converter.whole_model.keras_layers.operators import TENSORFLOW, Arguments, Lifting
from converter.whole_model.keras_layers.shaping import reshaped
from converter.whole_model.ranges import channels
from resnet_pt.ops import Clamp, Elementwise, Resize


def _root(call: Call, given: Arguments) -> Value:
    """K.sqrt is that of 0 for what is negative (keras 2.3.1 `tensorflow_backend.py`)."""
    return call.add(Elementwise("sqrt"), call.add(Clamp(0.0, None), call.value))


def _relu(call: Call, given: Arguments) -> Value:
    """K.relu, which the layer calls too."""
    config = {name: one for name, one in given.items() if one is not None}
    return activation.LAYERS["ReLU"](replace(call, config=config))


def _hard_sigmoid(call: Call, given: Arguments) -> Value:
    op = activation_op(call, "hard_sigmoid", call.value)
    assert op
    return call.add(op, call.value)


def _batch_flatten(call: Call, given: Arguments) -> Value:
    return reshaped(call, [-1])


def _repeated(call: Call, given: Arguments) -> Value:
    """K.resize_images, which UpSampling2D calls too."""
    size = [given.get("height_factor"), given.get("width_factor")]
    others = {name: given[name] for name in ("data_format", "interpolation") if name in given}
    if given.get("data_format") not in ("channels_first", "channels_last", "tf", "th"):
        raise NotLiftedError("which axes it resizes is Keras' image_data_format, and in no file")
    config = {"size": size, **others}
    return windows.LAYERS["UpSampling2D"](replace(call, config=config))


def _old_resize(call: Call, given: Arguments) -> Value:
    """TensorFlow 1's: pixel i comes from i * before / after, or, with `align_corners`, the corners
    from the corners (1.15 `resize_bilinear_op.cc`, `resize_nearest_neighbor_op.cc`)."""
    said, size = METHODS.get(str(given.get("method", 0)).lower()), given.get("size")
    if said is None or given.get("preserve_aspect_ratio"):
        raise NotLiftedError(f"its method is {given.get('method')!r}, or keeps an aspect ratio")
    aligned = given.get("align_corners", False)
    if said == "nearest" and aligned:
        raise NotLiftedError("its align_corners is set")
    if not isinstance(size, list) or len(size) != 2 or call.value.rank != 3:
        raise NotLiftedError(f"it resizes what is no map, or to {size!r}")
    mode: Any = "floor" if said == "nearest" else "aligned" if aligned else "corner"
    sizes = tuple(channels(one, "size") for one in size)
    return call.add(Resize((sizes[0], sizes[1]), mode), call.turned(call.value, last=True))


METHODS: Mapping[str, str] = {
    "0": "bilinear",
    "1": "nearest",
    "bilinear": "bilinear",
    "nearest": "nearest",
}
"""`tf.image.ResizeMethod`: numbers in TensorFlow 1, text in 2."""


def _resize(call: Call, given: Arguments) -> Value:
    """`tf.image.resize`, which is another function in TensorFlow 1. Which TensorFlow a Keras ran on
    is known up to 2.2.5 and from 2.4 on; tf.keras wrote 2.2.4-tf on both."""
    version, text = call.era.version, call.era.text
    of_tensorflow = "-tf" in text
    last_of_1, first_of_2 = ((2, 2, 3), (2, 3)) if of_tensorflow else ((2, 2, 5), (2, 4))
    if version and version <= last_of_1:
        return _old_resize(call, given)
    if not version or version < first_of_2:
        raise NotLiftedError("its tf.image.resize is TensorFlow 1's or 2's, which is not said")
    method = METHODS.get(str(given.get("method", "bilinear")).lower())
    if given.get("antialias") or method is None:
        raise NotLiftedError("its antialias is set, or its method is none that is known")
    return TENSORFLOW["image.resize"](call, {**given, "method": method})


FUNCTIONS: Mapping[str, Lifting] = {
    "root": _root,
    "keras_relu": _relu,
    "hard_sigmoid": _hard_sigmoid,
    "batch_flatten": _batch_flatten,
    "repeated": _repeated,
    "old_resize": _old_resize,
    "image.resize": _resize,
}
"""By the names that `function_names.Known.operator` has for them."""
