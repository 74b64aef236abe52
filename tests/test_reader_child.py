"""What runs in the reader's process, called here without its limits."""

from __future__ import annotations

import io
import json
from contextlib import contextmanager

import h5py
import numpy as np
import pytest
from helpers import copy, fixture

from converter.errors import ConvertError, MismatchError, SourceError, UnsafeError
from converter.files.checkpoint import Checkpoint, Weight
from converter.files.isolation import child, wire

PATH = fixture("keras-2.2.4-tensorflow")


@pytest.fixture(autouse=True)
def unlimited(monkeypatch):
    monkeypatch.setattr(child, "restrict", lambda *limits, **room: ("memory",))
    monkeypatch.setattr(child, "relax", lambda limits: None)


def frames(content):
    """[(tag, content)] of what was answered."""
    stream, found = io.BytesIO(content), []
    while header := stream.read(wire.HEADER.size):
        tag, length = wire.HEADER.unpack(header)
        found.append((tag, stream.read(length)))
    return found


def served(path, *requests):
    answers = io.BytesIO()
    child.serve(path, [json.dumps(one) for one in requests], answers)
    return frames(answers.getvalue())


def refusal(path, *requests):
    *_, (tag, content) = served(path, *requests)
    assert tag == wire.FAILURE
    return wire.unpack_failure(content)


def test_a_manifest_and_the_arrays_of_each_request():
    (tag, manifest), first, second, third = served(PATH, [1], [0, 1])
    checkpoint = wire.unpack_manifest(manifest, PATH, lambda weights: iter(()))

    assert tag == wire.MANIFEST
    assert checkpoint.notes == ("read without a limit on memory: this platform has none",)
    assert first == third
    assert first[0] == second[0] == b"<f4 "
    with h5py.File(PATH) as file:
        assert second[1] == file[checkpoint.weights[0].path][...].tobytes()


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", ">f8"])
def test_every_float_goes_as_it_is_little_endian(dtype, tmp_path):
    source = copy(PATH, tmp_path)
    values = np.linspace(0, 1, 4).astype(dtype)
    with h5py.File(source, "a") as file:
        del file["model_weights/conv1/conv1/bias:0"]
        file["model_weights/conv1/conv1/bias:0"] = values

    (_, manifest), (tag, content) = served(source, [1])

    weight = wire.unpack_manifest(manifest, source, lambda weights: iter(())).weights[1]
    assert str(weight) == "conv1/bias"
    assert np.array_equal(np.frombuffer(content, tag.decode().strip()), values)


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (KeyError("x"), SourceError, "is damaged: it cannot be read"),
        (OSError("Can't synchronously read data"), SourceError, "is damaged"),
        (RuntimeError("B-tree"), SourceError, "is damaged"),
        (UnicodeDecodeError("utf-8", b"x", 0, 1, "x"), SourceError, "is damaged"),
        (MemoryError(), UnsafeError, "needs more memory than"),
        (OSError("memory allocation failed for VL data"), UnsafeError, "needs more memory than"),
        (MismatchError("ours"), MismatchError, "ours"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_whatever_hdf5_raises_is_a_refusal(error, kind, words, monkeypatch):
    def fails(path, given=None):
        raise error

    monkeypatch.setattr(child, "read_here", fails)

    found = refusal(PATH)

    assert type(found) is kind
    assert words in found.headline
    assert type(error).__name__ in str(found.__cause__)


def holding(array, shape):
    """A checkpoint of one weight, whose array is another than it says."""
    weight = Weight("a", "a", "kernel", "a/kernel", shape)

    @contextmanager
    def opened(path, given=None):
        arrays = lambda weights: iter([(one, array) for one in weights])  # noqa: E731
        yield Checkpoint(path, "test", (weight,), ("a",), arrays)

    return opened


@pytest.mark.parametrize(
    "array", [np.ones((2, 2), "i4"), np.ones((2, 2), np.longdouble), np.ones((2, 3), "f4")]
)
def test_an_array_that_is_not_what_the_manifest_says_is_not_sent(array, monkeypatch):
    monkeypatch.setattr(child, "read_here", holding(array, (2, 2)))

    assert isinstance(refusal(PATH, [0]), MismatchError)


@pytest.mark.parametrize("shape", [(0,), (0, 2), (2, 0)])
def test_an_array_without_elements_is_sent(shape, monkeypatch):
    monkeypatch.setattr(child, "read_here", holding(np.ones(shape, "f4"), shape))

    assert served(PATH, [0])[1] == (b"<f4 ", b"")


def test_a_pipe_that_takes_a_little_at_a_time_gets_all():
    class Slow(io.BytesIO):
        def write(self, content):
            return super().write(content[:7])

    answers = Slow()
    child.send(answers, wire.MANIFEST, b"x" * 100)

    assert frames(answers.getvalue()) == [(wire.MANIFEST, b"x" * 100)]


def test_a_refusal_keeps_its_class_words_and_cause():
    for kind in ConvertError.__subclasses__():
        error = wire.unpack_failure(wire.pack_failure(kind("head", ["a", "b"], ["do"]), "trace"))

        assert type(error) is kind
        assert str(error) == "head\n  a\n  b\nhint: do"
        assert str(error.__cause__) == "trace"
