"""Published files, known by their MD5: what they do not say is told by their publisher's code."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from edits import edited, run
from helpers import facts, fixture, opened, weights_only

from converter.discover import modules
from converter.facts.table import BY_NAME
from converter.weights_only import released
from converter.weights_only.released import Release, releases

PATH = fixture("keras-2.3.1-conv_block-50")
METRABS = (("epsilon", 1e-5), ("stride on", "3x3"))
"""In what the code of isarandi/metrabs is not the naming's own, for bottlenecks."""


def published(
    source: Path, monkeypatch: Any, left_open: frozenset[str] = frozenset(), sets: Any = ()
) -> None:
    """Make a file one that is known."""
    md5 = hashlib.md5(source.read_bytes(), usedforsecurity=False).hexdigest()
    known = (Release(md5, "resnet50.h5", "conv-block", "somebody", left_open, sets),)
    monkeypatch.setattr(released, "releases", lambda: known)


def test_the_table_is_of_hashes_and_of_namings_that_are_known():
    hashes = [one.md5 for one in releases()]

    assert len(set(hashes)) == len(hashes)
    assert len(hashes) >= 44
    namings = {module.DIALECT.name for module in modules("converter.weights_only.dialects")}
    assert {one.dialect for one in releases()} <= namings
    with opened(PATH) as (_, network):
        known = facts(network).keys() | BY_NAME.keys()
        assert {name for one in releases() for name in one.left_open} <= known
    assert {name for one in releases() for name, _ in one.sets} <= BY_NAME.keys()
    assert METRABS in {one.sets for one in releases()}


@pytest.mark.parametrize(
    "change",
    [
        ("a7b3fe01876f51b976af0dea6bc144eb", "a7b3fe01876f51b976af0dea6bc144e"),
        ('"dialect"', '"naming"'),
    ],
    ids=["a hash cut short", "a field that is not one"],
)
def test_a_table_that_is_damaged_is_not_read(change, tmp_path, monkeypatch):
    text = Path(released.__file__).with_name("released.json").read_text()
    assert change[0] in text
    (tmp_path / "released.json").write_text(text.replace(*change))
    monkeypatch.setattr(released, "__file__", str(tmp_path / "released.py"))

    with pytest.raises(msgspec.ValidationError):
        releases.__wrapped__()


@pytest.mark.slow
def test_what_a_published_file_does_not_say_is_no_default(tmp_path, monkeypatch):
    source = weights_only(PATH, tmp_path)
    with opened(source) as (_, network):
        before = facts(network)
        defaults = {fact.name for fact in network.facts if fact.is_default}
    published(source, monkeypatch)

    with opened(source) as (_, network):
        after = facts(network)
        reason = next(fact.reason for fact in network.facts if fact.name == "stride")

    assert {"epsilon", "stride", "preprocessing"} <= defaults
    assert {name for name in after if after[name][1] == "released file"} == defaults
    assert {name: value for name, (value, _) in after.items()} == {
        name: value for name, (value, _) in before.items()
    }
    assert reason.startswith("the file is somebody's resnet50.h5: what conv-block ran")


def test_what_its_code_did_in_several_ways_stays_one(tmp_path, monkeypatch):
    source = weights_only(PATH, tmp_path)
    published(source, monkeypatch, frozenset(["stem", "pool", "epsilon"]))

    with opened(source) as (_, network):
        assert facts(network)["epsilon"][1] == "default"
        assert facts(network)["stride"][1] == "released file"


def test_a_file_that_differs_in_one_byte_is_not_it(tmp_path, monkeypatch):
    source = weights_only(PATH, tmp_path)
    published(source, monkeypatch)

    def change(file: Any) -> None:
        file.attrs["note"] = "trained on"

    with opened(edited(PATH, tmp_path, change, alone=True)) as (_, network):
        assert facts(network)["stride"][1] == "default"


@pytest.mark.parametrize("name", ["keras-2.3.1-conv_block-50", "keras-2.3.1-cifar-v1"])
def test_only_a_file_that_could_be_one_is_read_for_its_hash(name, tmp_path, monkeypatch):
    """A whole model says it all, and no file of the other naming was published."""

    def read(*_: object) -> str:
        raise AssertionError("the file was read")

    path = fixture(name)
    source = path if "conv_block" in name else weights_only(path, tmp_path)
    monkeypatch.setattr(released, "_md5", read)

    with opened(source) as (_, network):
        assert network.facts


@pytest.mark.slow
def test_the_user_is_told_which_file_it_is(tmp_path, monkeypatch):
    source = weights_only(PATH, tmp_path)
    published(source, monkeypatch)

    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert result.exit_code == 0, result.stderr
    assert "released file: the file is somebody's resnet50.h5" in result.stderr
    assert "resting on a default" not in result.stderr


@pytest.mark.slow
def test_what_its_code_did_otherwise_than_the_naming_s_is_so(tmp_path, monkeypatch):
    """torchvision's weights under Keras' names: an epsilon and a stride that are not Keras'."""
    source = weights_only(PATH, tmp_path)
    published(source, monkeypatch, frozenset(["padding"]), METRABS)

    with opened(source) as (_, network):
        found = facts(network)
    with opened(source, bn_eps=1e-3, stride_on="1x1") as (_, told):
        pass

    assert found["epsilon"] == ("1e-05", "released file")
    assert found["stride on"] == ("3x3", "released file")
    assert found["padding"][1] == "default"
    strided = network.architecture.stages[1][0]
    assert [conv.stride for conv in strided.convs] == [(1, 1), (2, 2), (1, 1)]
    assert strided.norms[0].eps == 1e-5
    assert told.architecture.stages[1][0].convs[0].stride == (2, 2)
    assert facts(told)["epsilon"] == ("0.001", "set by the user")
