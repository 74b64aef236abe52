"""The few layers that Keras has and torch lacks."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resnet_pt.ops.window import Padding

Pads = tuple[int, int, int, int]
Pair = tuple[int, int]
Factor = float | tuple[float, ...]


def same_padding(size: int, kernel: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Zeros (before, after) that TensorFlow's 'same' adds to an axis of `size` elements.

    The output has ceil(size / stride) elements and the odd zero goes to the end, so that a
    strided layer pads an even and an odd map differently: torch's `padding=` cannot say this.
    Source: tensorflow.org/api_docs/python/tf/nn#notes_on_padding_2.
    """
    reach = dilation * (kernel - 1) + 1
    total = reach - 1 - (size - 1) % stride
    if reach < stride:  # elsewhere the least is 0 as it is: `max` would clutter an exported graph
        total = max(total, 0)
    return total // 2, total - total // 2


def pads(
    padding: Padding,
    x: Tensor,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
) -> Pads:
    """(left, right, top, bottom) for a map (N, C, H, W), as `F.pad` takes them."""
    if isinstance(padding, int):
        return (padding, padding, padding, padding)
    if isinstance(padding, tuple):
        return padding
    top, bottom = same_padding(x.shape[-2], kernel[0], stride[0], dilation[0])
    left, right = same_padding(x.shape[-1], kernel[1], stride[1], dilation[1])
    return left, right, top, bottom


class PaddedConv2d(nn.Conv2d):
    """A convolution whose padding torch cannot state: 'same' with a stride, or one-sided."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: Pair,
        stride: Pair,
        padding: Padding,
        dilation: Pair,
        groups: int,
        bias: bool,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel,
            stride,
            dilation=dilation,
            groups=groups,
            bias=bias,
        )
        self.pads = padding
        self.window = (kernel, stride, dilation)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, pads(self.pads, x, *self.window)))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, pads={self.pads}"  # type: ignore[no-untyped-call]


class PaddedMaxPool2d(nn.MaxPool2d):
    """A max-pool whose padding torch cannot state: 'same', one-sided, or with zeros that can win
    over a negative map."""

    def __init__(self, kernel: Pair, stride: Pair, padding: Padding, fill: float) -> None:
        super().__init__(kernel, stride)
        self.pads = padding
        self.fill = fill
        self.window = (kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, pads(self.pads, x, *self.window), value=self.fill)
        return super().forward(padded)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, pads={self.pads}, fill={self.fill}"


class PaddedAvgPool2d(nn.AvgPool2d):
    """An average pool with 'same' padding: Keras divides by the elements that are really there."""

    def __init__(self, kernel: Pair, stride: Pair, padding: Padding) -> None:
        super().__init__(kernel, stride)
        self.pads = padding
        self.window = (kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        amount = pads(self.pads, x, *self.window)
        present = F.pad(torch.ones_like(x[:1, :1]), amount)
        total, count = super().forward(F.pad(x, amount)), super().forward(present)
        return total / count


class Scale(nn.Module):
    """The custom Scale layer of the Caffe ports: x * weight + bias, a pair for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class GlobalMaxPool2d(nn.Module):
    """(N, C, H, W) → (N, C, 1, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.amax((2, 3), keepdim=True)


class Rescaling(nn.Module):
    """x * scale + offset, each one number or one for each channel (Keras' Rescaling, and what
    `preprocess_input` does within a network)."""

    def __init__(self, scale: Factor, offset: Factor) -> None:
        super().__init__()
        self.scale = scale
        self.offset = offset

    def forward(self, x: Tensor) -> Tensor:
        return x * self._like(x, self.scale) + self._like(x, self.offset)

    @staticmethod
    def _like(x: Tensor, factor: Factor) -> Tensor | float:
        if not isinstance(factor, tuple):
            return factor
        return torch.tensor(factor, dtype=x.dtype, device=x.device).view(-1, *[1] * (x.ndim - 2))

    def extra_repr(self) -> str:
        return f"scale={self.scale}, offset={self.offset}"


class Channels(nn.Module):
    """The channels of a picture with these numbers, in this order."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.channels = list(channels)

    def forward(self, x: Tensor) -> Tensor:
        return x[:, self.channels]

    def extra_repr(self) -> str:
        return f"{self.channels}"


class Exponential(nn.Module):
    """e to the power of x."""

    def forward(self, x: Tensor) -> Tensor:
        return x.exp()


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "swish": nn.SiLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softplus": partial(nn.Softplus, threshold=40.0),  # beyond 20 it is off by up to 2e-9
    "softsign": nn.Softsign,
    "exponential": Exponential,
}
"""Keras' names. Keras' softmax works on the last axis, which are the channels: torch's first behind
the batch, of a vector and of a map. Keras' hard_sigmoid differs from torch's, and is not here."""


def activation(name: str, slope: float = 0.0) -> nn.Module:
    """A new activation module; KeyError for one that is not exactly the same in torch. `slope` is
    leaky_relu's, below zero."""
    if name == "leaky_relu":
        return nn.LeakyReLU(slope)
    if name == "softmax":
        return nn.Softmax(dim=1)
    return nn.ReLU(inplace=True) if name == "relu" else ACTIVATIONS[name]()
