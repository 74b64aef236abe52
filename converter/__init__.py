"""Legacy Keras ResNet weights → PyTorch, layer by layer, proven against Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from converter.conversion import convert
    from converter.report import Report

__all__ = ["Report", "convert"]


def __getattr__(name: str) -> Any:
    """`convert` and `Report`, imported when they are asked for: `--help` needs neither."""
    import importlib

    homes = {"convert": "converter.conversion", "Report": "converter.report"}
    if name not in homes:
        raise AttributeError(f"module 'converter' has no attribute {name!r}")
    return getattr(importlib.import_module(homes[name]), name)
