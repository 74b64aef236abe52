"""safetensors, without torch: the description is JSON, as the bytes of a tensor `_extra_state`.

A tensor rather than the header's metadata, because a strict load into a network that the file
does not describe then fails, as it does with a `.pth`.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import safe_open

from converter.checkpoint import Array

SUFFIXES = (".safetensors",)
NEEDS = "safetensors"
DTYPES = {"<f4": "F32", "<i8": "I64", "|u1": "U8"}
"""What a conversion holds, as the format calls it (its README, 'Format')."""


def write(file: BinaryIO, tensors: Mapping[str, Array], description: Mapping[str, Any]) -> None:
    """The very bytes of `safetensors.numpy.save`, one tensor after the other: that function holds
    two more copies of all of them."""
    text = json.dumps(description, sort_keys=True).encode()
    arrays = {**tensors, "_extra_state": np.frombuffer(text, np.uint8)}
    header: dict[str, Any] = {}
    end = 0
    for name in sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name)):  # aligned
        start, end = end, end + arrays[name].nbytes
        header[name] = {
            "dtype": DTYPES[arrays[name].dtype.str],
            "shape": arrays[name].shape,
            "data_offsets": (start, end),
        }
    start_of_file = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    start_of_file += b" " * (-len(start_of_file) % 8)
    file.write(struct.pack("<Q", len(start_of_file)) + start_of_file)
    for name in header:
        file.write(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data)


def read(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """(tensors, description). Opened anew for each tensor: the library maps the file, and what was
    read of a map stays in memory beside the tensor until it is closed."""
    with safe_open(path, framework="np") as file:
        names = list(file.keys())
    tensors = {name: _tensor(path, name) for name in names}
    return tensors, json.loads(tensors.pop("_extra_state").tobytes())


def _tensor(path: Path, name: str) -> Array:
    with safe_open(path, framework="np") as file:
        found: Array = file.get_tensor(name)
    return found
