"""The commands in a page of docs/: found, and run one after the other in one folder."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
COMMANDS = {
    "convert-weights": "convert_weights",
    "inspect-weights": "inspect_weights",
    "predict": "predict",
    "verify-weights": "verify_weights",
}


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: ` ```sh ` or ` ```python `; with `long` behind it what takes minutes, with
    `part` what is no program of its own."""

    page: str
    number: int
    language: str
    is_long: bool
    is_part: bool
    text: str

    @property
    def runs(self) -> bool:
        return self.language in ("sh", "python") and not self.is_part


def blocks(page: Path) -> list[Block]:
    found = []
    for number, part in enumerate(page.read_text().split("```")[1::2]):
        info, _, text = part.partition("\n")
        language, *rest = info.split() or [""]
        found.append(Block(page.name, number, language, rest == ["long"], rest == ["part"], text))
    return found


def shims(folder: Path) -> Path:
    """The commands that an installation has, run from here by this Python."""
    folder.mkdir()
    for name, function in COMMANDS.items():
        code = f"from converter.cli import {function}; {function}(prog_name={name!r})"
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -c {shlex.quote(code)} "$@"\n')
        script.chmod(0o755)
    return folder


def run(block: Block, work: Path, commands: Path, given: str = "") -> None:
    """Run a block as a reader would, in `work`; AssertionError with what it said if it fails.
    `given` is Python that stands before a block of it: what a page leaves to its reader."""
    command = ["bash", "-euo", "pipefail", "-c", block.text]
    if block.language == "python":
        command = [sys.executable, "-c", given + block.text]
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(commands), os.environ["PATH"]]),
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(
        command, cwd=work, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{block.page}, block {block.number}:\n{block.text}\n{done.stderr}"
