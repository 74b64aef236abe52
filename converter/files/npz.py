"""Arrays of numpy in an archive (`.npz`), read under limits.

What a member says of its size is held against the archive's, and against its own header, before
memory is taken for it; a member that nobody asks for is not unpacked. Checksums are compared.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from converter.files.checkpoint import Array
from resnet_pt.archive import check_directory
from resnet_pt.regular import open_regular

MAX_FILE = 8 * 2**30
MAX_RATIO = 20
"""How many times larger than the archive its arrays may be, and FREE bytes more: activations behind
a ReLU are half zeros."""
FREE = 64 * 2**20
MAX_DIMENSIONS = 8
KINDS = "fiuUb"
"""Floats, integers, text and truths; nothing that numpy would make by running it."""

ENDING = ".npy"

Damage = (EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError)


def read_arrays(path: Path, wanted: Callable[[str], bool]) -> dict[str, Array]:
    """The arrays whose names are `wanted`, in the byte order of this machine.

    Raises OSError for what is no plain file, and ValueError, saying what is wrong, for one that is
    no such archive, is damaged, or is over a limit.
    """
    try:
        with open_regular(path, MAX_FILE) as file:
            check_directory(path)
            with zipfile.ZipFile(file) as archive:
                return dict(_arrays(archive, path.stat().st_size, wanted))
    except (EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise ValueError(str(error) or type(error).__name__) from error


def read_array(path: Path) -> Array:
    """The array in an `.npy`. Raises OSError and ValueError, as `read_arrays`."""
    with open_regular(path, MAX_FILE) as file:
        return _array(file.read(), path.name)


def write_arrays(file: BinaryIO, arrays: Mapping[str, Array]) -> None:
    """An `.npz` of arrays by their names, whatever these are: numpy's own takes no `file`."""
    with zipfile.ZipFile(file, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}{ENDING}", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _arrays(archive: zipfile.ZipFile, size: int, wanted: Callable[[str], bool]) -> Any:
    members = archive.infolist()
    names = [one.filename for one in members]
    if len(set(names)) < len(names):
        raise ValueError("two members have one name")
    some = [one for one in members if wanted(one.filename.removesuffix(ENDING))]
    total = sum(one.file_size for one in some)
    if total > FREE + MAX_RATIO * size:
        raise ValueError(f"{size:,} bytes unpack to {total:,}")
    for one in some:
        yield one.filename.removesuffix(ENDING), _array(archive.read(one), one.filename)


def _array(content: bytes, name: str) -> Array:
    """An array whose header says what its bytes are; `read` has compared their checksum."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, by_columns, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"{name} is of version {version} of numpy's format")
    if dtype.kind not in KINDS or (dtype.kind == "f" and dtype.itemsize > 8):
        raise ValueError(f"{name} holds {dtype}: no numbers or text of the usual kinds")
    if len(shape) > MAX_DIMENSIONS or any(length < 0 for length in shape):
        raise ValueError(f"{name} has the shape {str(shape)[:60]}")
    rest = len(content) - file.tell()
    if rest != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} has {rest:,} bytes, and its header speaks of another number")
    flat = np.frombuffer(content, dtype, offset=file.tell()) if rest else np.zeros(0, dtype)
    array = flat.reshape(shape[::-1]).T if by_columns else flat.reshape(shape)
    return array.astype(dtype.newbyteorder("="), order="C")  # a copy: torch takes no read-only one
