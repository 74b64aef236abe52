"""A pool with a window."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

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
        """torch's own where it has the padding; square windows print as torchvision's do."""
        from torch import nn

        from resnet_pt.layers import PaddedAvgPool2d, PaddedMaxPool2d

        sides = (_square(self.kernel), _square(self.stride))
        if self.mode == "avg" and self.padding == 0:
            return nn.AvgPool2d(*sides)
        if self.mode == "avg":
            return PaddedAvgPool2d(self.kernel, self.stride, self.padding)
        if isinstance(self.padding, int) and (self.fill == "-inf" or self.padding == 0):
            return nn.MaxPool2d(*sides, self.padding)
        fill = float("-inf") if self.fill == "-inf" else 0.0
        return PaddedMaxPool2d(self.kernel, self.stride, self.padding, fill)


def _square(pair: tuple[int, int]) -> Any:
    return pair[0] if pair[0] == pair[1] else pair
