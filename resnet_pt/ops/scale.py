"""The custom Scale layer of the 2016 Caffe ports."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from resnet_pt.ops.protocol import MAX_CHANNELS, Op, Shape, Tensor, sizes

if TYPE_CHECKING:
    from torch import nn


class Scale(Op, frozen=True):
    """x * gamma + beta, a pair for each channel of a map (flyyufelix/cnn_finetune)."""

    channels: int

    fresh: ClassVar[bool] = True

    def tensors(self) -> tuple[Tensor, ...]:
        shape = (self.channels,)
        return (Tensor("weight", shape, "gamma"), Tensor("bias", shape, "beta"))

    def problems(self) -> Iterator[str]:
        yield from sizes((self.channels,), 1, MAX_CHANNELS)

    def module(self, *inputs: Shape) -> nn.Module:
        from resnet_pt import layers

        return layers.Scale(self.channels)
