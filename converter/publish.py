"""A target that is whole or not there: a draft beside it, proven, then published in one step.

Protocol: draft in the same directory → written, flushed, fsync → read back and proven by the
caller → link (no target yet) or rename (`force`) → fsync of the directory. Killed at any moment,
the old target or the complete new one is there.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from converter.errors import TargetError


class Draft:
    """An open file beside the target. `file` is written, `finish` makes it durable, and then
    `path` can be read back."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self.file = file

    def finish(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()


def check_target(source: Path, target: Path, force: bool) -> Path:
    """Where the target really goes (a symbolic link is followed), or TargetError why it cannot."""
    real = Path(os.path.realpath(target))
    if not real.parent.is_dir():
        raise TargetError(f"{target} cannot be written: there is no directory {real.parent}")
    if not os.path.lexists(real):
        return real
    if source.exists() and os.path.samefile(source, real):
        raise TargetError(f"{target} is SOURCE itself")
    if not stat.S_ISREG(real.stat().st_mode):
        raise TargetError(f"{target} is there already, and is no plain file")
    if not force:
        raise TargetError(f"{target} is there already", hints=["replace it with --force"])
    return real


@contextmanager
def draft(target: Path, *, force: bool) -> Iterator[Draft]:
    """Yield a draft that becomes `target` if the block succeeds, and vanishes if it does not.

    Raises TargetError for everything that the file system refuses.
    """
    path = target.with_name(f".{_shortened(target.name)}.tmp-{os.getpid()}-{secrets.token_hex(4)}")
    ours = True
    try:
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except OSError:
            ours = False
            raise
        with open(handle, "wb") as file:
            one = Draft(path, file)
            yield one
        _publish(path, target, force)
    except OSError as error:
        raise _cannot_write(target, error) from error
    except RuntimeError as error:
        if not isinstance(error.__context__, OSError):
            raise
        raise _cannot_write(target, error.__context__) from error  # as torch says it
    finally:
        if ours:
            with suppress(OSError):  # gone already, or a disk that lets nobody tidy up
                path.unlink()


def _publish(path: Path, target: Path, force: bool) -> None:
    if force:
        with suppress(FileNotFoundError):
            path.chmod(stat.S_IMODE(target.stat().st_mode))
        path.replace(target)
    else:
        _publish_new(path, target)
    _sync_directory(target.parent)


NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def _publish_new(path: Path, target: Path) -> None:
    """Under a name that is free: a link, unlike a rename, fails if another run was first. Where
    the file system has no links (FAT, some network shares), look and then rename."""
    try:
        os.link(path, target)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, "File exists", str(target)) from error
        path.rename(target)


def _shortened(name: str) -> str:
    """At most 200 bytes of a name: file systems count bytes, and the draft's is longer."""
    return os.fsdecode(os.fsencode(name)[:200].decode("utf-8", "ignore").encode())


def _sync_directory(directory: Path) -> None:
    with suppress(OSError):  # not every file system can
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _cannot_write(target: Path, error: OSError) -> TargetError:
    if error.errno == errno.EEXIST:
        return TargetError(f"{target} is there already", hints=["replace it with --force"])
    if error.errno == errno.ENOSPC:
        return TargetError(f"{target} cannot be written: no space is left on the disk")
    return TargetError(f"{target} cannot be written: {error.strerror or error}")
