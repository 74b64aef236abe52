"""Keras 2's side of the oracle's process: tf-keras, its code on today's TensorFlow.

A model is made from the configuration that our own reader has read and found to hold known classes
and functions alone (`oracle.choose_oracle`), and not from what stands in the file; its weights are
loaded by tf-keras, in its own order of layers and arrays. What it made of the configuration is held
against it (`settings`). No torch is imported here.

Its float64 is not float64 everywhere: `exact` puts right what rounds constants to float32, and
notes the layers that give float32 whatever they are told, as TensorFlow's bilinear.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tf_keras.src.engine.base_layer import TensorFlowOpLayer
from tf_keras.src.saving.legacy.saved_model import json_utils

from converter.files.model_config import NARROW
from converter.parity.original.keras_twice import CHANNELS_FIRST, CHANNELS_LAST
from converter.parity.original.settings import misread

NAME = f"tf-keras {tf_keras.__version__}"

SHOWN = 3
"""Settings that are shown of those that were read otherwise."""


AUGMENTING = (
    *("RandomBrightness", "RandomContrast", "RandomFlip", "RandomHeight", "RandomRotation"),
    *("RandomTranslation", "RandomWidth", "RandomZoom"),
)
"""Layers that give what they read but in training. In float64 they fail where they are made."""

for augmenting in AUGMENTING:
    getattr(tf_keras.layers, augmenting).call = lambda self, x, *_, **__: x


def of_wide_constants(kind: Any) -> None:
    """Have nodes of TensorFlow's graph keep their constants in the type that the model computes in,
    and not in float32, and say them in their configuration as they were given."""
    make, configured = kind.__init__, kind.get_config

    def made(self: Any, *args: Any, constants: Any = None, **kwargs: Any) -> None:
        self.given = constants or {}
        wide = dict(self.given)
        for place, one in self.given.items():
            if np.asarray(one).dtype.kind == "f":
                wide[place] = np.asarray(one, tf_keras.backend.floatx())
        make(self, *args, constants=wide, **kwargs)

    kind.__init__ = made
    kind.get_config = lambda self: {**configured(self), "constants": self.given}


of_wide_constants(TensorFlowOpLayer)


class MisreadError(Exception):
    """tf-keras made another network of the configuration than it describes."""


def loaded(path: Path, job: Mapping[str, Any]) -> Any:
    """The model of a configuration, with the weights in a file. Raises MisreadError."""
    model = made(job["config"])
    if job["given"] and job["given"]["match"] == "names":  # the user's word, and not Keras' order
        model.load_weights(str(path), by_name=True)
    else:
        model.load_weights(str(path))
    return model


def made(config: Mapping[str, Any]) -> Any:
    """The model that a configuration describes, without its weights. Raises MisreadError."""
    decoded = json_utils.decode(json.dumps(config))
    if "module" in config:  # the archives of Keras 2.12 and later
        model = tf_keras.saving.deserialize_keras_object(decoded)
    else:
        model = tf_keras.models.model_from_config(decoded)
    written = {"class_name": type(model).__name__, "config": model.get_config()}
    plain = json.loads(json.dumps(written, cls=json_utils.Encoder))
    wrong = misread(config, plain, dict(axes(model)))
    if wrong:
        more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise MisreadError("; ".join(wrong[:SHOWN]) + more)
    return model


def axes(model: Any, outer: str = "") -> Iterator[tuple[str, int]]:
    """(layer, nested models in front; axes of what it reads), where it knows."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from axes(layer, f"{outer}{layer.name}/")
        elif getattr(layer.input_spec, "ndim", None):
            yield f"{outer}{layer.name}", layer.input_spec.ndim


def in_dtype(model: Any, dtype: str, job: Mapping[str, Any]) -> Any:
    """The model itself in float32; in float64 its layers are made anew, and where it takes bytes,
    to which Keras would cut the numbers of every picture, or computes in half precision, which the
    converted network does not."""
    tf_keras.backend.set_floatx(dtype)
    written = text = json.dumps(job["config"])
    for other in ("float32", "uint8", *NARROW):
        text = text.replace(f'"{other}"', f'"{dtype}"')
    if dtype == "float64":  # nodes of TensorFlow's graph have types of their own
        text = text.replace("DT_FLOAT", "DT_DOUBLE")
    if dtype == "float32" and text == written:
        return model
    wide = made(json.loads(text))
    wide.set_weights(model.get_weights())
    for layer in leaf_layers(wide):
        layer.finalize_state()  # a Normalization computes with copies of its weights
    return wide


