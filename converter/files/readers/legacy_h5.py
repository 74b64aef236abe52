"""Keras 1, Keras 2, tf.keras and Keras 3 `.h5`: a group for each layer, named in attributes.

Weights only: `layer_names` on the root. Whole models: the same below `model_weights`, with the
graph in the root's `model_config`. Sources: keras 1.2.2 `Container.save_weights_to_hdf5_group`,
2.3.1 `engine/saving.py`, 3.15 `src/legacy/saving/legacy_h5_format.py`.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from converter.errors import MismatchError, SourceError, UnsafeError
from converter.files.checkpoint import PARAMETERS, Array, Checkpoint, Weight
from converter.files.given import Given
from converter.files.model_config import class_of, is_model, layer_name, model_layers
from converter.files.readers import _hdf5
from converter.files.readers._given import (
    as_keras_writes,
    by_names,
    by_order,
    choose,
    paired,
    refuse_whole,
)
from converter.files.readers._groups import grouped

FORMAT = "hdf5"
WEIGHTS = "model_weights"

NUMBER = re.compile(r"_\d+$")
SCOPES_OF_A_HEAD = 8  # a nested head may be dense_1, batch_normalization_1: one of each kind


def recognises(file: Any) -> bool:
    """Whether an open HDF5 file is one of these."""
    return _hdf5.has_names(file, "layer_names") or _hdf5.has_group(file, WEIGHTS)


def read(file: Any, path: Path, keep: ExitStack, given: Given | None = None) -> Checkpoint:
    """Everything but the arrays; they are read from `file` when asked for."""
    whole = not _hdf5.has_names(file, "layer_names")
    root = _hdf5.group(file, WEIGHTS) if whole else file
    prefix = f"{WEIGHTS}/" if whole else ""
    layers = _hdf5.names(root, "layer_names")
    if len(set(layers)) != len(layers):
        raise SourceError("the file lists two layers of one name")
    config = configuration(file) if whole else None
    if given and config is not None:
        raise refuse_whole(path)
    config = given.config if given else config
    inside, recurrent = _inside(config, layers), _recurrent(config)
    datasets: dict[str, Any] = {}
    weights = [
        weight
        for layer in layers
        for weight in _of_group(
            root, layer, prefix, inside.get(layer, frozenset()), recurrent, datasets
        )
    ]
    _hdf5.check_distinct(datasets)
    version = _hdf5.text(root, "keras_version") or _hdf5.text(file, "keras_version")
    checkpoint = Checkpoint(
        path=path,
        container=_container(version, whole),
        weights=_without_clashes(weights),
        layers=layers,
        arrays=lambda wanted: _arrays(datasets, wanted),
        keras_version=version,
        backend=_hdf5.text(root, "backend") or _hdf5.text(file, "backend"),
        config=config,
    )
    return grouped(_as_given(checkpoint, given) if given else checkpoint)


def _as_given(checkpoint: Checkpoint, given: Given) -> Checkpoint:
    """A file of weights with the layers of a configuration that is given for it."""
    weights = checkpoint.weights
    with as_keras_writes(given):
        ways = by_names(given.config, weights), by_order(given.config, weights)
    chosen, other = choose(checkpoint.path, given, *ways)
    tops = tuple(layer_name(layer) for layer in model_layers(given.config))
    return paired(
        replace(checkpoint, layers=tops if chosen.match == "order" else checkpoint.layers),
        given,
        replace(chosen, weights=_without_clashes(chosen.weights)),
        other,
    )


def _container(version: str | None, whole: bool) -> str:
    generation = f"Keras {version.split('.')[0]}" if version else "Keras 1"
    return f"{generation} HDF5, {'whole model' if whole else 'weights only'}"


def configuration(file: Any) -> Any:
    """The configuration of a whole model, as it is written; None where there is none."""
    written = _hdf5.text(file, "model_config")
    if written is None:
        return None
    if len(written) > _hdf5.MAX_CONFIG:
        raise UnsafeError(f"a model_config of {len(written):,} characters is over the limit")
    try:
        config = json.loads(written)
    except RecursionError as error:
        raise UnsafeError("the model_config is nested too deeply") from error
    except ValueError as error:
        raise SourceError("the model_config is not valid JSON", [str(error)[:200]]) from error
    if not isinstance(config, dict):
        raise SourceError("the model_config is not a configuration", [written[:100]])
    return config


def _inside(config: Any, listed: Sequence[str]) -> dict[str, frozenset[str]]:
    """`{nested model: the names of all layers in it}` of a configuration. A Sequential in another
    has no name in it before Keras 2.2.3, which wrote both as lists: it has its place in what the
    file lists, which is the outer one's layers."""
    try:
        layers = model_layers(config) if config else ()
        names = [layer_name(one) for one in layers]
        if config and isinstance(config.get("config"), list) and len(listed) == len(names):
            names = list(listed)
        return {
            name: frozenset(map(layer_name, _layers(one)))
            for name, one in zip(names, layers, strict=True)
            if is_model(one)
        }
    except (KeyError, TypeError, AttributeError, RecursionError):
        return {}  # the graph's reader says what is wrong with it


