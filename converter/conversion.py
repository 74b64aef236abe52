"""The story: open, identify, plan, carry over, write a draft, prove it, publish."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from converter.checkpoint import Array, Checkpoint
from converter.delivery import check_expressible, delivery
from converter.errors import ParityError, SourceError
from converter.identify import Network, identify
from converter.options import Options
from converter.parity.prove import Parity, prove_logits
from converter.parity.recording import read_record, why_not_comparable
from converter.parity.settle import Trial, settle
from converter.plan import make_plan
from converter.publish import check_target, draft, fingerprint
from converter.report import Report
from converter.sanity import check_sanity
from converter.source import open_checkpoint, sha256


def convert(
    source: str | Path,
    target: str | Path | None,
    *,
    progress: Callable[[str], None] = lambda message: None,
    **options: Any,
) -> Report:
    """Convert the Keras file `source` to `target` (.pth or .safetensors; with `to`, what that
    destination writes) and prove it equal.

    The keywords are the fields of `converter.options.Options`; `progress` is told each stage in
    words. Nothing is printed. Raises a subclass of `converter.errors.ConvertError`, and then
    `target` is as it was before.
    """
    settings = Options(**options)
    source, started = Path(source), time.perf_counter()
    trials: tuple[Trial, ...] = ()
    with open_checkpoint(source) as opened, ThreadPoolExecutor(2) as background:
        hashing = background.submit(sha256, source)
        network = identify(opened, settings)
        plan = make_plan(opened, network)
        if not settings.against:  # a record may settle on another network
            check_expressible(settings.to, network.architecture)
        if settings.dry_run or target is None:
            return Report(
                source, None, opened, network, plan, Parity("not compared", reason="dry run")
            )
        target = Path(target)
        destination = delivery(settings, target)
        real = check_target(source, target, settings.force, directory=destination.is_directory)
        if settings.against:
            progress("trying the networks that the file allows")
            record = read_record(settings.against)
            if not why_not_comparable(record, network.architecture):
                network, trials = settle(opened, network, record, settings)
                plan = make_plan(opened, network)
            check_expressible(settings.to, network.architecture)
        background.submit(importlib.import_module, destination.needs)  # while arrays are read
        progress("reading and carrying over")
        tensors = check_sanity(plan, plan.tensors(opened))
        checkpoint = replace(opened, sha256=hashing.result())
        check_expected(checkpoint, settings)
        with draft(real, force=settings.force, directory=destination.is_directory) as one:
            progress("writing")
            destination.write(one, checkpoint, network, tensors)
            finishing = background.submit(one.finish)  # durable while it is read back
            hashing = background.submit(fingerprint, one.path)
            progress("proving every tensor")
            written = destination.prove(one.path, checkpoint, network, plan)
            parity = prove(checkpoint, network, written.tensors, settings, progress)
            report = Report(
                source,
                target,
                checkpoint,
                network,
                plan,
                parity,
                written.proven,
                hashing.result(),
                time.perf_counter() - started,
                trials,
            )
            refuse_unproven(report, settings)
            progress("running what was written")
            delivered = destination.compare(one.path, network, written.tensors)
            report = replace(report, delivery=delivered, seconds=time.perf_counter() - started)
            refuse_undelivered(report, settings)
            finishing.result()
    return report


def prove(
    checkpoint: Checkpoint,
    network: Network,
    tensors: Mapping[str, Array],
    settings: Options,
    progress: Callable[[str], None],
) -> Parity:
    """The comparison of logits, or the reason why there is none."""
    if not settings.parity and not settings.against:
        return Parity("not compared", reason="--no-parity")
    return prove_logits(checkpoint, network, tensors, settings, progress)


def refuse_unproven(report: Report, settings: Options) -> None:
    """ParityError, with the report, if the logits differ or were not compared and had to be."""
    parity = report.parity
    if parity.verdict == "not equal":
        error = not_equal(parity)
    elif parity.verdict == "not compared" and settings.require_parity:
        error = ParityError(
            f"the logits were not compared: {parity.reason}",
            hints=["without --require-parity the tensors alone are proven"],
        )
    else:
        return
    error.report = report
    raise error


def refuse_undelivered(report: Report, settings: Options) -> None:
    """ParityError, with the report, if the destination's own library computes something else
    from what was written, or had to be asked and could not be."""
    delivered = report.delivery
    if delivered is None:
        return
    wrong = [one for one in delivered.comparisons if not one.passes]
    if wrong:
        error = ParityError(
            f"{delivered.destination} does not give the logits of the converted network",
            [f"{one.device}: {one.worst}, allowed {one.gate:.0e}" for one in wrong],
        )
    elif settings.require_parity and not delivered.library:
        error = ParityError(
            delivered.reason, hints=["pip install 'convert-weights[destinations]' brings it"]
        )
    else:
        return
    error.report = report
    raise error


def not_equal(parity: Parity) -> ParityError:
    """What differs, the first wrong layer by name, and what to try."""
    worst = [one for one in parity.comparisons if one.counts and not one.passes]
    findings = [
        f"{one.dtype} on {one.device}: {one.worst}, allowed {one.gate:.0e}" for one in worst[:4]
    ]
    if parity.first_wrong_layer:
        found = next(one for one in parity.layers if one.name == parity.first_wrong_layer)
        findings.insert(0, f"the first layer that differs is {found}")
    return ParityError(
        f"the converted network does not give the logits of {parity.oracle}",
        findings,
        ["`inspect-weights SOURCE` shows the facts that rest on a default; options set them"],
    )


def check_expected(checkpoint: Checkpoint, settings: Options) -> None:
    expected = settings.expect_sha256
    if expected and expected.lower() != checkpoint.sha256:
        raise SourceError(
            f"{checkpoint.path} is not the expected file",
            [f"sha256 expected {expected.lower()}", f"sha256 found    {checkpoint.sha256}"],
        )
