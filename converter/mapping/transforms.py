"""What happens to an array on its way: small frozen steps, each with its inverse.

Transforms of kernels only move numbers, so undoing them gives the source bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from converter.files.checkpoint import Array, Shape


class Transform(Protocol):
    def shape(self, shape: Shape) -> Shape:
        """The shape that an array of `shape` gets."""

    def apply(self, array: Array) -> Array: ...

    def inverse(self) -> Transform: ...


@dataclass(frozen=True, slots=True)
class Transpose:
    """Output axis i is input axis `axes[i]`, as in numpy; `label` says it in letters."""

    axes: tuple[int, ...]
    label: str = ""

    def shape(self, shape: Shape) -> Shape:
        return tuple(shape[axis] for axis in self.axes)

    def apply(self, array: Array) -> Array:
        return array.transpose(self.axes)

    def inverse(self) -> Transpose:
        return Transpose(tuple(int(axis) for axis in np.argsort(self.axes)), f"undo {self.label}")

    def __str__(self) -> str:
        return self.label or f"transpose {self.axes}"


@dataclass(frozen=True, slots=True)
class Flip:
    """Turn kernels by 180 degrees: reverse the two spatial `axes`."""

    axes: tuple[int, int]

    def shape(self, shape: Shape) -> Shape:
        return shape

    def apply(self, array: Array) -> Array:
        return np.flip(array, self.axes).copy()  # torch takes no negative strides

    def inverse(self) -> Flip:
        return self

    def __str__(self) -> str:
        return "flip 180°"


@dataclass(frozen=True, slots=True)
class Backwards:
    """The input channels of a convolution (OIHW) in reverse: BGR → RGB, and back."""

    def shape(self, shape: Shape) -> Shape:
        return shape

    def apply(self, array: Array) -> Array:
        return np.ascontiguousarray(array[:, ::-1])

    def inverse(self) -> Backwards:
        return self

    def __str__(self) -> str:
        return "input channels in reverse"


@dataclass(frozen=True, slots=True)
class Square:
    """A standard deviation (`running_std` before Keras 1.0.6) → the variance that torch keeps.

    The square is taken in float64 and rounded once.
    """

    def shape(self, shape: Shape) -> Shape:
        return shape

    def apply(self, array: Array) -> Array:
        return np.square(array.astype(np.float64)).astype(array.dtype)

    def inverse(self) -> Transform:
        raise NotImplementedError("a rounded square has no exact inverse: compare forwards")

    def __str__(self) -> str:
        return "square"


@dataclass(frozen=True, slots=True)
class OutsideRoot:
    """A variance as Keras before 1.0.8 used it, (x - mean) / (sqrt(variance) + eps) → the variance
    that gives the same without any epsilon. Computed in float64 and rounded once."""

    eps: float

    def shape(self, shape: Shape) -> Shape:
        return shape

    def apply(self, array: Array) -> Array:
        wide = np.square(np.sqrt(array.astype(np.float64)) + self.eps)
        return wide.astype(array.dtype)

    def inverse(self) -> Transform:
        raise NotImplementedError("a rounded square has no exact inverse: compare forwards")

    def __str__(self) -> str:
        return f"(sqrt + {self.eps:g})²"


@dataclass(frozen=True, slots=True)
class Regroup:
    """A depthwise kernel whose outputs are summed by group → the grouped convolution that it is.

    keras-applications 1.0.8 writes ResNeXt as DepthwiseConv2D, kernel D of (height, width, in,
    multiplier), and a sum over the inputs of each group of `multiplier` channels. Output channel
    g * multiplier + m is that sum over k, so torch's weight[g * multiplier + m, k] is
    D[:, :, g * multiplier + k, m].
    """

    def shape(self, shape: Shape) -> Shape:
        height, width, inputs, multiplier = shape
        return (inputs, multiplier, height, width)

    def apply(self, array: Array) -> Array:
        height, width, inputs, multiplier = array.shape
        grouped = array.reshape(height, width, inputs // multiplier, multiplier, multiplier)
        return grouped.transpose(2, 4, 3, 0, 1).reshape(self.shape(array.shape))

    def inverse(self) -> Ungroup:
        return Ungroup()

    def __str__(self) -> str:
        return "depthwise and sum → grouped"


@dataclass(frozen=True, slots=True)
class Ungroup:
    """What undoes `Regroup`."""

    def shape(self, shape: Shape) -> Shape:
        outputs, multiplier, height, width = shape
        return (height, width, outputs, multiplier)

    def apply(self, array: Array) -> Array:
        outputs, multiplier, height, width = array.shape
        grouped = array.reshape(outputs // multiplier, multiplier, multiplier, height, width)
        return grouped.transpose(3, 4, 0, 2, 1).reshape(self.shape(array.shape))

    def inverse(self) -> Regroup:
        return Regroup()

    def __str__(self) -> str:
        return "undo depthwise and sum → grouped"


COMPUTED = (Square, OutsideRoot)
"""The transforms that round: they are compared forwards."""

HWIO_TO_OIHW = Transpose((3, 2, 0, 1), "HWIO → OIHW")
IO_TO_OI = Transpose((1, 0), "IO → OI")
FLIP_HWIO = Flip((0, 1))
FLIP_OIHW = Flip((2, 3))
