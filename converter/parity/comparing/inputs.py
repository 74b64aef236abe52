"""Pictures to compare on: noise and smooth shapes, in the range that a network expects."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from converter.parity.comparing.sizes import (
    PROOF_LIMIT,
    NoSizeError,
    Size,
    fits,
    fitting_size,
    proof_bytes,
    take,
)
from resnet_pt.architecture import Architecture, Flatten, GlobalPool, Pool
from resnet_pt.ops import MisfitError, Shape
from resnet_pt.program import Program

Input = npt.NDArray[np.float32]

DEFAULT_SIZE = (224, 224)
OTHER_SIZE = (256, 240)
"""A second size, with an odd-sized map on the way (the 63x60 behind an unpadded pool); the last
map is 8x8, which a 7x7 average pool still takes to one pixel."""
SMALL_SIZE = (32, 32)


def inputs(architecture: Architecture, fixed: Size | None) -> list[Input]:
    """Batches of one picture, (1, H, W, C): noise, a smooth picture, the same in [-1, 1], and one
    of another size if the network is not `fixed` to one, nor its head.

    Raises NoSizeError for a network that no picture fits, or that would take more memory than a
    proof has.
    """
    size = fixed or usable_size(architecture)
    refuse_too_large(architecture, size)
    channels = architecture.in_channels
    generator = np.random.default_rng(2016)
    noise = generator.uniform(-123, 132, (1, *size, channels))
    smooth = smooth_picture(generator, size, channels)
    found = [noise, smooth, smooth / 127.5]
    other = OTHER_SIZE if size != SMALL_SIZE else (40, 36)
    if fixed is None and takes_any_size(architecture) and fits(architecture, other):
        found.append(smooth_picture(generator, other, channels))
    return [picture.astype(np.float32) for picture in found]


SIDES = (64, 96, 128, 224, 32, 299, 48, 40)
"""What is tried for the sides that a general network leaves open."""


def inputs_of_program(program: Program) -> list[list[Input]]:
    """Batches of one for each input of a general network, as they lie in Keras: noise, and what is
    in the range of pictures; whole numbers for an input that an Embedding reads. Raises NoSizeError
    where no size fits what the model leaves open, or it would take more memory than a proof has."""
    shapes = _fitting_shapes(program)
    rows = program.rows()
    generator = np.random.default_rng(2016)
    found = []
    for low, high in ((-1, 1), (0, 255), (0, 1)):
        batch = [
            generator.integers(0, rows[one.name], (1, *shape))
            if one.name in rows
            else generator.uniform(low, high, (1, *shape))
            for one, shape in zip(program.inputs, shapes, strict=True)
        ]
        found.append([one.astype(np.float32) for one in batch])
    return found


def _fitting_shapes(program: Program) -> list[tuple[int, ...]]:
    """A shape for each input, as it lies in Keras."""
    shapes = fitting_shapes(program).values()
    return [(*shape[1:], shape[0]) if len(shape) >= MAP else shape for shape in shapes]


def fitting_shapes(program: Program) -> dict[str, tuple[int, ...]]:
    """`{input: a shape behind the batch}`, as it lies here. Raises NoSizeError where no size fits
    what the model leaves open, or it would take more memory than a proof has."""
    for side in SIDES:
        shapes = {
            one.name: tuple(side if length is None else length for length in one.shape)
            for one in program.inputs
        }
        try:
            numbers = [math.prod(shape) for shape in _known(program.shapes(shapes))]
        except MisfitError:
            continue
        if too_much := _too_much(numbers, shapes):
            raise NoSizeError(too_much)
        return shapes
    raise NoSizeError(f"no input with sides of {', '.join(map(str, SIDES))} fits all of its layers")


def too_large_for(program: Program, given: Sequence[Input]) -> str:
    """Why the inputs of a record, as they lie in Keras, would take more memory than a proof has;
    '' if they do not, or do not fit, which running the network says."""
    turned = [x.shape[1:] if x.ndim <= MAP else (x.shape[-1], *x.shape[1:-1]) for x in given]
    shapes = dict(zip([one.name for one in program.inputs], turned, strict=True))
    with suppress(MisfitError):
        numbers = [math.prod(shape) for shape in _known(program.shapes(shapes))]
        return _too_much([len(given[0]) * one for one in numbers], shapes)
    return ""


def _too_much(numbers: Sequence[int], shapes: Mapping[str, tuple[int, ...]]) -> str:
    """What float64 takes for so many numbers of all values; '' if a proof has that."""
    taken = 8 * sum(numbers)
    return f"an input of {shapes} would take {take(taken)} of maps" if taken > PROOF_LIMIT else ""


MAP = 3
"""Axes behind the batch from which on channels come second."""


def _known(shapes: Mapping[str, Shape]) -> Iterator[tuple[int, ...]]:
    """The shapes; MisfitError for one that a layer leaves nothing of."""
    for shape in shapes.values():
        sides = tuple(side for side in shape if side)
        if len(sides) < len(shape):
            raise MisfitError(f"{shape} is nothing, or not known")
        yield sides


def batches(network: Architecture | Program) -> list[list[Input]]:
    """What a destination is compared on: for each batch an array for each input, with the channels
    of maps second. Several pictures in one batch, and one of another size where a residual network
    takes it."""
    if isinstance(network, Program):
        found = inputs_of_program(network)
        turned = [[np.moveaxis(x, -1, 1) if x.ndim > MAP else x for x in one] for one in found]
        return [[np.ascontiguousarray(np.concatenate(some)) for some in zip(*turned, strict=True)]]
    pictures = [one.transpose(0, 3, 1, 2) for one in inputs(network, None)]
    some = [np.concatenate(pictures[:3])]
    if takes_other_sizes(network):
        some += pictures[3:]
    return [[np.ascontiguousarray(one)] for one in some]


def usable_size(architecture: Architecture) -> Size:
    """The size of pictures that the original fixed, unless it would take more memory than a proof
    has; else a usual one."""
    size = architecture.input_size
    return size if size and not is_too_large(architecture, size) else default_size(architecture)


def is_too_large(architecture: Architecture, size: Size) -> bool:
    return proof_bytes(architecture, size) > PROOF_LIMIT


def refuse_too_large(architecture: Architecture, size: Size) -> None:
    if is_too_large(architecture, size):
        raise NoSizeError(too_large(architecture, size))


def too_large(architecture: Architecture, size: Size) -> str:
    """What a proof would take, in words."""
    height, width = size
    taken = take(proof_bytes(architecture, size))
    return f"a picture of {height}x{width} would take {taken} of maps, over {take(PROOF_LIMIT)}"


def default_size(architecture: Architecture) -> Size:
    """224x224, or 32x32 for a network without a pool in its stem (CIFAR); where the head flattens
    a map of other than the pixels that these give, a size that fits. Raises NoSizeError."""
    return fitting_size(architecture, DEFAULT_SIZE if architecture.stem.pool else SMALL_SIZE)


def takes_any_size(architecture: Architecture) -> bool:
    """Whether no layer of the head is tied to the size of the map."""
    ops = [layer.op for layer in architecture.head]
    averaged = any(isinstance(op, Pool) and op.mode == "avg" for op in ops)
    pooled = averaged or any(isinstance(op, GlobalPool) for op in ops)
    return pooled or not any(isinstance(op, Flatten) for op in ops)


def takes_other_sizes(architecture: Architecture) -> bool:
    """Whether every layer of the head does the same for a map of any size: a pool with a window
    of its own does not."""
    has_window = any(isinstance(layer.op, Pool) for layer in architecture.head)
    return takes_any_size(architecture) and not has_window


def smooth_picture(
    generator: np.random.Generator, size: tuple[int, int], channels: int
) -> npt.NDArray[np.float64]:
    """Overlaid waves of a few cycles: neighbouring pixels agree, as in a photograph."""
    rows = np.linspace(0, 1, size[0])[:, None, None]
    columns = np.linspace(0, 1, size[1])[None, :, None]
    picture = np.zeros((*size, channels))
    for _ in range(6):
        across, down = generator.uniform(-6, 6, (2, channels))
        phase = generator.uniform(0, 2 * np.pi, channels)
        picture += np.sin(2 * np.pi * (rows * down + columns * across) + phase)
    return 20 * picture[None]
