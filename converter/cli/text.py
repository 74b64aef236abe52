"""Results in words, for a terminal; everything can be understood without colour."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from shlex import quote
from typing import TYPE_CHECKING

from converter.errors import LINE, SHOWN, printable, shortened
from converter.facts.fact import Fact
from converter.files.checkpoint import GIVE_IT
from converter.parity.comparing.verdict import VERDICTS
from resnet_pt.program import Output as Returned

if TYPE_CHECKING:
    from converter.dataset.results import DatasetComparison
    from converter.files.checkpoint import Checkpoint
    from converter.folder import Outcome
    from converter.formats.delivery import Delivery
    from converter.network import Network
    from converter.parity.prove import Parity
    from converter.parity.settle import Trial
    from converter.report import Report
    from converter.whole_model.overview import Overview
    from resnet_pt.ops import Shape
    from resnet_pt.predict import Prediction
    from resnet_pt.program import Program


CELL = 300
"""Characters of a cell of a table: names and versions in a file can be longer."""


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
def folder_progress(
    total: int,
) -> Iterator[tuple[Callable[[str], None], Callable[[str], None]]]:
    """(tell, done): the stage at hand, and a line that stays for each finished file, beside a bar
    where somebody watches."""
    if not sys.stderr.isatty():
        yield lambda message: None, lambda line: print(line, file=sys.stderr, flush=True)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("opening", total=total)

        def done(line: str) -> None:
            bar.console.print(line, markup=False, highlight=False)
            bar.advance(task)

        yield lambda message: bar.update(task, description=message), done


def outcome_line(outcome: Outcome) -> str:
    """`a.h5 → out/a.pth: equal to Keras itself`, or the reason why not, in one line."""
    name = printable(outcome.source.name)
    if outcome.error is None:
        assert outcome.report is not None
        said = printable(str(outcome.report.parity))
        return f"{name} → {printable(str(outcome.target))}: {said}"
    found = outcome.error.findings
    first = f": {found[0]}{' …' if len(found) > 1 else ''}" if found else ""
    return f"{name}: refused ({outcome.exit_code}): {outcome.error.headline}{first}"


def totals_line(verdicts: Sequence[str]) -> str:
    """`9 files: 4 equal, 3 consistent, 2 refused`: how many of each, the best first."""
    found = Counter(verdicts)
    counts = [f"{found[name]} {name}" for name in (*VERDICTS, "refused") if found[name]]
    return f"{len(verdicts)} {'file' if len(verdicts) == 1 else 'files'}: {', '.join(counts)}"


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, told how many of how many are done; nothing where nobody watches, and before
    it is told."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=None, visible=False)
        yield lambda done, total: progress.update(task, completed=done, total=total, visible=True)


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
    lines += ["", *_tensor_lines(report)] if report.plan.steps else []
    if report.target:
        lines += ["", *trial_lines(report.trials), *parity_lines(report.parity)]
        lines += delivery_lines(report.delivery)
        lines += ["", f"{report.target} {_outcome(report)} ({report.seconds:.1f} s)"]
    return "\n".join(lines)


def _outcome(report: Report) -> str:
    if not report.is_verification:
        return "is written"
    proven = " and ".join(
        ["its tensors"] * bool(report.proven_tensors) + ["its logits"] * (report.verdict == "equal")
    )
    beside = "; its logits are consistent" if report.verdict == "consistent" else ""
    return f"is proven by {proven}{beside}" if proven else "is not proven"


def inspection_lines(checkpoint: Checkpoint, network: Network) -> list[str]:
    """Container, network, and each fact with its evidence."""
    lines = [
        *_opened_lines(checkpoint),
        f"naming    {network.dialect}",
        f"network   {described(network)}",
        "",
        *table([("fact", "value", "evidence"), *map(_fact_row, network.facts)]),
    ]
    lines += [f"note      {shortened(note, LINE)}" for note in checkpoint.notes]
    defaults = [fact.name for fact in network.facts if fact.is_default]
    if defaults:
        lines += [
            "",
            f"resting on a default: {', '.join(defaults)} (options or a record settle them)",
            *_given_lines(checkpoint),
        ]
    return lines


def contents_lines(checkpoint: Checkpoint, network: Network | None, seen: Overview) -> list[str]:
    """What is in a file; the `network` is None where it would be refused."""
    lines = inspection_lines(checkpoint, network) if network else _opened_lines(checkpoint)
    if seen.kinds:
        kinds = [(one.name, str(one.layers), f"{one.parameters:,}") for one in seen.kinds]
        lines += ["", *table([("kind", "layers", "parameters"), *kinds])]
    told = [f"{count:,} {words}" for count, words in _parameters(seen) if count]
    lines += ["", f"parameters {seen.parameters.all:,}: {', '.join(told) or 'none'}"]
    for rows in (_input_rows(seen, network), _output_rows(seen, network)):
        lines += ["", *table(_filled(rows))] if len(rows) > 1 else []
    return lines + _ends_lines(seen, network)


def _filled(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Without the columns that say nothing below their heads."""
    kept = [column for column in range(len(rows[0])) if any(row[column] for row in rows[1:])]
    return [tuple(row[column] for column in kept) for row in rows]


