"""The reader's process: what it sends, and what becomes of the caller when it goes wrong."""

from __future__ import annotations

import json
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers import FIXTURES, copy, fixture

from converter.errors import UnsafeError
from converter.files.isolation import process, reader, wire
from converter.files.isolation.reader import open_checkpoint
from converter.files.source import read_here

PATH = fixture("keras-2.2.4-tensorflow")


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.h5")), ids=lambda path: path.stem)
def test_what_comes_through_the_pipe_is_what_is_read_here(path):
    with read_here(path) as here, open_checkpoint(path) as there:
        for field in ("path", "container", "weights", "layers", "keras_version", "backend"):
            assert getattr(there, field) == getattr(here, field)
        assert there.config == here.config
        pairs = zip(here.arrays(here.weights), there.arrays(there.weights), strict=True)
        for (weight, array), (same, sent) in pairs:
            assert (same, sent.dtype, sent.shape) == (weight, array.dtype, array.shape)
            assert sent.tobytes() == array.tobytes()


def test_arrays_come_in_the_order_asked_for_and_again():
    with open_checkpoint(PATH) as checkpoint:
        wanted = checkpoint.weights[5::-1]
        first = dict(checkpoint.arrays(wanted))
        again = dict(checkpoint.arrays(wanted))

    assert tuple(first) == tuple(again) == wanted
    assert all(np.array_equal(first[weight], again[weight]) for weight in wanted)


def test_what_a_reading_left_is_dropped_by_the_next():
    with open_checkpoint(PATH) as checkpoint:
        left = checkpoint.arrays(checkpoint.weights)
        next(left)
        last = checkpoint.weights[-1]
        (weight, array), *rest = checkpoint.arrays([last])

        assert (weight, rest) == (last, [])
        with h5py.File(PATH) as file:
            assert np.array_equal(array, file[last.path][...])
        with pytest.raises(RuntimeError, match="another reading"):
            next(left)


def test_a_child_that_started_early_reads_from_where_the_caller_is(tmp_path, monkeypatch):
    process.start_early()
    copy(PATH, tmp_path, "here.h5")
    monkeypatch.chdir(tmp_path)

    with open_checkpoint(Path("here.h5")) as checkpoint:
        assert len(checkpoint.weights) == 320


def test_the_child_is_gone_when_the_context_ends():
    with open_checkpoint(PATH) as checkpoint:
        child = checkpoint.arrays.__self__.child
        assert child.poll() is None

    assert child.poll() is not None


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGXCPU])
def test_a_child_that_dies_is_code_4_and_says_how(number):
    with open_checkpoint(PATH) as checkpoint:
        checkpoint.arrays.__self__.child.send_signal(number)

        with pytest.raises(UnsafeError, match="the process that reads it") as error:
            list(checkpoint.arrays(checkpoint.weights))

    told = "processor time" if number == signal.SIGXCPU else signal.Signals(number).name
    assert told in str(error.value)


@pytest.mark.slow
def test_a_child_that_stalls_is_killed(monkeypatch):
    with open_checkpoint(PATH) as checkpoint:
        monkeypatch.setattr(reader, "STALL", 0.5)
        child = checkpoint.arrays.__self__.child
        child.send_signal(signal.SIGSTOP)
        began = time.monotonic()

        with pytest.raises(UnsafeError, match="gave no answer"):
            list(checkpoint.arrays(checkpoint.weights))

        assert time.monotonic() - began < 5
        assert child.returncode == -signal.SIGKILL


def test_a_process_that_cannot_be_started_is_a_refusal(monkeypatch):
    def none_left(*arguments, **options):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(process, "_waiting", [])
    monkeypatch.setattr(subprocess, "Popen", none_left)
    process.start_early()

    with pytest.raises(UnsafeError, match="Resource temporarily"), open_checkpoint(PATH):
        pass


def frame(tag, content):
    return struct.pack("<4sQ", tag, len(content)) + content


def manifest(**changes):
    with read_here(PATH) as checkpoint:
        return json.dumps({**json.loads(wire.pack_manifest(checkpoint)), **changes}).encode()


