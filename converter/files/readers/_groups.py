"""Grouped convolutions that old code wrote as slices, a Conv2D of each, and a Concatenate.

image-classifiers 1.0.0 writes its ResNeXt so (`models/_common_blocks.py`, GroupConv2D): a Lambda
for each group takes its channels (its arguments are `start`, `stop` and `axis`), a Conv2D reads
them, and a Concatenate sets what comes out side by side. The kernels side by side, (height, width,
in / groups, out), are the kernel of one grouped convolution: a checkpoint is handed on with that.

The Lambda's code is not looked at: it is taken for the slice by its arguments and the layers around
it, or, in a weights-only file, by the names alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np

from converter.files.auto_names import auto_name
from converter.files.checkpoint import Array, ArraySource, Checkpoint, Shape, Weight
from converter.files.model_config import is_model, layer_name, model_layers

Config = Mapping[str, Any]
Groups = dict[str, tuple[str, ...]]
"""`{layer: the layers of its groups, in order}`."""


def grouped(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint with one layer for each convolution that is written group by group; as it is
    where there is none."""
    groups: Groups = {}
    around: set[str] = set()
    config = checkpoint.config
    if config is None:
        groups = _by_names(checkpoint, around)
    else:
        try:
            config = _collapsed(config, groups)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError):
            return checkpoint  # whoever reads the graph says what is wrong with it
    if not groups or not _fit(checkpoint, groups):
        return checkpoint
    parts = dict(_parts(checkpoint, groups))
    inside = {layer: whole for whole, some in groups.items() for layer in some}
    layers = (inside.get(one, one) for one in checkpoint.layers if one not in around)
    return replace(
        checkpoint,
        config=config,
        weights=tuple(parts),
        layers=tuple(dict.fromkeys(layers)),
        arrays=_side_by_side(checkpoint.arrays, parts),
    )


# ---- whole models


def _collapsed(config: Config, groups: Groups) -> Config:
    """A model's configuration with a Conv2D in the place of every Concatenate of groups; they are
    added to `groups` under its name."""
    layers = [_collapsed(one, groups) if is_model(one) else one for one in model_layers(config)]
    by_name = {layer_name(layer): layer for layer in layers}
    readers = Counter(one[0] for layer in layers for call in _calls(layer) for one in call)
    gone: set[str] = set()
    whole: dict[str, Config] = {}
    for name, layer in by_name.items():
        convs = _sources(layer, by_name) if layer.get("class_name") == "Concatenate" else []
        slices = [one for conv in convs for one in _sources(conv, by_name)]
        inside = [layer_name(one) for one in (*slices, *convs)]
        if _is_grouped(layer, convs, slices) and all(readers[one] == 1 for one in inside):
            whole[name] = _convolution(layer, convs, slices)
            groups[name] = tuple(layer_name(conv) for conv in convs)
            gone.update(inside)
    kept = [whole.get(name, layer) for name, layer in by_name.items() if name not in gone]
    inner = config["config"]
    return {**config, "config": {**inner, "layers": kept} if isinstance(inner, dict) else layers}


def _calls(layer: Config) -> Sequence[Any]:
    """The calls of a layer as Keras 2 writes them, each a list of `[layer, call, tensor, …]`."""
    calls = layer.get("inbound_nodes")
    return [call for call in calls if isinstance(call, list)] if isinstance(calls, list) else []


def _sources(layer: Config, by_name: Mapping[str, Config]) -> list[Config]:
    """The layers that a layer reads, if it is called once."""
    calls = _calls(layer)
    return [by_name[one[0]] for one in calls[0]] if len(calls) == 1 else []


def _is_grouped(layer: Config, convs: Sequence[Config], slices: Sequence[Config]) -> bool:
    """Whether convolutions that are alike read slices of one tensor, which leave nothing out."""
    if len(convs) < 2 or len(slices) != len(convs):
        return False
    if {one["class_name"] for one in convs} != {"Conv2D"}:
        return False
    alike = {str({**one["config"], "name": "", "groups": 1}) for one in convs}
    reads = {str(one["inbound_nodes"]) for one in slices}
    spans = [_span(one) for one in slices]
    width = spans[0][1]
    in_turn = [(number * width, (number + 1) * width) for number in range(len(spans))]
    axes = {axis for *_, axis in spans}
    return (
        len(alike) == len(reads) == 1
        and convs[0]["config"].get("groups", 1) == 1
        and [(start, stop) for start, stop, _ in spans] == in_turn
        and axes == {layer["config"]["axis"]}
        and width > 0
    )


