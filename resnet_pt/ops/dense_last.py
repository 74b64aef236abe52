"""A Dense layer on the last axis of a sequence or a map."""

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


class DenseLast(Op, frozen=True):
    """Keras' Dense on the last axis: (N, T, in) → (N, T, out), or, with `second`, of a map whose
    last axis in Keras is the second here: (N, in, H, W) → (N, out, H, W)."""

    in_features: int
    out_features: int
    bias: bool = True
    second: bool = False

    fresh: ClassVar[bool] = True

    def tensors(self) -> tuple[Tensor, ...]:
        return weighed((self.out_features, self.in_features), self.out_features, self.bias)

    def problems(self) -> Iterator[str]:
        yield from sizes((self.in_features, self.out_features), 1, MAX_CHANNELS)

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        place = 0 if self.second else len(value) - 1
        gives = (*value[:place], self.out_features, *value[place + 1 :])
        if value[place] not in (None, self.in_features):
            words = f"reads {shown(self.in_features)} numbers, and {shown(value[place])} come"
            raise MisfitError(words, gives)
        return gives

    def module(self, *inputs: Shape) -> nn.Module:
        from resnet_pt import modules

        return modules.DenseLast(self.in_features, self.out_features, self.bias, self.second)