def _layers(model: Any) -> Iterator[Any]:
    """All layers in a model, those of nested ones too."""
    for layer in model_layers(model):
        yield layer
        if is_model(layer):
            yield from _layers(layer)


CELL = re.compile(r"(lstm|gru|simple_rnn)_cell(_\d+)?")
RECURRENT = frozenset(["LSTM", "GRU", "SimpleRNN", "CuDNNLSTM", "CuDNNGRU"])

Ways = Mapping[str, str]
"""`{scope within a layer: what stands in front of its parameters}`; {} for one that has no such."""

HEADS: Ways = {
    "query": "query_",
    "key": "key_",
    "value": "value_",
    "attention_output": "output_",
}
"""A MultiHeadAttention's."""


def _recurrent(config: Any) -> dict[str, Ways]:
    """The layers of a configuration by name that have scopes within them: recurrent ones, with
    those of a Bidirectional's two, a MultiHeadAttention's, and a SpectralNormalization's layer."""
    found: dict[str, Ways] = {}
    try:
        for layer in _layers(config) if config else ():
            if class_of(layer) in RECURRENT:
                found[layer_name(layer)] = {}
            elif class_of(layer) == "MultiHeadAttention":
                found[layer_name(layer)] = HEADS
            elif class_of(layer) == "SpectralNormalization":
                found[layer_name(layer)] = {layer_name(layer["config"]["layer"]): ""}
            elif class_of(layer) == "Bidirectional":
                found[layer_name(layer)] = _both_ways(layer["config"])
    except (KeyError, TypeError, AttributeError, RecursionError):
        pass  # the graph's reader says what is wrong with it
    return found


def _both_ways(config: Any) -> Ways:
    """Keras calls the two after the layer that it was given; a second one may have its own name,
    as it is (3.15 `bidirectional.py`) or with a front too (2.15)."""
    name = str(layer_name(config["layer"])).removeprefix("forward_")
    found = {f"forward_{name}": "forward_", f"backward_{name}": "backward_"}
    second = config.get("backward_layer")
    if not second:
        return found
    own = layer_name(second)
    return {own: "backward_", f"backward_{own}": "backward_", **found}


def _unwrapped(name: str, recurrent: Mapping[str, Ways]) -> tuple[str, str]:
    """A weight's name without the scopes within a recurrent layer, and what stands in front of its
    parameter: `top/lstm/lstm_cell/kernel:0` → `top/lstm/kernel:0`, '' (tf.keras 2 and Keras 3);
    `both/forward_lstm/kernel:0` → `both/kernel:0`, 'forward_'."""
    *scope, last = name.split("/")
    inner = scope[:-1] if scope and CELL.fullmatch(scope[-1]) else scope
    ways = _at_end(inner[:-1], recurrent)
    if ways:
        way = ways.get(inner[-1], ways.get(NUMBER.sub("", inner[-1])))
        if way is not None:
            return "/".join((*inner[:-1], last)), way
    if inner != scope and _at_end(inner, recurrent) is not None:
        return "/".join((*inner, last)), ""
    return name, ""


def _at_end(scope: Sequence[str], recurrent: Mapping[str, Ways]) -> Ways | None:
    """The recurrent layer that a scope ends with; None for another."""
    return recurrent.get(_innermost(scope, recurrent)) if scope and recurrent else None


def _of_group(
    root: Any,
    layer: str,
    prefix: str,
    inside: frozenset[str],
    recurrent: Mapping[str, Ways],
    datasets: dict[str, Any],
) -> Iterator[Weight]:
    """The weights of one group, a nested model's if layers are `inside`; their datasets, checked,
    go into `datasets` by path."""
    try:
        group = _hdf5.group(root, layer)
    except KeyError:
        raise SourceError(f"the file lists a layer {layer!r} and does not hold it") from None
    names = _hdf5.names(group, "weight_names")
    unwrapped = [_unwrapped(name, recurrent) for name in names]
    owners = _owners(layer, [name for name, _ in unwrapped], inside)
    for name, (_, way), owner in zip(names, unwrapped, owners, strict=True):
        try:
            found = _hdf5.dataset(group, name)
        except KeyError:
            raise SourceError(f"the file lists {layer}/{name} and does not hold it") from None
        spelling, path = _spelling(name), f"{prefix}{layer}/{name}"
        parameter = f"{way}{PARAMETERS.get(spelling, spelling)}"
        datasets[path] = found
        yield Weight(
            group=layer,
            layer=owner,
            parameter=parameter,
            path=path,
            shape=tuple(found.shape),
            dtype=_hdf5.weight_type(found, parameter, f"{layer}/{name}"),
            spelling=name.rpartition("/")[2],
        )


