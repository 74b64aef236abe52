"""A run that was killed leaves no process, and what it leaves on the disk the next one removes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import fixture

from converter.files import leftovers
from converter.files.leftovers import FOLDER, hold, let_go, own_name, sweep, work_folder
from converter.files.publish import draft
from converter.parity.original.keras_python import SCRIPT

PATH = fixture("keras-2.2.4-tensorflow")


@pytest.fixture
def gone():
    """The number of a process that has ended."""
    done = subprocess.run([sys.executable, "-S", "-c", "import os; print(os.getpid())"],
                          capture_output=True, text=True, check=True)  # fmt: skip
    return int(done.stdout)


def run(code: str, **options: object) -> subprocess.Popen[str]:
    """A process that is told to do something and says when it waits; its first line is read."""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, **options
    )  # type: ignore[call-overload]
    process.told = process.stdout.readline().strip()
    return process


def is_running(number: int) -> bool:
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z"  # whom nobody asks about
    return False


def ends(number: int, within: float = 30) -> bool:
    until = time.monotonic() + within
    while is_running(number) and time.monotonic() < until:
        time.sleep(0.05)
    return not is_running(number)


def killed(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_what_an_ended_process_left_is_removed_and_nothing_else(gone, tmp_path):
    prefix = ".out.pth.tmp-"
    ours = [f"{prefix}{gone}-0123abcd", own_name(prefix), f"{prefix}1-0123abcd"]
    others = [
        f"{prefix}{gone}-0123abcd.old",  # the older folder, while the new one takes its name
        f"{prefix}{gone}",
        f"{prefix}x-0123abcd",
        f"{prefix}-0123abcd",
        f".other.pth.tmp-{gone}-0123abcd",
        "out.pth",
    ]
    for name in (*ours, *others):
        (tmp_path / name).touch()
    (tmp_path / f"{prefix}{gone}-4567abcd").mkdir()
    (tmp_path / f"{prefix}{gone}-4567abcd" / "weights").touch()
    (tmp_path / f"{prefix}{gone}-89ababcd").symlink_to(tmp_path / "out.pth")

    sweep(tmp_path, prefix)

    left = sorted(one.name for one in tmp_path.iterdir())
    assert left == sorted([*ours[1:], *others, f"{prefix}{gone}-89ababcd"])


def test_an_older_directory_goes_when_the_new_one_is_there(gone, tmp_path):
    """Killed between the two moves of a replacement, the older one is all that there is."""
    aside = tmp_path / f"a-{gone}-0123abcd.old"
    aside.mkdir()

    sweep(tmp_path, "a-")
    assert aside.exists()

    sweep(tmp_path, "a-", is_replaced=True)
    assert not aside.exists()


def test_what_another_machine_works_on_is_left(gone, tmp_path):
    """Its process is not to be seen here; its lock is."""
    path = tmp_path / f"a-{gone}-0123abcd"
    path.touch()
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        sweep(tmp_path, "a-")
        assert path.exists()

    sweep(tmp_path, "a-")
    assert not path.exists()


def test_a_draft_and_a_folder_are_held_while_they_are_worked_on(tmp_path, monkeypatch):
    monkeypatch.setattr(leftovers.tempfile, "gettempdir", lambda: str(tmp_path))
    with draft(tmp_path / "out.pth", force=False) as one, work_folder() as folder:
        one.file.write(b"x")
        one.finish()
        assert hold(one.path) is None
        assert hold(folder) is None
        assert folder.name.startswith(f"{FOLDER}{os.getpid()}-")

    assert [path.name for path in tmp_path.iterdir()] == ["out.pth"]
    let_go(hold(tmp_path / "out.pth"))


@pytest.mark.slow
def test_the_next_run_to_a_target_removes_the_draft_of_a_killed_one(tmp_path):
    target = tmp_path / "out.pth"
    code = f"""
import converter.formats.delivery as delivery, time
def stop(*arguments):
    print("here", flush=True)
    time.sleep(60)
delivery.prove_tensors = stop
from converter.conversion import convert
convert({str(PATH)!r}, {str(target)!r}, parity=False)
"""
    process = run(code)
    killed(process)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(f".out.pth.tmp-{process.pid}-")

    with draft(target, force=False) as one:
        one.finish()

    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["", "child.process.stdin.write(b'begin\\n')"])
def test_keras_ends_with_who_asks_it_and_its_folder_is_removed(moment, tmp_path):
    code = f"""
import time
from converter.parity.original.oracle import KerasChild
child = KerasChild()
folder = child.start()
{moment or "pass"}
print(child.process.pid, flush=True)
time.sleep(60)
"""
    process = run(code, env={**os.environ, "TMPDIR": str(tmp_path)})
    time.sleep(1)
    killed(process)
    assert len(list(tmp_path.iterdir())) == 1

    assert ends(int(process.told))
    done = "from converter.files.leftovers import work_folder\nwith work_folder(): pass"
    subprocess.run(
        [sys.executable, "-c", done], env={**os.environ, "TMPDIR": str(tmp_path)}, check=True
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_reader_ends_with_who_asks_it_though_it_hangs():
    """In HDF5, for ever; its limit on processor time would end it later."""
    hang = Path(__file__).parent / "hostile_files" / "hang_1.h5"
    code = f"""
from pathlib import Path
from converter.files.isolation import process
from converter.files.isolation.reader import Reader
reader = Reader(process.take())
print(reader.child.pid, flush=True)
reader.open(Path({str(hang)!r}))
"""
    process = run(code)
    time.sleep(1)
    assert is_running(int(process.told))
    killed(process)

    assert ends(int(process.told), within=2)


def test_another_interpreter_ends_when_its_leash_does(tmp_path):
    """The program that runs an old Keras, while it runs the user's own code."""
    (tmp_path / "slow.py").write_text("import time; print('here', flush=True); time.sleep(600)")
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "-", "out.json", "--config-only", "--build", "slow:model"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "RECORD_KERAS_WATCHES": "stdin"},
    )
    assert process.stdout.readline() == "here\n"
    assert process.poll() is None

    process.stdin.close()

    assert process.wait(timeout=10) == 1
    process.stdout.close()
