"""The original run by another interpreter, one that has the Keras which made it.

`old_keras/record_keras.py` needs nothing of this project: it is copied to a folder of its own and
run there, as a user would on the old machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

from converter.errors import ParityError, UsageError
from converter.parity.recording import Recording, read_record

SCRIPT = Path(__file__).parent / "old_keras" / "record_keras.py"

TIME_LIMIT = 1800
"""Seconds that the interpreter gets: Theano compiles for minutes."""

SHOWN = 8
"""Lines of another interpreter's last words that are shown."""


def ask_python(python: Path, source: Path, build: str | None, theano: bool) -> Recording:
    """What the Keras of the interpreter `python` computes for the model file `source`.

    `build` ('package.module:function') names the code that builds the model of a file of weights,
    found from the working directory. `theano` says that the file is of that backend; KERAS_BACKEND
    in the environment decides otherwise. The record is float32.

    Raises UsageError if the interpreter cannot be run, has no Keras, or lacks the model's code;
    ParityError if it breaks off.
    """
    with tempfile.TemporaryDirectory(prefix="convert-weights-") as name:
        record = Path(name) / "record.npz"
        script = shutil.copy(SCRIPT, name)
        command = [str(python), script, str(source.resolve()), str(record), "--whole"]
        command += ["--build", build] if build else []
        _run(python, command, theano)
        if not record.exists():  # the code that it runs ended it
            raise ParityError(f"{python} ended before it had recorded anything")
        found = read_record(record)
    return replace(found, oracle=found.oracle.replace("record of ", "") + f", run by {python}")


def _run(python: Path, command: list[str], theano: bool) -> None:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    if theano:
        environment.setdefault("KERAS_BACKEND", "theano")
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIME_LIMIT,
            check=False,
        )
    except OSError as error:
        raise UsageError(f"--keras-python {python} cannot be run: {error.strerror}") from error
    except subprocess.TimeoutExpired:
        raise ParityError(f"{python} was not done after {TIME_LIMIT} s") from None
    if done.returncode == 0:
        return
    words = [line for line in done.stderr.splitlines() if line.strip()]
    told = [n for n, line in enumerate(words) if line.startswith("record_keras: ")]
    if told:
        reason, *more = words[told[-1] :]
        raise UsageError(f"--keras-python {python}: {reason.removeprefix('record_keras: ')}", more)
    raise ParityError(f"{python} ended with {_ending(done.returncode)}", words[-SHOWN:])


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
