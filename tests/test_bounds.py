"""Every limit of the readers, one step beyond: refused by the reader itself and by the command."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from edits import assert_refused, edited, refusal_here, run
from helpers import FIXTURES, fixture

from converter.files.readers import _hdf5, archive, shards

KERAS = FIXTURES / "keras-3.15-nested-head.keras"
SHARDED = FIXTURES / "keras-3.15-sharded.weights.json"
WHOLE = fixture("keras-2.2.4-tensorflow")


def hdf5(change: Callable[[Any], object]) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        with h5py.File(folder / "made.h5", "w") as file:
            change(file)
        return folder / "made.h5"

    return make


def whole(change: Callable[[Any], object]) -> Callable[[Path], Path]:
    return lambda folder: edited(WHOLE, folder, change)


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_STORED) -> Callable[[Path], Path]:
    """A real archive with some members changed or added."""

    def make(folder: Path) -> Path:
        with zipfile.ZipFile(KERAS) as file:
            content = {name: file.read(name) for name in file.namelist()}
        with zipfile.ZipFile(folder / "made.keras", "w", method) as file:
            for name, data in {**content, **dict(members)}.items():
                file.writestr(name, data)
        return folder / "made.keras"

    return make


def damaged(make: Callable[[Path], Path], where: Callable[[bytes], int], by: bytes) -> Any:
    """With other bytes at a place of the file that was made."""

    def spoil(folder: Path) -> Path:
        path = make(folder)
        content = bytearray(path.read_bytes())
        at = where(bytes(content))
        content[at : at + len(by)] = by
        path.write_bytes(content)
        return path

    return spoil


def listing(content: object) -> Callable[[Path], Path]:
    """A list of shards without its shards."""

    def make(folder: Path) -> Path:
        (folder / "made.weights.json").write_text(json.dumps(content))
        return folder / "made.weights.json"

    return make


def twice_in_two_shards(folder: Path) -> Path:
    names = ["a.weights.h5", "b.weights.h5"]
    for name in names:
        with h5py.File(folder / name, "w") as file:
            file["layers/dense/vars/0"] = np.ones((2, 2), "f4")
    return listing({"weight_map": {"/layers/dense/vars": names}})(folder)


def damaged_shard(folder: Path) -> Path:
    (folder / "a.weights.h5").write_bytes(b"no HDF5")
    return listing({"weight_map": {"/layers/dense/vars": ["a.weights.h5"]}})(folder)


def of_keras_0(**attributes: object) -> Callable[[Any], object]:
    def change(file: Any) -> None:
        for name, value in attributes.items():
            file.attrs[name] = value

    return change


def deep(file: Any) -> None:
    file["/".join(["layers/a"] * 40) + "/vars/0"] = np.ones(1, "f4")
    file["layers/dense/vars/0"] = np.ones((2, 2), "f4")


def deep_without_layers(file: Any) -> None:
    file["layers/dense/vars/0"] = np.ones((2, 2), "f4")
    file["layers/dense/" + "/".join("abcdefghij" * 4) + "/vars/0"] = np.ones(1, "f4")


def wide(file: Any) -> None:
    group = file.create_group("layers")
    for number in range(_hdf5.MAX_NAMES + 1):
        group.create_group(str(number))


def no_text(file: Any) -> None:
    file.attrs.create("model_config", np.array([1, 2], "i4"))


def bytes_for_text(file: Any) -> None:
    """h5py 2 wrote them so, and a list of one is one."""
    config = file.attrs["model_config"]
    text = config if isinstance(config, str) else config.decode()
    file.attrs.create("model_config", np.array([text.encode()[:20]], "S20"))


def local_header(content: bytes) -> int:
    """Where the weights' own header begins in an archive."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        return file.getinfo("model.weights.h5").header_offset


def weights_begin(content: bytes) -> int:
    return content.index(b"\x89HDF")


def packed_begin(content: bytes) -> int:
    """The middle of the packed config.json."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        info = file.getinfo("config.json")
        return info.header_offset + 30 + len("config.json") + info.compress_size // 2


@pytest.mark.slow
def test_that_the_unchanged_are_taken(tmp_path):
    for source in (WHOLE, KERAS, SHARDED, zipped(method=zipfile.ZIP_DEFLATED)(tmp_path)):
        assert refusal_here(source) is None, source


ROWS = [
    ("members without end", zipped(*((f"{n}", b"") for n in range(archive.MAX_MEMBERS))), 4),
    ("a member's header gone", damaged(zipped(), local_header, b"XXXX"), 3),
    ("its weights are no HDF5", zipped(("model.weights.h5", b"no HDF5" * 99)), 3),
    (
        "a packed member damaged",
        damaged(zipped(method=zipfile.ZIP_DEFLATED), packed_begin, b"\xff" * 8),
        3,
    ),
    ("its config is no JSON", zipped(("config.json", b"{")), 3),
    ("its config is over the limit", zipped(("config.json", b" " * (_hdf5.MAX_CONFIG + 1))), 4),
    ("a list of no shards", listing({"weight_map": {"/layers/dense/vars": []}}), 3),
    (
        "shards without end",
        listing({"weight_map": {"a": [f"{n}.h5" for n in range(shards.MAX_SHARDS + 1)]}}),
        4,
    ),
    ("a shard that is no HDF5", damaged_shard, 3),
    ("one array in two shards", twice_in_two_shards, 3),
    ("JSON that is none", lambda folder: written(folder / "made.json", b"{nothing"), 3),
    ("JSON over the limit", lambda folder: written(folder / "made.json", b"{" + b" " * 2**26), 4),
    ("Keras 0: no number of layers", hdf5(of_keras_0(nb_layers="many")), 3),
    ("Keras 0: fewer layers than none", hdf5(of_keras_0(nb_layers=-1)), 4),
    ("Keras 0: layers that are not there", hdf5(of_keras_0(nb_layers=2)), 3),
    ("layers within layers", hdf5(deep), 4),
    ("groups within groups", hdf5(deep_without_layers), 4),
    ("a group of too many", hdf5(wide), 4),
    ("a config that is no text", whole(no_text), 3),
    ("a config of bytes, cut off", whole(bytes_for_text), 3),
    ("a config that is a list", whole(lambda file: file.attrs.modify("model_config", "[]")), 3),
    ("HDF5 of something else", hdf5(lambda file: file.create_group("images")), 3),
]


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("make", "code"), [pytest.param(make, code, id=name) for name, make, code in ROWS]
)
def test_one_step_beyond(make, code, tmp_path):
    source = make(tmp_path)

    assert refusal_here(source) == code
    assert_refused(run(source, tmp_path / "out.safetensors"), code, tmp_path / "out.safetensors")
