"""Pools over sequences and volumes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

from resnet_pt.ops.protocol import Op, Shape
from resnet_pt.ops.sides import (
    Around,
    behind_windows,
    channels_second,
    depth,
    padded,
    spatial,
    wants_map,
    window_problems,
    with_spatial,
)

if TYPE_CHECKING:
    import torch


class PoolNd(Op, frozen=True):
    """A pooling window over a sequence (N, T, C) or a volume (N, C, D, H, W). An average is one of
    the elements that are really there."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    around: Around
    mode: Literal["max", "avg"]

    def problems(self) -> Iterator[str]:
        yield from window_problems(self.around, self.kernel, self.stride)

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        wants_map(value, len(self.kernel))
        ones = (1,) * len(self.kernel)
        sides = behind_windows(spatial(value), self.kernel, self.stride, ones, self.around)
        return with_spatial(depth(value), sides)

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        import torch
        from torch.nn import functional as F

        x = channels_second(inputs[0])
        ones = (1,) * len(self.kernel)
        fill = float("-inf") if self.mode == "max" else 0.0
        wide = padded(x, self.around, self.kernel, self.stride, ones, fill)
        pools = {
            "max": (F.max_pool1d, F.max_pool2d, F.max_pool3d),
            "avg": (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d),
        }
        pool: Any = pools[self.mode][len(self.kernel) - 1]
        found: torch.Tensor = pool(wide, self.kernel, self.stride)
        if self.mode == "avg" and wide is not x:
            there = padded(torch.ones_like(x[:1, :1]), self.around, self.kernel, self.stride, ones)
            found = found / pool(there, self.kernel, self.stride)
        return channels_second(found)
