"""Careful steps through an HDF5 file that a stranger made.

HDF5 follows links into other files, opens storage that lies outside, decompresses a kilobyte
into a gigabyte and gives zeros for data that was never written. Every group and dataset is
reached through `group` and `dataset`, which refuse those before anything is read. What cannot be
seen beforehand (names of variable length that hang HDF5 or expand a thousandfold) is left to the
limits of the process that this runs in: `converter.files.isolation`.

Sources: keras `saving_lib.safe_get_h5_dataset`; h5py#2891 (such checks are the reader's job).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import numpy as np

from converter.errors import MismatchError, SourceError, UnsafeError
from converter.files.checkpoint import COUNT, Array

MAX_NAMES = 20_000
MAX_NAME = 1_024
MAX_CHUNK = 64 * 2**20
MAX_ARRAY = 2**31
MAX_CONFIG = 16 * 2**20
MAX_DEPTH = 32
FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32"}
NEVER_WRITTEN = "its data were never written to the file"


def group(parent: Any, path: str) -> Any:
    """The group at `path`, one hard link at a time; KeyError if it is not there."""
    found = _walk(parent, path)
    if not isinstance(found, h5py.Group):
        raise SourceError(f"{path!r} in the file is not a group")
    return found


def dataset(parent: Any, path: str) -> Any:
    """The dataset at `path`, checked but not read; KeyError if it is not there."""
    found = _walk(parent, path)
    if not isinstance(found, h5py.Dataset):
        raise SourceError(f"{path!r} in the file is not an array")
    _check_storage(found, path)
    return found


def has_group(parent: Any, name: str) -> bool:
    """Whether `name` is a group right below `parent` (a link to elsewhere is refused)."""
    return name in parent and isinstance(_walk(parent, name), h5py.Group)


def read(found: Any) -> Array:
    """The values of a checked dataset, in the machine's byte order.

    bfloat16, which numpy lacks, becomes float32: its bits are the upper half of one.
    """
    array = np.asarray(found[()])
    if _is_bfloat16(found):
        return (array.view("<u2").astype(np.uint32) << 16).view(np.float32)
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def float_type(found: Any, name: str) -> str:
    """The dtype of a dataset of floating-point numbers, or MismatchError."""
    if _is_bfloat16(found):
        return "bfloat16"
    if found.dtype.kind != "f" or found.dtype.itemsize > 8:
        raise MismatchError(
            f"{name} holds {found.dtype}, not floating-point numbers",
            hints=["a quantised model is converted as it was before model.quantize"],
        )
    return str(found.dtype.newbyteorder("="))


def weight_type(found: Any, parameter: str, name: str) -> str:
    """The dtype of a weight: of floating-point numbers, or a Normalization layer's count."""
    if parameter == COUNT and found.shape == () and found.dtype.kind in "iu":
        return str(found.dtype.newbyteorder("="))
    return float_type(found, name)


def _is_bfloat16(found: Any) -> bool:
    """Keras 3 keeps bfloat16 as opaque pairs of bytes, and says so in an attribute."""
    return (
        found.dtype.kind == "V" and found.dtype.itemsize == 2 and text(found, "dtype") == "bfloat16"
    )


def check_distinct(datasets: Mapping[str, Any]) -> None:
    """Refuse two paths that lead to one array: a layer that was lost behind another's name."""
    seen: dict[int, str] = {}
    for path, found in datasets.items():
        other = seen.setdefault(h5py.h5o.get_info(found.id).addr, path)
        if other != path:
            raise MismatchError(f"{other!r} and {path!r} are one and the same array in the file")


def _walk(parent: Any, path: str) -> Any:
    current = parent
    parts = path.split("/")
    if len(parts) > MAX_DEPTH:
        raise UnsafeError(f"{path!r} is nested deeper than {MAX_DEPTH} groups")
    if any("\ud800" <= letter <= "\udfff" for letter in path):
        raise MismatchError(f"the name {path!r} is no UTF-8, and no Keras writes others")
    for name in parts:
        if name in ("", "."):
            raise UnsafeError(f"{path!r} is no plain path in an HDF5 file")
        link = current.get(name, getlink=True)
        if link is None:
            raise KeyError(path)
        if not isinstance(link, h5py.HardLink):
            raise UnsafeError(
                f"{path!r} is a link to elsewhere ({type(link).__name__})",
                hints=[
                    "a weights file holds its arrays itself: copy them in with h5repack or h5copy"
                ],
            )
        current = current[name]
    return current


def _check_storage(found: Any, path: str) -> None:
    plist = found.id.get_create_plist()
    if plist.get_external_count():
        raise UnsafeError(f"{path!r} keeps its data in another file (external storage)")
    if found.is_virtual:
        raise UnsafeError(f"{path!r} is a view of other files (virtual dataset)")
    if found.shape is None:
        raise MismatchError(f"{path!r} is empty (no dataspace)")
    for number in range(plist.get_nfilters()):
        code, _, _, name = plist.get_filter(number)
        if code not in FILTERS:
            raise UnsafeError(
                f"{path!r} is stored through HDF5 filter {code} ({name.decode(errors='replace')})",
                hints=["repack the file without it: h5repack -f NONE"],
            )
    if found.dtype.kind == "f" and found.dtype.itemsize > 8:
        raise MismatchError(f"{path!r} holds {found.dtype}: no float16, float32 or float64")
    size = math.prod(found.shape) * found.dtype.itemsize
    if size > MAX_ARRAY:
        raise UnsafeError(f"{path!r} declares {size:,} bytes: over the limit of {MAX_ARRAY:,}")
    if found.chunks and math.prod(found.chunks) * found.dtype.itemsize > MAX_CHUNK:
        raise UnsafeError(f"{path!r} is stored in chunks over the limit of {MAX_CHUNK:,} bytes")
    if size and found.id.get_space_status() != h5py.h5d.SPACE_STATUS_ALLOCATED:
        raise SourceError(f"{path!r}: {NEVER_WRITTEN}")


def text(found: Any, name: str) -> str | None:
    """A text attribute; h5py 2 files hold bytes, h5py 3 files hold str."""
    if name not in found.attrs:
        return None
    value = found.attrs[name]
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if not isinstance(value, str):
        raise SourceError(f"the attribute {name!r} in the file is no text")
    return value


def names(found: Any, name: str) -> tuple[str, ...]:
    """A list of names in an attribute.

    Keras splits one over 64 KB into `name0`, `name1`, … (HDF5's limit on an object's header),
    and a list without entries is a float array of no elements.
    """
    if name in found.attrs:
        return tuple(_decoded(found.attrs[name]))
    parts = itertools.takewhile(
        lambda part: part in found.attrs, (f"{name}{number}" for number in itertools.count())
    )
    return tuple(itertools.chain.from_iterable(_decoded(found.attrs[part]) for part in parts))


def has_names(found: Any, name: str) -> bool:
    """Whether the list is there, whole or in parts."""
    return name in found.attrs or f"{name}0" in found.attrs


def _decoded(values: Any) -> Iterator[str]:
    flat = np.asarray(values).ravel()
    if flat.size > MAX_NAMES:
        raise UnsafeError(f"a list of {flat.size:,} names: over the limit of {MAX_NAMES:,}")
    for value in flat:
        decoded = value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
        if not isinstance(decoded, str) or len(decoded) > MAX_NAME:
            raise UnsafeError("a list of names holds something that is not a name")
        yield decoded
