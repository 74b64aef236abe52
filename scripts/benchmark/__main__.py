"""`scripts/bench`: measure, and write docs/benchmark.md."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from benchmark import files, inference, page, same
from benchmark.measure import Failed, Run, in_turns, python
from benchmark.page import NOT_CHOSEN, Growth, Line
from benchmark.rows import (
    BATCHES,
    BY_HAND,
    BY_HAND_BATCHES,
    CONVERT,
    CPU,
    CPU_COMPILED,
    GENERAL,
    GPU,
    GROWTH,
    ROWS,
    Beside,
    Row,
    Template,
    Way,
)

ROOT = Path(__file__).parents[2]
NO_GPU = "not measured: no GPU in this run"


class Bench:
    """One run: `places` are what the braces of the rows stand for."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.work: Path = options.work
        self.work.mkdir(parents=True, exist_ok=True)
        self.source: Path = options.source or files.model_file(self.work, "resnet50")
        self.places = {
            "work": str(self.work),
            "resnet50": str(self.source),
            "converted": str(self.work / "converted.pth"),
            "onnx": str(self.work / "converted.onnx"),
            "count": str(options.pictures),
            "inputs": str(self.work / "inputs.npz"),
            "pictures": str(self.work / f"pictures-{options.pictures}"),
            "cut": str(self.work / "cut.h5"),
            **{kind: str(self.work / f"{kind}.h5") for kind in GENERAL},
        }

    def prepare(self) -> None:
        content = self.source.read_bytes()
        (self.work / "cut.h5").write_bytes(content[: len(content) // 2])
        self._convert("converted.pth")
        if self._chosen("logits"):
            files.proof_inputs(self.work)
        if self._chosen("verify"):
            files.picture_folder(self.work, self.options.pictures)
        if self._chosen("inference") and find_spec("onnxscript"):
            self._convert("converted.onnx", "--to", "onnx")
        if self._chosen("general") and find_spec("keras"):
            for kind in GENERAL:
                source = files.model_file(self.work, kind)
                self._convert(f"{kind}.pth", source=source)

    def _convert(self, name: str, *options: str, source: Path | None = None) -> None:
        target = self.work / name
        command = python(
            *CONVERT, source or self.source, target, "--no-parity", "--force", *options
        )
        subprocess.run(command, check=True, capture_output=True)

    def _chosen(self, key: str) -> bool:
        return not self.options.only or key in self.options.only

    def lines(self) -> Iterator[Line]:
        for row in ROWS:
            yield from self.processes(row)
        for batch in sorted({*BATCHES, *self.options.batches}):
            what = f"inference on the CPU, batch {batch}"
            yield from self.networks("inference", what, CPU, batch, "cpu", "float32")
            what += ", beside compilers"
            yield from self.networks("inference", what, CPU_COMPILED, batch, "cpu", "float32")
        for kind, ways in BY_HAND.items():
            for batch in BY_HAND_BATCHES:
                what = f"{GENERAL[kind]} on the CPU, batch {batch}"
                yield from self.networks("general", what, ways, batch, "cpu", "float32", kind)
        for dtype in ("float32", "bfloat16"):
            what = f"inference on a GPU, {dtype}, batch 32"
            yield from self.networks("gpu", what, GPU, 32, "cuda", dtype)

    def processes(self, row: Row) -> Iterator[Line]:
        """One row: ours and all that stands beside it."""
        reasons = {one.name: self._reason(row.key, one.needs) for one in row.beside}
        present = [one for one in row.beside if not reasons[one.name]]
        found: dict[str, Run | Failed] = {}
        if present:
            say(row.what.format(**self.places))
            commands = {"ours": self._command(row.ours)}
            commands |= {one.name: self._command(one.command) for one in present}
            found = in_turns(commands, self.options.runs, row.exit_code)
        for one in row.beside:
            reason = reasons[one.name] or self._wrong(row, one, found)
            ours, theirs = found.get("ours"), found.get(one.name)
            for unit, bound in (("s", one.seconds), ("MiB", one.memory)):
                if bound is None:
                    continue
                line = Line(row.key, row.what.format(**self.places), one.name, unit, bound)
                if reason or not (isinstance(ours, Run) and isinstance(theirs, Run)):
                    yield replace(line, reason=reason)
                elif unit == "s":
                    yield replace(line, ours=ours.seconds, theirs=theirs.seconds)
                else:
                    yield replace(line, ours=ours.memory, theirs=theirs.memory)

    def _wrong(self, row: Row, one: Beside, found: dict[str, Run | Failed]) -> str:
        """Why two measured processes cannot be compared: one failed, or gives other tensors."""
        for name in ("ours", one.name):
            result = found[name]
            if isinstance(result, Failed):
                return f"not measured: {name} failed: {result.reason}"
        if not one.target:
            return ""
        ours, theirs = (Path(path.format(**self.places)) for path in (row.target, one.target))
        wrong = same.difference(ours, theirs)
        return wrong and f"not compared: {wrong}"

    def _command(self, template: Template) -> list[str]:
        return python(*(part.format(**self.places) for part in template))

    def _reason(self, key: str, needs: Sequence[str]) -> str:
        if not self._chosen(key):
            return NOT_CHOSEN
        missing = [name for name in needs if not find_spec(name)]
        return f"not measured: {missing[0]} is not installed" if missing else ""

    def networks(
        self,
        key: str,
        what: str,
        ways: Sequence[Way],
        batch: int,
        device: str,
        dtype: str,
        kind: str = "",
    ) -> Iterator[Line]:
        """A row for each way beside the first, which is ours. `kind` is a general network's."""
        reasons = [self._reason(key, way.needs) for way in ways]
        if device == "cpu" and batch not in self.options.batches and not kind:
            reasons = [NOT_CHOSEN] * len(ways)
        if device == "cuda" and self._chosen(key) and not has_gpu():
            reasons = [NO_GPU] * len(ways)
        present = [way for way, reason in zip(ways, reasons, strict=True) if not reason]
        if present:
            say(what)
        jobs = [self._job(way, batch, device, dtype, kind) for way in present]
        timed = dict(
            zip(present, inference.in_turns(present, jobs, self.options.runs), strict=True)
        )
        ours = timed.get(ways[0], inference.Timed(reason=reasons[0]))
        for way, reason in zip(ways[1:], reasons[1:], strict=True):
            theirs = timed.get(way, inference.Timed(reason=reason))
            because = next((one for one in (reason, theirs.wrong) if one), "")
            for one in (ours, theirs):
                because = because or (one.reason and f"not measured: {one.reason}")
            yield Line(
                *(key, what, way.name, "ms", way.bound),
                *(ours.milliseconds, theirs.milliseconds, because),
            )

    def _job(self, way: Way, batch: int, device: str, dtype: str, kind: str) -> inference.Job:
        answer = self.work / f"{kind}{way.key}-{batch}-{device}-{dtype}.npy"
        answer.unlink(missing_ok=True)
        paths = (self.places["resnet50"], self.places["converted"], self.places["onnx"])
        if kind:
            paths = (self.places[kind], str(self.work / f"{kind}.pth"), "")
        return inference.Job(way.key, batch, device, dtype, *paths, str(answer))

    def growth(self) -> Iterator[Growth]:
        for suffix in (".pth", ".safetensors"):
            for kind in GROWTH:
                if not self._chosen("growth"):
                    yield Growth(kind, suffix, 0.0, reason=NOT_CHOSEN)
                    continue
                say(f"{kind} to {suffix}")
                path = self.source if kind == "resnet50" else files.model_file(self.work, kind)
                size = path.stat().st_size / 1e6
                target = self.work / f"growth{suffix}"
                command = python(*CONVERT, path, target, "--no-parity", "--force")
                found = in_turns({"ours": command}, min(self.options.runs, 3), 0)["ours"]
                target.unlink(missing_ok=True)
                if isinstance(found, Failed):
                    yield Growth(kind, suffix, size, reason=f"failed: {found.reason}")
                else:
                    yield Growth(kind, suffix, size, found.seconds, found.memory)


def has_gpu() -> bool:
    """Asked in a process of its own, which keeps torch out of this one."""
    asked = python("-c", "import sys, torch; sys.exit(not torch.cuda.is_available())")
    return subprocess.run(asked, check=False).returncode == 0


def say(what: str) -> None:
    print(f"measuring: {what}", flush=True)


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    keys = [*dict.fromkeys(row.key for row in ROWS), "inference", "gpu", "growth"]
    parser.add_argument(
        "--only", nargs="+", choices=keys, help="the rows to measure; the others stay as they were"
    )
    parser.add_argument("--runs", type=int, default=5, help="medians are of so many (default 5)")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES)
    parser.add_argument("--pictures", type=int, default=256, help="of the row verify")
    parser.add_argument("--source", type=Path, help="a whole model of your own, for all but growth")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "benchmark")
    parser.add_argument("--out", type=Path, default=ROOT / "docs", help="where the page goes")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    bench = Bench(options().parse_args(arguments))
    machine = page.machine()  # its load, before there is ours
    bench.prepare()
    lines, growth = page.kept(bench.work, list(bench.lines()), list(bench.growth()))
    bench.options.out.mkdir(parents=True, exist_ok=True)
    page.write(bench.options.out, lines, growth, bench.options.runs, machine)
    for line in lines:
        print(line.row())
    for one in growth:
        print(one.row())


if __name__ == "__main__":
    main()
