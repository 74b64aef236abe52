"""The head of a weights-only file: what follows the last block, by the names Keras gives.

Weights tell a Dense layer or a norm; pools, Flatten and Dropout have no weights, but Keras names
them after their class and lists them. An activation leaves no trace in a weights-only file.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from converter.errors import MismatchError
from converter.files.auto_names import auto_name
from converter.files.checkpoint import GIVE_IT, Checkpoint
from converter.files.shapes import Shapes
from converter.weights_only.dialect import MAX_STAGES
from resnet_pt.architecture import HeadKind, HeadLayer, Norm, Output, Pool

if TYPE_CHECKING:
    from converter.weights_only.match import Match

AUTO_NAMES: Mapping[str, HeadKind] = {
    "global_average_pooling2d": "global_avg_pool",
    "globalaveragepooling2d": "global_avg_pool",  # Keras 1
    "global_avg_pooling": "global_avg_pool",  # ImageAI
    "pooler": "global_avg_pool",  # keras-hub
    "pool1": "global_avg_pool",  # image-classifiers; the stem's of another network is no head's
    "pool5": "global_avg_pool",  # keras-resnet
    "global_max_pooling2d": "global_max_pool",
    "globalmaxpooling2d": "global_max_pool",
    "average_pooling2d": "avg_pool",
    "averagepooling2d": "avg_pool",
    "max_pooling2d": "max_pool",
    "maxpooling2d": "max_pool",
    "flatten": "flatten_hwc",
    "dropout": "dropout",
}
"""The names that Keras makes up for weightless layers, without the number behind them."""

ACTIVATIONS = frozenset(["activation", "re_lu", "relu", "softmax"])
"""The same, of layers that compute an activation alone."""

BRANCHES = (
    "a head with branches is not read from weights; from the whole model it is, if they are "
    "vectors that end side by side (Concatenate), or outputs of their own"
)
HEAD_EPS = 1e-3
HEAD_MOMENTUM = 0.01
"""Keras' defaults for a BatchNormalization, in every version since 1.2."""

Kinds = Mapping[str, HeadKind | None]
"""What the head's layers are by name or class, in order; None for what has weights, or is none of
the layers in `AUTO_NAMES`."""

HeadAndOutputs = tuple[tuple[HeadLayer, ...], tuple[Output, ...]]


def _kind(checkpoint: Checkpoint, layer: str) -> HeadKind | None:
    """By its class, where the container tells it; else by the name that Keras gives."""
    return AUTO_NAMES.get(checkpoint.kinds.get(layer, auto_name(layer)))


def flatten_kind(shapes: Shapes) -> HeadKind:
    """The order in which a Flatten wrote a map; Theano-ordered kernels tell channels first."""
    return "flatten_chw" if shapes.channels_first else "flatten_hwc"


