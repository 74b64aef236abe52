"""docs/benchmark.md, from what was measured."""

from __future__ import annotations

import datetime
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import distributions
from pathlib import Path

PACKAGES = (
    *("torch", "torchvision", "numpy", "h5py", "safetensors", "keras", "tensorflow-cpu"),
    *("tf2onnx", "onnx2torch", "onnxruntime"),
)


@dataclass(frozen=True)
class Line:
    """One ratio, ours to theirs, or the `reason` why there is none. `bound` is what it is to be at
    most; `unit` is 's', 'MiB' or 'ms'."""

    key: str
    what: str
    beside: str
    unit: str
    bound: float | None = None
    ours: float = float("nan")
    theirs: float = float("nan")
    reason: str = ""

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs

    def row(self) -> str:
        bound = "" if self.bound is None else f"≤ {self.bound:.2f}"
        if self.reason:
            return f"| {self.what} | {self.beside} | | | | {bound} | {self.reason} |"
        figures = f"{_number(self.ours)} {self.unit} | {_number(self.theirs)} {self.unit}"
        reached = "" if self.bound is None else "yes" if self.ratio <= self.bound else "no"
        return (
            f"| {self.what} | {self.beside} | {figures} | {self.ratio:.2f} | {bound} | {reached} |"
        )


@dataclass(frozen=True)
class Growth:
    """How long a file took and what memory: `.pth` or `.safetensors`."""

    name: str
    suffix: str
    size: float
    seconds: float = float("nan")
    memory: float = float("nan")
    reason: str = ""

    def row(self) -> str:
        start = f"| {self.name} | {self.suffix} | {self.size:.0f} MB |"
        if self.reason:
            return f"{start} | | | {self.reason} |"
        each = 100 * self.seconds / self.size
        return f"{start} {self.seconds:.1f} s | {each:.2f} s | {self.memory:.0f} MiB | |"


Measured = tuple[list[Line], list[Growth]]

MEASURED = "measured.json"
NOT_CHOSEN = "not in this run"
"""The reason of a row that was not asked for."""


def kept(folder: Path, lines: Sequence[Line], growth: Sequence[Growth]) -> Measured:
    """With what an earlier run in the same folder measured, for the rows that this one was not
    asked for."""
    path = folder / MEASURED
    earlier = json.loads(path.read_text()) if path.is_file() else {"lines": [], "growth": []}
    old_lines = {
        (one.what, one.beside, one.unit): one
        for one in (Line(**values) for values in earlier["lines"])
    }
    old_growth = {
        (one.name, one.suffix): one for one in (Growth(**values) for values in earlier["growth"])
    }
    lines = [
        old_lines.get((one.what, one.beside, one.unit), one) if one.reason == NOT_CHOSEN else one
        for one in lines
    ]
    growth = [
        old_growth.get((one.name, one.suffix), one) if one.reason == NOT_CHOSEN else one
        for one in growth
    ]
    found = {"lines": [asdict(one) for one in lines], "growth": [asdict(one) for one in growth]}
    path.write_text(json.dumps(found, indent=1))
    return lines, growth


TEXT = """# The benchmark

What this project takes beside what people would use instead: the same file, the same inputs, the
rows of one thing in one run, in turns, medians of {runs}. Made by `scripts/bench` on {day};
{machine}.

A ratio is ours to theirs; only ratios are claimed. Seconds are of the whole process, from its start
to its end, by the clock; memory is the peak of the largest process of its tree. The tensors of the
plain work are held against ours, and the answers of the networks with each other: a way that gives
other ones is not compared. (torchvision runs its own network: stride on the 3x3, a padded pool.)

Why rows are over their bound: [profile.md](profile.md), [inference.md](inference.md).

| what | beside | ours | theirs | ratio | to reach | reached |
| --- | --- | --- | --- | --- | --- | --- |
{lines}

## How it grows

Conversions with the tensors proven, of a ResNet-50, 101 and 152 and a ResNet-50 of 4.4 times the
width.

| network | to | file | time | for 100 MB | peak memory | |
| --- | --- | --- | --- | --- | --- | --- |
{growth}
"""


def write(
    folder: Path, lines: Sequence[Line], growth: Sequence[Growth], runs: int, machine: str
) -> None:
    text = TEXT.format(
        runs=runs,
        day=datetime.date.today().isoformat(),
        machine=machine,
        lines="\n".join(line.row() for line in lines),
        growth="\n".join(one.row() for one in growth),
    )
    (folder / "benchmark.md").write_text(text)


def machine() -> str:
    """Processor, threads, system and versions."""
    found = [
        _processor(),
        f"{os.cpu_count()} CPUs",
        f"load before {os.getloadavg()[0]:.1f}",
        f"{platform.system()} {platform.release()}",
        f"Python {platform.python_version()}",
    ]
    present = {one.name: one.version for one in distributions()}
    return ", ".join(found + [f"{name} {present[name]}" for name in PACKAGES if name in present])


def _processor() -> str:
    if sys.platform == "linux":
        with open("/proc/cpuinfo") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
