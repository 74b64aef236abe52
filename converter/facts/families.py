"""Networks that are no ResNets, by a layer that one family has: for what a refusal says of them."""

from __future__ import annotations

from collections.abc import Iterable

FAMILIES: tuple[tuple[str, str], ...] = (
    ("block14_sepconv1", "Xception"),
    ("block_16_project", "MobileNetV2"),
    ("block1a_project_conv", "EfficientNet"),
    ("block7_3_conv_1", "a NASNet or EfficientNet"),
    ("block1_conv1", "VGG"),
    ("mixed0", "Inception"),
    ("conv_dw_1", "MobileNet"),
    ("bneck_conv1", "MobileNet"),
    ("conv5_block16_concat", "DenseNet"),
)
"""A layer that only one family has, or that none has but those above it. A ResNet may call a layer
`block1_conv1` too."""


def family(layers: Iterable[str]) -> str | None:
    """A guess at the family of a network, by the names of all its layers."""
    found = set(layers)
    return next((name for layer, name in FAMILIES if layer in found), None)
