"""Weights in shards, Keras 3.10 and later: `X.weights.json` and `X_00000.weights.h5` beside it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py

from converter.errors import SourceError, UnsafeError
from converter.files.checkpoint import Checkpoint
from converter.files.given import Given
from converter.files.readers import _variables

FORMAT = "json"
MAX_SHARDS = 200


def recognises(content: Any) -> bool:
    """Whether a JSON file lists shards."""
    return isinstance(content, dict) and isinstance(content.get("weight_map"), dict)


def read(content: Any, path: Path, keep: ExitStack, given: Given | None = None) -> Checkpoint:
    """Everything but the arrays; they are read from the shards when asked for."""
    shards = _names(content["weight_map"], path)
    files = [keep.enter_context(_opened(path.parent / name, path)) for name in shards]
    found = _variables.holders(files)
    return _variables.checkpoint(
        path, f"Keras 3 weights in {len(files)} shards", found, shards=tuple(shards), given=given
    )


def _names(weight_map: Any, path: Path) -> list[str]:
    """The shards' file names, all of them beside the list."""
    names: dict[str, None] = {}
    for entry in weight_map.values():
        for name in entry if isinstance(entry, list) else [entry]:
            if not isinstance(name, str) or Path(name).name != name or name in ("", ".", ".."):
                raise UnsafeError(f"{path} lists a shard that does not lie beside it: {name!r}")
            names[name] = None
    if not names:
        raise SourceError(f"{path} lists no shards")
    if len(names) > MAX_SHARDS:
        raise UnsafeError(f"{path} lists {len(names):,} shards: over the limit")
    return list(names)


def _opened(shard: Path, path: Path) -> h5py.File:
    if not shard.is_file():
        raise SourceError(f"{path} lists {shard.name}, which is not beside it")
    try:
        return h5py.File(shard, "r")
    except OSError as error:
        raise SourceError(f"{shard} is damaged or cut off", [str(error)[:200]]) from error
