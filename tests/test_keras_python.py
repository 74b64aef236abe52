"""Another interpreter as the oracle: a stand-in for it records what it was asked, and answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from edits import assert_refused, run
from helpers import fixture, record, weights_only

from converter.conversion import convert
from converter.errors import ParityError, UsageError
from converter.parity.original import keras_python
from converter.parity.original.keras_python import SCRIPT, ask_python

PATH = fixture("keras-2.2.4-tensorflow")


def stand_in(folder, body):
    """An interpreter: the words of its command line come as `sys.argv`, its script first."""
    path = folder / "python3.6"
    path.write_text(f"#!{sys.executable}\nimport json, os, shutil, sys, time\n{body}\n")
    path.chmod(0o755)
    return path


def answering(folder):
    """It writes the fixture's record, and beside it what it was asked; of a configuration it knows
    nothing."""
    body = f"""
if "--config-only" in sys.argv:
    sys.exit()
shutil.copy({str(record(PATH))!r}, sys.argv[3])
asked = {{"argv": sys.argv[1:], "backend": os.environ.get("KERAS_BACKEND"), "cwd": os.getcwd(),
         "script": open(sys.argv[1]).read()}}
json.dump(asked, open({str(folder / "asked.json")!r}, "w"))"""
    return stand_in(folder, body)


def asked(folder):
    return json.loads((folder / "asked.json").read_text())


@pytest.mark.slow
def test_the_original_is_run_by_the_interpreter_and_compared(tmp_path):
    python = answering(tmp_path)

    report = convert(PATH, tmp_path / "out.pth", keras_python=python, device="cpu")

    assert report.verdict == "equal"
    assert report.parity.oracle == f"Keras 2.2.4 on tensorflow, run by {python}"
    words = asked(tmp_path)["argv"]
    assert words[1] == str(PATH)
    assert words[3:] == ["--whole"]
    assert asked(tmp_path)["script"] == SCRIPT.read_text()  # a copy of the one file
    assert not Path(words[0]).exists()


@pytest.mark.slow
def test_its_answer_decides_what_weights_alone_leave_open(tmp_path):
    alone = weights_only(PATH, tmp_path)
    python = answering(tmp_path)
    options = {"keras_python": python, "build": "project.resnet:make", "device": "cpu"}

    report = convert(alone, tmp_path / "out.pth", **options, bn_eps=1e-3)

    assert report.verdict == "equal"
    assert len(report.trials) > 1
    assert asked(tmp_path)["argv"][3:] == ["--whole", "--build", "project.resnet:make"]
    assert asked(tmp_path)["cwd"] == os.getcwd()  # where the project's code is


@pytest.mark.slow
def test_a_wrong_conversion_is_refused(tmp_path):
    result = run(
        PATH, tmp_path / "out.pth", "--keras-python", answering(tmp_path), "--pool", "valid"
    )

    assert_refused(result, 1, tmp_path / "out.pth")
    assert "the first layer that is known to differ is max_pooling2d_1" in result.stderr


@pytest.mark.parametrize(("theano", "backend"), [(True, "theano"), (False, None)])
def test_a_file_of_theano_is_run_on_theano(theano, backend, tmp_path, monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)

    ask_python(answering(tmp_path), PATH, None, theano)

    assert asked(tmp_path)["backend"] == backend


def refused(tmp_path, body):
    """The refusal that a stand-in leads to."""
    python = stand_in(tmp_path, body)
    with pytest.raises((UsageError, ParityError)) as error:
        ask_python(python, PATH, None, False)
    return error.value


def test_an_interpreter_without_keras_is_told_in_its_own_words(tmp_path):
    body = """
sys.stderr.write("a warning\\nrecord_keras: cannot import keras: No module named 'keras'\\n")
sys.exit(2)"""
    error = refused(tmp_path, body)

    assert error.exit_code == 2
    assert error.headline == (
        f"--keras-python {tmp_path / 'python3.6'}: cannot import keras: No module named 'keras'"
    )


def test_an_interpreter_that_breaks_off_is_told_with_its_last_words(tmp_path):
    error = refused(tmp_path, "raise RuntimeError('no such layer')")

    assert error.exit_code == 1
    assert error.headline.endswith("ended with exit code 1")
    assert error.findings[-1] == "RuntimeError: no such layer"


def test_an_interpreter_that_is_killed_is_told(tmp_path):
    error = refused(tmp_path, "os.kill(os.getpid(), 9)")

    assert error.headline.endswith("ended with signal 9")


def test_an_interpreter_that_ends_without_a_record_is_told(tmp_path):
    error = refused(tmp_path, "sys.exit(0)")

    assert error.exit_code == 1
    assert error.headline == f"{tmp_path / 'python3.6'} ended before it had recorded anything"


@pytest.mark.slow
def test_an_interpreter_that_does_not_end_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(keras_python, "TIME_LIMIT", 0.5)

    assert refused(tmp_path, "time.sleep(60)").headline.endswith("was not done after 0.5 s")


def test_what_is_no_interpreter_is_a_usage_error(tmp_path):
    result = run(PATH, tmp_path / "out.pth", "--keras-python", tmp_path / "nowhere")

    assert_refused(result, 2, tmp_path / "out.pth")
    assert "cannot be run: No such file or directory" in result.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--build", "a:b"), "is a whole model, whose own configuration says"),
        (("--keras-python", "python", "--against", "r.npz"), "give one"),
    ],
)
def test_options_that_do_not_go_together_are_a_usage_error(options, words, tmp_path):
    result = run(PATH, tmp_path / "out.pth", *options)

    assert_refused(result, 2, tmp_path / "out.pth")
    assert words in result.stderr


def test_weights_alone_need_the_code_that_builds_their_network(tmp_path):
    alone = weights_only(PATH, tmp_path)

    result = run(alone, tmp_path / "out.pth", "--keras-python", answering(tmp_path))

    assert_refused(result, 2, tmp_path / "out.pth")
    assert "hint: give its configuration, --config model.json" in result.stderr
    assert "--build 'package.module:function(arguments)'" in result.stderr


def test_the_script_says_in_one_line_that_there_is_no_keras(tmp_path):
    """The real file, alone in a folder, in an interpreter that finds no Keras."""
    path = tmp_path / "record_keras.py"
    path.write_bytes(SCRIPT.read_bytes())
    blocked = "import sys; sys.modules.update(keras=None, tensorflow=None, tf_keras=None); "
    code = f"{blocked}import runpy; sys.argv = ['x', {str(PATH)!r}, 'r.npz']; "
    code += f"runpy.run_path({str(path)!r}, run_name='__main__')"

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )

    assert done.returncode == 2
    assert done.stderr.startswith("record_keras: cannot import keras or tensorflow.keras")
    assert len(done.stderr.splitlines()) == 1


def test_scripts_has_the_same_file():
    scripts = Path(__file__).parent.parent / "scripts" / "record_keras.py"

    assert scripts.read_bytes() == SCRIPT.read_bytes()


@pytest.mark.slow
@pytest.mark.keras
def test_the_current_interpreter_runs_a_model_whole(tmp_path):
    report = convert(
        fixture("keras-3.15-nested-head"),
        tmp_path / "out.pth",
        keras_python=Path(sys.executable),
        device="cpu",
    )

    assert report.verdict == "equal"
    assert report.parity.oracle.startswith("Keras 3")
    assert len(report.parity.layers) == 57
    assert all(one.own and one.own.relative < 1e-5 for one in report.parity.layers)
    assert {np.dtype(one.dtype) for one in report.parity.layers} == {np.dtype("float32")}
