"""SOURCE: a path becomes an open `Checkpoint`, or the reason why not."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from converter.checkpoint import Checkpoint
from converter.discover import modules
from converter.errors import SourceError

LOOKS_LIKE: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer: fetch the file itself with `git lfs pull`"),
    (b"\x1f\x8b", "gzip: unpack it with `gunzip`"),
    (b"PK\x03\x04", "a zip archive (a .pth file of torch, or an .npz of numpy?)"),
    (b"\x80", "a Python pickle (an old torch file?)"),
    (b"<", "a web page: the download went wrong"),
    (b"\x93NUMPY", "a numpy array"),
    (b"{", "JSON"),
)
"""First bytes of files that people take for weights."""


@contextmanager
def read_here(path: Path) -> Iterator[Checkpoint]:
    """The checkpoint in the file at `path`, readable while the context lasts.

    It is parsed in this process, which a damaged file can hang or crash: `converter.isolation`
    runs this in another one.

    Raises SourceError for what is no Keras file, UnsafeError for what is dangerous to read and
    MismatchError for arrays that no network has.
    """
    check_regular(path)
    with _hdf5(path) as file:
        for reader in modules("converter.readers"):
            if reader.recognises(file):
                yield reader.read(file, path)
                return
        raise SourceError(
            f"{path} is HDF5, but not a Keras weights or model file",
            [f"it holds: {', '.join(sorted(file)[:8]) or 'nothing'}"],
            ["save it with model.save_weights or model.save"],
        )


def check_regular(path: Path) -> None:
    """Refuse what is no plain file: opening a pipe would wait for ever."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(mode):
        raise SourceError(f"{path} is {_kind(mode)}, not a file")


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"


@contextmanager
def _hdf5(path: Path) -> Iterator[Any]:
    import h5py  # here: who only asks for a checksum needs none

    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise _unreadable(path, error) from error
    with file:
        yield file


def _unreadable(path: Path, error: OSError) -> SourceError:
    if isinstance(error, PermissionError):
        return SourceError(f"{path} cannot be read: permission denied")
    if isinstance(error, BlockingIOError):
        return SourceError(f"{path} is locked: another process is writing it")
    with path.open("rb") as file:
        start = file.read(64)
    if not start:
        return SourceError(f"{path} is empty")
    for magic, meaning in LOOKS_LIKE:
        if start.lstrip().startswith(magic) or start.startswith(magic):
            return SourceError(f"{path} is not HDF5: it looks like {meaning}")
    if start.startswith(b"\x89HDF\r\n\x1a\n"):
        return SourceError(f"{path} is damaged or cut off", [str(error)[:200]])
    return SourceError(f"{path} is not an HDF5 file", [str(error)[:200]])


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()
