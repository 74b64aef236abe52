"""The tutorial's blocks that train: the whole page, run as a reader would."""

from __future__ import annotations

import shutil
import sys

from conftest import ROOT

sys.path.insert(0, str(ROOT / "tests"))
from pages import DOCS, blocks, run, shims

COMMANDS = ("sh", "python")


def test_the_whole_tutorial_runs(pictures, tmp_path):
    work, source = tmp_path / "work", ROOT / "fixtures"
    (work / "pictures").mkdir(parents=True)
    shutil.copytree(pictures, work / "birds")
    shutil.copyfile(source / "keras-2.2.4-tensorflow.h5", work / "old_model.h5")
    for name in ("elephant.png", "pictures/one.png"):
        shutil.copyfile(source / "pictures" / "rgb.png", work / name)
    commands = shims(tmp_path / "bin")
    finetune = work / "scripts" / "finetune"
    finetune.parent.mkdir()
    start = f'PYTHONPATH="{ROOT / "scripts"}:$PYTHONPATH" exec {sys.executable}'
    finetune.write_text(f'#!/bin/sh\n{start} -m finetuning.cli "$@"\n')
    finetune.chmod(0o755)
    told = [block for block in blocks(DOCS / "tutorial.md") if block.language in COMMANDS]

    assert [block.is_long for block in told].count(True) == 2
    for block in told:
        run(block, work, commands)
    assert (work / "finetuned" / "best.pth").exists()
