"""verify-weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from converter.cli.flags import COMPARING, DEBUG, FACTS, GIVEN, KERAS_PYTHON, PLACE, REPORT
from converter.cli.running import (
    check_report,
    failure_reported,
    guarded,
    with_options,
    write_report,
)
from converter.errors import ParityError, UsageError


@click.command()
@click.argument("target", type=PLACE)
@click.option(
    "--against",
    type=PLACE,
    metavar="PATH",
    required=True,
    help="The Keras file that TARGET was converted from, or a record of the original.",
)
@click.option(
    "--images",
    type=PLACE,
    metavar="DIR",
    help="Compare the predictions for every picture in a folder too.",
)
@click.option(
    "--state",
    type=PLACE,
    metavar="DIR",
    help="Where --images keeps what is done, to go on from after a stop.",
)
@with_options(*COMPARING, *GIVEN, KERAS_PYTHON, REPORT, *FACTS, DEBUG)
@click.version_option(package_name="convert-weights")
@guarded
def verify_weights(
    target: Path,
    against: Path,
    report: Path | None,
    images: Path | None,
    state: Path | None,
    **options: Any,
) -> int:
    """Prove that the converted TARGET is still the network in PATH.

    Against a record: logits and layers. Against the Keras file: the architecture, every tensor bit
    for bit, then logits as a conversion compares them. Nothing but the report is written.

    With --images the predictions for a whole folder are compared, under torchrun by all of its
    processes: torchrun --no-python --nproc-per-node 4 verify-weights …

    \b
    Examples:
        verify-weights out.pth --against record.npz
        verify-weights out.pth --against model.h5 --images photos/ --state done/
        verify-weights out.pth --against resnet50_weights.h5 --report proof.json
    """
    from converter.cli.text import bar, dataset_lines, progress, refusal, summary
    from converter.verification import verify, verify_images

    if report:
        check_report(report, target, against)
    if state and not images:
        raise UsageError("--state is for --images, which is not given")
    with failure_reported(report):
        if images:
            with bar("pictures") as count:
                found = verify_images(
                    target, against, images, state=state, progress=count, **options
                )
            if found is None:  # another process of torchrun says it
                return 0
        with progress() as tell:
            done = verify(target, against, progress=tell, **options)
        done = replace(done, dataset=found) if images else done
    failed = None
    if done.dataset and not done.dataset.passes:
        failed = done.refused(ParityError(refusal(done.dataset)))
    if report:
        write_report(failed.report if failed else done, report)
    click.echo(summary(done), err=True)
    if done.dataset:
        click.echo("\n".join(["", *dataset_lines(done.dataset)]), err=True)
    if failed:
        raise failed
    return 0
