"""Networks that are no residual ones: made with Keras, and written by hand in torch.

`keras_unet` is a U-Net with the filters of the paper's first version halved (Ronneberger et al.,
2015), padded and with norms; `UNet` is the same in torch, as somebody would write it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

FILTERS = (32, 64, 128, 256)
CLASSES = 8
SIDE = 224


def keras_unet() -> Any:
    from keras import Input, Model, layers

    def twice(x: Any, filters: int) -> Any:
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
        return x

    x = given = Input((SIDE, SIDE, 3))
    skipped = []
    for filters in FILTERS[:-1]:
        x = twice(x, filters)
        skipped.append(x)
        x = layers.MaxPooling2D()(x)
    x = twice(x, FILTERS[-1])
    for filters, skip in zip(FILTERS[-2::-1], reversed(skipped), strict=True):
        x = layers.Concatenate()([layers.UpSampling2D()(x), skip])
        x = twice(x, filters)
    return Model(given, layers.Conv2D(CLASSES, 1)(x))


class Twice(nn.Sequential):
    def __init__(self, channels: int, filters: int) -> None:
        super().__init__(
            nn.Conv2d(channels, filters, 3, padding=1, bias=False),
            nn.BatchNorm2d(filters, 1e-3),
            nn.ReLU(inplace=True),
            nn.Conv2d(filters, filters, 3, padding=1, bias=False),
            nn.BatchNorm2d(filters, 1e-3),
            nn.ReLU(inplace=True),
        )


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        before = (3, *FILTERS)
        self.down = nn.ModuleList(map(Twice, before[:-1], FILTERS))
        pairs = list(zip(FILTERS[:0:-1], FILTERS[-2::-1], strict=True))
        self.up = nn.ModuleList(Twice(low + high, high) for low, high in pairs)
        self.last = nn.Conv2d(FILTERS[0], CLASSES, 1)

    def forward(self, x: Any) -> Any:
        skipped = []
        for block in self.down[:-1]:
            x = block(x)
            skipped.append(x)
            x = F.max_pool2d(x, 2)
        x = self.down[-1](x)
        for block, skip in zip(self.up, reversed(skipped), strict=True):
            x = block(torch.cat([F.interpolate(x, scale_factor=2.0), skip], 1))
        return self.last(x)


class Inverted(nn.Module):
    """An inverted residual block (Sandler et al., 2018)."""

    def __init__(self, channels: int, filters: int, stride: int, factor: int) -> None:
        super().__init__()
        wide, self.adds = channels * factor, stride == 1 and channels == filters
        self.expand = normed(channels, wide, 1) if factor > 1 else nn.Identity()
        self.depthwise = normed(wide, wide, 3, stride, wide)
        self.project = nn.Sequential(
            nn.Conv2d(wide, filters, 1, bias=False), nn.BatchNorm2d(filters, 1e-3)
        )

    def forward(self, x: Any) -> Any:
        found = self.project(self.depthwise(self.expand(x)))
        return x + found if self.adds else found


def normed(channels: int, filters: int, size: int, stride: int = 1, groups: int = 1) -> Any:
    """A convolution with its norm; Keras pads those that stride behind alone."""
    pads = [nn.ZeroPad2d((0, 1, 0, 1))] if stride == 2 else []
    padding = 0 if stride == 2 or size == 1 else 1
    return nn.Sequential(
        *pads,
        nn.Conv2d(channels, filters, size, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(filters, 1e-3),
        nn.ReLU6(inplace=True),
    )


STAGES = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)
"""(expansion, filters, blocks, stride of the first) of MobileNetV2, its table 2."""


class MobileNetV2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        blocks, channels = [], 32
        for factor, filters, count, stride in STAGES:
            for number in range(count):
                blocks.append(Inverted(channels, filters, 1 if number else stride, factor))
                channels = filters
        self.features = nn.Sequential(normed(3, 32, 3, 2), *blocks, normed(channels, 1280, 1))
        self.classifier = nn.Linear(1280, 1000)

    def forward(self, x: Any) -> Any:
        return self.classifier(self.features(x).mean((2, 3)))


BY_HAND: dict[str, type[nn.Module]] = {"mobilenetv2": MobileNetV2, "unet": UNet}


def filled(network: nn.Module, converted: nn.Module) -> nn.Module:
    """The network with the tensors of the converted one, which has them in the same order."""
    tensors = [one for one in converted.state_dict().values() if isinstance(one, torch.Tensor)]
    names = network.state_dict()
    network.load_state_dict(dict(zip(names, tensors, strict=True)))
    return network.eval()
