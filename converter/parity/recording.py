"""What an original computed: from a record on disk, or from Keras just now."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from converter.checkpoint import Array
from converter.errors import SourceError


@dataclass(frozen=True, slots=True)
class Sample:
    """Values of an activation at flat (N, H, W, C) positions."""

    index: Array
    value: Array


@dataclass(frozen=True, slots=True)
class Pass:
    """One batch through the original: its input (N, H, W, C), its logits by output name ('' for
    the only one), and samples of its layers."""

    input: Array
    logits: Mapping[str, Array]
    layers: Mapping[str, Sample] = field(default_factory=dict)
    dtype: str = "float32"


@dataclass(frozen=True, slots=True)
class Recording:
    """Everything an original computed, and what it was."""

    passes: tuple[Pass, ...]
    oracle: str
    meta: Mapping[str, Any] = field(default_factory=dict)


def read_record(path: Path) -> Recording:
    """The record in an `.npz` (written by scripts/record_keras.py).

    Raises SourceError for a file that is none.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, EOFError, ValueError, BadZipFile) as error:
        raise SourceError(f"{path} is not a record: {error}") from error
    if "input" not in arrays or not ({"logits", "output"} & _roots(arrays)):
        raise SourceError(
            f"{path} is not a record: it needs `input` and `output` or `logits`",
            hints=["make one with scripts/record_keras.py MODEL.h5 RECORD.npz"],
        )
    meta = json.loads(str(arrays["meta"])) if "meta" in arrays else {}
    key = "logits" if "logits" in _roots(arrays) else "output"
    # A record's logits may be float64 (computed from features), but the network ran in float32.
    dtype = str(meta.get("dtype", "float32"))
    one = Pass(arrays["input"], _by_output(arrays, key), _samples(arrays), dtype)
    oracle = f"record of Keras {meta.get('keras', '?')} on {meta.get('backend', '?')}"
    return Recording((one,), oracle, {**meta, "kind": key})


def _roots(arrays: Mapping[str, Array]) -> set[str]:
    return {name.partition("/")[0] for name in arrays}


def _by_output(arrays: Mapping[str, Array], key: str) -> dict[str, Array]:
    return {
        name.removeprefix(key).removeprefix("/"): array
        for name, array in arrays.items()
        if name == key or name.startswith(f"{key}/")
    }


def _samples(arrays: Mapping[str, Array]) -> dict[str, Sample]:
    found: dict[str, Sample] = {}
    for name, array in arrays.items():
        if not name.startswith("layer/") or name.endswith("/index"):
            continue
        layer = name.removeprefix("layer/")
        if layer.endswith("/value"):
            layer = layer.removesuffix("/value")
            found[layer] = Sample(arrays[f"layer/{layer}/index"], array)
        else:
            found[layer] = Sample(np.arange(array.size), array.ravel())
    return found
