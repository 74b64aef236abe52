"""Starting the reader's process. Nothing heavy is imported here, so that it can start first."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from converter.errors import UnsafeError

if sys.platform == "linux":
    import fcntl

RUN = (
    "import sys; sys.path += sys.argv[1:]; from converter.files.isolation.child import main; main()"
)
NEEDS = ("converter", "numpy", "h5py")
"""What the child imports besides the standard library."""
FOR_TEXT = (*NEEDS, "yaml")
"""The same of one that reads the text of a configuration."""

_waiting: list[subprocess.Popen[bytes]] = []


def start_early() -> None:
    """Start the process of the next file now: it imports what it needs while the caller imports
    the rest."""
    if not _waiting:
        with suppress(OSError):  # `take` says why
            _waiting.append(_start())


def take(needs: Sequence[str] = NEEDS) -> subprocess.Popen[bytes]:
    """A process that waits for its first line, with the packages `needs` on its path. UnsafeError
    if none can be started."""
    try:
        return _waiting.pop() if _waiting and needs == NEEDS else _start(needs)
    except OSError as error:
        raise UnsafeError(
            f"no process can be started to read files in: {error.strerror or error}"
        ) from error


def _start(needs: Sequence[str] = NEEDS) -> subprocess.Popen[bytes]:
    """Of the caller's environment the child takes no Python options and no plug-ins of HDF5."""
    found = [importlib.util.find_spec(name) for name in needs]
    folders = {str(Path(spec.origin).parent.parent) for spec in found if spec and spec.origin}
    options = ["-I", "-S", "-X", f"utf8={sys.flags.utf8_mode}"]  # -I would forget that
    options += ["-B"] if sys.dont_write_bytecode else []
    child = subprocess.Popen(
        [sys.executable, *options, "-c", RUN, *sorted(folders)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        env={**os.environ, "HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1"},
    )
    _widen(child.stdout)
    return child


def _widen(pipe: Any) -> None:
    """Let a pipe hold 1 MiB, where the system has that (Linux) and grants it: arrays come in fewer
    pieces, which takes a fifth off a conversion."""
    if sys.platform == "linux":
        with suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 2**20)
