"""The same network in Keras' own words, for files that Keras itself cannot load.

A layer that stands for a torch module has that module's name: what Keras names by itself could be
the name of another layer of the file. Runs in the oracle's process only.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import layers

from resnet_pt.architecture import (
    NON_NEGATIVE,
    Architecture,
    Block,
    Conv,
    HeadLayer,
    Norm,
    Padding,
    Pool,
    Shortcut,
)
from resnet_pt.program import module_name


def keras_network(architecture: Architecture) -> Any:
    """A keras.Model whose outputs are the logits."""
    return _Network(architecture).model()


class _Take(layers.Layer):  # type: ignore[misc]
    """The channels of a picture with these numbers, in this order."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = channels

    def call(self, x: Any) -> Any:
        return keras.ops.take(x, self.channels, axis=-1)


class _Pad(layers.Layer):  # type: ignore[misc]
    """Another value than zero around a map."""

    def __init__(self, sides: Any, value: float) -> None:
        super().__init__()
        self.sides, self.value = sides, value

    def call(self, x: Any) -> Any:
        return keras.ops.pad(x, ((0, 0), *self.sides, (0, 0)), constant_values=self.value)


class _Network:
    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture
        self.numbers = itertools.count()

    def model(self) -> Any:
        inputs = x = keras.Input((None, None, self.architecture.in_channels))
        stem = self.architecture.stem
        if stem.channels:
            x = _Take(stem.channels)(x)
        if stem.rescaling:
            x = layers.Rescaling(*stem.rescaling)(x)
        x = self.norm(x, stem.data_norm, "bn_data")
        for number, one in enumerate(stem.front):
            x = self.conv(x, one.conv, f"front.{3 * number}")
            x = self.norm(x, one.norm, f"front.{3 * number + 1}")
            x = layers.Activation(one.activation)(x)
        for number, (conv, norm) in enumerate(stem.deep):
            x = self.conv(x, conv, f"conv1.{3 * number}")
            x = self.act(self.norm(x, norm, f"conv1.{3 * number + 1}"))
        x = self.conv(x, stem.conv, stem.module)
        x = self.norm(x, stem.norm, "bn1")
        x = self.act(x) if stem.activation else x
        x = self.pool(x, stem.pool, "maxpool") if stem.pool else x
        maps = []
        for number, stage in enumerate(self.architecture.stages, start=1):
            for index, block in enumerate(stage):
                make = self.preactivated if block.preactivation else self.postactivated
                x = make(x, block, f"layer{number}.{index}")
            maps.append(x)
        if self.architecture.norm:
            x = self.act(self.norm(x, self.architecture.norm, "norm"))
        return keras.Model(inputs, self.head(x, maps))

    def postactivated(self, x: Any, block: Block, name: str) -> Any:
        y = x
        for number, (conv, norm) in enumerate(zip(block.convs, block.norms, strict=True), 1):
            y = self.norm(self.conv(y, conv, f"{name}.conv{number}"), norm, f"{name}.bn{number}")
            y = self.act(y) if number < len(block.convs) else y
        short = self.shortcut(x, block.shortcut, name)
        return self.act(self.add(y, short), name) if block.activated else self.add(y, short, name)

    def preactivated(self, x: Any, block: Block, name: str) -> Any:
        first = y = self.act(self.norm(x, block.norms[0], f"{name}.bn1")) if block.norms[0] else x
        for number, (conv, norm) in enumerate(zip(block.convs, block.norms, strict=True), 1):
            y = self.act(self.norm(y, norm, f"{name}.bn{number}")) if number > 1 else y
            y = self.conv(y, conv, f"{name}.conv{number}")
        shared = block.shortcut is not None and block.shortcut.source == "preactivation"
        return self.add(y, self.shortcut(first if shared else x, block.shortcut, name), name)

    def shortcut(self, x: Any, shortcut: Shortcut | None, name: str) -> Any:
        if shortcut is None:
            return x
        x = self.pool(x, shortcut.pool, f"{name}.downsample.pool") if shortcut.pool else x
        x = self.conv(x, shortcut.conv, f"{name}.downsample.0") if shortcut.conv else x
        return self.norm(x, shortcut.norm, f"{name}.downsample.1")

    def conv(self, x: Any, conv: Conv, module: str) -> Any:
        x, padding = self.padded(x, conv.padding)
        return layers.Conv2D(
            conv.out_channels,
            conv.kernel,
            strides=conv.stride,
            padding=padding,
            dilation_rate=conv.dilation,
            groups=conv.groups,
            use_bias=conv.bias,
            name=module,
        )(x)

    def norm(self, x: Any, norm: Norm | None, module: str) -> Any:
        if norm is None:
            return x
        x = layers.BatchNormalization(
            epsilon=norm.eps, scale=norm.gamma, center=norm.beta, name=module
        )(x)
        if norm.rescale:
            x = Scale(name=f"{module}.scale")(x)
        return x

    def act(self, x: Any, module: str = "") -> Any:
        name = module or self.nameless()
        if self.architecture.activation == "leaky_relu":
            return layers.LeakyReLU(self.architecture.slope, name=name)(x)
        return layers.Activation(self.architecture.activation, name=name)(x)

    def add(self, x: Any, y: Any, module: str = "") -> Any:
        return layers.Add(name=module or self.nameless())([x, y])

    def nameless(self) -> str:
        """A name for a layer that no torch module stands for."""
        return f"between.{next(self.numbers)}"

    def pool(self, x: Any, pool: Pool, module: str) -> Any:
        """Zeros stand for -inf where the map is not negative."""
        stem, activation = self.architecture.stem, self.architecture.activation
        is_positive = stem.activation and activation in NON_NEGATIVE
        is_nothing = pool.mode == "max" and pool.fill == "-inf" and not is_positive
        x, padding = self.padded(x, pool.padding, float("-inf") if is_nothing else 0.0)
        make = layers.MaxPooling2D if pool.mode == "max" else layers.AveragePooling2D
        return make(pool.kernel, pool.stride, padding=padding, name=module)(x)

    def padded(self, x: Any, padding: Padding, value: float = 0.0) -> tuple[Any, str]:
        if padding == "same":
            return x, "same"
        left, right, top, bottom = (padding,) * 4 if isinstance(padding, int) else padding
        sides = ((top, bottom), (left, right))
        if not any((left, right, top, bottom)):
            return x, "valid"
        return (_Pad(sides, value) if value else layers.ZeroPadding2D(sides))(x), "valid"

    def head(self, x: Any, maps: Sequence[Any]) -> Any:
        values = {"": x}
        for layer in self.architecture.head:
            x = [values[source] for source in layer.sources]
            values[layer.name] = self.head_layer(x if layer.joined else x[0], layer)
        return [
            maps[output.stage - 1] if output.stage else values[output.layer]
            for output in self.architecture.outputs
        ]

    def head_layer(self, x: Any, layer: HeadLayer) -> Any:
        name = self.head_module(layer)
        if layer.kind == "dense":
            return layers.Dense(layer.out_features, use_bias=layer.bias, name=name)(x)
        if layer.conv:
            return self.conv(x, layer.conv, name)
        if layer.kind == "norm":
            return self.norm(x, layer.norm, name)
        if layer.kind in ("avg_pool", "max_pool"):
            assert layer.pool is not None
            return self.pool(x, layer.pool, name)
        if layer.kind == "rescaling":
            assert layer.rescaling is not None
            return layers.Rescaling(*layer.rescaling, name=name)(x)
        if layer.kind.startswith("flatten"):
            return self.flatten(x, layer)
        return HEAD[layer.kind](layer, name)(x)

    def head_module(self, layer: HeadLayer) -> str:
        if not self.architecture.is_plain_head:
            return f"head.{module_name(layer.name)}"
        return "fc" if layer.kind == "dense" else "avgpool"

    def flatten(self, x: Any, layer: HeadLayer) -> Any:
        """A Reshape to the width that is read next: maps of any size have no static one."""
        if layer.kind == "flatten_chw" and len(x.shape) == 4:
            x = layers.Permute((3, 1, 2))(x)
        readers = {one.source: one for one in self.architecture.head}
        while layer.kind not in ("dense", "norm"):
            if layer.name not in readers:  # what is flattened is what the network gives
                return layers.Flatten()(x)
            layer = readers[layer.name]
        width = layer.in_features if layer.norm is None else layer.norm.channels
        return layers.Reshape((width,))(x)


HEAD: Mapping[str, Any] = {
    "global_avg_pool": lambda layer, name: layers.GlobalAveragePooling2D(name=name),
    "global_max_pool": lambda layer, name: layers.GlobalMaxPooling2D(name=name),
    "dropout": lambda layer, name: layers.Dropout(layer.rate, name=name),
    "concat": lambda layer, name: layers.Concatenate(name=name),
    "prelu": lambda layer, name: layers.PReLU(name=name),
    "leaky_relu": lambda layer, name: layers.LeakyReLU(layer.slope, name=name),
    "activation": lambda layer, name: layers.Activation(layer.activation, name=name),
}


class Scale(layers.Layer):  # type: ignore[misc]
    """gamma * x + beta for each channel (flyyufelix/cnn_finetune)."""

    def build(self, shape: Any) -> None:
        self.gamma = self.add_weight(shape=(shape[-1],), name="gamma")
        self.beta = self.add_weight(shape=(shape[-1],), name="beta")

    def call(self, x: Any) -> Any:
        return x * self.gamma + self.beta
