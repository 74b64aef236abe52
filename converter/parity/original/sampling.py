"""What is kept of an activation: where a large one is looked at, and what a layer's calls are
named."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SAMPLES = 64
STRIDE = 7919  # a prime, so that samples spread over rows, columns and channels


def sample_index(size: int) -> npt.NDArray[np.int64]:
    """Flat positions in an activation of `size` elements, in (N, H, W, C) order."""
    return np.unique(spread(size, SAMPLES))


def spread(size: int, count: int) -> npt.NDArray[np.int64]:
    """At most `count` of `size` positions, all over them."""
    return np.arange(min(count, size), dtype=np.int64) * STRIDE % size


def call_name(layer: str, number: int) -> str:
    """What the activations of a layer that is called several times are named; the first is 1."""
    return f"{layer} (call {number})"
