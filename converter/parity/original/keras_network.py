"""A program in Keras' own words, for files that Keras itself cannot load: `MAKERS` has a function
for each op.

A layer that stands for a torch module has that module's name: what Keras names by itself could be
the name of another layer of the file. Runs in the oracle's process only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from resnet_pt import ops
from resnet_pt.architecture import Architecture
from resnet_pt.lower import lower
from resnet_pt.ops.window import Padding
from resnet_pt.program import Input, Layer, Program, reader


def keras_network(architecture: Architecture) -> Any:
    """A keras.Model whose outputs are the logits."""
    return keras_model(lower(architecture))


def keras_model(program: Program) -> Any:
    """A program as a keras.Model, channels last."""
    inputs = {one.name: _input(one) for one in program.inputs}
    values: dict[str, Any] = dict(inputs)
    for layer in program.layers:
        call = Call(program, layer, [values[name] for name in layer.inputs])
        values[layer.name] = MAKERS[type(layer.op)](call, layer.op)
    outputs = [values[output.value] for output in program.outputs]
    given = list(inputs.values())
    return keras.Model(given[0] if len(given) == 1 else given, outputs)


def _input(one: Input) -> Any:
    channels, *size = one.shape
    return keras.Input((*size, channels))


@dataclass(frozen=True, slots=True)
class Call:
    """A layer that is to be made, and the `values` that it reads."""

    program: Program
    layer: Layer
    values: Sequence[Any]

    @property
    def name(self) -> str:
        """The module's path; layers of the body that share one have names of their own."""
        return self.layer.module if self.layer.original else self.layer.name

    @property
    def x(self) -> Any:
        """The only value."""
        (x,) = self.values
        return x


class _Take(layers.Layer):  # type: ignore[misc]
    """The channels of a picture with these numbers, in this order."""

    def __init__(self, channels: tuple[int, ...], name: str) -> None:
        super().__init__(name=name)
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


class Scale(layers.Layer):  # type: ignore[misc]
    """gamma * x + beta for each channel (flyyufelix/cnn_finetune)."""

    def build(self, shape: Any) -> None:
        self.gamma = self.add_weight(shape=(shape[-1],), name="gamma")
        self.beta = self.add_weight(shape=(shape[-1],), name="beta")

    def call(self, x: Any) -> Any:
        return x * self.gamma + self.beta


def _conv(call: Call, op: ops.Conv) -> Any:
    x, padding = _padded(call.x, op.padding)
    return layers.Conv2D(
        op.out_channels,
        op.kernel,
        strides=op.stride,
        padding=padding,
        dilation_rate=op.dilation,
        groups=op.groups,
        use_bias=op.bias,
        name=call.name,
    )(x)


def _norm(call: Call, op: ops.Norm) -> Any:
    return layers.BatchNormalization(
        epsilon=op.eps, scale=op.gamma, center=op.beta, name=call.name
    )(call.x)


def _pool(call: Call, op: ops.Pool) -> Any:
    is_nothing = op.mode == "max" and op.fill == "-inf"
    x, padding = _padded(call.x, op.padding, float("-inf") if is_nothing else 0.0)
    make = layers.MaxPooling2D if op.mode == "max" else layers.AveragePooling2D
    return make(op.kernel, op.stride, padding=padding, name=call.name)(x)


def _padded(x: Any, padding: Padding, value: float = 0.0) -> tuple[Any, str]:
    """What a window reads, and how Keras has to pad it still."""
    if padding == "same":
        return x, "same"
    left, right, top, bottom = (padding,) * 4 if isinstance(padding, int) else padding
    sides = ((top, bottom), (left, right))
    if not any((left, right, top, bottom)):
        return x, "valid"
    return (_Pad(sides, value) if value else layers.ZeroPadding2D(sides))(x), "valid"


def _global_pool(call: Call, op: ops.GlobalPool) -> Any:
    make = layers.GlobalAveragePooling2D if op.mode == "avg" else layers.GlobalMaxPooling2D
    return make(keepdims=op.keepdims, name=call.name)(call.x)


def _flatten(call: Call, op: ops.Flatten) -> Any:
    """A Reshape to the width that is read next: maps of any size have no static one."""
    x, behind = call.x, reader(call.program, call.layer.name)
    if op.order == "chw" and len(x.shape) == 4:
        x = layers.Permute((3, 1, 2))(x)
    return layers.Reshape((behind.op.reads,))(x) if behind else layers.Flatten()(x)


MAKERS: Mapping[type[ops.Op], Callable[[Call, Any], Any]] = {
    ops.Conv: _conv,
    ops.Norm: _norm,
    ops.Scale: lambda call, op: Scale(name=call.name)(call.x),
    ops.Pool: _pool,
    ops.GlobalPool: _global_pool,
    ops.Dense: lambda call, op: layers.Dense(op.out_features, use_bias=op.bias, name=call.name)(
        call.x
    ),
    ops.Activation: lambda call, op: layers.Activation(op.name, name=call.name)(call.x),
    ops.LeakyReLU: lambda call, op: layers.LeakyReLU(op.slope, name=call.name)(call.x),
    ops.PReLU: lambda call, op: layers.PReLU(name=call.name)(call.x),
    ops.Rescaling: lambda call, op: layers.Rescaling(op.scale, op.offset, name=call.name)(call.x),
    ops.Channels: lambda call, op: _Take(op.picks, call.name)(call.x),
    ops.Flatten: _flatten,
    ops.Dropout: lambda call, op: layers.Dropout(op.rate, name=call.name)(call.x),
    ops.Concat: lambda call, op: layers.Concatenate(name=call.name)(call.values),
    ops.Add: lambda call, op: layers.Add(name=call.name)(call.values),
}
