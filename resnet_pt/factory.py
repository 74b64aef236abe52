"""Architectures from a handful of facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from resnet_pt.architecture import (
    Architecture,
    Block,
    Conv,
    Dense,
    GlobalPool,
    Layer,
    Norm,
    Output,
    Shortcut,
    Stem,
)

StrideOn = Literal["1x1", "3x3"]


def resnet(
    depths: Sequence[int] = (3, 4, 6, 3),
    classes: int = 1000,
    *,
    width: int = 64,
    stride_on: StrideOn = "3x3",
    bias: bool = False,
    eps: float = 1e-5,
    momentum: float = 0.1,
    in_channels: int = 3,
) -> Architecture:
    """A bottleneck ResNet; with the defaults, torchvision's `resnet50`.

    `resnet(stride_on="1x1", bias=True, eps=1.001e-5, momentum=0.01)` is the ResNet50 of
    keras.applications.
    """

    make = _Blocks(stride_on, bias, eps, momentum)
    stages = []
    channels = width
    for stage, depth in enumerate(depths):
        blocks = []
        for index in range(depth):
            stride = 2 if stage > 0 and index == 0 else 1
            blocks.append(make.bottleneck(channels, width * 2**stage, stride))
            channels = blocks[-1].out_channels
        stages.append(tuple(blocks))
    pool = Layer("avgpool", GlobalPool("avg"), ("",))
    dense = Layer("fc", Dense(channels, classes), ("avgpool",))
    return Architecture(
        stem=Stem(Conv(in_channels, width, (7, 7), (2, 2), 3, bias=bias), make.norm(width)),
        stages=tuple(stages),
        head=(pool, dense),
        outputs=(Output("fc", "fc", "softmax"),),
    )


@dataclass(frozen=True, slots=True)
class _Blocks:
    stride_on: StrideOn
    bias: bool
    eps: float
    momentum: float

    def norm(self, channels: int) -> Norm:
        return Norm(channels, eps=self.eps, momentum=self.momentum)

    def bottleneck(self, channels: int, middle: int, stride: int) -> Block:
        out = 4 * middle
        first, second = (1, stride) if self.stride_on == "3x3" else (stride, 1)
        shortcut = None
        if stride != 1 or channels != out:
            conv = Conv(channels, out, (1, 1), (stride, stride), bias=self.bias)
            shortcut = Shortcut(conv, self.norm(out))
        return Block(
            convs=(
                Conv(channels, middle, (1, 1), (first, first), bias=self.bias),
                Conv(middle, middle, (3, 3), (second, second), 1, bias=self.bias),
                Conv(middle, out, (1, 1), bias=self.bias),
            ),
            norms=(self.norm(middle), self.norm(middle), self.norm(out)),
            shortcut=shortcut,
        )
