"""A pool with a window."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from resnet_pt.ops.protocol import MAX_WINDOW, MisfitError, Op, Shape, sizes
from resnet_pt.ops.window import Padding, amounts, behind

if TYPE_CHECKING:
    from torch import nn

POOLS_A_VECTOR = "pools a vector"


class Pool(Op, frozen=True):
    """A pooling window. `fill` is what padding holds: nothing (-inf), or zeros, which matter
    where the map can be negative (the stem of a pre-activation network)."""

    kernel: tuple[int, int] = (3, 3)
    stride: tuple[int, int] = (2, 2)
    padding: Padding = 1
    fill: Literal["-inf", "zero"] = "-inf"
    mode: Literal["max", "avg"] = "max"

    def words(self) -> str:
        return f"{self.mode}_pool"

    @property
    def dilation(self) -> tuple[int, int]:
        """Of its window: none."""
        return (1, 1)

    def problems(self) -> Iterator[str]:
        wrong = [
            *sizes((*self.kernel, *self.stride), 1, MAX_WINDOW),
            *sizes(amounts(self.padding), 0, MAX_WINDOW),
        ]
        yield from wrong
        is_torchs = self.mode == "max" and self.fill == "-inf" and isinstance(self.padding, int)
        if not wrong and is_torchs and 2 * amounts(self.padding)[0] > min(self.kernel):
            yield f"pads by {self.padding}: more than half of its window"

    def shape(self, *inputs: Shape) -> Shape:
        (map,) = inputs
        if len(map) != 3:
            raise MisfitError(POOLS_A_VECTOR)
        return (map[0], *behind(self, map[1:]))

    def module(self, *inputs: Shape) -> nn.Module:
        from resnet_pt.layers import pooling

        return pooling(self)
