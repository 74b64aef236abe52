"""Files that a stranger could send, made on the spot, and the command run on them as a user would.

Each `change` edits the open HDF5 file of a small network's weights; KERNEL is one of its arrays.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

KERNEL = "conv1/conv1/kernel:0"
LAYERS = "layer_names"
SHAPE = (7, 7, 3, 4)

COMMAND = """
import sys
sys.modules["torch"] = sys.modules["tensorflow"] = None  # whoever imports them fails
from converter.cli import convert_weights
convert_weights(sys.argv[1:], prog_name="convert-weights")
"""


MEASURED = """
import json, os, subprocess, sys, time
began = time.monotonic()
process = subprocess.Popen(sys.argv[2:])
_, status, used = os.wait4(process.pid, 0)
wall, code = time.monotonic() - began, os.waitstatus_to_exitcode(status)
with open(sys.argv[1], "w") as file:
    json.dump([code, wall, used.ru_utime + used.ru_stime, used.ru_maxrss], file)
"""
"""Starts and measures a command. Between the two stands a process as small as this one, because
Linux counts what a process was forked from as its own memory, and the tests' own is large."""


@dataclass(frozen=True)
class Outcome:
    """What a run did, as its caller sees it. `memory` is the peak of its largest process."""

    code: int
    stdout: str
    stderr: str
    wall: float
    cpu: float
    memory: int


def run_apart(*arguments: object, code: str = COMMAND, **options: Any) -> Outcome:
    """Run the command in a process of its own, without torch, and measure it."""
    with tempfile.TemporaryDirectory() as name:
        told = Path(name) / "measured.json"
        command = [sys.executable, "-S", "-E", "-c", MEASURED, told]
        command += [sys.executable, "-c", code, *arguments]
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, check=False, **options
        )
        status, wall, cpu, memory = json.loads(told.read_text())
    unit = 1 if sys.platform == "darwin" else 1024
    return Outcome(status, done.stdout.decode(), done.stderr.decode(), wall, cpu, memory * unit)


def at(path: str, make: Callable[[Any, str], object]) -> Callable[[Any], None]:
    """A change that puts something else in an array's place."""

    def change(file: Any) -> None:
        del file[path]
        make(file, path)

    return change


def plain(values: Any) -> Callable[[Any, str], object]:
    return lambda file, path: file.create_dataset(path, data=values)


def stored(*arguments: Any, **options: Any) -> Callable[[Any, str], object]:
    return lambda file, path: file.create_dataset(path, *arguments, **options)


def of_type(kind: Any) -> Callable[[Any, str], object]:
    """Zeros of a dtype, there in the file."""

    def make(file: Any, path: str) -> None:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        space = h5py.h5s.create_simple(SHAPE)
        group, _, name = path.rpartition("/")
        kind_ = h5py.h5t.py_create(np.dtype(kind), logical=True)
        h5py.h5d.create(file[group].id, name.encode(), kind_, space, plist)

    return make


def soft_link(to: str) -> Callable[[Any, str], object]:
    def make(file: Any, path: str) -> None:
        file[path] = h5py.SoftLink(to)

    return make


def external_link(file: Any, path: str) -> None:
    file[path] = h5py.ExternalLink("stolen.h5", "/x")


def external_storage(file: Any, path: str) -> None:
    size = int(np.prod(SHAPE)) * 4
    file.create_dataset(path, SHAPE, "f4", external=[("stolen.bin", 0, size)])


def view_of(name: str) -> Callable[[Any, str], object]:
    def make(file: Any, path: str) -> None:
        layout = h5py.VirtualLayout(SHAPE, "f4")
        layout[...] = h5py.VirtualSource(name, "x", SHAPE)
        file.create_virtual_dataset(path, layout)

    return make


def filtered(choose: Callable[[Any], object]) -> Callable[[Any, str], object]:
    """Stored through a filter that `choose` sets on a creation property list."""

    def make(file: Any, path: str) -> None:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk(SHAPE)
        choose(plist)
        space, kind = h5py.h5s.create_simple(SHAPE), h5py.h5t.IEEE_F32LE
        group, _, name = path.rpartition("/")
        h5py.h5d.create(file[group].id, name.encode(), kind, space, plist)

    return make


def half_written(file: Any, path: str) -> None:
    found = file.create_dataset(path, SHAPE, "f4", chunks=(7, 7, 3, 1))
    found[..., :2] = 1


