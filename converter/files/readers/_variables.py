"""Keras 3's way to keep weights, also Keras 2.12 to 2.15's in `.weights.h5` and `.keras`.

A group for each layer, named after its class and counted (`layers/conv2d_3/vars/0`), with its
arrays by number. The layer's own name is an attribute of `vars` since Keras 3.6 and nowhere
before; a `config.json` beside the weights tells it too. Nothing tells the order of layers of
different classes.

Sources: keras 3.15 `src/saving/saving_lib.py`; keras 2.13 and 2.15 `saving/saving_lib.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from converter.errors import MismatchError, SourceError, UnsafeError
from converter.files import keras_hub_classes as keras_hub
from converter.files.auto_names import snake_case
from converter.files.checkpoint import COUNT, Array, Checkpoint, Weight
from converter.files.given import Given
from converter.files.model_config import is_model, is_operator, layer_name, model_layers
from converter.files.readers import _hdf5
from converter.files.readers._given import (
    Way,
    as_keras_writes,
    by_names,
    choose,
    contradictions,
    held,
    paired,
)

LAYERS = ("layers", "_layer_checkpoint_dependencies")
"""Groups that hold layers; the second is Keras 2.12 to 2.14's."""

NO_WEIGHTS = frozenset(
    [
        *("optimizer", "metrics", "_metrics", "loss_tracker", "_loss_tracker"),
        *("seed_generator", "_random_generator"),
    ]
)
"""Groups that hold the state of training, not of the network."""

MAX_DEPTH = 12

KERNELS = ("kernel", "bias")
SPECTRAL = "spectral_normalization"
RECURRENT = ("lstm", "gru", "simple_rnn")
RECURRENT_ARRAYS = ("kernel", "recurrent_kernel", "bias")
VARIABLES: Mapping[str, Sequence[str]] = {
    "conv2d": KERNELS,
    "dense": KERNELS,
    "einsum_dense": KERNELS,
    "conv1d": KERNELS,
    "conv3d": KERNELS,
    "conv1d_transpose": KERNELS,
    "conv2d_transpose": KERNELS,
    "conv3d_transpose": KERNELS,
    "depthwise_conv1d": ("depthwise_kernel", "bias"),
    "depthwise_conv2d": ("depthwise_kernel", "bias"),
    "separable_conv1d": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "separable_conv2d": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "time_distributed": KERNELS,
    SPECTRAL: KERNELS,
    **dict.fromkeys(RECURRENT, RECURRENT_ARRAYS),
    "attention": ("scale",),
    "additive_attention": ("scale",),
    "embedding": ("embeddings",),
    "layer_scale": ("gamma",),
    "rms_normalization": ("scale",),
    "scale": ("gamma", "beta"),
    "p_re_lu": ("alpha",),
    "normalization": ("moving_mean", "moving_variance", COUNT),
}
"""The parameters of a class, in the order of its numbers."""

NORMS = frozenset(
    ["batch_normalization", "batch_normalization_v1", "batch_norm", "sync_batch_normalization"]
)


OWN_NORMS = frozenset(["layer_normalization", "group_normalization"])
"""Norms of each value by itself: no statistics are kept."""


@dataclass(slots=True)
class Holder:
    """One Keras object: the groups that lead to it (`layers` left out), its own name where the
    file says it, and its arrays by number. `arrays` may come from several shards. `is_attribute`
    says that it is not in the list of its model's layers: its group has the attribute's name."""

    path: tuple[str, ...]
    name: str | None = None
    arrays: dict[str, Any] = field(default_factory=dict)
    is_model: bool = False
    is_attribute: bool = False
    homes: dict[str, str] = field(default_factory=dict)
    """Where the arrays are that another group holds for it, by their number here."""
    names: tuple[str, ...] = ()
    """The parameters that its arrays are, where its class and their count do not say it."""

    @property
    def kind(self) -> str:
        """Its class, in snake case: `conv2d_3` is a `conv2d`."""
        return counted(self.path[-1])[0] if self.path else ""


def recognised(file: Any) -> bool:
    """Whether an open HDF5 file keeps its weights like this."""
    return any(_hdf5.has_group(file, name) for name in (*LAYERS, "vars"))


def counted(group: str) -> tuple[str, int]:
    """`conv2d_3` → (`conv2d`, 3): groups sort by number, HDF5 lists them by letter."""
    stem, _, number = group.rpartition("_")
    return (stem, int(number)) if stem and number.isdigit() else (group, 0)


def holders(files: Iterable[Any]) -> list[Holder]:
    """Every layer in a file, or in the shards of one, those of nested models too."""
    found: dict[tuple[str, ...], Holder] = {}
    for file in files:
        for one in _walk(file, ()):
            known = found.setdefault(one.path, one)
            if known is not one:
                _merge(known, one)
    in_order = sorted(found.values(), key=lambda one: [counted(name) for name in one.path])
    return list(_with_wrapped([one for one in in_order if one.path]))


