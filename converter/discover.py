"""Every module of a package, by name: a new file is found without another edit."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache
from types import ModuleType


@cache
def names(package: str) -> tuple[str, ...]:
    """The names of the modules of `package`, in alphabetical order, less those that start with
    '_'. They are not imported."""
    path = importlib.import_module(package).__path__
    found = sorted(module.name for module in pkgutil.iter_modules(path))
    return tuple(name for name in found if not name.startswith("_"))


@cache
def modules(package: str) -> tuple[ModuleType, ...]:
    """The modules of those names."""
    return tuple(importlib.import_module(f"{package}.{name}") for name in names(package))
