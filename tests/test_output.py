"""What can be wrong with a target, by the whole command: exit code 7, and nothing is lost."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import copy, fixture
from hostile import COMMAND, run_apart

from converter.conversion import convert as convert_here
from converter.files import publish

PATH = fixture("keras-2.2.4-tensorflow")


def convert(*arguments, **options):
    return run_apart(*arguments, "--no-parity", **options)


def refused(done, *words):
    assert done.code == 7, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert done.stderr.startswith("Error: ")
    assert done.stderr.replace("\n", "").isprintable()
    assert done.cpu < 3
    assert done.memory < 256 * 2**20
    for word in words:
        assert word in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("way", ["path", "symbolic link", "hard link"])
def test_source_is_never_its_own_target(way, tmp_path):
    source = copy(PATH, tmp_path, "source.safetensors")
    target = source if way == "path" else tmp_path / "other.safetensors"
    if way == "symbolic link":
        target.symlink_to(source)
    elif way == "hard link":
        os.link(source, target)

    refused(convert(source, target, "--force"), "is SOURCE itself")
    assert source.read_bytes() == PATH.read_bytes()


@pytest.mark.slow
def test_a_directory_stays_one(tmp_path):
    (tmp_path / "out.safetensors").mkdir()

    refused(convert(PATH, tmp_path / "out.safetensors", "--force"), "is no plain file")
    assert os.listdir(tmp_path) == ["out.safetensors"]


@pytest.mark.slow
def test_a_folder_that_is_not_there_is_not_made(tmp_path):
    refused(convert(PATH, tmp_path / "no/out.safetensors"), "there is no directory")
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_a_folder_that_nothing_can_be_written_to(tmp_path):
    """One that is read-only for whoever is not root, and for root one of the kernel's."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)
    if os.access(folder, os.W_OK):
        folder = Path("/proc/self")

    refused(convert(PATH, folder / "out.safetensors"), "cannot be written")


@pytest.mark.slow
@pytest.mark.parametrize("old", [None, b"an older target"], ids=["new", "old"])
@pytest.mark.parametrize("room", [4_000, 100_000])
def test_a_disk_that_is_full(room, old, tmp_path):
    """A limit on the size of files stops the write as a full disk does. (Python's own compiled
    modules are kept out of it: it would leave half of one.)"""
    target = tmp_path / "out.safetensors"
    if old:
        target.write_bytes(old)
    code = f"""
import resource, sys
sys.dont_write_bytecode = True
resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))
"""
    done = convert(PATH, target, "--force", code=code + COMMAND)

    refused(done, "cannot be written: File too large")
    assert target.exists() == (old is not None)
    assert old is None or target.read_bytes() == old
    assert len(os.listdir(tmp_path)) == (old is not None)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["new\nline", "\x1b[2J", "caf\udce9", "é" * 121, "n" * 243],
    ids=["line", "escape", "no UTF-8", "accents", "long"],
)
def test_any_name_that_a_file_can_have(name, tmp_path):
    target = tmp_path / f"{name}.safetensors"

    done = convert(PATH, target)

    assert done.code == 0, done.stderr
    assert os.listdir(tmp_path) == [target.name]
    assert done.stderr.replace("\n", "").isprintable()


@pytest.mark.slow
def test_a_name_that_is_too_long(tmp_path):
    refused(convert(PATH, tmp_path / f"{'n' * 250}.safetensors"), "too long")
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_force_writes_to_where_a_symbolic_link_points(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    real = tmp_path / "elsewhere/real.safetensors"
    real.write_bytes(b"old")
    real.chmod(0o604)
    link = tmp_path / "link.safetensors"
    link.symlink_to("elsewhere/real.safetensors")

    done = convert(PATH, link, "--force")

    assert done.code == 0, done.stderr
    assert link.is_symlink()
    assert real.read_bytes() != b"old"
    assert stat.S_IMODE(real.stat().st_mode) == 0o604
    assert os.listdir(real.parent) == ["real.safetensors"]


@pytest.mark.slow
def test_two_runs_at_once_leave_one_winner(tmp_path):
    target = tmp_path / "out.safetensors"
    command = [sys.executable, "-c", COMMAND, str(PATH), str(target), "--no-parity"]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    told = [run.communicate()[1] for run in runs]

    codes = sorted(run.returncode for run in runs)
    assert codes == [0, 7, 7], told
    assert os.listdir(tmp_path) == ["out.safetensors"]
    assert convert(PATH, tmp_path / "again.safetensors").code == 0
    assert target.read_bytes() == (tmp_path / "again.safetensors").read_bytes()


STOPPED = """
import converter.formats.delivery as delivery, os, signal, time
def stop(*arguments):
    print("here", flush=True)
    time.sleep(60)
delivery.prove_tensors = stop
"""


def child_of(pid):
    return [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/stat")
        if path.read_text().rpartition(")")[2].split()[1] == str(pid)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_leaves_neither_draft_nor_process(number, tmp_path):
    target = tmp_path / "out.safetensors"
    target.write_bytes(b"old")
    command = [sys.executable, "-c", STOPPED + COMMAND, str(PATH), str(target)]
    run = subprocess.Popen(
        [*command, "--force", "--no-parity"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with run:
        assert run.stdout.readline() == b"here\n"
        children = child_of(run.pid) if os.path.isdir("/proc/self") else []
        assert len(os.listdir(tmp_path)) == 2
        run.send_signal(number)
        told = run.communicate(timeout=20)[1]

    assert run.returncode == 128 + number, told
    assert told == b""
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.safetensors"]
    assert all(not os.path.exists(f"/proc/{child}") for child in children)


@pytest.mark.slow
def test_a_run_that_is_killed_takes_its_reader_along(tmp_path):
    command = [sys.executable, "-c", STOPPED + COMMAND, str(PATH), str(tmp_path / "o.safetensors")]
    run = subprocess.Popen([*command, "--no-parity"], stdout=subprocess.PIPE)
    with run:
        run.stdout.readline()
        children = child_of(run.pid) if os.path.isdir("/proc/self") else []
        run.kill()

    for _ in range(100):
        alive = [child for child in children if os.path.exists(f"/proc/{child}/exe")]
        if not alive:
            break
        time.sleep(0.1)
    assert alive == []


@pytest.mark.slow
def test_an_interrupt_that_the_caller_ignores_stays_ignored(tmp_path):
    """A shell's background job, or `nohup`: the run is not told to stop."""
    before = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
    once = "import converter.mapping.sanity as s, os; os.kill(os.getpid(), 2)\n"

    done = convert(PATH, tmp_path / "out.safetensors", code=before + once + COMMAND)

    assert done.code == 0, done.stderr


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_draft_is_closed_before_it_gets_its_name(suffix, tmp_path, monkeypatch):
    """Windows renames no open or mapped file, and has no locks that hold one; Linux tells which
    are."""
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("this system does not tell which files are open")
    really, held = publish._publish, []

    def watched(path, target, force):
        mapped = Path("/proc/self/maps").read_text().splitlines()
        files = [os.readlink(one) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
        held.extend(one for one in [*mapped, *files] if path.name in one)
        really(path, target, force)

    monkeypatch.setattr(publish, "_publish", watched)
    monkeypatch.setattr("converter.files.leftovers.fcntl", None)
    convert_here(PATH, tmp_path / f"out{suffix}", parity=False)

    assert held == []