HEADS = "multi_head_attention"
WITHIN_HEADS: Mapping[tuple[str, ...], str] = {
    (f"{mark}{way}",): front
    for mark in ("", "_")  # Keras 2.15 writes the attributes' names with it
    for way, front in (
        *(("query_dense", "query_"), ("key_dense", "key_"), ("value_dense", "value_")),
        *(("output_dense", "output_"), ("softmax", "softmax_"), ("dropout_layer", "dropout_")),
    )
}

WRAPPERS: Mapping[str, Mapping[tuple[str, ...], str]] = {
    "time_distributed": {("layer",): ""},
    SPECTRAL: {("layer",): ""},  # it keeps the same kernel once more, and a vector for training
    **{kind: {("cell",): ""} for kind in RECURRENT},
    HEADS: WITHIN_HEADS,
    "bidirectional": {
        ("forward_layer", "cell"): "forward_",
        ("backward_layer", "cell"): "backward_",
    },
}
"""Layers that hold others as attributes, whose arrays are theirs: the ways to those, in order, and
what stands in front of their parameters where there are several."""


def _with_wrapped(found: Sequence[Holder]) -> Iterator[Holder]:
    """What is found, with the arrays of wrapped layers in the layers that hold them."""
    by_path = {one.path: one for one in found}
    inside = {
        (*one.path, *way[:length])
        for one in found
        for way in WRAPPERS.get(one.kind, ())
        for length in range(1, len(way) + 1)
    }
    for one in found:
        if one.path in inside and not one.is_model:
            continue
        ways = WRAPPERS.get(one.kind, {})
        there = ((front, by_path.get((*one.path, *way))) for way, front in ways.items())
        yield _holding(one, {front: held for front, held in there if held and not held.is_model})


def _holding(one: Holder, inner: Mapping[str, Holder]) -> Holder:
    """A layer with the arrays of those that it holds, counted on."""
    if not inner:
        return one
    listed = [
        (held.arrays[number], _address(held, number), f"{front}{name}")
        for front, held in inner.items()
        for number, name in zip(sorted(held.arrays, key=_in_turn), _within(one, held), strict=True)
    ]
    return replace(
        one,
        arrays={str(number): dataset for number, (dataset, _, _) in enumerate(listed)},
        homes={str(number): home for number, (_, home, _) in enumerate(listed)},
        names=tuple(name for *_, name in listed) if len(inner) > 1 else (),
    )


def _within(one: Holder, held: Holder) -> Sequence[str]:
    """The parameters of what a layer holds."""
    kind = "dense" if one.kind == HEADS else RECURRENT[0]
    return _parameters(kind, len(held.arrays), has_gamma=False)


def _merge(known: Holder, other: Holder) -> None:
    """Another shard's part of the same layer; only the first names it."""
    twice = known.arrays.keys() & other.arrays.keys()
    if twice:
        raise SourceError(f"{'/'.join(known.path)} has array {min(twice)} in two shards")
    known.arrays.update(other.arrays)
    known.name = known.name or other.name
    known.is_model |= other.is_model


def _walk(group: Any, path: tuple[str, ...]) -> Iterator[Holder]:
    if len(path) > MAX_DEPTH:
        raise UnsafeError("groups within groups, over the limit")
    _check_size(group)
    one = Holder(path, is_model=any(name in group for name in LAYERS))
    if "vars" in group:
        variables = _hdf5.group(group, "vars")
        one.name = _hdf5.text(variables, "name")
        one.arrays = {number: _hdf5.dataset(variables, number) for number in variables}
    yield one
    for name in group:
        if name == "vars" or name in NO_WEIGHTS:
            continue
        if name in LAYERS:
            inner = _hdf5.group(group, name)
            _check_size(inner)
            for layer in inner:
                yield from _walk(_hdf5.group(inner, layer), (*path, layer))
        else:
            first, *others = _walk(_hdf5.group(group, name), (*path, name))
            yield replace(first, is_attribute=True)
            yield from others


def _check_size(group: Any) -> None:
    if len(group) > _hdf5.MAX_NAMES:
        raise UnsafeError(f"a group of {len(group):,} members: over the limit")


def weights(found: Sequence[Holder], scales: Mapping[str, bool] | None = None) -> list[Weight]:
    """The arrays as weights; `scales` says of norms by name whether they have a gamma."""
    return [weight for one in found for weight in _weights(one, scales or {})]


