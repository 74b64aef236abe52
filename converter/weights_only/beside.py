"""Weights only: layers without weights that stand beside the network, not in it.

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
from converter.files.checkpoint import Checkpoint
from converter.weights_only import weightless
from converter.weights_only.head_names import ACTIVATIONS, AUTO_NAMES, POOL
from converter.weights_only.listing import (
    ACTIVATION,
    AVERAGE,
    MAX,
    PAD,
    REGROUP,
    SUM,
    Code,
    listing,
)
from converter.weights_only.match import Match
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
class Beside:
    """The layers beside the network that are refused, since the file tells neither their place nor
    what they do; and those that are `taken` for something, with what that is, in words."""

    refused: tuple[str, ...] = ()
    taken: Mapping[str, str] = field(default_factory=dict)


def beside(
    checkpoint: Checkpoint, match: Match, found: Places, architecture: Architecture
) -> Beside:
    """What stands beside the network in a file: all that changes what is predicted."""
    nest = base(checkpoint, match)
    if checkpoint.is_ordered and (nest or found.is_listed):
        own = 0 if nest else 1
        front, behind = _around(checkpoint, match)
        behind = behind if nest else found.behind
        head = _behind(checkpoint, match, behind, architecture.features)
        return Beside((*_in_front(checkpoint, match, front, own), *head.refused), head.taken)
    if checkpoint.is_ordered:
        return Beside()
    most = counts(architecture)
    if nest:
        around = outside(checkpoint, nest)
        kinds = PADS | MAX_POOLS | SUMS | (frozenset() if match.head else ACTIVATIONS)
        functions = [layer for layer in around if checkpoint.kinds[layer] in ACTIVATIONS]
        refused = [layer for layer in around if checkpoint.kinds[layer] in kinds]
    else:
        functions = list(beyond(checkpoint, ACTIVATIONS, most[ACTIVATION]))
        refused = [
            *beyond(checkpoint, PADS, _most_pads(checkpoint, match)),
            *beyond(checkpoint, SUMS, most[SUM]),
        ]
    left_out = [layer for layer in functions if layer not in refused]
    return Beside(tuple(refused), dict.fromkeys(left_out, "what the head has, or does without"))


def counts(architecture: Architecture) -> Counter[str]:
    """How many layers of each kind Keras lists of a network."""
    return Counter(place.kind for place in listing(architecture, Code(False, "none")))


def _in_front(checkpoint: Checkpoint, match: Match, front: Sequence[str], own: int) -> list[str]:
    """The layers before the network that work on its picture, but the last padding, which is that
    of the network's `own` first convolution where it is listed; and, where a nested network is all
    that is listed of it, those that compute what no weights tell, but what people set there: a
    Lambda may hand out parts of a batch."""
    kinds = {layer: weightless.kinds(checkpoint, match.dialect, layer) for layer in front}
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


def _behind(checkpoint: Checkpoint, match: Match, behind: Sequence[str], features: int) -> Beside:
    """What is behind the network: its last sum and its last activation are not among it."""
    weights = checkpoint.of_layer()
    weighted = {weight.group for weight in checkpoint.weights}
    kinds = {
        one: weightless.kinds(checkpoint, match.dialect, one)
        for one in behind
        if one not in weighted
    }
    dense = [weights[one]["kernel"].shape[0] for one in match.head if "kernel" in weights[one]]
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
    return Beside(tuple(refused), taken)


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


def pools(
    checkpoint: Checkpoint, architecture: Architecture
) -> tuple[tuple[str, ...], Sequence[int]]:
    """(the averages that a container lists that keeps no order, how many there may be): those of
    the shortcuts, and one that may be the head's."""
    listed = [x for x, kind in checkpoint.kinds.items() if kind == "average_pooling2d"]
    count = counts(architecture)[AVERAGE]
    return tuple(listed), (count, count + 1)


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
    """By name."""
    return "pool" in layer and "pad" not in layer


def is_average(checkpoint: Checkpoint, layer: str) -> bool:
    """By class, or by name."""
    return kind_of(checkpoint, layer) in AVERAGES or "avg" in layer.lower().split("_")


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
