"""Files that a stranger names: only plain ones are opened, and only up to a size.

A pipe that nobody writes to would hold its reader for ever, deaf to signals; a device such as
/dev/zero never ends.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: str | os.PathLike[str], limit: int) -> BinaryIO:
    """A plain file of at most `limit` bytes, opened for reading; a symbolic link is followed.

    Raises OSError, saying why, for anything else, without waiting for it.
    """
    check(os.stat(path), limit)  # opening a device may do something already
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)
    try:
        check(os.fstat(handle), limit)  # another file may stand there by now
        return open(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: str | os.PathLike[str], limit: int) -> bytes:
    """The content of a plain file of at most `limit` bytes. Raises OSError."""
    with open_regular(path, limit) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError("it grows while it is read")
    return content


def read_text(path: Path, limit: int, encoding: str = "utf-8") -> str:
    """The same as text. Raises UnicodeDecodeError too."""
    return read_regular(path, limit).decode(encoding)


def check(status: os.stat_result, limit: int) -> None:
    """OSError for what is no plain file, and for one that is larger than `limit` bytes."""
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        raise OSError("it is a directory, not a file")
    if not stat.S_ISREG(mode):
        kind = "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"
        raise OSError(f"it is {kind}, not a file")
    if status.st_size > limit:
        raise OSError(f"it has {status.st_size:,} bytes, over the limit of {limit:,}")
