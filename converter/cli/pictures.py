"""predict."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import click

from converter.cli.flags import DEBUG, PLACE, height_width
from converter.cli.running import guarded, with_options
from converter.errors import SourceError, printable
from resnet_pt.preprocessing import MODES

PICTURES = (
    click.option(
        "--labels",
        type=PLACE,
        metavar="FILE",
        help="Names of the classes: one a line, or JSON (a list, or Keras' class_indices).",
    ),
    click.option(
        "--preprocess",
        type=click.Choice(list(MODES)),
        help="What the project did to its pictures, where TARGET does not say it.",
    ),
    click.option(
        "--interpolation",
        type=click.Choice(["nearest", "bilinear", "bicubic", "hamming", "box", "lanczos"]),
        default="nearest",
        show_default=True,
        help="How pictures are resized; the default is that of Keras' load_img.",
    ),
    click.option(
        "--size",
        callback=height_width,
        metavar="N|HxW",
        help="Size of the pictures, where TARGET does not say it (then 224x224).",
    ),
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda", "mps"]),
        default="auto",
        show_default=True,
        help="Where the network runs.",
    ),
    click.option(
        "--batch",
        type=click.IntRange(min=1),
        default=16,
        show_default=True,
        help="Pictures that are run at a time.",
    ),
    click.option(
        "--top",
        type=click.IntRange(min=1),
        default=5,
        show_default=True,
        help="Classes that are shown of each picture.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Everything, as JSON on stdout."),
)


@click.command()
@click.argument("target", type=PLACE)
@click.argument("images", nargs=-1, required=True, type=PLACE)
@with_options(*PICTURES, DEBUG)
@click.version_option(package_name="convert-weights")
@guarded
def predict(
    target: Path, images: tuple[Path, ...], batch: int, top: int, as_json: bool, **options: Any
) -> int:
    """Say which classes the converted network in TARGET sees in IMAGES, files or folders.

    Pictures are decoded, resized and scaled as Keras does it, to the last bit. One that cannot be
    read is named and does not stop the others; the exit code is then 3.

    \b
    Examples:
        predict out.pth elephant.jpg
        predict out.pth pictures/ --labels birds.txt --preprocess caffe --json
    """
    from converter.cli.prediction import prepare, to_dict, usable_batch
    from converter.cli.text import prediction_lines, progress_bar, table
    from resnet_pt.predict import predict as look

    warnings.filterwarnings("ignore", module="PIL")  # of palettes with transparency, and the like
    task = prepare(target, images, **options)
    warned = [f"warning   {printable(warning)}" for warning in task.warnings]
    click.echo("\n".join([*table(task.facts), *warned, ""]), err=True)
    batch = usable_batch(task, batch)
    with progress_bar(len(task.paths)) as seen:
        results = look(task.model, task.paths, task.transform, task.labels, batch=batch, top=top)
        found = [seen(one) for one in results]
    if as_json:
        click.echo(json.dumps(to_dict(task, found), indent=1))
    else:
        click.echo("\n".join(prediction_lines(found)))
    unread = [one for one in found if one.error]
    for one in unread:
        click.echo(
            f"Error: {printable(str(one.path))} is not read: {printable(one.error)}", err=True
        )
    return SourceError.exit_code if unread else 0
