"""Recurrent layers: LSTM, GRU and the plain one, over the steps of a sequence (N, T, in).

Sources: `call` of keras 2.2.4 `layers/recurrent.py` and keras 3.15 `src/layers/rnn/`; torch's own
modules compute the same numbers where the activations are theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from resnet_pt.ops.activation import Activation
from resnet_pt.ops.elementwise import ELU, Clipped, Elementwise, HardSigmoid, Thresholded
from resnet_pt.ops.leaky_relu import LeakyReLU
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

Function = Activation | Clipped | ELU | Elementwise | HardSigmoid | LeakyReLU | Thresholded
"""What a recurrent layer may apply: a function of each number by itself."""

TANH, SIGMOID, RELU = Activation("tanh"), Activation("sigmoid"), Activation("relu")


class Recurrent(Op, frozen=True):
    """(N, T, in) → the state behind the last step (N, units), or behind every one (N, T, units) if
    `sequences`. It begins at 0. `backwards` goes from the last step to the first, and gives the
    states in that order, as Keras does. The tensors are called as torch's own."""

    in_features: int
    units: int
    bias: bool = True
    sequences: bool = False
    backwards: bool = False
    activation: Function = TANH

    fresh: ClassVar[bool] = True
    gates: ClassVar[int] = 1

    @property
    def is_torchs(self) -> bool:
        """Whether torch has a module of these very numbers."""
        raise NotImplementedError

    @property
    def biases(self) -> tuple[Tensor, ...]:
        """Torch has two, which are added: Keras' one, and one of 0."""
        rows = (self.gates * self.units,)
        kept = Tensor("bias_ih_l0", rows, "bias")
        none = Tensor("bias_hh_l0", rows, required=False)
        return (kept, none) if self.is_torchs else (kept,)

    def tensors(self) -> tuple[Tensor, ...]:
        rows = self.gates * self.units
        return (
            Tensor("weight_ih_l0", (rows, self.in_features), "kernel"),
            Tensor("weight_hh_l0", (rows, self.units), "recurrent_kernel"),
            *(self.biases if self.bias else ()),
        )

    def functions(self) -> tuple[Function, ...]:
        return (self.activation,)

    def problems(self) -> Iterator[str]:
        yield from sizes((self.in_features, self.units), 1, MAX_CHANNELS // 4)
        for one in self.functions():
            yield from one.problems()
            if one == Activation("softmax"):
                yield "applies a softmax at each step"

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        if len(value) != 2:
            raise MisfitError(f"reads a sequence, and {len(value)} axes come behind the batch")
        steps, width = value
        gives = (steps, self.units) if self.sequences else (self.units,)
        if width not in (None, self.in_features):
            words = f"reads {shown(self.in_features)} numbers of each step, and {shown(width)} come"
            raise MisfitError(words, gives)
        return gives


class LSTM(Recurrent, frozen=True):
    """Its gates are those of torch, in torch's order: input, forget, cell, output."""

    recurrent: Function = SIGMOID

    gates: ClassVar[int] = 4

    @property
    def is_torchs(self) -> bool:
        return (self.activation, self.recurrent) == (TANH, SIGMOID)

    def functions(self) -> tuple[Function, ...]:
        return (self.activation, self.recurrent)

    def module(self, *inputs: Shape) -> nn.Module:
        from resnet_pt import recurrent

        return recurrent.TorchLSTM(self) if self.is_torchs else recurrent.LSTM(self)


class GRU(Recurrent, frozen=True):
    """Its gates are those of torch, in torch's order: reset, update, new. `reset_after` says that
    the reset gate multiplies the state when it is weighed, and has a bias of its own there; else
    it multiplies the state before."""

    recurrent: Function = SIGMOID
    reset_after: bool = True

    gates: ClassVar[int] = 3

    @property
    def is_torchs(self) -> bool:
        return self.reset_after and (self.activation, self.recurrent) == (TANH, SIGMOID)

    @property
    def biases(self) -> tuple[Tensor, ...]:
        rows = (self.gates * self.units,)
        names = ("bias_ih_l0", "bias_hh_l0") if self.reset_after else ("bias_ih_l0",)
        return tuple(Tensor(name, rows, "bias") for name in names)

    def functions(self) -> tuple[Function, ...]:
        return (self.activation, self.recurrent)

    def module(self, *inputs: Shape) -> nn.Module:
        from resnet_pt import recurrent

        return recurrent.TorchGRU(self) if self.is_torchs else recurrent.GRU(self)


class SimpleRNN(Recurrent, frozen=True):
    """The activation of what is read and of the state before, both weighed."""

    @property
    def is_torchs(self) -> bool:
        return self.activation in (TANH, RELU)

    def module(self, *inputs: Shape) -> nn.Module:
        from resnet_pt import recurrent

        return recurrent.TorchRNN(self) if self.is_torchs else recurrent.SimpleRNN(self)
