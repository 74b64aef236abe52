"""Zeros, or another number, around a map; and what is cut off around it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from resnet_pt.ops.protocol import MAX_FLOAT, MAX_WINDOW, MisfitError, Op, Shape, sizes

if TYPE_CHECKING:
    import torch

Axes = tuple[tuple[int, int], ...]
"""(before, after) for each axis behind the batch."""


class Pad(Op, frozen=True):
    """`value` set around a map: so much (before, after) each axis behind the batch."""

    amounts: Axes
    value: float = 0.0

    def problems(self) -> Iterator[str]:
        yield from sizes([one for pair in self.amounts for one in pair], 0, MAX_WINDOW)
        if self.value != self.value or (abs(self.value) > MAX_FLOAT and self.value > 0):
            yield f"pads with {self.value}"

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        if len(value) != len(self.amounts):
            raise MisfitError(f"pads {len(self.amounts)} axes, and {len(value)} come")
        return tuple(
            None if side is None else side + sum(pair)
            for side, pair in zip(value, self.amounts, strict=True)
        )

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        from torch.nn import functional as F

        amounts = [amount for pair in reversed(self.amounts) for amount in pair]
        return F.pad(inputs[0], amounts, value=self.value)


class Crop(Op, frozen=True):
    """So much cut off (before, after) each axis behind the batch."""

    amounts: Axes

    def problems(self) -> Iterator[str]:
        yield from sizes([one for pair in self.amounts for one in pair], 0, MAX_WINDOW)

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        if len(value) != len(self.amounts):
            raise MisfitError(f"crops {len(self.amounts)} axes, and {len(value)} come")
        gives = tuple(
            None if side is None else side - sum(pair)
            for side, pair in zip(value, self.amounts, strict=True)
        )
        if any(side is not None and side < 1 for side in gives):
            raise MisfitError(f"cuts off all of {value}")
        return gives

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        (x,) = inputs
        for axis, (before, after) in enumerate(self.amounts, start=1):
            if before or after:
                x = x.narrow(axis, before, x.shape[axis] - before - after)
        return x
