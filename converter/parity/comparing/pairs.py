"""Some of the logits themselves, the original's beside the converted network's, for a report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from converter.files.checkpoint import Array

PICTURES = 4
"""Pictures of a batch that are shown."""
SPREAD = 48
"""Logits of a picture that are shown, besides the largest."""
LARGEST = 5


@dataclass(frozen=True, slots=True)
class Pair:
    """One logit of one picture: `index` is the class, or the flat (H, W, C) place in a map."""

    picture: int
    index: int
    expected: float
    actual: float


def pairs(actual: Array, expected: Array) -> tuple[Pair, ...]:
    """Of the first pictures of a batch (N, …): the five largest logits of either side, and others
    spread over all. Nothing for different shapes."""
    if actual.shape != expected.shape:
        return ()
    found: list[Pair] = []
    for picture in range(min(PICTURES, len(expected))):
        ours, theirs = actual[picture].ravel(), expected[picture].ravel()
        places = sorted({*largest(ours), *largest(theirs), *spread(theirs.size)})
        found += [Pair(picture, k, float(theirs[k]), float(ours[k])) for k in places]
    return tuple(found)


def largest(values: Array) -> list[int]:
    """Where the five largest are, the largest first; the first of equal ones."""
    order: list[int] = np.argsort(-values, kind="stable")[:LARGEST].tolist()
    return order


def spread(size: int) -> list[int]:
    """Places evenly over `size` elements."""
    places: list[int] = np.linspace(0, size - 1, min(size, SPREAD)).round().astype(int).tolist()
    return places
