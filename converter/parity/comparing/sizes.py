"""Sizes of pictures for a head that flattens a map: of another size it is another number of pixels
than the layer behind reads."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from converter.errors import MismatchError
from resnet_pt.architecture import Architecture
from resnet_pt.lower import PICTURE, lower
from resnet_pt.ops import Conv, Flatten, MisfitError, Pool, Shape
from resnet_pt.ops.window import added
from resnet_pt.program import Layer, Program, known_shapes, reader

Size = tuple[int, int]
"""(height, width)."""

LARGEST_SIDE = 1024
"""Of pictures that are tried: larger ones would take Keras minutes."""


class NoSizeError(MismatchError):
    """No picture fits what the head flattens, or none that fits is small enough."""


@dataclass(frozen=True, slots=True)
class Flattened:
    """A `map` of so many `channels` that is flattened, of which the layer `reader` reads so many
    `numbers`."""

    map: str
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
    wanted = flattened(lower(architecture))
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
    """Whether the network runs on a picture: something is left of every map, a block and its
    shortcut meet, and each layer that reads a flattened map gets as many numbers as it wants."""
    try:
        shapes = lower(architecture).shapes(_picture(architecture, size))
    except MisfitError:
        return False
    return all(0 not in shape for shape in shapes.values())


def _picture(architecture: Architecture, size: Sequence[int | None]) -> dict[str, Shape]:
    return {PICTURE: (architecture.in_channels, *size)}


def flattened(program: Program) -> list[Flattened]:
    """The maps that are flattened for layers with a number of inputs of their own."""
    shapes, found = program.shapes(), []
    for layer in program.layers:
        read = shapes[layer.inputs[0]]
        behind = reader(program, layer.name) if isinstance(layer.op, Flatten) else None
        if len(read) == 3 and read[0] and behind and behind.op.reads:
            found.append(Flattened(layer.inputs[0], read[0], behind.original, behind.op.reads))
    return found


def _sizes(architecture: Architecture, wanted: Flattened) -> Iterator[Size]:
    """Pictures whose flattened map has the pixels that are wanted, the most nearly square map
    first."""
    pixels, rest = divmod(wanted.numbers, wanted.channels)
    if rest:
        return
    heights, widths = _pictures(architecture, wanted.map)
    for height in range(math.isqrt(pixels), 0, -1):
        if pixels % height == 0:
            yield from itertools.product(heights.get(height, ()), widths.get(pixels // height, ()))


def _pictures(architecture: Architecture, name: str) -> list[Mapping[int, Sequence[int]]]:
    """For heights and for widths, `{side of a map: the sides of pictures that give it}`, multiples
    of the network's stride, as pictures mostly are, before others."""
    program = lower(architecture)
    found: list[dict[int, list[int]]] = [{}, {}]
    for side in range(1, LARGEST_SIDE + 1):
        shape = known_shapes(program.layers, _picture(architecture, (side, side)))[name]
        for some, length in zip(found, shape[1:] if shape else (), strict=False):
            some.setdefault(length or 0, []).append(side)
    return [
        {length: sorted(some, key=lambda side: side % stride > 0) for length, some in one.items()}
        for one, stride in zip(found, _strides(program, name), strict=True)
    ]


def _strides(program: Program, name: str) -> tuple[int, int]:
    """By how much a map is smaller than the picture, in height and width: of a block, by its
    convolutions."""
    by_name, height, width = program.by_name(), 1, 1
    while layer := by_name.get(name):
        if isinstance(layer.op, Conv | Pool):
            height, width = height * layer.op.stride[0], width * layer.op.stride[1]
        name = layer.inputs[0]
    return height, width


def maps(architecture: Architecture, size: Size) -> Iterator[int]:
    """How many numbers each map holds on the way of a picture of that size, nothing computed: the
    picture, what is padded, and what each window gives."""
    program, picture = lower(architecture), _picture(architecture, size)
    shapes = known_shapes(program.layers, picture)
    yield _numbers(picture[PICTURE])
    for layer in program.layers:
        given = shapes[layer.name]
        padded = _padded_of(layer, shapes)
        if padded and given:
            yield _numbers(padded)
            yield _numbers(given)


def _padded(program: Program, shapes: Mapping[str, Shape | None]) -> Iterator[Shape]:
    yield from filter(None, (_padded_of(layer, shapes) for layer in program.layers))


def _padded_of(layer: Layer, shapes: Mapping[str, Shape | None]) -> Shape | None:
    """What a window reads, with what is set around it."""
    read = shapes[layer.inputs[0]]
    if not isinstance(layer.op, Conv | Pool) or not read:
        return None
    channels, *sides = read
    padded = ((side or 0) + added(layer.op.padding, axis) for axis, side in enumerate(sides))
    return (channels, *padded)


def _numbers(shape: Shape) -> int:
    return math.prod(length or 0 for length in shape)


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
    return bytes_for(lower(architecture), _picture(architecture, size))


def bytes_for(program: Program, given: Mapping[str, Shape]) -> int:
    """The same of any network, for inputs of these shapes."""
    shapes = known_shapes(program.layers, given)
    known = [_numbers(shape) for shape in shapes.values() if shape]
    padded = [_numbers(shape) for shape in _padded(program, shapes)]
    return 4 * 4 * max([*known, *padded], default=0)


def take(number: int) -> str:
    """`3.9 GB`, for a message."""
    return f"{number / 1e9:,.1f} GB"