def head_from_names(
    checkpoint: Checkpoint, match: Match, shapes: Shapes, features: int
) -> HeadAndOutputs:
    """The head's layers in the file's order, each reading the one before it.

    A hidden Dense layer is taken to have a relu behind it (nothing in the file says so), at the
    place of the activation that is listed, if one is. The last one is what the logits are; a
    softmax behind a single one would always be 1. Raises MismatchError for widths that do not
    follow each other.
    """
    chain: list[HeadLayer] = []
    if not checkpoint.is_ordered:
        match = replace(match, head=_in_turn(checkpoint, match, shapes, features))
    trailing = _trailing(checkpoint, match, shapes, features)
    kinds = {layer: _kind(checkpoint, layer) for layer in trailing}
    if is_old(checkpoint, match) and hides_head(checkpoint, match):
        kinds = {**kinds, IMPLIED_FLATTEN: "flatten_hwc"}
    kept = _kept_pool(checkpoint, match)
    if not match.head:
        return _headless(match, kinds, shapes, features, kept)
    if is_nested(checkpoint, match):  # what follows is the project's own, or `pooling='avg'`
        defaults = replace(match.dialect.defaults, ending="global")
        match = replace(match, dialect=replace(match.dialect, defaults=defaults))
        chain += kept
    width, spatial = features, True
    listed = _listed_activations(trailing, match, shapes, kinds)
    for layer in trailing:
        found = _layer(layer, match, shapes, kinds, features)
        if found is None and layer in listed.values():
            found = HeadLayer(layer, "activation", activation="relu")
        if found is None:
            continue
        if found.kind.startswith("global") and not spatial and "dense" in {x.kind for x in chain}:
            raise MismatchError(
                f"{layer!r} pools a map and is listed behind a Dense layer, which would have to "
                "read one",
                hints=[checkpoint.advice],
            )
        if found.kind == "dense" and spatial:
            chain = _made_flat(match, chain, features, found, shapes)
        if found.kind == "dense" or found.kind.startswith(("global", "flatten")):
            spatial = False
        width = _checked_width(found, width, features, chain)
        chain.append(found)
        if found.kind == "dense" and _is_hidden(layer, match, shapes) and layer not in listed:
            chain.append(HeadLayer(f"{layer}_activation", "activation", activation="relu"))
    linked = _linked(chain)
    last = linked[-1]
    own = auto_name(last.name) == "dense"  # the project's own, as Keras names it
    activation = "softmax" if own else match.dialect.defaults.output
    activation = "sigmoid" if last.out_features == 1 else activation
    return linked, (Output(last.name, last.name, activation),)


def _listed_activations(
    trailing: Sequence[str], match: Match, shapes: Shapes, kinds: Kinds
) -> Mapping[str, str]:
    """`{hidden Dense layer: the first activation that is listed before the next Dense layer}`,
    and the same of the layers that a head begins with before its first Dense layer."""
    found: dict[str, str] = {}
    before, begins = "", any(shapes.has(layer, "kernel") for layer in match.head)
    for layer in trailing:
        if shapes.has(layer, "kernel"):
            before = layer if layer in match.head and _is_hidden(layer, match, shapes) else ""
            begins = False
        elif before and (auto_name(layer) in ACTIVATIONS or shapes.slopes(layer)):
            found.setdefault(before, layer)
        elif begins and (kinds[layer] or layer in match.head or "pool" in layer):
            before = layer
    return found


def _is_hidden(layer: str, match: Match, shapes: Shapes) -> bool:
    later = match.head[match.head.index(layer) + 1 :]
    return any(shapes.has(one, "kernel") for one in later)


def _trailing(checkpoint: Checkpoint, match: Match, shapes: Shapes, features: int) -> Sequence[str]:
    """The layers behind the last one of the network's body, nested models opened up in their
    place: what of a head is nested together with the body comes first."""
    if not checkpoint.is_ordered:
        return _arranged(checkpoint, match, shapes, features)
    groups = {weight.layer: weight.group for weight in checkpoint.weights}
    body = {groups[layer] for layer in match.modules.values()} | {
        groups[layer] for layer in match.left_out
    }
    last = max(checkpoint.layers.index(group) for group in body)
    held: dict[str, list[str]] = {}
    for layer in match.head:
        held.setdefault(groups[layer], []).append(layer)
    later = held.get(checkpoint.layers[last], [])
    for group in checkpoint.layers[last + 1 :]:
        later += held.get(group, [group])
    missing = [layer for layer in match.head if layer not in later]
    return [*later, *missing]


