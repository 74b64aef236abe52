"""The story: open, identify, plan, carry over, write a draft, prove it, publish."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from converter.checkpoint import Array, Checkpoint
from converter.discover import modules
from converter.errors import ParityError, SourceError, UsageError, about
from converter.identify import Network, identify
from converter.isolation.reader import open_checkpoint
from converter.options import Options
from converter.parity.keras_python import ask_python
from converter.parity.layers import compared
from converter.parity.prove import Parity, prove_logits, prove_tensors
from converter.parity.recording import Recording, read_record, why_not_comparable
from converter.parity.settle import Trial, settle
from converter.plan import make_plan
from converter.publish import check_target, draft
from converter.report import Report
from converter.sanity import check_sanity
from converter.source import sha256
from resnet_pt.architecture import FORMAT
from resnet_pt.digest import digest


def convert(
    source: str | Path,
    target: str | Path | None,
    *,
    progress: Callable[[str], None] = lambda message: None,
    **options: Any,
) -> Report:
    """Convert the Keras file `source` to `target` (.pth or .safetensors) and prove it equal.

    The keywords are the fields of `converter.options.Options`; `progress` is told each stage in
    words. Nothing is printed. Raises a subclass of `converter.errors.ConvertError`, and then
    `target` is as it was before.
    """
    settings = Options(**options)
    source, started = Path(source), time.perf_counter()
    trials: tuple[Trial, ...] = ()
    with open_checkpoint(source) as opened, ThreadPoolExecutor(2) as background:
        hashing = background.submit(sha256, *opened.files)
        with about(source):
            network = identify(opened, settings)
            plan = make_plan(opened, network)
        if settings.dry_run or target is None:
            return Report(
                source, None, opened, network, plan, Parity("not compared", reason="dry run")
            )
        writer, target = writer_for(Path(target)), Path(target)
        real = check_target(source, target, settings.force)
        recording = recorded(opened, network, settings, progress)
        if recording:
            progress("trying the networks that the file allows")
            network, trials = decide(opened, network, recording, settings)
            plan = make_plan(opened, network)
        background.submit(importlib.import_module, writer.NEEDS)  # while arrays are read
        progress("reading and carrying over")
        with about(source):
            tensors, warnings = check_sanity(plan, plan.tensors(opened), settings.allow)
        checkpoint = replace(opened, sha256=hashing.result())
        check_expected(checkpoint, settings)
        with draft(real, force=settings.force) as one:
            progress("writing")
            writer.write(one.file, tensors, describe(checkpoint, network, tensors))
            one.file.flush()
            finishing = background.submit(one.finish)  # durable while it is read back
            hashing = background.submit(sha256, one.path)
            progress("proving every tensor")
            written, _ = writer.read(one.path)
            proven = prove_tensors(plan, checkpoint, written)
            parity = prove(checkpoint, network, written, settings, progress, recording)
            report = Report(
                source,
                target,
                checkpoint,
                network,
                plan,
                parity,
                proven,
                hashing.result(),
                time.perf_counter() - started,
                trials,
                warnings,
            )
            refuse_unproven(report, settings)
            finishing.result()
    return report


def recorded(
    checkpoint: Checkpoint,
    network: Network,
    settings: Options,
    progress: Callable[[str], None],
) -> Recording | None:
    """What the original computed, where it is to be had: a record, or another interpreter."""
    if settings.against:
        return read_record(settings.against)
    if not settings.keras_python:
        return None
    if checkpoint.config is None and not settings.build:
        raise UsageError(
            f"{checkpoint.path} holds weights only: Keras does not know their network",
            hints=["name the code that builds it: --build package.module:function"],
        )
    progress(f"asking {settings.keras_python} for the original's logits")
    return ask_python(settings.keras_python, checkpoint.path, settings.build, network.theano)


def decide(
    checkpoint: Checkpoint, network: Network, recording: Recording, settings: Options
) -> tuple[Network, tuple[Trial, ...]]:
    """The network that a recording decides for, and the candidates that were tried."""
    if why_not_comparable(recording, network.architecture):
        return network, ()
    return settle(checkpoint, network, recording, settings)


def prove(
    checkpoint: Checkpoint,
    network: Network,
    tensors: Mapping[str, Array],
    settings: Options,
    progress: Callable[[str], None],
    recording: Recording | None,
) -> Parity:
    """The comparison of logits, or the reason why there is none."""
    if not settings.parity and not recording:
        return Parity("not compared", reason="--no-parity")
    return prove_logits(checkpoint, network, tensors, settings, progress, recording)


def refuse_unproven(report: Report, settings: Options) -> None:
    """ParityError, with the report, if the logits differ or were not compared and had to be."""
    parity, proven = report.parity, bool(report.proven_tensors)
    if parity.verdict == "not equal":
        error = not_equal(parity, report.trials)
    elif parity.verdict == "not compared" and settings.require_parity:
        error = ParityError(
            f"the logits were not compared: {parity.reason}",
            hints=["without --require-parity the tensors alone are proven"] * proven,
        )
    else:
        return
    error.report = report
    raise error


def not_equal(parity: Parity, trials: Sequence[Trial] = ()) -> ParityError:
    """What differs, the first wrong layer by name, the nearest of the networks that were tried,
    and what to try."""
    worst = [one for one in parity.comparisons if one.counts and not one.passes]
    findings = [
        f"{one.dtype} on {one.device}: {one.worst}, allowed {one.gate:.0e}" for one in worst[:4]
    ]
    if parity.wrong:
        findings.insert(0, f"the first layer that differs is {parity.wrong}")
    if parity.diagnosis:
        findings.insert(1, f"it looks as if {parity.diagnosis}")
    if len(trials) > 1 and not trials[0].fits:
        nearest = trials[0]
        findings.append(f"none of {len(trials)} networks that the file allows fits the record")
        findings.append(f"the nearest, {nearest}, differs first at {nearest.differs or 'no layer'}")
    return ParityError(
        f"the converted network does not give the logits of {parity.oracle}",
        findings,
        ["`inspect-weights SOURCE` shows the facts that rest on a default; options set them"],
    )


def writer_for(target: Path) -> ModuleType:
    """The writer of a target's suffix."""
    writers = modules("converter.writers")
    for writer in writers:
        if target.suffix in writer.SUFFIXES:
            return writer
    known = ", ".join(suffix for writer in writers for suffix in writer.SUFFIXES)
    raise UsageError(f"TARGET {target} needs a suffix that says its format: {known}")


def describe(
    checkpoint: Checkpoint, network: Network, tensors: Mapping[str, Array]
) -> dict[str, Any]:
    """What travels with the tensors. No name of a file: the same input gives the same bytes."""
    description: dict[str, Any] = {
        "format": FORMAT,
        "architecture": network.architecture.to_dict(),
        "facts": [
            {"name": f.name, "value": f.value, "evidence": str(f.evidence)} for f in network.facts
        ],
        "layers": compared(network.structure),
        "source_sha256": checkpoint.sha256,
    }
    return {**description, "sha256": digest(description, tensors.items())}


def check_expected(checkpoint: Checkpoint, settings: Options) -> None:
    expected = settings.expect_sha256
    if expected and expected.lower() != checkpoint.sha256:
        raise SourceError(
            f"{checkpoint.path} is not the expected file",
            [f"sha256 expected {expected.lower()}", f"sha256 found    {checkpoint.sha256}"],
        )
