"""Every module of a package, by name: a new file is found without another edit."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType


@cache
def modules(package: str) -> tuple[ModuleType, ...]:
    """The modules of `package`, in alphabetical order, less those that start with '_'."""
    found = importlib.import_module(package)
    names = sorted(module.name for module in pkgutil.iter_modules(found.__path__))
    return tuple(
        importlib.import_module(f"{package}.{name}") for name in names if not name.startswith("_")
    )
