"""The weights of a layer by its class and configuration, in Keras' order: what a file has to hold.

Sources: `build` of keras 1.2.2 `layers/`, keras 2.3.1 `layers/`, keras 3.15 `src/layers/`; the
order of a model's weights: `Container` (1.2.2), `Network` (2.3.1), `Model` (tf.keras 2.10),
`legacy_h5_format._legacy_weights` (3.15): those that are trained first, then the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from converter.files.checkpoint import COUNT, Shape
from converter.files.model_config import is_model, is_operator, layer_name, model_layers

Config = Mapping[str, Any]
Partial = tuple[int | None, ...] | None
"""A shape of which some sizes are known, or nothing."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One array that a layer has. `is_trained` says that it is a trainable weight by its nature,
    `is_optional` that some versions do not keep it."""

    parameter: str
    shape: Partial = None
    is_trained: bool = True
    is_optional: bool = False

    def fits(self, shape: Shape) -> bool:
        if self.shape is None:
            return True
        return len(self.shape) == len(shape) and all(
            expected in (None, found) for expected, found in zip(self.shape, shape, strict=True)
        )

    @property
    def shape_text(self) -> str:
        sizes = ["?" if size is None else str(size) for size in self.shape or ()]
        return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


Slots = tuple[Slot, ...]


def slots(layer: Config) -> Slots | None:
    """The arrays of a layer that is no model, () for one without; None for a class that is not
    known."""
    name = str(layer["class_name"]).rpartition(">")[2]
    config = layer["config"]
    if is_operator(layer) or name in WEIGHTLESS:
        return ()
    return WITH_WEIGHTS[name](config) if name in WITH_WEIGHTS else None


def in_order(layer: Config) -> list[tuple[str, Slot]] | None:
    """(layer, array) of all that a layer or nested model has, as Keras lists its weights; None if
    a class in it is not known."""
    trained, others = _trained(layer), _others(layer)
    return None if trained is None or others is None else [*trained, *others]


Listed = list[tuple[str, Slot]]


def _trained(layer: Config) -> Listed | None:
    if is_model(layer):
        return _of_all(layer, _trained) if _is_trainable(layer) else []
    found = slots(layer)
    if found is None or not _is_trainable(layer):
        return None if found is None else []
    return [(layer_name(layer), one) for one in found if one.is_trained]


def _others(layer: Config) -> Listed | None:
    if is_model(layer):
        others = _of_all(layer, _others)
        frozen = [] if _is_trainable(layer) else _of_all(layer, _trained)
        return None if others is None or frozen is None else [*frozen, *others]
    found, is_frozen = slots(layer), not _is_trainable(layer)
    if found is None:
        return None
    return [(layer_name(layer), one) for one in found if is_frozen or not one.is_trained]


def _of_all(model: Config, weights: Callable[[Config], Listed | None]) -> Listed | None:
    found: Listed = []
    for layer in model_layers(model):
        some = weights(layer)
        if some is None:
            return None
        found += some
    return found


def _is_trainable(layer: Config) -> bool:
    config = layer["config"]
    return not isinstance(config, dict) or config.get("trainable", True) is not False


def unknown_classes(model: Config) -> Iterator[str]:
    """The layers whose class is not known, as `'name' (Class)`."""
    for layer in model_layers(model):
        if is_model(layer):
            yield from unknown_classes(layer)
        elif slots(layer) is None:
            yield f"{layer_name(layer)!r} ({layer['class_name']})"


# ---- the arrays of each class


def _size(value: Any) -> tuple[int | None, ...]:
    sizes = value if isinstance(value, list | tuple) else [value]
    return tuple(one if isinstance(one, int) else None for one in sizes)


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _with_bias(config: Config, *kernels: Slot, width: int | None) -> Slots:
    has_bias = config.get("use_bias", config.get("bias", True))
    return (*kernels, Slot("bias", (width,))) if has_bias else kernels


def _convolution(axes: int) -> Callable[[Config], Slots]:
    """A kernel (*window, in, out); Keras 1 for channels-first maps: (out, in, *window)."""

    def of(config: Config) -> Slots:
        if "nb_filter" in config:  # Keras 1
            width = _number(config["nb_filter"])
            window = _size([config.get(key) for key in ("nb_row", "nb_col")])
            if axes != 2 or "filter_length" in config:
                return _with_bias(config, Slot("kernel"), width=width)
            is_first = config.get("dim_ordering") == "th"
            shape = (width, None, *window) if is_first else (*window, None, width)
            return _with_bias(config, Slot("kernel", shape), width=width)
        width = _number(config["filters"])
        window = _size(config["kernel_size"])
        window = window * axes if len(window) == 1 else window
        return _with_bias(config, Slot("kernel", (*window, None, width)), width=width)

    return of


def _transposed(config: Config) -> Slots:
    """A kernel (*window, out, in)."""
    width = _number(config.get("filters", config.get("nb_filter")))
    if "kernel_size" not in config:
        return _with_bias(config, Slot("kernel"), width=width)
    window = _size(config["kernel_size"])
    window = window * 2 if len(window) == 1 else window
    return _with_bias(config, Slot("kernel", (*window, width, None)), width=width)


def _depthwise(config: Config) -> Slots:
    window = _size(config["kernel_size"])
    window = window * 2 if len(window) == 1 else window
    kernel = Slot("depthwise_kernel", (*window, None, _number(config.get("depth_multiplier", 1))))
    return _with_bias(config, kernel, width=None)


def _separable(config: Config) -> Slots:
    width = _number(config.get("filters", config.get("nb_filter")))
    kernels = Slot("depthwise_kernel"), Slot("pointwise_kernel")
    return _with_bias(config, *kernels, width=width)


def _dense(config: Config) -> Slots:
    width = _number(config.get("units", config.get("output_dim")))
    return _with_bias(config, Slot("kernel", (None, width)), width=width)


def _einsum(config: Config) -> Slots:
    return (Slot("kernel"), *((Slot("bias"),) * bool(config.get("bias_axes"))))


def _norm(config: Config) -> Slots:
    gamma = (Slot("gamma", (None,)),) if config.get("scale", True) else ()
    beta = (Slot("beta", (None,)),) if config.get("center", True) else ()
    moving = (Slot(name, (None,), is_trained=False) for name in ("moving_mean", "moving_variance"))
    return (*gamma, *beta, *moving)


def _layer_norm(config: Config) -> Slots:
    """With rms_scaling there is a gamma whatever else is said, and no beta (3.15
    `layer_normalization.py`, build)."""
    if config.get("rms_scaling"):
        return (Slot("gamma"),)
    names = [
        name for name, key in (("gamma", "scale"), ("beta", "center")) if config.get(key, True)
    ]
    return tuple(Slot(name) for name in names)


def _normalization(config: Config) -> Slots:
    if config.get("mean") is not None:  # its numbers stand in the configuration
        return ()
    return (
        Slot("moving_mean", is_trained=False),
        Slot("moving_variance", is_trained=False),
        Slot(COUNT, is_trained=False, is_optional=True),
    )


def _recurrent(gates: int) -> Callable[[Config], Slots]:
    """Kernels (in, gates) and (units, gates); a GRU with `reset_after` has two rows of bias, and
    CuDNN's layers both of theirs in one."""

    def of(config: Config) -> Slots:
        units = _number(config.get("units"))
        rows = None if units is None else gates * units
        kernels = Slot("kernel", (None, rows)), Slot("recurrent_kernel", (units, rows))
        bias = (Slot("bias"),) if config.get("use_bias", True) else ()
        return (*kernels, *bias)

    return of


