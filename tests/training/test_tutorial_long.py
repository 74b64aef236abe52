"""The blocks that train: the whole tutorial and the README's, run as a reader would."""

from __future__ import annotations

import shutil
import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests"))
from pages import DOCS, blocks, run, shims


@pytest.fixture
def reader(pictures, tmp_path):
    """(folder, commands): pictures, birds and scripts/finetune, run by this Python."""
    work = tmp_path / "work"
    (work / "pictures").mkdir(parents=True)
    shutil.copytree(pictures, work / "birds")
    for name in ("elephant.png", "elephant.jpg", "pictures/one.png"):
        shutil.copyfile(ROOT / "fixtures" / "pictures" / "rgb.png", work / name)
    finetune = work / "scripts" / "finetune"
    finetune.parent.mkdir()
    start = f'PYTHONPATH="{ROOT / "scripts"}:$PYTHONPATH" exec {sys.executable}'
    finetune.write_text(f'#!/bin/sh\n{start} -m finetuning.cli "$@"\n')
    finetune.chmod(0o755)
    return work, shims(tmp_path / "bin")


def test_the_whole_tutorial_runs(reader):
    work, _ = reader
    shutil.copyfile(ROOT / "fixtures" / "keras-2.2.4-tensorflow.h5", work / "old_model.h5")
    told = [block for block in blocks(DOCS / "tutorial.md") if block.runs]

    assert [block.is_long for block in told].count(True) == 2
    for block in told:
        run(block, *reader)
    assert (work / "finetuned" / "best.pth").exists()


def test_the_readmes_commands_for_pictures_run(start, reader):
    work, _ = reader
    shutil.copyfile(start, work / "out.pth")
    (block,) = [block for block in blocks(ROOT / "README.md") if block.is_long]

    run(block, *reader)
    assert (work / "finetuned" / "best.pth").exists()
