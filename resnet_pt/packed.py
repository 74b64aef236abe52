"""Folded networks as oneDNN runs them fastest: weights packed once, sums and ReLUs within.

The calls are those that `torch.compile` makes for a frozen network on a CPU
(torch/_inductor/fx_passes/mkldnn_fusion.py); made directly they take no compiler. They are torch's
own and not documented: where a torch has none of them, `possible` is False.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resnet_pt.layers import PaddedConv2d, pads
from resnet_pt.network import ResidualBlock, ResNet
from resnet_pt.running import bypass

CALLS = ("_reorder_convolution_weight", "_convolution_pointwise")


def possible() -> bool:
    """Whether this torch has oneDNN, and the calls."""
    there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return there and all(hasattr(torch.ops.mkldnn, call) for call in CALLS)


def pack(model: ResNet) -> None:
    """Pack, in place, the stem and the blocks of a folded float32 network on the CPU.

    What is activated by another function than ReLU stays as it is.
    """
    if not isinstance(getattr(model, "relu", None), nn.ReLU):
        return
    model.__class__ = PackedResNet  # as torch.nn.utils.parametrize gives a module another class
    _pack_stem(model)
    for name, block in list(model.named_modules()):
        if isinstance(block, ResidualBlock):
            stage, _, number = name.rpartition(".")
            setattr(model.get_submodule(stage), number, PackedBlock(block))


def _pack_stem(model: ResNet) -> None:
    """The norms are folded: what is left is convolutions, and ReLUs between them if it is deep."""
    deep = model.conv1 if isinstance(model.conv1, nn.Sequential) else [model.conv1]
    *before, last = (one for one in deep if isinstance(one, nn.Conv2d))
    packed = [PackedConv2d(one, relu=True) for one in before]
    activates = model.architecture.stem.activation
    model.conv1 = nn.Sequential(*packed, PackedConv2d(last, relu=activates))
    if activates:
        bypass(model, "relu")
    for name in [name for name in model.original_layers if name.split(".")[0] == "conv1"]:
        del model.original_layers[name]  # it may be activated now


PER_THREAD = 4
"""Pictures that go through a network together for each thread of torch: the maps of more leave the
caches before the next convolution reads them (docs/inference.md)."""


class PackedResNet(ResNet):
    """A packed network, which takes a large batch on the CPU in turns, as `PER_THREAD` says.

    The turns are of about the same size: a single picture would have weights of its own packed. A
    batch whose gradient is wanted, and one that a hook of a module looks at, goes through whole.
    """

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:  # type: ignore[override]
        turns = math.ceil(len(x) / (PER_THREAD * torch.get_num_threads()))
        watched = any(m._forward_hooks or m._forward_pre_hooks for m in self.modules())
        if turns < 2 or x.device.type != "cpu" or x.requires_grad or watched:
            return super().forward(x)
        forward: Any = super().forward
        results = [forward(some) for some in x.tensor_split(turns)]
        if isinstance(results[0], Tensor):
            return torch.cat(results)
        return {name: torch.cat([result[name] for result in results]) for name in results[0]}


class PackedConv2d(nn.Module):
    """A convolution, the sum of it and `other` if one is given, and a ReLU if `relu`: one call.

    x (N, C_in, H, W), other and result (N, C_out, H', W'). Elsewhere than on the CPU, in another
    dtype than float32, and for an x that requires a gradient (Grad-CAM, say), it is torch's own
    convolution. The weight is packed at the first call; what is packed for several pictures serves
    any number and size of them, what is packed for one only its size (else oneDNN packs anew at
    every call). Both are kept.
    """

    weight: Tensor

    def __init__(self, convolution: nn.Conv2d, *, relu: bool) -> None:
        super().__init__()
        self.pads = convolution.pads if isinstance(convolution, PaddedConv2d) else 0
        self.kernel: Any = convolution.kernel_size
        self.stride: Any = convolution.stride
        self.padding: Any = convolution.padding
        self.dilation: Any = convolution.dilation
        self.groups = convolution.groups
        self.relu = relu
        self.bias = convolution.bias
        self.register_buffer("weight", convolution.weight.detach())
        self.packed: tuple[tuple[int, ...], Tensor] | None = None

    def _packed(self, x: Tensor) -> Tensor:
        edits = 0 if self.weight.is_inference() else self.weight._version
        wanted = (edits, *(x.shape if len(x) == 1 else ()))
        packed = self.packed  # another thread may put another one there
        if packed is None or packed[0] != wanted:
            weight = torch.ops.mkldnn._reorder_convolution_weight(
                *(self.weight, self.padding, self.stride, self.dilation, self.groups), x.shape
            )
            packed = self.packed = (wanted, weight)
        return packed[1]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> PackedConv2d:
        """What `to`, `cuda`, `double` and their like do to each tensor."""
        self.packed = None
        return super()._apply(fn, recurse)  # type: ignore[no-any-return, no-untyped-call]

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, which packed tensors refuse."""
        return {**self.__dict__, "packed": None}

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        if self.pads != 0:
            x = F.pad(x, pads(self.pads, x, self.kernel, self.stride, self.dilation))
        plain = x.device.type == "cpu" and x.dtype == self.weight.dtype == torch.float32
        if not plain or x.requires_grad:  # the calls have no gradients
            return self._unpacked(x, other)
        call: Any = torch.ops.mkldnn._convolution_pointwise
        geometry = (self.padding, self.stride, self.dilation, self.groups)
        parts = (self._packed(x), self.bias, *geometry)
        if other is None:
            return call(x, *parts, "relu" if self.relu else "none", [], "")  # type: ignore[no-any-return]
        relu = "relu" if self.relu else None
        return call.binary(x, other, *parts, "add", 1.0, relu, [], "")  # type: ignore[no-any-return]

    def _unpacked(self, x: Tensor, other: Tensor | None) -> Tensor:
        parts = (self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        y = F.conv2d(x, *parts)
        y = y if other is None else y + other
        return y.relu() if self.relu else y

    def extra_repr(self) -> str:
        shape = tuple(self.weight.shape)
        return (
            f"{shape}, stride={self.stride}, padding={self.pads or self.padding}, relu={self.relu}"
        )


class PackedBlock(nn.Module):
    """A folded `ResidualBlock` of ReLUs: a call for each convolution, and nothing else but the
    first norm of a pre-activation and the shortcut's pool."""

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        described = block.described
        preactivated = described.preactivation and hasattr(block, "bn1")
        self.bn1: nn.Module | None = block.bn1 if preactivated else None  # type: ignore[assignment]
        shortcut = described.shortcut
        self.from_activated = shortcut is not None and shortcut.source == "preactivation"
        *convolutions, last = (
            getattr(block, f"conv{number}") for number in range(1, len(described.convs) + 1)
        )
        self.convolutions = nn.Sequential(*(PackedConv2d(one, relu=True) for one in convolutions))
        activates = described.activated and not described.preactivation
        self.last = PackedConv2d(last, relu=activates)
        self.downsample = getattr(block, "downsample", nn.Identity())
        for name, one in list(self.downsample.named_children()):
            if isinstance(one, nn.Conv2d):
                setattr(self.downsample, name, PackedConv2d(one, relu=False))

    def forward(self, x: Tensor) -> Tensor:
        y = x if self.bn1 is None else self.bn1(x).relu()
        other = self.downsample(y if self.from_activated else x)
        return self.last(self.convolutions(y), other)  # type: ignore[no-any-return]
