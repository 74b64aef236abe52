"""predict."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import click

from converter.cli.flags import DEBUG, LAYERS, PLACE, height_width
from converter.cli.running import guarded, with_options
from converter.errors import SourceError, printable
from resnet_pt.preprocessing import MODES


def low_high(context: click.Context, parameter: Any, value: str | None) -> Any:
    """`0,1` → (0.0, 1.0)."""
    if value is None:
        return None
    try:
        low, high = map(float, value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not LOW,HIGH") from None
    if not (math.isfinite(low) and math.isfinite(high) and low != high):
        raise click.BadParameter(f"{value!r}: two numbers that differ")
    return low, high


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
    LAYERS,
    click.option("--json", "as_json", is_flag=True, help="Everything, as JSON on stdout."),
)

WRITTEN = (
    click.option(
        "--out",
        type=click.Path(dir_okay=False, readable=False, path_type=Path),
        metavar="FILE.npz",
        help="Write what the network gives, as Keras' model does: an array for each output by its "
        "name, with the channels of maps last.",
    ),
    click.option(
        "--maps",
        type=PLACE,
        metavar="DIR",
        help="Write outputs that are maps as pictures (PNG) into a folder.",
    ),
    click.option(
        "--range",
        callback=low_high,
        metavar="LOW,HIGH",
        help="Which numbers of a map are black and white, where no last activation says it.",
    ),
    click.option("--force", is_flag=True, help="Replace what --out and --maps write."),
)
"""What is written of what the network gives."""


@click.command()
@click.argument("target", type=PLACE)
@click.argument("inputs", nargs=-1, required=True, type=PLACE)
@with_options(*PICTURES, *WRITTEN, DEBUG)
@click.version_option(package_name="convert-weights")
@guarded
def predict(
    target: Path,
    inputs: tuple[Path, ...],
    batch: int,
    top: int,
    as_json: bool,
    out: Path | None,
    maps: Path | None,
    force: bool,
    **options: Any,
) -> int:
    """Say what the converted network in TARGET gives for INPUTS: pictures, folders of them, and
    arrays (.npy, .npz) as Keras' model reads them, with the channels of maps last.

    Of classes the best are shown. Pictures are decoded, resized and scaled as Keras does it, to the
    last bit. One that cannot be read is named and does not stop the others; the exit code is then
    3. Where the network has several inputs each is given as NAME=FILE, or all of them by their
    names in one .npz.

    \b
    Examples:
        predict out.pth elephant.jpg
        predict out.pth pictures/ --labels birds.txt --preprocess caffe --json
        predict unet.pth scans/ --preprocess unit --maps masks/ --out masks.npz
        predict siamese.pth left=a.png right=b.png --preprocess unit
    """
    from converter.cli.prediction import (
        Places,
        check_places,
        prepare,
        to_dict,
        usable_batch,
        why_not,
        write_arrays_of,
        write_maps,
    )
    from converter.cli.text import prediction_lines, progress_bar, table
    from converter.report import finite
    from resnet_pt.predict import predict as look

    warnings.filterwarnings("ignore", module="PIL")  # of palettes with transparency, and the like
    task = prepare(target, inputs, **options)
    check_places(Places(out, maps, force), target, inputs, task)
    warned = [f"warning   {printable(warning)}" for warning in task.warnings]
    click.echo("\n".join([*(table(task.facts) if task.facts else []), *warned, ""]), err=True)
    with progress_bar(len(task.examples)) as seen:
        results = look(
            task.model,
            task.examples,
            task.transform,
            task.labels,
            batch=usable_batch(task, batch),
            top=top,
            why_not=why_not,
        )
        found = [seen(one) for one in results]
    if as_json:
        click.echo(json.dumps(finite(to_dict(task, found)), indent=1))
    else:
        click.echo("\n".join(prediction_lines(found)))
    if out:
        write_arrays_of(out, found, force=force)
        click.echo(f"{out} is written", err=True)
    if maps:
        count = write_maps(maps, task, found, force=force)
        click.echo(f"{count} picture{'s' * (count != 1)} in {maps}", err=True)
    unread = [one for one in found if one.error]
    for one in unread:
        click.echo(f"Error: {printable(one.name)} is not read: {printable(one.error)}", err=True)
    return SourceError.exit_code if unread else 0
