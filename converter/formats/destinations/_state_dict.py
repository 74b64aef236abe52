"""A `state_dict` that loads strictly into another library's network, and still says what it is.

The description lies where a strict load does not look: in a `.pth` in the `_metadata` that torch
keeps with a state_dict, in a `.safetensors` in the header.
"""

from __future__ import annotations

import io
import json
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converter.files.checkpoint import Array
from converter.formats.destinations import _plain
from resnet_pt.patch import DESCRIPTION

SUFFIXES = (".pth", ".pt", ".safetensors")


def content(suffix: str, tensors: Mapping[str, Array], description: Mapping[str, Any]) -> bytes:
    """The file, in the format of `suffix`."""
    if suffix == ".safetensors":
        from safetensors.numpy import save

        text = json.dumps(description, sort_keys=True)
        return save(dict(tensors), metadata={"format": "pt", DESCRIPTION: text})
    import torch

    state = _plain.as_torch(tensors)
    state._metadata = OrderedDict({DESCRIPTION: dict(description)})
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def read(path: Path) -> dict[str, Array]:
    """The tensors of either format."""
    return {name: tensor.numpy() for name, tensor in state(path).items()}


def state(path: Path) -> Any:
    """The state_dict of either format, told by its first bytes."""
    import torch
    from safetensors.torch import load_file

    with path.open("rb") as file:
        is_archive = file.read(4) == b"PK\x03\x04"
    if is_archive:
        return torch.load(path, map_location="cpu", weights_only=True)
    return load_file(path)
