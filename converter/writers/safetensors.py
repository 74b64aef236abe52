"""safetensors, without torch: the description is JSON, as the bytes of a tensor `_extra_state`.

A tensor rather than the header's metadata, because a strict load into a network that the file
does not describe then fails, as it does with a `.pth`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from converter.checkpoint import Array

SUFFIXES = (".safetensors",)
NEEDS = "safetensors"


def write(file: BinaryIO, tensors: Mapping[str, Array], description: Mapping[str, Any]) -> None:
    text = json.dumps(description, sort_keys=True).encode()
    file.write(save({**tensors, "_extra_state": np.frombuffer(text, np.uint8)}))


def read(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """(tensors, description)."""
    with safe_open(path, framework="np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return tensors, json.loads(tensors.pop("_extra_state").tobytes())
