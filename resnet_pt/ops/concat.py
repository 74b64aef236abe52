"""Vectors side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from resnet_pt.ops.dense import READS_A_MAP
from resnet_pt.ops.protocol import MisfitError, Op, Shape

if TYPE_CHECKING:
    import torch


class Concat(Op, frozen=True):
    """(N, C_1), (N, C_2), … → (N, C_1 + C_2 + …)."""

    arity: ClassVar[tuple[int, int]] = (2, 500)

    def shape(self, *inputs: Shape) -> Shape:
        known = [one[0] for one in inputs if one[0] is not None]
        gives = (sum(known) if len(known) == len(inputs) else None,)
        if any(len(one) != 1 for one in inputs):
            raise MisfitError(READS_A_MAP, gives)
        return gives

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.cat(inputs, 1)
