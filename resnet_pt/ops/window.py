"""Windows that move over a map: what convolutions and pools share."""

from __future__ import annotations

from typing import Literal, Protocol

from resnet_pt.ops.protocol import Shape

Padding = int | tuple[int, int, int, int] | Literal["same"]
"""Zeros around a map: one number for all sides, (left, right, top, bottom), or TensorFlow's
'same', whose amount depends on the size of the map and is computed when the network runs."""


class Window(Protocol):
    """What a size is computed from. A pool is not dilated: (1, 1)."""

    @property
    def kernel(self) -> tuple[int, int]: ...
    @property
    def stride(self) -> tuple[int, int]: ...
    @property
    def padding(self) -> Padding: ...
    @property
    def dilation(self) -> tuple[int, int]: ...


def behind(window: Window, size: Shape) -> Shape:
    """(height, width) behind a window, for those in front of it; 0 where nothing is left."""
    return tuple(_behind(window, side, axis) for axis, side in enumerate(size))


def _behind(window: Window, side: int | None, axis: int) -> int | None:
    """TensorFlow's 'same' leaves a position for each stride that begins within the map; else there
    is one for each at which the whole window lies within what was padded."""
    if not side:
        return side
    stride = window.stride[axis]
    if window.padding == "same":
        return -(-side // stride)
    reach = window.dilation[axis] * (window.kernel[axis] - 1) + 1
    return max(0, (side + added(window.padding, axis) - reach) // stride + 1)


def added(padding: Padding, axis: int) -> int:
    """How much is added to a side of a map; by 'same' less than a window, counted as nothing."""
    if isinstance(padding, int):
        return 2 * padding
    return 0 if padding == "same" else sum(padding[2:] if axis == 0 else padding[:2])


def amounts(padding: Padding) -> tuple[int, ...]:
    """The numbers of a padding; none of 'same'."""
    if isinstance(padding, tuple):
        return padding
    return (padding,) if isinstance(padding, int) else ()
