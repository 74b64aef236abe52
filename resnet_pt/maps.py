"""Maps that a network gives, as pictures: masks, classes of pixels, and what an autoencoder made.

Numbers become grey or colours only where it is known which are black and which are white: by the
activation that gives them, or by a person.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from resnet_pt.ops import Activation, HardSigmoid, Softmax
from resnet_pt.pictures import Array
from resnet_pt.program import Output, Program

Range = tuple[float, float]
"""(black, white)."""

RANGES: dict[str, Range] = {
    "sigmoid": (0.0, 1.0),
    "hard_sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "softsign": (-1.0, 1.0),
}
"""Between which numbers an activation's values lie, by its Keras name."""

MOST_CLASSES = 256
"""That a pixel of eight bits tells apart."""


@dataclass(frozen=True, slots=True)
class Picturing:
    """How the maps of an output become pictures: by the class that is first at each pixel, or by
    the `range` of their numbers; `reason` says why they do not."""

    name: str
    range: Range | None = None
    by_class: bool = False
    reason: str = ""

    def __str__(self) -> str:
        """For a person."""
        if self.reason:
            return f"no picture: {self.reason}"
        if self.by_class:
            return "the class of each pixel, as its number and a colour"
        assert self.range
        return f"black is {self.range[0]:g}, white {self.range[1]:g}"


def picturing(program: Program, given: Range | None = None) -> tuple[Picturing, ...]:
    """One for each output that is a map; `given` is a person's range for those whose own is not
    known."""
    shapes = program.shapes()
    return tuple(
        _picturing(program, one, shapes[one.value][0], given)
        for one in program.outputs
        if len(shapes[one.value]) == 3
    )


def _picturing(
    program: Program, output: Output, channels: int | None, given: Range | None
) -> Picturing:
    kind, count = _last(program, output), channels or 0
    if kind == "softmax" and 1 < count <= MOST_CLASSES:
        return Picturing(output.name, by_class=True)
    if not 1 <= count <= 4:
        return Picturing(output.name, reason=f"it has {count} channels")
    known = RANGES.get(kind, given)
    why = "" if known else "which of its numbers are black and white is not known: --range"
    return Picturing(output.name, known, reason=why)


def _last(program: Program, output: Output) -> str:
    """The activation that an output's values come from; '' for none that is known."""
    if output.activation != "linear":
        return output.activation
    layer = program.by_name().get(output.value)
    if layer and isinstance(layer.op, Softmax):
        return "softmax" if layer.op.axes == (0,) and not layer.op.log else ""
    if layer and isinstance(layer.op, HardSigmoid):
        return "hard_sigmoid"
    return layer.op.name if layer and isinstance(layer.op, Activation) else ""


def pictures(value: Array, how: Picturing) -> Iterator[tuple[str, Image.Image]]:
    """(what is added to its name, the picture) for a map (H, W, C): one of grey or of three
    colours, or a grey one for each of two or four channels."""
    if how.by_class:
        image = Image.fromarray(value.argmax(-1).astype(np.uint8), "P")
        image.putpalette(palette())
        yield "", image
        return
    assert how.range
    low, high = how.range
    shares = np.clip((np.nan_to_num(value.astype(np.float64)) - low) / (high - low), 0, 1)
    pixels = np.rint(255 * shares).astype(np.uint8)
    parts = [pixels] if pixels.shape[-1] == 3 else [pixels[..., n] for n in range(pixels.shape[-1])]
    for suffix, part in zip(channel_suffixes(pixels.shape[-1]), parts, strict=True):
        yield suffix, Image.fromarray(part)


def channel_suffixes(channels: int) -> list[str]:
    """What is added to the name of each picture of a map of so many channels."""
    return [""] if channels in (1, 3) else [f"-{number}" for number in range(channels)]


def palette() -> list[int]:
    """A colour for each class, those of PASCAL VOC: the bits of its number, turned, in red, green
    and blue (VOCdevkit's VOClabelcolormap)."""
    found = []
    for number in range(MOST_CLASSES):
        for channel in range(3):
            bits = [number >> (3 * place + channel) & 1 for place in range(3)]
            found.append(sum(bit << (7 - place) for place, bit in enumerate(bits)))
    return found
