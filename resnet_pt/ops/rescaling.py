"""A scale and an offset that are settings, not weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from resnet_pt.ops.protocol import Factor, MisfitError, Op, Shape, finite, shown

if TYPE_CHECKING:
    from torch import nn


class Rescaling(Op, frozen=True):
    """x * scale + offset, each one number or one for each channel (Keras' Rescaling, and what
    `preprocess_input` does within a network)."""

    scale: Factor
    offset: Factor = 0.0

    elementwise: ClassVar[bool] = True

    def problems(self) -> Iterator[str]:
        for what, factor in (("scale", self.scale), ("offset", self.offset)):
            yield from finite(what, *(factor if isinstance(factor, tuple) else (factor,)))

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        for factor in (self.scale, self.offset):
            if isinstance(factor, tuple) and value[0] not in (None, len(factor)):
                words = f"has {len(factor)} numbers for {shown(value[0])} channels"
                raise MisfitError(words, value)
        return value

    def module(self, *inputs: Shape) -> nn.Module:
        from resnet_pt import layers

        return layers.Rescaling(self.scale, self.offset)
