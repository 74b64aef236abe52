"""Names that Keras makes up for layers: their class in snake case, and a number."""

from __future__ import annotations

import re


def auto_name(layer: str) -> str:
    """`max_pooling2d_1` → `max_pooling2d`; a name without a number stays as it is."""
    stem, _, number = layer.rpartition("_")
    return stem if stem and number.isdigit() else layer


def snake_case(class_name: str) -> str:
    """`BatchNormalization` → `batch_normalization`, as keras.src.utils.naming.to_snake_case."""
    name = re.sub(r"\W+", "", class_name.rpartition(">")[2])
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def made_up_number(layer: str, class_name: str) -> int | None:
    """The number that Keras counted a layer of this class with, 0 where there is none behind its
    class; None for a name that somebody gave. Keras 1 ran the words of a class together, and
    called a Conv2D a Convolution2D."""
    own = class_name.rpartition(">")[2]
    stems = {snake_case(own), own.lower()}
    stems |= {one.replace("convolution", "conv") for one in stems}
    stems |= {one.replace("conv", "convolution") for one in stems if "convolution" not in one}
    if layer in stems:
        return 0
    number = layer.rpartition("_")[2]
    return int(number) if auto_name(layer) in stems and number.isdecimal() else None
