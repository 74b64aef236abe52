"""Norms of each value by itself: no statistics are kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from resnet_pt.ops.protocol import MAX_CHANNELS, MisfitError, Op, Shape, Tensor, finite, sizes

if TYPE_CHECKING:
    import torch
    from torch import nn


def _eps(eps: float) -> Iterator[str]:
    if eps < 0:
        yield f"has an epsilon of {eps}"
    yield from finite("an epsilon of", eps)


def _axes(axes: tuple[int, ...], value: Shape) -> None:
    if any(axis >= len(value) for axis in axes):
        raise MisfitError(f"normalises the axes {axes}, and {len(value)} come", value)


class LayerNorm(Op, frozen=True):
    """(x - mean) / sqrt(variance + eps) over the `axes` behind the batch, from 0, times a weight
    and plus a bias of their `sizes`, in the order of the axes; with `rms` it is
    x / sqrt(variance + eps), without a bias; `about_zero` takes 0 for the mean everywhere."""

    axes: tuple[int, ...]
    sizes: tuple[int, ...]
    eps: float
    gamma: bool = True
    beta: bool = True
    rms: bool = False
    about_zero: bool = False

    fresh: ClassVar[bool] = True

    def tensors(self) -> tuple[Tensor, ...]:
        gamma = (Tensor("weight", self.sizes, "gamma"),) if self.gamma else ()
        beta = (Tensor("bias", self.sizes, "beta"),) if self.beta else ()
        return (*gamma, *beta)

    def problems(self) -> Iterator[str]:
        yield from sizes(self.sizes, 1, MAX_CHANNELS)
        yield from sizes(self.axes, 0, 8)
        yield from _eps(self.eps)
        is_listed = len(self.sizes) == len(self.axes) > 0
        if not is_listed or list(self.axes) != sorted(set(self.axes)):
            yield f"has {len(self.axes)} axes and {len(self.sizes)} sizes"

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        _axes(self.axes, value)
        found = tuple(value[axis] for axis in self.axes)
        if any(n not in (None, wanted) for n, wanted in zip(found, self.sizes, strict=True)):
            raise MisfitError(f"normalises {self.sizes} numbers, and {found} come", value)
        return value

    def module(self, *inputs: Shape) -> nn.Module:
        from torch import nn

        from resnet_pt.modules import LayerNorm as Module

        rank = len(inputs[0])
        last = tuple(range(rank - len(self.axes), rank))
        is_plain = not (self.rms or self.about_zero)
        if self.axes == last and self.gamma and self.beta and is_plain:
            return nn.LayerNorm(list(self.sizes), self.eps)
        has = {"gamma": self.gamma, "beta": self.beta, "rms": self.rms}
        by = {**has, "about_zero": self.about_zero}
        return Module(self.sizes, self.axes, rank, self.eps, **by)


class GroupNorm(Op, frozen=True):
    """(x - mean) / sqrt(variance + eps) over each group of channels with all their pixels; the
    channels are at `axis` behind the batch, from 0."""

    groups: int
    channels: int
    eps: float
    axis: int = 0
    gamma: bool = True
    beta: bool = True

    fresh: ClassVar[bool] = True

    def tensors(self) -> tuple[Tensor, ...]:
        gamma = (Tensor("weight", (self.channels,), "gamma"),) if self.gamma else ()
        beta = (Tensor("bias", (self.channels,), "beta"),) if self.beta else ()
        return (*gamma, *beta)

    def problems(self) -> Iterator[str]:
        wrong = list(sizes((self.channels, self.groups), 1, MAX_CHANNELS))
        yield from wrong
        yield from sizes((self.axis,), 0, 8)
        yield from _eps(self.eps)
        if not wrong and self.channels % self.groups:
            yield f"has {self.groups} groups that do not divide its {self.channels} channels"

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        _axes((self.axis,), value)
        if value[self.axis] not in (None, self.channels):
            raise MisfitError(
                f"normalises {self.channels} channels, and {value[self.axis]} come", value
            )
        return value

    def module(self, *inputs: Shape) -> nn.Module:
        from resnet_pt.modules import GroupNorm as Module

        has = {"gamma": self.gamma, "beta": self.beta}
        return Module(self.groups, self.channels, self.axis, self.eps, **has)


class UnitNorm(Op, frozen=True):
    """x / sqrt(max(sum of squares over the `axes`, 1e-12)), axes behind the batch, from 0."""

    axes: tuple[int, ...]

    def problems(self) -> Iterator[str]:
        yield from sizes(self.axes, 0, 8)

    def shape(self, *inputs: Shape) -> Shape:
        _axes(self.axes, inputs[0])
        return inputs[0]

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        (x,) = inputs
        axes = [axis + 1 for axis in self.axes]
        total = (x * x).sum(axes, keepdim=True)
        return x * total.clamp(min=1e-12).rsqrt()
