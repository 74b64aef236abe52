"""Attention over the steps of sequences (N, T, features).

Sources: keras 2.15 `layers/attention/` and 3.15 `src/layers/attention/`.
"""

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
)

if TYPE_CHECKING:
    from torch import nn


def _sequences(inputs: tuple[Shape, ...]) -> None:
    """Raise MisfitError for what are no sequences, or a key and a value of other lengths."""
    for one in inputs:
        if len(one) != 2:
            raise MisfitError(f"reads sequences, and {len(one)} axes come behind the batch")
    steps = {one[0] for one in inputs[1:] if one[0] is not None}
    if len(steps) > 1:
        raise MisfitError(f"has keys and values of {' and '.join(map(shown, sorted(steps)))} steps")


class Attention(Op, frozen=True):
    """Of a query (N, T, F), a value (N, S, G) and a key (N, S, F), which is the value where it is
    not given: (N, T, G), each value weighed by the softmax of its score. A score is the product of
    query and key, or, if `additive`, the sum of tanh(query + key), times a weight where it has one
    (of F numbers in a sum). With `causal` step t reads none behind step t of the others."""

    features: int
    additive: bool = False
    weight: bool = False
    causal: bool = False

    fresh: ClassVar[bool] = True
    arity: ClassVar[tuple[int, int]] = (2, 3)

    def tensors(self) -> tuple[Tensor, ...]:
        shape = (self.features,) if self.additive else ()
        return (Tensor("weight", shape, "scale"),) * self.weight

    def problems(self) -> Iterator[str]:
        yield from sizes((self.features,), 1, MAX_CHANNELS)

    def shape(self, *inputs: Shape) -> Shape:
        _sequences(inputs)
        query, value, key = (*inputs, inputs[1])[:3]
        for one in (query, key):
            if one[1] not in (None, self.features):
                raise MisfitError(
                    f"scores {shown(self.features)} numbers, and {shown(one[1])} come"
                )
        return (query[0], value[1])

    def module(self, *inputs: Shape) -> nn.Module:
        from resnet_pt import attention

        weight = (self.features if self.additive else 0) if self.weight else None
        return attention.Attention(self.additive, weight, self.causal)


class MultiHead(Op, frozen=True):
    """Of a query (N, T, F), a value (N, S, G) and a key (N, S, H), each weighed for every head:
    (N, T, outputs), the values of all heads by the softmax of the scaled products, weighed again.
    `inputs` are F, G and H; `width` is that of a head's keys, `values` that of its values."""

    inputs: tuple[int, int, int]
    heads: int
    width: int
    values: int
    outputs: int
    bias: bool = True
    causal: bool = False

    fresh: ClassVar[bool] = True
    arity: ClassVar[tuple[int, int]] = (3, 3)

    def tensors(self) -> tuple[Tensor, ...]:
        query, value, key = self.inputs
        sides = {
            "query": (self.heads * self.width, query),
            "key": (self.heads * self.width, key),
            "value": (self.heads * self.values, value),
            "output": (self.outputs, self.heads * self.values),
        }
        return tuple(
            one
            for name, shape in sides.items()
            for one in (
                Tensor(f"{name}_weight", shape, f"{name}_kernel"),
                *((Tensor(f"{name}_bias", shape[:1], f"{name}_bias"),) * self.bias),
            )
        )

    def problems(self) -> Iterator[str]:
        numbers = (*self.inputs, self.heads * self.width, self.heads * self.values, self.outputs)
        yield from sizes((self.heads, self.width, self.values, *numbers), 1, MAX_CHANNELS)

    def shape(self, *inputs: Shape) -> Shape:
        _sequences(inputs)
        gives = (inputs[0][0], self.outputs)
        for one, wanted in zip(inputs, self.inputs, strict=True):
            if one[1] not in (None, wanted):
                words = f"reads {shown(wanted)} numbers of each step, and {shown(one[1])} come"
                raise MisfitError(words, gives)
        return gives

    def module(self, *inputs: Shape) -> nn.Module:
        from resnet_pt import attention

        shapes = {one.name: one.shape for one in self.tensors()}
        return attention.MultiHead(shapes, self.heads, self.width, self.causal)
