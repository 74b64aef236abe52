"""A leaky ReLU whose slopes are weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from resnet_pt.ops.dense import READS_A_MAP
from resnet_pt.ops.protocol import MAX_CHANNELS, MisfitError, Op, Shape, Tensor, shown, sizes

if TYPE_CHECKING:
    from torch import nn


class PReLU(Op, frozen=True):
    """A slope for each number of a vector. Keras' on a map has one for each pixel."""

    channels: int

    elementwise: ClassVar[bool] = True

    @property
    def reads(self) -> int:
        return self.channels

    def tensors(self) -> tuple[Tensor, ...]:
        return (Tensor("weight", (self.channels,), "alpha"),)

    def problems(self) -> Iterator[str]:
        yield from sizes((self.channels,), 1, MAX_CHANNELS)

    def shape(self, *inputs: Shape) -> Shape:
        (value,), gives = inputs, (self.channels,)
        if len(value) != 1:
            raise MisfitError(READS_A_MAP, gives)
        if value[0] not in (None, self.channels):
            words = f"has {shown(self.channels)} slopes, and {shown(value[0])} numbers come"
            raise MisfitError(words, gives)
        return gives

    def module(self, *inputs: Shape) -> nn.Module:
        from torch import nn

        return nn.PReLU(self.channels)