def _arranged(checkpoint: Checkpoint, match: Match, shapes: Shapes, features: int) -> Sequence[str]:
    """The head's layers where the container keeps order within a class only: pools, Flatten, then
    the Dense layers, each norm behind the one layer that has its width, Dropout before the last.
    """
    sloped = [layer for layer in match.head if shapes.slopes(layer)]
    if sloped:
        raise MismatchError(
            f"where {sloped[0]!r} stands is not in the file: this container does not keep the "
            "order of layers",
            hints=[checkpoint.advice],
        )
    kinds = {layer: _kind(checkpoint, layer) for layer in checkpoint.layers}
    pools = [
        layer
        for layer, kind in kinds.items()
        if layer == "avg_pool" or (kind and kind.startswith(("global", "avg")))
    ]
    if match.dialect.defaults.shortcut_pool:  # those are its shortcuts'
        pools = [layer for layer in pools if kinds[layer] != "avg_pool"]
    if not match.dialect.defaults.preactivation:  # the first one is the stem's
        pools += [layer for layer, kind in kinds.items() if kind == "max_pool"][1:]
    flat = [layer for layer, kind in kinds.items() if kind == "flatten_hwc"]
    dropouts = [layer for layer, kind in kinds.items() if kind == "dropout"]
    dense = [layer for layer in match.head if shapes.has(layer, "kernel")]
    widths = {"": features} | {layer: shapes.dense(layer)[1] for layer in dense}
    behind: dict[str, list[str]] = {layer: [] for layer in widths}
    picture = shapes.kernel(match.modules[match.dialect.stem])[2]
    for norm in (layer for layer in match.head if shapes.has(layer, "moving_mean")):
        width = shapes.vector(norm)
        fitting = [layer for layer, channels in widths.items() if channels == width]
        if len(fitting) != 1 or width == picture:
            places = [f"behind {layer or 'the last block'}" for layer in fitting]
            places += ["in front of the network"] if width == picture else []
            raise MismatchError(
                f"norm {norm!r} has {width} channels and may stand "
                f"{' or '.join(places) or 'nowhere in the head'}: this container does not keep "
                "the order of layers",
                hints=[checkpoint.advice],
            )
        behind[fitting[0]].append(norm)
    chain = [*pools, *flat, *behind[""]]
    for number, layer in enumerate(dense, start=1):
        chain += [*(dropouts if number == len(dense) else ()), layer, *behind[layer]]
    return chain


def _in_turn(
    checkpoint: Checkpoint, match: Match, shapes: Shapes, features: int
) -> tuple[str, ...]:
    """The head's layers with weights, its Dense layers in the order in which they run. Those of
    one model are listed in it; where some are nested beside others, each reads as many numbers as
    the one before it gives."""
    dense = [layer for layer in match.head if shapes.has(layer, "kernel")]
    homes = {weight.layer: weight.path.split("/")[:-3] for weight in checkpoint.weights}
    if len({tuple(homes[layer]) for layer in dense}) < 2 or len(dense) > MAX_ORDERED:
        return match.head
    sizes = {layer: shapes.dense(layer) for layer in dense}
    pairs = itertools.combinations(dense, 2)
    listed = [(one, other) for one, other in pairs if homes[one] == homes[other]]
    fitting = [
        order
        for order in itertools.permutations(dense)
        if all(order.index(one) < order.index(other) for one, other in listed)
        if not sizes[order[0]][0] % features
        if all(sizes[one][1] == sizes[after][0] for one, after in itertools.pairwise(order))
    ]
    if len(fitting) != 1:
        raise MismatchError(
            f"the order of the Dense layers {', '.join(map(repr, dense))} is not in the file: they "
            "are of several models, which this container does not order, and their widths "
            f"{'fit in several' if fitting else 'follow each other in none'}",
            hints=[checkpoint.advice],
        )
    return (*fitting[0], *(layer for layer in match.head if layer not in dense))


MAX_ORDERED = 7
"""Heads of more Dense layers than that are read in the file's order."""


