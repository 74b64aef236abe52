"""safetensors, without torch: the description is JSON in the file's own metadata.

`_extra_state` is there as a tensor too (the checksum's bytes), so that a strict load into a
network that this file does not describe fails, as it does with a `.pth`.
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


def write(file: BinaryIO, tensors: Mapping[str, Array], description: Mapping[str, Any]) -> None:
    guard = np.frombuffer(bytes.fromhex(description["sha256"]), np.uint8).copy()
    metadata = {"format": "pt", "resnet_pt": json.dumps(description, sort_keys=True)}
    file.write(save({**tensors, "_extra_state": guard}, metadata))


def read(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """(tensors, description)."""
    with safe_open(path, framework="np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        description = json.loads(file.metadata()["resnet_pt"])
    tensors.pop("_extra_state")
    return tensors, description
