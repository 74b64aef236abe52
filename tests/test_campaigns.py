"""The campaigns in short, always with one seed, so that a failure here is a change of ours.
In full: docs/robustness.md."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "scripts"


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("fuzz.py", "--short", "--only", "reader"),
        ("fuzz.py", "--short", "--only", "command"),
        ("fuzz.py", "--short", "--only", "load"),
        ("fuzz.py", "--short", "--only", "archive"),
        ("fuzz.py", "--short", "--only", "shards"),
        ("fuzz.py", "--short", "--only", "record"),
        ("fuzz.py", "--short", "--only", "config"),
        ("fuzz.py", "--short", "--only", "converted"),
        ("fuzz.py", "--short", "--only", "pictures"),
        ("crash.py", "--short"),
    ],
    ids=lambda arguments: arguments[0][:-3] + "".join(f"-{a}" for a in arguments[3:]),
)
def test_no_case_fails(arguments, tmp_path):
    script, *options = arguments
    keep = ["--keep", str(tmp_path)] if script == "fuzz.py" else []
    command = [sys.executable, str(SCRIPTS / script), *options, *keep]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_reader_that_is_wrong_is_noticed(tmp_path):
    """The anti-test: one number of every array changed on its way."""
    code = f"""
import sys
sys.path[:0] = [{str(SCRIPTS)!r}]
import fuzz
read = fuzz.reader.Reader._receive
def wrong(*arguments):
    array = read(*arguments)
    array.flat[0] += 1
    return array
fuzz.reader.Reader._receive = wrong
sys.argv = ["fuzz.py", "--only", "reader", "--cases", "10", "--keep", {str(tmp_path)!r}]
sys.exit(fuzz.main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode > 0, done.stderr
    assert "FAILED: other numbers than a plain reading gives" in done.stdout
    assert len(list(tmp_path.iterdir())) == done.returncode


@pytest.mark.slow
def test_an_archive_whose_checksums_nobody_compares_is_noticed(tmp_path):
    """The anti-test: what is read is damaged, and other numbers come out."""
    code = f"""
import sys
sys.path[:0] = [{str(SCRIPTS)!r}]
import fuzz
import converter.files.readers.archive as archive
archive._check_sum = lambda *arguments: None
sys.argv = ["fuzz.py", "--only", "archive", "--cases", "13", "--keep", {str(tmp_path)!r}]
sys.exit(fuzz.main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode > 0, done.stderr
    assert "FAILED: a damaged archive was taken, with other numbers" in done.stdout


@pytest.mark.parametrize(
    ("key", "before", "after", "is_silent"),
    [
        ("strides", [2, 2], [2.5, 2], True),
        ("filters", 1, True, True),
        ("use_bias", True, 0, True),
        ("use_bias", True, 1, False),
        ("epsilon", 1e-3, 10**21, True),
        ("dilation_rate", [1, 1], [1, True], True),
        ("kernel_size", [3, 3], 1, True),
        ("kernel_size", [3, 3], 3, False),
        ("compiled epsilon", 1e-7, 2, False),
        ("strides", [2, 2], [2, 2], False),
        ("epsilon", 1, 1.0, False),
        ("seed", 1, 2, False),
    ],
)
def test_a_setting_that_changes_without_a_word_is_noticed(key, before, after, is_silent):
    sys.path[:0] = [str(SCRIPTS)]
    try:
        import doors
    finally:
        sys.path.remove(str(SCRIPTS))

    assert bool(doors.silent([(key, before, after)], same=True)) == is_silent
    assert not doors.silent([(key, before, after)], same=False)


@pytest.mark.slow
def test_a_writer_that_truncates_is_noticed():
    """The anti-test: the target is opened for writing before the draft is whole."""
    code = f"""
import sys
sys.path[:0] = [{str(SCRIPTS)!r}]
import crash
whole = crash.publish._publish
def in_place(path, target, force):
    content = path.read_bytes()
    with target.open("wb") as file:
        for start in range(0, len(content), 1000):
            file.write(content[start : start + 1000])
            crash.time.sleep(0.002)
crash.publish._publish = in_place
sys.argv = ["crash.py", "--only", "kill", "--cases", "12"]
sys.exit(crash.main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode > 0, done.stderr
    assert "lost" in done.stdout


def test_every_mutant_has_its_line():
    """`scripts/mutate.py` takes an hour and is no test: what it changes must still be there."""
    found = runpy.run_path(str(SCRIPTS / "mutate.py"))

    gone = [
        (path, old) for path, old, _ in found["MUTANTS"] if old not in (ROOT / path).read_text()
    ]
    assert gone == []
    assert found["EXPLAINED"].keys() <= {(old, new) for _, old, new in found["MUTANTS"]}