WEIGHT = {
    "group": "conv1",
    "layer": "conv1",
    "parameter": "bias",
    "path": "conv1/bias",
    "shape": [4],
    "dtype": "float32",
    "spelling": "bias",
}


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"json", id="half a header"),
        pytest.param(frame(b"json", b"{"), id="no JSON"),
        pytest.param(frame(b"json", b"[" * 100_000), id="deep JSON"),
        pytest.param(frame(b"json", b"{}"), id="no fields"),
        pytest.param(struct.pack("<4sQ", b"json", 2**60), id="an exabyte"),
        pytest.param(struct.pack("<4sQ", b"fail", 2**60), id="an exabyte of refusal"),
        pytest.param(frame(b"<f4 ", b"1234"), id="an array before the manifest"),
        pytest.param(frame(b"json", manifest(layers=[1, 2])), id="layers that are numbers"),
        pytest.param(frame(b"json", manifest(weights=[WEIGHT | {"shape": [-1]}])), id="negative"),
        pytest.param(frame(b"json", manifest(weights=[WEIGHT | {"shape": [2**40]}])), id="huge"),
        pytest.param(frame(b"json", manifest(weights=[WEIGHT | {"shape": "4"}])), id="no shape"),
        pytest.param(frame(b"fail", b"{}"), id="an empty refusal"),
        pytest.param(frame(b"fail", b'{"kind": "Exception"}'), id="no refusal of ours"),
    ],
)
def test_an_answer_that_cannot_be_is_code_4(answer, monkeypatch, tmp_path):
    monkeypatch.setattr(process, "take", lambda: says(answer, tmp_path / "answer"))

    with (
        pytest.raises(UnsafeError, match="cannot be read safely"),
        open_checkpoint(PATH),
    ):
        pass


@pytest.mark.slow
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(frame(b"<f4 ", bytes(12)), id="too short"),
        pytest.param(frame(b"<f4 ", bytes(20)), id="too long"),
        pytest.param(frame(b"<i4 ", bytes(16)), id="whole numbers"),
        pytest.param(frame(b"|O8 ", bytes(32)), id="objects"),
        pytest.param(frame(b"json", bytes(16)), id="another manifest"),
        pytest.param(frame(b"<f4 ", bytes(16))[:-1], id="cut off"),
    ],
)
def test_an_array_that_was_not_asked_for_is_code_4(answer, monkeypatch, tmp_path):
    start = frame(b"json", manifest(weights=[WEIGHT]))
    monkeypatch.setattr(process, "take", lambda: says(start + answer, tmp_path / "answer"))

    with (
        open_checkpoint(PATH) as checkpoint,
        pytest.raises(UnsafeError, match="cannot be read safely"),
    ):
        list(checkpoint.arrays(checkpoint.weights))


def says(answer, path):
    """A child that says this, whatever it is asked, and nothing more."""
    code = f"""
import os, sys
sys.stdout.buffer.write(open({str(path)!r}, "rb").read())
sys.stdout.flush()
os.close(1)
sys.stdin.read()
"""
    path.write_bytes(answer)
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
    )


LIMITED = """
import resource
from converter.files.isolation.limits import Limits, relax, restrict
lacking = restrict(Limits(memory=2**27, seconds=1, files=20), room=Limits(2**30, 5))
{then}
"""


def limited(then, folder=None):
    command = [sys.executable, "-c", LIMITED.format(then=then)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


linux = pytest.mark.skipif(sys.platform != "linux", reason="the limits differ elsewhere")


@linux
def test_linux_lacks_no_limit():
    assert limited("print(lacking)").stdout == "()\n"


@linux
@pytest.mark.parametrize(
    ("then", "ended"),
    [
        ("bytearray(2**28)", "MemoryError"),
        ("relax(Limits(2**29, 5)); print(len(bytearray(2**28)))", "268435456"),
        ("relax(Limits(2**40, 5)); bytearray(2**31)", "MemoryError"),
        ("import os; os.write(os.open('x', os.O_CREAT | os.O_WRONLY), b'x')", "File too large"),
        ("[open('/dev/null') for _ in range(30)]", "Too many open files"),
        ("print(resource.getrlimit(resource.RLIMIT_CORE))", "(0, 0)"),
    ],
)
def test_a_limit_holds(then, ended, tmp_path):
    done = limited(then, tmp_path)

    assert ended in done.stdout + done.stderr


@pytest.mark.slow
@linux
def test_processor_time_runs_out():
    began = time.monotonic()

    assert limited("while True: pass").returncode == -signal.SIGXCPU
    assert time.monotonic() - began < 60


@pytest.mark.slow
def test_a_platform_without_limits_works_and_says_so(monkeypatch, tmp_path):
    """As on Windows: the module `resource` is not there."""
    poisoned = tmp_path / "resource.py"
    poisoned.write_text("raise ImportError('no such module here')")
    monkeypatch.setattr(
        process, "RUN", f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {process.RUN}"
    )

    with open_checkpoint(PATH) as checkpoint:
        assert checkpoint.notes == (
            "read without a limit on memory, processor time, open files: this platform has none",
        )
        assert len(list(checkpoint.arrays(checkpoint.weights))) == 320
