"""Targets in places and under names that make publishing hard."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading

import pytest
from edits import assert_refused, run
from helpers import fixture

from converter.errors import TargetError
from converter.files.publish import draft

PATH = fixture("keras-2.3.1-cifar-v1")


def publish(target, content, force=False):
    with draft(target, force=force) as one:
        one.file.write(content)
        one.finish()


def test_of_many_writers_at_once_one_wins_and_the_others_are_told(tmp_path):
    target, told = tmp_path / "out.pth", []
    ready = threading.Barrier(8)

    def write(number):
        ready.wait()
        try:
            publish(target, bytes([number]) * 1000)
        except TargetError:
            told.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    content = target.read_bytes()
    assert len(told) == 7
    assert content == content[:1] * 1000
    assert content[0] not in told
    assert os.listdir(tmp_path) == ["out.pth"]


@pytest.mark.parametrize(
    "name",
    ["o" * 251 + ".pth", "日" * 83 + ".pth", "a b\nc.pth", "-o.pth", "out.tar.pth"],
    ids=["255 letters", "253 bytes in 87 letters", "white space", "a dash", "two suffixes"],
)
def test_any_name_that_the_file_system_takes_can_be_a_target(name, tmp_path):
    (tmp_path / name).touch()
    (tmp_path / name).unlink()

    publish(tmp_path / name, b"new")

    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_hard_links_is_written_to(number, tmp_path, monkeypatch):
    """FAT, exFAT and many network and FUSE file systems have none."""

    def refuse(source, target, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)

    publish(tmp_path / "out.pth", b"new")

    assert (tmp_path / "out.pth").read_bytes() == b"new"


def test_a_link_to_nowhere_yet_becomes_a_link_to_the_target(tmp_path):
    (tmp_path / "link.pth").symlink_to("real.pth")

    result = run(PATH, tmp_path / "link.pth", "--no-parity")

    assert result.exit_code == 0, result.output
    assert (tmp_path / "link.pth").is_symlink()
    assert not (tmp_path / "real.pth").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link.pth", "real.pth"]


@pytest.mark.parametrize("kind", ["directory", "pipe", "no parent", "source", "source's link"])
def test_a_target_that_cannot_be_one_is_code_7_even_with_force(kind, tmp_path):
    source, target = tmp_path / "source.h5", tmp_path / "out.pth"
    source.write_bytes(PATH.read_bytes())
    if kind == "directory":
        target.mkdir()
    elif kind == "pipe":
        os.mkfifo(target)
    elif kind == "no parent":
        target = tmp_path / "none" / "out.pth"
    elif kind == "source":
        target = source = source.rename(tmp_path / "source.pth")
    else:
        os.link(source, target)
    before = sorted(os.listdir(tmp_path))

    result = run(source, target, "--no-parity", "--force")

    assert result.exit_code == 7
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert sorted(os.listdir(tmp_path)) == before
    assert source.read_bytes() == PATH.read_bytes()


@pytest.mark.slow
def test_a_killed_run_leaves_the_old_target(tmp_path):
    target = tmp_path / "out.safetensors"
    target.write_bytes(b"old")
    code = f"""
import os, signal
import converter.formats.delivery as delivery
from converter.cli import convert_weights
delivery.prove_tensors = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
convert_weights([{str(PATH)!r}, {str(target)!r}, "--no-parity", "--force"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)

    assert done.returncode == -9
    assert target.read_bytes() == b"old"


def test_a_refused_source_does_not_touch_the_target(tmp_path):
    source, target = tmp_path / "source.h5", tmp_path / "out.pth"
    source.write_bytes(b"nothing of Keras")

    assert_refused(run(source, target, "--force"), 3, target)
    target.write_bytes(b"old")
    assert run(source, target, "--force").exit_code == 3
    assert target.read_bytes() == b"old"
