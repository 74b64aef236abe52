"""Values put together, number by number or side by side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from resnet_pt.ops.protocol import MAX_CHANNELS, MisfitError, Op, Shape, finite, shown, sizes

if TYPE_CHECKING:
    import torch
    from torch import nn

How = Literal["add", "subtract", "multiply", "divide", "average", "maximum", "minimum"]


def broadcast(shapes: tuple[Shape, ...]) -> Shape:
    """The shape of values of one rank, whose axes of length 1 are repeated. Raises MisfitError."""
    if len({len(shape) for shape in shapes}) > 1:
        raise MisfitError(f"puts {len(shapes)} values of different ranks together")
    found: list[int | None] = []
    for sides in zip(*shapes, strict=True):
        known = {side for side in sides if side not in (None, 1)}
        if len(known) > 1:
            raise MisfitError(f"puts sides of {' and '.join(map(shown, sorted(known)))} together")
        found.append(next(iter(known), None if None in sides else 1))
    return tuple(found)


class Combine(Op, frozen=True):
    """The values number by number, from the first to the last; an axis of length 1 is repeated."""

    how: How

    fresh: ClassVar[bool] = True
    arity: ClassVar[tuple[int, int]] = (2, 500)

    def shape(self, *inputs: Shape) -> Shape:
        return broadcast(inputs)

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        import torch

        found = inputs[0]
        for other in inputs[1:]:
            if self.how in ("add", "average"):
                found = found + other
            elif self.how == "subtract":
                found = found - other
            elif self.how == "multiply":
                found = found * other
            elif self.how == "divide":
                found = found / other
            else:
                found = (torch.maximum if self.how == "maximum" else torch.minimum)(found, other)
        return found / len(inputs) if self.how == "average" else found


class Concatenate(Op, frozen=True):
    """The values side by side along an `axis` behind the batch, from 0."""

    axis: int

    arity: ClassVar[tuple[int, int]] = (1, 500)

    def problems(self) -> Iterator[str]:
        yield from sizes((self.axis,), 0, 8)

    def shape(self, *inputs: Shape) -> Shape:
        if any(len(shape) <= self.axis for shape in inputs):
            raise MisfitError(f"sets values side by side along axis {self.axis + 1}")
        axis = self.axis
        joined = [shape[axis] for shape in inputs]
        total = None if None in joined else sum(side or 0 for side in joined)
        rest = tuple((*shape[:axis], *shape[axis + 1 :]) for shape in inputs)
        for other in rest[1:]:
            pairs = list(zip(rest[0], other, strict=False))
            if len(other) != len(rest[0]) or any(
                None not in pair and pair[0] != pair[1] for pair in pairs
            ):
                raise MisfitError(
                    f"sets {inputs[0]} and {other} side by side along axis {axis + 1}"
                )
        sides = tuple(
            next((side for side in some if side is not None), None)
            for some in zip(*rest, strict=True)
        )
        return (*sides[:axis], total, *sides[axis:])

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        import torch

        return torch.cat(inputs, self.axis + 1)


class Dot(Op, frozen=True):
    """The products of two values summed over an axis of each, behind the batch, from 0; the first
    value's other axes come first. With `normalize` both are of length 1 along that axis before.
    Both lie as in Keras."""

    axes: tuple[int, int]
    normalize: bool = False

    arity: ClassVar[tuple[int, int]] = (2, 2)

    def problems(self) -> Iterator[str]:
        yield from sizes(self.axes, 0, 8)

    def shape(self, *inputs: Shape) -> Shape:
        one, other = inputs
        first, second = self.axes
        if first >= len(one) or second >= len(other):
            raise MisfitError(f"works on the axes {self.axes} of {one} and {other}")
        if None not in (one[first], other[second]) and one[first] != other[second]:
            raise MisfitError(f"sums {one[first]} products of {other[second]} numbers")
        rest = (*one[:first], *one[first + 1 :], *other[:second], *other[second + 1 :])
        return rest or (1,)

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        import torch

        one, other = (x.movedim(a + 1, -1) for x, a in zip(inputs, self.axes, strict=True))
        if self.normalize:
            one, other = (
                x * (x * x).sum(-1, keepdim=True).clamp(min=1e-12).rsqrt() for x in (one, other)
            )
        left, right = one.flatten(1, -2) if one.dim() > 2 else one.unsqueeze(1), other
        right = right.flatten(1, -2) if right.dim() > 2 else right.unsqueeze(1)
        found = torch.matmul(left, right.transpose(1, 2))
        shape = [*one.shape[1:-1], *other.shape[1:-1]] or [1]
        return found.reshape(one.shape[0], *shape)


class Linear(Op, frozen=True):
    """x * scale + offset for a value of any rank; both have one number, or one for each place of
    the `axis` behind the batch, from 0."""

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    axis: int = 0

    fresh: ClassVar[bool] = True

    def problems(self) -> Iterator[str]:
        for what, numbers in (("scale", self.scale), ("offset", self.offset)):
            yield from finite(f"a {what} of", *numbers)
            yield from sizes((len(numbers),), 1, MAX_CHANNELS)
        yield from sizes((self.axis,), 0, 8)

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        for numbers in (self.scale, self.offset):
            if len(numbers) > 1 and (
                self.axis >= len(value) or value[self.axis] not in (None, len(numbers))
            ):
                raise MisfitError(f"has {len(numbers)} numbers for {value}", value)
        return value

    def module(self, *inputs: Shape) -> nn.Module:
        from resnet_pt import modules

        return modules.Linear(self.scale, self.offset, self.axis, len(inputs[0]))
