"""inspect-weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from converter.cli.flags import DEBUG, FACTS, GIVEN, KERAS_PYTHON, PLACE
from converter.cli.running import guarded, with_options
from converter.errors import about


@click.command()
@click.argument("file", type=PLACE)
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON on stdout.")
@with_options(*GIVEN, KERAS_PYTHON, *FACTS, DEBUG)
@click.version_option(package_name="convert-weights")
@guarded
def inspect_weights(file: Path, as_json: bool, **options: Any) -> int:
    """Say what network is in the Keras FILE, and how each fact is known.

    \b
    Example:
        inspect-weights resnet50_weights.h5
    """
    from converter.files.isolation.process import start_early

    start_early()
    from converter.cli.text import inspection_lines
    from converter.files.opening import open_source
    from converter.identify import identify
    from converter.options import Options
    from converter.report import finite, inspection

    settings = Options(**options)
    with open_source(file, settings) as checkpoint, about(file):
        network = identify(checkpoint, settings)
    if as_json:
        click.echo(json.dumps(finite(inspection(checkpoint, network)), indent=1))
    else:
        click.echo("\n".join(inspection_lines(checkpoint, network)))
    return 0
