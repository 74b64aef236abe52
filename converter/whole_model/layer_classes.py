"""Keras' layer classes and operators, one by one: a configuration → what it computes.

A class that is not in the tables becomes an `Unknown`, for whoever reads the graph to refuse by
name. Nothing in a configuration is imported, built or run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from converter.files.kinds import SettingError, truth, whole
from converter.files.model_config import (
    Config,
    call_arguments,
    class_of,
    first_argument,
    function_named,
    is_operator,
)
from converter.whole_model import arithmetic, tensorflow_nodes
from converter.whole_model.arithmetic import Reverse, Stack
from converter.whole_model.keras_classes import OPERATOR, why_unknown
from converter.whole_model.ops import (
    Activation,
    Add,
    BatchNorm,
    Convolution,
    Dense,
    Flatten,
    GlobalPooling,
    Identity,
    Input,
    Normalization,
    Op,
    Pad,
    Pair,
    Pooling,
    PReLU,
    Repeat,
    Reshape,
    Scale,
    Unknown,
)
from converter.whole_model.ranges import channels, number, padding, window
from resnet_pt.ops import Dropout, Rescaling
from resnet_pt.ops.protocol import MAX_CHANNELS


def op_of(class_name: str, config: Config) -> Op:
    """The op of a layer. Raises SettingError for numbers that cannot be."""
    package, _, short = class_name.rpartition(">")  # a registered class reads `package>Name`
    build = None if package and short not in REGISTERED else OPS.get(short)
    return build(config) if build else Unknown(class_name, why_unknown(class_name))


REGISTERED = ("BatchNorm", "Scale")
"""Classes that Keras does not have, and that projects may have registered: of any other, the code
is the project's own, whatever its name."""


def operator_of(layer: Config, call: Any) -> Op | None:
    """The op of an operator on tensors; None for a layer."""
    class_name, config = class_of(layer), layer["config"]
    if class_name in ("TFOpLambda", "SlicingOpLambda"):
        return _tf_function(class_name, str(config.get("function")), call)
    if class_name == tensorflow_nodes.CLASS:
        try:
            function, call = tensorflow_nodes.function_of(config, call)
        except SettingError as error:
            return Unknown(class_name, str(error))
        return _tf_function(class_name, function, call)
    found = arithmetic.keras_3(class_name, config, call)
    if found:
        return _as_op(found)
    if not is_operator(layer):
        return None
    build = FURTHER_OPERATORS.get(class_name)
    given = call.get("kwargs") if isinstance(call, dict) else None
    if build:
        return build({**config, **(given or {})})
    return None if class_name in OPS else Unknown(class_name, OPERATOR)


def _tf_function(class_name: str, function: str, call: Any) -> Op:
    """The op of a function of TensorFlow, by the name that tf.keras gives it."""
    refused = Unknown(class_name, f"the function {function!r} is not understood")
    return _known_function(function, call) or refused


def _known_function(function: str, call: Any) -> Op | None:
    """What a function computes; None for one that is not known."""
    found = arithmetic.tf_keras(function, call_arguments(call), first_argument(call))
    if found:
        return _as_op(found)
    given = {key: value for key, value in call_arguments(call).items() if key != "name"}
    if function in TF_ACTIVATIONS:
        return None if given else Activation(TF_ACTIVATIONS[function])
    build = TF_FUNCTIONS.get(function)
    return build(given) if build else None


def _as_op(operation: arithmetic.Operation) -> Op:
    if isinstance(operation, arithmetic.Sum):
        return Add()
    return Identity() if isinstance(operation, arithmetic.Same) else operation


def built_in_activation(op: Op, config: Config) -> Activation | Unknown | None:
    """The activation that a Conv2D or Dense applies itself."""
    if not isinstance(op, Convolution | Dense):
        return None
    found = _activation(config)
    return None if found == Activation("linear") else found


def _pair(value: Any, what: str, held: Callable[[Any, str], int] = window) -> Pair:
    """One number for height and width, or one for each."""
    if isinstance(value, list | tuple) and len(value) == 2:
        return held(value[0], what), held(value[1], what)
    one = held(value, what)
    return one, one


