"""A plain torch `state_dict`, with what describes it as torch's own `_extra_state`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from converter.files.checkpoint import Array, TensorSpec
from resnet_pt.digest import digest

SUFFIXES = (".pth", ".pt")
NEEDS = "torch"


def write(
    file: BinaryIO,
    specs: Mapping[str, TensorSpec],
    tensors: Iterable[tuple[str, Array]],
    description: Mapping[str, Any],
) -> None:
    """Write to an open file: torch names the archive after a path, which would make the bytes
    depend on the name. All tensors are held in memory: `torch.save` takes them at once."""
    arrays = dict(tensors)

    import torch

    state: dict[str, Any] = {name: torch.from_numpy(arrays[name]) for name in specs}
    state["_extra_state"] = {**description, "sha256": digest(description, arrays.items())}
    torch.save(state, file)


def read(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """(tensors, description), through torch's restricted unpickler."""
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    description = state.pop("_extra_state")
    return {name: tensor.numpy() for name, tensor in state.items()}, description
