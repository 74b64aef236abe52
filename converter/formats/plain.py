"""The plain ResNet that every library of the PyTorch world builds, and what keeps a network from
being one.

That network is the one of He et al. 2015: a 7x7 stem padded by 3, a 3x3 max-pool padded by 1,
stages of bottlenecks or of pairs of 3x3 convolutions, the first block of each later stage
striding by 2, projections where the shape changes, a mean over the map and one Dense layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from converter.facts.words import describe_head, describe_pool, describe_stem
from resnet_pt.architecture import Architecture, Block, Dense, Dropout, Flatten, GlobalPool

KERNELS = {2: ((3, 3), (3, 3)), 3: ((1, 1), (3, 3), (1, 1))}
"""Of a block with so many convolutions."""

DEPTHS: dict[tuple[int, tuple[int, ...]], int] = {
    (2, (2, 2, 2, 2)): 18,
    (2, (3, 4, 6, 3)): 34,
    (3, (3, 4, 6, 3)): 50,
    (3, (3, 4, 23, 3)): 101,
    (3, (3, 8, 36, 3)): 152,
}
"""(convolutions of a block, blocks of each stage) → the number in the network's name."""


@dataclass(frozen=True, slots=True)
class Plain:
    """A plain ResNet in a library's terms.

    `middle` and `out` are the channels inside and behind a block, a number for each stage;
    `stride_on` is where the strided bottlenecks stride ('mixed' if they differ).
    """

    in_channels: int
    stem: int
    depths: tuple[int, ...]
    middle: tuple[int, ...]
    out: tuple[int, ...]
    convolutions: Literal[2, 3]
    stride_on: Literal["1x1", "3x3", "mixed"]
    classifier: Dense | None

    @property
    def depth(self) -> int | None:
        """50 for a ResNet-50; None for a network without such a name."""
        return DEPTHS.get((self.convolutions, self.depths))

    @property
    def block(self) -> str:
        """The class that the libraries have for it."""
        return {2: "BasicBlock", 3: "Bottleneck"}[self.convolutions]

    @property
    def has_standard_widths(self) -> bool:
        """64 channels behind the stem and inside the first blocks, and twice as many a stage."""
        stages = tuple(64 * 2**number for number in range(len(self.depths)))
        expansion = 4 if self.convolutions == 3 else 1
        outs = tuple(expansion * width for width in stages)
        return (self.stem, self.middle, self.out) == (64, stages, outs)


def plain(architecture: Architecture) -> Plain:
    """The plain ResNet that `architecture` is; it has no `plain_obstacles`."""
    stages = architecture.stages
    places = {place for stage in stages[1:] for place in _strides(stage[0])}
    dense = architecture.classifier.op if architecture.classifier else None
    return Plain(
        in_channels=architecture.in_channels,
        stem=architecture.stem.conv.out_channels,
        depths=architecture.depths,
        middle=tuple(stage[0].convs[0].out_channels for stage in stages),
        out=tuple(stage[0].out_channels for stage in stages),
        convolutions=3 if len(stages[0][0].convs) == 3 else 2,
        stride_on="mixed" if len(places) > 1 else ("1x1" if places == {1} else "3x3"),
        classifier=dense if isinstance(dense, Dense) else None,
    )


def is_headless(architecture: Architecture) -> bool:
    """Whether the network gives the map of its last block, or its mean."""
    passed = Dropout | Flatten
    ops = [layer.op for layer in architecture.head if not isinstance(layer.op, passed)]
    return len(architecture.outputs) == 1 and ops in ([], [GlobalPool("avg")])


def plain_obstacles(architecture: Architecture) -> list[str]:
    """What keeps a network from being a plain ResNet, in words; [] for one that is."""
    return [*_stem(architecture), *_blocks(architecture), *_head(architecture)]


