"""The catch-rate campaign: single faults in right conversions, and right conversions alone.

A fault is caught if the proof is not equal, or a tensor is not the source's bit for bit. It is
named where it is if the first wrong layer is the faulty one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from faults import FAULTS, Conversion, Fault, Site

from converter.parity.comparing.layers import compared
from converter.parity.original.recording import Recording
from converter.parity.prove import Parity, compare_model

PLACES = ("early", "middle", "late")


@dataclass(frozen=True)
class Subject:
    """A network that is right, with what its original computed."""

    name: str
    conversion: Conversion
    recording: Recording

    def broken(self, fault: Fault, site: Site, seed: int) -> Conversion:
        one = self.conversion
        broken = replace(one, tensors=dict(one.tensors), behaviour=[])
        fault.make(broken, site, np.random.default_rng(seed))
        return broken


@dataclass(frozen=True)
class Outcome:
    """What the proof said of one fault."""

    subject: str
    kind: str
    place: str
    site: Site
    by_logits: bool
    by_layers: bool
    by_tensors: bool
    named: str
    module: str
    diagnosis: str

    @property
    def caught(self) -> bool:
        return self.by_logits or self.by_layers or self.by_tensors

    @property
    def is_exact(self) -> bool:
        return self.named == self.site.layer and self.site.words in self.diagnosis

    @property
    def is_in_block(self) -> bool:
        """Whether a layer of the faulty block is named, if not the very one."""
        return self.is_exact or self.module.split(".")[:2] == self.site.module.split(".")[:2]

    @property
    def is_explained(self) -> bool:
        return bool(self.diagnosis)


def places(sites: Sequence[Site], seed: int) -> Iterator[tuple[str, Site]]:
    """A site in each third of the network, fewer where there are fewer."""
    generator = np.random.default_rng(seed)
    thirds = np.array_split(np.arange(len(sites)), 3)
    for place, third in zip(PLACES, thirds, strict=True):
        if len(third):
            yield place, sites[int(generator.choice(third))]


def run(
    subjects: Iterable[Subject], seed: int, faults: Sequence[Fault] = FAULTS, limit: int = 3
) -> Iterator[Outcome]:
    """Every kind of fault at up to `limit` sites of every subject that has such sites."""
    for subject in subjects:
        for number, fault in enumerate(faults):
            chosen = list(places(fault.sites(subject.conversion), seed + number))
            for place, site in chosen[:limit]:
                yield judged(subject, fault, place, site, seed)


def judged(subject: Subject, fault: Fault, place: str, site: Site, seed: int) -> Outcome:
    broken = subject.broken(fault, site, seed)
    parity = compared_with(broken, subject.recording)
    wrong = wrong_layers(subject, broken)
    named = parity.first_wrong_layer or (wrong[0] if wrong else "")
    modules = {layer: module for module, layer in subject.conversion.names().items()}
    return Outcome(
        subject=subject.name,
        kind=fault.kind,
        place=place,
        site=site,
        by_logits=any(one.counts and not one.passes for one in parity.comparisons),
        by_layers=any(not one.own_passes for one in parity.layers),
        by_tensors=bool(wrong),
        named=named,
        module=modules.get(named, ""),
        diagnosis=parity.diagnosis,
    )


def compared_with(one: Conversion, recording: Recording) -> Parity:
    return compare_model(one.model(), compared(one.network.structure), recording, ("cpu",))


def wrong_layers(subject: Subject, broken: Conversion) -> list[str]:
    """The Keras layers of tensors with another bit than the right ones, which a conversion has
    proven against the source."""
    names, right = subject.conversion.names(), subject.conversion.tensors
    return [
        names[name.rpartition(".")[0]]
        for name in right
        if right[name].tobytes() != broken.tensors[name].tobytes()
    ]


# ---- right conversions, run in every way


@dataclass(frozen=True)
class Setting:
    subject: str
    threads: int
    memory: str
    shape: tuple[int, ...]
    verdict: str
    worst: float


def clean(subject: Subject, recordings: Iterable[Recording]) -> Iterator[Setting]:
    """The right network on every recording, with threads and memory formats of all kinds."""
    before = torch.get_num_threads()
    try:
        for recording in recordings:
            for threads in (1, 2, 4):
                torch.set_num_threads(threads)
                for memory in (torch.contiguous_format, torch.channels_last):
                    yield _clean(subject, recording, threads, memory)
    finally:
        torch.set_num_threads(before)


def _clean(subject: Subject, recording: Recording, threads: int, memory: Any) -> Setting:
    model = subject.conversion.model().to(memory_format=memory)
    outputs = compared(subject.conversion.network.structure)
    parity = compare_model(model, outputs, recording, ("cpu",))
    return Setting(
        subject=subject.name,
        threads=threads,
        memory=str(memory).removeprefix("torch."),
        shape=recording.passes[0].input.shape,
        verdict=parity.verdict,
        worst=max(one.worst.relative / one.gate for one in parity.comparisons),
    )


# ---- the table


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """A Markdown table, a row for each kind of fault."""
    lines = [
        "| fault | sites | caught | by logits | by layers | by tensors | layer named | block named "
        "| explained |",
        "| --- | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for kind in dict.fromkeys(one.kind for one in outcomes):
        of_kind = [one for one in outcomes if one.kind == kind]
        counts = [sum(getattr(one, name) for one in of_kind) for name in COLUMNS]
        cells = [kind, str(len(of_kind)), *map(str, counts)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


COLUMNS = (
    "caught",
    "by_logits",
    "by_layers",
    "by_tensors",
    "is_exact",
    "is_in_block",
    "is_explained",
)


def totals(outcomes: Sequence[Outcome]) -> dict[str, int]:
    return {name: sum(getattr(one, name) for one in outcomes) for name in COLUMNS}
