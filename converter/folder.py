"""A folder of Keras files → a folder of converted ones: a result for each, the others go on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from converter.conversion import convert
from converter.errors import ConvertError, ParityError, SourceError, TargetError, as_refusal
from converter.files.source import AS_HDF5, MAX_JSON
from converter.report import Report
from resnet_pt.regular import read_regular

SUFFIXES = (".h5", ".hdf5", ".keras", ".weights.json")
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file: a report, or the error that refused it."""

    source: Path
    target: Path
    report: Report | None = None
    error: ConvertError | None = None

    @property
    def verdict(self) -> str:
        """The report's, of a failed proof too; `refused` for a file that came to none."""
        failed = self.error.report if isinstance(self.error, ParityError) else None
        report = self.report or failed
        if report is None or (self.error and report.verdict != "not equal"):
            return "refused"
        return report.verdict

    @property
    def exit_code(self) -> int:
        return self.error.exit_code if self.error else 0


def keras_files(folder: Path) -> list[Path]:
    """The files of a folder that are called like Keras files, or are HDF5; shards count as the
    one list that names them. Raises SourceError for a folder that cannot be listed."""
    try:
        files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    except OSError as error:
        raise SourceError(f"{folder} cannot be read: {error.strerror}") from error
    parts = {name for path in files for name in _shards(path)}
    return [
        path
        for path in files
        if path.name not in parts and (path.name.endswith(SUFFIXES) or _is_hdf5(path))
    ]


def not_entered(folder: Path) -> list[str]:
    """The names of the folders in `folder` that hold Keras files themselves."""
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    return [path.name for path in inner if os.access(path, os.R_OK | os.X_OK) and keras_files(path)]


def _is_hdf5(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(HDF5_MAGIC)) == HDF5_MAGIC
    except OSError:
        return False


def _shards(path: Path) -> set[str]:
    if not path.name.endswith(".weights.json"):
        return set()
    try:
        weight_map = json.loads(read_regular(path, MAX_JSON))["weight_map"]
        return {name for names in weight_map.values() for name in names}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return set()  # the conversion of the list itself will say what is wrong


def convert_folder(
    source: Path,
    target: Path,
    *,
    progress: Callable[[str], None] = lambda message: None,
    **options: Any,
) -> Iterator[Outcome]:
    """Convert every Keras file in `source` into the folder `target`, one outcome after the other.

    Options are those of `convert`. Raises SourceError for a folder without Keras files and
    TargetError if there can be no such folder; what is wrong with a single file is its outcome.
    """
    files = keras_files(source)
    if not files:
        is_saved_model = os.path.exists(source / "saved_model.pb")
        inner = not_entered(source)
        raise SourceError(
            f"{source} holds no Keras files ({', '.join(SUFFIXES)}, or any HDF5)",
            [f"folders in it hold some: {', '.join(inner)}"] if inner else [],
            [f"it is TensorFlow's SavedModel: {AS_HDF5}"] if is_saved_model else [],
        )
    try:
        target.mkdir(exist_ok=True)
    except OSError as error:
        raise TargetError(f"{target} cannot be made a folder: {error.strerror}") from error
    for number, (path, name) in enumerate(zip(files, _names(files), strict=True), start=1):
        one, place = target / name, f"{number} of {len(files)}, {path.name}"
        try:
            report = convert(
                path,
                one,
                progress=lambda message, place=place: progress(f"{place}: {message}"),  # type: ignore[misc]
                **options,
            )
            yield Outcome(path, one, report)
        except Exception as error:  # of one file: the others go on
            yield Outcome(path, one, error=as_refusal(error))


def _names(files: list[Path]) -> list[str]:
    """A target's name for each file: without its suffix, unless two would have the same."""
    stems = [_stem(path) for path in files]
    return [
        f"{stem if stems.count(stem) == 1 else path.name}.pth"
        for stem, path in zip(stems, files, strict=True)
    ]


def _stem(path: Path) -> str:
    name = path.name
    for suffix in (".weights.json", ".weights.h5", *SUFFIXES):
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return path.stem