def _both_ways(config: Config) -> Slots:
    forward = config["layer"]
    backward = config.get("backward_layer") or forward
    return tuple(
        replace(slot, parameter=f"{way}_{slot.parameter}")
        for way, layer in (("forward", forward), ("backward", backward))
        for slot in slots(layer) or ()
    )


def _table(config: Config) -> Slots:
    """A row for each number that it reads."""
    shape = _number(config.get("input_dim")), _number(config.get("output_dim"))
    return (Slot("kernel" if "embeddings_initializer" not in config else "embeddings", shape),)


def _scale(config: Config) -> Slots:
    scale = (Slot("scale"),) if config.get("use_scale", True) else ()
    return (*scale, *((Slot("concat_score_weight"),) * (config.get("score_mode") == "concat")))


def _heads(config: Config) -> Slots:
    """A kernel for what is read as query, key and value, (in, heads, width), and one for what is
    given, (heads, width, out)."""
    heads, width = _number(config.get("num_heads")), _number(config.get("key_dim"))
    values = _number(config.get("value_dim")) or width
    sizes = {"query": width, "key": width, "value": values}
    inputs = {name: ((None, heads, size), (heads, size)) for name, size in sizes.items()}
    found = []
    for name, (kernel, bias) in {**inputs, "output": ((heads, values, None), (None,))}.items():
        found.append(Slot(f"{name}_kernel", kernel))
        found += [Slot(f"{name}_bias", bias)] * bool(config.get("use_bias", True))
    return tuple(found)


