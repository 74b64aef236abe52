"""Weights only: what the listed layers say of the function between the blocks."""

from __future__ import annotations

from collections.abc import Sequence

from converter.errors import MismatchError
from converter.facts.fact import Evidence, Fact
from converter.files.auto_names import auto_name
from converter.files.checkpoint import Checkpoint
from converter.weights_only import beside
from converter.weights_only.head_names import ACTIVATIONS
from converter.weights_only.listing import ACTIVATION, SUM
from converter.weights_only.match import Match
from converter.weights_only.places import Places
from converter.weights_only.weightless import OTHER_FUNCTIONS
from resnet_pt.architecture import Architecture

UNTOLD = "?"


def words(layer: str) -> set[str]:
    """`Conv1_ReLU2` → conv1, relu; `re_lu_3` names a class, whose bound and slope are not told, and
    `relu6` may be the sixth relu or one that is bounded."""
    if auto_name(layer) in ACTIVATIONS:
        return {UNTOLD}
    parts = layer.lower().split("_")
    return {UNTOLD if one == "relu6" else one.rstrip("0123456789") for one in parts}


def activation_fact(checkpoint: Checkpoint, match: Match, found: Places) -> Fact:
    """`conv1_relu` says which function it is, `activation_4` does not. Where the file keeps no
    order, another function beside those may be the head's.

    Raises MismatchError for a file whose names say another one.
    """
    inside = _between_blocks(checkpoint, match, found)
    others = [layer for layer in inside if OTHER_FUNCTIONS & words(layer)]
    named = [layer for layer in inside if "relu" in words(layer)]
    untold = [layer for layer in inside if UNTOLD in words(layer)]
    may_be_of_head = not checkpoint.is_ordered and bool(named or untold)
    if others and not may_be_of_head:
        raise MismatchError(
            f"{checkpoint.path} lists layers of another function than relu between its blocks",
            [f"{layer!r}" for layer in others],
            [checkpoint.advice],
        )
    if found.is_listed and inside and len(named) == len(inside) and not untold:
        return Fact("activation", "relu", Evidence.LAYER_NAMES, f"the file lists {named[0]!r}")
    reason = f"weights do not record it: {match.dialect.ran(checkpoint.version())}"
    if named and not checkpoint.is_ordered:
        reason = f"the file lists {named[0]!r}, and this container keeps no order: {reason}"
    elif named:
        reason = f"the file lists {named[0]!r}, and others whose names do not say it: {reason}"
    return Fact("activation", "relu", Evidence.DEFAULT, reason)


def _between_blocks(checkpoint: Checkpoint, match: Match, found: Places) -> Sequence[str]:
    """The activations that stand in the network's places for one; where those are not known, all
    layers without weights among its own."""
    if found.is_listed:
        return [layer for layer, place in found.taken.items() if place.kind == ACTIVATION]
    return beside.inside(checkpoint, match)


def check_counts(checkpoint: Checkpoint, match: Match, architecture: Architecture) -> None:
    """Raise MismatchError for a container that keeps no order, and lists fewer activations than the
    network has, some sums and not all, or an activation that is called as one of another place."""
    functions, most = _functions(checkpoint, match), beside.counts(architecture)
    sums = [layer for layer, kind in checkpoint.kinds.items() if kind in beside.SUMS]
    elsewhere = _before_sums(checkpoint, match)
    if elsewhere:
        raise MismatchError(
            f"{checkpoint.path} lists activations in front of a block's sum",
            [f"{one!r}" for one in elsewhere],
            [checkpoint.advice],
        )
    if 0 < len(functions) < most[ACTIVATION] or 0 < len(sums) < most[SUM]:
        last = match.modules.get("norm") or _last_of_blocks(checkpoint, match)[-1]
        raise MismatchError(
            f"{checkpoint.path} lists fewer sums and activations than its network has: some have "
            f"none, or the model was cut behind {last!r}",
            hints=[checkpoint.advice],
        )


def _functions(checkpoint: Checkpoint, match: Match) -> list[str]:
    """The activations of the network, and of a head that is listed with it."""
    nest = beside.base(checkpoint, match)
    outside = set(beside.outside(checkpoint, nest)) if nest else set()
    return [x for x, kind in checkpoint.kinds.items() if kind in ACTIVATIONS and x not in outside]


def _before_sums(checkpoint: Checkpoint, match: Match) -> list[str]:
    """Those that are called like a block's last norm, whose activation is that of the sum, and not
    called so by any code that is known: `conv2_block1_3_relu` beside `conv2_block1_3_bn`."""
    if match.dialect.defaults.preactivation or not checkpoint.is_named:
        return []
    last: dict[str, tuple[str, str]] = {}
    for module, layer in match.modules.items():
        block, _, part = module.rpartition(".")
        if part.startswith("bn") and block.startswith("layer"):
            last[block] = max((part, layer), last.get(block, ("", "")))
    stems = {layer.removesuffix("_bn") for _, layer in last.values() if layer.endswith("_bn")}
    return [
        layer
        for layer in checkpoint.kinds
        if layer.rpartition("_")[0] in stems and "relu" in words(layer)
    ]


def _last_of_blocks(checkpoint: Checkpoint, match: Match) -> list[str]:
    """The layer with weights that each block lists last, block by block."""
    order = list(checkpoint.of_layer())
    last: dict[tuple[str, ...], str] = {}
    for module, layer in match.modules.items():
        block = tuple(module.split(".")[:2])
        if block[0].startswith("layer"):
            last[block] = max(layer, last.get(block, layer), key=order.index)
    return sorted(last.values(), key=order.index)


def of_head(checkpoint: Checkpoint, match: Match, architecture: Architecture) -> tuple[str, ...]:
    """The activations of a head that the file lists, where it does not tell their places: known
    by their class for a container that keeps no order, () for others."""
    if checkpoint.is_ordered:
        return ()
    nest = beside.base(checkpoint, match)
    if nest:
        return tuple(
            x for x in beside.outside(checkpoint, nest) if checkpoint.kinds[x] in ACTIVATIONS
        )
    return beside.beyond(checkpoint, ACTIVATIONS, beside.counts(architecture)[ACTIVATION])
