"""How far two arrays are apart, and what is near enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from converter.files.checkpoint import Array

if TYPE_CHECKING:
    from torch import Tensor

GATES = {"float64": 1e-12, "float32": 1e-5}
"""The largest difference of logits, relative to the largest logit, that is rounding."""

OWN_GATES = {"float64": 1e-12, "float32": 1e-5}
"""The same for one layer alone, all of it known, fed what the original's layer was fed."""

LAYER_GATES = {"float64": 1e-10, "float32": 1e-3}
"""The same for a layer as the network runs: coarser, since the layers before it add their own
rounding, and the largest value of a layer that is sampled is not known."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The worst element: `absolute`, and `relative` to the largest of the expected values."""

    name: str
    absolute: float
    relative: float
    cosine: float
    where: tuple[int, ...]
    actual: float
    expected: float

    def __str__(self) -> str:
        if not self.where and not np.isfinite(self.absolute):
            return f"{self.name}: another shape"
        return (
            f"{self.name} at {list(self.where)}: {self.actual:.7g}, expected {self.expected:.7g} "
            f"({self.relative:.1e} of the largest)"
        )


@np.errstate(invalid="ignore", over="ignore")  # what is infinite is said as a difference
def difference(name: str, actual: Array, expected: Array) -> Difference:
    """Compare element by element in float64; NaN anywhere, or other shapes, are infinitely far."""
    if actual.shape != expected.shape:
        return Difference(name, np.inf, np.inf, 0.0, (), np.nan, np.nan)
    one = actual.astype(np.float64, copy=False)
    other = expected.astype(np.float64, copy=False)
    apart = np.abs(one - other)
    apart[~np.isfinite(apart)] = np.inf
    where = np.unravel_index(int(np.argmax(apart)), apart.shape)
    absolute = float(apart[where])
    largest = float(np.abs(other).max(initial=0.0)) if np.isfinite(absolute) else 0.0
    return Difference(
        name=name,
        absolute=absolute,
        relative=absolute / largest if largest else (np.inf if absolute else 0.0),
        cosine=_cosine(one.ravel(), other.ravel()),
        where=tuple(int(i) for i in where),
        actual=float(one[where]),
        expected=float(other[where]),
    )


def _cosine(one: Array, other: Array) -> float:
    norm = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(one @ other) / norm if norm else 1.0


def as_array(result: Tensor) -> Array:
    """A map as (N, H, W, C), a volume as (N, D, H, W, C), anything else as it is, on the CPU."""
    moved = result.detach().movedim(1, -1) if result.dim() >= 4 else result.detach()
    values = moved.contiguous().cpu()
    return (values.float() if values.dtype.itemsize < 4 else values).numpy()