def _spectral(config: Config) -> Slots:
    """Those of the layer that it holds, and a vector for training."""
    return (*(slots(config["layer"]) or ()), Slot("vector_u", is_trained=False))


def _vectors(*names: str) -> Callable[[Config], Slots]:
    return lambda config: tuple(Slot(name) for name in names)


WITH_WEIGHTS: Mapping[str, Callable[[Config], Slots]] = {
    "Conv1D": _convolution(1),
    "Conv2D": _convolution(2),
    "Conv3D": _convolution(3),
    "Convolution1D": _convolution(1),  # Keras 1
    "Convolution2D": _convolution(2),
    "Convolution3D": _convolution(3),
    "AtrousConvolution2D": _convolution(2),
    "Conv2DTranspose": _transposed,
    "Deconvolution2D": _transposed,  # Keras 1
    "DepthwiseConv2D": _depthwise,
    "SeparableConv2D": _separable,
    "SeparableConvolution2D": _separable,  # Keras 1
    "Dense": _dense,
    "EinsumDense": _einsum,
    "BatchNormalization": _norm,
    "BatchNormalizationV1": _norm,
    "BatchNorm": _norm,
    "SyncBatchNormalization": _norm,
    "LayerNormalization": _layer_norm,
    "GroupNormalization": _layer_norm,
    "RMSNormalization": _vectors("scale"),
    "SpectralNormalization": _spectral,
    "Embedding": _table,
    "Attention": _scale,
    "AdditiveAttention": _scale,
    "MultiHeadAttention": _heads,
    "Normalization": _normalization,
    "LSTM": _recurrent(4),
    "GRU": _recurrent(3),
    "SimpleRNN": _recurrent(1),
    "CuDNNLSTM": _recurrent(4),
    "CuDNNGRU": _recurrent(3),
    "Bidirectional": _both_ways,
    "Scale": _vectors("gamma", "beta"),
    "PReLU": _vectors("alpha"),
}
"""Every class of which it is known which arrays it has; a bias, gamma or beta where it says so."""


WEIGHTLESS = frozenset(
    [
        *("InputLayer", "Activation", "ReLU", "Softmax", "ELU", "LeakyReLU", "ThresholdedReLU"),
        *("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot"),
        *("Merge", "Flatten", "Reshape", "Permute", "RepeatVector", "Lambda", "Masking"),
        *("Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise", "ActivityRegularization"),
        *("SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "UnitNormalization"),
        *("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D"),
        *("Cropping1D", "Cropping2D", "Cropping3D"),
        *("UpSampling1D", "UpSampling2D", "UpSampling3D"),
        *("MaxPooling1D", "MaxPooling2D", "MaxPooling3D"),
        *("AveragePooling1D", "AveragePooling2D", "AveragePooling3D"),
        *("GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D"),
        *("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalAveragePooling3D"),
        *("Rescaling", "Resizing", "CenterCrop", "RandomFlip", "RandomRotation", "RandomZoom"),
        *("RandomTranslation", "RandomContrast", "RandomBrightness", "RandomCrop"),
        *("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer"),
    ]
)
"""Classes without weights."""
