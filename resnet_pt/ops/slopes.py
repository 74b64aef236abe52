"""Weights that multiply number by number: PReLU's slopes, LayerScale's gamma."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from resnet_pt.ops.protocol import MAX_CHANNELS, MisfitError, Op, Shape, Tensor, sizes

if TYPE_CHECKING:
    from torch import nn


class _Weighed(Op, frozen=True):
    """Weights of `sizes`, the axes behind the batch; a size of 1 stands for a whole axis."""

    sizes: tuple[int, ...]

    def problems(self) -> Iterator[str]:
        yield from sizes(self.sizes, 1, MAX_CHANNELS)
        yield from sizes((len(self.sizes),), 1, 8)

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        fits = len(value) == len(self.sizes) and all(
            side is None or wanted in (1, side)
            for side, wanted in zip(value, self.sizes, strict=True)
        )
        if not fits:
            raise MisfitError(f"has weights for {self.sizes}, and {value} come", value)
        return value


class SharedPReLU(_Weighed, frozen=True):
    """x, or a weight times x where x is negative."""

    def tensors(self) -> tuple[Tensor, ...]:
        return (Tensor("weight", self.sizes, "alpha"),)

    def module(self, *inputs: Shape) -> nn.Module:
        from resnet_pt import modules

        return modules.SharedPReLU(self.sizes)


class Weighted(_Weighed, frozen=True):
    """x times a weight (LayerScale)."""

    def tensors(self) -> tuple[Tensor, ...]:
        return (Tensor("weight", self.sizes, "gamma"),)

    def module(self, *inputs: Shape) -> nn.Module:
        from resnet_pt import modules

        return modules.Weighted(self.sizes)
