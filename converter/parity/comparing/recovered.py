"""Logits that what came out of a last softmax or sigmoid tells, where a record has nothing else.

Compared as they are, probabilities hide differences: a softmax in 0 and 1 is the same for any two
networks that agree on the class. Their logarithms show them, as far as float32 has digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from converter.files.checkpoint import Array
from converter.parity.comparing.compare import GATES

ULPS = 4
"""What a softmax or sigmoid in float32 may be off, in units of its last place."""
LEAST = 1e-37
"""Below it float32 loses digits, and what comes out tells only that a logit is low."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """Logits that what came out of a softmax or sigmoid tells: the nearest ones, and the `lower`
    and `upper` ends of all that round to the same. Those of a softmax are differences from the
    logit of the largest class: what is added to all of them leaves no trace."""

    logits: Array
    lower: Array
    upper: Array
    top: Array | None = None

    @property
    def tells(self) -> bool:
        """Whether each class or channel is known somewhere, to the gate of logits."""
        largest = float(np.abs(self.logits).max(initial=0.0))
        with np.errstate(invalid="ignore"):
            known = (self.upper - self.lower) / 2 <= GATES["float32"] * max(1.0, largest)
        if self.top is not None:  # its own difference is 0, and told by those of the others
            np.put_along_axis(known, self.top, False, axis=-1)
            np.put_along_axis(known, self.top, known.any(axis=-1, keepdims=True), axis=-1)
        return bool(known.reshape(-1, known.shape[-1]).any(axis=0).all())

    def nearest(self, logits: Array) -> Array:
        """These recovered logits, as far off as what was recorded shows that `logits` are."""
        found = logits.astype(np.float64)
        if found.shape[1:] != self.logits.shape[1:]:
            return found
        known = slice(len(found))
        if self.top is not None:
            found = found - np.take_along_axis(found, self.top[known], axis=-1)
        apart = found - np.clip(found, self.lower[known], self.upper[known])
        near: Array = self.logits[known] + apart
        return near


def recovered(output: Array, name: str) -> Recovered | None:
    """What came out of the activation of that name in float32 as logits, (N, classes) or
    (N, …, classes); None for another activation than softmax and sigmoid."""
    if name not in ("softmax", "sigmoid"):
        return None
    out = output.astype(np.float64)
    apart = ULPS * float(np.finfo(np.float32).eps) * out
    low, high = np.where(out < LEAST, 0.0, out - apart), np.maximum(out + apart, LEAST)
    if name == "softmax":
        top = out.argmax(axis=-1)[..., None]
        largest, off = (np.take_along_axis(one, top, axis=-1) for one in (out, apart))
        lower, upper = _log(low) - _log(largest + off), _log(high) - _log(largest - off)
        return Recovered(_finite(_log(out) - _log(largest)), lower, upper, top)
    lower, upper = (_log(one) - _log(1 - one) for one in (low, high))
    return Recovered(_finite(_log(out) - _log(1 - out)), lower, upper)


def _log(values: Array) -> Array:
    with np.errstate(divide="ignore"):
        found: Array = np.log(np.maximum(values, 0.0))
    return found


def _finite(logits: Array) -> Array:
    """The logits, those that rounding made endless as far away as float32 tells."""
    return np.clip(logits, np.log(LEAST), -np.log(float(np.finfo(np.float32).eps)))
