"""Weights only: what the listed layers say of the function between the blocks."""

from __future__ import annotations

from collections.abc import Sequence

from converter.errors import MismatchError
from converter.facts.fact import Evidence, Fact
from converter.files.auto_names import auto_name
from converter.weights_only import extras
from converter.weights_only.expected import ACTIVATION, SUM
from converter.weights_only.head_names import ACTIVATIONS
from converter.weights_only.listing import Listing
from converter.weights_only.places import Places
from converter.weights_only.weightless import OTHER_FUNCTIONS
from resnet_pt.architecture import Architecture

UNCLEAR = "?"


def function_words(layer: str) -> set[str]:
    """`Conv1_ReLU2` → conv1, relu; `re_lu_3` names a class, whose bound and slope are not told, and
    `relu6` may be the sixth relu or one that is bounded."""
    if auto_name(layer) in ACTIVATIONS:
        return {UNCLEAR}
    parts = layer.lower().split("_")
    return {UNCLEAR if one == "relu6" else one.rstrip("0123456789") for one in parts}


def activation_fact(listing: Listing, found: Places) -> Fact:
    """`conv1_relu` says which function it is, `activation_4` does not. Where the file keeps no
    order, another function beside those may be the head's.

    Raises MismatchError for a file whose names say another one.
    """
    checkpoint, ran = listing.checkpoint, listing.match.dialect.ran
    inside = _between_blocks(listing, found)
    others = [layer for layer in inside if OTHER_FUNCTIONS & function_words(layer)]
    named = [layer for layer in inside if "relu" in function_words(layer)]
    untold = [layer for layer in inside if UNCLEAR in function_words(layer)]
    may_be_of_head = not checkpoint.is_ordered and bool(named or untold)
    if others and not may_be_of_head:
        raise MismatchError(
            f"{checkpoint.path} lists layers of another function than relu between its blocks",
            [f"{layer!r}" for layer in others],
            [checkpoint.advice],
        )
    if found.is_listed and inside and len(named) == len(inside) and not untold:
        return Fact("activation", "relu", Evidence.LAYER_NAMES, f"the file lists {named[0]!r}")
    reason = f"weights do not record it: {ran(checkpoint.version())}"
    if named and not checkpoint.is_ordered:
        reason = f"the file lists {named[0]!r}, and this container keeps no order: {reason}"
    elif named:
        reason = f"the file lists {named[0]!r}, and others whose names do not say it: {reason}"
    return Fact("activation", "relu", Evidence.DEFAULT, reason)


def _between_blocks(listing: Listing, found: Places) -> Sequence[str]:
    """The activations that stand in the network's places for one; where those are not known, all
    layers without weights among its own."""
    if found.is_listed:
        return [layer for layer, place in found.taken.items() if place.kind == ACTIVATION]
    return listing.inside


def check_counts(listing: Listing, architecture: Architecture) -> None:
    """Raise MismatchError for a container that keeps no order, and lists fewer activations than the
    network has, some sums and not all, or an activation that is called as one of another place."""
    checkpoint, functions, most = (
        listing.checkpoint,
        _functions(listing),
        extras.counts(architecture),
    )
    sums = listing.of_classes(extras.SUMS)
    elsewhere = _before_sums(listing)
    if elsewhere:
        raise MismatchError(
            f"{checkpoint.path} lists activations in front of a block's sum",
            [f"{one!r}" for one in elsewhere],
            [checkpoint.advice],
        )
    if 0 < len(functions) < most[ACTIVATION] or 0 < len(sums) < most[SUM]:
        last = listing.match.modules.get("norm") or _last_of_blocks(listing)[-1]
        raise MismatchError(
            f"{checkpoint.path} lists fewer sums and activations than its network has: some have "
            f"none, or the model was cut behind {last!r}",
            hints=[checkpoint.advice],
        )


def _functions(listing: Listing) -> list[str]:
    """The activations of the network, and of a head that is listed with it."""
    outside = listing.outside if listing.base else ()
    return [one for one in listing.of_classes(ACTIVATIONS) if one not in outside]


def _before_sums(listing: Listing) -> list[str]:
    """Those that are called like a block's last norm, whose activation is that of the sum, and not
    called so by any code that is known: `conv2_block1_3_relu` beside `conv2_block1_3_bn`."""
    checkpoint, match = listing.checkpoint, listing.match
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
        if layer.rpartition("_")[0] in stems and "relu" in function_words(layer)
    ]


def _last_of_blocks(listing: Listing) -> list[str]:
    """The layer with weights that each block lists last, block by block."""
    order = list(listing.checkpoint.of_layer())
    last: dict[tuple[str, ...], str] = {}
    for module, layer in listing.match.modules.items():
        block = tuple(module.split(".")[:2])
        if block[0].startswith("layer"):
            last[block] = max(layer, last.get(block, layer), key=order.index)
    return sorted(last.values(), key=order.index)


def of_head(listing: Listing, architecture: Architecture) -> tuple[str, ...]:
    """The activations of a head that the file lists, where it does not tell their places: known
    by their class for a container that keeps no order, () for others."""
    if listing.checkpoint.is_ordered:
        return ()
    if listing.base:
        return tuple(one for one in listing.outside if listing.class_of(one) in ACTIVATIONS)
    return listing.beyond(ACTIVATIONS, extras.counts(architecture)[ACTIVATION])
