"""What every command does around its work: messages, exit codes, signals, the report's file."""

from __future__ import annotations

import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from converter.cli.streams import own_streams
from converter.errors import ParityError, TargetError, UsageError, as_refusal

if TYPE_CHECKING:
    from converter.report import Report


def with_options(*options: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Apply click options so that `--help` lists them in this order."""
    return lambda command: functools.reduce(lambda c, option: option(c), options[::-1], command)


def guarded(command: Callable[..., int]) -> Callable[..., None]:
    """Turn refusals, and whatever else a command raises, into messages and exit codes, and signals
    into 130 and 143."""

    @functools.wraps(command)
    def run(*args: Any, debug: bool, **kwargs: Any) -> None:
        for number in _signals():
            if signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` sets it
                signal.signal(number, _terminate)
        with own_streams():
            try:
                _check_folder()
                code = command(*args, **kwargs)
            except (click.ClickException, click.exceptions.Exit, click.Abort):
                raise
            except Exception as error:
                code = told(error, debug)
        sys.exit(code)

    return run


def _check_folder() -> None:
    """A relative path leads nowhere from a folder that is gone, and Intel's MKL ends the process
    that loads it there."""
    try:
        os.getcwd()
    except OSError as error:
        raise UsageError("the working folder is gone: change to one that is there") from error


def told(error: Exception, debug: bool = False) -> int:
    """Say what went wrong, with `debug` all of it; the exit code."""
    refusal = as_refusal(error)
    if debug:
        traceback.print_exception(error)
    click.echo(f"Error: {refusal}", err=True)
    return refusal.exit_code


def _signals() -> list[int]:
    """Those that end a command; Windows has no SIGHUP."""
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


def _terminate(number: int, frame: Any) -> None:
    """Leave through every `finally`, so that a draft is removed; a second signal does not wait for
    that."""
    for one in _signals():
        signal.signal(one, signal.SIG_DFL)
    sys.exit(128 + number)


def check_report(report: Path, *others: Path | None) -> None:
    """Refuse, before anything is converted, a report that cannot be written or would replace
    another file of this run."""
    from converter.reports import format_of

    try:
        real = os.path.realpath(report)
    except OSError as error:
        raise TargetError(f"--report {report} cannot be written: {error.strerror}") from error
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
    from converter.files.publish import draft
    from converter.reports import format_of

    rendered = format_of(path).render(report.to_dict())
    with draft(Path(os.path.realpath(path)), force=True) as one:
        one.file.write(rendered)
        one.finish()
