"""Weights only: whether layers without weights stand where a network has them.

Where a container lists layers in order, the list is held against the one that Keras would have
written of the network that was read (`expected`): each sum, activation, pool and padding
in its place, and none beside them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from converter.weights_only import weightless
from converter.weights_only.expected import (
    ACTIVATION,
    MAX,
    PAD,
    REGROUP,
    SUM,
    Code,
    Padded,
    Place,
    keras_order,
)
from converter.weights_only.listing import Listing
from converter.weights_only.match import Match
from converter.weights_only.weightless import NOTHING, UNTOLD
from resnet_pt.architecture import Architecture


@dataclass(frozen=True, slots=True)
class Places:
    """How a file's list of layers fits a network.

    `is_listed` is False where the file lists no layers of the network but those with weights, or
    none in order: nothing is then compared. `misfits` are the differences, in words. `taken` gives
    the layers without weights from the stem's first convolution to the end of the network, each
    with its place. `unlisted` are the kinds ('sum', 'activation') that the file lists nowhere:
    operators on tensors leave no layer. `behind` are the layers behind the network.
    """

    is_listed: bool = False
    misfits: tuple[str, ...] = ()
    taken: Mapping[str, Place] = field(default_factory=dict)
    unlisted: tuple[str, ...] = ()
    padded: Padded = "none"
    behind: tuple[str, ...] = ()
    cut: str = ""
    """The layer behind which less is listed than the network has at its end, if that is all."""
    untold: tuple[str, ...] = ()
    """Those of `taken` whose names say nothing: they are what they are by their place alone."""
    idle: tuple[str, ...] = ()
    """Layers that do nothing at inference by a name that is not Keras' own."""


def places(listing: Listing, architecture: Architecture) -> Places:
    """The file's list held against that of the `architecture` that it is read as."""
    if not listing.is_complete:
        return Places()
    found, code_name = _Listed.of(listing), listing.match.dialect.name
    regrouped = any(REGROUP in kinds for gap in found.gaps for kinds in gap.values())
    codes = [
        Code(shortcut_first, padded, regrouped)
        for shortcut_first in (False, True)
        for padded in PADDED
    ]
    lists = [(code, _gaps(keras_order(architecture, code))) for code in codes]
    in_order = [one for one in lists if found.modules == tuple(module for module, _ in one[1])]
    if not in_order:
        return Places(True, (_other_order(found, lists[0][1], code_name),))
    fits = (
        _compared(found, expected, unlisted, code.padded, code_name)
        for code, expected in in_order
        for unlisted in UNLISTED
    )
    return _nearest(one for one in fits if not (one.unlisted and one.untold))


def _nearest(fits: Iterator[Places]) -> Places:
    """The first without a misfit, or the one with the fewest."""
    found: list[Places] = []
    for one in fits:
        if not one.misfits:
            return one
        found.append(one)
    return min(found, key=lambda one: len(one.misfits))


PADDED: tuple[Padded, ...] = ("none", "wide", "strided")
UNLISTED: tuple[tuple[str, ...], ...] = ((), (SUM,), (ACTIVATION,), (SUM, ACTIVATION))


Kinds = Mapping[str, frozenset[str]]
"""`{layer without weights: what it can be}`, in the file's order."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """The file's list from the stem's first convolution on: the modules of its layers with weights,
    and what stands behind each of them, up to the next."""

    modules: tuple[str, ...]
    layers: tuple[str, ...]
    gaps: tuple[Kinds, ...]
    behind: tuple[str, ...]

    @classmethod
    def of(cls, listing: Listing) -> _Listed:
        modules = {layer: module for module, layer in listing.match.modules.items()}
        weighted, listed = listing.weighted, listing.checkpoint.layers
        start = listed.index(listing.match.modules[first_module(listing.match)])
        last = max(listed.index(layer) for layer in modules)
        names: list[str] = []
        gaps: list[dict[str, frozenset[str]]] = []
        behind = (x for x, one in enumerate(listed) if x > last and one in weighted)
        end = next(behind, len(listed))
        for layer in listed[start:end]:
            if layer in weighted:
                names.append(layer)
                gaps.append({})
            else:
                gaps[-1][layer] = listing.kinds(layer)
        found = tuple(modules.get(layer, "") for layer in names)
        return cls(found, tuple(names), tuple(gaps), tuple(listed[end:]))


def first_module(match: Match) -> str:
    """The module of the network's first convolution."""
    return "conv1.0" if "conv1.0" in match.modules else match.dialect.stem