def _parameters(seen: Overview) -> Iterator[tuple[int, str]]:
    yield seen.parameters.trainable, "trainable"
    yield seen.parameters.statistics, "statistics of norms, which are not trained"
    yield seen.parameters.frozen, "in layers that are frozen"
    yield seen.parameters.unsaid, "of which the file does not say whether they are trained"


def _input_rows(seen: Overview, network: Network | None) -> list[tuple[str, ...]]:
    program = network.lifted.program if network and network.lifted else None
    here = {one.name: _batch(one.shape) for one in program.inputs} if program else {}
    rows = [(one.name, _batch(one.shape), here.get(one.name, "")) for one in seen.inputs]
    return [("input", "in Keras", "here"), *rows]


def _output_rows(seen: Overview, network: Network | None) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [(name, "", "") for name in seen.outputs]
    if network:
        shapes = network.program.shapes() if network.lifted else {}
        rows = [
            (
                one.name,
                _batch(shapes[one.value]) if isinstance(one, Returned) else "",
                "" if one.activation == "linear" else one.activation,
            )
            for one in network.described.outputs
        ]
    return [("output", "here", "left off"), *rows]


def _batch(shape: Shape) -> str:
    return f"({', '.join(['N', *('any' if side is None else str(side) for side in shape)])})"


def _ends_lines(seen: Overview, network: Network | None) -> list[str]:
    """At which layers the model could be ended."""
    count = f"{len(seen.ends)} layer{'s' * (len(seen.ends) != 1)}"
    if not seen.ends:
        return []
    if network:
        return ["", f"parts     --outputs LAYER ends it at one of {count} (--json lists them)"]
    last = " ".join(f"--outputs {quote(printable(name))}" for name in seen.last_ends[:SHOWN])
    return [
        "",
        f"parts     {count} can end it before what is refused (--json lists them); the last:",
        f"          {last}",
    ]


def described(network: Network) -> str:
    """The network in one line."""
    if network.lifted:
        return described_program(network.program)
    architecture = network.architecture
    widths = ", ".join(str(stage[-1].out_channels) for stage in architecture.stages)
    depths = ", ".join(map(str, architecture.depths))
    return f"ResNet of {depths} blocks, {widths} channels, {classes(network)}"


def described_program(program: Program) -> str:
    """`59 layers, reads input_1 (1, 32, 32), gives last (4, 32, 32)`: the axes behind the batch."""
    shapes = program.shapes()
    reads = [f"{one.name} {_axes(one.shape)}" for one in program.inputs]
    gives = [f"{one.name} {_axes(shapes[one.value])}" for one in program.outputs]
    return f"{len(program.layers)} layers, reads {_few(reads)}, gives {_few(gives)}"


def _opened_lines(checkpoint: Checkpoint) -> list[str]:
    written = f"Keras {checkpoint.keras_version}" if checkpoint.keras_version else "not said"
    return [
        f"file      {printable(str(checkpoint.path))}",
        f"container {printable(checkpoint.container)}",
        f"Keras     {shortened(written)}",
    ]


def _axes(shape: Shape) -> str:
    return f"({', '.join('any' if side is None else str(side) for side in shape)})"


