"""What a comparison over a data set found: picture by picture, and over all."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from converter.files.checkpoint import Array
from converter.parity.comparing.compare import GATES
from converter.parity.comparing.rounding import RATE

Kind = Literal["logits", "output"]
WORST = 20
"""Worst cases that are listed."""


@dataclass(frozen=True, slots=True)
class PictureResult:
    """One picture. `difference` and `mean` are the largest and the mean absolute difference over
    its predictions, `relative` the largest over the largest of the original's, or over a tenth of
    the terms that those are added up from (`parity.rounding`); `expected` and `actual` are the
    classes that come first. What is not finite is infinitely far."""

    index: int
    difference: float
    mean: float
    relative: float
    expected: int
    actual: int
    same_top5: bool

    @property
    def same_top1(self) -> bool:
        return self.expected == self.actual and math.isfinite(self.difference)


@dataclass(frozen=True, slots=True)
class Predictions:
    """What the converted network predicts, (N, classes), and the magnitudes of the terms that it is
    added up from, (N,), the largest of each picture; None where they are not known."""

    values: Array
    terms: Array | None = None


def compare_predictions(
    indexes: Sequence[int], predicted: Predictions, expected: Array
) -> tuple[PictureResult, ...]:
    """A result for each row of two arrays (N, classes). ValueError for other shapes."""
    actual = predicted.values
    terms = np.zeros(len(actual)) if predicted.terms is None else predicted.terms
    if actual.shape != expected.shape or actual.ndim != 2 or len(actual) != len(indexes):
        raise ValueError(
            f"the converted network predicts {actual.shape} and the original {expected.shape} for "
            f"{len(indexes)} pictures; both have to be (pictures, classes)"
        )
    return tuple(
        _compared(index, ours.astype(np.float64), theirs.astype(np.float64), float(added))
        for index, ours, theirs, added in zip(indexes, actual, expected, terms, strict=True)
    )


LEAST = RATE["float32"] / GATES["float32"]


def _compared(index: int, ours: Array, theirs: Array, terms: float) -> PictureResult:
    with np.errstate(invalid="ignore"):  # infinity less infinity is NaN, and is seen below
        apart = np.abs(ours - theirs)
    apart[~np.isfinite(apart)] = np.inf
    difference = float(apart.max())
    largest = max(float(np.abs(theirs).max()), LEAST * terms)
    finite = math.isfinite(difference)
    share = difference / largest if finite and largest else math.inf
    return PictureResult(
        index=index,
        difference=difference,
        mean=math.fsum(apart) / len(apart),
        relative=share if difference else 0.0,
        expected=int(theirs.argmax()),
        actual=int(ours.argmax()),
        same_top5=finite and set(first_five(ours)) == set(first_five(theirs)),
    )


def first_five(values: Array) -> list[int]:
    """The classes of the five largest, the largest first; of equal ones the first class first."""
    order: list[int] = np.argsort(-values, kind="stable")[:5].tolist()
    return order


@dataclass(frozen=True, slots=True)
class Worst:
    """A picture among those that differ most, by its path in the folder."""

    name: str
    difference: float
    relative: float
    expected: int
    actual: int


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file that is no picture, and was not compared."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class DatasetComparison:
    """Over all pictures: agreement, drift, and the worst cases.

    `of` says what was compared: `logits`, or `output` where the original gives no logits; `oracle`
    what gave the original's side, and `is_original` whether it is the original, or a definition
    that was built from the same reading of its file. Means are over pictures. Every figure is the
    same however the pictures were spread over processes.
    """

    of: Kind
    pictures: int
    same_top1: int
    same_top5: int
    max_difference: float
    mean_difference: float
    max_relative: float
    worst: tuple[Worst, ...]
    unreadable: tuple[Unreadable, ...]
    oracle: str = "the original"
    is_original: bool = True

    @property
    def passes(self) -> bool:
        """Whether every picture that could be read is within the gate of float32.

        Another first class is no fault by itself: two logits nearer to each other than rounding
        may change places. What is beyond rounding is beyond the gate.
        """
        return self.pictures > 0 and self.max_relative <= GATES["float32"]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `report.schema.json` describes them; infinity is still in them."""
        return asdict(self)


def summarise(
    of: Kind,
    names: Sequence[str],
    results: Iterable[PictureResult],
    unreadable: Mapping[int, str],
) -> DatasetComparison:
    """The figures over all pictures. Sums are exact (`fsum`), so that their order is nothing."""
    found = sorted(results, key=lambda one: one.index)
    ranked = sorted(found, key=lambda one: (one.same_top1, -one.relative, one.index))
    return DatasetComparison(
        of=of,
        pictures=len(found),
        same_top1=sum(one.same_top1 for one in found),
        same_top5=sum(one.same_top5 for one in found),
        max_difference=max((one.difference for one in found), default=0.0),
        mean_difference=math.fsum(one.mean for one in found) / len(found) if found else 0.0,
        max_relative=max((one.relative for one in found), default=0.0),
        worst=tuple(
            Worst(names[one.index], one.difference, one.relative, one.expected, one.actual)
            for one in ranked[:WORST]
        ),
        unreadable=tuple(
            Unreadable(names[index], unreadable[index]) for index in sorted(unreadable)
        ),
    )