OTHERS = frozenset(["recurrent_kernel", "renorm_mean", "renorm_stddev"])
"""Parameters that end as others do, whose layer's name Keras 1 sets before them."""


def _spelling(name: str) -> str:
    """`conv1/kernel:0` → `kernel`; `conv1_W_1:0` → `W`; unknown names stay as they are."""
    last = name.rpartition("/")[2].partition(":")[0]
    stem, _, number = last.rpartition("_")
    last = stem if stem and number.isdigit() else last
    if last in OTHERS:
        return last
    for spelling in sorted(PARAMETERS, key=len, reverse=True):
        if last == spelling or last.endswith(f"_{spelling}"):
            return spelling
    return last


def _owners(layer: str, names: Sequence[str], inside: frozenset[str]) -> list[str]:
    """The layer of each weight in a group: the group's own, or, if it is a nested model's, the
    one in the weight's own name, behind the models around it (`sequential/head/dense_1/kernel`).

    Where no configuration says what is inside, a group is a nested model's if its weights name
    more than one scope: a layer's own weights share one, which need not be the layer's name
    (`conv2d_1/conv2d_1_1/kernel:0`).

    TensorFlow's graphs number a scope that is taken: the layer `conv1` of a base that was built
    for the second time in a session has the weights `conv1_1/kernel:0`.
    """
    scopes = [_scope(name).split("/") for name in names]
    if inside:
        return [_innermost(scope, inside) for scope in scopes]
    if all(scope == scopes[0] for scope in scopes):
        return [layer] * len(names)
    alike = itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*scopes, strict=False))
    shared = len(list(alike))
    return _without_common_number(["/".join(scope[shared:] or scope) for scope in scopes])


def _innermost(scope: Sequence[str], inside: Collection[str]) -> str:
    """The longest end of a scope that is a layer, as it is or but for the number of a scope that
    was taken: names may have slashes themselves."""
    ends = ["/".join(scope[start:]) for start in range(len(scope))]
    as_written = (end for end in ends if end in inside)
    unnumbered = (NUMBER.sub("", end) for end in ends if NUMBER.sub("", end) in inside)
    return next(itertools.chain(as_written, unnumbered), "/".join(scope))


def _without_common_number(owners: list[str]) -> list[str]:
    """The layers of a nested model without the number that TensorFlow gave most of their scopes.

    Names that Keras makes up do not share one: it counts the layers of a kind (`conv2d_1`, `_2`).
    """
    scopes = set(owners)
    counted = Counter(found[0] for scope in scopes if (found := NUMBER.search(scope)))
    number, many = counted.most_common(1)[0] if counted else ("", 0)
    bare = {scope: scope.removesuffix(number) for scope in scopes}
    is_common = many > max(SCOPES_OF_A_HEAD, len(scopes) // 2)
    return [bare[one] for one in owners] if is_common else owners


def _scope(name: str) -> str:
    """`conv1/kernel:0` → `conv1`; Keras 1's `conv1_W:0` → `conv1`."""
    scope, slash, last = name.rpartition("/")
    if slash:
        return scope
    spelling = _spelling(name)
    last = NUMBER.sub("", last.partition(":")[0])  # a model that was loaded in the same session
    return "" if last == spelling else last.removesuffix(f"_{spelling}")


def _without_clashes(weights: Sequence[Weight]) -> tuple[Weight, ...]:
    seen: dict[tuple[str, str], Weight] = {}
    for weight in weights:
        other = seen.setdefault((weight.layer, weight.parameter), weight)
        if other is not weight:
            raise MismatchError(
                f"{weight.path} and {other.path} are the same weight of the same layer",
                hints=["two nested models share layer names: save them one by one"],
            )
    return tuple(weights)


def _arrays(datasets: dict[str, Any], wanted: Iterable[Weight]) -> Iterator[tuple[Weight, Array]]:
    for weight in wanted:
        yield weight, _hdf5.read(datasets[weight.path])
