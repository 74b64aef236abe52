"""Transposed convolutions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from resnet_pt.ops.protocol import MAX_WINDOW, Op, Shape, Tensor, grouped, sizes, weighed
from resnet_pt.ops.sides import (
    Sides,
    spatial,
    wants_channels,
    wants_map,
    window_problems,
    with_spatial,
)

if TYPE_CHECKING:
    from torch import nn


class ConvTranspose(Op, frozen=True):
    """A transposed convolution; its weight is (in_channels, out_channels / groups, *kernel).

    `cropped` is what is cut off (before, after) each axis of the whole result, which is
    (side - 1) * stride + dilation * (kernel - 1) + 1 long; zeros are added where it is negative.
    torch's own `padding` can cut both ends evenly alone.
    """

    in_channels: int
    out_channels: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    cropped: Sides
    dilation: tuple[int, ...]
    groups: int = 1
    bias: bool = False

    fresh: ClassVar[bool] = True

    def tensors(self) -> tuple[Tensor, ...]:
        shape = (self.in_channels, self.out_channels // self.groups, *self.kernel)
        return weighed(shape, self.out_channels, self.bias)

    def problems(self) -> Iterator[str]:
        yield from grouped(self.in_channels, self.out_channels, self.groups)
        windows = (self.kernel, self.stride, self.dilation)
        yield from window_problems(self.cropped, *windows, negative=True)
        yield from sizes((len(self.kernel),), 1, 3)
        yield from sizes(tuple(sum(pair) for pair in self.cropped), -MAX_WINDOW, MAX_WINDOW)

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        wants_map(value, len(self.kernel))
        gives = with_spatial(
            self.out_channels, tuple(self._behind(a, side) for a, side in enumerate(spatial(value)))
        )
        wants_channels(value, self.in_channels, gives)
        return gives

    def _behind(self, axis: int, side: int | None) -> int | None:
        if not side:
            return side
        reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1
        return max(0, (side - 1) * self.stride[axis] + reach - sum(self.cropped[axis]))

    def module(self, *inputs: Shape) -> nn.Module:
        from resnet_pt.modules import TransposedConvolution, Window

        window = Window(self.kernel, self.stride, self.dilation, self.groups)
        channels = self.in_channels, self.out_channels
        return TransposedConvolution(*channels, window, self.cropped, self.bias)
