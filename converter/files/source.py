"""SOURCE: a path becomes an open `Checkpoint`, or the reason why not."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from converter.discover import modules
from converter.errors import SourceError, UnsafeError, shortened
from converter.files.checkpoint import Checkpoint
from converter.files.given import Given

KERAS_YAML = "the configuration of a Keras model: it goes with --config, and SOURCE is its weights"

LOOKS_LIKE: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a Git LFS pointer: fetch the file itself with `git lfs pull`"),
    (b"\x1f\x8b", "gzip: unpack it with `gunzip`"),
    (b"PK\x03\x04", "a zip archive (a .pth file of torch, or an .npz of numpy?)"),
    (b"\x80", "a Python pickle (an old torch file?)"),
    (b"<", "a web page: the download went wrong"),
    (b"\x93NUMPY", "a numpy array"),
    (b"backend: ", KERAS_YAML),
    (b"class_name: ", KERAS_YAML),
    (b"{", "JSON"),
)
"""First bytes of files that people take for weights."""

OF_TENSORFLOW = {
    ".pb": "a graph of TensorFlow",
    ".index": "a checkpoint of TensorFlow",
    ".meta": "a checkpoint of TensorFlow 1",
    ".tflite": "a model of TensorFlow Lite",
}
"""Suffixes of files of other formats, for what is said of them."""

AS_HDF5 = "load it in TensorFlow, and save it as HDF5: model.save('model.h5')"


@contextmanager
def read_here(path: Path, given: Given | None = None) -> Iterator[Checkpoint]:
    """The checkpoint in the file at `path`, readable while the context lasts; of a file of weights
    for which a configuration is `given`, as the whole model that it was.

    It is parsed in this process, which a damaged file can hang or crash: `isolation`
    runs this in another one.

    Raises SourceError for what is no Keras file, UnsafeError for what is dangerous to read and
    MismatchError for arrays that no network has.
    """
    check_regular(path)
    kind, opener = _format(path)
    with ExitStack() as keep:
        opened = opener(path, keep)
        for reader in modules("converter.files.readers"):
            if kind == reader.FORMAT and reader.recognises(opened):
                yield brief(reader.read(opened, path, keep, given))
                return
        raise _no_keras_file(path, kind, opened)


def brief(checkpoint: Checkpoint) -> Checkpoint:
    """With a version and a backend that can be shown: a file may have written a book there."""
    version, backend = checkpoint.keras_version, checkpoint.backend
    return replace(
        checkpoint,
        keras_version=None if version is None else shortened(version),
        backend=None if backend is None else shortened(backend),
    )


Opener = Callable[[Path, ExitStack], Any]


def _format(path: Path) -> tuple[str, Opener]:
    """('hdf5', 'zip' or 'json', how to open it), by the first bytes. What is none of them is
    opened as HDF5, which may begin behind a user block and says best what is wrong."""
    with _readable(path), path.open("rb") as file:
        start = file.read(64)
    if start.startswith(b"PK\x03\x04"):
        return "zip", _open_zip
    if start.lstrip().startswith(b"{"):
        return "json", _open_json
    return "hdf5", _open_hdf5


def _no_keras_file(path: Path, kind: str, opened: Any) -> SourceError:
    if kind == "json" and isinstance(opened, dict) and {"class_name", "layers"} & opened.keys():
        return SourceError(
            f"{path} is the configuration of a Keras model, and holds no weights",
            hints=["give the file of its weights as SOURCE, and this one with --config"],
        )
    if kind != "hdf5":
        return _unreadable(path, OSError())
    return SourceError(
        f"{path} is HDF5, but not a Keras weights or model file",
        [f"it holds: {', '.join(sorted(opened)[:8]) or 'nothing'}"],
        ["save it with model.save_weights or model.save"],
    )


def check_regular(path: Path) -> None:
    """Refuse what is no plain file: opening a pipe would wait for ever."""
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        is_prefix = os.path.exists(f"{path}.index")  # not Path's, which raises what stat did
        hints = [f"it is {OF_TENSORFLOW['.index']}: {AS_HDF5}"] if is_prefix else []
        raise SourceError(f"{path} cannot be read: {error.strerror}", hints=hints) from error
    if not stat.S_ISREG(mode):
        raise SourceError(f"{path} is {_kind(mode)}, not a file")


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a directory"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, zipfile.BadZipFile) as error:
        raise _unreadable(path, error) from error


def _open_hdf5(path: Path, keep: ExitStack) -> Any:
    import h5py  # here: who only asks for a checksum needs none

    with _readable(path):
        return keep.enter_context(h5py.File(path, "r"))


def _open_zip(path: Path, keep: ExitStack) -> zipfile.ZipFile:
    with _readable(path):
        return keep.enter_context(zipfile.ZipFile(path))


MAX_JSON = 64 * 2**20


def _open_json(path: Path, keep: ExitStack) -> Any:
    with _readable(path):
        if path.stat().st_size > MAX_JSON:
            raise UnsafeError(f"{path} is JSON of more than {MAX_JSON:,} bytes")
        try:
            return json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            raise SourceError(f"{path} looks like JSON, and is none that can be read") from None


def _unreadable(path: Path, error: Exception) -> SourceError:
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
    suffix = ".index" if ".data-" in path.name else path.suffix
    if suffix in OF_TENSORFLOW:
        headline = f"{path} is not HDF5: it looks like {OF_TENSORFLOW[suffix]}"
        return SourceError(headline, hints=[AS_HDF5])
    return SourceError(f"{path} is not an HDF5 file", [str(error)[:200]])


class Unchanged:
    """Files that have to stay as they are while they are read, more than once and by more than one
    process. A context: what goes wrong in it while they changed is said to be because of that."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen = {path: _state(path)}

    def __enter__(self) -> Unchanged:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, *_: Any) -> None:
        if isinstance(error, Exception):
            self.check(error)

    def add(self, files: Iterable[Path]) -> None:
        """Files beside the first one that belong to it."""
        self.seen = {**{path: _state(path) for path in files}, **self.seen}

    def check(self, error: BaseException | None = None) -> None:
        """Raise SourceError if one of them changed."""
        changed = [path for path, state in self.seen.items() if _state(path) != state]
        if changed:
            raise SourceError(
                f"{self.path} changed while it was read",
                [str(path) for path in changed if path != self.path],
                ["wait until it is written, and try again"],
            ) from error


def _state(path: Path) -> tuple[int, ...] | None:
    """What changes with a file's content, or when another file takes its place."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def sha256(*paths: Path) -> str:
    """The SHA-256 of a file, or of several as if they were one, as hexadecimal digits."""
    return digest(hashlib.sha256(), *paths)


def digest(found: hashlib._Hash, *paths: Path) -> str:
    """The same of another hash, which has been given nothing so far."""
    block = memoryview(bytearray(1 << 22))  # large: between blocks a busy thread keeps it waiting
    for path in paths:
        with path.open("rb", buffering=0) as file:
            while read := file.readinto(block):
                found.update(block[:read])
    return found.hexdigest()
