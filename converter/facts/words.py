"""An architecture in one respect, in a person's words."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from converter.facts.changes import convs, norms, pool_padding, stem_stride
from converter.facts.strides import (
    NOTHING,
    dilations,
    paddings,
    stage_strides,
)
from resnet_pt.architecture import (
    Architecture,
    Front,
    Layer,
)


def describe_activation(architecture: Architecture) -> str:
    slope = f" {architecture.slope:g}" if architecture.activation == "leaky_relu" else ""
    return f"{architecture.activation}{slope}"


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
    around = " with nothing" if pool_padding(architecture) == "inf" else ""
    return f"{window}, {describe_padding(pool.padding)}{around}"


def describe_padding(padding: Any) -> str:
    if padding == "same":
        return "'same' as in TensorFlow"
    return f"padding {padding}"


def describe_stride(architecture: Architecture) -> str:
    """`stem 2, pool 2, stages 1 2 2 2: convolution 1 (1x1)`: by how much each part shrinks the
    map, and which convolution of a block does."""
    stem = architecture.stem
    front = math.prod(one.conv.stride[0] for one in stem.front)
    before = f"front {front}, " if front > 1 else ""
    places = {
        f"convolution {number} ({conv.kernel[0]}x{conv.kernel[1]})"
        for block in itertools.chain(*architecture.stages)
        for number, conv in enumerate(block.convs, start=1)
        if conv.stride != (1, 1)
    }
    pool = f"pool {stem.pool.stride[0]}, " if stem.pool else ""
    where = f": {', '.join(sorted(places))}" if places else ""
    stages = " ".join(map(str, stage_strides(architecture)))
    return f"{before}stem {stem_stride(architecture)}, {pool}stages {stages}{where}"


def describe_paddings(architecture: Architecture) -> str:
    """`same`, or stage by stage `-,even,same,same`."""
    found = paddings(architecture)
    ways = {way for way in found if way != NOTHING}
    return ways.pop() if len(ways) == 1 else ",".join(found)


def describe_amounts(architecture: Architecture) -> str:
    """What no name of a layer says, where it says that there is one."""
    found = dilations(architecture)
    dilation = f"dilation {' '.join(map(str, found))}" if set(found) != {1} else "no dilation"
    return f"zeros, windows and kinds of pools as above, {dilation}, no activation in convolutions"


def describe_shortcuts(architecture: Architecture) -> str:
    """What the shortcuts of blocks read."""
    blocks = [block for stage in architecture.stages for block in stage]
    projected = {b.shortcut.source for b in blocks if b.shortcut and b.shortcut.conv}
    if projected == {"preactivation"}:
        return "projections read their block's input normed and activated, others its input"
    return "read their block's input"


def describe_bias(architecture: Architecture) -> str:
    found = {conv.bias for conv in convs(architecture)}
    return "in some" if len(found) == 2 else ("yes" if True in found else "no")


def describe_head(head: Sequence[Layer]) -> str:
    """`global_avg_pool, dense 1000`."""
    return ", ".join(layer.op.words() for layer in head) or "none (headless)"
