"""The original run by another interpreter, one that has the Keras which made it.

`old_keras/record_keras.py` needs nothing of this project: it is copied to a folder of its own and
run there, as a user would on the old machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from converter.errors import ParityError, UsageError
from converter.files.checkpoint import Checkpoint
from converter.files.configuration_text import MAX_BYTES
from converter.files.leftovers import work_folder
from converter.files.model_config import with_code
from converter.parity.original.recording import Recording, read_record

SCRIPT = Path(__file__).parent / "old_keras" / "record_keras.py"

TIME_LIMIT = 1800
"""Seconds that the interpreter gets: Theano compiles for minutes."""

SHOWN = 8
"""Lines of another interpreter's last words that are shown."""


def ask_python(
    python: Path,
    source: Path,
    build: str | None,
    theano: bool,
    code: Path | None = None,
    config: Mapping[str, Any] | None = None,
) -> Recording:
    """What the Keras of the interpreter `python` computes for the model file `source`.

    `build` ('package.module:function(arguments)') names the code that builds the model of a file
    of weights, found in the folder `code` or the working directory; `config` is that model's
    configuration, where there is no such code. `theano` says that the file is of that backend;
    KERAS_BACKEND in the environment decides otherwise. The record is float32.

    Raises UsageError if the interpreter cannot be run, has no Keras, or lacks the model's code;
    ParityError if it breaks off.
    """
    with work_folder() as folder:
        record = folder / "record.npz"
        script = str(shutil.copy(SCRIPT, folder))
        command = [str(python), script, str(source.resolve()), str(record), "--whole"]
        command += building(build, code)
        if config and not build:
            text = folder / "model.json"
            text.write_text(json.dumps(config))
            command += ["--config", str(text)]
        _run(python, command, theano)
        if not record.exists():  # the code that it runs ended it
            raise ParityError(f"{python} ended before it had recorded anything")
        found = read_record(record)
    return replace(found, oracle=found.oracle.replace("record of ", "") + f", run by {python}")


def refuse_code(checkpoint: Checkpoint) -> None:
    """Raise UsageError for a model that Keras cannot load without running code that is in the file:
    another interpreter's Keras is not told to leave it."""
    config = checkpoint.given.config if checkpoint.given else checkpoint.config
    names = with_code(config) if config else []
    if names:
        raise UsageError(
            f"--keras-python would run code that is in {checkpoint.path.name}, and nothing in a "
            f"file is run: that of {', '.join(map(repr, names[:4]))}",
            hints=[
                "if you trust it, scripts/record_keras.py records the original there; "
                "--against RECORD.npz takes that"
            ],
        )


def built(build: str, code: Path | None = None, python: Path | None = None) -> bytes | None:
    """The `to_json()` of the model that the user's own code builds, in a process of its own: in
    the interpreter `python`, or in this one. None for a model that has none.

    Raises UsageError where that code ends with an error, which is shown as its own.
    """
    interpreter = python or Path(sys.executable)
    with work_folder() as folder:
        text = folder / "model.json"
        script = str(shutil.copy(SCRIPT, folder))
        command = [str(interpreter), script, "-", str(text), "--config-only"]
        _run(interpreter, [*command, *building(build, code)], False, python is not None)
        if not text.exists():
            return None
        with text.open("rb") as file:
            return file.read(MAX_BYTES + 1)  # what is more is refused where it is parsed


def building(build: str | None, code: Path | None) -> list[str]:
    """The options of record_keras.py that name the code that builds a model."""
    if not build:
        return []
    return ["--build", build, *(["--code", str(code.resolve())] if code else [])]


def _run(python: Path, command: list[str], theano: bool, is_another: bool = True) -> None:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    if theano:
        environment.setdefault("KERAS_BACKEND", "theano")
    environment["RECORD_KERAS_WATCHES"] = "stdin"  # and ends when it closes
    leash, held = os.pipe()  # this process holds the other end, and nobody else has it
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=leash,
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
    finally:
        os.close(leash)
        os.close(held)
    if done.returncode == 0:
        return
    words = [line for line in done.stderr.splitlines() if line.strip()]
    told = [n for n, line in enumerate(words) if line.startswith("record_keras: ")]
    if told:
        reason, *more = words[told[-1] :]
        reason = reason.removeprefix("record_keras: ")
        where = f"--keras-python {python}: " if is_another else "--build: "
        raise UsageError(f"{where}{reason}", more)
    raise ParityError(f"{python} ended with {_ending(done.returncode)}", words[-SHOWN:])


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
