"""scripts/bench in small: every row is in the table, and who gives other tensors is found out."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import fixture
from safetensors.numpy import load_file, save_file

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from benchmark import __main__ as bench
from benchmark import inference, page, same
from benchmark.rows import (
    BATCHES,
    BY_HAND_BATCHES,
    CPU,
    CPU_COMPILED,
    GENERAL,
    GROWTH,
    ROWS,
    Beside,
    Row,
)

SOURCE = fixture("keras-2.0.9-tensorflow")
SAFETENSORS = next(row for row in ROWS if row.key == "safetensors")


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A benchmark of a small file, to be called with further arguments."""
    monkeypatch.setenv("PYTHONPATH", f"{bench.ROOT}:{bench.ROOT / 'scripts'}")

    def make(*arguments):
        given = ["--source", str(SOURCE), "--work", str(tmp_path / "work"), "--runs", "1"]
        return [*given, "--out", str(tmp_path), *arguments]

    return make


@pytest.mark.slow
def test_the_table_has_every_row_and_the_figures_of_those_that_were_measured(small, tmp_path):
    bench.main(small("--only", "safetensors", "refusal"))
    rows = [line for line in (tmp_path / "benchmark.md").read_text().splitlines() if "|" in line]

    for row in ROWS:
        for beside in row.beside:
            found = [
                line for line in rows if beside.name in line and row.what.split("{")[0] in line
            ]
            assert len(found) == sum(b is not None for b in (beside.seconds, beside.memory))
            measured = row.key in ("safetensors", "refusal")
            assert all((bench.NOT_CHOSEN in line) != measured for line in found)
    for batch in BATCHES:
        inference = f"inference on the CPU, batch {batch}"
        assert sum(f"{inference} |" in line for line in rows) == len(CPU) - 1
        compilers = f"{inference}, beside compilers |"
        assert sum(compilers in line for line in rows) == len(CPU_COMPILED) - 1
    for name in GENERAL.values():
        assert sum(f"| {name} on the CPU" in line for line in rows) == len(BY_HAND_BATCHES)
    for kind in GROWTH:
        assert sum(line.startswith(f"| {kind} |") for line in rows) == 2


@pytest.mark.slow
def test_rows_that_are_not_asked_for_keep_what_they_had(small, tmp_path):
    def row():
        lines = (tmp_path / "benchmark.md").read_text().splitlines()
        return next(one for one in lines if "safetensors" in one and " MiB | " in one)

    bench.main(small("--only", "safetensors"))
    before = row()
    bench.main(small("--only", "refusal"))

    assert bench.NOT_CHOSEN not in before
    assert row() == before


def test_batches_that_are_not_asked_for_keep_what_they_had(small, tmp_path, monkeypatch):
    """What a network takes is made up here: 1 ms for each picture of the batch."""

    def in_turns(ways, jobs, runs):
        return [inference.Timed(milliseconds=float(job.batch)) for job in jobs]

    def rows(batch):
        lines = (tmp_path / "benchmark.md").read_text().splitlines()
        return [one for one in lines if f"inference on the CPU, batch {batch} |" in one]

    monkeypatch.setattr(inference, "in_turns", in_turns)
    monkeypatch.setattr(bench.Bench, "_convert", lambda *names: None)
    bench.main(small("--only", "inference", "--batches", "1", "8"))
    before = rows(8)
    bench.main(small("--only", "inference", "--batches", "1"))

    assert "8.00 ms" in "".join(before)
    assert rows(8) == before
    assert all(bench.NOT_CHOSEN in one for one in rows(32))


def test_a_package_that_is_not_there_is_named_and_no_figure_is_made_up(small, monkeypatch):
    there = importlib.util.find_spec
    monkeypatch.setattr(bench, "find_spec", lambda name: None if name == "keras" else there(name))
    row = next(row for row in ROWS if row.key == "logits")

    (line,) = bench.Bench(bench.options().parse_args(small())).processes(row)

    assert line.reason == "not measured: keras is not installed"
    assert np.isnan(line.ratio)


@pytest.mark.slow
def test_another_way_that_gives_other_tensors_is_not_compared(small):
    wrong = (
        "from safetensors.numpy import load_file, save_file; "
        "found = load_file('{work}/ours.safetensors'); found['conv1.weight'][0, 0, 0, 0] += 1; "
        "save_file(found, '{work}/wrong.safetensors')"
    )
    beside = Beside("wrong", ("-c", wrong), 1.8, target="{work}/wrong.safetensors")
    row = Row("wrong", "wrong", SAFETENSORS.ours, (beside,), target=SAFETENSORS.target)

    (line,) = bench.Bench(bench.options().parse_args(small())).processes(row)

    assert line.reason.startswith("not compared: 1 of ")
    assert "other ones" in line.row()


@pytest.mark.slow
def test_a_way_that_fails_is_said_to_with_its_last_words(small):
    row = Row("broken", "broken", SAFETENSORS.ours, (Beside("b", ("-c", "1 / 0"), 1.0),))

    (line,) = bench.Bench(bench.options().parse_args(small())).processes(row)

    assert line.reason == "not measured: b failed: ZeroDivisionError: division by zero"


def test_names_do_not_matter_where_tensors_are_compared_and_every_bit_does(tmp_path):
    ours, theirs = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_file({"a": np.arange(6, dtype=np.float32)}, ours)
    save_file({"b": np.arange(6, dtype=np.float32)}, theirs)
    assert same.difference(ours, theirs) == ""

    changed = load_file(theirs)
    changed["b"].view(np.uint32)[3] ^= 1
    save_file(changed, theirs)
    assert same.difference(ours, theirs) == "1 of 1 tensors are other ones"


def test_a_ratio_over_its_bound_is_not_reached():
    assert page.Line("k", "what", "b", "s", 1.3, 1.4, 1.0).row().endswith("| no |")
    assert page.Line("k", "what", "b", "s", 1.3, 1.2, 1.0).row().endswith("| yes |")
