"""What the user sets: each option beats the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from converter.errors import UsageError
from converter.facts.defaults import Defaults
from converter.facts.fact import Evidence, Fact
from converter.facts.table import BY_NAME, PARTS, TABLE, Row, described
from converter.network import Structure
from converter.options import Options
from resnet_pt.architecture import Architecture


def set_by_user(
    structure: Structure, facts: Sequence[Fact], options: Options, defaults: Defaults
) -> tuple[Structure, tuple[Fact, ...]]:
    """The network as the options have it; UsageError for one that does nothing to it."""
    architecture, found = structure.architecture, tuple(facts)
    for row in TABLE:
        value = getattr(options, row.option)
        if value is None or row.set is None:
            continue
        missing = row.why_not(architecture)
        if missing and not row.changes_nothing:
            raise UsageError(f"{row.flag}: {missing}")
        if missing:
            found = tuple(_unaffected(fact, row, missing) for fact in found)
            continue
        try:
            architecture = row.set(architecture, value, defaults)
        except ValueError as error:
            raise UsageError(f"{row.flag} {value}: {error}") from error
        found = told(found, row, architecture, Evidence.USER, row.flag)
    if architecture != structure.architecture:
        found = restated(found, architecture)
    return replace(structure, architecture=architecture), _with_pictures(architecture, found)


def _unaffected(fact: Fact, row: Row, missing: str) -> Fact:
    if fact.name != row.changes_nothing:
        return fact
    return replace(fact, reason=f"{fact.reason}; {missing}: {row.flag} changes nothing")


def _with_pictures(architecture: Architecture, facts: Sequence[Fact]) -> tuple[Fact, ...]:
    """The facts with what was done to pictures before the network, where that is known."""
    known = architecture.preprocessing
    if known is None or any(fact.name == "preprocessing" for fact in facts):
        return tuple(facts)
    if architecture.stem.rescaling or architecture.stem.channels:
        evidence, reason = (
            Evidence.MODEL_CONFIG,
            "the network does to them itself what is to be done",
        )
    elif architecture.stem.data_norm:
        evidence, reason = Evidence.SHAPES, "the network normalises them itself"
    else:
        reason = "what the code of this naming does to pictures; not part of the network"
        evidence = Evidence.DEFAULT
    return (*facts, Fact("preprocessing", known, evidence, reason))


def told(
    facts: Sequence[Fact], row: Row, architecture: Architecture, evidence: Evidence, reason: str
) -> tuple[Fact, ...]:
    """The facts with one that is known: in its own row, behind the fact that it is a part of. One
    of how a file is read, which no architecture shows, keeps its value."""
    read = next((one.value for one in facts if one.name == row.name), "")
    fact = Fact(row.name, row.value(architecture) or read, evidence, reason)
    found = [fact if one.name == row.name else one for one in facts]
    if fact not in found:
        names = [one.name for one in found]
        before = row.part_of or "amounts"
        place = names.index(before) + 1 if before in names else len(names)
        found.insert(place, fact)
    return of_parts(found, architecture)


def of_parts(facts: Sequence[Fact], architecture: Architecture) -> tuple[Fact, ...]:
    """The facts, with those whose parts are all known in rows of their own resting on those."""
    own = {fact.name: fact for fact in facts}
    found = []
    for fact in facts:
        parts = [row for row in PARTS.get(fact.name, ()) if not row.why_not(architecture)]
        if parts and all(row.name in own for row in parts):
            weakest = min((own[row.name] for row in parts), key=lambda one: one.evidence)
            fact = replace(fact, evidence=weakest.evidence, reason=weakest.reason)
        found.append(fact)
    return tuple(found)


def restated(facts: Sequence[Fact], architecture: Architecture) -> tuple[Fact, ...]:
    """The facts in the words of a network that was changed."""
    windowless = BY_NAME["padding"].why_not(architecture)
    return tuple(
        replace(fact, value=described(fact.name, architecture) or fact.value)
        for fact in facts
        if fact.name != "padding" or not windowless
    )


def padding_fact(
    facts: Sequence[Fact], architecture: Architecture, evidence: Evidence, reason: str
) -> tuple[Fact, ...]:
    """The facts with the padding of strided windows, where there are any and it is not told."""
    row = BY_NAME["padding"]
    if row.why_not(architecture) or any(fact.name == row.name for fact in facts):
        return tuple(facts)
    return told(facts, row, architecture, evidence, reason)
