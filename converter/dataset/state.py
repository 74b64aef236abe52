"""What a run over a data set has done, on disk: killed at any moment, it goes on from there.

A state is a folder with a file for each process, of JSON lines: what the run is, then a line for
each batch that is done. A line that was cut off by the end of its process is done again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from converter.dataset.results import PictureResult
from converter.errors import SourceError, TargetError, UsageError


@dataclass(frozen=True, slots=True)
class Done:
    """A batch that is done."""

    number: int
    results: tuple[PictureResult, ...]
    unreadable: Mapping[int, str]


class State:
    """The state of the run that is described by `run`, as one process writes it.

    Without a folder nothing is kept. Raises UsageError if the folder holds the state of another
    run, SourceError if it is damaged, TargetError if it cannot be written.
    """

    def __init__(self, folder: Path | None, run: Mapping[str, Any], rank: int) -> None:
        self.folder, self.rank = folder, rank
        self.run = json.loads(json.dumps(run))  # as it comes back from the file
        self.file: BinaryIO | None = None

    def read(self) -> dict[int, Done]:
        """Every batch that is done, by any process whose file is here."""
        if not self.folder:
            return {}
        found: dict[int, Done] = {}
        for path in sorted(self.folder.glob("process-*.jsonl")):
            for done in self._read(path):
                found[done.number] = done
        return found

    def _read(self, path: Path) -> Iterable[Done]:
        lines = whole_lines(path.read_bytes())
        if not lines:
            return []
        try:
            run, *rest = [json.loads(line) for line in lines]
            done = [_done(line) for line in rest] if run == self.run else []
        except (ValueError, TypeError, KeyError) as error:
            raise SourceError(f"{path} is damaged: {error}") from error
        if run != self.run:
            differ = [key for key in {**self.run, **run} if self.run.get(key) != run.get(key)]
            raise UsageError(
                f"{self.folder} holds the state of another run",
                [f"{key}: {run.get(key)} there, {self.run.get(key)} now" for key in differ],
                ["give another folder, or remove this one to start anew"],
            )
        return done

    def add(self, done: Done) -> None:
        """Keep a batch, durably."""
        results = [astuple(one) for one in done.results]
        line = {"batch": done.number, "results": results, "unreadable": dict(done.unreadable)}
        if not self.folder:
            return
        try:
            self.file = self.file or self._opened(self.folder)
            self.file.write((json.dumps(line) + "\n").encode())
            self.file.flush()
            os.fsync(self.file.fileno())
        except OSError as error:
            raise TargetError(
                f"{self.folder} cannot be written: {error.strerror or error}"
            ) from error

    def _opened(self, folder: Path) -> BinaryIO:
        """This process's file, behind its last whole line."""
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / f"process-{self.rank}.jsonl").open("ab+")
        file.seek(0)
        kept = sum(map(len, whole_lines(file.read())))
        file.truncate(kept)
        if not kept:
            file.write((json.dumps(self.run) + "\n").encode())
        return file

    def close(self) -> None:
        if self.file:
            self.file.close()


def whole_lines(content: bytes) -> list[bytes]:
    """The lines that end: the last one may have been cut off."""
    lines = content.splitlines(keepends=True)
    return lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]


def _done(line: Mapping[str, Any]) -> Done:
    results = tuple(PictureResult(*one) for one in line["results"])
    return Done(
        line["batch"], results, {int(index): why for index, why in line["unreadable"].items()}
    )
