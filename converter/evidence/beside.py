"""Weights only: layers without weights that stand beside the network, not in it.

Padding, pools, sums and activations are part of every network, so a file that lists them tells
nothing by that. Where one stands outside of the network, or where there are more than the network
has, it is the project's own; how much it pads, or which function it is, is written nowhere in
such a file.
"""

from __future__ import annotations

from collections.abc import Sequence

from converter.auto_names import auto_name
from converter.checkpoint import Checkpoint
from converter.from_names import Match
from converter.head_names import ACTIVATIONS, AUTO_NAMES
from resnet_pt.architecture import Architecture

PADS = frozenset(["zero_padding2d", "zeropadding2d"])
MAX_POOLS = frozenset(["max_pooling2d", "maxpooling2d"])
AVERAGES = frozenset(["average_pooling2d", "averagepooling2d"])
POOLS = MAX_POOLS | AVERAGES
SUMS = frozenset(["add", "merge"])
"""Classes in snake case, as Keras 2 and 3 number them, and as Keras 1 does."""


def unreadable(checkpoint: Checkpoint, match: Match) -> tuple[str, ...]:
    """The layers beside the network whose place or whose settings the file does not tell, and
    that change what is predicted."""
    nest = base(checkpoint, match)
    if checkpoint.is_ordered:
        front, behind = _around(checkpoint, match)
        own = 0 if nest else 1
        return (*_in_front(checkpoint, front, own), *_on_the_map(checkpoint, behind, own))
    if nest:
        around = outside(checkpoint, nest)
        kinds = PADS | MAX_POOLS | SUMS | (frozenset() if match.head else ACTIVATIONS)
        return tuple(layer for layer in around if checkpoint.kinds[layer] in kinds)
    return (
        *beyond(checkpoint, PADS, _most_pads(checkpoint, match)),
        *beyond(checkpoint, SUMS, len(block_names(match))),
    )


def pools(
    checkpoint: Checkpoint, match: Match, architecture: Architecture
) -> tuple[tuple[str, ...], Sequence[int]]:
    """(the pools that a file lists among the network's own layers, how many there may be), with
    those of the shortcuts as the naming's code has them. A container that keeps no order is asked
    for averages, of which one more may be the head's."""
    blocks = [block for stage in architecture.stages for block in stage]
    shortcuts = [b.shortcut.pool for b in blocks if b.shortcut and b.shortcut.pool]
    if not checkpoint.is_ordered:
        count = sum(pool.mode == "avg" for pool in shortcuts)
        listed = [x for x, kind in checkpoint.kinds.items() if kind == "average_pooling2d"]
        return tuple(listed), (count, count + 1)
    weightless, listed = inside(checkpoint, match), pools_inside(checkpoint, match)
    count = len(shortcuts)
    own = (count + 1, count) if match.dialect.defaults.pool != "none" else (count,)
    return tuple(listed), own if weightless and not match.left_out else (len(listed),)


def pools_inside(checkpoint: Checkpoint, match: Match) -> list[str]:
    """The pools that are listed between the network's own layers."""
    listed = inside(checkpoint, match)
    return [x for x in listed if kind_of(checkpoint, x) in POOLS or is_pool(x)]


def inside(checkpoint: Checkpoint, match: Match) -> tuple[str, ...]:
    """The layers without weights that are listed between the network's own; a nested one's are
    not. Where the file keeps no order, those of its group."""
    if not checkpoint.is_ordered:
        around = set(outside(checkpoint, base(checkpoint, match)))
        return tuple(layer for layer in checkpoint.kinds if layer not in around)
    body = set(match.modules.values())
    places = [place for place, layer in enumerate(checkpoint.layers) if layer in body]
    listed = checkpoint.layers[places[0] : places[-1]] if places else ()
    weighted = {weight.group for weight in checkpoint.weights}
    return tuple(layer for layer in listed if layer not in weighted)


def is_pool(layer: str) -> bool:
    """By name; kecam calls an average in a shortcut `stack2_block1_shortcut_down`."""
    return ("pool" in layer or layer.endswith("_down")) and "pad" not in layer


def is_average(checkpoint: Checkpoint, layer: str) -> bool:
    """By class, or by name."""
    return kind_of(checkpoint, layer) in AVERAGES or "avg" in layer.lower().split("_")


def without_weights(checkpoint: Checkpoint, layers: Sequence[str]) -> list[str]:
    """The first of `layers`, up to one with weights or what a head begins with."""
    weighted = {weight.group for weight in checkpoint.weights}
    found: list[str] = []
    for layer in layers:
        if layer in weighted or kind_of(checkpoint, layer) in AUTO_NAMES or "pool" in layer:
            break
        found.append(layer)
    return found