def _weights(one: Holder, scales: Mapping[str, bool]) -> Iterator[Weight]:
    layer = label(one)
    numbers = sorted(one.arrays, key=_in_turn)
    if numbers != [str(number) for number in range(len(numbers))]:
        raise SourceError(f"the arrays of {layer!r} are numbered {', '.join(numbers[:8])}")
    names = one.names or _parameters(one.kind, len(numbers), scales.get(layer, False))
    for number, name in zip(numbers, names, strict=True):
        dataset = one.arrays[number]
        yield Weight(
            group=layer,
            layer=layer,
            parameter=name,
            path=_address(one, number),
            shape=tuple(dataset.shape),
            dtype=_hdf5.weight_type(dataset, name, f"{layer}/{name}"),
            spelling=number,
        )


def _in_turn(number: str) -> tuple[int, str]:
    """What sorts numbers that are text."""
    return len(number), number


def label(one: Holder) -> str:
    """The layer's own name, or, where the file does not say it, the way to its group."""
    return one.name or "/".join(one.path)


def _parameters(kind: str, count: int, has_gamma: bool) -> Sequence[str]:
    """What the numbers mean. A norm of three arrays has no gamma (MXNet's `bn_data`), unless its
    configuration says that it has one, and so no beta."""
    norms: dict[int, Sequence[str]] = {
        4: ("gamma", "beta"),
        3: ("gamma",) if has_gamma else ("beta",),
        2: (),
    }
    if kind in OWN_NORMS and count in (1, 2):
        return ("gamma", "beta") if count == 2 else ("gamma",) if has_gamma else ("beta",)
    if kind in NORMS and count in norms:
        return (*norms[count], "moving_mean", "moving_variance")
    known = VARIABLES.get(kind, ())
    return known[:count] if count <= len(known) else [f"variable {n}" for n in range(count)]


def datasets(found: Sequence[Holder]) -> dict[str, Any]:
    """`{path of a weight: its dataset}`."""
    return {
        _address(one, number): dataset for one in found for number, dataset in one.arrays.items()
    }


def _address(one: Holder, number: str) -> str:
    """Where an array is in its file."""
    return one.homes.get(number) or "/".join((*one.path, "vars", number))


def arrays(stored: Mapping[str, Any], wanted: Iterable[Weight]) -> Iterator[tuple[Weight, Array]]:
    for weight in wanted:
        yield weight, _hdf5.read(stored[weight.path])


def checkpoint(
    path: Path,
    container: str,
    found: Sequence[Holder],
    *,
    config: Any = None,
    description: Any = None,
    keras_version: str | None = None,
    shards: tuple[str, ...] = (),
    given: Given | None = None,
) -> Checkpoint:
    """The checkpoint of what was found; `config` gives the layers their names, `description` is
    that of a model class which lists none, and `given` what the user gives for weights alone."""
    found, has_preprocessor = _without_preprocessor(found, description)
    _check_listed(path, found)
    scales: dict[str, bool] = {}
    if config is not None:
        try:
            name_from_config(found, config)
            scales = gammas(config)
        except (KeyError, TypeError, AttributeError, RecursionError) as error:
            raise SourceError(f"{path}: config.json is not one that Keras writes") from error
    stored = datasets(found)
    if not shards:  # addresses are those of one file
        _hdf5.check_distinct(stored)
    weightless = [one for one in found if not one.arrays and not one.is_model]
    is_old = keras_version is not None and keras_version.startswith("2.")
    read = Checkpoint(
        path=path,
        container=container,
        weights=tuple(weights(found, scales)),
        layers=layer_names(found),
        arrays=lambda wanted: arrays(stored, wanted),
        keras_version=keras_version,
        backend="tensorflow" if is_old else None,  # Keras 3's kernels are the same on every one
        config=config,
        description=description,
        shards=shards,
        is_ordered=False,
        kinds={label(one): one.kind for one in weightless},
        homes={label(one): "/".join(one.path[:-1]) for one in weightless},
        is_named=all(one.name is not None for one in found if one.arrays),
        has_preprocessor=has_preprocessor,
    )
    return _as_given(read, found, given) if given else read


def _as_given(read: Checkpoint, found: Sequence[Holder], given: Given) -> Checkpoint:
    """Weights alone with the layers of a configuration that is given for them: by their own names,
    where the file has them, or by class and number."""
    with as_keras_writes(given):
        renamed, order = _by_number(read, found, given.config)
        names = Way("names", misfits=("the file does not name its layers",))
        if read.is_named:
            names = by_names(given.config, weights(found, gammas(given.config)))
    chosen, other = choose(read.path, given, names, order)
    final = renamed if chosen.match == "order" else found
    is_old = str(given.keras_version).startswith("2.")
    read = replace(
        read,
        layers=layer_names(final),
        backend="tensorflow" if is_old else None,
        kinds={},
        homes={},
        is_named=True,
    )
    return paired(read, given, chosen, other)


