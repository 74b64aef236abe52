"""The commands as the programs that are installed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from converter import cli


def run(command: Callable[[], object]) -> None:
    """Run a command, and end the process with it.

    At once, as mypy does (`mypy.util.hard_exit`): as Python ends, torch frees for a third of a
    second what the system takes back anyway. By then the command has closed all that it opened.
    """
    try:
        command()
    except SystemExit as end:
        with suppress(OSError):  # nobody reads: Python says so as it ends
            for stream in filter(None, (sys.stdout, sys.stderr)):
                stream.flush()
            if isinstance(end.code, int):
                os._exit(end.code)
        raise


convert_weights = partial(run, cli.convert_weights)
inspect_weights = partial(run, cli.inspect_weights)
verify_weights = partial(run, cli.verify_weights)
predict = partial(run, cli.predict)
