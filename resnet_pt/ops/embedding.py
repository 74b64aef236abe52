"""Rows of a table, by their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from resnet_pt.ops.protocol import MAX_CHANNELS, MisfitError, Op, Shape, Tensor, sizes

if TYPE_CHECKING:
    from torch import nn


class Embedding(Op, frozen=True):
    """A row of `features` numbers for each whole number from 0 to `count` - 1: (N, T) →
    (N, T, features), or, with `second`, (N, T, S) → (N, features, T, S). What is given as a
    fraction is cut to a whole number, as Keras does; one that has no row is an error."""

    count: int
    features: int
    second: bool = False

    fresh: ClassVar[bool] = True

    def tensors(self) -> tuple[Tensor, ...]:
        return (Tensor("weight", (self.count, self.features), "embeddings"),)

    def problems(self) -> Iterator[str]:
        yield from sizes((self.count, self.features), 1, MAX_CHANNELS)

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        if len(value) > 2:
            raise MisfitError(f"reads numbers of {len(value)} axes behind the batch")
        return (self.features, *value) if self.second else (*value, self.features)

    def module(self, *inputs: Shape) -> nn.Module:
        from resnet_pt import modules

        return modules.Embedding(self.count, self.features, self.second)
