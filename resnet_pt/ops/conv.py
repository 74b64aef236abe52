"""A 2-D convolution."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from resnet_pt.ops.protocol import (
    MAX_WINDOW,
    MisfitError,
    Op,
    Shape,
    Tensor,
    grouped,
    shown,
    sizes,
    weighed,
)
from resnet_pt.ops.window import Padding, amounts, behind

if TYPE_CHECKING:
    from torch import nn


class Conv(Op, frozen=True):
    """A 2-D convolution; its weight is (out_channels, in_channels / groups, *kernel)."""

    in_channels: int
    out_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: Padding = 0
    groups: int = 1
    bias: bool = False
    dilation: tuple[int, int] = (1, 1)

    fresh: ClassVar[bool] = True

    @property
    def reads(self) -> int:
        return self.in_channels

    def words(self) -> str:
        return f"conv {'x'.join(map(str, self.kernel))} {self.out_channels}"

    def tensors(self) -> tuple[Tensor, ...]:
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel)
        return weighed(shape, self.out_channels, self.bias)

    def problems(self) -> Iterator[str]:
        yield from grouped(self.in_channels, self.out_channels, self.groups)
        yield from sizes((*self.kernel, *self.stride, *self.dilation), 1, MAX_WINDOW)
        yield from sizes(amounts(self.padding), 0, MAX_WINDOW)

    def shape(self, *inputs: Shape) -> Shape:
        (map,) = inputs
        if len(map) != 3:
            unknown = (self.out_channels, None, None)
            raise MisfitError("reads a vector, and wants a map", unknown)
        gives = (self.out_channels, *behind(self, map[1:]))
        if map[0] not in (None, self.in_channels):
            words = f"reads {shown(self.in_channels)} channels, and {shown(map[0])} come"
            raise MisfitError(words, gives)
        return gives

    def module(self, *inputs: Shape) -> nn.Module:
        from torch import nn

        from resnet_pt.layers import PaddedConv2d

        window = (self.in_channels, self.out_channels, self.kernel, self.stride)
        others = (self.dilation, self.groups, self.bias)
        if isinstance(self.padding, int):
            return nn.Conv2d(*window, self.padding, *others)
        return PaddedConv2d(*window, self.padding, *others)
