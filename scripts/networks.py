#!/usr/bin/env python3
"""Convert every network in a folder and hold it against its record: a line for each.

usage: scripts/networks.py [--live] FOLDER [NAME…]

With --live the Keras that is installed here is asked in the place of the record.

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


def outcomes(folder: Path, names: list[str], live: bool) -> Iterator[tuple[str, str, str]]:
    """(network, outcome, error against the original or the reason) for each."""
    for one in sorted(path for path in folder.iterdir() if (path / "record.npz").exists()):
        if names and one.name not in names:
            continue
        file, options = source(one)
        options |= {} if live else {"against": one / "record.npz"}
        with tempfile.TemporaryDirectory() as work:
            try:
                target = Path(work) / "out.pth"
                report = convert(file, target, device="cpu", **options)
            except ConvertError as error:
                compared = getattr(getattr(error, "report", None), "parity", None)
                outcome = "refused" if compared is None else "not equal"
                told = " | ".join([error.headline, *error.findings[:2]])
                yield one.name, outcome, f"{file.name}: {told}"
            else:
                kind = "general" if report.network.lifted else "residual"
                worst = max((c.worst.relative for c in report.parity.comparisons), default=0.0)
                layers = len(report.parity.layers)
                told = report.parity.reason
                if report.parity.comparisons:
                    said = [f"{worst:.1e} of the largest", f"{layers} layers", told]
                    told = ", ".join(filter(None, said))
                yield one.name, f"{report.verdict} ({kind})", f"{file.name}: {told}"


def main() -> None:
    live, (folder, *names) = "--live" in sys.argv, [x for x in sys.argv[1:] if x != "--live"]
    counted: Counter[str] = Counter()
    for name, outcome, told in outcomes(Path(folder), names, live):
        counted[outcome] += 1
        print(f"{name:28} {outcome:20} {told}", flush=True)
    print(", ".join(f"{count} {outcome}" for outcome, count in counted.most_common()))


if __name__ == "__main__":
    main()
