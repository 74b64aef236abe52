"""A fingerprint of a set of tensors, so that a flipped bit in a file is found.

Neither a torch archive nor safetensors checks its data when it is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt


def digest(description: Any, tensors: Iterable[tuple[str, npt.NDArray[Any]]]) -> str:
    """SHA-256 (hex) over a plain description and a line for every tensor, in the order of their
    names: name, dtype, shape and the SHA-256 of its bytes. Tensors are hashed side by side."""
    listed = sorted(tensors, key=lambda one: one[0])
    sha256 = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    with ThreadPoolExecutor() as threads:
        for (name, array), own in zip(
            listed, threads.map(_of_array, (array for _, array in listed)), strict=True
        ):
            sha256.update(f"\n{name} {array.dtype.str} {array.shape} {own}".encode())
    return sha256.hexdigest()


def _of_array(array: npt.NDArray[Any]) -> str:
    flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    return hashlib.sha256(flat.data).hexdigest()
