"""The head of a weights-only file: what follows the last block, by the names Keras gives.

Weights tell a Dense layer or a norm; pools, Flatten and Dropout have no weights, but Keras names
them after their class and lists them. An activation leaves no trace in a weights-only file.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from converter.errors import MismatchError
from converter.files.auto_names import auto_name
from converter.files.checkpoint import GIVE_IT, Checkpoint
from converter.files.shapes import Shapes
from converter.weights_only.dialect import MAX_STAGES
from resnet_pt.architecture import Output
from resnet_pt.ops import Activation, Dense, Dropout, Flatten, GlobalPool, Norm, Op, Pool, PReLU
from resnet_pt.program import Layer

if TYPE_CHECKING:
    from converter.weights_only.match import Match

MEAN, PEAK = GlobalPool("avg"), GlobalPool("max")
AVERAGE, MAXIMUM = (Pool((2, 2), (2, 2), 0, mode=mode) for mode in ("avg", "max"))
FLATTEN = Flatten("hwc")

AUTO_NAMES: Mapping[str, Op] = {
    "global_average_pooling2d": MEAN,
    "globalaveragepooling2d": MEAN,  # Keras 1
    "global_avg_pooling": MEAN,  # ImageAI
    "pooler": MEAN,  # keras-hub
    "pool1": MEAN,  # image-classifiers; the stem's of another network is no head's
    "pool5": MEAN,  # keras-resnet
    "global_max_pooling2d": PEAK,
    "globalmaxpooling2d": PEAK,
    "average_pooling2d": AVERAGE,
    "averagepooling2d": AVERAGE,
    "max_pooling2d": MAXIMUM,
    "maxpooling2d": MAXIMUM,
    "flatten": FLATTEN,
    "dropout": Dropout(0.5),
}
"""The names that Keras makes up for weightless layers, without the number behind them; each with
Keras' default where a setting is not in the file."""

ACTIVATIONS = frozenset(["activation", "re_lu", "relu", "softmax"])
"""The same, of layers that compute an activation alone."""

BRANCHES = (
    "a head with branches is not read from weights; from the whole model it is, if they are "
    "vectors that end side by side (Concatenate), or outputs of their own"
)
HEAD_EPS = 1e-3
HEAD_MOMENTUM = 0.01
"""Keras' defaults for a BatchNormalization, in every version since 1.2."""

RELU = Activation("relu")
"""What a hidden Dense layer is taken to have behind it."""

Listed = Mapping[str, Op | None]
"""The head's layers by name or class, in order; None for what has weights, or is none of the layers
in `AUTO_NAMES`."""

HeadAndOutputs = tuple[tuple[Layer, ...], tuple[Output, ...]]


def _listed(checkpoint: Checkpoint, layer: str) -> Op | None:
    """By its class, where the container tells it; else by the name that Keras gives."""
    return AUTO_NAMES.get(checkpoint.kinds.get(layer, auto_name(layer)))


def flatten_op(shapes: Shapes) -> Flatten:
    """A Flatten in the order that the file tells: Theano-ordered kernels are of channels first."""
    return Flatten("chw") if shapes.channels_first else FLATTEN


def head_from_names(
    checkpoint: Checkpoint, match: Match, shapes: Shapes, features: int
) -> HeadAndOutputs:
    """The head's layers in the file's order, each reading the one before it.

    A hidden Dense layer is taken to have a relu behind it (nothing in the file says so), at the
    place of the activation that is listed, if one is. The last one is what the logits are; a
    softmax behind a single one would always be 1. Raises MismatchError for widths that do not
    follow each other.
    """
    chain: list[Layer] = []
    if not checkpoint.is_ordered:
        match = replace(match, head=_in_turn(checkpoint, match, shapes, features))
    trailing = _trailing(checkpoint, match, shapes, features)
    kinds = {layer: _listed(checkpoint, layer) for layer in trailing}
    if is_old(checkpoint, match) and hides_head(checkpoint, match):
        kinds = {**kinds, IMPLIED_FLATTEN: FLATTEN}
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
        op = _op(layer, match, shapes, kinds, features)
        if op is None and layer in listed.values():
            op = RELU
        if op is None:
            continue
        if isinstance(op, GlobalPool) and not spatial and _has(chain, Dense):
            raise MismatchError(
                f"{layer!r} pools a map and is listed behind a Dense layer, which would have to "
                "read one",
                hints=[checkpoint.advice],
            )
        if isinstance(op, Dense) and spatial:
            chain = _made_flat(match, chain, features, layer, op, shapes)
        if isinstance(op, Dense | GlobalPool | Flatten):
            spatial = False
        if isinstance(op, Dense):
            _check_width(layer, op, width, features, chain)
            width = op.out_features
        chain.append(Layer(layer, op))
        if isinstance(op, Dense) and _is_hidden(layer, match, shapes) and layer not in listed:
            chain.append(Layer(f"{layer}_activation", RELU))
    linked = _linked(chain)
    last = linked[-1]
    own = auto_name(last.name) == "dense"  # the project's own, as Keras names it
    activation = "softmax" if own else match.dialect.defaults.output
    is_single = isinstance(last.op, Dense) and last.op.out_features == 1
    activation = "sigmoid" if is_single else activation
    return linked, (Output(last.name, last.name, activation),)


