"""What torch has no word for: functions and classes whose text is copied into written source.

Each stands by itself, needs torch alone, and may call the others of this file. The tests of the
network's own modules (`resnet_pt`) and the proof of each source that is written hold them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def same_pads(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[int]:
    """Zeros that TensorFlow's 'same' sets around a map (N, C, ...), as F.pad takes them: the odd
    one goes to the end, and how many there are depends on the size of the map."""
    pads: list[int] = []
    for side, k, s, d in zip(x.shape[2:], kernel, stride, dilation, strict=True):
        total = max(d * (k - 1) - (side - 1) % s, 0)
        pads = [total // 2, total - total // 2, *pads]
    return pads


def pad_same(
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    value: float = 0.0,
) -> Tensor:
    """A map with what TensorFlow's 'same' sets around it."""
    return F.pad(x, same_pads(x, kernel, stride, dilation), value=value)


def average_pool(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], pads: Sequence[int]
) -> Tensor:
    """The mean of the elements of each window that are really there."""
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[len(kernel) - 1]
    there = F.pad(torch.ones_like(x[:1, :1]), list(pads))
    total: Tensor = pool(F.pad(x, list(pads)), tuple(kernel), tuple(stride))
    return total / pool(there, tuple(kernel), tuple(stride))


def affine(x: Tensor, scale: Sequence[float], offset: Sequence[float], dim: int) -> Tensor:
    """x * scale + offset, with one number, or one for each place of an axis."""
    view = [-1 if one == dim else 1 for one in range(x.dim())]
    factor = torch.tensor(scale, dtype=x.dtype, device=x.device).view(view)
    return x * factor + torch.tensor(offset, dtype=x.dtype, device=x.device).view(view)


def clipped_relu(x: Tensor, maximum: float | None, slope: float, threshold: float) -> Tensor:
    """Keras' ReLU: slope * (x - threshold) up to the threshold, then x, at most maximum."""
    above = x if maximum is None else x.clamp(0.0, maximum)
    below = slope * (x - threshold) if slope else torch.zeros_like(x)
    return torch.where(x > threshold, above, below)


def sparse_plus(x: Tensor) -> Tensor:
    """0 up to -1, (x + 1)**2 / 4 up to 1, then x."""
    return torch.where(x <= -1, torch.zeros_like(x), torch.where(x < 1, 0.25 * (x + 1) ** 2, x))


def unit_norm(x: Tensor, dims: Sequence[int]) -> Tensor:
    """x by the root of its squares' sum over some axes."""
    return x * (x * x).sum(tuple(dims), keepdim=True).clamp(min=1e-12).rsqrt()


def softmax_over(x: Tensor, dims: Sequence[int]) -> Tensor:
    """A softmax over several axes together."""
    return (x - x.logsumexp(tuple(dims), keepdim=True)).exp()


def dot(one: Tensor, other: Tensor, dims: tuple[int, int], normalize: bool) -> Tensor:
    """The products of two values, summed over an axis of each."""
    one, other = one.movedim(dims[0], -1), other.movedim(dims[1], -1)
    if normalize:
        one = one * (one * one).sum(-1, keepdim=True).clamp(min=1e-12).rsqrt()
        other = other * (other * other).sum(-1, keepdim=True).clamp(min=1e-12).rsqrt()
    left = one.flatten(1, -2) if one.dim() > 2 else one.unsqueeze(1)
    right = other.flatten(1, -2) if other.dim() > 2 else other.unsqueeze(1)
    shape = [*one.shape[1:-1], *other.shape[1:-1]] or [1]
    return torch.matmul(left, right.transpose(1, 2)).reshape(one.shape[0], *shape)


def depth_to_space(x: Tensor, block: int) -> Tensor:
    """Channels as blocks of pixels, in TensorFlow's order (pixel_shuffle has another)."""
    count, _, height, width = x.shape
    x = x.reshape(count, block, block, -1, height, width).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(count, -1, height * block, width * block)


def space_to_depth(x: Tensor, block: int) -> Tensor:
    """Blocks of pixels as channels, in TensorFlow's order."""
    count, channels, height, width = x.shape
    rows, columns = height // block, width // block
    x = x.reshape(count, channels, rows, block, columns, block).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(count, -1, rows, columns)


def enlarged(x: Tensor, dim: int, factor: int) -> Tensor:
    """An axis made longer, linearly from each element's place to the next one's."""
    place = torch.arange(x.shape[dim] * factor, device=x.device)
    low = place // factor
    high = (low + 1).clamp(max=x.shape[dim] - 1)
    share = (place % factor).to(x.dtype) / factor
    share = share.view([-1 if one == dim else 1 for one in range(x.dim())])
    first = x.index_select(dim, low)
    return first + (x.index_select(dim, high) - first) * share


def resampled(x: Tensor, dim: int, size: int) -> Tensor:
    """An axis of another length: element i is what is, linearly, at i * before / after."""
    before = x.shape[dim]
    scale = torch.tensor(before / size, dtype=torch.float32, device=x.device)
    place = torch.arange(size, device=x.device, dtype=torch.float32) * scale
    low = place.floor().long().clamp(max=before - 1)
    high = (low + 1).clamp(max=before - 1)
    share = (place - low).to(x.dtype).view([-1 if one == dim else 1 for one in range(x.dim())])
    first = x.index_select(dim, low)
    return first + (x.index_select(dim, high) - first) * share


class Standardization(nn.BatchNorm1d):
    """Keras' Normalization: by the mean and variance of a data set, while training too."""

    def _check_input_dim(self, input: Tensor) -> None:
        """Vectors and maps alike."""

    def forward(self, input: Tensor) -> Tensor:
        assert self.running_var is not None
        variance = self.running_var.clamp(min=self.eps)
        return F.batch_norm(input, self.running_mean, variance, self.weight, self.bias, eps=0.0)


class BatchNormOver(nn.BatchNorm1d):
    """Batch normalisation over one axis of a value of any rank."""

    def __init__(self, channels: int, dim: int, eps: float, momentum: float) -> None:
        super().__init__(channels, eps=eps, momentum=momentum)
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        moved = input.movedim(self.dim, 1)
        found = super().forward(moved.flatten(2) if moved.dim() > 3 else moved)
        return found.reshape(moved.shape).movedim(1, self.dim)


class LayerNormOver(nn.Module):
    """A norm over some axes of each value by itself; with `rms` its mean is not taken off, and with
    `about_zero` the variance is that about 0."""

    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self,
        sizes: Sequence[int],
        view: Sequence[int],
        dims: Sequence[int],
        eps: float,
        gamma: bool,
        beta: bool,
        rms: bool,
        about_zero: bool,
    ) -> None:
        super().__init__()
        self.view, self.dims, self.eps = list(view), tuple(dims), eps
        self.rms, self.about_zero = rms, about_zero
        self.weight = nn.Parameter(torch.ones(tuple(sizes))) if gamma else None
        self.bias = nn.Parameter(torch.zeros(tuple(sizes))) if beta else None

    def forward(self, x: Tensor) -> Tensor:
        centred = x if self.about_zero else x - x.mean(self.dims, keepdim=True)
        variance = centred.square().mean(self.dims, keepdim=True)
        found = (x if self.rms else centred) * (variance + self.eps).rsqrt()
        if self.weight is not None:
            found = found * self.weight.view(self.view)
        return found if self.bias is None else found + self.bias.view(self.view)


class GroupNormOver(nn.Module):
    """A norm over groups of channels, which are at any axis."""

    weight: Tensor | None
    bias: Tensor | None

    def __init__(
        self, groups: int, channels: int, dim: int, eps: float, gamma: bool, beta: bool
    ) -> None:
        super().__init__()
        self.groups, self.dim, self.eps = groups, dim, eps
        self.weight = nn.Parameter(torch.ones(channels)) if gamma else None
        self.bias = nn.Parameter(torch.zeros(channels)) if beta else None

    def forward(self, x: Tensor) -> Tensor:
        moved = x.movedim(self.dim, 1)
        found = F.group_norm(moved, self.groups, self.weight, self.bias, self.eps)
        return found.movedim(1, self.dim)


class Scale(nn.Module):
    """x * weight + bias, a pair for each channel of a map."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight[:, None, None] + self.bias[:, None, None]


class Weighted(nn.Module):
    """x times a weight of some shape."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(tuple(sizes)))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class EinsumDense(nn.Module):
    """Sums of products with a weight, along axes that an equation of letters names."""

    bias: Tensor | None

    def __init__(self, equation: str, sides: Sequence[int], bias: Sequence[int]) -> None:
        super().__init__()
        self.equation = equation
        self.weight = nn.Parameter(torch.randn(tuple(sides)) * 0.05)
        self.bias = nn.Parameter(torch.zeros(tuple(bias))) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        found = torch.einsum(self.equation, x, self.weight)
        return found if self.bias is None else found + self.bias


class SequenceAttention(nn.Module):
    """Values weighed by how a query and their keys agree. `weight` is how many numbers weigh a
    score: 0 for a single one, None for none."""

    weight: Tensor | None

    def __init__(self, additive: bool, weight: int | None, causal: bool) -> None:
        super().__init__()
        self.additive, self.causal = additive, causal
        shape = (weight,) if weight else ()
        self.weight = None if weight is None else nn.Parameter(torch.ones(shape))

    def forward(self, query: Tensor, value: Tensor, key: Tensor) -> Tensor:
        if self.additive:
            sums = torch.tanh(query.unsqueeze(2) + key.unsqueeze(1))
            scores = (sums if self.weight is None else sums * self.weight).sum(-1)
        else:
            scores = query @ key.transpose(1, 2)
            scores = scores if self.weight is None else scores * self.weight
        if self.causal:  # step t reads none behind the t-th
            kept = torch.ones_like(scores, dtype=torch.bool).tril()
            scores = scores.masked_fill(~kept, float("-inf"))
        return scores.softmax(-1) @ value


