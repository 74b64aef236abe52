"""Small residual networks of Keras, which differ in one fact each: run by a Keras of its own.

`python fact_networks.py FOLDER NAME=JSON …` writes `NAME.h5`, the whole model, and `NAME.npz`, its
input and its logits. All have the same weights, as far as they have the same shapes.
"""

from __future__ import annotations

import json
import sys
import zlib
from typing import Any

import numpy as np

STANDARD: dict[str, Any] = {
    "eps": 1.001e-5,
    "activation": "relu",
    "stem_stride": 2,
    "stem": "pad",
    "pool": "max",
    "pool_window": 3,
    "pool_stride": 2,
    "pool_padding": "zero",
    "strides": [1, 2, 2],
    "stride_in": 0,
    "stride_on": 1,
    "padding": "same",
    "dilation": [1, 1, 1],
    "hidden": "",
    "basic": False,
}


def build(name: str, **facts: Any) -> Any:
    """The network of keras-applications, three stages of two blocks, with other facts."""
    import keras
    from keras import layers

    one = {**STANDARD, **facts}

    def conv(x: Any, width: int, size: int, label: str, stride: int = 1, rate: int = 1) -> Any:
        padding = "valid" if size == 1 else "same"
        if stride > 1 and size == 3 and one["padding"] == "even":
            x, padding = layers.ZeroPadding2D(1)(x), "valid"
        make = layers.Conv2D(width, size, stride, padding, dilation_rate=rate, name=label)
        return make(x)

    def norm(x: Any, label: str) -> Any:
        return layers.BatchNormalization(epsilon=one["eps"], name=label)(x)

    def act(x: Any) -> Any:
        return layers.Activation(one["activation"])(x)

    def block(x: Any, width: int, label: str, stride: int, rate: int, is_first: bool) -> Any:
        short, last = x, width * (1 if one["basic"] else 4)
        if is_first:
            short = norm(conv(x, last, 1, f"{label}_0_conv", stride), f"{label}_0_bn")
        elif stride > 1:
            short = layers.MaxPooling2D(1, stride)(x)
        sizes = (3, 3) if one["basic"] else (1, 3, 1)
        for number, size in enumerate(sizes, start=1):
            steps = stride if number == one["stride_on"] else 1
            amount = rate if steps == 1 and size == 3 else 1
            channels = last if number == len(sizes) else width
            x = conv(x, channels, size, f"{label}_{number}_conv", steps, amount)
            x = norm(x, f"{label}_{number}_bn")
            x = act(x) if number < len(sizes) else x
        return act(layers.Add()([x, short]))

    inputs = x = keras.Input((64, 64, 3))
    if one["stem"] == "pad":
        x = layers.ZeroPadding2D(3)(x)
    padding = "same" if one["stem"] == "same" else "valid"
    x = layers.Conv2D(4, 7, one["stem_stride"], padding, name="conv1_conv")(x)
    x = act(norm(x, "conv1_bn"))
    if one["pool_padding"] == "zero":
        x = layers.ZeroPadding2D(1)(x)
    pools = {"max": layers.MaxPooling2D, "average": layers.AveragePooling2D}
    if one["pool"] in pools:
        around = "same" if one["pool_padding"] == "same" else "valid"
        x = pools[one["pool"]](one["pool_window"], one["pool_stride"], around)(x)
    for stage, stride in enumerate(one["strides"]):
        for index in range(2):
            steps = stride if index == one["stride_in"] else 1
            label = f"conv{stage + 2}_block{index + 1}"
            x = block(x, 2 * 2**stage, label, steps, one["dilation"][stage], index == 0)
    x = layers.GlobalAveragePooling2D()(x)
    if one["hidden"]:
        x = layers.Dense(9, activation=one["hidden"], name="hidden")(x)
    return keras.Model(inputs, layers.Dense(5, name="predictions")(x), name=name)


def fill(model: Any) -> None:
    """Numbers by the name of each weight. One channel in six is almost still behind its
    convolution, so that its variance is small and epsilon counts."""
    for layer in model.layers:
        part = layer.name.removesuffix("_conv").removesuffix("_bn")
        values = []
        for weight in layer.weights:
            shape = tuple(weight.shape)
            random = np.random.default_rng(zlib.crc32(f"{layer.name}/{weight.name}".encode()))
            still = np.random.default_rng(zlib.crc32(part.encode())).random(shape[-1]) < 1 / 6
            if weight.name == "moving_variance":
                value = np.where(still, 1e-4, random.uniform(0.5, 1.5, shape))
            elif len(shape) > 1:
                value = random.normal(0, np.prod(shape[:-1]) ** -0.5, shape)
            else:
                value = random.normal(0.7 if weight.name == "gamma" else 0, 0.2, shape)
            if layer.name.endswith("_conv"):
                value = np.where(still, value / 100, value)
            values.append(value.astype("float32"))
        layer.set_weights(values)


def main(folder: str, *variants: str) -> None:
    for variant in variants:
        name, _, facts = variant.partition("=")
        model = build(name, **json.loads(facts))
        fill(model)
        picture = np.random.default_rng(3).normal(0, 1, (2, 64, 64, 3)).astype("float32")
        logits = np.asarray(model(picture, training=False))
        model.save(f"{folder}/{name}.h5")
        np.savez(f"{folder}/{name}.npz", input=picture, output=logits, logits=logits)


if __name__ == "__main__":
    main(*sys.argv[1:])
