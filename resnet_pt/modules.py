"""The modules with weights of a general network, where torch's own would need other axes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from resnet_pt import ops
from resnet_pt.ops.sides import channels_second, padded

CONVOLUTIONS = (nn.functional.conv1d, nn.functional.conv2d, nn.functional.conv3d)
TRANSPOSED = (
    nn.functional.conv_transpose1d,
    nn.functional.conv_transpose2d,
    nn.functional.conv_transpose3d,
)


class _Kernel(nn.Module):
    """A weight and, if there is one, a bias, drawn as torch draws a convolution's."""

    def __init__(self, op: Any) -> None:
        super().__init__()
        self.op = op
        weight, *bias = op.tensors()
        self.weight = nn.Parameter(torch.empty(weight.shape))
        self.bias = nn.Parameter(torch.zeros(bias[0].shape)) if bias else None
        if self.weight.device.type != "meta":
            nn.init.kaiming_uniform_(self.weight, a=5**0.5)

    def extra_repr(self) -> str:
        op = self.op
        return f"{op.in_channels}, {op.out_channels}, kernel_size={op.kernel}, stride={op.stride}"


class Convolution(_Kernel):
    """A convolution of a sequence (N, T, C), or of a map or volume (N, C, …)."""

    op: ops.ConvNd

    def forward(self, x: Tensor) -> Tensor:
        op = self.op
        x = padded(channels_second(x), op.around, op.kernel, op.stride, op.dilation)
        run: Any = CONVOLUTIONS[len(op.kernel) - 1]
        found = run(x, self.weight, self.bias, op.stride, 0, op.dilation, op.groups)
        return channels_second(found)


class TransposedConvolution(_Kernel):
    """A transposed convolution, its result cut as TensorFlow cuts it."""

    op: ops.ConvTranspose

    def forward(self, x: Tensor) -> Tensor:
        op = self.op
        run: Any = TRANSPOSED[len(op.kernel) - 1]
        x = channels_second(x)
        whole = run(x, self.weight, None, op.stride, 0, 0, op.groups, op.dilation)
        cuts = [-amount for pair in reversed(op.cropped) for amount in pair]
        found = nn.functional.pad(whole, cuts) if any(cuts) else whole
        if self.bias is not None:
            found = found + self.bias.view(-1, *[1] * len(op.kernel))
        return channels_second(found)


class DenseLast(nn.Module):
    """A Dense layer on the last axis, which is the second of a map."""

    def __init__(self, op: ops.DenseLast) -> None:
        super().__init__()
        plain = nn.Linear(op.in_features, op.out_features, op.bias)
        self.op, self.weight, self.bias = op, plain.weight, plain.bias

    def forward(self, x: Tensor) -> Tensor:
        if not self.op.second:
            return nn.functional.linear(x, self.weight, self.bias)
        return nn.functional.linear(x.movedim(1, -1), self.weight, self.bias).movedim(-1, 1)

    def extra_repr(self) -> str:
        return f"{self.op.in_features}, {self.op.out_features}, bias={self.op.bias}"


class AxisNorm(nn.BatchNorm1d):
    """Batch normalisation over one axis of a value of any rank."""

    def __init__(self, op: ops.AxisNorm) -> None:
        super().__init__(op.channels, eps=op.eps, momentum=op.momentum)
        assert self.weight is not None
        assert self.bias is not None
        self.weight.requires_grad_(op.gamma)
        self.bias.requires_grad_(op.beta)
        self.axis = op.axis + 1

    def forward(self, x: Tensor) -> Tensor:
        moved = x.movedim(self.axis, 1)
        found: Tensor = super().forward(moved.flatten(2) if moved.dim() > 3 else moved)
        return found.reshape(moved.shape).movedim(1, self.axis)


class LayerNorm(nn.Module):
    """A norm over some axes of each value by itself."""

    def __init__(self, op: ops.LayerNorm, rank: int) -> None:
        super().__init__()
        self.op = op
        axes = [axis + 1 for axis in op.axes]
        self.axes = axes
        self.view = [op.sizes[op.axes.index(a)] if a in op.axes else 1 for a in range(rank)]
        self.weight = nn.Parameter(torch.ones(op.sizes)) if op.gamma else None
        self.bias = nn.Parameter(torch.zeros(op.sizes)) if op.beta else None

    def forward(self, x: Tensor) -> Tensor:
        centred = x if self.op.rms else x - x.mean(self.axes, keepdim=True)
        variance = centred.square().mean(self.axes, keepdim=True)
        found = centred * (variance + self.op.eps).rsqrt()
        if self.weight is not None:
            found = found * self.weight.view(self.view)
        return found if self.bias is None else found + self.bias.view(self.view)

    def extra_repr(self) -> str:
        return f"{self.op.sizes}, axes={self.op.axes}, eps={self.op.eps}"


def layer_norm(op: ops.LayerNorm, rank: int) -> nn.Module:
    """torch's own where the axes are the last ones, else `LayerNorm`."""
    last = tuple(range(rank - len(op.axes), rank))
    if op.axes != last or op.rms or not (op.gamma and op.beta):
        return LayerNorm(op, rank)
    return nn.LayerNorm(list(op.sizes), op.eps)


class GroupNorm(nn.Module):
    """A norm over groups of channels, which are at any axis."""

    def __init__(self, op: ops.GroupNorm) -> None:
        super().__init__()
        self.op = op
        self.weight = nn.Parameter(torch.ones(op.channels)) if op.gamma else None
        self.bias = nn.Parameter(torch.zeros(op.channels)) if op.beta else None

    def forward(self, x: Tensor) -> Tensor:
        op = self.op
        moved = x.movedim(op.axis + 1, 1)
        found = nn.functional.group_norm(moved, op.groups, self.weight, self.bias, op.eps)
        return found.movedim(1, op.axis + 1)

    def extra_repr(self) -> str:
        return f"{self.op.groups}, {self.op.channels}, eps={self.op.eps}"


class Linear(nn.Module):
    """x * scale + offset by numbers that are settings."""

    def __init__(self, op: ops.Linear, rank: int) -> None:
        super().__init__()
        self.op = op
        self.view = [-1 if axis == op.axis else 1 for axis in range(rank)]

    def forward(self, x: Tensor) -> Tensor:
        return x * self._like(x, self.op.scale) + self._like(x, self.op.offset)

    def _like(self, x: Tensor, numbers: tuple[float, ...]) -> Tensor | float:
        if len(numbers) == 1:
            return numbers[0]
        return torch.tensor(numbers, dtype=x.dtype, device=x.device).view(self.view)

    def extra_repr(self) -> str:
        return f"scale={self.op.scale[:4]}, offset={self.op.offset[:4]}"


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
