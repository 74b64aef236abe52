"""The modules with weights of a general network, where torch's own would need other axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from resnet_pt.ops.sides import Around, Sides, channels_second, padded

CONVOLUTIONS = (nn.functional.conv1d, nn.functional.conv2d, nn.functional.conv3d)
TRANSPOSED = (
    nn.functional.conv_transpose1d,
    nn.functional.conv_transpose2d,
    nn.functional.conv_transpose3d,
)


Numbers = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Window:
    """The size of a kernel and how it moves: a number for each axis that it moves along."""

    kernel: Numbers
    stride: Numbers
    dilation: Numbers
    groups: int = 1


class _Kernel(nn.Module):
    """A weight of a shape and, if there is one, a bias, drawn as torch draws a convolution's."""

    def __init__(self, shape: Numbers, out_channels: int, window: Window, bias: bool) -> None:
        super().__init__()
        self.window = window
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        if self.weight.device.type != "meta":
            nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, {self.window}, bias={self.bias is not None}"


class Convolution(_Kernel):
    """A convolution of a sequence (N, T, C), or of a map or volume (N, C, …)."""

    def __init__(
        self, in_channels: int, out_channels: int, window: Window, around: Around, bias: bool
    ) -> None:
        shape = (out_channels, in_channels // window.groups, *window.kernel)
        super().__init__(shape, out_channels, window, bias)
        self.around = around

    def forward(self, x: Tensor) -> Tensor:
        by = self.window
        x = padded(channels_second(x), self.around, by.kernel, by.stride, by.dilation)
        run: Any = CONVOLUTIONS[len(by.kernel) - 1]
        found = run(x, self.weight, self.bias, by.stride, 0, by.dilation, by.groups)
        return channels_second(found)


class TransposedConvolution(_Kernel):
    """A transposed convolution, its result cut as TensorFlow cuts it."""

    def __init__(
        self, in_channels: int, out_channels: int, window: Window, cropped: Sides, bias: bool
    ) -> None:
        shape = (in_channels, out_channels // window.groups, *window.kernel)
        super().__init__(shape, out_channels, window, bias)
        self.cropped = cropped

    def forward(self, x: Tensor) -> Tensor:
        by = self.window
        run: Any = TRANSPOSED[len(by.kernel) - 1]
        x = channels_second(x)
        whole = run(x, self.weight, None, by.stride, 0, 0, by.groups, by.dilation)
        cuts = [-amount for pair in reversed(self.cropped) for amount in pair]
        found = nn.functional.pad(whole, cuts) if any(cuts) else whole
        if self.bias is not None:
            found = found + self.bias.view(-1, *[1] * len(by.kernel))
        return channels_second(found)


class Embedding(nn.Embedding):
    """A table whose rows are taken by numbers of any dtype, which are cut to whole ones; with
    `second` what is in a row comes second."""

    def __init__(self, count: int, features: int, second: bool) -> None:
        super().__init__(count, features)
        self.second = second

    def forward(self, x: Tensor) -> Tensor:
        found = super().forward(x.long())
        return found.movedim(-1, 1) if self.second else found


class EinsumDense(nn.Module):
    """Sums of products with a kernel, along axes that an equation of letters names, and a bias
    along the last ones."""

    def __init__(self, equation: str, sides: Numbers, bias: Numbers) -> None:
        super().__init__()
        self.equation = equation
        self.weight = nn.Parameter(torch.empty(sides))
        self.bias = nn.Parameter(torch.zeros(bias)) if bias else None
        if self.weight.device.type != "meta":
            nn.init.normal_(self.weight, std=0.05)

    def forward(self, x: Tensor) -> Tensor:
        found = torch.einsum(self.equation, x, self.weight)
        return found if self.bias is None else found + self.bias

    def extra_repr(self) -> str:
        return f"{self.equation}, {tuple(self.weight.shape)}"


class DenseLast(nn.Module):
    """A Dense layer on the last axis, which is the second of a map."""

    def __init__(self, in_features: int, out_features: int, bias: bool, second: bool) -> None:
        super().__init__()
        plain = nn.Linear(in_features, out_features, bias)
        self.second, self.weight, self.bias = second, plain.weight, plain.bias

    def forward(self, x: Tensor) -> Tensor:
        if not self.second:
            return nn.functional.linear(x, self.weight, self.bias)
        return nn.functional.linear(x.movedim(1, -1), self.weight, self.bias).movedim(-1, 1)

    def extra_repr(self) -> str:
        return f"{tuple(self.weight.shape)}, bias={self.bias is not None}, second={self.second}"


def _standardized(norm: nn.BatchNorm1d | nn.BatchNorm2d, x: Tensor) -> Tensor:
    """Keras' Normalization: by the mean and variance of a data set, while training too, and by the
    root of the variance or that of `eps`, whichever is more (tf-keras 2.15 `normalization.py`)."""
    assert norm.running_var is not None
    variance = norm.running_var.clamp(min=norm.eps)
    return nn.functional.batch_norm(x, norm.running_mean, variance, norm.weight, norm.bias, eps=0.0)


class Standardization1d(nn.BatchNorm1d):
    """Keras' Normalization of vectors."""

    def forward(self, x: Tensor) -> Tensor:
        return _standardized(self, x)


class Standardization2d(nn.BatchNorm2d):
    """Keras' Normalization of maps."""

    def forward(self, x: Tensor) -> Tensor:
        return _standardized(self, x)


class AxisNorm(nn.BatchNorm1d):
    """Batch normalisation over one axis of a value of any rank."""

    def __init__(self, axis: int, channels: int, eps: float, momentum: float) -> None:
        super().__init__(channels, eps=eps, momentum=momentum)
        self.axis = axis + 1

    def forward(self, x: Tensor) -> Tensor:
        moved = x.movedim(self.axis, 1)
        found: Tensor = super().forward(moved.flatten(2) if moved.dim() > 3 else moved)
        return found.reshape(moved.shape).movedim(1, self.axis)


class LayerNorm(nn.Module):
    """A norm over some axes of each value by itself; with `rms` the mean is taken for the variance
    alone, as Keras 3 does (3.15 `src/ops/nn.py`, layer_normalization), and with `about_zero` none
    is taken at all (the same file's rms_normalization).

    `axes` are those behind the batch, from 0, and `rank` is how many there are.
    """

    def __init__(
        self,
        sizes: Numbers,
        axes: Numbers,
        rank: int,
        eps: float,
        *,
        gamma: bool,
        beta: bool,
        rms: bool,
        about_zero: bool,
    ) -> None:
        super().__init__()
        self.axes = [axis + 1 for axis in axes]
        self.view = [sizes[axes.index(axis)] if axis in axes else 1 for axis in range(rank)]
        self.eps, self.rms, self.about_zero = eps, rms, about_zero
        self.weight = nn.Parameter(torch.ones(sizes)) if gamma else None
        self.bias = nn.Parameter(torch.zeros(sizes)) if beta else None

    def forward(self, x: Tensor) -> Tensor:
        centred = x if self.about_zero else x - x.mean(self.axes, keepdim=True)
        variance = centred.square().mean(self.axes, keepdim=True)
        found = (x if self.rms else centred) * (variance + self.eps).rsqrt()
        if self.weight is not None:
            found = found * self.weight.view(self.view)
        return found if self.bias is None else found + self.bias.view(self.view)

    def extra_repr(self) -> str:
        by = f"rms={self.rms}, about_zero={self.about_zero}"
        return f"axes={self.axes}, eps={self.eps}, {by}"


class GroupNorm(nn.Module):
    """A norm over groups of channels, which are at any axis behind the batch, from 0."""

    def __init__(
        self, groups: int, channels: int, axis: int, eps: float, *, gamma: bool, beta: bool
    ) -> None:
        super().__init__()
        self.groups, self.axis, self.eps = groups, axis + 1, eps
        self.weight = nn.Parameter(torch.ones(channels)) if gamma else None
        self.bias = nn.Parameter(torch.zeros(channels)) if beta else None

    def forward(self, x: Tensor) -> Tensor:
        moved = x.movedim(self.axis, 1)
        found = nn.functional.group_norm(moved, self.groups, self.weight, self.bias, self.eps)
        return found.movedim(1, self.axis)

    def extra_repr(self) -> str:
        return f"{self.groups}, axis={self.axis}, eps={self.eps}"


class Linear(nn.Module):
    """x * scale + offset by numbers that are settings, along an axis of a value of some rank."""

    def __init__(self, scale: Sequence[float], offset: Sequence[float], axis: int, rank: int):
        super().__init__()
        self.scale, self.offset = tuple(scale), tuple(offset)
        self.view = [-1 if one == axis else 1 for one in range(rank)]

    def forward(self, x: Tensor) -> Tensor:
        return x * self._like(x, self.scale) + self._like(x, self.offset)

    def _like(self, x: Tensor, numbers: tuple[float, ...]) -> Tensor | float:
        if len(numbers) == 1:
            return numbers[0]
        return torch.tensor(numbers, dtype=x.dtype, device=x.device).view(self.view)

    def extra_repr(self) -> str:
        return f"scale={self.scale[:4]}, offset={self.offset[:4]}"


class SharedPReLU(nn.Module):
    """x, or a weight times x where x is negative."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full(sizes, 0.25))

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x < 0, x * self.weight, x)


class Weighted(nn.Module):
    """x times a weight."""

    def __init__(self, sizes: tuple[int, ...]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(sizes))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight
