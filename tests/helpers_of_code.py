"""Lambda layers with the bytecode of `scripts/make_bytecode.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edits import reconfigured
from helpers import FIXTURES

BYTECODE = FIXTURES / "bytecode"
PYTHONS = ("2.7", "3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13")


def dumped(name: str, python: str = "3.9") -> list[Any]:
    """[code, defaults, closure] of a function, as a configuration has it."""
    found: list[Any] = json.loads((BYTECODE / f"python-{python}.json").read_text())[name]
    return found


def with_code(source: Path, folder: Path, name: str, python: str = "3.9", **settings: Any) -> Path:
    """A copy of a model whose Lambda layers all have the function `name`."""

    def change(config: Any) -> None:
        for one in config["config"]["layers"]:
            if one["class_name"] == "Lambda":
                one["config"].update(function=dumped(name, python), **settings)

    return reconfigured(source, folder, change)
