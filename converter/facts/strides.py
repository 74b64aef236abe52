"""Where a network's blocks stride, and how what strides is padded: read, and changed.

Names and shapes tell none of it. A change keeps everything else: what strides now is padded as
what strode before, or as the code of the naming does (`Defaults`) where nothing did.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from converter.facts.defaults import Defaults
from resnet_pt.architecture import Architecture, Block, Conv, Pool, Shortcut

KERAS = Defaults(eps=1e-3)
"""What Keras' layers do where no code is known."""

NOTHING = "-"
"""The way of a stage in which no window strides."""

PLACES = {3: ("1x1", "3x3"), 2: ("first", "second")}
"""Names of the convolutions that can stride, by how many a block has."""


def of_block(block: Block) -> int | None:
    """Which convolution of a block strides, from 0; None for none, or the third."""
    places = [number for number, conv in enumerate(block.convs) if conv.stride != (1, 1)]
    return places[0] if places and places[0] < 2 else None


def _blocks(architecture: Architecture) -> Iterator[Block]:
    for stage in architecture.stages:
        yield from stage


# ---- by how much each stage shrinks the map


def stage_strides(architecture: Architecture) -> tuple[int, ...]:
    """By how much each stage shrinks the map."""
    found = []
    for stage in architecture.stages:
        total = 1
        for block in stage:
            total *= block.stride
        found.append(total)
    return tuple(found)


def with_stage_strides(
    architecture: Architecture, strides: Sequence[int], defaults: Defaults = KERAS
) -> Architecture:
    """The same network with these strides, one for each stage, each in the block and on the
    convolution that stride in the others."""
    block = stride_in(architecture) or defaults.stride_in
    stages = [
        [(stride if index == _index(block, stage) else 1) for index in range(len(stage))]
        if stride != now
        else [one.stride for one in stage]
        for stage, stride, now in zip(
            architecture.stages, strides, stage_strides(architecture), strict=True
        )
    ]
    return _restrided(architecture, stages, None, defaults)


def _index(block: str, stage: Sequence[Block]) -> int:
    return len(stage) - 1 if block == "last" else 0


# ---- which block of a stage strides


def stride_in(architecture: Architecture) -> str | None:
    """'first' or 'last': the block that strides, in stages of several; None where none does."""
    for stage in architecture.stages:
        places = [index for index, block in enumerate(stage) if block.stride > 1]
        if places and len(stage) > 1:
            return "last" if places[0] == len(stage) - 1 else "first"
    return None


def with_stride_in(
    architecture: Architecture, block: str, defaults: Defaults = KERAS
) -> Architecture:
    """The same network with each stage's stride in its 'first' or 'last' block."""
    stages = [
        [(total if index == _index(block, stage) else 1) for index in range(len(stage))]
        for stage, total in zip(architecture.stages, stage_strides(architecture), strict=True)
    ]
    return _restrided(architecture, stages, None, defaults)


# ---- which convolution of a block strides


def stride_on(architecture: Architecture) -> str | None:
    """'1x1' or '3x3' of bottlenecks, 'first' or 'second' of basic blocks; None where no block
    strides, or several do on other convolutions."""
    found = {
        PLACES[len(block.convs)][place]
        for block in _blocks(architecture)
        if (place := of_block(block)) is not None
    }
    return found.pop() if len(found) == 1 else None


def with_stride_on(
    architecture: Architecture, where: str, defaults: Defaults = KERAS
) -> Architecture:
    """The same network with each block's stride on its first ('1x1', 'first') or its second
    ('3x3', 'second') convolution; blocks that have no such one stay as they are."""
    stages = [[block.stride for block in stage] for stage in architecture.stages]
    return _restrided(architecture, stages, where, defaults)


def _restrided(
    architecture: Architecture,
    strides: Sequence[Sequence[int]],
    where: str | None,
    defaults: Defaults,
) -> Architecture:
    """With the stride of each block, on the convolution that is called so, or where it is."""
    before = paddings(architecture)
    known = next((way for way in before if way != NOTHING), KNOWN[defaults.padding])
    pooled = defaults.shortcut_pool or any(map(_pools_shortcut, _blocks(architecture)))
    usual = stride_on(architecture)
    stages = []
    for blocks, totals in zip(architecture.stages, strides, strict=True):
        made = []
        for block, total in zip(blocks, totals, strict=True):
            places = PLACES[len(block.convs)]
            if where in places:
                on = places.index(where)
            elif usual in places:
                on = places.index(usual)
            else:
                on = _usual(block, defaults)
            stays = where is None and total == block.stride
            made.append(block if stays else _strided(block, total, on, pooled))
        stages.append(tuple(made))
    ways = [known if way == NOTHING else way for way in before]
    return with_paddings(replace(architecture, stages=tuple(stages)), ways)