def _few(items: Sequence[str], most: int = 3) -> str:
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def _given_lines(checkpoint: Checkpoint) -> list[str]:
    """How weights alone get their model's own configuration, and what beside them looks like it."""
    if checkpoint.config is not None or checkpoint.description is not None:
        return []
    beside = [checkpoint.told_beside] if checkpoint.beside else []
    return [f"the model's own words settle them all: {GIVE_IT}", *beside]


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
    arrays = {step.target for step in plan.mapped}
    held = [step.sources for step in report.export.steps] if report.export else None
    tensors = [(step.target,) for step in plan.steps] if held is None else held
    constants = sum(not arrays.intersection(sources) for sources in tensors)
    lines = [
        f"mapped    {len(arrays)} of {len(weights)} weights to "
        f"{len(tensors)} tensors ({constants} constants)"
    ]
    if plan.left_out:
        used = {step.source.layer for step in plan.mapped if step.source}
        layers = sorted({str(one) if one.layer in used else one.layer for one in plan.left_out})
        lines.append(f"left out  {', '.join(layers)}: no part of the network")
    if report.proven_tensors:
        lines.append(f"proven    {report.proven_tensors} tensors read back, bit for bit")
    return lines + warning_lines(report.warnings)


def warning_lines(warnings: Sequence[str]) -> list[str]:
    """A few of the warnings, and how many there are."""
    lines = [f"warning   {printable(text)}" for text in warnings[:SHOWN]]
    more = len(warnings) - len(lines)
    return [*lines, f"warning   … and {more} more"] if more else lines


def parity_lines(parity: Parity) -> list[str]:
    """The comparison of logits, a line for each input, device and dtype."""
    said = [f"logits    {printable(str(parity))}"]
    if parity.verdict == "not compared":
        return said
    if parity.verdict == "consistent":
        said.append(f"          they are those of {parity.oracle}, built from the same reading")
    rows = [
        ("device", "dtype", "input", "worst logit", "of the largest", "allowed", "top-1", "top-5")
    ]
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
                f"{one.top5:.0%}",
            )
        )
    return [
        *said,
        *table(rows),
        *_layer_lines(parity),
        *(f"note      {shortened(note, LINE)}" for note in parity.notes),
    ]


def _layer_lines(parity: Parity) -> list[str]:
    """What rounding alone does, and the worst layers."""
    floor = ", ".join(f"{dtype} {error:.1e}" for dtype, error in sorted(parity.noise.items()))
    lines = [f"noise     {floor} of the largest: what rounding alone does here"] if floor else []
    if parity.layers:
        worst = max(parity.layers, key=lambda one: one.relative)
        count = len(parity.layers)
        lines.append(
            f"layers    {count} as the network runs, {shortened(worst.name)} worst: "
            f"{worst.relative:.1e}"
        )
    alone = [one.alone for one in parity.layers if one.alone]
    if alone:
        own = max(alone, key=lambda one: one.relative)
        lines.append(
            f"          {len(alone)} alone, fed {_side(parity)}'s input, {shortened(own.name)} "
            f"worst: {own.relative:.1e}"
        )
    return lines + coverage_lines(parity)


def _side(parity: Parity) -> str:
    return "the original" if parity.is_original else "the definition"


def coverage_lines(parity: Parity) -> list[str]:
    """What was not judged, and what an equal verdict does not tell from the converted network."""
    lines = []
    judged_with_others = sum(not one.is_alone for one in parity.layers)
    if judged_with_others:
        lines.append(
            f"          {judged_with_others} not alone: what they read is not held whole, only "
            "samples or nothing"
        )
    if parity.unjudged:
        lines.append(
            f"          {len(parity.unjudged)} not at all, {_side(parity)}'s side does not hold "
            f"them: {_some(parity.unjudged)}"
        )
    if parity.unnamed:
        lines.append(
            f"unnamed   {len(parity.unnamed)} layers of the record stand for no module here: "
            f"{_some(parity.unnamed)}"
        )
    ties = [printable(tie) for tie in parity.ties]
    return lines + [f"not told apart by this record: {tie}" for tie in ties]


