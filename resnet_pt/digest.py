"""A fingerprint of a set of tensors, so that a flipped bit in a file is found.

Neither a torch archive nor safetensors checks its data when it is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt


def digest(description: Any, tensors: Iterable[tuple[str, npt.NDArray[Any]]]) -> str:
    """SHA-256 (hex) over a plain description and a line for every tensor, in the order of their
    names: name, dtype, shape and the SHA-256 of its bytes. Tensors are hashed side by side."""
    listed = list(tensors)
    with ThreadPoolExecutor() as threads:
        lines = threads.map(lambda one: line(*one), listed)
        return digest_of_lines(description, dict(zip(dict(listed), lines, strict=True)))


def digest_of_lines(description: Any, lines: Mapping[str, str]) -> str:
    """The same from `{name: its line}`, for tensors that are not in memory all at once."""
    sha256 = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(lines):
        sha256.update(lines[name].encode())
    return sha256.hexdigest()


def line(name: str, array: npt.NDArray[Any]) -> str:
    """What is said of one tensor."""
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    own = hashlib.sha256(flat.data).hexdigest()
    return f"\n{name} {array.dtype.str} {array.shape} {own}"
