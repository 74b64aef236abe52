"""Everything this tool refuses to do, and the exit code of each.

ConvertError
├── ParityError       1  converted, but not equal, or not proven so: nothing is written
├── UsageError        2  the options do not fit each other
├── SourceError       3  SOURCE cannot be read, or is not a Keras file
├── UnsafeError       4  SOURCE is refused as unsafe, or is over a limit
├── MismatchError     5  the weights do not fit any network that is known, or the destination's
├── SanityError       6  the weights fit, but cannot be right (NaN, negative variance …)
├── TargetError       7  TARGET cannot be written
└── UnforeseenError  70  a fault of this program: nothing foresaw what it met
"""

from __future__ import annotations

import errno
import os
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SHOWN = 8
"""Findings that a message lists before it counts the rest."""

LINE = 600
"""Characters of one line: names in a file can be longer."""


class ConvertError(Exception):
    """A refusal: one headline, findings below it, hints what to do, and what these speak of: a
    `text` of its own, as it is."""

    exit_code = 1

    def __init__(
        self,
        headline: str,
        findings: Iterable[str] = (),
        hints: Iterable[str] = (),
        text: str = "",
    ) -> None:
        self.headline = _line(headline)
        self.findings = tuple(_line(finding) for finding in findings)
        self.hints = tuple(_line(hint) for hint in hints)
        self.text = text
        super().__init__(str(self))

    def __str__(self) -> str:
        shown = self.findings[:SHOWN]
        more = len(self.findings) - len(shown)
        lines = [self.headline, *(f"  {finding}" for finding in shown)]
        lines += [f"  … and {more} more"] if more else []
        lines += [f"hint: {hint}" for hint in self.hints]
        return "\n".join([*lines, *(["", self.text] if self.text else [])])


class ParityError(ConvertError):
    """`report` is the `converter.report.Report` of what was compared, where it came to that."""

    exit_code = 1
    report: Any = None


class UsageError(ConvertError):
    exit_code = 2


def why_unread(error: Exception) -> str:
    """Why a text could not be read, without its name, which is said beside it."""
    if isinstance(error, UnicodeDecodeError):
        return "it is no text in UTF-8"
    return str(getattr(error, "strerror", None) or error)


class SourceError(ConvertError):
    exit_code = 3


class UnsafeError(ConvertError):
    exit_code = 4


class MismatchError(ConvertError):
    exit_code = 5


class SanityError(ConvertError):
    exit_code = 6


class TargetError(ConvertError):
    exit_code = 7


class UnforeseenError(ConvertError):
    """Code 70 is sysexits.h's EX_SOFTWARE."""

    exit_code = 70


NO_MEMORY = (
    "can't start new thread",
    "Cannot allocate memory",
    "can't allocate memory",
    "not enough memory",
    "out of memory",
)
"""What Python, the loader and torch say of it, in errors of other classes than MemoryError."""


def as_refusal(error: Exception) -> ConvertError:
    """Any error as a refusal of one line: lack of memory or of threads as what it is, anything
    that is none of this module's as unforeseen, with the place that it comes from."""
    if isinstance(error, ConvertError):
        return error
    told = f"{type(error).__name__}: {error}".removesuffix(": ")
    lacks = isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
    if lacks or any(words in told for words in NO_MEMORY):
        return UnsafeError(f"not enough memory: {told}" if str(error) else "not enough memory")
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = "".join(f" ({os.path.basename(one.filename)}, line {one.lineno})" for one in last)
    told = shortened(told, LINE // 2)
    return UnforeseenError(f"not foreseen: {told}{where}; --debug shows more, please report it")


@contextmanager
def about(source: Path) -> Iterator[None]:
    """Refusals of what is in SOURCE name the file, where they do not already."""
    try:
        yield
    except (SourceError, UnsafeError, MismatchError, SanityError) as error:
        name = _line(str(source))
        if name not in error.headline:
            error.headline = f"{name}: {error.headline}"
        raise


def printable(text: str) -> str:
    """`text` with control characters escaped: names in a file are a stranger's."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def _line(text: str) -> str:
    """One line of a message, its middle left out if it is too long."""
    return shortened(text, LINE)


def shortened(text: str, length: int = 80) -> str:
    """Printable, its middle left out if it is longer."""
    shown = printable(text)
    if len(shown) <= length:
        return shown
    return f"{shown[: length // 2]} … {shown[-length // 2 :]}"