def _first(config: Config, *keys: str) -> Any:
    """The value under the first of `keys` that is there: Keras 2 renamed Keras 1's arguments."""
    for key in keys:
        if key in config:
            return config[key]
    raise KeyError(f"{keys[0]} in {config.get('name')!r}")


def input_shape(value: Any) -> tuple[int | None, ...]:
    if value is None:
        return ()
    return tuple(None if size is None else channels(size, "the input's shape") for size in value)


def _input(config: Config) -> Op:
    shape = config.get("batch_input_shape") or config.get("batch_shape")
    return Input(input_shape(shape))


def _conv(config: Config) -> Op:
    kernel = (
        (window(config["nb_row"], "nb_row"), window(config["nb_col"], "nb_col"))
        if "nb_row" in config
        else _pair(config["kernel_size"], "kernel_size")
    )
    return Convolution(
        kernel=kernel,
        stride=_pair(_first(config, "strides", "subsample"), "strides"),
        padding=str(_first(config, "padding", "border_mode")),
        groups=channels(config.get("groups", 1), "groups"),
        bias=truth(_first(config, "use_bias", "bias"), "use_bias"),
        dilation=_pair(config.get("dilation_rate", config.get("atrous_rate", 1)), "dilation_rate"),
        filters=_filters(config),
    )


def _filters(config: Config) -> int:
    """0 for a depthwise convolution of Keras 3, which has none of its own."""
    value = config.get("filters", config.get("nb_filter"))
    return 0 if value is None else channels(value, "filters")


def _depthwise(config: Config) -> Op:
    op = _conv(config)
    assert isinstance(op, Convolution)
    return replace(op, depthwise=True)


def _norm(config: Config) -> Op:
    if config.get("mode", 0) != 0:
        return Unknown("BatchNormalization", "mode 1 and 2 normalise by the batch at hand")
    if config.get("renorm"):
        return Unknown("BatchNormalization", "renorm=True keeps statistics of another kind")
    return BatchNorm(
        eps=number(config["epsilon"], "epsilon"),
        momentum=number(config.get("momentum", 0.99), "momentum"),
        gamma=truth(config.get("scale", True), "scale"),
        beta=truth(config.get("center", True), "center"),
        axis=_axis(config.get("axis", -1)),
    )


