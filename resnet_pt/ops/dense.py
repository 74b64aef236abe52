"""A Dense layer on a vector."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from resnet_pt.ops.protocol import (
    MAX_CHANNELS,
    MisfitError,
    Op,
    Shape,
    Tensor,
    shown,
    sizes,
    weighed,
)

if TYPE_CHECKING:
    from torch import nn

READS_A_MAP = "reads a map: a pool or Flatten has to be before"


class Dense(Op, frozen=True):
    """(N, in_features) → (N, out_features). Keras' works on the last axis of a map; torch's would
    read its rows."""

    in_features: int
    out_features: int
    bias: bool = True

    fresh: ClassVar[bool] = True

    @property
    def reads(self) -> int:
        return self.in_features

    def words(self) -> str:
        return f"dense {self.out_features}"

    def tensors(self) -> tuple[Tensor, ...]:
        return weighed((self.out_features, self.in_features), self.out_features, self.bias)

    def problems(self) -> Iterator[str]:
        yield from sizes((self.in_features, self.out_features), 1, MAX_CHANNELS)

    def shape(self, *inputs: Shape) -> Shape:
        (value,), gives = inputs, (self.out_features,)
        if len(value) != 1:
            raise MisfitError(READS_A_MAP, gives)
        if value[0] not in (None, self.in_features):
            words = f"reads {shown(self.in_features)} numbers, and {shown(value[0])} come"
            raise MisfitError(words, gives)
        return gives

    def module(self, *inputs: Shape) -> nn.Module:
        from torch import nn

        return nn.Linear(self.in_features, self.out_features, bias=self.bias)
