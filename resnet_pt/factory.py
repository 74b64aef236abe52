"""Architectures from a handful of facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from resnet_pt.architecture import (
    Architecture,
    Block,
    Conv,
    HeadLayer,
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

    def norm(channels: int) -> Norm:
        return Norm(channels, eps=eps, momentum=momentum)

    stages = []
    channels = width
    for stage, depth in enumerate(depths):
        blocks = []
        for index in range(depth):
            middle = width * 2**stage
            stride = 2 if stage > 0 and index == 0 else 1
            blocks.append(_bottleneck(channels, middle, stride, stride_on, bias, norm))
            channels = 4 * middle
        stages.append(tuple(blocks))
    pool = HeadLayer("avgpool", "global_avg_pool")
    dense = HeadLayer("fc", "dense", "avgpool", channels, classes, bias=True)
    return Architecture(
        stem=Stem(Conv(in_channels, width, (7, 7), (2, 2), 3, bias=bias), norm(width)),
        stages=tuple(stages),
        head=(pool, dense),
        outputs=(Output("fc", "fc", "softmax"),),
    )


def _bottleneck(channels, middle, stride, stride_on, bias, norm):  # type: ignore[no-untyped-def]
    first, second = ((stride, 1), (1, stride))[stride_on == "3x3"]
    out = 4 * middle
    shortcut = None
    if stride != 1 or channels != out:
        conv = Conv(channels, out, (1, 1), (stride, stride), bias=bias)
        shortcut = Shortcut(conv, norm(out))
    return Block(
        convs=(
            Conv(channels, middle, (1, 1), (first, first), bias=bias),
            Conv(middle, middle, (3, 3), (second, second), 1, bias=bias),
            Conv(middle, out, (1, 1), bias=bias),
        ),
        norms=(norm(middle), norm(middle), norm(out)),
        shortcut=shortcut,
    )
