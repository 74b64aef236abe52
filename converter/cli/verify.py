"""verify-weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from converter.cli.flags import (
    COMPARING,
    DEBUG,
    FACTS,
    GIVEN,
    KERAS_PYTHON,
    PLACE,
    REPORT,
    height_width,
)
from converter.cli.running import (
    check_report,
    failure_reported,
    guarded,
    with_options,
    write_report,
)
from converter.errors import ParityError, UsageError

if TYPE_CHECKING:
    from converter.dataset.results import DatasetComparison

OF_IMAGES = (
    click.option(
        "--state",
        type=PLACE,
        metavar="DIR",
        help="Where --images keeps what is done, to go on from after a stop.",
    ),
    click.option(
        "--transform",
        metavar="MODULE:FUNCTION",
        help="Your own preprocessing of --images, where --preprocess has no name for it.",
    ),
    click.option(
        "--size",
        callback=height_width,
        metavar="N|HxW",
        help="Size of --images, where the network takes any.",
    ),
    click.option(
        "--batch",
        type=click.IntRange(min=1),
        metavar="N",
        help="Pictures of --images that are run at a time.  [default: 32]",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=0),
        metavar="N",
        help="Processes that load --images.  [default: 0, this one]",
    ),
)
"""How the pictures of a folder are compared."""


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
@with_options(*OF_IMAGES, *COMPARING, *GIVEN, KERAS_PYTHON, REPORT, *FACTS, DEBUG)
@click.version_option(package_name="convert-weights")
@guarded
def verify_weights(
    target: Path,
    against: Path,
    report: Path | None,
    images: Path | None,
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
    of_images = _of_images(options, images)
    found = None
    with failure_reported(report):
        if images:
            with bar("pictures") as count:
                found = verify_images(
                    target, against, images, progress=count, **of_images, **options
                )
            if found is None:  # another process of torchrun says it
                return 0
        with _figures_kept(found), progress() as tell:
            done = verify(target, against, progress=tell, **options)
        done = replace(done, dataset=found)
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


def _of_images(options: dict[str, Any], images: Path | None) -> dict[str, Any]:
    """The options of OF_IMAGES that are given, taken out of `options`."""
    taken = {name: options.pop(name) for name in ("state", "transform", "size", "batch", "workers")}
    given = {name: value for name, value in taken.items() if value is not None}
    if given and not images:
        told = ", ".join(f"--{name}" for name in given)
        raise UsageError(f"{told}: for --images, which is not given")
    return given


@contextmanager
def _figures_kept(found: DatasetComparison | None) -> Iterator[None]:
    """Show the figures of the pictures, and put them into the report, where the proof fails."""
    from converter.cli.text import dataset_lines

    try:
        yield
    except ParityError as error:
        if found:
            click.echo("\n".join([*dataset_lines(found), ""]), err=True)
            error.report = error.report and replace(error.report, dataset=found)
        raise
