"""A source that changes during the run is said to have changed."""

from __future__ import annotations

import os
import shutil

import pytest
from helpers import FIXTURES, copy, fixture

from converter import verify
from converter.conversion import convert
from converter.errors import SourceError
from converter.files.source import Unchanged
from converter.formats import delivery

PATH = fixture("keras-2.2.4-tensorflow")


def overwritten(path):
    """In place, by a program that asks for no lock."""
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")


def replaced(path):
    """By a file with the same numbers."""
    other = path.with_suffix(".other")
    shutil.copy2(path, other)
    os.replace(other, path)


def gone(path):
    path.unlink()


CHANGES = pytest.mark.parametrize("change", [overwritten, replaced, gone])


@CHANGES
@pytest.mark.parametrize("moment", ["write", "prove"])
def test_a_conversion_says_so_and_writes_nothing(change, moment, tmp_path, monkeypatch):
    source = copy(PATH, tmp_path)
    work = getattr(delivery.OwnLayout, moment)

    def then_change(*arguments):
        done = work(*arguments)
        change(source)
        return done

    monkeypatch.setattr(delivery.OwnLayout, moment, then_change)

    with pytest.raises(SourceError, match="changed while it was read"):
        convert(source, tmp_path / "out.pth", parity=False)
    assert not (tmp_path / "out.pth").exists()


@CHANGES
def test_a_verification_says_so(change, tmp_path, monkeypatch):
    source = copy(PATH, tmp_path)
    convert(source, tmp_path / "out.pth", parity=False)
    from converter import verification

    work = verification._prove_architecture
    monkeypatch.setattr(
        verification, "_prove_architecture", lambda *a: (change(source), work(*a))[1]
    )

    with pytest.raises(SourceError, match="changed while it was read"):
        verify(tmp_path / "out.pth", source, parity=False)


def test_shards_beside_the_source_are_looked_at_too(tmp_path):
    for path in FIXTURES.glob("keras-3.15-sharded*"):
        shutil.copy(path, tmp_path)
    source = tmp_path / "keras-3.15-sharded.weights.json"
    unchanged = Unchanged(source)
    unchanged.add(tmp_path.iterdir())
    unchanged.check()
    (tmp_path / "keras-3.15-sharded_00001.weights.h5").write_bytes(b"other")

    with pytest.raises(SourceError, match="changed while it was read") as error:
        unchanged.check()
    assert "sharded_00001" in error.value.findings[0]
