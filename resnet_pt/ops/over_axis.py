"""What is computed over an axis: a softmax, a mean or a greatest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from resnet_pt.ops.protocol import MisfitError, Op, Shape, sizes

if TYPE_CHECKING:
    import torch


def _there(axes: tuple[int, ...], value: Shape) -> None:
    if any(axis >= len(value) for axis in axes):
        raise MisfitError(f"works on the axes {axes} behind the batch, and {len(value)} come")


class Softmax(Op, frozen=True):
    """A softmax over the `axes` behind the batch, from 0, together."""

    axes: tuple[int, ...]
    log: bool = False

    def problems(self) -> Iterator[str]:
        yield from sizes((len(self.axes),), 1, 8)
        yield from sizes(self.axes, 0, 8)

    def shape(self, *inputs: Shape) -> Shape:
        _there(self.axes, inputs[0])
        return inputs[0]

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        (x,) = inputs
        axes = tuple(axis + 1 for axis in self.axes)
        if len(axes) == 1:
            return x.log_softmax(axes[0]) if self.log else x.softmax(axes[0])
        shifted = x - x.logsumexp(axes, keepdim=True)
        return shifted if self.log else shifted.exp()


class Reduce(Op, frozen=True):
    """The mean, or the greatest, least or sum, over the `axes` behind the batch, from 0."""

    mode: Literal["mean", "max", "min", "sum"]
    axes: tuple[int, ...]
    keepdims: bool = False

    def problems(self) -> Iterator[str]:
        yield from sizes((len(self.axes),), 1, 8)
        yield from sizes(self.axes, 0, 8)

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        _there(self.axes, value)
        if self.keepdims:
            return tuple(1 if axis in self.axes else side for axis, side in enumerate(value))
        return tuple(side for axis, side in enumerate(value) if axis not in self.axes)

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        (x,) = inputs
        axes = tuple(axis + 1 for axis in self.axes)
        if self.mode == "mean":
            return x.mean(axes, keepdim=self.keepdims)
        if self.mode == "sum":
            return x.sum(axes, keepdim=self.keepdims)
        return (x.amax if self.mode == "max" else x.amin)(axes, keepdim=self.keepdims)
