"""The reader's process: opens one file, says what is in it, and sends the arrays asked for.

Started by `reader` with numpy and h5py, and neither torch nor Keras. It holds itself to limits
before it looks at the file: narrow ones while the file is opened, which is where damaged HDF5 hangs
and grows, then as much as the arrays need that the manifest declares.
"""

from __future__ import annotations

import io
import json
import math
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from converter.discover import modules
from converter.errors import ConvertError, MismatchError, SourceError, UnsafeError
from converter.files.checkpoint import Array, Checkpoint
from converter.files.configuration_file import configuration_here
from converter.files.given import Given
from converter.files.isolation import wire
from converter.files.isolation.limits import Limits, relax, restrict
from converter.files.isolation.parent import end_with_parent
from converter.files.source import read_here

OPENING = Limits(memory=192 * 2**20, seconds=6)
"""For the manifest: about eight times what a ResNet-152 of a detector takes. Twice the file's size
is added, for containers that are unpacked in memory."""

READING = Limits(memory=2**30, seconds=600)
"""For the arrays; three times the largest one is added."""


def main() -> None:
    """Serve the file that the first line names, until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller was interrupted too, and ends this
    end_with_parent()
    modules("converter.files.readers")  # imported before files are limited
    work(sys.stdin.buffer, cast(io.BufferedWriter, sys.stdout.buffer).raw)


def work(requests: Any, answers: Any) -> None:
    """Do what the first line of `requests` says; nothing, if there is none."""
    first = requests.readline()
    if first:
        job = json.loads(first)
        os.chdir(job["folder"])  # it may have started early, and elsewhere
        if job.get("is_configuration"):
            serve_configuration(Path(job["path"]), answers)
        else:
            given = Given(**job["given"]) if job.get("given") else None
            serve(Path(job["path"]), requests, answers, given)


def serve_configuration(path: Path, answers: Any) -> None:
    """Send the configuration in a file, or a refusal."""
    try:
        narrow(path)
        with failures(path):
            found = configuration_here(path)
        send(answers, wire.MANIFEST, json.dumps(found).encode())
    except ConvertError as error:
        refuse(answers, error)


def narrow(path: Path) -> tuple[str, ...]:
    """Hold this process to the limits for opening a file; what cannot be limited, in words."""
    size = os.path.getsize(path) if path.is_file() else 0
    more = replace(OPENING, memory=OPENING.memory + 2 * size)
    return restrict(more, room=replace(READING, memory=2**40))


def refuse(answers: Any, error: ConvertError) -> None:
    cause = "".join(traceback.format_exception(error.__cause__ or error))
    send(answers, wire.FAILURE, wire.pack_failure(error, cause))


def serve(path: Path, requests: Any, answers: Any, given: Given | None = None) -> None:
    """Send the manifest, then the arrays of each request; a refusal ends it."""
    try:
        lacking = narrow(path)
        with failures(path), ExitStack() as stack:
            checkpoint = stack.enter_context(read_here(path, given))
            send(answers, wire.MANIFEST, wire.pack_manifest(noted(checkpoint, lacking)))
            relax(replace(READING, memory=READING.memory + 3 * largest(checkpoint)))
            for line in requests:
                for tag, content in arrays(checkpoint, json.loads(line)):
                    send(answers, tag, content)
    except ConvertError as error:
        refuse(answers, error)


@contextmanager
def failures(path: Path) -> Iterator[None]:
    """Whatever HDF5 raises on a damaged file (KeyError, OSError, RuntimeError, UnicodeError …) as a
    refusal."""
    try:
        yield
    except (ConvertError, BrokenPipeError):
        raise
    except Exception as error:
        if isinstance(error, MemoryError) or "memory allocation failed" in str(error):
            raise UnsafeError(
                f"{path} needs more memory than a file of its size should",
                hints=["the file is damaged, or made to do this: fetch it again from its source"],
            ) from error
        found = f"{type(error).__name__}: {error}"
        raise SourceError(f"{path} is damaged: it cannot be read", [found[:200]]) from error


def noted(checkpoint: Checkpoint, lacking: Sequence[str]) -> Checkpoint:
    """The checkpoint, with a note of what this platform does not limit."""
    if not lacking:
        return checkpoint
    note = f"read without a limit on {', '.join(lacking)}: this platform has none"
    return replace(checkpoint, notes=(*checkpoint.notes, note))


def largest(checkpoint: Checkpoint) -> int:
    """Bytes of the largest array, in float64."""
    return 8 * max((math.prod(weight.shape) for weight in checkpoint.weights), default=0)


def arrays(checkpoint: Checkpoint, numbers: Sequence[int]) -> Iterator[tuple[bytes, Array]]:
    """(tag, array) of each weight that is asked for, in that order."""
    for weight, array in checkpoint.arrays([checkpoint.weights[number] for number in numbers]):
        dtype = array.dtype.newbyteorder("<")
        if wire.tag(dtype.str) not in wire.DTYPES or array.shape != weight.shape:
            raise MismatchError(f"{weight} holds {array.dtype} {array.shape}: no float16, 32 or 64")
        yield wire.tag(dtype.str), np.ascontiguousarray(array, dtype)


def send(answers: Any, tag: bytes, content: Any) -> None:
    """One frame, however many writes a pipe needs for it."""
    view = memoryview(content)
    view = view.cast("B") if view.nbytes else memoryview(b"")
    for part in (memoryview(wire.HEADER.pack(tag, len(view))), view):
        sent = 0
        while sent < len(part):
            sent += answers.write(part[sent:])


if __name__ == "__main__":
    main()
