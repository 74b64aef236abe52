"""Whether two converted files hold the same tensors, whatever they are called."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def difference(ours: Path, theirs: Path) -> str:
    """What is wrong with `theirs`, in words; '' if both hold the same floating-point tensors."""
    here, there = (Counter(_fingerprints(path)) for path in (ours, theirs))
    if here == there:
        return ""
    lacking = sum((here - there).values())
    return f"{lacking} of {sum(here.values())} tensors are other ones"


def _fingerprints(path: Path) -> Iterator[tuple[tuple[int, ...], str]]:
    for array in _arrays(path):
        if array.dtype.kind == "f" and math.prod(array.shape):
            yield array.shape, hashlib.sha256(array.tobytes()).hexdigest()


def _arrays(path: Path) -> Iterator[Any]:
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        yield from load_file(path).values()
        return
    import torch

    for value in torch.load(path, weights_only=True).values():
        if isinstance(value, torch.Tensor):
            yield value.numpy()
