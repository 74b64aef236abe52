"""Which layer of a given configuration has which of a file's weights, as Keras decides it.

By name where all names fit. Otherwise in Keras' order: `load_weights` of an `.h5` pairs the layers
that have weights one by one, whatever they are called, so a file of another session loads
(`conv2d_54` in it is `conv2d_1` here); a `.weights.h5` goes by class and number. Every array is
held against what its layer's configuration says.

A wrong pair of one shape is found by no shape. What contradicts an order is looked for: a name
that somebody gave and that stands at another place, numbers of one class that were not counted in
the same order on both sides, two layers of the file that are one in the configuration. Then, and
where names and order both fit and pair differently, it is for the user to say which.

Sources: keras 1.2.2 `Container.load_weights_from_hdf5_group`, 2.3.1 `engine/saving.py`, 3.15
`legacy_h5_format.load_weights_from_hdf5_group` and `saving_lib.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from converter.errors import MismatchError, SourceError, UsageError
from converter.files import layer_weights
from converter.files.auto_names import made_up_number
from converter.files.checkpoint import Checkpoint, Weight
from converter.files.given import Given, Match
from converter.files.layer_weights import Slot
from converter.files.model_config import all_layers, is_model, layer_name, model_layers

Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Way:
    """One way to pair: every weight with a layer, what does not fit, and what contradicts it."""

    match: Match
    weights: tuple[Weight, ...] = ()
    misfits: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        return not self.misfits


def refuse_whole(path: Path) -> UsageError:
    return UsageError(
        f"{path} is a whole model, whose own configuration says what its network is",
        hints=["a configuration is given for a file of weights alone"],
    )


@contextmanager
def as_keras_writes(given: Given) -> Iterator[None]:
    """What is not to be found in a configuration is a refusal of it."""
    if not is_model(given.config):
        raise MismatchError(
            f"the model of {given} is of a class of its own, {given.config.get('class_name')!r}: "
            "its layers are in its code, and not in its configuration"
        )
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as error:
        found = f"{type(error).__name__}: {error}"
        raise SourceError(f"{given}: it is not one that Keras writes", [found[:200]]) from error


def choose(path: Path, given: Given, by_names: Way, by_order: Way) -> tuple[Way, Way | None]:
    """(the way that is taken, the other one if it fits too and pairs differently).

    Raises MismatchError with all misfits where none fits, or where what is in the file contradicts
    the only one that does.
    """
    ways = {way.match: way for way in (by_names, by_order)}
    if given.match:
        chosen = ways[given.match]
        if not chosen.fits:
            raise _misfit(path, given, chosen)
        return chosen, None
    if by_names.fits:
        differs = by_order.fits and _pairs(by_order) != _pairs(by_names)
        return by_names, by_order if differs else None
    if not by_order.fits:
        raise _misfit(path, given, by_names if _share_names(given, by_names) else by_order)
    if by_order.contradictions:
        raise MismatchError(
            f"the weights in {path} fit {given} by their order and shapes alone, and their names "
            "contradict that",
            by_order.contradictions,
            ["give the configuration of the very model that was saved, or say --match order"],
        )
    return by_order, None


def _share_names(given: Given, by_names: Way) -> bool:
    """Whether most layers of a file are called as some layer of the configuration: then what does
    not fit is told by their names."""
    theirs = {one.layer for one in by_names.weights}
    ours = {layer_name(layer) for layer in all_layers(given.config)}
    return 2 * len(theirs & ours) >= len(theirs) > 0


def _misfit(path: Path, given: Given, way: Way) -> MismatchError:
    how = {"names": "by the names of the layers", "order": "in the order of the layers"}[way.match]
    return MismatchError(
        f"the weights in {path} do not fit {given} ({how})",
        way.misfits,
        ["give the configuration of the model that was saved: the same depth, widths and classes"],
    )


def paired(checkpoint: Checkpoint, given: Given, chosen: Way, other: Way | None) -> Checkpoint:
    """The checkpoint of a file of weights as the whole model that it was."""
    return replace(
        checkpoint,
        notes=(*checkpoint.notes, *_others(checkpoint, given)),
        weights=chosen.weights,
        config=given.config,
        keras_version=checkpoint.keras_version or given.keras_version,
        backend=checkpoint.backend or given.backend,
        match=chosen.match,
        rivals=rivals(chosen, other),
        given=given,
    )


def _others(checkpoint: Checkpoint, given: Given) -> Iterator[str]:
    """That a configuration is from another Keras, or from another backend, than the weights."""
    said = (
        ("Keras", checkpoint.keras_version, given.keras_version),
        ("backend", checkpoint.backend, given.backend),
    )
    for what, theirs, ours in said:
        if theirs and ours and not theirs.startswith(ours):  # Keras 3 says no more than that
            yield f"{what} {theirs} wrote the weights, {what} {ours} the configuration"


def rivals(chosen: Way, other: Way | None) -> tuple[str, ...]:
    """What two ways pair differently, in words."""
    if other is None:
        return ()
    there = {one.path: one.layer for one in other.weights}
    return tuple(
        f"{one.path} is of {one.layer!r} by the {chosen.match} of the layers, and of "
        f"{there[one.path]!r} by their {other.match}"
        for one in chosen.weights
        if there[one.path] != one.layer
    )


def _pairs(way: Way) -> dict[str, tuple[str, str]]:
    return {one.path: (one.layer, one.parameter) for one in way.weights}


# ---- by name


def by_names(config: Config, weights: Sequence[Weight]) -> Way:
    """Weights whose layers are called as in the configuration."""
    return Way("names", tuple(weights), tuple(held(config, weights)))


def held(config: Config, weights: Sequence[Weight]) -> Iterator[str]:
    """What does not fit: layers and arrays that one side lacks, and shapes."""
    stored: dict[str, dict[str, Weight]] = {}
    for one in weights:
        stored.setdefault(one.layer, {})[one.parameter] = one
    known: set[str] = set()
    for layer in all_layers(config):
        name = layer_name(layer)
        known.add(name)
        slots = layer_weights.slots(layer)
        if slots is not None:
            yield from _of_layer(name, layer, slots, stored.get(name, {}))
    for name, found in stored.items():
        if name not in known:
            shapes = ", ".join(f"{one.parameter} {one.shape}" for one in found.values())
            yield f"the file has a layer {name!r} ({shapes}), and the configuration has none"


def _of_layer(
    name: str, layer: Config, slots: Sequence[Slot], found: Mapping[str, Weight]
) -> Iterator[str]:
    required = [slot for slot in slots if not slot.is_optional]
    if required and not found:
        yield f"{layer['class_name']} {name!r} is in the configuration, and not in the file"
        return
    for slot in slots:
        weight = found.get(slot.parameter)
        if weight is not None and not slot.fits(weight.shape):
            yield _shapes(name, slot, weight)
        elif weight is None and not slot.is_optional:
            yield f"{name!r} has no {slot.parameter} in the file"
    for parameter in found.keys() - {slot.parameter for slot in slots}:
        yield f"{name!r} has a {parameter} in the file, and not in the configuration"


def _shapes(name: str, slot: Slot, weight: Weight) -> str:
    return (
        f"{name}/{slot.parameter} is {slot.shape_text} by the configuration, and "
        f"{weight.path} is {weight.shape}"
    )


# ---- by order


def by_order(config: Config, weights: Sequence[Weight]) -> Way:
    """The k-th layer of the file that has weights is the k-th of the configuration; within a
    nested model its arrays stand in Keras' order."""
    unknown = tuple(layer_weights.unknown_classes(config))
    if unknown:
        return Way(
            "order",
            misfits=tuple(f"{one}: whether it has weights is not known" for one in unknown),
        )
    groups = [list(some) for _, some in groupby(weights, key=lambda one: one.group)]
    layers = [(layer_name(layer), layer_weights.in_order(layer)) for layer in model_layers(config)]
    expected = [(layer, slots) for layer, slots in layers if slots]
    if len(groups) != len(expected):
        return Way("order", misfits=tuple(_counts(groups, expected)))
    paired: list[Weight] = []
    misfits: list[str] = []
    for group, (top, slots) in zip(groups, expected, strict=True):
        slots = _as_many(slots, len(group))
        if [slot.parameter for _, slot in slots] != [one.parameter for one in group]:
            misfits.append(_other_arrays(top, slots, group))
            continue
        for weight, (layer, slot) in zip(group, slots, strict=True):
            if not slot.fits(weight.shape):
                misfits.append(_shapes(layer, slot, weight))
            paired.append(replace(weight, layer=layer, group=top))
    if misfits:
        return Way("order", misfits=tuple(misfits))
    return Way("order", tuple(paired), (), tuple(contradictions(config, weights, paired)))


