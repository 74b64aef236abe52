"""Results in words, for a terminal; everything can be understood without colour."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from converter.errors import printable
from converter.facts import Fact

if TYPE_CHECKING:
    from converter.checkpoint import Checkpoint
    from converter.identify import Network
    from converter.parity.prove import Parity
    from converter.parity.settle import Trial
    from converter.report import Report
    from resnet_pt.predict import Prediction


@contextmanager
def progress() -> Iterator[Callable[[str], None]]:
    """A spinner with the stage at hand; nothing where nobody watches."""
    if not sys.stderr.isatty():
        yield lambda message: None
        return
    from rich.console import Console

    with Console(stderr=True).status("opening") as status:
        yield lambda message: status.update(message)


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[Prediction], Prediction]]:
    """A bar that moves on with each prediction that passes; nothing where nobody watches."""
    if not sys.stderr.isatty():
        yield lambda prediction: prediction
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("pictures", total=total)

        def seen(prediction: Prediction) -> Prediction:
            bar.advance(task)
            return prediction

        yield seen


def summary(report: Report) -> str:
    """What was found, decided, mapped and proven."""
    lines = inspection_lines(report.checkpoint, report.network)
    lines += ["", *_tensor_lines(report)]
    if report.target:
        lines += ["", *trial_lines(report.trials), *parity_lines(report.parity)]
        lines += ["", f"{report.target} is written ({report.seconds:.1f} s)"]
    return "\n".join(lines)


def inspection_lines(checkpoint: Checkpoint, network: Network) -> list[str]:
    """Container, network, and each fact with its evidence."""
    architecture = network.architecture
    widths = ", ".join(str(stage[-1].out_channels) for stage in architecture.stages)
    depths = ", ".join(map(str, architecture.depths))
    written = f"Keras {checkpoint.keras_version}" if checkpoint.keras_version else "not said"
    lines = [
        f"file      {printable(str(checkpoint.path))}",
        f"container {printable(checkpoint.container)}",
        f"Keras     {printable(written)}",
        f"naming    {network.dialect}",
        f"network   ResNet of {depths} blocks, {widths} channels, {classes(network)}",
        "",
        *table([("fact", "value", "evidence"), *map(_fact_row, network.facts)]),
    ]
    defaults = [fact.name for fact in network.facts if fact.is_default]
    if defaults:
        lines += ["", f"resting on a default: {', '.join(defaults)} (options set them)"]
    return lines


def classes(network: Network) -> str:
    """`1000 classes`, `headless` or the outputs' names."""
    architecture = network.architecture
    if architecture.classes is not None:
        return f"{architecture.classes} classes"
    names = [output.name for output in architecture.outputs]
    return "headless" if len(names) == 1 else f"outputs {', '.join(names)}"


def _fact_row(fact: Fact) -> tuple[str, str, str]:
    return fact.name, fact.value, f"{fact.evidence}: {fact.reason}"


def _tensor_lines(report: Report) -> list[str]:
    plan, weights = report.plan, report.checkpoint.weights
    constants = len(plan.steps) - len(plan.mapped)
    lines = [
        f"mapped    {len(plan.mapped)} of {len(weights)} weights to "
        f"{len(plan.steps)} tensors ({constants} constants)"
    ]
    if plan.left_out:
        layers = sorted({weight.layer for weight in plan.left_out})
        lines.append(f"left out  {', '.join(layers)}: no part of the network")
    if report.proven_tensors:
        lines.append(f"proven    {report.proven_tensors} tensors read back, bit for bit")
    return lines


def parity_lines(parity: Parity) -> list[str]:
    """The comparison of logits, a line for each input, device and dtype."""
    if parity.verdict == "not compared":
        return [f"logits    not compared: {parity.reason}"]
    reason = f" ({parity.reason})" if parity.reason else ""
    rows = [("device", "dtype", "input", "worst logit", "of the largest", "allowed", "top-1")]
    for one in parity.comparisons:
        shape = "x".join(map(str, one.shape))
        rows.append(
            (
                one.device,
                one.dtype,
                shape,
                f"{one.worst.absolute:.1e}",
                f"{one.worst.relative:.1e}",
                f"{one.gate:.0e}" if one.counts else "reported",
                f"{one.top1:.0%}",
            )
        )
    layers = f", {len(parity.layers)} layers sampled" if parity.layers else ""
    return [
        f"logits    {parity.verdict} to {parity.oracle}{reason}{layers}",
        *table(rows),
        *(f"note      {printable(note)}" for note in parity.notes),
    ]


def trial_lines(trials: Sequence[Trial]) -> list[str]:
    """What the record decided, and which other networks it cannot tell from the chosen one."""
    if len(trials) < 2:
        return []
    chosen, *others = trials
    ties = [str(one) for one in others if one.fits]
    nearest = next((one for one in others if not one.fits), None)
    lines = [f"record    {len(trials)} networks tried; chosen: {chosen}"]
    lines += [f"          the record cannot tell it from: {tie}" for tie in ties]
    lines += [f"          nearest that does not fit: {nearest}"] if nearest else []
    return lines


def prediction_lines(predictions: Sequence[Prediction]) -> list[str]:
    """The best classes of each picture that was read; the output is named where there are
    several."""
    read = [one for one in predictions if not one.error]
    several = any(len(one.outputs) > 1 for one in read)
    rows = [("picture", *(["output"] if several else []), "class", "value")]
    for one in read:
        for output, scores in one.outputs.items():
            for score in scores:
                named = [output] if several else []
                value = f"{score.value:.4f}"
                rows.append((str(one.path), *named, score.label.name, value))
    return table(rows)


def plan_lines(report: Report) -> list[str]:
    """Every tensor: where it comes from, how, and what it becomes."""
    rows = [("source", "shape", "transform", "target", "shape")]
    for step in report.plan.steps:
        source = step.source
        rows.append(
            (
                str(source) if source else "-",
                _shape(source.shape) if source else "",
                step.how,
                step.target,
                _shape(step.shape),
            )
        )
    return table(rows)


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Columns as wide as their widest cell; the last one is not padded."""
    rows = [tuple(printable(cell) for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
