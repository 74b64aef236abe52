#!/usr/bin/env python3
"""Convert every network in a folder and hold it against its record: a line for each.

usage: scripts/networks.py FOLDER [NAME…]

FOLDER holds a folder for each network: `model.h5` or `model.keras`, or weights alone with
`model.json`, and `record.npz`, what the original computed.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from converter.conversion import convert
from converter.errors import ConvertError

WHOLE = ("model.h5", "model.keras")
ALONE = ("weights.h5", "model.weights.h5")


def source(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The file to convert, and the options that it needs."""
    for name in WHOLE:
        if (folder / name).exists():
            return folder / name, {}
    alone = next(folder / name for name in ALONE if (folder / name).exists())
    return alone, {"config": folder / "model.json"}


def outcomes(folder: Path, names: list[str]) -> Iterator[tuple[str, str, str]]:
    """(network, outcome, error against the record or the reason) for each."""
    for one in sorted(path for path in folder.iterdir() if (path / "record.npz").exists()):
        if names and one.name not in names:
            continue
        file, options = source(one)
        with tempfile.TemporaryDirectory() as work:
            try:
                target = Path(work) / "out.pth"
                report = convert(file, target, against=one / "record.npz", **options)
            except ConvertError as error:
                compared = getattr(getattr(error, "report", None), "parity", None)
                outcome = "refused" if compared is None else "not equal"
                told = " | ".join([error.headline, *error.findings[:2]])
                yield one.name, outcome, f"{file.name}: {told}"
            else:
                kind = "general" if report.network.lifted else "residual"
                worst = max((c.worst.relative for c in report.parity.comparisons), default=0.0)
                layers = len(report.parity.layers)
                told = report.parity.reason or f"{worst:.1e} of the largest, {layers} layers"
                yield one.name, f"{report.verdict} ({kind})", f"{file.name}: {told}"


def main() -> None:
    folder, *names = sys.argv[1:]
    counted: Counter[str] = Counter()
    for name, outcome, told in outcomes(Path(folder), names):
        counted[outcome] += 1
        print(f"{name:28} {outcome:20} {told}", flush=True)
    print(", ".join(f"{count} {outcome}" for outcome, count in counted.most_common()))


if __name__ == "__main__":
    main()
