"""The commands as installed programs: they end at once, with all that they have said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import fixture

from converter.cli import programs

PATH = fixture("keras-2.2.4-tensorflow")
ROOT = Path(__file__).parents[1]


def ended(name: str, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a program in a process that would say so if Python ended it."""
    code = (
        "import atexit, sys; atexit.register(print, 'freed all that there is', file=sys.stderr)\n"
        f"sys.argv[0] = {name!r}\n"
        f"from converter.cli.programs import {name.replace('-', '_')} as run; run()"
    )
    command = [sys.executable, "-c", code, *arguments]
    given = {"stdout": subprocess.PIPE, **options}
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, **given)  # type: ignore[call-overload,no-any-return]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code"),
    [([str(PATH)], 0), ([str(PATH), "--json"], 0), (["none.h5"], 3), (["--nothing"], 2)],
    ids=["lines", "json", "refused", "usage"],
)
def test_a_program_ends_at_once_with_its_exit_code(arguments, code):
    done = ended("inspect-weights", *arguments)

    assert done.returncode == code
    assert "freed all" not in done.stderr
    assert bool(done.stdout) == (code == 0)
    assert done.stdout.endswith("\n") or code


@pytest.mark.slow
def test_a_conversion_is_whole(tmp_path):
    target = tmp_path / "out.pth"

    done = ended("convert-weights", str(PATH), str(target), "--no-parity")

    assert done.returncode == 0, done.stderr
    assert "freed all" not in done.stderr
    assert "out.pth is written" in done.stderr
    assert list(tmp_path.iterdir()) == [target]


def test_what_waits_in_the_streams_is_said():
    """Without a newline behind it, and into a pipe."""
    code = (
        "import sys; from converter.cli import programs\n"
        "programs.run(lambda: sys.exit(0 * sys.stdout.write('x' * 5000)))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-c", code]

    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)

    assert done.stdout == "x" * 5000


@pytest.mark.slow
def test_nobody_to_read_is_no_success():
    with open("/dev/full", "w") as full:
        done = ended("inspect-weights", str(PATH), stdout=full)

    assert done.returncode not in (0, 3)


@pytest.mark.parametrize(
    "name", ["convert-weights", "inspect-weights", "verify-weights", "predict"]
)
def test_what_is_installed_are_these(name):
    function = name.replace("-", "_")

    assert callable(getattr(programs, function))
    installed = f'{name} = "converter.cli.programs:{function}"'
    assert installed in (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
