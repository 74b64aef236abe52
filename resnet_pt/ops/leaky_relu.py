"""A ReLU with a slope below zero."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from resnet_pt.ops.protocol import Op, Shape, finite

if TYPE_CHECKING:
    from torch import nn


class LeakyReLU(Op, frozen=True):
    """x, or `slope` * x where x is negative."""

    slope: float

    elementwise: ClassVar[bool] = True

    def words(self) -> str:
        return "leaky_relu"

    def problems(self) -> Iterator[str]:
        yield from finite("a slope of", self.slope)

    def module(self, *inputs: Shape) -> nn.Module:
        from torch import nn

        return nn.LeakyReLU(self.slope)
