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
    """Turn kernels by 180 degrees: reverse the spatial `axes`."""

    axes: tuple[int, ...]

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


@dataclass(frozen=True, slots=True)
class Reshaped:
    """The same numbers, in the same order, in another shape."""

    before: tuple[int, ...]
    after: tuple[int, ...]

    def shape(self, shape: Shape) -> Shape:
        if shape != self.before:
            raise ValueError(f"{shape} is not {self.before}")
        return self.after

    def apply(self, array: Array) -> Array:
        return array.reshape(self.after)

    def inverse(self) -> Reshaped:
        return Reshaped(self.after, self.before)

    def __str__(self) -> str:
        return f"{self.before} → {self.after}"


def unsqueezed(sizes: tuple[int, ...]) -> Reshaped:
    """A vector → an array whose other axes have a length of 1."""
    return Reshaped((int(np.prod(sizes)),), sizes)


@dataclass(frozen=True, slots=True)
class Squeeze:
    """Take away an `axis` of length 1: Keras 1's kernels of sequences are (window, 1, in, out)."""

    axis: int

    def shape(self, shape: Shape) -> Shape:
        if shape[self.axis] != 1:
            raise ValueError(f"axis {self.axis} of {shape} is not 1 long")
        return (*shape[: self.axis], *shape[self.axis + 1 :])

    def apply(self, array: Array) -> Array:
        return array.reshape(self.shape(array.shape))

    def inverse(self) -> Transform:
        return Expand(self.axis)

    def __str__(self) -> str:
        return f"without axis {self.axis}"


@dataclass(frozen=True, slots=True)
class Expand:
    """What undoes `Squeeze`."""

    axis: int

    def shape(self, shape: Shape) -> Shape:
        return (*shape[: self.axis], 1, *shape[self.axis :])

    def apply(self, array: Array) -> Array:
        return array.reshape(self.shape(array.shape))

    def inverse(self) -> Squeeze:
        return Squeeze(self.axis)

    def __str__(self) -> str:
        return f"with axis {self.axis}"


@dataclass(frozen=True, slots=True)
class DepthwiseKernel:
    """A depthwise kernel (*window, in, `multiplier`) → the grouped one that it is, (in *
    multiplier, 1, *window), all multiples of one input beside each other; `axes` are the
    window's."""

    axes: int
    multiplier: int

    def shape(self, shape: Shape) -> Shape:
        *window, inputs, multiplier = shape
        if len(window) != self.axes or multiplier != self.multiplier:
            raise ValueError(f"{shape} is no kernel of this multiplier over {self.axes} axes")
        return (inputs * multiplier, 1, *window)

    def apply(self, array: Array) -> Array:
        order = (self.axes, self.axes + 1, *range(self.axes))
        return array.transpose(order).reshape(self.shape(array.shape))

    def inverse(self) -> Undepthwise:
        return Undepthwise(self.axes, self.multiplier)

    def __str__(self) -> str:
        return "depthwise → grouped"


@dataclass(frozen=True, slots=True)
class Undepthwise:
    """What undoes `DepthwiseKernel`."""

    axes: int
    multiplier: int

    def shape(self, shape: Shape) -> Shape:
        return (*shape[2:], shape[0] // self.multiplier, self.multiplier)

    def apply(self, array: Array) -> Array:
        outputs, _, *window = array.shape
        split = array.reshape(outputs // self.multiplier, self.multiplier, *window)
        return split.transpose((*range(2, self.axes + 2), 0, 1))

    def inverse(self) -> DepthwiseKernel:
        return DepthwiseKernel(self.axes, self.multiplier)

    def __str__(self) -> str:
        return "undo depthwise → grouped"


def kernel_to_torch(axes: int) -> Transpose:
    """(*window, in, out) → (out, in, *window); of a transposed convolution (*window, out, in)."""
    label = {1: "TIO → OIT", 2: "HWIO → OIHW", 3: "DHWIO → OIDHW"}[axes]
    return Transpose((axes + 1, axes, *range(axes)), label)


@dataclass(frozen=True, slots=True)
class Gates:
    """The gates of a recurrent layer, blocks of rows, in another order: block i of the output is
    block `order[i]` of the input."""

    order: tuple[int, ...]

    def shape(self, shape: Shape) -> Shape:
        if shape[0] % len(self.order):
            raise ValueError(f"{shape} has not as many rows for each of {len(self.order)} gates")
        return shape

    def apply(self, array: Array) -> Array:
        blocks = np.split(array, len(self.order))
        return np.concatenate([blocks[one] for one in self.order])

    def inverse(self) -> Gates:
        return Gates(tuple(int(place) for place in np.argsort(self.order)))

    def __str__(self) -> str:
        return f"gates in the order {self.order}"


@dataclass(frozen=True, slots=True)
class Row:
    """Row `index` of an array of `count` rows, each of which becomes a tensor of its own."""

    index: int
    count: int

    def shape(self, shape: Shape) -> Shape:
        if shape[0] != self.count:
            raise ValueError(f"{shape} has not {self.count} rows")
        return shape[1:]

    def apply(self, array: Array) -> Array:
        row: Array = array[self.index]
        return row

    def inverse(self) -> Transform:
        raise NotImplementedError("a row is not the whole array: compare forwards")

    def __str__(self) -> str:
        return f"row {self.index}"


COMPUTED = (Square, OutsideRoot, Row)
"""The transforms that round, or take a part: they are compared forwards."""

HWIO_TO_OIHW = Transpose((3, 2, 0, 1), "HWIO → OIHW")
IO_TO_OI = Transpose((1, 0), "IO → OI")
FLIP_HWIO = Flip((0, 1))
FLIP_OIHW = Flip((2, 3))
