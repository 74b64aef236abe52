"""Attention over the steps of sequences, without masks but the causal one.

Sources: keras 2.10 and 2.15 `layers/attention/`, 3.15 `src/layers/attention/`. Dropout is none when
a network predicts.
"""

from __future__ import annotations

from typing import Any

from converter.files.kinds import truth
from converter.files.model_config import (
    Config,
    call_arguments,
    is_keras_tensor,
    is_reference,
    keywords,
    reference_list,
)
from converter.mapping.transforms import IO_TO_OI, Reshaped
from converter.whole_model.keras_layers.call import (
    Call,
    From,
    Lifting,
    NotLiftedError,
    Value,
)
from converter.whole_model.ranges import channels
from resnet_pt.ops import Attention, MultiHead

ALONE = ("use_causal_mask", "return_attention_scores")
"""What may be passed by keyword; the scores are a second value that it gives."""


def _causal(call: Call) -> bool:
    """Whether it reads no later step: a setting of the layer up to Keras 2.10, and of the call."""
    given = keywords(call.arguments)
    others = sorted(given.keys() - set(ALONE))
    if others:
        raise NotLiftedError(f"it is called with {', '.join(others)}")
    said = truth(given.get("use_causal_mask", False), "use_causal_mask")
    return said or call.flag("causal", default=False)


def _width(value: Value) -> int:
    if value.rank != 2:
        raise NotLiftedError(f"it reads sequences, and {value.rank} axes come behind the batch")
    if value.shape[1] is None:
        raise NotLiftedError("how many numbers it reads is not in the configuration")
    return value.shape[1]


def _passed(call: Call) -> tuple[list[Any], Config]:
    """What a call passes by place and by keyword."""
    said = call.arguments
    if isinstance(said, dict) and "args" in said:
        return list(said["args"]), said.get("kwargs") or {}
    if isinstance(said, dict) or not said:
        raise NotLiftedError(UNCLEAR)
    return [list(one) for one in reference_list(said)], call_arguments(said)


UNCLEAR = "which of what it reads is the query, the value and the key is not understood"


def _is_tensor(value: Any) -> bool:
    return is_keras_tensor(value) or is_reference(value)


def _attention(call: Call) -> Value:
    """Its first argument is the list of what it reads: query, value, and key if there is one."""
    mode = call.config.get("score_mode", "dot")
    if mode != "dot":
        raise NotLiftedError(f"its score_mode is {mode!r}")
    return _scored(call, additive=False, default=False)


def _additive(call: Call) -> Value:
    return _scored(call, additive=True, default=True)


def _scored(call: Call, additive: bool, default: bool) -> Value:
    causal = _causal(call)
    placed, _ = _passed(call)
    listed = placed[0] if len(placed) == 1 and isinstance(placed[0], list) else placed
    is_listed = len(listed) == len(call.values) and all(map(_is_tensor, listed))
    if not is_listed:
        raise NotLiftedError(UNCLEAR)
    for value in call.values:
        _width(value)
    weight = call.flag("use_scale", default=default)
    op = Attention(_width(call.values[0]), additive, weight, causal)
    return call.add(op, *call.values, weights={"weight": From("scale")} if weight else {})


PLACES = ("query", "value", "key")
"""What a MultiHeadAttention is called with, in order; the others are masks."""


def _by_role(call: Call) -> dict[str, Value]:
    """What it reads as query, value and key, which is the value where it is not passed."""
    placed, by_name = _passed(call)
    names = [
        name
        for name, one in [*zip((*PLACES, *("mask",) * 9), placed, strict=False), *by_name.items()]
        if _is_tensor(one)
    ]
    if len(names) != len(call.values) or any(
        one is not None and not _is_tensor(one) for one in placed
    ):
        raise NotLiftedError(UNCLEAR)
    others = sorted(set(names) - set(PLACES))
    if others:
        raise NotLiftedError(f"it is called with {', '.join(others)}")
    found = dict(zip(names, call.values, strict=True))
    if "query" not in found or "value" not in found or len(found) != len(names):
        raise NotLiftedError(UNCLEAR)
    return {"key": found["value"], **found}


def _multi_head(call: Call) -> Value:
    config, causal = call.config, _causal(call)
    for setting in ("use_gate", "sliding_window"):
        if config.get(setting):
            raise NotLiftedError(f"it has a {setting}")
    roles = _by_role(call)
    query, value, key = (roles[role] for role in PLACES)
    reads = (_width(query), _width(value), _width(key))
    axes = config.get("attention_axes")
    if axes not in (None, [1], 1):
        raise NotLiftedError(f"its attention_axes are {axes}")
    heads = channels(call.first("num_heads"), "num_heads")
    width = channels(call.first("key_dim"), "key_dim")
    values = channels(config.get("value_dim") or width, "value_dim")
    outputs = _outputs(config.get("output_shape"), reads[0])
    bias = call.flag("use_bias", default=True)
    op = MultiHead(reads, heads, width, values, outputs, bias, causal)
    sides = {"query": (reads[0], width), "key": (reads[2], width), "value": (reads[1], values)}
    weights: dict[str, From] = {}
    for role, (side, size) in sides.items():
        flat = Reshaped((side, heads, size), (side, heads * size)), IO_TO_OI
        weights[f"{role}_weight"] = From(f"{role}_kernel", flat)
        weights[f"{role}_bias"] = From(f"{role}_bias", (Reshaped((heads, size), (heads * size,)),))
    flat = Reshaped((heads, values, outputs), (heads * values, outputs)), IO_TO_OI
    weights |= {"output_weight": From("output_kernel", flat), "output_bias": From("output_bias")}
    return call.add(op, query, value, key, weights=weights)


def _outputs(said: Any, width: int) -> int:
    """How many numbers of each step it gives: as many as the query has, if it does not say."""
    sizes = said if isinstance(said, list) else [said] if said else [width]
    if len(sizes) != 1:
        raise NotLiftedError(f"its output_shape is {said}")
    return channels(sizes[0], "output_shape")


LAYERS: dict[str, Lifting] = {
    "Attention": _attention,
    "AdditiveAttention": _additive,
    "MultiHeadAttention": _multi_head,
}
