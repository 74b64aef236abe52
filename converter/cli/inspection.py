"""inspect-weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from converter.cli.flags import DEBUG, FACTS, GIVEN, KERAS_PYTHON, PLACE
from converter.cli.running import guarded, with_options
from converter.errors import MismatchError, about

if TYPE_CHECKING:
    from converter.files.checkpoint import Checkpoint
    from converter.network import Network
    from converter.options import Options


@click.command()
@click.argument("file", type=PLACE)
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON on stdout.")
@with_options(*GIVEN, KERAS_PYTHON, *FACTS, DEBUG)
@click.version_option(package_name="convert-weights")
@guarded
def inspect_weights(file: Path, as_json: bool, **options: Any) -> int:
    """Say what network is in the Keras FILE, and how each fact is known.

    What convert-weights would refuse is said below what is there, with its exit code: 5.

    \b
    Examples:
        inspect-weights resnet50_weights.h5
        inspect-weights unet.h5 --json
    """
    from converter.files.isolation.process import start_early

    start_early()
    from converter.cli.text import contents_lines
    from converter.files.opening import open_source
    from converter.options import Options
    from converter.report import contents, finite
    from converter.whole_model.overview import overview

    settings = Options(**options)
    with open_source(file, settings) as checkpoint, about(file):
        network, refusal = identified(checkpoint, settings)
        seen = overview(checkpoint, getattr(refusal, "outermost", ()))
        if as_json:
            said = contents(checkpoint, network, seen, refusal)
            click.echo(json.dumps(finite(said), indent=1))
        else:
            click.echo("\n".join(contents_lines(checkpoint, network, seen)))
        if refusal:
            raise refusal
    return 0


def identified(
    checkpoint: Checkpoint, settings: Options
) -> tuple[Network | None, MismatchError | None]:
    """The network, and why it would not be converted."""
    from converter.identify import identify
    from converter.mapping.plan import make_plan

    network = None
    try:
        network = identify(checkpoint, settings)
        make_plan(checkpoint, network)
    except MismatchError as error:
        return network, error
    return network, None