KNOWN = {"same": "same", "pad": "even"}
"""The ways of `Defaults.padding`."""


def _usual(block: Block, defaults: Defaults) -> int:
    """The convolution that strides in the naming's code."""
    if len(block.convs) == 3:
        return PLACES[3].index(defaults.stride_on)
    return defaults.basic_stride_on - 1


def _pools_shortcut(block: Block) -> bool:
    pool = block.shortcut.pool if block.shortcut else None
    return pool is not None and pool.mode == "avg"


def _strided(block: Block, stride: int, on: int, pooled: bool) -> Block:
    """A block with its stride on the convolution `on`; its paddings are still to be set."""
    if block.stride == stride and (stride == 1 or of_block(block) == on):
        return block
    convs = tuple(
        _with_stride(conv, stride if number == on else 1) for number, conv in enumerate(block.convs)
    )
    return replace(block, convs=convs, shortcut=_shortcut(block.shortcut, stride, pooled))


def _with_stride(conv: Conv, stride: int) -> Conv:
    """Keras has no convolution that strides and is dilated."""
    if conv.stride == (stride, stride):
        return conv
    dilation = (1, 1) if stride > 1 else conv.dilation
    return evenly_padded(conv.replace(stride=(stride, stride), dilation=dilation))


def _shortcut(shortcut: Shortcut | None, stride: int, pooled: bool) -> Shortcut | None:
    one_by_one = Pool((1, 1), (stride, stride), 0)
    if shortcut is None or shortcut.conv is None:
        return Shortcut(pool=one_by_one) if stride > 1 else None
    if stride > 1 and pooled:
        pool = Pool((2, 2), (stride, stride), "same", mode="avg")
        return replace(shortcut, pool=pool, conv=_with_stride(shortcut.conv, 1))
    return replace(shortcut, pool=None, conv=_with_stride(shortcut.conv, stride))


# ---- how strided windows are padded


def evenly_padded(conv: Conv) -> Conv:
    """With half its window on all sides; 'same' where the window has no middle."""
    reach = [d * (k - 1) for k, d in zip(conv.kernel, conv.dilation, strict=True)]
    is_even = reach[0] == reach[1] and not reach[0] % 2
    return conv.replace(padding=reach[0] // 2 if is_even else "same")


def _is_window(conv: Conv) -> bool:
    """Whether a convolution strides, and reads more than it strides over."""
    return conv.stride != (1, 1) and conv.kernel != (1, 1)


def paddings(architecture: Architecture) -> tuple[str, ...]:
    """How the strided windows of each stage are padded: 'even', 'same' as in TensorFlow, '-' where
    none strides; another amount in numbers."""
    return tuple(_of_stage(stage) for stage in architecture.stages)


def _of_stage(stage: Sequence[Block]) -> str:
    windows = [conv for block in stage for conv in block.convs if _is_window(conv)]
    return " and ".join(dict.fromkeys(map(_way, windows))) or NOTHING


def _way(conv: Conv) -> str:
    is_even = conv.padding != "same" and conv == evenly_padded(conv)
    return "even" if is_even else str(conv.padding)


def with_paddings(architecture: Architecture, ways: Sequence[str]) -> Architecture:
    """The same network with the strided windows of each stage padded in these ways; what is
    neither 'even' nor 'same' leaves a stage as it is."""
    stages = tuple(
        tuple(_padded(block, way) for block in stage)
        for stage, way in zip(architecture.stages, ways, strict=True)
    )
    return replace(architecture, stages=stages)


def _padded(block: Block, way: str) -> Block:
    def padded(conv: Conv) -> Conv:
        if not _is_window(conv) or way not in ("even", "same"):
            return conv
        return conv.replace(padding="same") if way == "same" else evenly_padded(conv)

    return replace(block, convs=tuple(map(padded, block.convs)))


# ---- dilation


def dilations(architecture: Architecture) -> tuple[int, ...]:
    """The dilation of each stage's windows: the largest, since what strides has none."""
    return tuple(
        max((conv.dilation[0] for block in stage for conv in block.convs), default=1)
        for stage in architecture.stages
    )


def with_dilations(architecture: Architecture, amounts: Sequence[int]) -> Architecture:
    """The same network with the windows of each stage dilated; those that stride are not."""

    def dilated(conv: Conv, amount: int) -> Conv:
        if conv.kernel == (1, 1) or conv.stride != (1, 1) or conv.dilation == (amount, amount):
            return conv
        return evenly_padded(conv.replace(dilation=(amount, amount)))

    def in_block(block: Block, amount: int) -> Block:
        return replace(block, convs=tuple(dilated(conv, amount) for conv in block.convs))

    stages: Any = tuple(
        tuple(in_block(block, amount) for block in stage)
        for stage, amount in zip(architecture.stages, amounts, strict=True)
    )
    return replace(architecture, stages=stages)
