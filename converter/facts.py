"""Facts about a network that names and shapes leave open, each with its evidence."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

from converter.structure import NORMALIZATION_EPS
from resnet_pt.architecture import (
    NON_NEGATIVE,
    Architecture,
    Block,
    Conv,
    Front,
    HeadKind,
    HeadLayer,
    Norm,
    Pool,
)


class Evidence(IntEnum):
    """Where a fact comes from, weakest first."""

    DEFAULT = 0
    RELEASE = 1
    SHAPES = 2
    ATTRIBUTES = 3
    LAYER_NAMES = 4
    MODEL_CONFIG = 5
    RECORD = 6
    USER = 7

    def __str__(self) -> str:
        return {
            Evidence.DEFAULT: "default",
            Evidence.RELEASE: "released file",
            Evidence.SHAPES: "shapes",
            Evidence.ATTRIBUTES: "file attributes",
            Evidence.LAYER_NAMES: "layer names",
            Evidence.MODEL_CONFIG: "model_config",
            Evidence.RECORD: "record",
            Evidence.USER: "set by the user",
        }[self]


OUTSIDE = frozenset({"preprocessing"})
"""Facts about what a project did around its network: no logit rests on them."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact: its value as a person reads it, where it comes from, and the reason in words."""

    name: str
    value: str
    evidence: Evidence
    reason: str

    @property
    def is_default(self) -> bool:
        return self.evidence == Evidence.DEFAULT

    @property
    def is_assumed(self) -> bool:
        """Whether the network itself rests on it, and nothing but a default says it."""
        return self.is_default and self.name not in OUTSIDE


# ---- changing an architecture in one respect


def with_eps(architecture: Architecture, eps: float) -> Architecture:
    """The same network with another epsilon in every norm before the head."""
    return map_norms(architecture, lambda norm: replace(norm, eps=eps))


def with_stem(architecture: Architecture, how: str) -> Architecture:
    """The stem's first convolution padded by half its window ('pad') or as TensorFlow's 'same'."""
    stem = architecture.stem
    half = stem.first.kernel[0] // 2
    even = stem.first.stride == (1, 1)  # then 'same' is half the window on all sides too
    padding: Any = half if how == "pad" or even else "same"
    conv = replace(stem.first, padding=padding)
    if stem.deep:
        stem = replace(stem, deep=((conv, stem.deep[0][1]), *stem.deep[1:]))
    else:
        stem = replace(stem, conv=conv)
    return replace(architecture, stem=stem)


def with_pool(architecture: Architecture, how: str) -> Architecture:
    """The pool unpadded ('valid'), with zeros around it ('zero'), as in TensorFlow ('same'), as in
    torch ('inf': nothing is around it), or no pool at all ('none')."""
    if how == "none":
        return replace(architecture, stem=replace(architecture.stem, pool=None))
    pool = architecture.stem.pool or Pool()
    return replace(
        architecture, stem=replace(architecture.stem, pool=padded_pool(pool, how, architecture))
    )


def padded_pool(pool: Pool, how: str, architecture: Architecture) -> Pool:
    padding: Any = {"valid": 0, "zero": 1, "same": "same", "inf": 1}[how]
    stem, activation = architecture.stem, architecture.activation
    can_be_negative = not stem.activation or activation not in NON_NEGATIVE
    return replace(
        pool, padding=padding, fill="zero" if how == "zero" and can_be_negative else "-inf"
    )


def describe_activation(architecture: Architecture) -> str:
    slope = f" {architecture.slope:g}" if architecture.activation == "leaky_relu" else ""
    return f"{architecture.activation}{slope}"


def with_stride_on(architecture: Architecture, where: str) -> Architecture:
    """Every bottleneck's stride on its first 1x1 or on its 3x3."""
    return map_blocks(architecture, lambda block: _stride_on(block, where))


def _stride_on(block: Block, where: str) -> Block:
    if len(block.convs) != 3:
        return block
    first, second, third = block.convs
    stride = max(first.stride, second.stride)
    strided, plain = (stride, (1, 1)) if where == "1x1" else ((1, 1), stride)
    return replace(
        block, convs=(replace(first, stride=strided), replace(second, stride=plain), third)
    )


def map_blocks(architecture: Architecture, change: Callable[[Block], Block]) -> Architecture:
    stages = tuple(tuple(change(block) for block in stage) for stage in architecture.stages)
    return replace(architecture, stages=stages)


def map_norms(architecture: Architecture, change: Callable[[Norm], Norm]) -> Architecture:
    """The same network with every norm before the head changed, but Keras' Normalization, which
    has no epsilon of its own."""

    def maybe(norm: Norm | None) -> Norm | None:
        return change(norm) if norm and norm.eps != NORMALIZATION_EPS else norm

    def in_block(block: Block) -> Block:
        shortcut = block.shortcut
        if shortcut:
            shortcut = replace(shortcut, norm=maybe(shortcut.norm))
        return replace(block, norms=tuple(maybe(norm) for norm in block.norms), shortcut=shortcut)

    stem = architecture.stem
    deep = tuple((conv, change(norm)) for conv, norm in stem.deep)
    front = tuple(replace(one, norm=maybe(one.norm)) for one in stem.front)
    stem = replace(
        stem, norm=maybe(stem.norm), front=front, data_norm=maybe(stem.data_norm), deep=deep
    )
    return replace(map_blocks(architecture, in_block), stem=stem, norm=maybe(architecture.norm))


