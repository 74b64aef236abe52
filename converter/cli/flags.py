"""The options that several commands share, as literal tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from converter.discover import names
from converter.facts.table import TABLE, Row

PLACE = click.Path(path_type=Path, readable=False)
"""Any path: what cannot be read is refused where it is read, with the exit code of that."""


def height_width(context: click.Context, parameter: Any, value: str | None) -> Any:
    """`224` or `224x320` → (height, width)."""
    if value is None:
        return None
    height, _, width = value.partition("x")
    try:
        size = int(height), int(width or height)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither N nor HxW") from None
    if min(size) < 1:
        raise click.BadParameter(f"{value!r}: height and width are at least 1")
    return size


COMPARING = (
    click.option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda", "mps"]),
        default="auto",
        show_default=True,
        help="Where the converted network is compared, besides the CPU.",
    ),
    click.option(
        "--parity/--no-parity",
        default=True,
        help="Skip the comparison of logits with --no-parity; tensors are proven all the same.",
    ),
    click.option(
        "--require-parity",
        is_flag=True,
        help="Fail unless the verdict is 'equal': the original was asked, and gives the same.",
    ),
)


REPORT = click.option(
    "--report",
    type=click.Path(dir_okay=False, readable=False, path_type=Path),
    metavar="FILE",
    help="Write everything that was decided, mapped and measured: .json, or .html to read.",
)


KERAS_PYTHON = click.option(
    "--keras-python",
    type=PLACE,
    metavar="PATH",
    help="An interpreter with the Keras that made the file: the original is run there.",
)


LAYERS = click.option(
    "--layers",
    type=PLACE,
    metavar="FILE.py",
    help="Your own file, which is run: torch code for layers that are not understood. A refusal "
    "prints the file to fill in.",
)


GIVEN = (
    click.option(
        "--config",
        type=PLACE,
        metavar="FILE",
        help="The configuration of a file of weights: model.to_json() or to_yaml(), or a whole "
        "model that has it.",
    ),
    click.option(
        "--match",
        type=click.Choice(["names", "order"]),
        help="How the layers of a given configuration get their weights, where both ways fit.",
    ),
    click.option(
        "--build",
        metavar="'MODULE:FUNCTION(…)'",
        help="Your own code that builds the model of a file of weights: run by --keras-python, or "
        "here, for its configuration alone. Arguments are literals.",
    ),
    click.option(
        "--code",
        type=PLACE,
        metavar="DIR",
        help="The folder of that code.  [default: the working directory]",
    ),
    click.option(
        "--outputs",
        multiple=True,
        metavar="LAYER",
        help="A layer that ends the network, for a part of a model; can be given more than once.",
    ),
    LAYERS,
)
"""The model's own words for a file of weights, and how much of the model is meant."""


OPTIONS = (
    click.option(
        "--to",
        type=click.Choice(names("converter.formats.destinations")),
        help="Write for another library, or in another format, instead of the self-describing "
        "layout; docs/destinations.md says how each is loaded.",
    ),
    click.option("--force", is_flag=True, help="Replace TARGET if it is there."),
    click.option("--dry-run", is_flag=True, help="Print the plan; read no array, write nothing."),
    *COMPARING,
    click.option(
        "--against",
        type=PLACE,
        metavar="RECORD.npz",
        help="Compare with what the original computed, recorded by scripts/record_keras.py.",
    ),
    *GIVEN,
    REPORT,
    click.option(
        "--labels",
        type=click.Path(dir_okay=False, readable=False, path_type=Path),
        metavar="FILE",
        help="Names of the classes, which `predict` shows: one a line, or JSON (a list, or Keras' "
        "class_indices).",
    ),
    KERAS_PYTHON,
    click.option("--expect-sha256", metavar="HEX", help="Refuse another SOURCE than this one."),
    click.option(
        "--allow",
        multiple=True,
        type=click.Choice(
            [
                *("not-finite", "negative-variance", "constant-kernel"),
                *("identical-kernels", "swapped-norm"),
            ]
        ),
        help="Weights to take as they are, with a warning; can be given more than once.",
    ),
)


def _of_fact(row: Row) -> Any:
    if row.is_flag:
        return click.option(f"{row.flag}/--no-{row.flag[2:]}", default=None, help=row.help)
    kind = click.Choice(row.choices) if row.choices else row.kind
    return click.option(row.flag, type=kind, metavar=row.metavar or None, help=row.help)


FACTS = tuple(map(_of_fact, TABLE))
"""What a file cannot say: each beats the evidence, and is shown as set by the user."""


DEBUG = click.option("--debug", is_flag=True, help="Show tracebacks.")