def _layer(
    layer: str, match: Match, shapes: Shapes, kinds: Kinds, features: int
) -> HeadLayer | None:
    if shapes.has(layer, "moving_mean"):
        norm = Norm(
            shapes.vector(layer),
            HEAD_EPS,
            HEAD_MOMENTUM,
            gamma=shapes.has(layer, "gamma"),
            beta=shapes.has(layer, "beta"),
        )
        return HeadLayer(layer, "norm", norm=norm)
    if shapes.has(layer, "kernel"):
        inputs, outputs = shapes.dense(layer)
        return HeadLayer(layer, "dense", "", inputs, outputs, shapes.has(layer, "bias"))
    slopes = shapes.slopes(layer)
    if slopes is not None:
        return HeadLayer(layer, "prelu", "", slopes)
    kind = kinds[layer]
    if kind in ("avg_pool", "max_pool"):
        return _window_pool(layer, kind, match, shapes, features)
    if kind is None and layer == POOL:
        kind = "avg_pool" if _has_window(match, shapes, kinds, features) else "global_avg_pool"
    if kind is None and layer == "max_pool":
        kind = "global_max_pool"
    if kind is None:
        return None
    if kind == "flatten_hwc":
        kind = flatten_kind(shapes)
    pool = _window(match.dialect.defaults.ending_window) if kind == "avg_pool" else None
    return HeadLayer(layer, kind, pool=pool, rate=0.5 if kind == "dropout" else 0.0)


def _has_window(match: Match, shapes: Shapes, kinds: Kinds, features: int) -> bool:
    """Whether a pool of the name `avg_pool` has a window, and does not average the whole map: in
    front of a Flatten or a global pool, or where nothing follows it in Keras' own old code. The
    tutorials' pool, in front of their own top, is as large as the map of their own pictures."""
    following = [kind for kind in kinds.values() if kind]
    if any(kind.startswith("global") for kind in following):
        return True
    if IMPLIED_FLATTEN in kinds:
        return True
    if "flatten_hwc" in following:
        return not _is_tutorials(match, shapes, features)
    return match.dialect.defaults.ending == "avg_pool" and not match.head


def _is_tutorials(match: Match, shapes: Shapes, features: int) -> bool:
    """Whether the head is `fc6` for 6 classes, as deeplearning.ai's course names it, and reads one
    number for each channel; Keras' own code says `fc1000` for any number of classes."""
    tops = {layer: shapes.dense(layer) for layer in match.head if shapes.has(layer, "kernel")}
    return any(
        layer == f"fc{classes}" != OWN_TOP and inputs == features
        for layer, (inputs, classes) in tops.items()
    )


OWN_TOP = "fc1000"


def _window_pool(
    layer: str, kind: HeadKind, match: Match, shapes: Shapes, features: int
) -> HeadLayer:
    """A pool that Keras named. Its window is not in the file: where the next Dense layer reads one
    number for each channel, it is as large as the map; else Keras' default, 2x2."""
    dense = [shapes.dense(one)[0] for one in match.head if shapes.has(one, "kernel")]
    mode: Literal["avg", "max"] = "avg" if kind == "avg_pool" else "max"
    if dense and dense[0] != features:
        return HeadLayer(layer, kind, pool=_window(2, mode))
    if match.dialect.defaults.ending == "avg_pool" and mode == "avg":
        return HeadLayer(layer, kind, pool=_window(match.dialect.defaults.ending_window))
    return HeadLayer(layer, "global_avg_pool" if mode == "avg" else "global_max_pool")


def _window(size: int, mode: Literal["avg", "max"] = "avg") -> Pool:
    return Pool((size, size), (size, size), 0, mode=mode)


def _made_flat(
    match: Match, chain: Sequence[HeadLayer], features: int, dense: HeadLayer, shapes: Shapes
) -> list[HeadLayer]:
    """The layers before a Dense layer, which needs a vector: with a pool or Flatten, where none is
    listed, that its width asks for. A nested base lists no pool, and has it before the head."""
    if any(one.kind.startswith(("global", "flatten")) for one in chain):
        return list(chain)
    has_window = any(one.kind in ("avg_pool", "max_pool") for one in chain)
    if dense.in_features == 2 * features and not has_window:
        raise MismatchError(
            f"Dense layer {dense.name!r} reads two numbers for each of {features} channels, and "
            "the file lists no layer that makes them: an average and a maximum, joined in one "
            "order or the other, or a Flatten of a map of two pixels",
            hints=[f"convert the whole model (model.save), or {GIVE_IT}"],
        )
    if dense.in_features != features or has_window:
        return [*chain, HeadLayer(IMPLIED_FLATTEN, flatten_kind(shapes))]
    if match.dialect.defaults.ending == "avg_pool" and not chain:
        return [
            HeadLayer(IMPLIED_POOL, "avg_pool", pool=_window(match.dialect.defaults.ending_window)),
            HeadLayer("flatten", flatten_kind(shapes)),
        ]
    return [HeadLayer(IMPLIED_POOL, "global_avg_pool"), *chain]