def map_convs(architecture: Architecture, change: Callable[[Conv], Conv]) -> Architecture:
    """The same network with every convolution changed."""

    def in_block(block: Block) -> Block:
        shortcut = block.shortcut
        if shortcut and shortcut.conv:
            shortcut = replace(shortcut, conv=change(shortcut.conv))
        return replace(block, convs=tuple(map(change, block.convs)), shortcut=shortcut)

    stem = replace(architecture.stem, conv=change(architecture.stem.conv))
    return replace(map_blocks(architecture, in_block), stem=stem)


# ---- reading an architecture in one respect, in a person's words


def norms(architecture: Architecture) -> list[Norm]:
    """Every norm before the head."""
    found: list[Norm] = []
    map_norms(architecture, lambda norm: found.append(norm) or norm)  # type: ignore[func-returns-value]
    return found


def convs(architecture: Architecture) -> list[Conv]:
    """Every convolution."""
    stem = architecture.stem
    found = [one.conv for one in stem.front]
    found += [*(conv for conv, _ in stem.deep), stem.conv]
    for stage in architecture.stages:
        for block in stage:
            found += block.convs
            if block.shortcut and block.shortcut.conv:
                found.append(block.shortcut.conv)
    return found


def describe_eps(architecture: Architecture) -> str:
    values = sorted({norm.eps for norm in norms(architecture)})
    return ", ".join(map(eps_text, values)) or "none"


def eps_text(eps: float) -> str:
    """As short as a person writes it; 1.001e-5, which looks like 1e-5, in full."""
    return "1.001e-5" if eps == 1.001e-5 else f"{eps:g}"


def describe_front(front: Sequence[Front]) -> str:
    """`1x1/1 of 1 → 3 channels, relu`."""
    words = []
    for one in front:
        conv, act = one.conv, one.activation
        window = f"{conv.kernel[0]}x{conv.kernel[1]}/{conv.stride[0]}"
        channels = f"{conv.in_channels} → {conv.out_channels} channels"
        words.append(f"{window} of {channels}" + ("" if act == "linear" else f", {act}"))
    return "; ".join(words)


def describe_stem(architecture: Architecture) -> str:
    conv = architecture.stem.first
    deep = f", first of {len(architecture.stem.deep) + 1}" if architecture.stem.deep else ""
    window = f"{conv.kernel[0]}x{conv.kernel[1]}/{conv.stride[0]}"
    return f"{window}, {describe_padding(conv.padding)}{deep}"


def describe_pool(architecture: Architecture) -> str:
    pool = architecture.stem.pool
    if pool is None:
        return "none"
    window = f"{pool.mode}-pool {pool.kernel[0]}x{pool.kernel[1]}/{pool.stride[0]}"
    if pool.padding == 0:
        return f"{window}, unpadded"
    return f"{window}, {describe_padding(pool.padding)}"


def describe_padding(padding: Any) -> str:
    if padding == "same":
        return "'same' as in TensorFlow"
    return f"padding {padding}"


def describe_stride(architecture: Architecture) -> str:
    """`stem 2, pool 2, stages 1 2 2 2: convolution 1 (1x1)`: by how much each part shrinks the
    map, and which convolution of a block does."""
    stem = architecture.stem
    total = math.prod(conv.stride[0] for conv in (*(one for one, _ in stem.deep), stem.conv))
    stages = [math.prod(block.stride for block in stage) for stage in architecture.stages]
    places = {
        f"convolution {number} ({conv.kernel[0]}x{conv.kernel[1]})"
        for block in itertools.chain(*architecture.stages)
        for number, conv in enumerate(block.convs, start=1)
        if conv.stride != (1, 1)
    }
    pool = f"pool {stem.pool.stride[0]}, " if stem.pool else ""
    where = f": {', '.join(sorted(places))}" if places else ""
    return f"stem {total}, {pool}stages {' '.join(map(str, stages))}{where}"


def describe_bias(architecture: Architecture) -> str:
    found = {conv.bias for conv in convs(architecture)}
    return "in some" if len(found) == 2 else ("yes" if True in found else "no")


def with_flatten(architecture: Architecture, order: str) -> Architecture:
    """With every Flatten in this order."""
    kind: HeadKind = FLATTEN[order]
    head = tuple(
        replace(layer, kind=kind) if layer.kind.startswith("flatten") else layer
        for layer in architecture.head
    )
    return replace(architecture, head=head)


FLATTEN: Mapping[str, HeadKind] = {
    "channels-last": "flatten_hwc",
    "channels-first": "flatten_chw",
}


def describe_head(head: Sequence[HeadLayer]) -> str:
    """`global_avg_pool, dense 1000`."""
    words = []
    for layer in head:
        width = f" {layer.out_features}" if layer.kind == "dense" else ""
        if layer.conv:
            width = f" {'x'.join(map(str, layer.conv.kernel))} {layer.conv.out_channels}"
        words.append(f"{layer.activation if layer.kind == 'activation' else layer.kind}{width}")
    return ", ".join(words) or "none (headless)"
