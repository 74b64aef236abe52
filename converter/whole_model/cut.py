"""A whole model's configuration, ended at layers that the user names (`--outputs`).

What does not lead to them is left out: a Lambda behind them, a head, a decoder. Names are those of
the outermost model's layers, nested models among them.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from converter.errors import UsageError
from converter.files.model_config import (
    Config,
    inbound,
    is_model,
    layer_name,
    model_layers,
    reference_list,
)

LISTED = 12
"""Layers that a refusal lists, at most."""


def ending_at(config: Config, names: Sequence[str]) -> Config:
    """The configuration of the model that gives what these layers give, in their order. Raises
    UsageError for names that it has not, and for more than one of a Sequential model."""
    by_name = {layer_name(layer): layer for layer in model_layers(config)}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise UsageError(
            f"--outputs {unknown[0]}: the model has no such layer",
            hints=[_there(unknown[0], by_name)],
        )
    inner = config["config"]
    if isinstance(inner, dict) and "input_layers" in inner:
        return _functional(config, names, by_name)
    if len(names) > 1:
        raise UsageError("--outputs: a Sequential model ends in one layer, and several are named")
    order = list(by_name)
    kept = list(by_name.values())[: order.index(names[0]) + 1]
    return {**config, "config": kept if isinstance(inner, list) else {**inner, "layers": kept}}


def _functional(config: Config, names: Sequence[str], by_name: Mapping[str, Config]) -> Config:
    inner = config["config"]
    wanted, waiting, read = set(names), list(names), sources(config)
    while waiting:
        more = read[waiting.pop()] - wanted
        waiting += more
        wanted |= more
    kept = [layer for layer in inner["layers"] if layer_name(layer) in wanted]
    inputs = [list(one) for one in reference_list(inner["input_layers"]) if one[0] in wanted]
    ends = [[name, _last_call(name, inner), 0] for name in names]
    ended = {**inner, "layers": kept, "input_layers": inputs, "output_layers": ends}
    return {**config, "config": ended}


def sources(config: Config) -> dict[str, frozenset[str]]:
    """`{layer: the layers that it reads}` of the outermost model."""
    layers, inner = model_layers(config), config["config"]
    if isinstance(inner, dict) and "input_layers" in inner:
        return {
            layer_name(layer): frozenset(name for call in inbound(layer) for name, _, _ in call)
            for layer in layers
        }
    names = [layer_name(layer) for layer in layers]
    before: list[list[str]] = [[], *([name] for name in names)]
    return {name: frozenset(read) for name, read in zip(names, before, strict=False)}


def _last_call(name: str, inner: Config) -> int:
    """The last call of a layer, as what reads it counts; of one that nothing reads, its own."""
    read = [one for layer in inner["layers"] for call in inbound(layer) for one in call]
    found = [one[1] for one in (*read, *reference_list(inner["output_layers"])) if one[0] == name]
    layer = next(one for one in inner["layers"] if layer_name(one) == name)
    return max(found, default=len(layer.get("inbound_nodes") or [0]) - 1)


def left_behind(config: Config, cut: Config) -> frozenset[str]:
    """The outermost layers that the cut leaves out."""
    there = {layer_name(layer) for layer in model_layers(cut)}
    return frozenset(layer_name(one) for one in model_layers(config)) - there


def _there(name: str, layers: Mapping[str, Config]) -> str:
    """Where the model can be ended: what is called alike, else its last layers."""
    near = difflib.get_close_matches(name, layers, n=LISTED, cutoff=0.5)
    inside = [one for one, layer in layers.items() if is_model(layer)]
    words = f"it has {', '.join(near or list(layers)[-LISTED:])}"
    return f"{words}; {inside[0]} is a model, whose own layers are not outputs" if inside else words
