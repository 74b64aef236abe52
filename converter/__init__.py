"""Legacy Keras ResNet weights → PyTorch, layer by layer, proven against Keras."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from converter.conversion import convert
    from converter.report import Report
    from converter.verification import verify

__all__ = ["Report", "convert", "verify"]


def __getattr__(name: str) -> Any:
    """What there is, imported when it is asked for: `--help` needs none of it."""
    import importlib

    homes = {
        "convert": "converter.conversion",
        "verify": "converter.verification",
        "Report": "converter.report",
    }
    if name not in homes:
        raise AttributeError(f"module 'converter' has no attribute {name!r}")
    return getattr(importlib.import_module(homes[name]), name)
