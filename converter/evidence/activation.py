"""Weights only: what the listed layers say of the function between the blocks: which it is, and
whether it stands where it should."""

from __future__ import annotations

from converter.auto_names import auto_name
from converter.checkpoint import Checkpoint
from converter.errors import MismatchError
from converter.evidence import beside
from converter.facts import Evidence, Fact
from converter.from_names import Match
from converter.head_names import ACTIVATIONS

OTHERS = frozenset(
    [
        *("gelu", "swish", "silu", "elu", "selu", "celu", "mish", "tanh", "sigmoid", "softplus"),
        *("leaky", "leakyrelu", "lrelu", "prelu", "hard", "hardswish"),
    ]
)
"""Words of a layer's name that say another function than relu."""


UNTOLD = "?"


def words(layer: str) -> set[str]:
    """`Conv1_ReLU2` → conv1, relu; `re_lu_3` names a class, whose bound and slope are not told, and
    `relu6` may be the sixth relu or one that is bounded."""
    if auto_name(layer) in ACTIVATIONS:
        return {UNTOLD}
    parts = layer.lower().split("_")
    return {UNTOLD if one == "relu6" else one.rstrip("0123456789") for one in parts}


def activation_fact(checkpoint: Checkpoint, match: Match) -> Fact:
    """`conv1_relu` says which function it is, `activation_4` does not. Where the file keeps no
    order, another function beside those may be the head's.

    Raises MismatchError for a file whose names say another one.
    """
    inside = beside.inside(checkpoint, match)
    others = [layer for layer in inside if OTHERS & words(layer)]
    named = [layer for layer in inside if "relu" in words(layer)]
    untold = [layer for layer in inside if UNTOLD in words(layer)]
    may_be_of_head = not checkpoint.is_ordered and bool(named or untold)
    if others and not may_be_of_head:
        raise MismatchError(
            f"{checkpoint.path} lists layers of another function than relu between its blocks",
            [f"{layer!r}" for layer in others],
            [checkpoint.advice],
        )
    count = activated_norms(checkpoint, match) - checkpoint.is_ordered  # one comes last
    if named and not others and not untold and len(named) >= count and checkpoint.is_ordered:
        return Fact("activation", "relu", Evidence.LAYER_NAMES, f"the file lists {named[0]!r}")
    reason = f"weights do not record it: what {match.dialect.name} ran ({match.dialect.source})"
    if named and not checkpoint.is_ordered:
        reason = f"the file lists {named[0]!r}, and this container keeps no order: {reason}"
    elif named:
        reason = f"the file lists {named[0]!r}, and others whose names do not say it: {reason}"
    return Fact("activation", "relu", Evidence.DEFAULT, reason)


def check_activations(checkpoint: Checkpoint, match: Match) -> None:
    """Raise MismatchError for a file that lists fewer activations than its network has, or lists
    one in another place."""
    cut, elsewhere = unactivated(checkpoint, match), misplaced(checkpoint, match)
    if cut and not elsewhere:
        some = "" if checkpoint.is_ordered else "some have none, or "
        raise MismatchError(
            f"{checkpoint.path} lists fewer sums and activations than its network has: {some}the "
            f"model was cut behind {cut!r}",
            hints=[checkpoint.advice],
        )
    if elsewhere:
        raise MismatchError(
            f"{checkpoint.path} lists activations between a convolution and its norm, or in front "
            "of a block's sum",
            [f"{one!r}" for one in elsewhere],
            [checkpoint.advice],
        )
    if lacks_activations(checkpoint, match):
        raise MismatchError(
            f"{checkpoint.path} lists fewer activations than the networks of {match.dialect.name} "
            "have: which norm or sum has none is not in it",
            hints=[checkpoint.advice],
        )


def lacks_activations(checkpoint: Checkpoint, match: Match) -> bool:
    """Whether fewer layers are listed between the network's own than an activation for each of
    their norms, beside paddings, pools and sums. Behind the last of them stand one activation and,
    where no norm follows, one sum. Of a nested network, and by some programs, none is listed."""
    if not checkpoint.is_ordered:
        return False
    listed = beside.inside(checkpoint, match)
    pools = beside.pools_inside(checkpoint, match)
    others = [x for x in listed if x not in pools and not beside.is_pad(checkpoint, x)]
    sums = len(beside.block_names(match)) - (0 if "norm" in match.modules else 1)
    return 0 < len(others) < sums + activated_norms(checkpoint, match) - 1


