"""`optimize`: the same network, ready for inference and for nothing else."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import torch
from torch import nn

from resnet_pt import packed
from resnet_pt.layers import ScaledBatchNorm2d
from resnet_pt.network import ResidualBlock, ResNet


def optimize(
    model: ResNet, device: torch.device | str = "cpu", *, compile: bool = False
) -> nn.Module:
    """A copy of `model` for inference on `device`: the same logits within float32 noise.

    Every norm that follows a convolution is folded into it (in float64, rounded once), which
    leaves the convolution with a bias, and weights and maps are kept channels last, as the
    convolutions of oneDNN and of tensor cores want them. On the CPU, in float32, oneDNN then packs
    the weights once, and computes sums and ReLUs within the convolutions. What comes back cannot be
    trained on or saved as weights; keep `model` for that.

    `compile` hands the result to `torch.compile`. That takes a C++ compiler and, at the first
    batch of a size, minutes; docs/inference.md has the figures that say where it pays.
    """
    fast = copy.deepcopy(model).eval().requires_grad_(False)
    names = {module: name for name, module in fast.named_modules()}
    for convolution, parent, norm in list(_pairs(fast)):
        _fold(convolution, getattr(parent, norm))
        for folded in (convolution, getattr(parent, norm)):  # no layer of the original by itself
            fast.original_layers.pop(names[folded], None)
        setattr(parent, norm, nn.Identity())
    fast = fast.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compile:
        return torch.compile(fast)  # type: ignore[return-value]
    if torch.device(device).type == "cpu" and packed.possible():
        packed.pack(fast)
    return fast  # type: ignore[no-any-return]


def _pairs(model: ResNet) -> Iterator[tuple[nn.Conv2d, nn.Module, str]]:
    """(convolution, the module that holds the norm behind it, that norm's name)."""
    last: nn.Module = model.conv1
    if isinstance(last, nn.Sequential):  # a deep stem: convolution, norm, activation, …
        for number in range(0, len(last) - 1, 3):
            yield _convolution(last[number]), last, str(number + 1)
        last = last[-1]
    if hasattr(model, "bn1"):
        yield _convolution(last), model, "bn1"
    for block in list(model.modules()):
        if not isinstance(block, ResidualBlock):
            continue
        behind = 1 if block.preactivation else 0  # before the next convolution is behind this one
        for number in range(1, block.convolutions + 1 - behind):
            if hasattr(block, f"bn{number + behind}"):
                yield getattr(block, f"conv{number}"), block, f"bn{number + behind}"
        shortcut = getattr(block, "downsample", None)
        if isinstance(shortcut, nn.Sequential) and {"0", "1"} <= set(
            dict(shortcut.named_children())
        ):
            yield shortcut.get_submodule("0"), shortcut, "1"  # type: ignore[misc]


def _convolution(module: nn.Module) -> nn.Conv2d:
    assert isinstance(module, nn.Conv2d)
    return module


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
    """weight' = weight · f, bias' = (bias - mean) · f + beta, where f = gamma / sqrt(var + eps)."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gamma, beta = norm.weight.double(), norm.bias.double()
    if isinstance(norm, ScaledBatchNorm2d):
        scale = norm.scale.weight.double()
        gamma, beta = gamma * scale, beta * scale + norm.scale.bias.double()
    factor = gamma / torch.sqrt(norm.running_var.double() + norm.eps)
    bias = -norm.running_mean.double()
    if convolution.bias is not None:
        bias = bias + convolution.bias.double()
    kind = convolution.weight.dtype
    weight = convolution.weight.double() * factor[:, None, None, None]
    convolution.weight = nn.Parameter(weight.to(kind), requires_grad=False)
    convolution.bias = nn.Parameter((bias * factor + beta).to(kind), requires_grad=False)