def _axis(value: Any) -> int:
    """tf.keras writes a list of one."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return whole(value, "axis", -MAX_AXIS, MAX_AXIS)


MAX_AXIS = 8


def _dense(config: Config) -> Op:
    units = channels(_first(config, "units", "output_dim"), "units")
    return Dense(units, truth(_first(config, "use_bias", "bias"), "use_bias"))


def _activation(config: Config) -> Activation | Unknown:
    name = function_named(config.get("activation"))
    if isinstance(name, dict):
        return _layer_as_activation(name)
    if name is None:
        return Activation("linear")
    if not isinstance(name, str):
        return Unknown("Activation", "its activation is custom code")
    return Activation(name, LEAKY if name == "leaky_relu" else 0.0)


def _layer_as_activation(layer: Config) -> Activation | Unknown:
    """`Dense(8, activation=LeakyReLU(0.1))`, as tf.keras and Keras 3 write it."""
    class_name = class_of(layer)
    op = op_of(class_name, layer["config"]) if isinstance(layer.get("config"), dict) else None
    if isinstance(op, Activation):
        return op
    return Unknown("Activation", f"its activation is an object of the class {class_name}")


LEAKY = 0.2
"""The slope of an activation named 'leaky_relu', in tf.keras 2 and in Keras 3."""


def _relu(config: Config) -> Op:
    maximum = config.get("max_value")
    slope = config.get("negative_slope") or 0.0
    if config.get("threshold") or (slope and maximum is not None):
        return Unknown("ReLU", "a threshold other than 0, or a slope and a maximum")
    if maximum is None:
        slope = number(slope, "negative_slope")
        return Activation("leaky_relu", slope) if slope else Activation("relu")
    return Activation("relu6") if maximum == 6 else Unknown("ReLU", f"max_value {maximum}")


def _elu(config: Config) -> Op:
    is_plain = config.get("alpha", 1.0) == 1.0
    return Activation("elu") if is_plain else Unknown("ELU", "its alpha is not 1")


def _leaky_relu(config: Config) -> Op:
    slope = arithmetic.constant(_first(config, "negative_slope", "alpha"))
    if not isinstance(slope, float):
        return Unknown("LeakyReLU", "its slope is not a number")
    return Activation("leaky_relu", slope)


def _softmax(config: Config) -> Op:
    axis = config.get("axis", -1)
    return Activation("softmax") if axis == -1 else Unknown("Softmax", f"axis {axis}")


def _zero_pad(config: Config) -> Op:
    value = config["padding"]
    if isinstance(value, dict):  # Keras 1 allowed names
        value = [value.get(f"{side}_pad", 0) for side in ("top", "bottom", "left", "right")]
    if isinstance(value, list | tuple) and len(value) == 4:  # Keras 1
        top, bottom, left, right = (padding(one, "padding") for one in value)
        return Pad((left, right, top, bottom))
    rows, columns = (value, value) if not isinstance(value, list | tuple) else value
    (top, bottom), (left, right) = (_pair(one, "padding", padding) for one in (rows, columns))
    return Pad((left, right, top, bottom))


def _pool(mode: Literal["max", "avg"]) -> Callable[[Config], Op]:
    def build(config: Config) -> Op:
        kernel = _pair(config["pool_size"], "pool_size")
        is_said = config.get("strides") not in (None, [])
        stride = _pair(config["strides"], "strides") if is_said else kernel
        return Pooling(mode, kernel, stride, str(_first(config, "padding", "border_mode")))

    return build


def _merge(config: Config) -> Op:
    mode = config.get("mode")
    if mode == "concat":
        return _side_by_side(config.get("concat_axis", -1))
    return Add() if mode == "sum" else Unknown("Merge", f"mode {mode!r}")


def _rescaling(config: Config) -> Op:
    scale = arithmetic.constant(config["scale"])
    offset = arithmetic.constant(config.get("offset", 0.0))
    if scale is None or offset is None:
        return Unknown("Rescaling", "its scale or offset is not a number, or one for each channel")
    return Rescaling(scale, offset)


def _normalization(config: Config) -> Op:
    """(x - mean) / max(sqrt(variance), 1e-7); keras 2.15 and 3.15 `normalization.py`."""
    if config.get("invert"):
        return Unknown("Normalization", "it is inverted")
    has_axis = config.get("axis", -1) not in (None, [], ())
    axis = _axis(config.get("axis", -1)) if has_axis else -1
    if config.get("mean") is None and not has_axis:
        return Unknown("Normalization", "it was adapted over all axes, channels too")
    if config.get("mean") is None:
        return Normalization(axis)
    if axis not in (-1, 3):
        return Unknown("Normalization", f"it normalises axis {axis}")
    mean, variance = arithmetic.constant(config["mean"]), arithmetic.constant(config["variance"])
    if mean is None or variance is None:
        return Unknown("Normalization", "its mean or variance is not a number for each channel")
    scale = arithmetic.each(variance, lambda one: 1 / max(math.sqrt(one), 1e-7))
    return Rescaling(scale, arithmetic.times(arithmetic.times(mean, -1.0), scale))


def _concatenate(config: Config) -> Op:
    return _side_by_side(config.get("axis", -1))


def _side_by_side(axis: Any) -> Op:
    if axis not in (-1, 1, 3):
        return Unknown("Concatenate", f"axis {axis}")
    return Stack(is_new=False, axis=1 if axis == 1 else -1)


def _reshape(config: Config) -> Op:
    """A layer's target, or that of Keras 3's operator, which has the batch too. To one axis is a
    Flatten, of the values as they lie."""
    if "newshape" in config:
        return _reshape_with_batch(config["newshape"])
    target = config["target_shape"]
    return Flatten() if len(target) == 1 else Reshape(tuple(map(_size, target)))


def _size(value: Any) -> int:
    """Of a shape to make: -1 is what is left."""
    return whole(value, "target_shape", -1, MAX_CHANNELS)


def _reshape_with_batch(shape: Any) -> Op:
    """A given width may take pixels for pictures (`tf.reshape(map, [-1, C])`): it is no Flatten."""
    if not isinstance(shape, list) or len(shape) < 2 or shape[0] not in (-1, None):
        return Unknown("Reshape", f"it makes the shape {shape}, of another batch")
    return Reshape(tuple(map(_size, shape[1:])))


def _over_map(mode: Literal["max", "avg"]) -> Callable[[Config], Op]:
    """A mean or maximum over a map, whose channels have to come last."""
    name = {"avg": "mean", "max": "maximum"}[mode]

    def build(config: Config) -> Op:
        axes = config.get("axis")
        if not isinstance(axes, list) or sorted(axes) not in ([1, 2], [-3, -2]):
            return Unknown(name.title(), f"it is a {name} over the axes {axes}")
        if config.get("initial") is not None:
            return Unknown(name.title(), "it begins with a number of its own")
        if config.get("keepdims"):
            return Unknown(name.title(), f"it keeps the axes that it is a {name} over")
        return GlobalPooling(mode, is_last=True)

    return build


def _pad(config: Config) -> Op:
    """Zeros or -inf around a map, whose channels have to come last."""
    widths = config.get("paddings", config.get("pad_width"))
    value = config.get("constant_values") or 0.0
    is_known = config.get("mode", "constant").lower() == "constant" and value in (0.0, -math.inf)
    if not is_known or not isinstance(widths, list) or len(widths) != 4:
        return Unknown("Pad", "it pads with something else than zeros, or not a map")
    batch, rows, columns, depth = (_pair(one, "paddings", padding) for one in widths)
    if any((*batch, *depth)):
        return Unknown("Pad", "it pads other axes than height and width")
    return Pad((*columns, *rows), is_last=True, value=value)


def _dropout(config: Config) -> Op:
    return Dropout(number(_first(config, "rate", "p"), "rate"))


def _gelu(config: Config) -> Op:
    approximate = config.get("approximate", False)  # tf.nn's default; Keras 3 writes it
    return Unknown("Gelu", "it is the approximate one") if approximate else Activation("gelu")


def _flip(config: Config) -> Op:
    axis = config.get("axis")
    return Reverse() if axis in (-1, [-1], 3, [3]) else Unknown("Flip", f"it turns the axis {axis}")


MAX_REPEATS = 64
"""Of the channels of a picture: a grey one becomes RGB."""


def _repeat(config: Config) -> Op:
    times, axis = config.get("repeats"), config.get("axis")
    if type(times) is not int or not 1 <= times <= MAX_REPEATS or axis not in (-1, 3):
        return Unknown("Repeat", f"it repeats {times} times along the axis {axis}")
    return Repeat(times)


def _constant(op: Op) -> Callable[[Config], Op]:
    return lambda config: op


def _scale(config: Config) -> Op:
    return Scale()


JOINS = ("Average", "Maximum", "Minimum", "Multiply", "Subtract", "Dot")
"""Keras' classes of several inputs, beside Add and Concatenate."""


