"""An architecture in one respect: read, and changed; each pair is its own inverse."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, TypeGuard

from converter.facts.strides import evenly_padded
from resnet_pt.architecture import (
    NON_NEGATIVE,
    Architecture,
    Block,
    Conv,
    Flatten,
    Norm,
    Padding,
    Pool,
    Shortcut,
)
from resnet_pt.ops import Op


def with_eps(architecture: Architecture, eps: float) -> Architecture:
    """The same network with another epsilon in every norm before the head."""
    return map_norms(architecture, lambda norm: norm.replace(eps=eps))


def with_stem(architecture: Architecture, how: str) -> Architecture:
    """The stem's first convolution padded by half its window ('pad'), as TensorFlow's 'same', or
    not at all ('valid')."""
    first = architecture.stem.first
    half = first.kernel[0] // 2
    even = first.stride == (1, 1) and first.kernel[0] % 2  # then 'same' is half on all sides too
    paddings: dict[str, Padding] = {"pad": half, "same": half if even else "same", "valid": 0}
    return _with_first(architecture, first.replace(padding=paddings[how]))


def _with_first(architecture: Architecture, first: Conv) -> Architecture:
    """With another first convolution of the stem."""
    stem = architecture.stem
    if stem.deep:
        return replace(
            architecture, stem=replace(stem, deep=((first, stem.deep[0][1]), *stem.deep[1:]))
        )
    return replace(architecture, stem=replace(stem, conv=first))


def stem_padding(architecture: Architecture) -> str:
    """The inverse of `with_stem`; another amount in numbers."""
    first = architecture.stem.first
    names = {first.kernel[0] // 2: "pad", "same": "same", 0: "valid"}
    return names.get(first.padding, str(first.padding))


def stem_stride(architecture: Architecture) -> int:
    """By how much the convolutions of the stem shrink the picture."""
    stem = architecture.stem
    return math.prod(conv.stride[0] for conv in (*(one for one, _ in stem.deep), stem.conv))


def with_stem_stride(architecture: Architecture, stride: int) -> Architecture:
    """The same network with a stem of another stride, all of it in its first convolution."""
    if stem_stride(architecture) == stride:
        return architecture
    padding, stem = stem_padding(architecture), architecture.stem

    def unstrided(conv: Conv) -> Conv:
        return conv if conv.stride == (1, 1) else evenly_padded(conv.replace(stride=(1, 1)))

    deep = tuple((unstrided(conv), norm) for conv, norm in stem.deep)
    conv = unstrided(stem.conv) if deep else stem.conv
    bare = replace(architecture, stem=replace(stem, deep=deep, conv=conv))
    changed = _with_first(bare, bare.stem.first.replace(stride=(stride, stride)))
    return with_stem(changed, padding) if padding in ("pad", "same", "valid") else changed


POOL_PADDINGS = ("valid", "zero", "same", "inf")


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
    """A pool of the stem, padded in one of the ways of `with_pool`."""
    half = max(pool.kernel) // 2
    padding: Padding = {"valid": 0, "zero": half, "same": "same", "inf": half}[how]  # type: ignore[assignment]
    is_zero = how == "zero" and _can_be_negative(architecture)
    return pool.replace(padding=padding, fill="zero" if is_zero else "-inf")


def _can_be_negative(architecture: Architecture) -> bool:
    """Whether zeros around the map that the stem's pool reads are more than nothing."""
    return not architecture.stem.activation or architecture.activation not in NON_NEGATIVE


def pool_padding(architecture: Architecture) -> str:
    """The inverse of `with_pool`. Zeros around what is never negative are 'zero'."""
    pool = architecture.stem.pool
    if pool is None:
        return "none"
    if pool.padding in (0, "same"):
        return "same" if pool.padding == "same" else "valid"
    if pool.padding != max(pool.kernel) // 2:
        return str(pool.padding)
    return "inf" if pool.fill == "-inf" and _can_be_negative(architecture) else "zero"


KINDS = {"max": "max", "avg": "average"}
"""The kinds of pools, by `Pool.mode`."""


def pool_kind(architecture: Architecture) -> str:
    """'max', 'average' or 'none'."""
    pool = architecture.stem.pool
    return KINDS[pool.mode] if pool else "none"


def with_pool_kind(architecture: Architecture, kind: str, padding: str = "same") -> Architecture:
    """The same network with another pool in its stem, or none. One where there was none is 3x3/2,
    with this `padding`; an average, which no zeros go with, is as in TensorFlow in their place."""
    if kind == "none":
        return with_pool(architecture, "none")
    before = pool_padding(architecture)
    how = padding if before == "none" else before
    if kind == "average" and how not in ("valid", "same"):
        how = "same"
    mode: Literal["max", "avg"] = "avg" if kind == "average" else "max"
    pool = (architecture.stem.pool or Pool()).replace(mode=mode)
    changed = replace(architecture, stem=replace(architecture.stem, pool=pool))
    return with_pool(changed, how) if how in POOL_PADDINGS else changed