def exact(model: Any, dtype: str, narrow: set[str]) -> Any:
    """The model, with the constants of its layers in that dtype: TensorFlow keeps leaky relu's
    slope and gelu's numbers in float32, and casts a number of Python by way of it. Layers of maps
    (N, C, H, W) are computed channels last, the only order that TensorFlow has on a CPU. `narrow`
    gets the names of layers that give float32 all the same."""
    for layer in leaf_layers(model):
        kind = type(layer).__name__
        slope = _slope(layer, kind)
        if kind == "Rescaling":
            layer.scale, layer.offset = (np.asarray(x, dtype) for x in (layer.scale, layer.offset))
        elif slope is not None:
            layer.call = leaky_relu(slope)
        elif kind == "TFOpLambda" and layer.symbol == "nn.leaky_relu":
            layer.call = lambda features, alpha=0.2, **_: leaky_relu(alpha)(features)
        elif kind == "TFOpLambda" and layer.symbol == "nn.gelu":
            layer.call = lambda features, approximate=False, **_: gelu(features, approximate)
        elif getattr(layer, "activation", None) is tf.nn.leaky_relu:
            layer.activation = leaky_relu(0.2)
        elif getattr(layer, "activation", None) is tf_keras.activations.gelu:
            layer.activation = gelu
        elif type(getattr(layer, "activation", None)).__name__ == "LeakyReLU":
            layer.activation = leaky_relu(float(layer.activation.alpha))
        elif kind.startswith(AUGMENTING):
            layer.call = lambda x, *_, **__: (
                x
            )  # in float64 they fail, and do nothing outside training
        if is_turned(layer, kind):
            layer.call = turned(layer)
        if dtype == "float64":
            if kind == "Resizing":  # bilinear gives float32, which the layer makes float64
                narrow.add(layer.name)
            layer.call = wide(layer, layer.call, narrow)
    return model


def _slope(layer: Any, kind: str) -> float | None:
    """What a layer multiplies what is below zero with, where it leaves that to TensorFlow."""
    if kind == "LeakyReLU":
        return float(layer.alpha)
    if kind == "ReLU" and layer.negative_slope and not layer.threshold and layer.max_value is None:
        return float(layer.negative_slope)
    return None


def leaky_relu(slope: float) -> Callable[..., Any]:
    return lambda x, **_: tf.where(x > 0, x, x * slope)


def gelu(x: Any, approximate: bool = False) -> Any:
    if approximate:
        return 0.5 * x * (1 + tf.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x * x * x)))
    return 0.5 * x * (1 + tf.math.erf(x / 2**0.5))


def wide(layer: Any, own: Callable[..., Any], narrow: set[str]) -> Callable[..., Any]:
    """A layer's call in float64: what it gives in float32 is noted, and made float64."""

    def call(*args: Any, **kwargs: Any) -> Any:
        found = own(*args, **kwargs)
        if getattr(found, "dtype", None) != tf.float32:
            return found
        narrow.add(layer.name)
        return tf.cast(found, tf.float64)

    return call


TURNED = frozenset(
    [
        *("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose"),
        *("MaxPooling2D", "AveragePooling2D", "BatchNormalization"),
    ]
)
"""Classes of layers of maps that TensorFlow computes channels last alone on a CPU."""


def is_turned(layer: Any, kind: str) -> bool:
    if kind == "BatchNormalization":
        return list(np.atleast_1d(layer.axis)) == [1] and layer.input_spec.ndim == 4
    return kind in TURNED and layer.data_format == "channels_first"


def turned(layer: Any) -> Callable[..., Any]:
    """A layer's call on the map turned: `data_format` says in which order a map's axes lie, and
    nothing else. Its activation is applied to the map as it lies there."""
    twin: list[Any] = []

    def call(x: Any, *_: Any, **__: Any) -> Any:
        if not twin:
            twin.append(channels_last(layer, x))
        answer = twin[0].call(tf.transpose(x, CHANNELS_LAST))
        answer = tf.transpose(answer, CHANNELS_FIRST)
        activation = getattr(layer, "activation", None)
        return answer if activation is None else activation(answer)

    return call


def channels_last(layer: Any, x: Any) -> Any:
    """A layer of the same settings and weights for maps (N, H, W, C), without its activation."""
    config = layer.get_config()
    other: dict[str, Any] = {"axis": -1} if "axis" in config else {"data_format": "channels_last"}
    if "activation" in config:
        other["activation"] = "linear"
    twin = type(layer).from_config({**config, **other})
    batch, channels, height, width = x.shape
    twin.build((batch, height, width, channels))
    twin.set_weights(layer.get_weights())
    return twin


def leaf_layers(model: Any) -> Iterator[Any]:
    """Every layer, those of nested models too."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from leaf_layers(layer)
        else:
            yield layer
