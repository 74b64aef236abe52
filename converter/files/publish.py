"""A target that is whole or not there: a draft beside it, proven, then published in one step.

Protocol: draft in the same directory → written, flushed, fsync → read back and proven by the
caller → link (no target yet) or rename (`force`) → fsync of the directory. Killed at any moment,
the old target or the complete new one is there, and a draft perhaps, which the next run to the same
target removes. A directory is published like a file.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from converter.errors import TargetError
from converter.files.leftovers import ASIDE, hold, let_go, own_name, sweep
from converter.files.source import sha256


class Draft:
    """A file or a directory beside the target. It is written, `finish` makes it durable, and then
    `path` can be read back. `file` is the open file; a directory has none."""

    def __init__(self, path: Path, file: BinaryIO | None = None) -> None:
        self.path = path
        self._file = file
        self.lock = hold(path)

    @property
    def file(self) -> BinaryIO:
        assert self._file is not None, "a directory is written file by file"
        return self._file

    def write(self, name: str, content: bytes) -> None:
        """A file of a directory, or, with no name, the file itself."""
        if name:
            (self.path / name).write_bytes(content)
        else:
            self.file.write(content)

    def flush(self) -> None:
        """After this, another reader sees what was written."""
        if self._file:
            self._file.flush()

    def finish(self) -> None:
        if self._file is None:
            for inside in self.path.iterdir():
                _sync(inside)
            _sync(self.path)
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


def fingerprint(path: Path) -> str:
    """The SHA-256 of a file; of a directory, that of the list of its files with theirs."""
    if not path.is_dir():
        return sha256(path)
    lines = [f"{sha256(one)}  {one.name}\n" for one in sorted(path.iterdir())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def check_target(source: Path, target: Path, force: bool, *, directory: bool = False) -> Path:
    """Where the target really goes (a symbolic link is followed), or TargetError why it cannot."""
    try:
        return _checked(source, target, force, directory)
    except OSError as error:  # a link that leads to itself, a working folder that is gone
        raise _cannot_write(target, error) from error


def _checked(source: Path, target: Path, force: bool, directory: bool) -> Path:
    real = Path(os.path.realpath(target))
    if not real.parent.is_dir():
        raise TargetError(f"{target} cannot be written: there is no directory {real.parent}")
    if not os.path.lexists(real):
        return real
    if source.exists() and os.path.samefile(source, real):
        raise TargetError(f"{target} is SOURCE itself")
    if directory and not real.is_dir():
        raise TargetError(f"{target} is there already, and is no directory")
    if not directory and not stat.S_ISREG(real.stat().st_mode):
        raise TargetError(f"{target} is there already, and is no plain file")
    if not force:
        raise TargetError(f"{target} is there already", hints=["replace it with --force"])
    return real


@contextmanager
def draft(target: Path, *, force: bool, directory: bool = False) -> Iterator[Draft]:
    """Yield a draft that becomes `target` if the block succeeds, and vanishes if it does not.

    Raises TargetError for everything that the file system refuses.
    """
    prefix = f".{_shortened(target.name)}.tmp-"
    sweep(target.parent, prefix, is_replaced=os.path.lexists(target))
    path = target.with_name(own_name(prefix))
    try:
        one = _new_directory(path) if directory else _new_file(path)
    except OSError as error:
        raise _cannot_write(target, error) from error
    try:
        try:
            yield one
        finally:
            if not directory:
                one.file.close()
        if directory:
            _publish_directory(path, target, force)
        else:
            _publish(path, target, force)
    except OSError as error:
        raise _cannot_write(target, error) from error
    except RuntimeError as error:
        if not isinstance(error.__context__, OSError):
            raise
        raise _cannot_write(target, error.__context__) from error  # as torch says it
    finally:
        let_go(one.lock)
        if directory:
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):  # gone already, or a disk that lets nobody tidy up
                path.unlink()


def _new_file(path: Path) -> Draft:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    return Draft(path, open(handle, "wb"))


def _new_directory(path: Path) -> Draft:
    path.mkdir()
    return Draft(path)


def _publish_directory(path: Path, target: Path, force: bool) -> None:
    """Under a name that is free, or, with `force`, in the place of a directory that holds no
    other files than the new one: what else is in there is nobody's to delete.

    No system call that Python has replaces a directory that has content: the old one is moved
    aside first. Killed between the two moves, both are there, beside the target, under hidden
    names.
    """
    if not os.path.lexists(target):
        path.rename(target)
    elif not force:
        raise FileExistsError(errno.EEXIST, "File exists", str(target))
    else:
        others = sorted({one.name for one in target.iterdir()} - set(os.listdir(path)))
        if others:
            raise TargetError(f"{target} holds other files, and is not replaced", others)
        old = path.with_name(f"{path.name}{ASIDE}")
        target.rename(old)
        try:
            path.rename(target)
        except OSError:
            old.rename(target)
            raise
        shutil.rmtree(old)
    _sync_directory(target.parent)


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
        _sync(directory)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
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
