"""What happens to an array on its way: small frozen steps, each with its inverse.

Transforms of kernels only move numbers, so undoing them gives the source bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from converter.checkpoint import Array, Shape


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


COMPUTED = (Square, OutsideRoot)
"""The transforms that round: they are compared forwards."""

HWIO_TO_OIHW = Transpose((3, 2, 0, 1), "HWIO → OIHW")
IO_TO_OI = Transpose((1, 0), "IO → OI")
FLIP_HWIO = Flip((0, 1))
FLIP_OIHW = Flip((2, 3))