def _gaps(expected: Sequence[Place]) -> list[tuple[str, list[Place]]]:
    """Each module with the places behind it, up to the next one's."""
    found: list[tuple[str, list[Place]]] = []
    for place in expected:
        if place.module:
            found.append((place.module, []))
        else:
            found[-1][1].append(place)
    return found


def _compared(
    listed: _Listed,
    expected: Sequence[tuple[str, list[Place]]],
    unlisted: Sequence[str],
    padded: Padded,
    code: str,
) -> Places:
    """What fits and what does not, where those of the `unlisted` kinds are not looked for."""
    taken: dict[str, Place] = {}
    misfits: list[str] = []
    behind: tuple[str, ...] = ()
    for number, (layer, gap) in enumerate(zip(listed.layers, listed.gaps, strict=True)):
        wanted = [place for place in expected[number][1] if place.kind not in unlisted]
        is_last = number + 1 == len(expected)
        fits = _fits(list(gap.items()), wanted, is_last)
        fit = next((one for one in fits if not _lacks_pool(one, wanted)), None)
        if fit is None:
            misfits.append(_misfit(layer, gap, wanted, code))
            continue
        taken |= fit
        behind = tuple(one for one in gap if one not in fit)
    known = [(one, kinds) for gap in listed.gaps for one, kinds in gap.items()]
    untold = tuple(one for one, kinds in known if one in taken and kinds == UNTOLD)
    idle = [one for one, kinds in known if weightless.is_said_to_do_nothing(one, kinds)]
    end = list(listed.gaps[-1].items())
    shorter = any(next(_fits(end, wanted[:n], True), None) is not None for n in range(len(wanted)))
    is_cut = fit is None and len(misfits) == 1 and shorter
    return Places(
        is_listed=True,
        misfits=tuple(misfits),
        taken=taken,
        unlisted=tuple(unlisted),
        padded=padded,
        behind=(*behind, *listed.behind),
        cut=layer if is_cut else "",
        untold=untold,
        idle=tuple(one for one in idle if one not in behind),
    )


def _fits(
    gap: Sequence[tuple[str, frozenset[str]]], wanted: Sequence[Place], is_last: bool
) -> Iterator[dict[str, Place]]:
    """Every way to give each of `wanted` a layer of `gap`, in order, and to leave no layer over;
    what follows the last one `is_last` is the head's."""
    if not gap or (is_last and not wanted):
        if all(place.optional for place in wanted):
            yield {}
        return
    (layer, kinds), *rest = gap
    if wanted and wanted[0].kind in kinds:
        for fit in _fits(rest, wanted[1:], is_last):
            yield {layer: wanted[0], **fit}
    if wanted and wanted[0].optional:
        yield from _fits(gap, wanted[1:], is_last)
    if NOTHING in kinds:
        yield from _fits(rest, wanted, is_last)


def _lacks_pool(fit: Mapping[str, Place], wanted: Sequence[Place]) -> bool:
    """Whether a padding is taken for that of the stem's pool, and nothing for the pool."""
    taken = [place.kind for place in fit.values() if place.optional]
    return PAD in taken and MAX not in taken and any(place.kind == MAX for place in wanted)


def _misfit(layer: str, gap: Kinds, wanted: Sequence[Place], code: str) -> str:
    listed = ", ".join(repr(one) for one, kinds in gap.items() if NOTHING not in kinds)
    kinds = ", ".join(f"{place.kind} or none" if place.optional else place.kind for place in wanted)
    return f"behind {layer!r} it lists {listed or 'nothing'}; {code} has {kinds or 'nothing'} there"


def _other_order(listed: _Listed, expected: Sequence[tuple[str, list[Place]]], code: str) -> str:
    """The first layer with weights that stands in another place."""
    names = dict(zip(listed.modules, listed.layers, strict=True))
    pairs = itertools.zip_longest(listed.layers, [module for module, _ in expected])
    layer, module = next((one, other) for one, other in pairs if one != names.get(other or ""))
    return f"{layer!r} is listed where {code} has {names.get(module or '', module)!r}"
