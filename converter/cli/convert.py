"""convert-weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from converter.cli.flags import DEBUG, FACTS, OPTIONS, PLACE
from converter.cli.running import (
    check_report,
    failure_reported,
    guarded,
    with_options,
    write_report,
)
from converter.errors import UsageError


@click.command()
@click.argument("source", type=PLACE)
@click.argument("target", type=PLACE, required=False)
@with_options(*OPTIONS, *FACTS, DEBUG)
@click.version_option(package_name="convert-weights")
@guarded
def convert_weights(
    source: Path, target: Path | None, report: Path | None, dry_run: bool, **options: Any
) -> int:
    """Convert the Keras ResNet in SOURCE to PyTorch in TARGET, and prove that it is the same.

    SOURCE is any Keras weights or model file; TARGET ends in .pth or .safetensors, or as the
    destination of --to has it. Nothing is written unless the proof holds. The verdict is 'equal'
    where the original was asked (Keras itself, a record, another interpreter), and 'consistent'
    where it was not: then it names what it rests on. Of two folders, every Keras file in SOURCE is
    converted into TARGET.

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
    from converter.files.isolation.process import start_early

    start_early()
    from converter.cli.text import plan_lines, progress, summary
    from converter.conversion import convert

    with failure_reported(report), progress() as tell:
        done = convert(source, target, dry_run=dry_run, progress=tell, **options)
    if dry_run:
        click.echo("\n".join(plan_lines(done)))
    click.echo(summary(done), err=True)
    if report:  # last: TARGET is written, whatever becomes of it
        write_report(done, report)
    return 0


def convert_all(
    source: Path, target: Path | None, given: Mapping[str, Any], options: Mapping[str, Any]
) -> int:
    """A folder: a line for each file, how many of each verdict, and the worst exit code."""
    from converter.cli.text import folder_progress, outcome_line, totals_line
    from converter.folder import convert_folder, keras_files, not_entered
    from converter.formats.delivery import suffixes

    of_one_file = {**given, "--against": options["against"]}
    of_one_file["--expect-sha256"] = options["expect_sha256"]
    wrong = [name for name, value in of_one_file.items() if value]
    if target is None or wrong:
        what = f"{wrong[0]} is for a single file" if wrong else "a folder needs a folder as TARGET"
        raise UsageError(f"{source} is a folder: {what}")
    files = keras_files(source)
    if files and target.suffix in suffixes() and not target.is_dir():
        raise UsageError(f"{source} is a folder, and TARGET {target} is called like a file")
    worst, verdicts = 0, []
    with folder_progress(len(files)) as (tell, done):
        for outcome in convert_folder(source, target, progress=tell, **options):
            done(outcome_line(outcome))
            worst = max(worst, outcome.exit_code)
            verdicts.append(outcome.verdict)
    click.echo(totals_line(verdicts), err=True)
    inner = not_entered(source)
    if inner:
        click.echo(f"not entered, and hold Keras files: {', '.join(inner)}", err=True)
    return worst