OPS: dict[str, Callable[[Config], Op]] = {
    "InputLayer": _input,
    "Conv2D": _conv,
    "Convolution2D": _conv,  # Keras 1
    "AtrousConvolution2D": _conv,  # Keras 1: a dilated Conv2D
    "DepthwiseConv2D": _depthwise,
    "BatchNormalization": _norm,  # also keras-resnet's subclass, which adds `freeze`
    "BatchNormalizationV1": _norm,  # tf.keras 1.x
    "BatchNorm": _norm,  # Mask R-CNN's subclass
    "SyncBatchNormalization": _norm,
    "Scale": _scale,  # flyyufelix/cnn_finetune
    "Dense": _dense,
    "Activation": _activation,
    "ReLU": _relu,
    "Softmax": _softmax,
    "ELU": _elu,
    "ZeroPadding2D": _zero_pad,
    "MaxPooling2D": _pool("max"),
    "AveragePooling2D": _pool("avg"),
    "GlobalAveragePooling2D": _constant(GlobalPooling("avg")),
    "GlobalMaxPooling2D": _constant(GlobalPooling("max")),
    "Flatten": lambda config: Flatten(config.get("data_format") == "channels_first"),
    "Dropout": _dropout,
    "AlphaDropout": _dropout,
    "SpatialDropout2D": _constant(Identity()),
    "GaussianNoise": _constant(Identity()),
    "GaussianDropout": _constant(Identity()),
    "ActivityRegularization": _constant(Identity()),
    "RandomFlip": _constant(Identity()),
    "RandomRotation": _constant(Identity()),
    "RandomZoom": _constant(Identity()),
    "RandomTranslation": _constant(Identity()),
    "RandomContrast": _constant(Identity()),
    "RandomBrightness": _constant(Identity()),
    "Add": _constant(Add()),
    "Concatenate": _concatenate,
    **{name: _constant(Unknown(name, "it joins layers, and not by their sum")) for name in JOINS},
    "LeakyReLU": _leaky_relu,
    "PReLU": _constant(PReLU()),
    "Merge": _merge,  # Keras 1
    "Resizing": _constant(
        Unknown("Resizing", "pictures are resized before the network, not in it")
    ),
    "Rescaling": _rescaling,
    "Normalization": _normalization,
    "Reshape": _reshape,
}
"""Every layer class that is understood. The random layers do nothing at inference."""


