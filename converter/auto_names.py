"""Names that Keras makes up for layers: their class in snake case, and a number."""

from __future__ import annotations


def auto_name(layer: str) -> str:
    """`max_pooling2d_1` → `max_pooling2d`; a name without a number stays as it is."""
    stem, _, number = layer.rpartition("_")
    return stem if stem and number.isdigit() else layer
