"""Sizes of pictures for a head that flattens a map: of another size it is another number of pixels
than the layer behind reads. The sizes of maps are computed from the architecture, height and width
each alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from converter.errors import MismatchError
from resnet_pt.architecture import PASS_ON, Architecture, Block, Conv, HeadLayer, Pool

Size = tuple[int, int]
"""(height, width)."""

LARGEST_SIDE = 1024
"""Of pictures that are tried: larger ones would take Keras minutes."""


class NoSizeError(MismatchError):
    """No picture fits what the head flattens."""


@dataclass(frozen=True, slots=True)
class Flattened:
    """A map that a head flattens: it is the `source`'s, of so many `channels`, and the layer
    `reader` reads so many `numbers` of it."""

    source: str
    channels: int
    reader: str
    numbers: int


def fitting_size(architecture: Architecture, usual: Size) -> Size:
    """The `usual` size, if the head can read its map; else one whose map has as many pixels as the
    head reads, in as nearly square a map as there is.

    The file does not say the height and width of that map, and no proof rests on them: on both
    sides the same pixels are flattened in the same order, and the same numbers read them.
    Raises NoSizeError where no picture up to LARGEST_SIDE gives as many.
    """
    wanted = flattened(architecture)
    if not wanted or fits(architecture, usual):
        return usual
    found = next(
        (size for size in _sizes(architecture, wanted[0]) if fits(architecture, size)), None
    )
    if found is None:
        first = wanted[0]
        raise NoSizeError(
            f"no picture of up to {LARGEST_SIDE}x{LARGEST_SIDE} becomes a map of "
            f"{first.channels} channels of which {first.reader!r} can read {first.numbers} numbers"
        )
    return found


def fits(architecture: Architecture, size: Size) -> bool:
    """Whether the network runs on a picture, and each layer that reads a flattened map gets as many
    numbers as it wants."""
    heights, widths = (sides(architecture, side, axis) for axis, side in enumerate(size))
    if min(*heights.values(), *widths.values()) < 1:
        return False
    return all(
        heights[one.source] * widths[one.source] * one.channels == one.numbers
        for one in flattened(architecture)
    )


def flattened(architecture: Architecture) -> list[Flattened]:
    """The maps that the head flattens for layers with a number of inputs of their own."""
    maps = architecture.maps
    found = []
    for layer in architecture.head:
        reader = _reader(architecture, layer.name)
        if layer.kind.startswith("flatten") and layer.source in maps and reader:
            numbers = reader.norm.channels if reader.norm else reader.in_features
            channels = _channels(architecture, layer.source)
            found.append(Flattened(layer.source, channels, reader.name, numbers))
    return found


def _reader(architecture: Architecture, name: str) -> HeadLayer | None:
    """The first layer behind a head's layer that says how many numbers it reads of a vector."""
    for layer in architecture.head:
        if layer.source == name and layer.kind in ("dense", "prelu", "norm"):
            return layer
        passes = layer.kind in PASS_ON or layer.kind.startswith("flatten")
        found = _reader(architecture, layer.name) if layer.source == name and passes else None
        if found:
            return found
    return None


def _channels(architecture: Architecture, name: str) -> int:
    """Of the map that a layer of the head gives; '' for the features."""
    layers = {layer.name: layer for layer in architecture.head}
    while name and not layers[name].conv:
        name = layers[name].source
    conv = layers[name].conv if name else None
    return conv.out_channels if conv else architecture.features


def _sizes(architecture: Architecture, wanted: Flattened) -> Iterator[Size]:
    """Pictures whose flattened map has the pixels that are wanted, the most nearly square map
    first."""
    pixels, rest = divmod(wanted.numbers, wanted.channels)
    if rest:
        return
    heights, widths = (_pictures(architecture, wanted.source, axis) for axis in (0, 1))
    for height in range(math.isqrt(pixels), 0, -1):
        if pixels % height == 0:
            yield from itertools.product(heights.get(height, ()), widths.get(pixels // height, ()))


def _pictures(architecture: Architecture, layer: str, axis: int) -> Mapping[int, Sequence[int]]:
    """`{side of a layer's map: the sides of pictures that give it}`, multiples of the network's
    stride, as pictures mostly are, before others."""
    stride = math.prod(one.stride[axis] for one in _trunk(architecture))
    found: dict[int, list[int]] = {}
    for side in range(1, LARGEST_SIDE + 1):
        found.setdefault(sides(architecture, side, axis)[layer], []).append(side)
    return {key: sorted(some, key=lambda side: side % stride > 0) for key, some in found.items()}


def _trunk(architecture: Architecture) -> Iterator[Conv | Pool]:
    """The windows that a picture goes through up to the features."""
    yield from _stem(architecture)
    for block in itertools.chain(*architecture.stages):
        yield from block.convs


def _stem(architecture: Architecture) -> Iterator[Conv | Pool]:
    stem = architecture.stem
    yield from (one.conv for one in stem.front)
    yield from (conv for conv, _ in stem.deep)
    yield stem.conv
    if stem.pool:
        yield stem.pool


def sides(architecture: Architecture, side: int, axis: int) -> dict[str, int]:
    """The heights (`axis` 0) or widths (1) of the head's maps, by their layers, '' for the
    features, of a picture of that `side`; 0 where nothing is left of a map, or a block and its
    shortcut do not meet."""
    side = _through(_stem(architecture), side, axis)
    for block in itertools.chain(*architecture.stages):
        side = _behind_block(block, side, axis)
    found = {"": side}
    for layer in architecture.head:
        if layer.source in found and not layer.ends_maps:
            windows = [one for one in (layer.conv, layer.pool) if one]
            found[layer.name] = _through(windows, found[layer.source], axis)
    return found


def _behind_block(block: Block, side: int, axis: int) -> int:
    short = block.shortcut
    windows = [one for one in (short.pool, short.conv) if one] if short else []
    main = _through(block.convs, side, axis)
    return main if main == _through(windows, side, axis) else 0


def _through(windows: Iterable[Conv | Pool], side: int, axis: int) -> int:
    for window in windows:
        side = max(0, _behind(window, side, axis)) if side else 0
    return side


def _behind(window: Conv | Pool, side: int, axis: int) -> int:
    """TensorFlow's 'same' leaves a position for each stride that begins within the map; else there
    is one for each at which the whole window lies within what was padded."""
    stride = window.stride[axis]
    if window.padding == "same":
        return -(-side // stride)
    dilation = window.dilation[axis] if isinstance(window, Conv) else 1
    reach = dilation * (window.kernel[axis] - 1) + 1
    if isinstance(window.padding, int):
        added = 2 * window.padding
    else:
        left, right, top, bottom = window.padding
        added = (top + bottom, left + right)[axis]
    return (side + added - reach) // stride + 1
