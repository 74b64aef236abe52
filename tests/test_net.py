"""One net under every command: whatever happens is a line and an exit code of the table."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from helpers import fixture

from converter.cli import convert_weights, inspect_weights, predict, verify_weights
from converter.errors import ConvertError, as_refusal
from converter.folder import convert_folder

PATH = fixture("keras-2.2.4-tensorflow")
ROOT = Path(__file__).parents[1]
PROGRAM = "import sys; sys.argv[0] = 'convert-weights'\nfrom converter.cli import programs\n"


def shell(line: str, code: str = "", **options: object) -> subprocess.CompletedProcess[str]:
    """A shell's line, in which $RUN is the program `convert-weights`, after `code`."""
    program = f"{code}\n{PROGRAM}programs.convert_weights()"
    environment = {**os.environ, "RUN": program, "PYTHON": sys.executable}
    line = line.replace("$RUN", '"$PYTHON" -c "$RUN"')
    given = {"capture_output": True, "text": True, "check": False, "env": environment, **options}
    return subprocess.run(["bash", "-c", line], **given)  # type: ignore[call-overload,no-any-return]


def broken(*_: object, **__: object) -> None:
    raise LookupError("nobody\nthought of this")


@pytest.mark.parametrize(
    ("command", "target", "arguments"),
    [
        (convert_weights, "converter.conversion.convert", [PATH, "out.pth"]),
        (inspect_weights, "converter.identify.identify", [PATH]),
        (verify_weights, "converter.verification.verify", ["out.pth", "--against", PATH]),
        (predict, "converter.cli.prediction.prepare", ["out.pth", "a.jpg"]),
    ],
    ids=["convert", "inspect", "verify", "predict"],
)
def test_what_nobody_foresaw_is_one_line_and_code_70(command, target, arguments, monkeypatch):
    monkeypatch.setattr(target, broken)
    arguments = [str(argument) for argument in arguments]

    result = CliRunner().invoke(command, arguments)
    in_full = CliRunner().invoke(command, [*arguments, "--debug"])

    assert (result.exit_code, in_full.exit_code) == (70, 70)
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("Error: not foreseen: LookupError: nobody\\nthought of this (")
    assert "test_net.py, line" in result.stderr
    assert "Traceback" in in_full.stderr
    assert "Traceback" not in result.stderr


def test_of_a_folder_the_other_files_go_on(tmp_path, monkeypatch):
    for name in ("a.h5", "b.h5"):
        (tmp_path / name).write_bytes(b"")
    monkeypatch.setattr("converter.folder.convert", broken)

    found = [one.exit_code for one in convert_folder(tmp_path, tmp_path / "out")]

    assert found == [70, 70]


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("can't start new thread"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: not enough memory"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        ImportError("libtorch.so: failed to map segment: Cannot allocate memory"),
    ],
    ids=str,
)
def test_lack_of_memory_is_said_as_that(error):
    found = as_refusal(error)

    assert found.exit_code == 4
    assert found.headline.startswith("not enough memory")


@pytest.mark.slow
@pytest.mark.parametrize(
    "streams", ["2>&-", "2>/dev/full", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full"]
)
def test_a_closed_or_full_stream_changes_nothing(streams, tmp_path):
    target = tmp_path / "out.pth"

    done = shell(f"$RUN {PATH} {target} --no-parity {streams}")
    again = shell(f"$RUN {PATH} {target} --no-parity {streams}")

    assert (done.returncode, again.returncode) == (0, 7)
    assert list(tmp_path.iterdir()) == [target]
    assert target.read_bytes().startswith(b"PK")


@pytest.mark.slow
def test_data_that_was_asked_for_and_not_taken_is_code_7():
    for line in ("$RUN --dry-run", "$RUN --help"):
        done = shell(f"{line} {PATH} >/dev/full")

        assert done.returncode == 7
        assert "standard output cannot be written: No space left on device" in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_a_reader_that_has_gone_away_has_what_it_wanted():
    done = shell(f"$RUN {PATH} --dry-run | true; echo ${{PIPESTATUS[0]}}")

    assert done.stdout == "0\n"
    assert "Traceback" not in done.stderr


def test_a_folder_that_is_gone(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()

    done = shell(f"cd {gone}; rmdir {gone}; PYTHONPATH={ROOT} $RUN {PATH} {tmp_path}/out.pth")

    assert done.returncode == 2
    assert done.stderr == "Error: the working folder is gone: change to one that is there\n"


@pytest.mark.slow
def test_a_target_that_leads_to_itself(tmp_path):
    target = tmp_path / "out.pth"
    target.symlink_to(target)

    for options in ("", "--force"):
        done = shell(f"$RUN {PATH} {target} --no-parity {options}")

        assert done.returncode == 7, done.stderr
        assert done.stderr.startswith("Error: ")
        assert "not foreseen" not in done.stderr


def test_a_second_signal_ends_it_at_once(tmp_path):
    """Also one that waits for something that never ends."""
    ready = tmp_path / "ready"
    code = f"""
import pathlib, time
import converter.conversion
def never(*_, **__):
    try:
        pathlib.Path({str(ready)!r}).touch()
        time.sleep(60)
    finally:
        pathlib.Path({str(ready)!r}).unlink()
        time.sleep(60)
converter.conversion.convert = never
{PROGRAM}programs.convert_weights()
"""
    run = subprocess.Popen([sys.executable, "-c", code, str(PATH), str(tmp_path / "out.pth")])
    try:
        _until(ready.exists)
        run.send_signal(signal.SIGTERM)
        _until(lambda: not ready.exists())
        assert run.poll() is None
        run.send_signal(signal.SIGTERM)
        assert run.wait(timeout=5) == -signal.SIGTERM
    finally:
        run.kill()
        run.wait()


def _until(condition: object) -> None:
    end = time.monotonic() + 30
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_list_of_shards_that_is_too_deep_does_not_stop_a_folder(tmp_path):
    (tmp_path / "deep.weights.json").write_text("[" * 100_000)

    result = CliRunner().invoke(convert_weights, [str(tmp_path), str(tmp_path / "out")])

    assert result.exit_code == 3
    assert "not foreseen" not in result.stderr


def test_the_table_in_the_readme_has_every_exit_code():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    codes = {one.exit_code for one in ConvertError.__subclasses__()}

    assert {code for code in codes if f"\n| {code} |" in readme} == codes


def test_the_comparison_of_a_data_set_has_the_net_too(tmp_path, monkeypatch):
    monkeypatch.setattr("converter.verification.verify_images", broken)
    arguments = ["out.pth", "--images", str(tmp_path), "--against", "record.npz"]

    result = CliRunner().invoke(verify_weights, arguments)

    assert result.exit_code == 70
    assert len(result.stderr.splitlines()) == 1