def with_pool_window(architecture: Architecture, size: int) -> Architecture:
    """The same network with another window of the stem's pool."""
    return _with_pool(architecture, kernel=(size, size))


def with_pool_stride(architecture: Architecture, stride: int) -> Architecture:
    """The same network with another stride of the stem's pool."""
    return _with_pool(architecture, stride=(stride, stride))


def _with_pool(architecture: Architecture, **changes: Any) -> Architecture:
    how, pool = pool_padding(architecture), architecture.stem.pool
    if pool is None:
        return architecture
    stem = replace(architecture.stem, pool=pool.replace(**changes))
    changed = replace(architecture, stem=stem)
    return with_pool(changed, how) if how in POOL_PADDINGS else changed


def shortcut_source(architecture: Architecture) -> str | None:
    """What the projections of pre-activated blocks read: 'input', or 'preactivation', which is that
    after its first norm; None without one."""
    found = {short.source for short in _projections(architecture)}
    return found.pop() if len(found) == 1 else None


def with_shortcut_source(
    architecture: Architecture, source: Literal["input", "preactivation"]
) -> Architecture:
    """The same network with the projections of pre-activated blocks reading something else."""

    def in_block(block: Block) -> Block:
        short = block.shortcut
        if not block.preactivation or short is None or short.conv is None:
            return block
        return replace(block, shortcut=replace(short, source=source))

    return map_blocks(architecture, in_block)


def _projections(architecture: Architecture) -> list[Shortcut]:
    blocks = itertools.chain(*architecture.stages)
    shorts = [block.shortcut for block in blocks if block.preactivation]
    return [short for short in shorts if short is not None and short.conv is not None]


def with_activation(architecture: Architecture, name: str, slope: float = 0.0) -> Architecture:
    """The same network with another activation between its layers; what is around the stem's pool
    stays what it is."""
    how = pool_padding(architecture)
    changed = replace(architecture, activation=name, slope=slope)
    return with_pool(changed, how) if how in POOL_PADDINGS else changed


def map_blocks(architecture: Architecture, change: Callable[[Block], Block]) -> Architecture:
    stages = tuple(tuple(change(block) for block in stage) for stage in architecture.stages)
    return replace(architecture, stages=stages)


def map_ops(architecture: Architecture, change: Callable[[Op], Op]) -> Architecture:
    """The same network with every op before the head changed."""
    body: Architecture = _mapped(replace(architecture, head=()), change)
    return replace(body, head=architecture.head)


def map_head(architecture: Architecture, change: Callable[[Op], Op]) -> Architecture:
    """The same network with every op of its head changed."""
    return replace(architecture, head=_mapped(architecture.head, change))


def _mapped(part: Any, change: Callable[[Op], Op]) -> Any:
    """A part of an architecture, with each op that stands in it changed."""
    if isinstance(part, Op):
        return change(part)
    if isinstance(part, tuple):
        return tuple(_mapped(one, change) for one in part)
    if is_dataclass(part) and not isinstance(part, type):
        found = {one.name: _mapped(getattr(part, one.name), change) for one in fields(part)}
        return replace(part, **found)
    return part


def map_norms(architecture: Architecture, change: Callable[[Norm], Norm]) -> Architecture:
    """The same network with every norm before the head changed, but Keras' Normalization, which
    has no epsilon of its own."""
    return map_ops(architecture, lambda op: change(op) if _is_norm(op) else op)


def _is_norm(op: Op) -> TypeGuard[Norm]:
    return isinstance(op, Norm) and not op.standardizes


def map_convs(architecture: Architecture, change: Callable[[Conv], Conv]) -> Architecture:
    """The same network with every convolution before the head changed."""
    return map_ops(architecture, lambda op: change(op) if isinstance(op, Conv) else op)


def body_ops(architecture: Architecture) -> list[Op]:
    """Every op before the head, as the architecture has it."""
    found: list[Op] = []
    map_ops(architecture, lambda op: found.append(op) or op)  # type: ignore[func-returns-value]
    return found


def norms(architecture: Architecture) -> list[Norm]:
    """Every norm before the head, but Keras' Normalization."""
    return [op for op in body_ops(architecture) if _is_norm(op)]


def convs(architecture: Architecture) -> list[Conv]:
    """Every convolution before the head."""
    return [op for op in body_ops(architecture) if isinstance(op, Conv)]


def with_flatten(architecture: Architecture, order: str) -> Architecture:
    """With every Flatten in this order."""
    flatten = FLATTEN[order]
    return map_head(architecture, lambda op: flatten if isinstance(op, Flatten) else op)


def flatten_order(architecture: Architecture) -> str | None:
    """The inverse of `with_flatten`: the order of the first Flatten."""
    found = [layer.op for layer in architecture.head if isinstance(layer.op, Flatten)]
    return next((order for order, op in FLATTEN.items() if op in found[:1]), None)


FLATTEN: Mapping[str, Flatten] = {
    "channels-last": Flatten("hwc"),
    "channels-first": Flatten("chw"),
}
