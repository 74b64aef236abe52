"""Whether the parts of an architecture fit each other: a network that could not run is found
before anything is written, or read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from resnet_pt.architecture import BETWEEN_LAYERS, MAX_HEAD, Architecture, Block
from resnet_pt.lower import lower
from resnet_pt.ops.activation import ACTIVATIONS
from resnet_pt.ops.channels import MAX_PICTURE_CHANNELS
from resnet_pt.ops.protocol import finite, short, sizes
from resnet_pt.program import problems as of_program

MAX_SIDE = 2**16
"""Of the pictures that a network is made for."""

Problems = Iterator[str]


def problems(architecture: Architecture) -> list[str]:
    """What does not fit, each with the module that it is about; [] for a network that can run."""
    wrong = [*_tree(architecture), *_outputs(architecture)]
    if wrong:  # then it is no program
        return wrong
    wrong = list(_settings(architecture))
    if architecture.activation not in BETWEEN_LAYERS or not math.isfinite(architecture.slope):
        architecture = replace(architecture, activation="relu", slope=0.0)  # it is said once
    return [*wrong, *of_program(lower(architecture)), *_strides(architecture)]


def _tree(architecture: Architecture) -> Problems:
    if max(len(architecture.head), len(architecture.outputs)) > MAX_HEAD:
        yield f"the head has more than {MAX_HEAD} layers or outputs"
    if not architecture.stages or not all(architecture.stages):
        yield "a network has at least one stage, and a stage at least one block"
    for name, block in _blocks(architecture):
        convs, norms = len(block.convs), len(block.norms)
        if convs not in (2, 3) or norms != convs:
            yield f"{name} has {convs} convolutions and {norms} places for norms"


def _blocks(architecture: Architecture) -> Iterator[tuple[str, Block]]:
    for number, stage in enumerate(architecture.stages, start=1):
        for index, block in enumerate(stage):
            yield f"layer{number}.{index}", block


def _outputs(architecture: Architecture) -> Problems:
    stages = [one.stage for one in architecture.outputs]
    if any(not 0 <= stage < len(architecture.stages) for stage in stages):
        yield f"outputs are of the stages {stages}, and there are {len(architecture.stages)}"
    if stages and all(stages):
        yield "no output is of the last block"
    if any(one.stage and one.layer for one in architecture.outputs):
        yield "an output is of a stage and of a layer of the head"
    for one in architecture.outputs:
        if one.activation not in ACTIVATIONS:
            yield f"output {short(one.name)}: activation {short(one.activation)} is not known"


def _settings(architecture: Architecture) -> Problems:
    if architecture.activation not in BETWEEN_LAYERS:
        yield f"activation {short(architecture.activation)} is not known"
    yield from (f"leaky_relu {words}" for words in finite("slope", architecture.slope))
    size = architecture.input_size or (1, 1)
    yield from (f"the picture {words}" for words in sizes(size, 1, MAX_SIDE))
    channels = (architecture.stem.in_channels,)
    yield from (
        f"channels of the picture {words}" for words in sizes(channels, 1, MAX_PICTURE_CHANNELS)
    )


def _strides(architecture: Architecture) -> Problems:
    """The sizes of maps are not known, and by how much they shrink is."""
    for name, block in _blocks(architecture):
        short_way = block.shortcut
        ways = [one for one in (short_way.conv, short_way.pool) if one] if short_way else []
        total, around = (
            tuple(math.prod(one.stride[axis] for one in some) for axis in (0, 1))
            for some in (block.convs, ways)
        )
        if total != around:
            yield f"{name} strides by {total}, and its shortcut by {around}"
