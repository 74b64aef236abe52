"""Where things go in a chart: data in, coordinates out. What they look like is the page's."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tick:
    """A line across the chart at `at` (an x or a y), with its label."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Mark:
    """One value at (x, y). `kind` is the series; `text` is read out and shown on hovering."""

    x: float
    y: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart in its own coordinates: (0, 0) is top left; marks lie between `left` and `right`,
    `top` and `bottom`."""

    width: int
    height: int
    left: int
    top: int
    right: int
    bottom: int
    marks: tuple[Mark, ...]
    across: tuple[Tick, ...]
    up: tuple[Tick, ...]
    fault: Tick | None = None

    @property
    def kinds(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(one.kind for one in self.marks))

    def path(self, kind: str) -> str:
        """A series as the `points` of an SVG polyline."""
        return " ".join(f"{one.x:.1f},{one.y:.1f}" for one in self.marks if one.kind == kind)


class LogScale:
    """Powers of ten from `bottom` (low) to `top` (high). A 0 lies at the bottom and what is not
    finite (None) at the top: neither has a logarithm."""

    def __init__(self, values: Sequence[float | None], bottom: float, top: float) -> None:
        there = [math.log10(value) for value in values if value]
        self.low = math.floor(min(there, default=-1)) - 1
        self.high = math.ceil(max(there, default=0)) + 1
        self.bottom, self.top = bottom, top

    def __call__(self, value: float | None) -> float:
        if value is None:
            return self.top
        return self.bottom if value == 0 else self._at(math.log10(value))

    def _at(self, exponent: float) -> float:
        share = (exponent - self.low) / (self.high - self.low)
        return self.bottom + share * (self.top - self.bottom)

    def ticks(self, most: int = 9) -> tuple[Tick, ...]:
        step = max(1, math.ceil((self.high - self.low) / most))
        powers = range(self.low + 1, self.high, step)
        return tuple(Tick(self._at(power), f"1e{power:+03}") for power in powers)


LAYER_SIZE = (960, 340)
NAMES = 7
"""Layer names that find room below the chart."""


SERIES = ("noise floor", "cumulative", "own")


def error_of(layer: Entry, series: str) -> float | None:
    """A layer's error in a series. KeyError if it was not measured; None if it is not finite."""
    if series == "cumulative":
        return layer["relative"]  # type: ignore[no-any-return]
    if series == "noise floor":
        return layer["noise"]  # type: ignore[no-any-return]
    if layer.get("own") is None:
        raise KeyError(series)
    return layer["own"]["relative"]  # type: ignore[no-any-return]


def layer_chart(layers: Sequence[Entry], first_wrong: str | None) -> Chart | None:
    """Every layer's error relative to the layer's largest value, in the order of running, on a log
    scale: as the network runs, alone, and what rounding does, where these were measured. `fault`
    is where the layer `first_wrong` is.

    None if there are no layers.
    """
    if not layers:
        return None
    (width, height), (left, top, right, bottom) = LAYER_SIZE, (64, 16, 944, 290)
    step = (right - left) / max(1, len(layers) - 1)
    ticks = [Tick(left + step * number, str(one["name"])) for number, one in enumerate(layers)]
    measured: list[tuple[float, str, str, float | None]] = []
    for series in SERIES:
        for tick, layer in zip(ticks, layers, strict=True):
            with suppress(KeyError):
                measured.append((tick.at, tick.text, series, error_of(layer, series)))
    scale = LogScale([error for *_, error in measured], bottom, top)
    marks = tuple(
        Mark(x, scale(error), series, f"{name}: {error_text(error)} {series}")
        for x, name, series, error in measured
    )
    return Chart(
        *(width, height, left, top, right, bottom),
        marks,
        tuple(ticks[:: math.ceil(len(layers) / NAMES)]),
        scale.ticks(),
        next((tick for tick in ticks if tick.text == first_wrong), None),
    )


SQUARE = 300
LEAST = 1e-250


def scatter(pairs: Sequence[Entry], unit: str) -> Chart | None:
    """Logits of the converted network (up) against the original's (across), on like axes: what is
    the same lies on the diagonal. `unit` is what an index counts. None without pairs, or where they
    lie further apart, or nearer, than numbers can say."""
    finite = [one for one in pairs if one["expected"] is not None and one["actual"] is not None]
    values: list[float] = [one[key] for one in finite for key in ("expected", "actual")]
    if not values:
        return None
    left, top, right, bottom = 52, 8, SQUARE - 8, SQUARE - 36
    low, high = min(values), max(values)
    margin = max((high - low) * 0.04, abs(high) * 1e-6, abs(low) * 1e-6) or 1.0
    low, high = low - margin, high + margin
    if not LEAST < high - low < math.inf:
        return None
    ticks = round_numbers(low, high)

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (right - left)

    def y(value: float) -> float:
        return bottom - (value - low) / (high - low) * (bottom - top)

    marks = tuple(
        Mark(
            x(one["expected"]),
            y(one["actual"]),
            "logit",
            f"{unit} {one['index']}: {one['actual']:.7g}, original {one['expected']:.7g}",
        )
        for one in finite
    )
    return Chart(
        *(SQUARE, SQUARE, left, top, right, bottom),
        marks,
        tuple(Tick(x(value), f"{value:.3g}") for value in ticks),
        tuple(Tick(y(value), f"{value:.3g}") for value in ticks),
    )


def round_numbers(low: float, high: float) -> list[float]:
    """Three to seven multiples of 1, 2 or 5 times a power of ten between `low` and `high`."""
    power = math.pow(10, math.floor(math.log10((high - low) / 3)))
    step = max(by * power for by in (1, 2, 5) if (high - low) / (by * power) >= 3)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [number * step for number in range(first, last + 1)]


def error_text(value: float | None) -> str:
    """An error as a person reads it; None is what JSON has for infinity and NaN."""
    if value is None:
        return "not finite"
    return "0" if value == 0 else f"{value:.1e}"