def _some(names: Sequence[str]) -> str:
    """The first few of many names."""
    more = [f"… {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return ", ".join([*(shortened(name) for name in names[:SHOWN]), *more])


def refusal(found: DatasetComparison) -> str:
    """Why a comparison over a data set proves nothing."""
    if not found.pictures:
        return "none of the pictures could be read: no prediction was compared"
    return f"the predictions differ by more than rounding: {found.max_relative:.1e} of the largest"


def dataset_lines(found: DatasetComparison) -> list[str]:
    """Agreement and drift over a data set, and the pictures that differ most."""
    side = "original" if found.is_original else "definition"
    rows = [("picture", f"worst of {found.of}", "of the largest", side, "converted")]
    for one in found.worst[:5]:
        worst, relative = f"{one.difference:.1e}", f"{one.relative:.1e}"
        rows.append((one.name, worst, relative, f"class {one.expected}", f"class {one.actual}"))
    asked = "" if found.is_original else ", built from the same reading; the original was not asked"
    return [
        f"pictures  {found.pictures} compared with {found.oracle}{asked}",
        f"top-1     the same for {found.same_top1}, top-5 for {found.same_top5}",
        f"drift     at most {found.max_difference:.1e} ({found.max_relative:.1e} of the largest), "
        f"{found.mean_difference:.1e} on average",
        *table(rows),
        *(
            f"not read  {printable(one.name)}: {printable(one.reason)}"
            for one in found.unreadable[:SHOWN]
        ),
    ]


def delivery_lines(delivery: Delivery | None) -> list[str]:
    """What another library computes from what was written, what it does not keep, and how it is
    loaded."""
    if delivery is None:
        return []
    rows = [("run by", "input", "worst logit", "of the largest", "allowed", "top-1")]
    rows += [
        (
            one.device,
            _shape(one.shape),
            f"{one.worst.absolute:.1e}",
            f"{one.worst.relative:.1e}",
            f"{one.gate:.0e}",
            f"{one.top1:.0%}",
        )
        for one in delivery.comparisons
    ]
    lines = ["", f"written   for {delivery.destination}"]
    lines += table(rows) if len(rows) > 1 else []
    lines += [delivery.reason] if delivery.reason else []
    lines += [f"not kept  {loss}" for loss in delivery.losses]
    if delivery.strides:
        strides = [f"{name}.stride = {n}" for name, n in delivery.strides.items()]
        lines.append(f"strides   to be set: {', '.join(strides)}")
    return [*lines, "", "to load it:", *(f"    {line}" for line in delivery.usage)]


def trial_lines(trials: Sequence[Trial]) -> list[str]:
    """What the record decided, and which other networks it cannot tell from the chosen one."""
    if len(trials) < 2:
        return []
    chosen, *others = trials
    ties = [str(one) for one in others if one.fits]
    nearest = next((one for one in others if not one.fits), None)
    if not chosen.fits:
        return [f"record    none of {len(trials)} networks gives it; the nearest: {chosen}"]
    lines = [f"record    {len(trials)} networks tried; chosen: {chosen}"]
    lines += [f"          the record cannot tell it from: {tie}" for tie in ties]
    lines += [f"          nearest that does not fit: {nearest}"] if nearest else []
    return lines


def prediction_lines(predictions: Sequence[Prediction]) -> list[str]:
    """The best classes of each example that was read, and of what are no classes the numbers; the
    output is named where there are several."""
    read = [one for one in predictions if not one.error]
    several = any(len(one.values) > 1 for one in read)
    named: list[str] = ["output"] if several else []
    classes = [("picture", *named, "class", "value")]
    others = [("input", *named, "shape", "smallest", "largest", "mean")]
    for one in read:
        for output, values in one.values.items():
            named = [output] if several else []
            classes += [
                (one.name, *named, score.label.name, f"{score.value:.4f}")
                for score in one.outputs.get(output, ())
            ]
            if output not in one.outputs:
                told = (values.min(), values.max(), values.mean())
                numbers = (f"{float(number):.4g}" for number in told)
                others.append((one.name, *named, _shape(values.shape), *numbers))
    tables = [table(rows) for rows in (classes, others) if len(rows) > 1]
    return [line for lines in tables for line in ["", *lines]][1:] or table(classes)


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
    rows = [tuple(shortened(cell, CELL) for cell in row) for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