def _span(layer: Config) -> tuple[int, int, int]:
    """(start, stop, axis) of a Lambda that takes channels; (-1, 0, 0) for others."""
    arguments = layer["config"].get("arguments") if layer["class_name"] == "Lambda" else None
    if not isinstance(arguments, dict) or set(arguments) != {"start", "stop", "axis"}:
        return -1, 0, 0
    return arguments["start"], arguments["stop"], arguments["axis"]


def _convolution(layer: Config, convs: Sequence[Config], slices: Sequence[Config]) -> Config:
    first = convs[0]["config"]
    config = {
        **first,
        "name": layer_name(layer),
        "filters": first["filters"] * len(convs),
        "groups": len(convs),
    }
    return {
        **convs[0],
        **_name_of(layer),
        "config": config,
        "inbound_nodes": slices[0]["inbound_nodes"],
    }


def _name_of(layer: Config) -> Config:
    return {"name": layer["name"]} if "name" in layer else {}


# ---- weights alone


def _by_names(checkpoint: Checkpoint, around: set[str]) -> Groups:
    """Convolutions that Keras numbered, between two norms of one block. A file lists the Lambda
    layers, which are added to `around`, and the Concatenate; where it does not, for a nested model,
    the whole is called as image-classifiers calls the same convolution of its other networks."""
    groups: Groups = {}
    order = list(checkpoint.of_layer()) if checkpoint.is_ordered else []
    place = 0
    for is_part, run in groupby(order, key=lambda layer: auto_name(layer) == "conv2d"):
        parts = tuple(run)
        block = order[place - 1].removesuffix("_bn1") if place else ""
        place += len(parts)
        behind = order[place] if place < len(order) else ""
        if is_part and len(parts) > 1 and behind == f"{block}_bn2":
            beside = _beside(checkpoint.layers, parts)
            if beside is not None:
                *slices, whole = beside or [f"{block}_conv2"]
                groups[whole] = parts
                around.update(slices)
    return groups


def _beside(layers: Sequence[str], parts: Sequence[str]) -> Sequence[str] | None:
    """The slices in front of the convolutions and what joins them behind; () within a nested
    model, whose layers are not listed, and None where others stand there."""
    if not set(parts) & set(layers):
        return ()
    first, count = layers.index(parts[0]), len(parts)
    slices, inside, joins = (
        layers[max(0, first - count) : first],
        layers[first : first + count],
        layers[first + count : first + count + 1],
    )
    is_known = (
        len(slices) == count
        and {auto_name(one) for one in slices} == {"lambda"}
        and tuple(inside) == tuple(parts)
        and {auto_name(one) for one in joins} == {"concatenate"}
    )
    return (*slices, *joins) if is_known else None


# ---- arrays


def _fit(checkpoint: Checkpoint, groups: Groups) -> bool:
    """Whether the layers of every group have the same parameters, of the same shapes."""
    weights = checkpoint.of_layer()
    return all(
        len({_signature(weights.get(layer, {})) for layer in layers}) == 1
        and "kernel" in weights.get(layers[0], {})
        and len(weights[layers[0]]["kernel"].shape) == 4
        for layers in groups.values()
    )


def _signature(weights: Mapping[str, Weight]) -> tuple[tuple[str, Shape, str], ...]:
    return tuple((name, one.shape, one.dtype) for name, one in sorted(weights.items()))


def _parts(checkpoint: Checkpoint, groups: Groups) -> Iterator[tuple[Weight, tuple[Weight, ...]]]:
    """(weight, what it is made of): those of a group's layers are one each, in the place of the
    first of them, and any other is made of itself."""
    weights = checkpoint.of_layer()
    whole = {part: layer for layer, parts in groups.items() for part in parts}
    for weight in checkpoint.weights:
        layer = whole.get(weight.layer)
        if layer is None:
            yield weight, (weight,)
        elif weight.layer == groups[layer][0]:
            parts = tuple(weights[part][weight.parameter] for part in groups[layer])
            yield _of(layer, parts), parts


def _of(layer: str, parts: Sequence[Weight]) -> Weight:
    first = parts[0]
    return replace(
        first,
        group=layer if first.group == first.layer else first.group,
        layer=layer,
        path=" + ".join(part.path for part in parts),
        shape=(*first.shape[:-1], sum(part.shape[-1] for part in parts)),
        pieces=len(parts),
    )


def _side_by_side(arrays: ArraySource, parts: Mapping[Weight, tuple[Weight, ...]]) -> ArraySource:
    """What reads the arrays: those of several parts side by side along the outputs, the last axis
    of kernels and biases."""

    def read(weights: Iterable[Weight]) -> Iterator[tuple[Weight, Array]]:
        wanted = list(weights)
        found = (array for _, array in arrays([part for one in wanted for part in parts[one]]))
        for one in wanted:
            some = [next(found) for _ in parts[one]]
            yield one, some[0] if len(some) == 1 else np.concatenate(some, axis=-1)

    return read
