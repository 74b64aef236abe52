"""Where a report goes, and what a failed one must not take with it."""

from __future__ import annotations

import json
import os

import pytest
from edits import run
from helpers import copy, fixture

from converter.errors import TargetError

PATH = fixture("keras-2.2.4-tensorflow")


def test_a_report_does_not_replace_the_source(tmp_path):
    source = copy(PATH, tmp_path)

    result = run(source, tmp_path / "out.pth", "--no-parity", "--report", source)

    assert source.read_bytes() == PATH.read_bytes()
    assert result.exit_code != 0
    assert os.listdir(tmp_path) == ["source.h5"]


def test_a_report_does_not_replace_the_target(tmp_path):
    target = tmp_path / "out.pth"

    result = run(PATH, target, "--no-parity", "--report", target)

    assert result.exit_code != 0
    assert not target.exists()


def test_a_report_does_not_replace_the_record(tmp_path):
    from helpers import record

    own = tmp_path / "record.npz"
    own.write_bytes(record(PATH).read_bytes())

    run(PATH, tmp_path / "out.pth", "--against", own, "--device", "cpu", "--report", own)

    assert own.read_bytes() == record(PATH).read_bytes()


def test_a_report_that_cannot_be_written_is_told_before_the_target_is(tmp_path):
    """Exit code 7 says that a file cannot be written, and nothing is."""
    result = run(
        PATH, tmp_path / "out.pth", "--no-parity", "--report", tmp_path / "none" / "report.json"
    )

    assert result.exit_code == 7
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_where_a_report_fails_the_target_is_said_to_be_written(tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise TargetError("r.json cannot be written: Read-only file system")

    monkeypatch.setattr("converter.cli.convert.write_report", fail)

    result = run(PATH, tmp_path / "out.pth", "--no-parity", "--report", tmp_path / "r.json")

    assert result.exit_code == 7
    assert result.stderr.index("out.pth is written") < result.stderr.index("r.json cannot be")
    assert (tmp_path / "out.pth").exists()


@pytest.mark.slow
def test_the_same_conversion_gives_the_same_report_but_for_time(tmp_path):
    reports = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        source = copy(PATH, folder)
        path = folder / "report.json"
        assert run(source, folder / "out.pth", "--no-parity", "--report", path).exit_code == 0
        reports.append(json.loads(path.read_text()))

    for report in reports:
        report.pop("seconds")
        report.pop("created")
        report["source"].pop("path")
        report["target"].pop("path")
    assert reports[0] == reports[1]


@pytest.mark.slow
@pytest.mark.parametrize("verdict", ["equal", "not equal", "not compared"])
def test_the_verdict_and_the_first_wrong_layer_are_at_the_top(verdict, tmp_path):
    from helpers import record

    options = {
        "equal": ("--against", record(PATH)),
        "not equal": ("--against", record(PATH), "--stem", "same"),
        "not compared": ("--no-parity",),
    }[verdict]
    path = tmp_path / "report.json"

    run(PATH, tmp_path / "out.pth", *options, "--device", "cpu", "--report", path)

    report = json.loads(path.read_text())
    assert report["verdict"] == verdict
    assert report["first_wrong_layer"] == ("conv1" if verdict == "not equal" else None)