def _listed_activations(
    trailing: Sequence[str], match: Match, shapes: Shapes, kinds: Listed
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
    kinds = {layer: _listed(checkpoint, layer) for layer in checkpoint.layers}
    pools = [
        layer
        for layer, op in kinds.items()
        if layer == "avg_pool" or isinstance(op, GlobalPool) or op == AVERAGE
    ]
    if match.dialect.defaults.shortcut_pool:  # those are its shortcuts'
        pools = [layer for layer in pools if kinds[layer] != AVERAGE]
    if not match.dialect.defaults.preactivation:  # the first one is the stem's
        pools += [layer for layer, op in kinds.items() if op == MAXIMUM][1:]
    flat = [layer for layer, op in kinds.items() if isinstance(op, Flatten)]
    dropouts = [layer for layer, op in kinds.items() if isinstance(op, Dropout)]
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


def _op(layer: str, match: Match, shapes: Shapes, kinds: Listed, features: int) -> Op | None:
    if shapes.has(layer, "moving_mean"):
        return Norm(
            shapes.vector(layer),
            HEAD_EPS,
            HEAD_MOMENTUM,
            gamma=shapes.has(layer, "gamma"),
            beta=shapes.has(layer, "beta"),
        )
    if shapes.has(layer, "kernel"):
        return Dense(*shapes.dense(layer), shapes.has(layer, "bias"))
    slopes = shapes.slopes(layer)
    if slopes is not None:
        return PReLU(slopes)
    op = kinds[layer]
    if isinstance(op, Pool):
        return _window_pool(op, match, shapes, features)
    if op is None and layer == POOL:
        is_windowed = _has_window(match, shapes, kinds, features)
        return _window(match) if is_windowed else MEAN
    if op is None and layer == "max_pool":
        return PEAK
    return flatten_op(shapes) if isinstance(op, Flatten) else op


def _has_window(match: Match, shapes: Shapes, kinds: Listed, features: int) -> bool:
    """Whether a pool of the name `avg_pool` has a window, and does not average the whole map: in
    front of a Flatten or a global pool, or where nothing follows it in Keras' own old code. The
    tutorials' pool, in front of their own top, is as large as the map of their own pictures."""
    following = kinds.values()
    if IMPLIED_FLATTEN in kinds or any(isinstance(op, GlobalPool) for op in following):
        return True
    if any(isinstance(op, Flatten) for op in following):
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


def _window_pool(pool: Pool, match: Match, shapes: Shapes, features: int) -> Pool | GlobalPool:
    """A pool that Keras named. Its window is not in the file: where the next Dense layer reads one
    number for each channel, it is as large as the map; else Keras' default, 2x2."""
    dense = [shapes.dense(one)[0] for one in match.head if shapes.has(one, "kernel")]
    if dense and dense[0] != features:
        return pool
    if match.dialect.defaults.ending == "avg_pool" and pool.mode == "avg":
        return _window(match)
    return GlobalPool(pool.mode)


def _window(match: Match) -> Pool:
    """The average that the naming's code ends in."""
    size = match.dialect.defaults.ending_window
    return AVERAGE.replace(kernel=(size, size), stride=(size, size))


def _has(chain: Sequence[Layer], *ops: type[Op]) -> bool:
    """Whether a layer of these kinds is there."""
    return any(isinstance(one.op, ops) for one in chain)


def _made_flat(
    match: Match,
    chain: Sequence[Layer],
    features: int,
    layer: str,
    dense: Dense,
    shapes: Shapes,
) -> list[Layer]:
    """The layers before a Dense layer, which needs a vector: with a pool or Flatten, where none is
    listed, that its width asks for. A nested base lists no pool, and has it before the head."""
    if _has(chain, GlobalPool, Flatten):
        return list(chain)
    has_window = _has(chain, Pool)
    if dense.in_features == 2 * features and not has_window:
        raise MismatchError(
            f"Dense layer {layer!r} reads two numbers for each of {features} channels, and "
            "the file lists no layer that makes them: an average and a maximum, joined in one "
            "order or the other, or a Flatten of a map of two pixels",
            hints=[f"convert the whole model (model.save), or {GIVE_IT}"],
        )
    if dense.in_features != features or has_window:
        return [*chain, Layer(IMPLIED_FLATTEN, flatten_op(shapes))]
    if match.dialect.defaults.ending == "avg_pool" and not chain:
        return [Layer(IMPLIED_POOL, _window(match)), Layer("flatten", flatten_op(shapes))]
    return [Layer(IMPLIED_POOL, MEAN), *chain]


POOL = "avg_pool"
"""The name that most code gives the pool behind the last block."""

IMPLIED_POOL = POOL
"""The name of a pool that no layer of the file is named after."""

MODELS = frozenset(["sequential", "model", "functional"])
"""The names that Keras makes up for models, without the number behind them."""


IMPLIED_FLATTEN = "flattened"
"""The same of a Flatten that is not listed, before a Dense layer of more inputs than channels."""


def doubts(checkpoint: Checkpoint, match: Match, head: Sequence[Layer]) -> tuple[str, ...]:
    """What a head rests on that nothing in a weights-only file says, in words."""
    found = []
    found += [
        f"what is nested beside {layer!r} and has no weights is not in the file"
        for layer in _nested(checkpoint, head)[:1]
    ]
    if _has(head, Norm):
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
        (pool,) = (layer.op for layer in head if layer.name == POOL)
        found.append(f"the window of {POOL!r} is not in the file: {_shown(pool)} is assumed")
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
        if isinstance(_listed(checkpoint, layer.name), Pool):
            window = _shown(layer.op)
            found.append(f"the window of {layer.name!r} is not in the file: {window} is assumed")
    return tuple(found)


def _shown(pool: Op) -> str:
    """The window of a pool."""
    return "x".join(map(str, pool.kernel)) if isinstance(pool, Pool) else "the whole map"


def _is_of_other_code(checkpoint: Checkpoint, match: Match, head: Sequence[Layer]) -> bool:
    """Whether a pool of that name is listed in front of a Flatten, and not of Keras' own top, which
    has had none since keras-applications 1.0.6."""
    names = {layer.name for layer in head}
    is_flat = _has(head, Flatten)
    is_new = (checkpoint.version() or (1,)) >= (2, 2, 3) and match.dialect.name == "res-branch"
    own = OWN_TOP in names and not is_new
    return POOL in names and POOL in checkpoint.layers and is_flat and not own


def _nested(checkpoint: Checkpoint, head: Sequence[Layer]) -> list[str]:
    """The layers of a head that are those of a model in the file's list, which hides the others."""
    groups = {one.layer: one.group for one in checkpoint.weights if checkpoint.is_ordered}
    return [one.name for one in head if groups.get(one.name, one.name) != one.name]


def _check_width(
    layer: str, dense: Dense, width: int, features: int, chain: Sequence[Layer]
) -> None:
    is_first = _has(chain, Flatten) and not _has(chain, Dense)
    if dense.in_features != width and not (is_first and not dense.in_features % features):
        raise MismatchError(
            f"Dense layer {layer!r} reads {dense.in_features} numbers, but the layer before it "
            f"gives {width}",
            hints=[BRANCHES],
        )


def _linked(chain: Sequence[Layer]) -> tuple[Layer, ...]:
    """Each layer reading the one before it."""
    names = ["", *(layer.name for layer in chain)]
    return tuple(replace(one, inputs=(name,)) for one, name in zip(chain, names, strict=False))


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


def _kept_pool(checkpoint: Checkpoint, match: Match) -> list[Layer]:
    return [Layer(IMPLIED_POOL, _window(match))] if keeps_pool(checkpoint, match) else []


def _headless(
    match: Match, kinds: Listed, shapes: Shapes, features: int, kept: Sequence[Layer]
) -> HeadAndOutputs:
    """What a network without a top returns: its map, or what the pools and the Flatten make of it
    that the names still list."""
    listed = {layer: _op(layer, match, shapes, kinds, features) for layer in kinds}
    kept_ops = Flatten | GlobalPool | Pool
    chain = [Layer(layer, op) for layer, op in listed.items() if isinstance(op, kept_ops)]
    if not chain or (kept and chain[0].name != kept[0].name):
        chain = [*kept, *chain]
    if not chain:
        return (), (Output("features", ""),)
    return _linked(chain), (Output(chain[-1].name, chain[-1].name),)
