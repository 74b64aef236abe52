"""`.keras` archives: a zip of `config.json`, `metadata.json` and `model.weights.h5`.

Only these members are read, in place where they are stored as they are (as Keras stores them), and
after the checksum of every member was found right; nothing is extracted to disk.
Source: keras 3.15 `src/saving/saving_lib.py`.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Any

import h5py

from converter.errors import SourceError, UnsafeError
from converter.files.checkpoint import Checkpoint
from converter.files.given import Given
from converter.files.model_config import is_model
from converter.files.readers import _hdf5, _variables
from converter.files.readers._given import refuse_whole

FORMAT = "zip"
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
MAX_MEMBERS = 10_000
BLOCK = 2**20
NOT_READ = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
"""What `zipfile` raises for a member: a wrong checksum or header, a stream cut off or broken, a
packing that it does not know, a password."""
MAX_RATIO = 200
"""How many times larger than stored a packed member may be; weights hardly pack at all."""


def recognises(file: zipfile.ZipFile) -> bool:
    """Whether an open zip is one of these."""
    names = set(file.namelist())
    return CONFIG in names and (WEIGHTS in names or METADATA in names)


def read(
    file: zipfile.ZipFile, path: Path, keep: ExitStack, given: Given | None = None
) -> Checkpoint:
    """Everything but the arrays; they are read from the archive when asked for."""
    if given:
        raise refuse_whole(path)
    members = _members(file, path)
    if WEIGHTS not in members:
        raise SourceError(
            f"{path} is a Keras archive without {WEIGHTS}",
            hints=["save its weights with model.save_weights, and convert those"],
        )
    for info in members.values():
        _check_sum(file, info, path)
    config = _json(file, members[CONFIG], path)
    metadata = _json(file, members[METADATA], path) if METADATA in members else {}
    stored = keep.enter_context(_weights(file, members[WEIGHTS], path, keep))
    version = metadata.get("keras_version") if isinstance(metadata, dict) else None
    version = version if isinstance(version, str) else None
    config = config if isinstance(config, dict) else None
    # A custom class keeps its layers to itself: their names are in the weights, or nowhere.
    lists_layers = config is not None and is_model(config)
    return _variables.checkpoint(
        path,
        "Keras archive (.keras), whole model",
        _variables.holders([stored]),
        config=config if lists_layers else None,
        description=None if lists_layers else config,
        keras_version=version,
    )


def _members(file: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The archive's members by name, if all of them are harmless."""
    infos = file.infolist()
    if len(infos) > MAX_MEMBERS:
        raise UnsafeError(f"{path} has {len(infos):,} members: over the limit of {MAX_MEMBERS:,}")
    members: dict[str, zipfile.ZipInfo] = {}
    for info in infos:
        name = PurePosixPath(info.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts:
            raise UnsafeError(f"{path} has a member that leads out of it: {info.filename!r}")
        if members.setdefault(info.filename, info) is not info:
            raise UnsafeError(f"{path} has two members called {info.filename!r}")
        if info.file_size > MAX_RATIO * info.compress_size + 2**20:
            raise UnsafeError(
                f"{path}: {info.filename!r} unpacks from {info.compress_size:,} to "
                f"{info.file_size:,} bytes"
            )
    return members


def _check_sum(file: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    """Refuse a member that is not what its CRC-32 was made of. `zipfile` compares at the member's
    end: the weights are read in the middle, by HDF5, which would compare nothing."""
    try:
        with file.open(info) as member:
            while member.read(BLOCK):
                pass
    except (*NOT_READ, OSError) as error:
        raise _damaged(info, path, error) from error


def _damaged(info: zipfile.ZipInfo, path: Path, error: Exception) -> SourceError:
    return SourceError(
        f"{path}: {info.filename!r} cannot be read",
        [str(error)[:200] or type(error).__name__],
        ["the archive is damaged: fetch or save it again"],
    )


def _content(file: zipfile.ZipFile, info: zipfile.ZipInfo, limit: int, path: Path) -> bytes:
    """A member's bytes; what it says of its own size is not believed."""
    if info.file_size > limit:
        raise UnsafeError(f"{path}: {info.filename!r} has {info.file_size:,} bytes, over the limit")
    try:
        with file.open(info) as member:
            content = member.read(limit + 1)
    except NOT_READ as error:
        raise _damaged(info, path, error) from error
    if len(content) > limit:
        raise UnsafeError(f"{path}: {info.filename!r} is larger than it says")
    return content


def _json(file: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> Any:
    try:
        return json.loads(_content(file, info, _hdf5.MAX_CONFIG, path))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"{path}: {info.filename} is not JSON", [str(error)[:200]]) from error


def _weights(
    file: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, keep: ExitStack
) -> h5py.File:
    """The HDF5 file in the archive: a window into it, or a packed one unpacked in memory."""
    if info.compress_type == zipfile.ZIP_STORED:
        opened: Any = keep.enter_context(_Window(path, _start(file, info, path), info.file_size))
    else:
        opened = io.BytesIO(_content(file, info, _hdf5.MAX_ARRAY, path))
    try:
        return h5py.File(opened, "r")
    except OSError as error:
        raise SourceError(f"{path}: {WEIGHTS} is damaged", [str(error)[:200]]) from error


def _start(file: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> int:
    """Where a stored member's bytes begin: behind its own header of 30 bytes, name and extra."""
    with path.open("rb") as raw:
        raw.seek(info.header_offset)
        header = raw.read(30)
    if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
        raise SourceError(f"{path}: {info.filename!r} is damaged")
    name, extra = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    return info.header_offset + 30 + name + extra


class _Window(io.RawIOBase):
    """A part of a file, as a file that can be read and sought."""

    def __init__(self, path: Path, start: int, size: int) -> None:
        self._file = path.open("rb")
        self._start, self._size, self._at = start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: max(0, self._size - self._at)]
        self._file.seek(self._start + self._at)
        count = self._file.readinto(view)
        self._at += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
