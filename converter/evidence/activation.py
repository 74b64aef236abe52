"""Weights only: what the names of listed layers say of the function between the blocks."""

from __future__ import annotations

from converter.checkpoint import Checkpoint
from converter.errors import MismatchError
from converter.evidence import beside
from converter.facts import Evidence, Fact
from converter.from_names import Match
from converter.head_names import ACTIVATIONS, auto_name

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
    functions = [*named, *(layer for layer in inside if layer.endswith("_out"))]
    count = beside.activated_norms(checkpoint, match) - checkpoint.is_ordered  # one comes last
    if named and not others and not untold and len(functions) >= count:
        return Fact("activation", "relu", Evidence.LAYER_NAMES, f"the file lists {named[0]!r}")
    reason = f"weights do not record it: what {match.dialect.name} ran ({match.dialect.source})"
    return Fact("activation", "relu", Evidence.DEFAULT, reason)
