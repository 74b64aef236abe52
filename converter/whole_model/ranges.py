"""Numbers of a configuration, within what a network may have."""

from __future__ import annotations

from typing import Any

from converter.files.kinds import SettingError, whole, written
from resnet_pt.ops.protocol import MAX_CHANNELS, MAX_FLOAT, MAX_WINDOW


def window(value: Any, what: str) -> int:
    """A window's size, stride or dilation."""
    return whole(value, what, 1, MAX_WINDOW)


def padding(value: Any, what: str) -> int:
    return whole(value, what, 0, MAX_WINDOW)


def channels(value: Any, what: str) -> int:
    """How many channels, groups or numbers."""
    return whole(value, what, 1, MAX_CHANNELS)


def number(value: Any, what: str) -> float:
    """A finite number of float32's range. Raises SettingError."""
    is_number = type(value) in (int, float)
    if not is_number or not -MAX_FLOAT <= value <= MAX_FLOAT:  # NaN is neither
        raise SettingError(f"{what} is {written(value)}, no finite number of float32")
    return float(value)