def misplaced(checkpoint: Checkpoint, match: Match) -> list[str]:
    """The activations that are listed where no network that is known has one: between a
    convolution and its norm, or in front of a block's sum."""
    layers = list(checkpoint.layers)
    if not checkpoint.is_ordered:
        return _before_sums(checkpoint, match)
    if not set(match.modules.values()) <= set(layers):
        return []
    found: list[str] = []
    for conv, norm in _normed(match):
        between = layers[layers.index(conv) + 1 : layers.index(norm)]
        found += [layer for layer in between if words(layer) & {UNTOLD, "relu"}]
    for last in _last_of_blocks(checkpoint, match):
        behind = beside.without_weights(checkpoint, layers[layers.index(last) + 1 :])
        kinds = [
            beside.kind_of(checkpoint, layer) in beside.SUMS or layer.endswith("_add")
            for layer in behind
        ]
        early = behind[: kinds.index(True)] if True in kinds else []
        found += [layer for layer in early if words(layer) & {UNTOLD, "relu"}]
    return found


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


def _normed(match: Match) -> list[tuple[str, str]]:
    """Each convolution with the norm behind it, but those of shortcuts, between which a file may
    list what stands beside them."""
    shift = 1 if match.dialect.defaults.preactivation else 0
    pairs = {f"conv{number}": f"bn{number + shift}" for number in (1, 2, 3)}
    found: list[tuple[str, str]] = []
    for module, layer in match.modules.items():
        block = ".".join(module.split(".")[:2])
        norm = f"{block}.{pairs.get(module.removeprefix(f'{block}.'), '')}"
        norm = "bn1" if module == match.dialect.stem else norm
        if norm in match.modules:
            found.append((layer, match.modules[norm]))
    return found


def unactivated(checkpoint: Checkpoint, match: Match) -> str:
    """The layer behind which a model was cut: the network's last one with weights, where the file
    lists less behind it than behind the same layer of other blocks; else ''. Within a nested
    model an `.h5` lists nothing."""
    if checkpoint.is_ordered:
        return _cut_behind(checkpoint, match)
    nest = beside.base(checkpoint, match)
    outside = set(beside.outside(checkpoint, nest)) if nest else set()
    functions = [
        layer
        for layer, kind in checkpoint.kinds.items()
        if kind in ACTIVATIONS and layer not in outside
    ]
    if functions and len(functions) < activated_norms(checkpoint, match):
        return match.modules.get("norm") or _last_of_blocks(checkpoint, match)[-1]
    return ""


def _cut_behind(checkpoint: Checkpoint, match: Match) -> str:
    """The same, by the weightless layers behind each block; where a norm follows the last block,
    by those behind each block's first norm."""
    own = _last_of_blocks(checkpoint, match)
    norm = match.modules.get("norm")
    if norm:
        own = [layer for module, layer in match.modules.items() if module.endswith(".bn1")] + [norm]
    if not set(own) <= set(checkpoint.layers):
        return ""
    *counts, found = (_weightless_behind(checkpoint, layer) for layer in own)
    return own[-1] if counts and found < min(counts) else ""


def _weightless_behind(checkpoint: Checkpoint, layer: str) -> int:
    """The layers without weights that are listed behind one, up to the next with weights, or to
    what a head begins with; padding is of what follows."""
    behind = checkpoint.layers[checkpoint.layers.index(layer) + 1 :]
    return sum(
        not beside.is_pad(checkpoint, one) for one in beside.without_weights(checkpoint, behind)
    )


def _last_of_blocks(checkpoint: Checkpoint, match: Match) -> list[str]:
    """The layer with weights that each block lists last, block by block."""
    order = list(checkpoint.of_layer())
    last: dict[tuple[str, ...], str] = {}
    for module, layer in match.modules.items():
        block = tuple(module.split(".")[:2])
        if block[0].startswith("layer"):
            last[block] = max(layer, last.get(block, layer), key=order.index)
    return sorted(last.values(), key=order.index)


def activated_norms(checkpoint: Checkpoint, match: Match) -> int:
    """How many norms an activation follows: one behind a projection has none, and a block's last
    one has the activation behind the sum."""
    weights = checkpoint.of_layer()
    return sum(
        "moving_mean" in weights[layer] and "downsample" not in module and module != "bn_data"
        for module, layer in match.modules.items()
    )


def of_head(checkpoint: Checkpoint, match: Match) -> tuple[str, ...]:
    """The activations of a head that the file lists, where it does not tell their places: known
    by their class for a container that keeps no order, () for others."""
    if checkpoint.is_ordered:
        return ()
    nest = beside.base(checkpoint, match)
    if nest:
        return tuple(
            x for x in beside.outside(checkpoint, nest) if checkpoint.kinds[x] in ACTIVATIONS
        )
    return beside.beyond(checkpoint, ACTIVATIONS, activated_norms(checkpoint, match))