def _by_number(
    read: Checkpoint, found: Sequence[Holder], config: Any
) -> tuple[Sequence[Holder], Way]:
    """The layers of a file by their class and number in a configuration."""
    try:
        named = dict(_paired(found, config, ()))
    except MismatchError as error:
        return found, Way("order", misfits=(error.headline,))
    renamed = [replace(one, name=named.get(one.path, one.name)) for one in found]
    in_order = weights(renamed, gammas(config))
    misfits = tuple(held(config, in_order))
    if misfits or not read.is_named:
        return renamed, Way("order", tuple(in_order), misfits)
    against = contradictions(config, read.weights, in_order)
    return renamed, Way("order", tuple(in_order), (), tuple(against))


def _without_preprocessor(
    found: Sequence[Holder], description: Any
) -> tuple[Sequence[Holder], bool]:
    """(what is found but the preprocessor of keras-hub's tasks, whether there is one)."""
    inside = [one for one in found if one.path[0] == keras_hub.PREPROCESSOR]
    others = [one for one in found if one.path[0] != keras_hub.PREPROCESSOR]
    is_attribute = any(one.is_attribute and len(one.path) == 1 for one in inside)
    groups = {one.path: bool(one.arrays) for one in inside}
    has_backbone = any(counted(one.path[0])[0] == BACKBONE_GROUP for one in others)
    if is_attribute and keras_hub.is_preprocessor(groups, description, has_backbone):
        return others, True
    return found, False


BACKBONE_GROUP = "res_net_backbone"
"""The group of keras-hub's ResNetBackbone, after its class."""


def _check_listed(path: Path, found: Sequence[Holder]) -> None:
    """Refuse a model that holds layers as attributes: what they are, and in which order they run,
    is in its code alone."""
    held = [one.path[0] for one in found if one.is_attribute and len(one.path) == 1]
    if held:
        raise MismatchError(
            f"{path} is of a model class of its own: neither what its parts are nor their order is "
            "in the file",
            [f"a part: {name}" for name in held],
            ["save what it holds as a functional model or keras.Sequential, or its ResNet alone"],
        )


# ---- names from a configuration


def name_from_config(found: Sequence[Holder], config: Any) -> None:
    """Give every layer the name that `config.json` has for it.

    The k-th group of a class is the k-th layer of that class in its model (the suffixes of 2.12
    and 2.13 skip numbers, so they are counted, not read). Raises MismatchError where the counts
    differ, or where a name that the file has itself is another one.
    """
    by_path = {one.path: one for one in found}
    for path, name in _paired(found, config, ()):
        one = by_path[path]
        if one.name not in (None, name):
            raise MismatchError(f"config.json calls a layer {name!r}, its weights {one.name!r}")
        one.name = name


def _paired(
    found: Sequence[Holder], config: Any, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str]]:
    groups: dict[str, list[str]] = {}
    for one in found:
        if one.path[:-1] == path:
            groups.setdefault(one.kind, []).append(one.path[-1])
    layers: dict[str, list[Any]] = {}
    for layer in model_layers(config):
        if is_operator(layer):
            continue  # Keras 3 lists them, and keeps no group for them
        layers.setdefault(snake_case(layer["class_name"]), []).append(layer)
    for kind, group_names in groups.items():
        listed = layers.get(kind, [])
        if len(listed) != len(group_names):
            raise MismatchError(
                f"config.json has {len(listed)} layers of the class {kind!r}, and the weights "
                f"{len(group_names)}"
            )
        for name, layer in zip(group_names, listed, strict=True):
            yield (*path, name), layer_name(layer)
            if is_model(layer):
                yield from _paired(found, layer, (*path, name))


def gammas(config: Any) -> dict[str, bool]:
    """`{norm: whether it has a gamma}` for every layer of a configuration that says so."""
    found: dict[str, bool] = {}
    for layer in model_layers(config):
        inner = layer.get("config")
        if is_model(layer):
            found |= gammas(layer)
        elif isinstance(inner, dict) and "scale" in inner and "center" in inner:
            found[layer_name(layer)] = bool(inner["scale"] or inner.get("rms_scaling"))
    return found


def layer_names(found: Sequence[Holder]) -> tuple[str, ...]:
    """Every layer's name, weightless ones too, nested models opened up."""
    names = list(dict.fromkeys(label(one) for one in found if not one.is_model))
    with_arrays = Counter(label(one) for one in found if one.arrays and not one.is_model)
    twice = [name for name, count in with_arrays.items() if count > 1]
    if twice:
        raise MismatchError(
            f"two layers of the file are called {twice[0]!r}",
            hints=["two nested models share layer names: save them one by one"],
        )
    return tuple(names)
