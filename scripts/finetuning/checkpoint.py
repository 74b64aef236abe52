"""Where a training stands, so that a killed one goes on as if nothing had been."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from converter.errors import UsageError

NAME = "last.ckpt"


def write(fabric: Any, folder: Path, state: dict[str, Any]) -> None:
    """Replace the last checkpoint in one step: killed at any moment, one of both is whole."""
    draft = folder / f".{NAME}.tmp"
    fabric.save(draft, state)
    if fabric.is_global_zero:
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(folder / NAME)
    fabric.barrier()


def read(fabric: Any, folder: Path, state: dict[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    """Put modules and optimisers back into `state`; the rest of the checkpoint is returned.

    Raises UsageError, before anything is put back, where it was made with other settings or
    pictures.
    """
    path = folder / NAME
    check_same(fabric.load(path)["made"], made)
    rest: dict[str, Any] = fabric.load(path, state)
    return rest


def check_same(then: dict[str, Any], now: dict[str, Any]) -> None:
    """UsageError for settings that would give another result than an uninterrupted training."""
    other = [
        f"{name}: {then.get(name)} then, {now[name]} now"
        for name in now
        if then.get(name) != now[name]
    ]
    if other:
        raise UsageError(
            "the checkpoint was made otherwise", other, ["give the same options, or --force"]
        )
