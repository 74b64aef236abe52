"""Standard output and error that are closed, full or read by nobody.

What is said on standard error is for people: where it cannot be said, the work and its exit code
are as they would have been. Data on standard output is asked for: a reader that has gone away
(`| head`) has what it wanted, and data that a full disk did not take is an error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from converter.errors import TargetError


@contextmanager
def own_streams() -> Iterator[None]:
    """While the context lasts, writing to the standard streams fails in no other way than with
    TargetError, for data that is asked for."""
    _open_descriptors()
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _wrapped(sys.stdout, True), _wrapped(sys.stderr, False)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _open_descriptors() -> None:
    """Give the numbers 0 to 2 to nothing, where they are closed: the next file that is opened would
    have one of them, and be written over by what is said."""
    for number in (0, 1, 2):
        with suppress(OSError):
            if not _is_open(number):  # then it is the lowest that is free
                os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _wrapped(stream: Any, is_asked_for: bool) -> Any:
    if stream is None:  # closed when Python began
        return open(os.devnull, "w", encoding="utf-8")
    return stream if isinstance(stream, _Stream) else _Stream(stream, is_asked_for)


class _Stream:
    """A stream to write to, which says itself what cannot be written, or keeps still."""

    def __init__(self, stream: Any, is_asked_for: bool) -> None:
        self._stream, self._is_asked_for = stream, is_asked_for
        self._failure: OSError | None = None

    def write(self, text: Any) -> int:
        with self._telling():
            return int(self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        with self._telling():
            self._stream.flush()

    @property
    def buffer(self) -> Any:
        return _Stream(self._stream.buffer, self._is_asked_for)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        """Once it has failed it fails again: click tries a stream, and takes no notice."""
        try:
            yield
        except OSError as error:
            self._failure = error
            self._lead_nowhere()
        if self._failure and self._is_asked_for and not isinstance(self._failure, BrokenPipeError):
            reason = self._failure.strerror or self._failure
            raise TargetError(f"standard output cannot be written: {reason}") from self._failure

    def _lead_nowhere(self) -> None:
        """What waits in the buffers is lost: Python would try again, and fail, as it ends."""
        with suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)
