"""A report for programs; `report.schema.json` says what is in it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

SUFFIXES = (".json",)


def render(data: Mapping[str, Any]) -> bytes:
    """UTF-8. ValueError for a number that JSON lacks: `Report.to_dict` gives none."""
    return (json.dumps(data, indent=1, allow_nan=False) + "\n").encode()
