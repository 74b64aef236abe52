"""SOURCE, opened: a path becomes a `Checkpoint` that a process of its own reads.

The child (`child`) parses the file under limits and is killed when it stalls;
what it says is checked here before it is believed.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from converter.errors import ConvertError, UnsafeError, about
from converter.files.checkpoint import Array, Checkpoint, Weight
from converter.files.configuration_text import check_bounds
from converter.files.given import Config, Given
from converter.files.isolation import process, wire

STALL = 12.0
"""Seconds without a byte after which the child is killed."""
TICK = 0.5


@contextmanager
def open_checkpoint(path: Path, given: Given | None = None) -> Iterator[Checkpoint]:
    """The checkpoint in the file at `path`, readable while the context lasts; of a file of weights
    for which a configuration is `given`, as the whole model that it was.

    Raises SourceError for what is no Keras file, UnsafeError for what is dangerous to read, hangs
    or crashes the reader, and MismatchError for arrays that no network has.
    """
    reader = Reader(process.take())
    try:
        with about(path):
            checkpoint = reader.open(path, given)
        yield checkpoint
    finally:
        reader.close()


def open_configuration(path: Path) -> Config:
    """The configuration in the file at `path`: the text of `to_json` or `to_yaml`, a whole model,
    or a record.

    Raises SourceError for a file that has none, UnsafeError for one that is over a limit or would
    make objects, MismatchError for a model of Keras 0.
    """
    reader = Reader(process.take(process.FOR_TEXT))
    try:
        with about(path):
            return reader.configuration(path)
    finally:
        reader.close()


class Reader:
    """The caller's end: asks, and checks every answer."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self.child = child
        self.requests: Any = child.stdin
        self.answers: Any = child.stdout
        self.path = Path()
        self.owed: deque[Weight] = deque()
        self.number_of: dict[Weight, int] = {}
        self.watchdog = _Watchdog(child)

    def open(self, path: Path, given: Given | None = None) -> Checkpoint:
        answer = self._first_answer(path, {"given": asdict(given)} if given else {})
        try:
            checkpoint = wire.unpack_manifest(answer, path, self.arrays)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._confused(f"{error}") from error
        self.number_of = {weight: number for number, weight in enumerate(checkpoint.weights)}
        return replace(checkpoint, given=given)

    def configuration(self, path: Path) -> Config:
        answer = self._first_answer(path, {"is_configuration": True})
        try:
            found = json.loads(answer)
        except (ValueError, RecursionError) as error:
            raise self._confused(f"{error}") from error
        if not isinstance(found, dict):
            raise self._confused("no configuration")
        check_bounds(found)
        return found

    def _first_answer(self, path: Path, job: Mapping[str, Any]) -> bytes:
        self.path = path
        self.watchdog.start()
        self._ask({"path": os.fspath(path), "folder": os.getcwd(), **job})
        tag, length = self._header()
        if tag != wire.MANIFEST:
            raise self._confused(f"{tag!r} for a manifest")
        return self._bytes(length)

    def arrays(self, weights: Iterable[Weight]) -> Iterator[tuple[Weight, Array]]:
        """The arrays of `weights`, in this order; the child reads ahead while they are used.

        One reading at a time: what a reading left unread is dropped by the next one.
        """
        while self.owed:
            self._receive(self.owed.popleft())
        wanted = tuple(weights)
        owed = self.owed = deque(wanted)
        self._ask([self.number_of[weight] for weight in wanted])
        for weight in wanted:
            if owed is not self.owed:
                raise RuntimeError("another reading of the arrays began before this one ended")
            yield weight, self._receive(owed.popleft())

    def close(self) -> None:
        """End the child; it has nothing to lose."""
        self.watchdog.over.set()
        self.child.kill()
        self.child.wait()
        self.requests.close()
        self.answers.close()

    def _ask(self, request: Any) -> None:
        line = memoryview(json.dumps(request).encode() + b"\n")
        with suppress(BrokenPipeError):  # why it died is said where its answer is missing
            while line:
                line = line[self.requests.write(line) :]

    def _receive(self, weight: Weight) -> Array:
        tag, length = self._header()
        dtype = np.dtype(wire.DTYPES.get(tag, "V"))
        if length != math.prod(weight.shape) * dtype.itemsize:
            raise self._confused(f"{length:,} bytes of {tag!r} for {weight} {weight.shape}")
        array = np.empty(weight.shape, dtype)
        if length:
            self._fill(array.reshape(-1).view(np.uint8).data)
        return array.astype(dtype.newbyteorder("="), copy=False)

    def _header(self) -> tuple[bytes, int]:
        """The next frame's (tag, length); a refusal is raised."""
        tag, length = wire.HEADER.unpack(self._bytes(wire.HEADER.size))
        if length > wire.MAX_TEXT and tag in (wire.MANIFEST, wire.FAILURE):
            raise self._confused(f"{length:,} bytes of text")
        if tag == wire.FAILURE:
            raise self._refusal(self._bytes(length))
        return tag, length

    def _refusal(self, content: bytes) -> ConvertError:
        try:
            return wire.unpack_failure(content)
        except (ValueError, KeyError, TypeError) as error:
            return self._confused(f"{error}")

    def _bytes(self, length: int) -> bytes:
        content = bytearray(length)
        self._fill(memoryview(content))
        return bytes(content)

    def _fill(self, view: memoryview) -> None:
        """Read exactly as much as `view` holds, or say why the child did not send it."""
        while view:
            with self.watchdog.waiting():
                received = self.answers.readinto(view)
            if not received:
                raise self._death()
            view = view[received:]

    def _death(self) -> UnsafeError:
        try:
            code = self.child.wait(timeout=2)
        except subprocess.TimeoutExpired:  # its pipe is closed, and it lives
            self.child.kill()
            code = self.child.wait()
        if self.watchdog.bit:
            why = f"gave no answer for {STALL:.0f} s and was ended"
        elif code < 0 and -code == getattr(signal, "SIGXCPU", None):
            why = "took more processor time than any such file needs and was ended"
        elif code < 0:
            why = f"was ended by {signal.Signals(-code).name}"
        else:
            why = f"ended with exit code {code}"
        return UnsafeError(
            f"{self.path} cannot be read safely: the process that reads it {why}",
            hints=["the file is damaged, or made to do this: fetch it again from its source"],
        )

    def _confused(self, what: str) -> UnsafeError:
        return UnsafeError(
            f"{self.path} cannot be read safely: the process that reads it gave an answer that "
            "cannot be",
            [what[:200]],
        )


class _Watchdog(threading.Thread):
    """Kills a child that lets its caller wait for too long. It counts its own ticks, not the
    clock: a run that was stopped (Ctrl-Z) and goes on has not waited."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        super().__init__(daemon=True, name="watchdog of the reader")
        self.child = child
        self.over = threading.Event()
        self.is_waiting = False
        self.waited = 0.0
        self.bit = False

    @contextmanager
    def waiting(self) -> Iterator[None]:
        self.waited, self.is_waiting = 0.0, True
        try:
            yield
        finally:
            self.is_waiting = False

    def run(self) -> None:
        while not self.over.wait(TICK):
            self.waited += TICK if self.is_waiting else 0
            if self.waited >= STALL:
                self.bit = True
                self.child.kill()
                return
