"""A target is whole or not there, and what was there stays until then."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from converter.errors import TargetError
from converter.files.publish import check_target, draft


def publish(target: Path, content: bytes, force: bool = False) -> None:
    with draft(target, force=force) as one:
        one.file.write(content)
        one.finish()


def test_a_finished_draft_becomes_the_target(tmp_path):
    publish(tmp_path / "out.pth", b"new")

    assert (tmp_path / "out.pth").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["out.pth"]


def test_a_draft_is_not_the_target_until_the_block_ends(tmp_path):
    with draft(tmp_path / "out.pth", force=False) as one:
        one.file.write(b"new")
        one.finish()

        assert not (tmp_path / "out.pth").exists()
        assert one.path.read_bytes() == b"new"
        assert one.path.parent == tmp_path


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_old_target_and_nothing_else(error, tmp_path):
    target = tmp_path / "out.pth"
    target.write_bytes(b"old")

    with pytest.raises(error), draft(target, force=True) as one:
        one.file.write(b"half")
        raise error

    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.pth"]


def test_without_force_a_target_that_appeared_meanwhile_stays(tmp_path):
    target = tmp_path / "out.pth"

    with pytest.raises(TargetError, match="is there already"), draft(target, force=False) as one:
        one.file.write(b"late")
        one.finish()
        target.write_bytes(b"first")

    assert target.read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["out.pth"]


def test_force_replaces_and_keeps_the_mode(tmp_path):
    target = tmp_path / "out.pth"
    target.write_bytes(b"old")
    target.chmod(0o640)

    publish(target, b"new", force=True)

    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_new_target_has_the_mode_of_a_normal_file(tmp_path):
    before = os.umask(0o027)
    try:
        publish(tmp_path / "out.pth", b"new")
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "out.pth").stat().st_mode) == 0o640


def test_a_full_disk_is_a_target_error(tmp_path, monkeypatch):
    import errno

    def full(handle):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)

    with pytest.raises(TargetError, match="no space is left on the disk"):
        publish(tmp_path / "out.pth", b"new")
    assert os.listdir(tmp_path) == []


def test_a_symbolic_link_is_followed(tmp_path):
    (tmp_path / "real.pth").write_bytes(b"old")
    (tmp_path / "link.pth").symlink_to("real.pth")

    real = check_target(tmp_path / "source.h5", tmp_path / "link.pth", force=True)

    assert real == tmp_path / "real.pth"


@pytest.mark.parametrize("kind", ["source", "hard link", "directory", "pipe", "no parent"])
def test_a_target_that_cannot_be_one_is_refused(kind, tmp_path):
    source = tmp_path / "source.h5"
    source.write_bytes(b"weights")
    target = tmp_path / "out.pth"
    if kind == "source":
        target = source
    elif kind == "hard link":
        os.link(source, target)
    elif kind == "directory":
        target.mkdir()
    elif kind == "pipe":
        os.mkfifo(target)
    else:
        target = tmp_path / "missing" / "out.pth"

    with pytest.raises(TargetError):
        check_target(source, target, force=True)


@pytest.mark.slow
def test_a_conversion_that_cannot_be_made_durable_is_not_published(tmp_path, monkeypatch):
    """The fsync runs beside the proof; its failure still comes before the target's name."""
    import errno

    from helpers import fixture

    from converter.conversion import convert

    def broken(handle):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)

    with pytest.raises(TargetError, match="Input/output error"):
        convert(fixture("keras-2.2.4-tensorflow"), tmp_path / "out.safetensors", parity=False)
    assert os.listdir(tmp_path) == []
