"""What an original computed: from a record on disk, or from Keras just now."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from converter.checkpoint import Array
from converter.errors import SourceError
from converter.parity.compare import GATES
from resnet_pt.architecture import Architecture


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
    """The record in an `.npz` (written by scripts/record_keras.py), its parts held against each
    other. Raises SourceError for a file that is none.
    """
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return _recording(arrays)
    except (OSError, EOFError, ValueError, KeyError, BadZipFile, zlib.error) as error:
        raise SourceError(
            f"{path} is not a record: {error}",
            hints=["make one with scripts/record_keras.py MODEL.h5 RECORD.npz"],
        ) from error


def _recording(arrays: Mapping[str, Array]) -> Recording:
    """ValueError or KeyError says what is wrong."""
    picture = arrays["input"]
    if picture.ndim != 4 or not picture.size or not _is_number(picture):
        raise ValueError(f"`input` is {picture.dtype} {picture.shape}, not pictures (N, H, W, C)")
    meta = json.loads(str(arrays["meta"])) if "meta" in arrays else {}
    if not isinstance(meta, dict):
        raise ValueError("`meta` is not a JSON object")
    # A record's logits may be float64 (computed from features), but the network ran in float32.
    dtype = str(meta.get("dtype", "float32"))
    if dtype not in GATES:
        raise ValueError(f"it was made in {dtype}: known are {', '.join(GATES)}")
    roots = {name.partition("/")[0] for name in arrays}
    kind = "logits" if "logits" in roots else "output"
    logits = _by_output(arrays, kind)
    for name, values in logits.items():
        if not _is_number(values) or values.shape[:1] != picture.shape[:1]:
            raise ValueError(f"`{kind}` {name} is {values.dtype} {values.shape}")
    if not logits:
        raise ValueError("it needs `logits` or `output`")
    oracle = f"record of Keras {meta.get('keras', '?')} on {meta.get('backend', '?')}"
    one = Pass(picture, logits, _samples(arrays), dtype)
    return Recording((one,), oracle, {**meta, "kind": kind})


def _is_number(array: Array) -> bool:
    return array.dtype.kind == "f"


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
            found[layer] = _sample(layer, arrays[f"layer/{layer}/index"], array)
        else:
            found[layer] = _sample(layer, np.arange(array.size), array.ravel())
    return found


def _sample(layer: str, index: Array, value: Array) -> Sample:
    if index.dtype.kind not in "iu" or index.ndim != 1 or (index < 0).any():
        raise ValueError(f"`layer/{layer}/index` does not hold positions")
    if value.shape != index.shape or not _is_number(value):
        raise ValueError(f"`layer/{layer}` has {value.shape} values for {index.shape} positions")
    return Sample(index, value)


def why_not_comparable(recording: Recording, architecture: Architecture) -> str:
    """Why a record cannot be held against a network's logits; '' if it can."""
    channels = recording.passes[0].input.shape[-1]
    if channels != architecture.in_channels:
        raise SourceError(
            f"the record's input has {channels} channels, and the network takes "
            f"{architecture.in_channels}: it is a record of another model"
        )
    activated = [one for one in architecture.outputs if one.activation != "linear"]
    if recording.meta["kind"] == "output" and activated:
        return (
            f"the record holds no logits, only what came out of {activated[0].activation}: "
            "that hides differences"
        )
    return ""
