"""Have Keras build and save the legacy ResNet-50: `python scripts/legacy_resnet50.py FILE.h5`.

The `identity_block`/`conv_block` network of Keras up to 2.2 (keras-applications 1.0.8,
resnet50.py), layer by layer with its names, a bias in every convolution and the default
BatchNormalization. Its weights are random and far from trivial: normalisation statistics are
those of the data that flow through, and one channel in twenty has a tiny variance, so that a
wrong epsilon, or a gamma taken for a beta, moves the logits.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from absl import logging
from keras import layers

logging.set_verbosity(logging.ERROR)  # `.h5` is called legacy; here it is the point


def identity_block(x, kernel_size, filters, stage, block):
    """Three convolutions, and the input itself as shortcut."""
    name = f"{stage}{block}_branch"
    y = conv_bn(x, filters[0], 1, f"{name}2a")
    y = layers.Activation("relu")(y)
    y = conv_bn(y, filters[1], kernel_size, f"{name}2b", padding="same")
    y = layers.Activation("relu")(y)
    y = conv_bn(y, filters[2], 1, f"{name}2c")
    return layers.Activation("relu")(layers.Add()([y, x]))


def conv_block(x, kernel_size, filters, stage, block, strides=(2, 2)):
    """Three convolutions, the first of them strided, and a strided convolution as shortcut."""
    name = f"{stage}{block}_branch"
    y = conv_bn(x, filters[0], 1, f"{name}2a", strides=strides)
    y = layers.Activation("relu")(y)
    y = conv_bn(y, filters[1], kernel_size, f"{name}2b", padding="same")
    y = layers.Activation("relu")(y)
    y = conv_bn(y, filters[2], 1, f"{name}2c")
    shortcut = conv_bn(x, filters[2], 1, f"{name}1", strides=strides)
    return layers.Activation("relu")(layers.Add()([y, shortcut]))


def conv_bn(x, filters, kernel_size, name, **options):
    x = layers.Conv2D(filters, kernel_size, name=f"res{name}", **options)(x)
    return layers.BatchNormalization(name=f"bn{name}")(x)


def resnet50(width: int = 64, classes: int = 1000) -> keras.Model:
    """The whole network; `width` is 64 in the real one, and less in a small one for a test."""
    inputs = x = layers.Input((224, 224, 3))
    x = layers.ZeroPadding2D((3, 3), name="conv1_pad")(x)
    x = layers.Conv2D(width, (7, 7), strides=(2, 2), name="conv1")(x)
    x = layers.BatchNormalization(name="bn_conv1")(x)
    x = layers.Activation("relu")(x)
    x = layers.MaxPooling2D((3, 3), strides=(2, 2))(x)
    for stage, depth in enumerate((3, 4, 6, 3), start=2):
        middle = width * 2 ** (stage - 2)
        filters = (middle, middle, 4 * middle)
        x = conv_block(x, 3, filters, stage, "a", strides=(1, 1) if stage == 2 else (2, 2))
        for block in "bcdef"[: depth - 1]:
            x = identity_block(x, 3, filters, stage, block)
    x = layers.AveragePooling2D((7, 7), name="avg_pool")(x)
    x = layers.Flatten()(x)
    x = layers.Dense(classes, activation="softmax", name="fc1000")(x)
    return keras.Model(inputs, x, name="resnet50")


def fill(model: keras.Model, seed: int = 2016) -> None:
    """Random weights that keep the signal alive, layer by layer, on data that flow through."""
    random = np.random.default_rng(seed)
    picture = random.uniform(-120, 130, (2, 224, 224, 3)).astype(np.float32)
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D | layers.Dense):
            kernel, bias = layer.get_weights()
            fan_in = int(np.prod(kernel.shape[:-1]))
            kernel = random.normal(0, np.sqrt(2 / fan_in), kernel.shape)
            layer.set_weights([kernel, random.normal(0, 0.1, bias.shape)])
    norms = [one for one in model.layers if isinstance(one, layers.BatchNormalization)]
    with measured(norms, random):
        model(picture, training=False)


class measured:
    """While the context lasts, a norm takes the statistics of whatever comes to it."""

    def __init__(self, norms, random):
        self.norms, self.random = norms, random
        self.calls = [norm.call for norm in norms]

    def __enter__(self):
        for norm, call in zip(self.norms, self.calls, strict=True):
            norm.call = self.setting(norm, call)

    def __exit__(self, *error):
        for norm, call in zip(self.norms, self.calls, strict=True):
            norm.call = call

    def setting(self, norm, call):
        def set_and_call(x, *args, **kwargs):
            values = np.asarray(x)
            mean, variance = values.mean((0, 1, 2)), values.var((0, 1, 2))
            tiny = self.random.random(mean.shape) < 0.05
            gamma = self.random.uniform(0.5, 1.5, mean.shape)
            gamma[tiny] *= 0.05
            beta = self.random.normal(0, 0.3, mean.shape)
            noise = self.random.uniform(0.8, 1.25, mean.shape)
            variance = np.where(tiny, 3e-5, variance * noise)
            norm.set_weights([gamma, beta, np.where(tiny, mean, mean * noise), variance])
            return call(x, *args, **kwargs)

        return set_and_call


def main(path: str) -> None:
    print("Keras builds a full-size legacy ResNet-50 …", file=sys.stderr)
    model = resnet50()
    fill(model)
    model.save(path)
    print(f"saved {path}: {os.path.getsize(path) / 1e6:.0f} MB", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1])
