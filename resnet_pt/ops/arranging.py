"""The same numbers in another shape or order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from resnet_pt.ops.protocol import MAX_CHANNELS, MAX_WINDOW, MisfitError, Op, Shape, sizes
from resnet_pt.ops.sides import depth, spatial, wants_map, with_spatial

if TYPE_CHECKING:
    import torch

MAX_RANK = 8


class Reshape(Op, frozen=True):
    """Another shape for the numbers as they lie in Keras; -1 is what is left.

    `target` is Keras' shape behind the batch. `read_last` and `given_last` say that the value that
    is read, or given, has its channels last in Keras, where they come second here.
    """

    target: tuple[int, ...]
    read_last: bool = False
    given_last: bool = False

    def problems(self) -> Iterator[str]:
        yield from sizes(self.target, -1, MAX_CHANNELS)
        yield from sizes((len(self.target),), 1, MAX_RANK)
        if self.target.count(-1) > 1:
            yield "leaves two lengths of its target open"

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        known = [side for side in value if side is not None]
        count = math.prod(known) if len(known) == len(value) else None
        fixed = math.prod(side for side in self.target if side != -1)
        if count is not None:
            left = count // fixed if fixed else 0
            fits = fixed * left == count if -1 in self.target else fixed == count
            if not fits:
                words = f"makes {self.target} of {value}: not as many numbers for each picture"
                raise MisfitError(words)
        else:
            left = 0
        target: Shape = tuple(
            (left if count is not None else None) if side == -1 else side for side in self.target
        )
        return (target[-1], *target[:-1]) if self.given_last else target

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        (x,) = inputs
        x = x.movedim(1, -1) if self.read_last else x
        x = x.reshape(x.shape[0], *self.target)
        return x.movedim(-1, 1) if self.given_last else x


class Permute(Op, frozen=True):
    """Axis i behind the batch is axis `axes[i]` of what is read, from 0."""

    axes: tuple[int, ...]

    def problems(self) -> Iterator[str]:
        if sorted(self.axes) != list(range(len(self.axes))) or len(self.axes) > MAX_RANK:
            yield f"has axes {self.axes[:MAX_RANK]}, each of which is not named once"

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        if len(value) != len(self.axes):
            raise MisfitError(f"permutes {len(self.axes)} axes, and {len(value)} come")
        return tuple(value[axis] for axis in self.axes)

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        return inputs[0].permute(0, *(axis + 1 for axis in self.axes))


class RepeatVector(Op, frozen=True):
    """(N, C) → (N, times, C)."""

    times: int

    def problems(self) -> Iterator[str]:
        yield from sizes((self.times,), 1, MAX_CHANNELS)

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        if len(value) != 1:
            raise MisfitError("repeats what is no vector", (self.times, None))
        return (self.times, *value)

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        return inputs[0].unsqueeze(1).expand(-1, self.times, -1)


class Pick(Op, frozen=True):
    """One element of an axis behind the batch, which is taken away; it is counted from the end
    where it is negative."""

    axis: int
    index: int

    def problems(self) -> Iterator[str]:
        yield from sizes((self.axis,), 0, MAX_RANK)
        yield from sizes((self.index,), -MAX_CHANNELS, MAX_CHANNELS)

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        if self.axis >= len(value):
            raise MisfitError(f"takes one of axis {self.axis + 1}, and {len(value)} come")
        side = value[self.axis]
        if side is not None and not -side <= self.index < side:
            raise MisfitError(f"takes number {self.index} of {side}")
        return (*value[: self.axis], *value[self.axis + 1 :])

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        return inputs[0].select(self.axis + 1, self.index)


class Slice(Op, frozen=True):
    """A part of one axis behind the batch, from `start` up to `stop` (None: the end), each
    counted from the end where it is negative."""

    axis: int
    start: int
    stop: int | None
    step: int = 1

    def problems(self) -> Iterator[str]:
        yield from sizes((self.axis,), 0, MAX_RANK)
        yield from sizes((self.step,), 1, MAX_WINDOW)

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        if self.axis >= len(value):
            raise MisfitError(f"takes a part of axis {self.axis + 1}, and {len(value)} come")
        side = value[self.axis]
        part = slice(self.start, self.stop, self.step)
        left = None if side is None else len(range(*part.indices(side)))
        return (*value[: self.axis], left, *value[self.axis + 1 :])

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        part = (slice(None),) * (self.axis + 1)
        return inputs[0][(*part, slice(self.start, self.stop, self.step))]


class Reverse(Op, frozen=True):
    """The `axes` behind the batch, from 0, each from its end to its start."""

    axes: tuple[int, ...]

    def problems(self) -> Iterator[str]:
        yield from sizes((len(self.axes),), 1, MAX_RANK)
        yield from sizes(self.axes, 0, MAX_RANK)

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        if any(axis >= len(value) for axis in self.axes):
            raise MisfitError(f"turns the axes {self.axes} round, and {len(value)} come")
        return value

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        return inputs[0].flip([axis + 1 for axis in self.axes])


class DepthToSpace(Op, frozen=True):
    """The channels of a map become blocks of so many rows and columns, in TensorFlow's order: all
    channels of a block's first pixel come first (torch's `pixel_shuffle` has them last)."""

    block: int

    def problems(self) -> Iterator[str]:
        yield from sizes((self.block,), 1, MAX_WINDOW)

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        wants_map(value, 2)
        channels, area = depth(value), self.block**2
        if channels is not None and channels % area:
            raise MisfitError(f"makes blocks of {area} pixels of {channels} channels")
        sides = tuple(None if side is None else side * self.block for side in spatial(value))
        return with_spatial(None if channels is None else channels // area, sides)

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        (x,) = inputs
        count, _, height, width = x.shape
        x = x.reshape(count, self.block, self.block, -1, height, width)
        x = x.permute(0, 3, 4, 1, 5, 2)
        return x.reshape(count, -1, height * self.block, width * self.block)


class SpaceToDepth(Op, frozen=True):
    """Blocks of so many rows and columns of a map become channels, in TensorFlow's order."""

    block: int

    def problems(self) -> Iterator[str]:
        yield from sizes((self.block,), 1, MAX_WINDOW)

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        wants_map(value, 2)
        if any(side is not None and side % self.block for side in spatial(value)):
            raise MisfitError(f"makes blocks of {self.block} by {self.block} of {spatial(value)}")
        channels = depth(value)
        sides = tuple(None if side is None else side // self.block for side in spatial(value))
        return with_spatial(None if channels is None else channels * self.block**2, sides)

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        (x,) = inputs
        count, channels, height, width = x.shape
        rows, columns = height // self.block, width // self.block
        x = x.reshape(count, channels, rows, self.block, columns, self.block)
        x = x.permute(0, 3, 5, 1, 2, 4)
        return x.reshape(count, -1, rows, columns)
