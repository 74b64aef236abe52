"""`.weights.h5` of Keras 3, and of Keras 2.12 to 2.15: `layers/conv2d_3/vars/0`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from converter.files.checkpoint import Checkpoint
from converter.files.given import Given
from converter.files.readers import _variables

FORMAT = "hdf5"


def recognises(file: Any) -> bool:
    """Whether an open HDF5 file is one of these."""
    return _variables.recognised(file)


def read(file: Any, path: Path, keep: ExitStack, given: Given | None = None) -> Checkpoint:
    """Everything but the arrays; they are read from `file` when asked for."""
    return _variables.checkpoint(
        path, "Keras 3 .weights.h5", _variables.holders([file]), given=given
    )