POOL = "avg_pool"
"""The name that most code gives the pool behind the last block."""

IMPLIED_POOL = POOL
"""The name of a pool that no layer of the file is named after."""

MODELS = frozenset(["sequential", "model", "functional"])
"""The names that Keras makes up for models, without the number behind them."""


IMPLIED_FLATTEN = "flattened"
"""The same of a Flatten that is not listed, before a Dense layer of more inputs than channels."""


def doubts(checkpoint: Checkpoint, match: Match, head: Sequence[HeadLayer]) -> tuple[str, ...]:
    """What a head rests on that nothing in a weights-only file says, in words."""
    found = []
    found += [
        f"what is nested beside {layer!r} and has no weights is not in the file"
        for layer in _nested(checkpoint, head)[:1]
    ]
    if any(layer.kind == "norm" for layer in head):
        found.append(f"the epsilon of the head's norms is not in the file: {HEAD_EPS:g} is assumed")
    hidden = hides_head(checkpoint, match)
    if hidden and is_old(checkpoint, match):
        found.append(
            f"ResNet50 before Keras 2.2 has a 7x7 average of the name {POOL!r}, and a Flatten "
            "behind it, within the model that follows, is assumed"
        )
    elif hidden:
        found.append(f"the window of {POOL!r} is not in the file: the whole map is assumed")
    elif _is_of_other_code(checkpoint, match, head):
        size = {layer.name: layer.pool.kernel if layer.pool else () for layer in head}[POOL]
        window = "x".join(map(str, size)) or "the whole map"
        found.append(f"the window of {POOL!r} is not in the file: {window} is assumed")
    elif any(layer.name == IMPLIED_FLATTEN for layer in head):
        found.append(
            "the file lists no Flatten and no joined pools before a Dense layer that reads more "
            "than one number for each channel: a Flatten is assumed"
        )
    is_implied = any(layer.name == IMPLIED_POOL for layer in head)
    if keeps_pool(checkpoint, match):
        found.append("ResNet50 before Keras 2.2 ends in a 7x7 average, with or without a top")
    elif is_implied and IMPLIED_POOL not in checkpoint.layers:
        found.append("the file lists no pool: an average is assumed")
    if is_nested(checkpoint, match) and not checkpoint.version_tells_code:
        found.append(
            "TensorFlow 1.10's ResNet50 ends in a 7x7 average, with or without a top, and that of "
            "1.11 does not: none is assumed"
        )
    if match.dialect.defaults.without_top and not match.head:
        found.append(match.dialect.defaults.without_top)
    for layer in head:
        if _kind(checkpoint, layer.name) in ("avg_pool", "max_pool"):
            size = layer.pool.kernel if layer.pool else ()
            window = "x".join(map(str, size)) or "the whole map"
            found.append(f"the window of {layer.name!r} is not in the file: {window} is assumed")
    return tuple(found)


def _is_of_other_code(checkpoint: Checkpoint, match: Match, head: Sequence[HeadLayer]) -> bool:
    """Whether a pool of that name is listed in front of a Flatten, and not of Keras' own top, which
    has had none since keras-applications 1.0.6."""
    names = {layer.name for layer in head}
    is_flat = any(layer.kind.startswith("flatten") for layer in head)
    is_new = (checkpoint.version() or (1,)) >= (2, 2, 3) and match.dialect.name == "res-branch"
    own = OWN_TOP in names and not is_new
    return POOL in names and POOL in checkpoint.layers and is_flat and not own


