"""The commands: argv → convert; the only place that knows click."""

from __future__ import annotations

import functools
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from converter.discover import names
from converter.errors import (
    ConvertError,
    ParityError,
    SourceError,
    TargetError,
    UsageError,
    about,
    printable,
)

if TYPE_CHECKING:
    from converter.report import Report

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
    click.option("--require-parity", is_flag=True, help="Fail if logits could not be compared."),
)

REPORT = click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write everything that was decided, mapped and measured: .json, or .html to read.",
)

ORIGINAL = (
    click.option(
        "--keras-python",
        type=click.Path(path_type=Path),
        metavar="PATH",
        help="An interpreter with the Keras that made the file: the original is run there.",
    ),
    click.option(
        "--build",
        metavar="MODULE:FUNCTION",
        help="The code that builds the model of a file of weights, for --keras-python.",
    ),
)

OPTIONS = (
    click.option(
        "--to",
        type=click.Choice(names("converter.destinations")),
        help="Write for another library, or in another format, instead of the self-describing "
        "layout; docs/destinations.md says how each is loaded.",
    ),
    click.option("--force", is_flag=True, help="Replace TARGET if it is there."),
    click.option("--dry-run", is_flag=True, help="Print the plan; read no array, write nothing."),
    *COMPARING,
    click.option(
        "--against",
        type=click.Path(path_type=Path),
        metavar="RECORD.npz",
        help="Compare with what the original computed, recorded by scripts/record_keras.py.",
    ),
    REPORT,
    click.option(
        "--labels",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE.txt",
        help="Names of the classes, a line each, for --to transformers.",
    ),
    *ORIGINAL,
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

FACTS = (
    click.option("--bn-eps", type=float, metavar="FLOAT", help="Epsilon of batch normalisation."),
    click.option(
        "--pool", type=click.Choice(["valid", "zero", "same"]), help="Padding of the max-pool."
    ),
    click.option("--stem", type=click.Choice(["pad", "same"]), help="Padding of the 7x7."),
    click.option(
        "--stride-on", type=click.Choice(["1x1", "3x3"]), help="Where bottlenecks stride."
    ),
    click.option(
        "--theano-kernels/--no-theano-kernels",
        default=None,
        help="Whether kernels are flipped, as Theano's convolution needs them.",
    ),
    click.option(
        "--running-std",
        type=click.Choice(["variance", "std"]),
        help="What `running_std` holds (a standard deviation before Keras 1.0.6).",
    ),
    click.option("--head-activation", metavar="NAME", help="Behind hidden Dense layers."),
    click.option(
        "--network",
        metavar="NAME",
        help="Whose naming or order of layers the weights follow (README, 'Which files').",
    ),
    click.option(
        "--preprocess",
        type=click.Choice(["caffe", "tf", "torch", "raw"]),
        help="What the project did to its pictures; recorded, not part of the network.",
    ),
)
"""What a file cannot say: each beats the evidence, and is shown as set by the user."""

DEBUG = click.option("--debug", is_flag=True, help="Show tracebacks.")


def with_options(*options: Callable[..., Any]) -> Callable[[Callable[..., Any]], Any]:
    """Apply click options so that `--help` lists them in this order."""
    return lambda command: functools.reduce(lambda c, option: option(c), options[::-1], command)


def guarded(command: Callable[..., int]) -> Callable[..., None]:
    """Turn refusals into messages and exit codes, and signals into 130 and 143."""

    @functools.wraps(command)
    def run(*args: Any, debug: bool, **kwargs: Any) -> None:
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number and signal.getsignal(number) is not signal.SIG_IGN:  # as `nohup` sets it
                signal.signal(number, _terminate)
        try:
            sys.exit(command(*args, **kwargs))
        except ConvertError as error:
            if debug:
                raise
            click.echo(f"Error: {error}", err=True)
            sys.exit(error.exit_code)
        except MemoryError:
            click.echo("Error: not enough memory", err=True)
            sys.exit(4)

    return run


def _terminate(number: int, frame: Any) -> None:
    """Leave through every `finally`, so that a draft is removed; a second signal waits."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


@click.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path), required=False)
@with_options(*OPTIONS, *FACTS, DEBUG)
@click.version_option(package_name="convert-weights")
@guarded
def convert_weights(
    source: Path, target: Path | None, report: Path | None, dry_run: bool, **options: Any
) -> int:
    """Convert the Keras ResNet in SOURCE to PyTorch in TARGET, and prove that it is the same.

    SOURCE is any Keras weights or model file; TARGET ends in .pth or .safetensors, or as the
    destination of --to has it. Nothing is written unless the proof holds. Of two folders, every
    Keras file in SOURCE is converted into TARGET.

    \b
    Examples:
        convert-weights resnet50_weights.h5 out.pth
        convert-weights resnet50_weights.h5 --dry-run
        convert-weights resnet50_weights.h5 out.safetensors --no-parity
        convert-weights resnet50_weights.h5 resnet50.onnx --to onnx
        convert-weights models/ converted/
    """
    if source.is_dir():
        given = {"--report": report, "--dry-run": dry_run}
        return convert_all(source, target, given, options)
    if target is None and not dry_run:
        raise click.UsageError("Missing argument 'TARGET'.")
    if report:
        check_report(report, source, target, options["against"])
    from converter.isolation.process import start_early

    start_early()
    from converter.conversion import convert
    from converter.text import plan_lines, progress, summary

    try:
        with progress() as tell:
            done = convert(source, target, dry_run=dry_run, progress=tell, **options)
    except ParityError as error:
        if report and error.report:
            write_report(error.report, report)
        raise
    if report:
        write_report(done, report)
    if dry_run:
        click.echo("\n".join(plan_lines(done)))
    click.echo(summary(done), err=True)
    return 0


def convert_all(
    source: Path, target: Path | None, given: Mapping[str, Any], options: Mapping[str, Any]
) -> int:
    """A folder: a line for each file, and the worst exit code."""
    from converter.folder import convert_folder, keras_files
    from converter.text import folder_progress, outcome_line

    of_one_file = {**given, "--against": options["against"]}
    of_one_file["--expect-sha256"] = options["expect_sha256"]
    wrong = [name for name, value in of_one_file.items() if value]
    if target is None or wrong:
        what = f"{wrong[0]} is for a single file" if wrong else "a folder needs a folder as TARGET"
        raise UsageError(f"{source} is a folder: {what}")
    worst = 0
    with folder_progress(len(keras_files(source))) as (tell, done):
        for outcome in convert_folder(source, target, progress=tell, **options):
            done(outcome_line(outcome))
            worst = max(worst, outcome.exit_code)
    return worst


def check_report(report: Path, *others: Path | None) -> None:
    """Refuse, before anything is converted, a report that cannot be written or would replace
    another file of this run."""
    from converter.reports import format_of

    real = os.path.realpath(report)
    if any(other and _same_file(real, os.path.realpath(other)) for other in others):
        raise UsageError(f"--report {report} is a file that this conversion reads or writes")
    if os.path.isdir(real) or not os.path.isdir(os.path.dirname(real)):
        raise TargetError(f"--report {report} cannot be written there")
    format_of(report)


def _same_file(one: str, other: str) -> bool:
    return one == other or (
        os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)
    )


def write_report(report: Report, path: Path) -> None:
    """Whole or not there, like the target; an older report is replaced."""
    from converter.publish import draft
    from converter.reports import format_of

    rendered = format_of(path).render(report.to_dict())
    with draft(Path(os.path.realpath(path)), force=True) as one:
        one.file.write(rendered)
        one.finish()


@click.command()
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    metavar="PATH",
    required=True,
    help="The Keras file that TARGET was converted from, or a record of the original.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Compare the predictions for every picture in a folder too.",
)
@click.option(
    "--state",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where --images keeps what is done, to go on from after a stop.",
)
@with_options(*COMPARING, *ORIGINAL, REPORT, *FACTS, DEBUG)
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
    from converter.text import dataset_lines, progress, refusal, summary
    from converter.verification import verify, verify_images

    if report:
        check_report(report, target, against)
    if state and not images:
        raise UsageError("--state is for --images, which is not given")
    try:
        if images:
            found = verify_images(target, against, images, state=state, **options)
            if found is None:  # another process of torchrun says it
                return 0
        with progress() as tell:
            done = verify(target, against, progress=tell, **options)
        done = replace(done, dataset=found) if images else done
    except ParityError as error:
        if report and error.report:
            write_report(error.report, report)
        raise
    if report:
        write_report(done, report)
    click.echo(summary(done), err=True)
    if done.dataset:
        click.echo("\n".join(["", *dataset_lines(done.dataset)]), err=True)
        if not done.dataset.passes:
            raise ParityError(refusal(done.dataset))
    return 0


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Everything, as JSON on stdout.")
@with_options(*FACTS, DEBUG)
@click.version_option(package_name="convert-weights")
@guarded
def inspect_weights(file: Path, as_json: bool, **options: Any) -> int:
    """Say what network is in the Keras FILE, and how each fact is known.

    \b
    Example:
        inspect-weights resnet50_weights.h5
    """
    from converter.isolation.process import start_early

    start_early()
    from converter.identify import identify
    from converter.isolation.reader import open_checkpoint
    from converter.options import Options
    from converter.report import finite, inspection
    from converter.text import inspection_lines

    with open_checkpoint(file) as checkpoint, about(file):
        network = identify(checkpoint, Options(**options))
    if as_json:
        click.echo(json.dumps(finite(inspection(checkpoint, network)), indent=1))
    else:
        click.echo("\n".join(inspection_lines(checkpoint, network)))
    return 0


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


PICTURES = (
    click.option(
        "--labels",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Names of the classes: one a line, or JSON (a list, or Keras' class_indices).",
    ),
    click.option(
        "--preprocess",
        type=click.Choice(["caffe", "tf", "torch", "raw"]),
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
@click.argument("target", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
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
    from converter.prediction import prepare, to_dict
    from converter.text import prediction_lines, progress_bar, table
    from resnet_pt.predict import predict as look

    warnings.filterwarnings("ignore", module="PIL")  # of palettes with transparency, and the like
    task = prepare(target, images, **options)
    click.echo("\n".join([*table(task.facts), ""]), err=True)
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


if __name__ == "__main__":
    convert_weights()