class MultiHeadAttention(nn.Module):
    """Attention of several heads, whose weights lie behind each other in one matrix. `reads` are
    the features of query, value and key; `width` is that of a head's keys, `values` that of its
    values."""

    def __init__(
        self,
        reads: Sequence[int],
        heads: int,
        width: int,
        values: int,
        gives: int,
        bias: bool,
        causal: bool,
    ) -> None:
        super().__init__()
        self.heads, self.scale, self.causal = heads, width**-0.5, causal
        query, value, key = reads
        sides = {
            "query": (heads * width, query),
            "key": (heads * width, key),
            "value": (heads * values, value),
            "output": (gives, heads * values),
        }
        for name, shape in sides.items():
            weight = nn.init.xavier_uniform_(torch.empty(shape))
            self.register_parameter(f"{name}_weight", nn.Parameter(weight))
            if bias:
                self.register_parameter(f"{name}_bias", nn.Parameter(torch.zeros(shape[0])))

    def forward(self, query: Tensor, value: Tensor, key: Tensor) -> Tensor:
        q, k = self.of_heads("query", query), self.of_heads("key", key)
        found = F.scaled_dot_product_attention(
            q, k, self.of_heads("value", value), is_causal=self.causal, scale=self.scale
        )
        return self.weighed("output", found.transpose(1, 2).flatten(2))

    def of_heads(self, name: str, x: Tensor) -> Tensor:
        """(N, T, features) -> (N, heads, T, width)."""
        return self.weighed(name, x).reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def weighed(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias", None))


class SlopedReLU(nn.Module):
    """x, or a weight times x where x is negative."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full(tuple(sizes), 0.25))

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x < 0, x * self.weight, x)


class Recurrent(nn.Module):
    """A recurrent layer of any activations, step by step; it gives the state behind each."""

    gates, states = 1, 1
    bias_ih_l0: Tensor | None

    def __init__(
        self,
        in_features: int,
        units: int,
        bias: bool,
        activation: Callable[[Tensor], Tensor],
        recurrent: Callable[[Tensor], Tensor] = torch.sigmoid,
    ) -> None:
        super().__init__()
        rows, bound = self.gates * units, units**-0.5
        self.units, self.activation, self.recurrent = units, activation, recurrent
        self.weight_ih_l0 = nn.Parameter(torch.empty(rows, in_features).uniform_(-bound, bound))
        self.weight_hh_l0 = nn.Parameter(torch.empty(rows, units).uniform_(-bound, bound))
        self.bias_ih_l0 = nn.Parameter(torch.zeros(rows)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        state = (x.new_zeros(x.shape[0], self.units),) * self.states
        found = []
        for step in F.linear(x, self.weight_ih_l0, self.bias_ih_l0).unbind(1):
            state = self.step(step, *state)
            found.append(state[0])
        return torch.stack(found, 1)

    def step(self, x: Tensor, h: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """The state behind a step, for what it reads, weighed."""
        return (self.activation(x + F.linear(h, self.weight_hh_l0)),)


class KerasLSTM(Recurrent):
    """An LSTM; its gates are torch's: input, forget, cell, output."""

    gates, states = 4, 2

    def step(self, x: Tensor, h: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        i, f, g, o = (x + F.linear(h, self.weight_hh_l0)).chunk(4, 1)
        c = self.recurrent(f) * others[0] + self.recurrent(i) * self.activation(g)
        return self.recurrent(o) * self.activation(c), c


class KerasGRU(Recurrent):
    """A GRU whose reset gate multiplies the state before it is weighed."""

    gates = 3

    def step(self, x: Tensor, h: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        split = 2 * self.units
        gates, new = self.weight_hh_l0[:split], self.weight_hh_l0[split:]
        r, z = self.recurrent(x[:, :split] + F.linear(h, gates)).chunk(2, 1)
        n = self.activation(x[:, split:] + F.linear(r * h, new))
        return (z * h + (1 - z) * n,)


class KerasGRUResetAfter(Recurrent):
    """A GRU whose reset gate multiplies the weighed state."""

    gates = 3
    bias_hh_l0: Tensor | None

    def __init__(
        self,
        in_features: int,
        units: int,
        bias: bool,
        activation: Callable[[Tensor], Tensor],
        recurrent: Callable[[Tensor], Tensor] = torch.sigmoid,
    ) -> None:
        super().__init__(in_features, units, bias, activation, recurrent)
        self.bias_hh_l0 = nn.Parameter(torch.zeros(3 * units)) if bias else None

    def step(self, x: Tensor, h: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        split = 2 * self.units
        weighed = F.linear(h, self.weight_hh_l0, self.bias_hh_l0)
        r, z = self.recurrent(x[:, :split] + weighed[:, :split]).chunk(2, 1)
        n = self.activation(x[:, split:] + r * weighed[:, split:])
        return (z * h + (1 - z) * n,)
