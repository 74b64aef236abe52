"""safetensors, without torch: the description is JSON, as the bytes of a tensor `_extra_state`.

A tensor rather than the header's metadata, because a strict load into a network that the file
does not describe then fails, as it does with a `.pth`.

Tensors are written as they come and read one at a time: what is in memory grows with the largest.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import safe_open

from converter.files.checkpoint import Array, TensorSpec
from resnet_pt.digest import digest_of_lines, line

SUFFIXES = (".safetensors",)
NEEDS = "safetensors"
DESCRIPTION = "_extra_state"
DTYPES = {"<f4": "F32", "<i8": "I64", "|u1": "U8"}
"""What a conversion holds, as the format calls it (its README, 'Format')."""
NO_SUM = "0" * 64
"""In the place of the checksum, which is as long."""


def write(
    file: BinaryIO,
    specs: Mapping[str, TensorSpec],
    tensors: Iterable[tuple[str, Array]],
    description: Mapping[str, Any],
) -> None:
    """The very bytes of `safetensors.numpy.save`, which takes all tensors at once."""
    length = len(_text(description, NO_SUM))
    header = _header({**specs, DESCRIPTION: TensorSpec((length,), "|u1")})
    start_of_file = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    start_of_file += b" " * (-len(start_of_file) % 8)
    file.write(struct.pack("<Q", len(start_of_file)) + start_of_file)
    start_of_data = file.tell()
    lines = {}
    with ThreadPoolExecutor(1) as beside:
        for name, array in tensors:
            hashing = beside.submit(line, name, array)
            file.seek(start_of_data + header[name]["data_offsets"][0])
            file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            lines[name] = hashing.result()
    file.seek(start_of_data + header[DESCRIPTION]["data_offsets"][0])
    file.write(_text(description, digest_of_lines(description, lines)))


def _text(description: Mapping[str, Any], sha256: str) -> bytes:
    return json.dumps({**description, "sha256": sha256}, sort_keys=True).encode()


def _header(specs: Mapping[str, TensorSpec]) -> dict[str, Any]:
    """Where every tensor lies: the widest dtypes first, so that all are aligned, then by name."""
    header: dict[str, Any] = {}
    end = 0
    for name in sorted(specs, key=lambda name: (-specs[name].itemsize, name)):
        start, end = end, end + specs[name].nbytes
        header[name] = {
            "dtype": DTYPES[specs[name].dtype],
            "shape": specs[name].shape,
            "data_offsets": (start, end),
        }
    return header


def read(path: Path) -> tuple[Mapping[str, Array], dict[str, Any]]:
    """(tensors, each read when it is asked for; description)."""
    with safe_open(path, framework="np") as file:
        names = tuple(name for name in file.keys() if name != DESCRIPTION)  # noqa: SIM118
        description = json.loads(file.get_tensor(DESCRIPTION).tobytes())
    return Stored(path, names), description


class Stored(Mapping[str, Array]):
    """The tensors of a file. It is opened anew for every `AT_ONCE` bytes: the library maps it, and
    what was read of a map stays in memory beside the tensors until it is closed."""

    AT_ONCE = 2**23

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        self.path = path
        self.names = frozenset(names)
        self.file: Any = None
        self.left = 0

    def __getitem__(self, name: str) -> Array:
        if name not in self.names:
            raise KeyError(name)
        if self.left <= 0:
            self.file, self.left = safe_open(self.path, framework="np"), self.AT_ONCE
        found: Array = self.file.get_tensor(name)
        self.left -= found.nbytes
        return found

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
