"""Sizes of pictures for a head that flattens a map: of another size it is another number of pixels
than the layer behind reads. The sizes of maps are computed from the architecture, height and width
each alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from converter.errors import MismatchError
from resnet_pt.architecture import PASS_ON, Architecture, Block, Conv, HeadLayer, Pool

Size = tuple[int, int]
"""(height, width)."""

LARGEST_SIDE = 1024
"""Of pictures that are tried: larger ones would take Keras minutes."""


class NoSizeError(MismatchError):
    """No picture fits what the head flattens, or none that fits is small enough."""


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


def maps(architecture: Architecture, size: Size) -> Iterator[int]:
    """How many numbers each map holds on the way of a picture of that size, nothing computed: the
    picture, what is padded, and what each window gives."""
    shape = (architecture.in_channels, *size)
    yield math.prod(shape)
    for window in _stem(architecture):
        shape = yield from _numbers(window, shape)
    for block in itertools.chain(*architecture.stages):
        short = block.shortcut
        around = shape
        for part in (short.pool, short.conv) if short else ():
            around = (yield from _numbers(part, around)) if part else around
        for window in block.convs:
            shape = yield from _numbers(window, shape)
    shapes = {"": shape}
    for layer in architecture.head:
        if layer.source in shapes and not layer.ends_maps:
            shapes[layer.name] = shapes[layer.source]
            for one in (layer.conv, layer.pool):
                if one:
                    shapes[layer.name] = yield from _numbers(one, shapes[layer.name])


Map = tuple[int, int, int]
"""(channels, height, width)."""


def _numbers(window: Conv | Pool, shape: Map) -> Generator[int, None, Map]:
    """The numbers of what a window reads when it is padded, and of what it gives; its shape."""
    channels, height, width = shape
    top, left = (_added(window, axis) for axis in (0, 1))
    yield channels * (height + top) * (width + left)
    given = window.out_channels if isinstance(window, Conv) else channels
    height, width = (_through([window], side, axis) for axis, side in enumerate((height, width)))
    yield given * height * width
    return given, height, width


PROOF_LIMIT = 4 * 2**30
"""Bytes that the maps of one picture may take in a proof; a ResNet-50 at 1024x1024 takes 3.9e9."""

CLAIMED_LIMIT, STATED_LIMIT = 2**29, 2**32
"""Bytes that maps may take at a time in `predict`: for a size of pictures that a file claims (a
ResNet-50 takes them at 1400x1400), and for one that a person states."""


def proof_bytes(architecture: Architecture, size: Size) -> int:
    """About what a proof takes: Keras keeps every layer's map of one picture, in float64, those
    behind the norms too."""
    return 8 * sum(maps(architecture, size))


def prediction_bytes(architecture: Architecture, size: Size) -> int:
    """About what a prediction takes for each picture, in float32: the largest map, what is read to
    make it, its norm, and a shortcut beside them."""
    return 4 * 4 * max(maps(architecture, size))


def take(number: int) -> str:
    """`3.9 GB`, for a message."""
    return f"{number / 1e9:,.1f} GB"


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
    return (side + _added(window, axis) - reach) // stride + 1


def _added(window: Conv | Pool, axis: int) -> int:
    """What is added to a side of a map; what 'same' adds depends on it, and is less than a
    window."""
    if window.padding == "same":
        return 0
    if isinstance(window.padding, int):
        return 2 * window.padding
    left, right, top, bottom = window.padding
    return (top + bottom, left + right)[axis]
