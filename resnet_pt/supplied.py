"""A user's own file of layers: what a network needs beside its weights, where its original had
layers of code (`convert-weights --layers FILE.py`).

The file is Python and is run: it is the user's, and named by the user each time. It has `LAYERS`,
`{class or layer of the original: a function of tensors, or a class of torch modules}`. A function's
keyword-only arguments, and those of a class's `__init__`, are filled from the layer's
configuration; `config` is all of it, `shapes` those of its arrays.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resnet_pt.regular import read_regular

MAX_FILE = 2**24
"""Bytes of a file of layers."""


class LayersError(ValueError):
    """A file of layers that cannot be used, or one that is needed and not there."""


@dataclass(frozen=True, slots=True)
class Layers:
    """What a file of layers has: `{class or layer of the original: what computes it}`."""

    path: Path
    sha256: str
    entries: Mapping[str, Callable[..., Any]] = field(repr=False)


_KNOWN: dict[str, Layers] = {}
"""The files of this process that were run, by their SHA-256."""


def read_layers(path: str | os.PathLike[str]) -> Layers:
    """Run a file of layers, once for each content, and keep what it has. Raises LayersError."""
    path = Path(path)
    try:
        content = read_regular(path, MAX_FILE)
    except OSError as error:
        raise LayersError(f"{path} cannot be read: {error.strerror or error}") from error
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 not in _KNOWN:
        _KNOWN[sha256] = Layers(path, sha256, _entries(path, content, sha256))
    return _KNOWN[sha256]


def _entries(path: Path, content: bytes, sha256: str) -> Mapping[str, Callable[..., Any]]:
    module = types.ModuleType(f"layers_{sha256[:12]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where dataclasses and pickle look for its classes
    try:
        exec(compile(content, str(path), "exec"), module.__dict__)
        entries = getattr(module, "LAYERS", None)
    except Exception as error:
        raise LayersError(raised(path, error)) from error
    if not isinstance(entries, dict) or not entries:
        raise LayersError(f"{path} has no LAYERS, a dict of the original's classes or layers")
    wrong = [name for name, one in entries.items() if not (isinstance(name, str) and callable(one))]
    if wrong:
        raise LayersError(f"{path}: LAYERS[{wrong[0]!r}] is no function and no class of modules")
    return entries


def raised(path: Path, error: Exception) -> str:
    """What code of the file has raised, with the line that did."""
    lines, trace = [], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.lineno:
        lines.append(error.lineno)
    where = f", line {lines[-1]}" if lines else ""
    return f"{path}{where}: {type(error).__name__}: {error}"


def known(sha256: str) -> Layers | None:
    """The file of this content, if it was read in this process."""
    return _KNOWN.get(sha256)


def is_module_class(entry: Callable[..., Any]) -> bool:
    """Whether an entry is a class of torch modules; else it is a function of tensors."""
    from torch import nn

    return isinstance(entry, type) and issubclass(entry, nn.Module)


def wanted(entry: Callable[..., Any]) -> dict[str, bool]:
    """`{keyword-only argument: whether it has a default}`. Raises LayersError for a class of
    modules that wants others."""
    try:
        given = inspect.signature(entry).parameters.values()
    except ValueError:  # one of torch's own, which is not written in Python
        return {}
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    others = [one.name for one in given if one.kind in plain and one.default is one.empty]
    if is_module_class(entry) and others:
        raise LayersError(
            f"{entry.__name__}.__init__ wants {others[0]!r} by position: what the layer's "
            f"configuration fills stands behind a star, def __init__(self, *, {', '.join(others)})"
        )
    only = inspect.Parameter.KEYWORD_ONLY
    return {one.name: one.default is not one.empty for one in given if one.kind is only}
