"""The commands as the programs that are installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial

from converter import cli
from converter.cli.running import told
from converter.cli.streams import own_streams
from converter.errors import TargetError


def run(command: Callable[[], object]) -> None:
    """Run a command, and end the process with it.

    At once, as mypy does (`mypy.util.hard_exit`): as Python ends, torch frees for a third of a
    second what the system takes back anyway. By then the command has closed all that it opened.
    """
    with own_streams():
        try:
            code = ended(command)
        except Exception as error:
            code = told(error)
        code = flushed(code)
    os._exit(code)


def ended(command: Callable[[], object]) -> int:
    """The exit code that a command ends with."""
    try:
        command()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def flushed(code: int) -> int:
    """The exit code, when all that was said has been written: another one if only that fails."""
    try:
        sys.stdout.flush()
    except TargetError as error:
        return code or told(error)
    finally:
        sys.stderr.flush()
    return code


convert_weights = partial(run, cli.convert_weights)
inspect_weights = partial(run, cli.inspect_weights)
verify_weights = partial(run, cli.verify_weights)
predict = partial(run, cli.predict)
