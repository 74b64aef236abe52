"""Batch normalisation of sequences and volumes, or of another axis than the channels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from resnet_pt.ops.norm import Norm
from resnet_pt.ops.protocol import MisfitError, Op, Shape, Tensor, shown, sizes

if TYPE_CHECKING:
    from torch import nn


class AxisNorm(Op, frozen=True):
    """Batch normalisation over an `axis` behind the batch, from 0; the rest as `Norm`."""

    axis: int
    channels: int
    eps: float = 1e-5
    momentum: float = 0.1
    gamma: bool = True
    beta: bool = True

    fresh: ClassVar[bool] = True

    @property
    def norm(self) -> Norm:
        return Norm(self.channels, self.eps, self.momentum, self.gamma, self.beta)

    def tensors(self) -> tuple[Tensor, ...]:
        return self.norm.tensors()

    def problems(self) -> Iterator[str]:
        yield from sizes((self.axis,), 0, 8)
        yield from self.norm.problems()

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        if self.axis >= len(value) or value[self.axis] not in (None, self.channels):
            found = value[self.axis] if self.axis < len(value) else 0
            words = f"normalises {shown(self.channels)} channels, and {shown(found)} come"
            raise MisfitError(words, value)
        return value

    def module(self, *inputs: Shape) -> nn.Module:
        from resnet_pt.modules import AxisNorm as Module

        made = Module(self.axis, self.channels, self.eps, self.momentum)
        for parameter, has in ((made.weight, self.gamma), (made.bias, self.beta)):
            assert parameter is not None
            parameter.requires_grad_(has)
        return made
