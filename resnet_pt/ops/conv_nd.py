"""Convolutions over sequences and volumes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from resnet_pt.ops.protocol import Op, Shape, Tensor, grouped, weighed
from resnet_pt.ops.sides import (
    Around,
    behind_windows,
    spatial,
    wants_channels,
    wants_map,
    window_problems,
    with_spatial,
)

if TYPE_CHECKING:
    from torch import nn


class ConvNd(Op, frozen=True):
    """A convolution of a sequence (N, T, C), with a kernel of one number, or of a volume
    (N, C, D, H, W), of three; its weight is (out_channels, in_channels / groups, *kernel)."""

    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    around: Around
    dilation: tuple[int, ...]
    groups: int = 1
    bias: bool = False

    fresh: ClassVar[bool] = True

    def tensors(self) -> tuple[Tensor, ...]:
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel)
        return weighed(shape, self.out_channels, self.bias)

    def problems(self) -> Iterator[str]:
        yield from grouped(self.in_channels, self.out_channels, self.groups)
        yield from window_problems(self.around, self.kernel, self.stride, self.dilation)
        if len(self.kernel) not in (1, 2, 3):
            yield f"has a kernel of {len(self.kernel)} axes"

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        wants_map(value, len(self.kernel))
        sides = behind_windows(spatial(value), self.kernel, self.stride, self.dilation, self.around)
        gives = with_spatial(self.out_channels, sides)
        wants_channels(value, self.in_channels, gives)
        return gives

    def module(self, *inputs: Shape) -> nn.Module:
        from resnet_pt.modules import Convolution, Window

        window = Window(self.kernel, self.stride, self.dilation, self.groups)
        return Convolution(self.in_channels, self.out_channels, window, self.around, self.bias)
