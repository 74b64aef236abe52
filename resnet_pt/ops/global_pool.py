"""A pool over the whole map."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from resnet_pt.ops.pool import POOLS_A_VECTOR
from resnet_pt.ops.protocol import MisfitError, Op, Shape

if TYPE_CHECKING:
    from torch import nn


class GlobalPool(Op, frozen=True):
    """(N, C, H, W) → (N, C), or (N, C, 1, 1) with `keepdims`: a mean, or the greatest."""

    mode: Literal["avg", "max"]
    keepdims: bool = False

    def words(self) -> str:
        return f"global_{self.mode}_pool"

    def shape(self, *inputs: Shape) -> Shape:
        (map,) = inputs
        gives = (map[0], 1, 1) if self.keepdims else (map[0],)
        if len(map) != 3:
            raise MisfitError(POOLS_A_VECTOR, gives)
        return gives

    def module(self, *inputs: Shape) -> nn.Module:
        from torch import nn

        from resnet_pt.layers import GlobalMaxPool2d

        pool = nn.AdaptiveAvgPool2d((1, 1)) if self.mode == "avg" else GlobalMaxPool2d()
        return pool if self.keepdims else nn.Sequential(pool, nn.Flatten(1))
