"""Weights only: files that were published, known by their MD5, and the code that goes with them.

What such a file does not say is not assumed: the code that its publisher loads it with says it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import msgspec

from converter.facts.defaults import Defaults
from converter.facts.fact import Evidence, Fact
from converter.facts.table import BY_NAME, changed
from converter.facts.user import restated, told
from converter.files.checkpoint import Checkpoint
from converter.files.source import digest
from converter.network import Structure


@dataclass(frozen=True, slots=True)
class Release:
    """A published file: its MD5 and name, the naming of its layers, who published it, and the facts
    that several versions of the code that loads it disagree on: it leaves them open. `sets` are
    facts, by their names in `converter.facts.table`, in which that code is not the naming's own."""

    md5: str
    name: str
    dialect: str
    publisher: str
    left_open: frozenset[str] = frozenset()
    sets: tuple[tuple[str, Any], ...] = ()


class _Publication(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Files that one publisher's code loads in one way, as `released.json` has them: `files` are
    their names by their MD5; the other fields are `Release`'s."""

    publisher: str
    dialect: str
    left_open: frozenset[str]
    sets: dict[str, str | float]
    files: dict[Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")], str]


@cache
def releases() -> tuple[Release, ...]:
    """The published files that are known.

    `released.json` is read once, when a file could be one of them. Source: the hashes in those
    projects' own code (keras 1.1.0 and 3.15 applications, keras-applications 1.0.8,
    image-classifiers 1.0.0 `weights.py`, metrabs d980306 `src/backbones/resnet.py`), and
    cnn_finetune's README. The code of the publishers leaves open: of deep-learning-models what
    Keras did with its files in four ways (surroundings.TIMELINE); of metrabs, which has
    torchvision's weights under the names of keras-applications, how what is strided is padded
    (`centered_stride`).

    Raises:
        msgspec.ValidationError: the file is not such a table.
    """
    text = Path(__file__).with_name("released.json").read_bytes()
    return tuple(
        Release(md5, name, one.dialect, one.publisher, one.left_open, tuple(one.sets.items()))
        for one in msgspec.json.decode(text, type=tuple[_Publication, ...])
        for md5, name in one.files.items()
    )


def as_released(
    checkpoint: Checkpoint,
    dialect: str,
    structure: Structure,
    facts: Sequence[Fact],
    defaults: Defaults,
) -> tuple[Structure, tuple[Fact, ...]]:
    """The network as the code of a release has it, where that is not the naming's own."""
    release = _release(checkpoint, dialect)
    if release is None or not release.sets:
        return structure, tuple(facts)
    architecture = changed(structure.architecture, dict(release.sets), defaults)
    reason = f"the file is {release.publisher}'s {release.name}, whose code says so"
    for name, _ in release.sets:
        facts = told(facts, BY_NAME[name], architecture, Evidence.RELEASE, reason)
    return replace(structure, architecture=architecture), restated(facts, architecture)


def of_release(checkpoint: Checkpoint, dialect: str, facts: Sequence[Fact]) -> tuple[Fact, ...]:
    """The facts, with what was a default told by the code of the release that the file is."""
    release = _release(checkpoint, dialect) if any(fact.is_default for fact in facts) else None
    if release is None:
        return tuple(facts)
    which = f"the file is {release.publisher}'s {release.name}"
    return tuple(
        replace(fact, evidence=Evidence.RELEASE, reason=f"{which}: {fact.reason}")
        if fact.is_default and fact.name not in release.left_open
        else fact
        for fact in facts
    )


def _release(checkpoint: Checkpoint, dialect: str) -> Release | None:
    """Only a file that could be one is read for its hash: published files are weights alone, in
    HDF5 with a list of layers."""
    candidates = [one for one in releases() if one.dialect == dialect]
    if not candidates or checkpoint.config is not None or not checkpoint.is_ordered:
        return None
    state = checkpoint.path.stat()
    found = _md5(checkpoint.path, state.st_size, state.st_mtime_ns)
    return next((one for one in candidates if one.md5 == found), None)


@cache
def _md5(path: Path, size: int, changed: int) -> str:
    """Of a file as it was then."""
    return digest(hashlib.md5(usedforsecurity=False), path)
