"""Batch normalisation, and Keras' Normalization."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from resnet_pt.ops.protocol import (
    MAX_CHANNELS,
    MisfitError,
    Op,
    Shape,
    Tensor,
    finite,
    shown,
    sizes,
)

if TYPE_CHECKING:
    from torch import nn

NORMALIZATION_EPS = 1e-14
"""Keras' Normalization divides by the root of a variance or by 1e-7, whichever is more. Folded as a
norm with this epsilon it gives the same but for the last digits."""


class Norm(Op, frozen=True):
    """Batch normalisation over `channels`, with torch's meaning of momentum (Keras' 0.99 is 0.01).

    `gamma` and `beta` say whether the original had them: where it had none, the tensor holds
    ones or zeros and is not trained. `rescale` adds the custom Scale layer of the 2016 Caffe
    ports (a second gamma and beta): in a program it is a layer of its own. `standardizes` is a
    Keras Normalization: its mean and variance are those of a data set, its epsilon is none.
    """

    channels: int
    eps: float = 1e-5
    momentum: float = 0.1
    gamma: bool = True
    beta: bool = True
    rescale: bool = False
    standardizes: bool = False

    fresh: ClassVar[bool] = True

    @property
    def reads(self) -> int:
        return self.channels

    @classmethod
    def standardizing(cls, channels: int) -> Norm:
        """Keras' Normalization as a norm."""
        return cls(channels, NORMALIZATION_EPS, 0.01, gamma=False, beta=False, standardizes=True)

    def tensors(self) -> tuple[Tensor, ...]:
        shape = (self.channels,)
        return (
            Tensor("weight", shape, "gamma", self.gamma, constant=1.0),
            Tensor("bias", shape, "beta", self.beta, constant=0.0),
            Tensor("running_mean", shape, "moving_mean"),
            Tensor("running_var", shape, "moving_variance"),
            Tensor("num_batches_tracked", (), "", required=False),
        )

    def problems(self) -> Iterator[str]:
        yield from sizes((self.channels,), 1, MAX_CHANNELS)
        if self.eps < 0:
            yield f"has an epsilon of {self.eps}"
        yield from finite("an epsilon of", self.eps)
        yield from finite("a momentum of", self.momentum)

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        if value[0] not in (None, self.channels):
            words = f"normalises {shown(self.channels)} channels, and {shown(value[0])} come"
            raise MisfitError(words, value)  # what reads it does not fit what is in front either
        return (self.channels, *value[1:])

    def module(self, *inputs: Shape) -> nn.Module:
        """BatchNorm of a map or of a vector; vectors that Keras had not are frozen."""
        from torch import nn

        from resnet_pt import modules

        of_vectors, of_maps = nn.BatchNorm1d, nn.BatchNorm2d
        if self.standardizes:
            of_vectors, of_maps = modules.Standardization1d, modules.Standardization2d
        kind = of_vectors if len(inputs[0]) == 1 else of_maps
        module = kind(self.channels, eps=self.eps, momentum=self.momentum)
        module.weight.requires_grad_(self.gamma)
        module.bias.requires_grad_(self.beta)
        return module
