"""A fingerprint of a set of tensors, so that a flipped bit in a file is found.

Neither a torch archive nor safetensors checks its data when it is read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt


def digest(description: Any, tensors: Iterable[tuple[str, npt.NDArray[Any]]]) -> str:
    """SHA-256 (hex) over a plain description and over (name, dtype, shape, bytes) of every
    tensor, in the order of their names."""
    sha256 = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name, array in sorted(tensors):
        sha256.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        sha256.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return sha256.hexdigest()
