"""Modules of recurrent layers: torch's own where it has the very numbers, else a readable step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

State = tuple[Tensor, ...]
"""What is carried from one step to the next; what the layer gives comes first."""


def ordered(x: Tensor, op: Any) -> Tensor:
    """The steps in the order in which they are read."""
    return x.flip(1) if op.backwards else x


class OutputAlone(nn.Module):
    """What makes one of torch's recurrent layers give its output alone."""

    op: Any

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = super().forward(ordered(x, self.op))[0]
        return found if self.op.sequences else found[:, -1]


class TorchLSTM(OutputAlone, nn.LSTM):  # type: ignore[misc]
    def __init__(self, op: Any) -> None:
        super().__init__(op.in_features, op.units, bias=op.bias, batch_first=True)
        self.op = op


class TorchGRU(OutputAlone, nn.GRU):  # type: ignore[misc]
    def __init__(self, op: Any) -> None:
        super().__init__(op.in_features, op.units, bias=op.bias, batch_first=True)
        self.op = op


class TorchRNN(OutputAlone, nn.RNN):  # type: ignore[misc]
    """The plain recurrent layer."""

    def __init__(self, op: Any) -> None:
        name = op.activation.words()
        super().__init__(
            op.in_features, op.units, nonlinearity=name, bias=op.bias, batch_first=True
        )
        self.op = op


class Steps(nn.Module):
    """A recurrent layer, step by step; `step` is what each kind does."""

    states = 1
    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor

    def __init__(self, op: Any) -> None:
        super().__init__()
        self.op = op
        for tensor in op.tensors():
            setattr(self, tensor.name, nn.Parameter(_drawn(tensor.shape, op.units)))
        self.activation = function(op.activation)

    def forward(self, x: Tensor) -> Tensor:
        bias = self.bias_ih_l0 if self.op.bias else None
        inputs = F.linear(ordered(x, self.op), self.weight_ih_l0, bias)
        state: State = (x.new_zeros(x.shape[0], self.op.units),) * self.states
        found = []
        for step in inputs.unbind(1):
            state = self.step(step, *state)
            found.append(state[0])
        return torch.stack(found, 1) if self.op.sequences else state[0]

    def step(self, x: Tensor, h: Tensor, *others: Tensor) -> State:
        """The state behind a step; `x` is what it reads, weighed, with the bias."""
        raise NotImplementedError

    def extra_repr(self) -> str:
        op = self.op
        return f"{op.in_features}, {op.units}, sequences={op.sequences}, backwards={op.backwards}"


class LSTM(Steps):
    """An LSTM of any activations."""

    states = 2

    def __init__(self, op: Any) -> None:
        super().__init__(op)
        self.recurrent = function(op.recurrent)

    def step(self, x: Tensor, h: Tensor, *others: Tensor) -> State:
        (c,) = others
        i, f, g, o = (x + F.linear(h, self.weight_hh_l0)).chunk(4, 1)
        c = self.recurrent(f) * c + self.recurrent(i) * self.activation(g)
        return self.recurrent(o) * self.activation(c), c


class GRU(Steps):
    """A GRU of any activations; its gates are torch's: reset, update, new. Without `reset_after`
    the reset gate is applied to the state before it is weighed, which torch has none of."""

    bias_hh_l0: Tensor

    def __init__(self, op: Any) -> None:
        super().__init__(op)
        self.recurrent, self.after = function(op.recurrent), op.reset_after

    def step(self, x: Tensor, h: Tensor, *others: Tensor) -> State:
        units = h.shape[1]
        if self.after:
            weighed = F.linear(h, self.weight_hh_l0, self.bias_hh_l0 if self.op.bias else None)
            r, z = self.recurrent(x[:, : 2 * units] + weighed[:, : 2 * units]).chunk(2, 1)
            n = self.activation(x[:, 2 * units :] + r * weighed[:, 2 * units :])
        else:
            gates, new = self.weight_hh_l0[: 2 * units], self.weight_hh_l0[2 * units :]
            r, z = self.recurrent(x[:, : 2 * units] + F.linear(h, gates)).chunk(2, 1)
            n = self.activation(x[:, 2 * units :] + F.linear(r * h, new))
        return (z * h + (1 - z) * n,)


class SimpleRNN(Steps):
    """The plain recurrent layer of any activation."""

    def step(self, x: Tensor, h: Tensor, *others: Tensor) -> State:
        return (self.activation(x + F.linear(h, self.weight_hh_l0)),)


def _drawn(shape: tuple[int, ...], units: int) -> Tensor:
    """Numbers as torch begins with."""
    bound = units**-0.5
    return torch.empty(shape).uniform_(-bound, bound)


def function(op: Any) -> nn.Module:
    """The module of an activation, which leaves what it reads as it is."""
    found: nn.Module = op.module()
    if isinstance(found, nn.ReLU | nn.Hardtanh):  # ReLU6 is one
        found.inplace = False
    return found
