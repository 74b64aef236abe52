"""Activations that have a name in Keras and no settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from resnet_pt.ops.protocol import Op, Shape, short

if TYPE_CHECKING:
    from torch import nn

ACTIVATIONS = frozenset(
    [
        *("linear", "relu", "relu6", "elu", "selu", "gelu", "silu", "swish"),
        *("sigmoid", "tanh", "softplus", "softsign", "softmax", "exponential"),
    ]
)
"""Keras' names of the activations that torch computes exactly as Keras does."""

NON_NEGATIVE = frozenset(["relu", "relu6", "sigmoid", "softplus", "softmax", "exponential"])
"""Those that give nothing below 0."""


class Activation(Op, frozen=True):
    """An activation by Keras' `name`."""

    name: str

    elementwise: ClassVar[bool] = True

    def words(self) -> str:
        return self.name

    def problems(self) -> Iterator[str]:
        if self.name not in ACTIVATIONS:
            yield f"has an activation that is not known: {short(self.name)}"

    def module(self, *inputs: Shape) -> nn.Module:
        from resnet_pt.layers import activation

        return activation(self.name)
