"""A sum."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from resnet_pt.ops.protocol import MisfitError, Op, Shape, shown

if TYPE_CHECKING:
    import torch


class Add(Op, frozen=True):
    """The sum of values of one shape, from the first to the last."""

    fresh: ClassVar[bool] = True
    arity: ClassVar[tuple[int, int]] = (2, 500)

    def shape(self, *inputs: Shape) -> Shape:
        first, *others = inputs
        for other in others:
            if len(other) != len(first):
                raise MisfitError("adds values of different ranks", first)
            if None not in (first[0], other[0]) and first[0] != other[0]:
                words = f"adds {shown(first[0])} channels to {shown(other[0])}"
                raise MisfitError(words, first)
            pairs = zip(first, other, strict=True)
            if any(None not in pair and pair[0] != pair[1] for pair in pairs):
                raise MisfitError(f"adds maps of the sizes {first[1:]} and {other[1:]}", first)
        axes = zip(*inputs, strict=True)
        return tuple(next((n for n in axis if n is not None), None) for axis in axes)

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        total = inputs[0]
        for other in inputs[1:]:
            total = total + other
        return total
