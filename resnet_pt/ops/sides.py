"""Windows over any number of axes: what the ops of sequences, maps and volumes share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from resnet_pt.ops.protocol import MAX_WINDOW, MisfitError, Shape, shown, sizes

if TYPE_CHECKING:
    import torch

Sides = tuple[tuple[int, int], ...]
"""(before, after) for each axis of a map."""

Around = Sides | Literal["same"]
"""What is set around a map: numbers, or TensorFlow's 'same', which depends on its size."""

SEQUENCE = 2
"""The axes of a sequence behind the batch, (T, C), which lies as in Keras: channels last."""


def spatial(shape: Shape) -> Shape:
    """The axes of a map that are no channels: (H, W) of (C, H, W), (T,) of a sequence (T, C)."""
    return shape[:-1] if len(shape) == SEQUENCE else shape[1:]


def with_spatial(channels: int | None, sides: Shape) -> Shape:
    """A map of these channels and sides: (C, H, W), or (T, C) of a sequence."""
    return (*sides, channels) if len(sides) == 1 else (channels, *sides)


def depth(shape: Shape) -> int | None:
    """The channels of a map."""
    return shape[-1] if len(shape) == SEQUENCE else shape[0]


def wants_map(shape: Shape, axes: int, gives: Shape | None = None) -> None:
    """MisfitError for a value that has not so many axes beside its channels."""
    if len(shape) != axes + 1:
        words = f"reads {len(shape)} axes behind the batch, and wants {axes + 1}"
        raise MisfitError(words, gives)


def wants_channels(shape: Shape, channels: int, gives: Shape) -> None:
    """MisfitError for a map of other channels."""
    if depth(shape) not in (None, channels):
        words = f"reads {shown(channels)} channels, and {shown(depth(shape))} come"
        raise MisfitError(words, gives)


def behind_window(
    side: int | None, kernel: int, stride: int, dilation: int, around: tuple[int, int] | None
) -> int | None:
    """The side of a map behind a window; `around` is None for 'same'."""
    if not side:
        return side
    if around is None:
        return -(-side // stride)
    return max(0, (side + sum(around) - dilation * (kernel - 1) - 1) // stride + 1)


def behind_windows(
    sides: Shape,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    around: Around,
) -> Shape:
    """The sides of a map behind a window over all of them."""
    return tuple(
        behind_window(
            side,
            kernel[axis],
            stride[axis],
            dilation[axis],
            None if around == "same" else around[axis],
        )
        for axis, side in enumerate(sides)
    )


def window_problems(
    around: Around, *numbers: Sequence[int], negative: bool = False
) -> Iterator[str]:
    """Settings of a window that are out of range, or not of one number of axes."""
    yield from sizes([one for some in numbers for one in some], 1, MAX_WINDOW)
    amounts = () if around == "same" else tuple(one for pair in around for one in pair)
    yield from sizes(amounts, -MAX_WINDOW if negative else 0, MAX_WINDOW)
    lengths = {len(some) for some in numbers} | ({len(around)} if around != "same" else set())
    if len(lengths) > 1:
        yield f"has settings for {sorted(lengths)} axes"


def channels_second(x: torch.Tensor) -> torch.Tensor:
    """A sequence (N, T, C) as (N, C, T); a map or volume as it is."""
    return x.transpose(1, 2) if x.dim() == SEQUENCE + 1 else x


def padded(
    x: torch.Tensor,
    around: Around,
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    value: float = 0.0,
) -> torch.Tensor:
    """A map (N, C, …) with what is set around it for a window."""
    from torch.nn import functional as F

    from resnet_pt.layers import same_padding

    sides = (
        [same_padding(*one) for one in zip(x.shape[2:], kernel, stride, dilation, strict=True)]
        if around == "same"
        else around
    )
    amounts = [amount for pair in reversed(sides) for amount in pair]
    return F.pad(x, amounts, value=value) if any(amounts) else x
