"""Records are read under limits, and in whatever byte order they were made."""

from __future__ import annotations

import io
import json
import os
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from edits import run
from helpers import arrays_of, fixture, record

from converter.errors import SourceError
from converter.files.npz import FREE, read_arrays
from converter.files.opening import has_configuration
from converter.parity.original.recording import is_record, read_record

PATH = fixture("keras-2.2.4-tensorflow")


def everything(name):
    return True


def arrays():
    return arrays_of(record(PATH))


@pytest.mark.slow
def test_a_record_of_a_big_endian_machine_is_the_same_record(tmp_path):
    swapped = {
        name: array.astype(array.dtype.newbyteorder(">")) if array.dtype.kind in "fi" else array
        for name, array in arrays().items()
    }
    path = tmp_path / "record.npz"
    np.savez(path, **swapped)

    found, expected = read_record(path), read_record(record(PATH))

    assert np.array_equal(found.passes[0].input, expected.passes[0].input)
    assert all(array.dtype.isnative for array in read_arrays(path, everything).values())
    result = run(PATH, tmp_path / "out.pth", "--against", path, "--device", "cpu")
    assert result.exit_code == 0, result.stderr


def test_it_is_what_numpy_reads(tmp_path):
    some = {
        "columns": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        "text": np.array("ä text"),
        "nothing": np.zeros((0, 3), "f4"),
        "scalar": np.float32(3),
        "swapped": np.arange(5, dtype=">f8"),
        "whole": np.arange(5),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **some)
        found = read_arrays(tmp_path / "a.npz", everything)

        assert found.keys() == some.keys()
        for name, array in some.items():
            assert np.array_equal(found[name], array)
            assert found[name].shape == np.shape(array)


def bomb(path, name, count):
    """Zeros of `count` bytes beside a record's arrays, packed into a thousandth."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for other, array in arrays().items():
            content = io.BytesIO()
            np.save(content, array)
            archive.writestr(f"{other}.npy", content.getvalue())
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "<f4", "fortran_order": False, "shape": (1, count // 4)}
        )
        archive.writestr(f"{name}.npy", header.getvalue() + bytes(count))
    return path


@pytest.mark.slow
def test_what_is_no_part_of_a_record_is_not_unpacked(tmp_path):
    path = bomb(tmp_path / "record.npz", "extra", 4 * FREE)

    tracemalloc.start()
    assert read_record(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert most < FREE


@pytest.mark.slow
def test_a_record_that_unpacks_into_much_more_is_refused(tmp_path):
    path = bomb(tmp_path / "record.npz", "layer/conv1", 2 * FREE)

    with pytest.raises(SourceError, match=r"is not a record: [\d,]+ bytes unpack to"):
        read_record(path)


def test_an_array_that_is_not_what_its_checksum_was_made_of_is_refused(tmp_path):
    path = tmp_path / "record.npz"
    np.savez(path, **arrays())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("logits.npy")
    content = bytearray(path.read_bytes())
    content[info.header_offset + 30 + len("logits.npy") + info.file_size] ^= 1
    path.write_bytes(content)

    with pytest.raises(SourceError, match="Bad CRC-32"):
        read_record(path)


@pytest.mark.parametrize(
    ("descr", "shape"),
    [
        ("<f4", (2**50,)),
        ("<f4", (-1,)),
        ("<f4", (1,) * 40),
        ("|O", (1,)),
        ("<f16", (1,)),
        ([("a", "<f4")], (1,)),
    ],
    ids=str,
)
def test_a_header_that_lies_is_refused_before_memory_is_taken(descr, shape, tmp_path):
    header = io.BytesIO()
    content = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, content)
    path = tmp_path / "record.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("input.npy", header.getvalue() + bytes(16))

    with pytest.raises(SourceError, match="is not a record"):
        read_record(path)


def test_deep_json_is_refused(tmp_path):
    deep = np.array("[" * 100_000 + "]" * 100_000)
    np.savez(tmp_path / "record.npz", **{**arrays(), "meta": deep})

    with pytest.raises(SourceError, match="is not a record"):
        read_record(tmp_path / "record.npz")


def test_a_version_that_is_a_book_is_shown_short(tmp_path):
    meta = np.array(json.dumps({"keras": "2" * 100_000}))
    np.savez(tmp_path / "record.npz", **{**arrays(), "meta": meta})

    assert len(read_record(tmp_path / "record.npz").oracle) < 200


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    began = time.monotonic()

    assert not is_record(tmp_path / "pipe")
    assert not has_configuration(tmp_path / "pipe")
    with pytest.raises(SourceError, match="it is a pipe, not a file"):
        read_record(tmp_path / "pipe")
    assert time.monotonic() - began < 5
