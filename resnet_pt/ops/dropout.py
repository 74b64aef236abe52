"""Dropout, which acts while training alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from resnet_pt.ops.protocol import Op, Shape

if TYPE_CHECKING:
    from torch import nn


class Dropout(Op, frozen=True):
    """A share `rate` of the numbers is dropped."""

    rate: float

    elementwise: ClassVar[bool] = True

    def problems(self) -> Iterator[str]:
        if not 0 <= self.rate <= 1:
            yield f"drops a share of {self.rate}"

    def module(self, *inputs: Shape) -> nn.Module:
        from torch import nn

        return nn.Dropout(self.rate)