def _stem(architecture: Architecture) -> Iterator[str]:
    stem = architecture.stem
    if stem.channels or stem.rescaling or stem.data_norm:
        yield "the network scales its pictures itself: it would have to be done before"
    if stem.front:
        yield f"{len(stem.front)} convolutions in front of the stem"
    if stem.deep:
        yield f"a stem of {len(stem.deep) + 1} convolutions: only one is there"
    elif (stem.conv.kernel, stem.conv.stride, stem.conv.padding) != ((7, 7), (2, 2), 3):
        yield f"stem {describe_stem(architecture)}: only 7x7/2, padding 3 is there"
    if stem.norm is None or not stem.activation:
        yield "stem without a norm and an activation behind its convolution"
    pool = stem.pool
    if pool is None or (pool.kernel, pool.stride, pool.padding, pool.mode) != (
        (3, 3),
        (2, 2),
        1,
        "max",
    ):
        yield f"{describe_pool(architecture)}: only max-pool 3x3/2, padding 1 is there"
    if architecture.activation != "relu":
        yield f"activation {architecture.activation}: only relu is there"


def _blocks(architecture: Architecture) -> Iterator[str]:
    blocks = [block for stage in architecture.stages for block in stage]
    if architecture.norm or any(block.preactivation for block in blocks):
        yield "pre-activation blocks (He et al. 2016): norms come before their convolutions"
        return
    if len({len(block.convs) for block in blocks}) > 1:
        yield "blocks of two and of three convolutions"
    if not all(block.activated for block in blocks):
        yield "the network ends in a sum that nothing activates"
    channels = architecture.stem.conv.out_channels
    for number, stage in enumerate(architecture.stages, start=1):
        if len({(block.convs[0].out_channels, block.out_channels) for block in stage}) > 1:
            yield f"layer{number} has blocks of different widths"
        for index, block in enumerate(stage):
            stride = 2 if number > 1 and index == 0 else 1
            yield from _block(f"layer{number}.{index}", block, channels, stride)
            channels = block.out_channels


def _block(name: str, block: Block, channels: int, stride: int) -> Iterator[str]:
    for place, conv in enumerate(block.convs, start=1):
        kernel = KERNELS[len(block.convs)][place - 1]
        if (conv.kernel, conv.padding) != (kernel, kernel[0] // 2):
            size = "x".join(map(str, conv.kernel))
            yield f"{name}.conv{place} is {size}, padding {conv.padding!r}"
        if conv.groups != 1 or conv.dilation != (1, 1):
            yield f"{name}.conv{place} is grouped or dilated"
        if block.norms[place - 1] is None:
            yield f"{name}.conv{place} has no norm behind it"
    strides = _strides(block)
    expected = {(): 1, (1,): 2, (2,): 2}.get(strides)
    if expected != stride or (strides == (2,) and len(block.convs) == 2):
        yield f"{name} strides on its convolutions {strides}, not by {stride} in one place"
    yield from _shortcut(name, block, channels, stride)


def _strides(block: Block) -> tuple[int, ...]:
    """The convolutions of a block that stride, from 1; one that strides otherwise than by 2
    counts twice."""
    found: list[int] = []
    for place, conv in enumerate(block.convs, start=1):
        if conv.stride != (1, 1):
            found += [place] if conv.stride == (2, 2) else [place, place]
    return tuple(found)


def _shortcut(name: str, block: Block, channels: int, stride: int) -> Iterator[str]:
    projects = stride != 1 or channels != block.out_channels
    shortcut = block.shortcut
    if shortcut is None:
        if projects:
            yield f"{name} changes the shape without a projection in its shortcut"
        return
    conv = shortcut.conv
    if not projects or shortcut.pool or shortcut.norm is None or conv is None:
        yield f"{name} has another shortcut than a strided 1x1 convolution and a norm"
    elif (conv.kernel, conv.stride, conv.padding, conv.groups) != (
        (1, 1),
        (stride, stride),
        0,
        1,
    ):
        yield f"{name} has another projection than a 1x1 with stride {stride}"


def _head(architecture: Architecture) -> Iterator[str]:
    if architecture.classifier is None and not is_headless(architecture):
        head = describe_head(architecture.head)
        yield f"head of {head}: only a mean over the map and one Dense layer are there"