def base(checkpoint: Checkpoint, match: Match) -> str:
    """The group that holds the network, where that is a layer of another model; else ''."""
    stem = match.modules[match.dialect.stem]
    weight = next(one for one in checkpoint.weights if one.layer == stem)
    if checkpoint.is_ordered:
        return weight.group if weight.group != stem else ""
    *groups, _layer, _vars, _number = weight.path.split("/")
    return "/".join(groups)


def kind_of(checkpoint: Checkpoint, layer: str) -> str:
    """The class of a layer without weights, in snake case, or what its name is without a number."""
    return checkpoint.kinds.get(layer, auto_name(layer))


def is_pad(checkpoint: Checkpoint, layer: str) -> bool:
    """Whoever names a ZeroPadding2D calls it padding."""
    return kind_of(checkpoint, layer) in PADS or "pad" in layer.lower()


def outside(checkpoint: Checkpoint, nest: str) -> list[str]:
    """The weightless layers of the models around `nest`."""
    return [
        layer for layer, home in checkpoint.homes.items() if not f"{home}/".startswith(f"{nest}/")
    ]


def beyond(checkpoint: Checkpoint, kinds: frozenset[str], most: int) -> tuple[str, ...]:
    """Those of a class that a network has `most` times, where there are more: the ones that Keras
    named, if the network's have names of their own, else the last ones."""
    found = [layer for layer, kind in checkpoint.kinds.items() if kind in kinds]
    unnamed = [layer for layer in found if auto_name(layer) in kinds]
    extra = len(found) - most
    if extra <= 0:
        return ()
    return tuple(unnamed if len(unnamed) == extra else found[-extra:])


def block_names(match: Match) -> set[tuple[str, ...]]:
    """`{("layer1", "0"), …}`."""
    return {tuple(m.split(".")[:2]) for m in match.modules if m.startswith("layer")}


def _most_pads(checkpoint: Checkpoint, match: Match) -> int:
    """The stem's, its pool's, and, where blocks pad in a layer, one for each wide convolution."""
    if match.dialect.defaults.padding != "pad":
        return 2
    weights = checkpoint.of_layer()
    wide = [
        layer
        for module, layer in match.modules.items()
        if module.startswith("layer") and "kernel" in weights[layer]
        if weights[layer]["kernel"].shape[0] > 1
    ]
    return 2 + len(wide)


def _around(checkpoint: Checkpoint, match: Match) -> tuple[Sequence[str], Sequence[str]]:
    """The layers before and behind those of the network, in the file's order."""
    body = set(match.modules.values())
    groups = {one.group for one in checkpoint.weights if one.layer in body}
    places = [place for place, layer in enumerate(checkpoint.layers) if layer in groups]
    return checkpoint.layers[: places[0]], checkpoint.layers[places[-1] + 1 :]


def in_front(checkpoint: Checkpoint, match: Match) -> tuple[str, ...]:
    """The layers listed before the network, nested or not; () where a file keeps no order."""
    return tuple(_around(checkpoint, match)[0]) if checkpoint.is_ordered else ()


def _in_front(checkpoint: Checkpoint, front: Sequence[str], own: int) -> list[str]:
    """The layers before the network that work on its picture, but the last padding, which is that
    of the network's `own` first convolution where it is listed."""
    pads = [layer for layer in front if is_pad(checkpoint, layer)]
    kinds = POOLS | SUMS | ACTIVATIONS
    others = [x for x in front if x not in pads and kind_of(checkpoint, x) in kinds]
    return [*others, *pads[: max(0, len(pads) - own)]]


def _on_the_map(checkpoint: Checkpoint, behind: Sequence[str], own: int) -> list[str]:
    """The layers that work on the map of the last block, before the pool or whatever comes first
    in the head, but the sum and the activation that are that block's `own`, where it is listed; and
    the sums of the head, which no chain of layers has."""
    on_map = without_weights(checkpoint, behind)
    pads = [layer for layer in behind if is_pad(checkpoint, layer)]
    sums = [layer for layer in on_map if kind_of(checkpoint, layer) in SUMS]
    in_head = [layer for layer in behind[len(on_map) :] if kind_of(checkpoint, layer) in SUMS]
    functions = [layer for layer in on_map if kind_of(checkpoint, layer) in ACTIVATIONS]
    return [*pads, *sums[own:], *functions[own:], *in_head]
