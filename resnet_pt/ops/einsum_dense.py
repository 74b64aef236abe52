"""Keras' EinsumDense: sums of products along axes that are named by letters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from resnet_pt.ops.protocol import (
    MAX_CHANNELS,
    MisfitError,
    Op,
    Shape,
    Tensor,
    short,
    shown,
    sizes,
)

if TYPE_CHECKING:
    from torch import nn


class EinsumDense(Op, frozen=True):
    """The axes `given`, with the batch first, times a kernel of the axes `kernel`, whose lengths
    are `sides`, summed over those that are not in `gives`; plus a bias of the shape `bias`, if
    that is not empty, along the last axes. Each axis is a letter; all lies as in Keras."""

    given: str
    kernel: str
    gives: str
    sides: tuple[int, ...]
    bias: tuple[int, ...] = ()

    fresh: ClassVar[bool] = True

    def tensors(self) -> tuple[Tensor, ...]:
        weight = Tensor("weight", self.sides, "kernel")
        return (weight, *((Tensor("bias", self.bias, "bias"),) * bool(self.bias)))

    def problems(self) -> Iterator[str]:
        yield from sizes((*self.sides, *self.bias), 1, MAX_CHANNELS)
        terms = (self.given, self.kernel, self.gives)
        known = {*self.given, *self.kernel}
        is_wrong = (
            not all(one.isascii() and one.isalpha() and len({*one}) == len(one) for one in terms)
            or len(self.kernel) != len(self.sides)
            or len(self.bias) >= len(self.gives)
            or self.given[0] != self.gives[0]
            or self.given[0] in self.kernel
            or not {*self.gives} <= known
            or not {*self.kernel} <= {*self.given, *self.gives}
        )
        if is_wrong:
            yield f"has the equation {short(self.equation)}"

    @property
    def equation(self) -> str:
        return f"{self.given},{self.kernel}->{self.gives}"

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        if len(value) + 1 != len(self.given):
            raise MisfitError(f"reads {len(self.given) - 1} axes, and {len(value)} come")
        lengths: dict[str, int | None] = dict(zip(self.given[1:], value, strict=True))
        for letter, side in zip(self.kernel, self.sides, strict=False):
            if lengths.get(letter) not in (None, side):
                found = shown(lengths[letter])
                raise MisfitError(f"reads {shown(side)} numbers along {letter!r}, and {found} come")
            lengths[letter] = side
        return tuple(lengths.get(letter) for letter in self.gives[1:])

    def module(self, *inputs: Shape) -> nn.Module:
        from resnet_pt import modules

        return modules.EinsumDense(self.equation, self.sides, self.bias)
