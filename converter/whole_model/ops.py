"""What a layer computes, as plain frozen data: the settings of Keras' classes that count.

A layer that is the same on both sides, such as a Dropout, is the op of `resnet_pt.ops` itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from converter.whole_model.arithmetic import Channels, Pick, Reverse, Stack
from converter.whole_model.keras_classes import CUSTOM
from resnet_pt.ops import Op as Shared

Pair = tuple[int, int]


Sides = tuple[int, int, int, int]
"""Zeros to the (left, right, top, bottom)."""


@dataclass(frozen=True, slots=True)
class Input:
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Convolution:
    kernel: Pair
    stride: Pair
    padding: str
    groups: int
    bias: bool
    dilation: Pair
    filters: int = 0
    depthwise: bool = False


@dataclass(frozen=True, slots=True)
class BatchNorm:
    eps: float
    momentum: float
    gamma: bool
    beta: bool
    axis: int = -1


@dataclass(frozen=True, slots=True)
class Scale:
    """The custom layer of the Caffe ports: gamma and beta for each channel."""


@dataclass(frozen=True, slots=True)
class Dense:
    units: int
    bias: bool


@dataclass(frozen=True, slots=True)
class Activation:
    """`slope` is leaky_relu's, below zero."""

    name: str
    slope: float = 0.0


@dataclass(frozen=True, slots=True)
class PReLU:
    """A leaky relu whose slopes are weights."""


@dataclass(frozen=True, slots=True)
class Pad:
    """Zeros around a map, or -inf. `is_last`: of the axes 1 and 2, whether the model's channels
    come last or first."""

    sides: Sides
    is_last: bool = False
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Pooling:
    mode: Literal["max", "avg"]
    kernel: Pair
    stride: Pair
    padding: str


@dataclass(frozen=True, slots=True)
class GlobalPooling:
    """`is_last`: over the axes 1 and 2, whether the model's channels come last or first."""

    mode: Literal["max", "avg"]
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Flatten:
    """`channels_last`: a map of channels first is turned before (Keras 2.2 and later, where the
    layer is told `channels_first`)."""

    channels_last: bool = False


@dataclass(frozen=True, slots=True)
class Identity:
    """A layer that only acts while training, or only names a tensor."""


@dataclass(frozen=True, slots=True)
class Add:
    pass


@dataclass(frozen=True, slots=True)
class Reshape:
    """`target` leaves out the batch."""

    target: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Normalization:
    """Keras' layer of that name where its mean and variance are weights."""

    axis: int


@dataclass(frozen=True, slots=True)
class Repeat:
    """Every channel of a picture so many times, one beside the other."""

    times: int


@dataclass(frozen=True, slots=True)
class Unknown:
    class_name: str
    reason: str

    @property
    def is_custom(self) -> bool:
        """Whether it is a class of the project's own."""
        return self.reason == CUSTOM


Op = (
    Input
    | Convolution
    | BatchNorm
    | Scale
    | Dense
    | Activation
    | PReLU
    | Pad
    | Pooling
    | GlobalPooling
    | Flatten
    | Identity
    | Add
    | Normalization
    | Reverse
    | Repeat
    | Pick
    | Stack
    | Channels
    | Reshape
    | Unknown
    | Shared
)


CLASS_NAMES: Mapping[type, str] = {
    Input: "InputLayer",
    Convolution: "Conv2D",
    BatchNorm: "BatchNormalization",
    Pad: "ZeroPadding2D",
    Pooling: "a pool",
    GlobalPooling: "a global pool",
    Reverse: "a flip",
    Repeat: "a repeat",
    Pick: "a slice",
    Stack: "Concatenate",
    Channels: "Concatenate",
}
"""What people call an op, where that is not its name here."""


def class_name(op: Op) -> str:
    """Keras' name of a layer's class, or what it does, for a message."""
    if isinstance(op, Unknown):
        return op.class_name
    return CLASS_NAMES.get(type(op), type(op).__name__)