FURTHER_OPERATORS: dict[str, Callable[[Config], Op]] = {
    "Mean": _over_map("avg"),
    "Max": _over_map("max"),
    "Amax": _over_map("max"),
    "Pad": _pad,
    "Flip": _flip,
    "Repeat": _repeat,
    "StopGradient": _constant(Identity()),
    "LeakyRelu": _leaky_relu,
    "Elu": _elu,
    "Gelu": _gelu,
    "Exp": _constant(Activation("exponential")),
    "Relu": _constant(Activation("relu")),
    "Relu6": _constant(Activation("relu6")),
    "Sigmoid": _constant(Activation("sigmoid")),
    "Silu": _constant(Activation("silu")),
    "Selu": _constant(Activation("selu")),
    "Tanh": _constant(Activation("tanh")),
    "Softplus": _constant(Activation("softplus")),
    "Softsign": _constant(Activation("softsign")),
}
"""The operators of Keras 3 that are understood beside those in `arithmetic`. A layer of one of
these names is custom code."""


TF_ACTIVATIONS: Mapping[str, str] = {
    "nn.relu": "relu",
    "nn.relu6": "relu6",
    "nn.elu": "elu",
    "nn.selu": "selu",
    "nn.silu": "silu",
    "nn.softsign": "softsign",
    "math.sigmoid": "sigmoid",
    "math.softplus": "softplus",
    "math.tanh": "tanh",
    "math.exp": "exponential",
}
"""TensorFlow's functions of one tensor and no other argument, as Keras calls them."""


TF_FUNCTIONS: dict[str, Callable[[Config], Op]] = {
    "compat.v1.pad": _pad,  # what tf.pad is called
    "identity": _constant(Identity()),
    "image.grayscale_to_rgb": _constant(Repeat(3)),
    "math.reduce_max": _over_map("max"),
    "math.reduce_mean": _over_map("avg"),
    "nn.gelu": _gelu,
    "nn.leaky_relu": lambda config: _leaky_relu({"alpha": LEAKY, **config}),
    "nn.softmax": _softmax,
    "repeat": _repeat,
    "reshape": lambda config: _reshape({"newshape": config["shape"]}),
    "reverse": _flip,
    "stop_gradient": _constant(Identity()),
}
"""The others that are understood, by their names in tf.keras 2.10 and 2.15 (the same in both)."""


ACTS_IN_TRAINING = frozenset(
    [
        *("BatchNormalization", "BatchNormalizationV1", "BatchNorm", "SyncBatchNormalization"),
        *("Dropout", "AlphaDropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout"),
        *("RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast"),
        "RandomBrightness",
    ]
)
"""Layers that do something else when they are called with `training=True`."""
