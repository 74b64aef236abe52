"""Maps made larger or smaller."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from resnet_pt.ops.protocol import MAX_WINDOW, Op, Shape, sizes
from resnet_pt.ops.sides import depth, spatial, wants_map, with_spatial

if TYPE_CHECKING:
    import torch

MAX_SIDE = 2**16


class Upsample(Op, frozen=True):
    """Each element of a sequence, map or volume repeated so many times along each axis, or, of a
    map, what is linear between their centres.

    'corner' is TensorFlow's old bilinear (Keras 2.2.3 to 2.3.1, tf.keras up to 1.14): the source of
    pixel i is i / factor, and not that of its centre, (i + 0.5) / factor - 0.5.
    """

    factors: tuple[int, ...]
    mode: Literal["nearest", "bilinear", "corner"] = "nearest"

    def problems(self) -> Iterator[str]:
        yield from sizes(self.factors, 1, MAX_WINDOW)
        if self.mode != "nearest" and len(self.factors) != 2:
            yield f"is {self.mode} over {len(self.factors)} axes"

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        wants_map(value, len(self.factors))
        sides = zip(spatial(value), self.factors, strict=True)
        return with_spatial(
            depth(value), tuple(None if side is None else side * n for side, n in sides)
        )

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        from torch.nn import functional as F

        (x,) = inputs
        if x.dim() == 3:
            return x.repeat_interleave(self.factors[0], 1)
        factors = tuple(map(float, self.factors))
        if self.mode == "corner":
            return between(between(x, 2, self.factors[0]), 3, self.factors[1])
        if self.mode == "bilinear":
            return F.interpolate(x, scale_factor=factors, mode="bilinear", align_corners=False)
        return F.interpolate(x, scale_factor=factors, mode="nearest")


class Resize(Op, frozen=True):
    """A map resized to (height, width), by the nearest pixel or linearly between centres.

    The others are TensorFlow 1's: pixel i is what is at i * before / after, by the pixel there
    ('floor') or linearly between it and the next ('corner'); or the corners are the corners
    ('aligned').
    """

    size: tuple[int, int]
    mode: Literal["nearest", "bilinear", "floor", "corner", "aligned"] = "bilinear"

    def problems(self) -> Iterator[str]:
        yield from sizes(self.size, 1, MAX_SIDE)

    def shape(self, *inputs: Shape) -> Shape:
        wants_map(inputs[0], 2)
        return (inputs[0][0], *self.size)

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        from torch.nn import functional as F

        if self.mode == "nearest":
            return F.interpolate(inputs[0], self.size, mode="nearest-exact")
        if self.mode == "floor":
            return F.interpolate(inputs[0], self.size, mode="nearest")
        if self.mode == "corner":
            return resampled(resampled(inputs[0], 2, self.size[0]), 3, self.size[1])
        is_aligned = self.mode == "aligned"
        return F.interpolate(inputs[0], self.size, mode="bilinear", align_corners=is_aligned)


def between(x: torch.Tensor, axis: int, factor: int) -> torch.Tensor:
    """An axis made so many times longer, linearly from each element's place to the next one's; the
    last is repeated (tensorflow 1.12 `resize_bilinear_op.cc`)."""
    import torch

    place = torch.arange(x.shape[axis] * factor, device=x.device)
    low = place // factor
    high = (low + 1).clamp(max=x.shape[axis] - 1)
    share = (place % factor).to(x.dtype) / factor
    share = share.view([-1 if one == axis else 1 for one in range(x.dim())])
    first = x.index_select(axis, low)
    return first + (x.index_select(axis, high) - first) * share


def resampled(x: torch.Tensor, axis: int, size: int) -> torch.Tensor:
    """An axis of another length: element i is what is, linearly, at i * before / after; behind the
    last there is the last (tensorflow 1.15 `image_resizer_state.h`, whose scale is float32)."""
    import torch

    before = x.shape[axis]
    scale = torch.tensor(before / size, dtype=torch.float32, device=x.device)
    place = torch.arange(size, device=x.device, dtype=torch.float32) * scale
    low = place.floor().long().clamp(max=before - 1)
    high = (low + 1).clamp(max=before - 1)
    share = (place - low).to(x.dtype).view([-1 if one == axis else 1 for one in range(x.dim())])
    first = x.index_select(axis, low)
    return first + (x.index_select(axis, high) - first) * share