def _as_many(slots: list[tuple[str, Slot]], count: int) -> list[tuple[str, Slot]]:
    """Those that are always kept, where the file has no others."""
    if len(slots) == count:
        return slots
    return [(layer, slot) for layer, slot in slots if not slot.is_optional]


def _other_arrays(top: str, slots: list[tuple[str, Slot]], group: Sequence[Weight]) -> str:
    expected = ", ".join(slot.parameter for _, slot in slots[:8])
    found = ", ".join(one.parameter for one in group[:8])
    if len(slots) != len(group):
        expected, found = f"{len(slots)} arrays", f"{len(group)}"
    return f"{top!r} has {expected} by the configuration, {group[0].group!r} of the file {found}"


def _counts(
    groups: Sequence[Sequence[Weight]], expected: Sequence[tuple[str, Any]]
) -> Iterator[str]:
    yield f"the configuration has {len(expected)} layers with weights, and the file {len(groups)}"
    names = dict.fromkeys(group[0].group for group in groups)
    listed = dict.fromkeys(top for top, _ in expected)
    yield from (f"{top!r} is in the configuration alone" for top in listed if top not in names)
    yield from (f"{name!r} is in the file alone" for name in names if name not in listed)


# ---- what contradicts an order


def contradictions(
    config: Config, stored: Sequence[Weight], paired: Sequence[Weight]
) -> Iterator[str]:
    """What says that weights in this order are of other layers than those that they are paired
    with, though shapes fit."""
    classes = {layer_name(layer): str(layer["class_name"]) for layer in all_layers(config)}
    pairs = list(
        dict.fromkeys((one.layer, other.layer) for one, other in zip(stored, paired, strict=True))
    )
    yield from _split(pairs)
    theirs = {one for one, _ in pairs}
    numbers: dict[str, list[tuple[int, int, str, str]]] = {}
    for one, layer in pairs:
        counts = (made_up_number(name, classes[layer]) for name in (one, layer))
        theirs_is, ours_is = counts
        if theirs_is is not None and ours_is is not None:
            numbers.setdefault(classes[layer], []).append((theirs_is, ours_is, one, layer))
        elif one != layer and (one in classes or layer in theirs):
            yield f"{one!r} of the file stands where the configuration has {layer!r}"
    for some in numbers.values():
        yield from _miscounted(some)


def _split(pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    for side, (this, that) in enumerate((("file", "configuration"), ("configuration", "file"))):
        others: dict[str, list[str]] = {}
        for pair in pairs:
            others.setdefault(pair[side], []).append(pair[1 - side])
        for name, found in others.items():
            if len(found) > 1:
                several = " and ".join(map(repr, found[:3]))
                yield f"{name!r} is one layer in the {this}, and would be {several} of the {that}"


def _miscounted(pairs: list[tuple[int, int, str, str]]) -> Iterator[str]:
    """Pairs of one class whose numbers, which count the layers as they were made, do not rise
    together."""
    in_turn = sorted(pairs)
    for before, after in pairwise(in_turn):
        if before[1] > after[1]:
            yield (
                f"{after[2]!r} was made after {before[2]!r} in the file, and {after[3]!r} before "
                f"{before[3]!r} in the configuration"
            )
