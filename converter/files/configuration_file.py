"""A file that holds a model's configuration, whatever it is: read in this process.

`converter.files.isolation` runs this in one of its own, under limits.
"""

from __future__ import annotations

import zipfile
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np

from converter.errors import SourceError, UnsafeError
from converter.files.checkpoint import GIVE_IT
from converter.files.configuration_text import AS_JSON, MAX_BYTES, parse
from converter.files.given import Config
from converter.files.readers import legacy_h5
from converter.files.source import check_regular, read_here

HDF5, ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
IN_RECORD = "config"
"""What a record calls the configuration of its model."""


def configuration_here(path: Path) -> Config:
    """The configuration in the file at `path`: the text of `to_json` or `to_yaml`, a whole
    model's, or a record's.

    Raises SourceError for a file that has none, UnsafeError for one that is over a limit or would
    make objects, MismatchError for a model of Keras 0.
    """
    check_regular(path)
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(ZIP) and is_record(path):
        return parse(_of_record(path))
    if start.startswith((HDF5, ZIP)):
        return _of_model(path)
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise UnsafeError(f"{path} has {size:,} bytes: a configuration has at most {MAX_BYTES:,}")
    return parse(path.read_bytes())


def _of_model(path: Path) -> Config:
    with read_here(path) as checkpoint:
        found = checkpoint.config or checkpoint.description
    if found is None:
        raise SourceError(
            f"{path} holds weights, and no configuration",
            hints=[f"weights are SOURCE; {GIVE_IT}"],
        )
    if h5py.is_hdf5(path):  # as it is written: groups of convolutions are one in a checkpoint's
        with h5py.File(path, "r") as file:
            found = legacy_h5.configuration(file) or found
    said = {"keras_version": checkpoint.keras_version, "backend": checkpoint.backend}
    return {**{key: value for key, value in said.items() if value}, **found}


def is_record(path: Path) -> bool:
    """Whether an archive holds numpy's arrays."""
    with suppress(zipfile.BadZipFile, OSError), zipfile.ZipFile(path) as archive:
        return any(name.endswith(".npy") for name in archive.namelist())
    return False


def _of_record(path: Path) -> bytes:
    with zipfile.ZipFile(path) as archive:
        sizes = {one.filename: one.file_size for one in archive.infolist()}
    size = sizes.get(f"{IN_RECORD}.npy")
    if size is None:
        raise SourceError(
            f"{path} is a record without its model's configuration: one made with an earlier "
            "record_keras.py",
            hints=["make it anew, or give the configuration itself", AS_JSON],
        )
    if size > 4 * MAX_BYTES:  # four bytes a letter
        raise UnsafeError(f"{path} has a configuration of {size:,} bytes")
    with np.load(path, allow_pickle=False) as record:
        return str(record[IN_RECORD]).encode()
