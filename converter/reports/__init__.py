"""A report as a file: one module for each format, found by the file's suffix.

A format has `SUFFIXES` and `render(data) -> bytes`, where `data` is what `Report.to_dict` gives and
`report.schema.json` describes: every format says the same.
"""

from __future__ import annotations

import importlib.resources
from json import loads  # `json` is a format here
from pathlib import Path
from types import ModuleType
from typing import Any

from converter.discover import modules
from converter.errors import UsageError


def format_of(path: Path) -> ModuleType:
    """The format that a report's suffix asks for. Raises UsageError for a suffix of none."""
    formats = modules("converter.reports")
    for one in formats:
        if path.suffix.lower() in one.SUFFIXES:
            return one
    known = ", ".join(suffix for one in formats for suffix in one.SUFFIXES)
    raise UsageError(f"--report {path} needs a suffix that says its format: {known}")


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a report."""
    text = importlib.resources.files("converter.reports").joinpath("report.schema.json")
    return loads(text.read_text("utf-8"))  # type: ignore[no-any-return]
