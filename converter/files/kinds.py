"""Numbers of a configuration, held to their kind and range: nothing is cut, rounded or counted.

A stranger's JSON may hold 2.5 where a stride stands, `true` for 1, or a whole number of thousands
of digits. Keras writes whole numbers as such; 2.0 is taken for 2, as Keras takes it. What a network
may have is in `converter.whole_model.ranges`; the reader's process needs these alone.
"""

from __future__ import annotations

import math
from typing import Any

SHOWN = 40
"""Characters of a value that are shown."""


class SettingError(ValueError):
    """A setting that is not of its kind, or out of its range."""


def whole(value: Any, what: str, least: int, most: int) -> int:
    """A whole number from `least` to `most`. Raises SettingError."""
    is_whole = type(value) is int or (type(value) is float and value.is_integer())
    if not is_whole or not least <= value <= most:
        raise SettingError(f"{what} is {written(value)}, no whole number from {least} to {most}")
    return int(value)


def truth(value: Any, what: str) -> bool:
    """Yes or no, as JSON has it or as 0 and 1. Raises SettingError."""
    if value in (True, False, None) and type(value) is not float:
        return bool(value)
    raise SettingError(f"{what} is {written(value)}, neither true nor false")


def written(value: Any) -> str:
    """A value for a message, as much of it as is readable."""
    if type(value) is int:
        return str(value) if abs(value) < 10**12 else "a number of more than 12 digits"
    if type(value) is float and not math.isfinite(value):
        return str(value)
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