def _nested(checkpoint: Checkpoint, head: Sequence[HeadLayer]) -> list[str]:
    """The layers of a head that are those of a model in the file's list, which hides the others."""
    groups = {one.layer: one.group for one in checkpoint.weights if checkpoint.is_ordered}
    return [one.name for one in head if groups.get(one.name, one.name) != one.name]


def _checked_width(layer: HeadLayer, width: int, features: int, chain: Sequence[HeadLayer]) -> int:
    if layer.kind == "dense":
        flat = any(one.kind.startswith("flatten") for one in chain)
        first = not any(one.kind == "dense" for one in chain)
        fits = layer.in_features == width or (flat and first and not layer.in_features % features)
        if not fits:
            raise MismatchError(
                f"Dense layer {layer.name!r} reads {layer.in_features} numbers, but the layer "
                f"before it gives {width}",
                hints=[BRANCHES],
            )
        return layer.out_features
    return width


def _linked(chain: Sequence[HeadLayer]) -> tuple[HeadLayer, ...]:
    sources = ["", *(layer.name for layer in chain)]
    return tuple(replace(one, source=source) for one, source in zip(chain, sources, strict=False))


def keeps_pool(checkpoint: Checkpoint, match: Match) -> bool:
    """Whether a nested base ends in a pool that nothing lists: Keras' own ResNet50 kept its
    AveragePooling2D even without a top until Keras 2.2, which takes keras-applications'. One that
    was cut before its last stage has none."""
    is_cut = not any(module.startswith(f"layer{MAX_STAGES}.") for module in match.modules)
    return is_old(checkpoint, match) and is_nested(checkpoint, match) and not is_cut


def is_old(checkpoint: Checkpoint, match: Match) -> bool:
    """Whether the code is Keras' own ResNet50 of a Keras before 2.2."""
    before = (checkpoint.version() or (1,)) < (2, 2) and checkpoint.version_tells_code
    return before and match.dialect.name == "res-branch"


def hides_head(checkpoint: Checkpoint, match: Match) -> bool:
    """Whether a pool is listed, and the first Dense layer behind it is in a model of its own, in
    front of which that may flatten without a word. One of a single layer has the model's name."""
    if POOL not in checkpoint.layers or not checkpoint.is_ordered:
        return False
    weights = checkpoint.of_layer()
    dense = [weights[layer]["kernel"] for layer in match.head if "kernel" in weights[layer]]
    return any(one.group != one.layer or auto_name(one.layer) in MODELS for one in dense[:1])


def is_nested(checkpoint: Checkpoint, match: Match) -> bool:
    """Whether Keras' own ResNet50 is one layer of the model: the file lists none of its layers."""
    is_listed = match.modules[match.dialect.stem] in checkpoint.layers
    return match.dialect.name == "res-branch" and checkpoint.is_ordered and not is_listed


def _kept_pool(checkpoint: Checkpoint, match: Match) -> list[HeadLayer]:
    if not keeps_pool(checkpoint, match):
        return []
    return [HeadLayer(IMPLIED_POOL, "avg_pool", pool=_window(match.dialect.defaults.ending_window))]


def _headless(
    match: Match, kinds: Kinds, shapes: Shapes, features: int, kept: Sequence[HeadLayer]
) -> HeadAndOutputs:
    """What a network without a top returns: its map, or what the pools and the Flatten make of it
    that the names still list."""
    listed = [_layer(layer, match, shapes, kinds, features) for layer in kinds]
    chain = [one for one in listed if one and one.kind.startswith(("flatten", *POOLING))]
    if not chain or (kept and chain[0].name != kept[0].name):
        chain = [*kept, *chain]
    if not chain:
        return (), (Output("features", ""),)
    return _linked(chain), (Output(chain[-1].name, chain[-1].name),)


POOLING = ("global", "avg_pool", "max_pool")
