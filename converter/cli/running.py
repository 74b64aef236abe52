"""What every command does around its work: messages, exit codes, signals, the report's file."""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from converter.errors import ConvertError, ParityError, TargetError, UsageError

if TYPE_CHECKING:
    from converter.report import Report


def with_options(*options: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Apply click options so that `--help` lists them in this order."""
    return lambda command: functools.reduce(lambda c, option: option(c), options[::-1], command)


def guarded(command: Callable[..., int]) -> Callable[..., None]:
    """Turn refusals into messages and exit codes, and signals into 130 and 143."""

    @functools.wraps(command)
    def run(*args: Any, debug: bool, **kwargs: Any) -> None:
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number and signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` sets it
                signal.signal(number, _terminate)
        try:
            sys.exit(command(*args, **kwargs))
        except ConvertError as error:
            if debug:
                raise
            click.echo(f"Error: {error}", err=True)
            sys.exit(error.exit_code)
        except MemoryError:
            click.echo("Error: not enough memory", err=True)
            sys.exit(4)

    return run


def _terminate(number: int, frame: Any) -> None:
    """Leave through every `finally`, so that a draft is removed; a second signal waits."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def check_report(report: Path, *others: Path | None) -> None:
    """Refuse, before anything is converted, a report that cannot be written or would replace
    another file of this run."""
    from converter.reports import format_of

    real = os.path.realpath(report)
    if any(other and _same_file(real, os.path.realpath(other)) for other in others):
        raise UsageError(f"--report {report} is a file that this conversion reads or writes")
    if os.path.isdir(real) or not os.path.isdir(os.path.dirname(real)):
        why = "it is a folder" if os.path.isdir(real) else "its folder is not there"
        raise TargetError(f"--report {report} cannot be written: {why}")
    format_of(report)


def _same_file(one: str, other: str) -> bool:
    return one == other or (
        os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)
    )


@contextmanager
def failure_reported(path: Path | None) -> Iterator[None]:
    """Write the report of a proof that fails, where one is asked for."""
    try:
        yield
    except ParityError as error:
        if path and error.report:
            write_report(error.report, path)
        raise


def write_report(report: Report, path: Path) -> None:
    """Whole or not there, like the target; an older report is replaced."""
    from converter.publish import draft
    from converter.reports import format_of

    rendered = format_of(path).render(report.to_dict())
    with draft(Path(os.path.realpath(path)), force=True) as one:
        one.file.write(rendered)
        one.finish()