def names(layer: str, *listed: Any) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        file[layer].attrs["weight_names"] = np.array(listed)

    return change


def amplify(path: Path) -> None:
    """400 names that are one heap object of a megabyte: HDF5 makes 400 copies of it."""
    with h5py.File(path, "a") as file:
        group = file["conv1"]
        del group.attrs["weight_names"]
        group.attrs.create(
            "weight_names", ["x" * 2**20] + ["y" * 21] * 399, dtype=h5py.string_dtype()
        )
    content = bytearray(path.read_bytes())
    long, short = (length.to_bytes(4, "little") for length in (2**20, 21))
    first = content.index(long)
    while content[first + 16 : first + 20] != short:  # references of 16 bytes, in a row
        first = content.index(long, first + 1)
    content[first : first + 16 * 400] = content[first : first + 16] * 400
    path.write_bytes(content)


HUGE_CHUNK = {"chunks": (2048, 2048, 3, 4), "maxshape": (None,) * 4}


def bomb(file: Any, path: str) -> None:
    """Zeros of another shape, a thousandth of their size in the file."""
    file.create_dataset(path, data=np.zeros((2**24,), "f4"), compression="gzip", shuffle=True)


def many_just_under(file: Any) -> None:
    """Arrays of a gigabyte each, of which the file holds nothing."""
    for block in ("2a", "2b", "2c", "3a", "3b", "3c", "3d"):
        path = f"bn{block}_branch2a/bn{block}_branch2a/gamma:0"
        at(path, stored((2**28,), "f4", chunks=(1024,)))(file)


def layer_elsewhere(file: Any) -> None:
    del file["conv1"]
    file["conv1"] = h5py.ExternalLink("stolen.h5", "/")


def link_on_the_way(file: Any) -> None:
    """`getlink` of the whole path says HardLink; its first component leads out."""
    file["conv1/way"] = h5py.ExternalLink("stolen.h5", "/")
    names("conv1", b"way/x", b"conv1/bias:0")(file)


def layer_twice(file: Any) -> None:
    file.attrs[LAYERS] = [*file.attrs[LAYERS], file.attrs[LAYERS][2]]


def classifier_turned(file: Any) -> None:
    path = "fc1000/fc1000/kernel:0"
    values = file[path][...].T
    at(path, plain(values))(file)


def many_links(file: Any) -> None:
    for number in range(100_000):
        file[f"l{number}"] = h5py.SoftLink("/nowhere")


def deep(file: Any) -> None:
    path = "/".join("d" * 1000)
    file[f"conv1/{path}/k"] = np.ones(SHAPE, "f4")
    names("conv1", f"{path[:500]}/k".encode(), b"conv1/bias:0")(file)


def cycle(file: Any) -> None:
    file["conv1/up"] = file["/"]
    names("conv1", b"up/conv1/" * 40 + b"conv1/kernel:0", b"conv1/bias:0")(file)


def same_object(file: Any) -> None:
    del file["bn3a_branch2a/bn3a_branch2a/gamma:0"]
    file["bn3a_branch2a/bn3a_branch2a/gamma:0"] = file["bn3a_branch2a/bn3a_branch2a/beta:0"]


def renamed(old: bytes, new: bytes) -> Callable[[Any], None]:
    """A layer under another name, in the list and in the file."""

    def change(file: Any) -> None:
        listed = [one if isinstance(one, bytes) else one.encode() for one in file.attrs[LAYERS]]
        file.id.links.move(old, file.id, new)
        file.attrs[LAYERS] = np.array([new if one == old else one for one in listed])

    return change


def without(layer: str) -> Callable[[Any], None]:
    def change(file: Any) -> None:
        del file[layer]
        file.attrs[LAYERS] = [one for one in file.attrs[LAYERS] if one != layer.encode()]

    return change


def with_extra(file: Any) -> None:
    file["extra/extra/kernel:0"] = np.ones(SHAPE, "f4")
    names("extra", b"extra/kernel:0")(file)
    file.attrs[LAYERS] = [*file.attrs[LAYERS], b"extra"]


def many_attributes(path: Path) -> None:
    """The file once more in HDF5's newer format, which stores as many as one likes."""
    older = path.rename(path.with_suffix(".older"))
    with h5py.File(older) as source, h5py.File(path, "w", libver="latest") as file:
        for name in source:
            source.copy(name, file)
        file.attrs.update(source.attrs)
        for number in range(10_000):
            file.attrs.create(f"a{number}", number, dtype="i4")
