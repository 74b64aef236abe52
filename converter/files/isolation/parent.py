"""Processes that end with the one that started them, however that ends: SIGKILL leaves nobody to
clean up."""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import suppress

PR_SET_PDEATHSIG = 1
"""Of prctl(2)."""


def end_with_parent(parent: int | None = None) -> None:
    """From here on Linux ends this process when its parent ends, whatever it is doing: HDF5 may
    hang, and holds Python's lock meanwhile. At once where the process `parent`, which started this
    one, has ended already."""
    if sys.platform == "linux":
        with suppress(ImportError, OSError, AttributeError):
            import ctypes

            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def end_with_stream(number: int = 0) -> None:
    """From here on this process ends when the pipe at that number closes, whose other end its
    parent holds: on any system, as soon as Python runs."""

    def watch() -> None:
        with suppress(OSError):
            while os.read(number, 1):
                pass
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="watching for the end of the parent").start()
