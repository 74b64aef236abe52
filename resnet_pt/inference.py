"""`optimize`: the same network, ready for inference and for nothing else."""

from __future__ import annotations

import copy

import torch
from torch import nn

from resnet_pt import packed
from resnet_pt.layers import Scale
from resnet_pt.network import ResNet
from resnet_pt.program import normed


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
    for one in normed(fast.program):
        names = [layer.module for layer in (one.conv, one.norm, one.scale) if layer]
        convolution, *norms = (fast.get_submodule(name) for name in names)
        _fold(convolution, *norms)  # type: ignore[arg-type]
        for name in names:  # no layer of the original by itself
            fast.original_layers.pop(name, None)
        parent, _, name = names[1].rpartition(".")
        nothing = nn.Identity()
        for child, _ in norms[0].named_children():  # a Scale's place
            nothing.add_module(child, nn.Identity())
        setattr(fast.get_submodule(parent), name, nothing)
    fast = fast.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compile:
        return torch.compile(fast)  # type: ignore[return-value]
    if torch.device(device).type == "cpu" and packed.possible():
        packed.pack(fast)
    return fast  # type: ignore[no-any-return]


def _fold(convolution: nn.Conv2d, norm: nn.BatchNorm2d, scale: Scale | None = None) -> None:
    """weight' = weight · f, bias' = (bias - mean) · f + beta, where f = gamma / sqrt(var + eps)."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    gamma, beta = norm.weight.double(), norm.bias.double()
    if scale is not None:
        factor = scale.weight.double()
        gamma, beta = gamma * factor, beta * factor + scale.bias.double()
    factor = gamma / torch.sqrt(norm.running_var.double() + norm.eps)
    bias = -norm.running_mean.double()
    if convolution.bias is not None:
        bias = bias + convolution.bias.double()
    kind = convolution.weight.dtype
    weight = convolution.weight.double() * factor[:, None, None, None]
    convolution.weight = nn.Parameter(weight.to(kind), requires_grad=False)
    convolution.bias = nn.Parameter((bias * factor + beta).to(kind), requires_grad=False)
