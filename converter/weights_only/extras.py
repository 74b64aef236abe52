"""Weights only: layers without weights that are not the network's own.

Padding, pools, sums and activations are part of every network (`places` holds them against it).
Where one stands in front of the network or behind it, or where a container that keeps no order has
more of them than the network, it is the project's own; how much it pads, or which function it is,
is written nowhere in such a file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from converter.files.auto_names import auto_name
from converter.weights_only import weightless
from converter.weights_only.expected import (
    ACTIVATION,
    AVERAGE,
    MAX,
    PAD,
    REGROUP,
    SUM,
    Code,
    keras_order,
)
from converter.weights_only.head_names import ACTIVATIONS, AUTO_NAMES, POOL
from converter.weights_only.listing import Listing
from converter.weights_only.places import Places
from converter.weights_only.weightless import FLAT, POOLED, UNTOLD
from resnet_pt.architecture import Architecture

PADS = frozenset(["zero_padding2d", "zeropadding2d"])
MAX_POOLS = frozenset(["max_pooling2d", "maxpooling2d"])
AVERAGES = frozenset(["average_pooling2d", "averagepooling2d"])
POOLS = MAX_POOLS | AVERAGES
SUMS = frozenset(["add", "merge"])
"""Classes in snake case, as Keras 2 and 3 number them, and as Keras 1 does."""


@dataclass(frozen=True, slots=True)
class Extras:
    """The layers around the network that are refused, since the file tells neither their place nor
    what they do; and those that are `taken` for something, with what that is, in words."""

    refused: tuple[str, ...] = ()
    taken: Mapping[str, str] = field(default_factory=dict)


def extras(listing: Listing, found: Places, architecture: Architecture) -> Extras:
    """The layers around the network in a file that change what is predicted."""
    is_ordered, nest = listing.checkpoint.is_ordered, listing.base
    if is_ordered and (nest or found.is_listed):
        behind = listing.behind if nest else found.behind
        head = _behind(listing, behind, architecture.features)
        return Extras((*_in_front(listing, 0 if nest else 1), *head.refused), head.taken)
    if is_ordered:
        return Extras()
    most = counts(architecture)
    if nest:
        kinds = PADS | MAX_POOLS | SUMS | (frozenset() if listing.match.head else ACTIVATIONS)
        functions = [one for one in listing.outside if listing.class_of(one) in ACTIVATIONS]
        refused = [one for one in listing.outside if listing.class_of(one) in kinds]
    else:
        functions = list(listing.beyond(ACTIVATIONS, most[ACTIVATION]))
        refused = [
            *listing.beyond(PADS, _most_pads(listing)),
            *listing.beyond(SUMS, most[SUM]),
        ]
    left_out = [layer for layer in functions if layer not in refused]
    return Extras(tuple(refused), dict.fromkeys(left_out, "what the head has, or does without"))


def counts(architecture: Architecture) -> Counter[str]:
    """How many layers of each kind Keras lists of a network."""
    return Counter(place.kind for place in keras_order(architecture, Code(False, "none")))


def _in_front(listing: Listing, own: int) -> list[str]:
    """The layers before the network that work on its picture, but the last padding, which is that
    of the network's `own` first convolution where it is listed; and, where a nested network is all
    that is listed of it, those that compute what no weights tell, but what people set there: a
    Lambda may hand out parts of a batch."""
    front = listing.front
    kinds = {layer: listing.kinds(layer) for layer in front}
    pads = [layer for layer in front if kinds[layer] == {PAD}]
    told = {frozenset([one]) for one in (MAX, AVERAGE, SUM, ACTIVATION, POOLED, FLAT, REGROUP)}
    others = [layer for layer in front if kinds[layer] in told]
    unknown = [
        layer
        for layer in front
        if not own and not kinds[layer] and auto_name(layer) not in weightless.PICTURE
    ]
    return [*others, *unknown, *pads[: max(0, len(pads) - own)]]


OUTPUT_WORDS = frozenset(
    [
        *("softmax", "probs", "prob", "probabilities", "predictions", "prediction", "pred"),
        *("out", "output", "outputs", "logits", "scores", "class", "classes"),
    ]
)
"""Words by which people call the activation behind their last Dense layer."""


def _behind(listing: Listing, behind: Sequence[str], features: int) -> Extras:
    """The layers behind the network: its last sum and its last activation are not among them."""
    weights, weighted = listing.checkpoint.of_layer(), listing.weighted
    kinds = {one: listing.kinds(one) for one in behind if one not in weighted}
    head = [weights[one] for one in listing.match.head]
    dense = [one["kernel"].shape[0] for one in head if "kernel" in one]
    known = {one for one in kinds if kinds[one] & ENDS_MAP and not _is_unknown(one, kinds[one])}
    flat = {one for one in known if kinds[one] == {FLAT}}
    made = _made_of_map(dense[0], features, bool(flat)) if dense and known == flat else ""
    places = [place for place, layer in enumerate(behind) if layer in weighted]
    end = places[-1] if places else -1
    refused: list[str] = []
    taken: dict[str, str] = {}
    on_map = True
    for place, layer in enumerate(behind):
        if layer in weighted:
            on_map = False
            continue
        kind, spoken = kinds[layer], weightless.words(layer)
        is_output = place > end and kind == UNTOLD and bool(spoken & OUTPUT_WORDS)
        is_other = kind == {ACTIVATION} and place < end and spoken & weightless.OTHER_FUNCTIONS
        if is_output and dense:
            taken[layer] = "the activation behind the logits"
        elif on_map and made and (kind == UNTOLD or (AVERAGE in kind and _is_unknown(layer, kind))):
            taken[layer], on_map = made, False
        elif _changes(layer, kind) or is_other or (on_map and kind == {ACTIVATION}):
            refused.append(layer)
        elif weightless.is_said_to_do_nothing(layer, kind):
            taken[layer] = "nothing at inference"
        elif kind == {ACTIVATION} and place < (places[0] if places else 0):
            taken[layer] = "a relu"
        on_map = on_map and (kind == UNTOLD or not kind & ENDS_MAP)
    return Extras(tuple(refused), taken)


ENDS_MAP = frozenset([MAX, AVERAGE, POOLED, FLAT])
"""Kinds behind which a head has a vector, or a smaller map."""


def _made_of_map(width: int, features: int, is_flat: bool) -> str:
    """What stands between a map and a Dense layer of that many inputs, where one layer does, or one
    and a Flatten that is listed."""
    if width == features:
        return "an average"
    return "a Flatten" if width % features == 0 and width > 2 * features and not is_flat else ""


def _is_unknown(layer: str, kinds: frozenset[str]) -> bool:
    """Whether a name says nothing, or that it is some pool, and not as Keras or code that is known
    says so."""
    named = layer in (POOL, "max_pool") or auto_name(layer) in AUTO_NAMES
    return kinds == UNTOLD or (POOLED in kinds and len(kinds) > 1 and not named)


def _changes(layer: str, kinds: frozenset[str]) -> bool:
    """Whether a layer of a head changes what is predicted in a way that no weights tell."""
    return _is_unknown(layer, kinds) or kinds <= {PAD, SUM, REGROUP}


def pools(listing: Listing, architecture: Architecture) -> tuple[list[str], Sequence[int]]:
    """(the averages that a container lists that keeps no order, how many there may be): those of
    the shortcuts, and one that may be the head's."""
    count = counts(architecture)[AVERAGE]
    return listing.of_classes(frozenset(["average_pooling2d"])), (count, count + 1)


def is_pool(layer: str) -> bool:
    """By name."""
    return "pool" in layer and "pad" not in layer


def _most_pads(listing: Listing) -> int:
    """The stem's, its pool's, and, where blocks pad in a layer, one for each wide convolution."""
    match, weights = listing.match, listing.checkpoint.of_layer()
    if match.dialect.defaults.padding != "pad":
        return 2
    wide = [
        layer
        for module, layer in match.modules.items()
        if module.startswith("layer") and "kernel" in weights[layer]
        if weights[layer]["kernel"].shape[0] > 1
    ]
    return 2 + len(wide)
