"""The story: open, identify, plan, carry over, write a draft, prove it, publish."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from converter.errors import ParityError, SourceError, UsageError, about
from converter.facts.pictures import told_by_record
from converter.files.checkpoint import Array, Checkpoint
from converter.files.opening import open_source
from converter.files.publish import check_target, draft, fingerprint
from converter.files.source import Unchanged, sha256
from converter.formats.delivery import check_expressible, export_plan, layout_of
from converter.identify import identify
from converter.mapping.plan import make_plan
from converter.mapping.sanity import Sanity
from converter.network import Network
from converter.options import Options
from converter.parity.comparing.verdict import not_asked, rests_on
from converter.parity.original.keras_python import ask_python, refuse_code
from converter.parity.original.oracle import KerasChild, choose_oracle
from converter.parity.original.recording import Recording, read_record, why_not_comparable
from converter.parity.prove import Parity, devices, prove_logits, will_ask_keras
from converter.parity.settle import Trial, settle
from converter.report import Report


def convert(
    source: str | Path,
    target: str | Path | None,
    *,
    progress: Callable[[str], None] = lambda message: None,
    **options: Any,
) -> Report:
    """Convert the Keras file `source` to `target` (.pth or .safetensors; with `to`, what that
    destination writes) and prove it; `Report.verdict` says how far.

    The keywords are the fields of `converter.options.Options`; `progress` is told each stage in
    words. Nothing is printed. Raises a subclass of `converter.errors.ConvertError`, and then
    `target` is as it was before.
    """
    settings = Options(**options)
    source, started = Path(source), time.perf_counter()
    if settings.device in ("cuda", "mps"):
        devices(settings.device)
    trials: tuple[Trial, ...] = ()
    with (
        Unchanged(source) as unchanged,
        open_source(source, settings, progress) as opened,
        ThreadPoolExecutor(2) as background,
        KerasChild() as keras,
    ):
        unchanged.add(opened.files)
        hashing = background.submit(sha256, *opened.files)
        with about(source):
            network = identify(opened, settings)
            plan = make_plan(opened, network)
            if not (settings.against or settings.keras_python):  # they may settle on another one
                check_expressible(settings.to, network)
        if settings.dry_run or target is None:
            if target is not None:
                layout_of(settings, Path(target))  # refuses one that the conversion would
            parity = Parity("not compared", reason="dry run")
            export = export_plan(settings.to, network)
            return Report(source, None, opened, network, plan, parity, export=export)
        target = Path(target)
        destination = layout_of(settings, target)
        real = check_target(source, target, settings.force, directory=destination.is_directory)
        recording = recorded(opened, network, settings, progress)
        if recording:
            progress("trying the networks that the file allows")
            network, trials = decide(opened, network, recording, settings)
            plan = make_plan(opened, network)
            check_expressible(settings.to, network)
        # Both import what they need while arrays are read.
        background.submit(importlib.import_module, destination.needs)
        if will_ask_keras(network, settings, recording):
            keras.start(choose_oracle(opened, network).library)
        checkpoint = replace(opened, sha256=hashing.result())
        check_expected(checkpoint, settings)
        sanity = Sanity(plan, settings.allow)
        with draft(real, force=settings.force, directory=destination.is_directory) as one:
            progress("carrying over")
            with about(source):
                destination.write(one, checkpoint, network, plan, sanity.watch(checkpoint))
            finishing = background.submit(one.finish)  # durable while it is read back
            hashing = background.submit(fingerprint, one.path)
            progress("proving every tensor")
            written = destination.prove(one.path, checkpoint, network, plan)
            parity = prove(
                checkpoint, network, written.tensors, settings, progress, recording, keras
            )
            report = Report(
                source,
                target,
                checkpoint,
                network,
                plan,
                parity,
                written.proven,
                seconds=time.perf_counter() - started,
                trials=trials,
                warnings=sanity.warnings,
                export=export_plan(settings.to, network),
            )
            refuse_unproven(report, settings)
            progress("running what was written")
            delivered = destination.compare(one.path, network, written)
            del written  # closes the draft: Windows renames no open file
            report = replace(report, delivery=delivered, seconds=time.perf_counter() - started)
            refuse_undelivered(report, settings)
            digest = hashing.result()
            finishing.result()
            unchanged.check()
    return replace(report, target_sha256=digest)


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
            hints=[
                "give its configuration, --config model.json (what model.to_json() gives), or name "
                "the code that builds it, --build 'package.module:function(arguments)'"
            ],
        )
    if not settings.build:
        refuse_code(checkpoint)
    progress(f"asking {settings.keras_python} for the original's logits")
    config = checkpoint.given.config if checkpoint.given else None
    python, build, code = settings.keras_python, settings.build, settings.code
    return ask_python(python, checkpoint.path, build, network.theano, code, config)


def decide(
    checkpoint: Checkpoint, network: Network, recording: Recording, settings: Options
) -> tuple[Network, tuple[Trial, ...]]:
    """The network that a recording decides for, and the candidates that were tried: what came out
    of softmax proves no logits, and tells networks apart all the same."""
    why_not_comparable(recording, network.described)  # raises for another model's
    if network.lifted:
        return told_by_record(network, recording.preprocess), ()
    network, trials = settle(checkpoint, network, recording, settings)
    if (
        recording.hidden and not trials[0].fits
    ):  # no proof follows that would refuse a wrong reading
        identify(checkpoint, replace(settings, against=None, keras_python=None))
    return told_by_record(network, recording.preprocess), trials


def prove(
    checkpoint: Checkpoint,
    network: Network,
    tensors: Mapping[str, Array],
    settings: Options,
    progress: Callable[[str], None],
    recording: Recording | None,
    keras: KerasChild,
) -> Parity:
    """The comparison of logits, or the reason why there is none."""
    if not settings.parity and not recording:
        return Parity("not compared", reason="--no-parity")
    return prove_logits(checkpoint, network, tensors, settings, progress, recording, keras)


def refuse_unproven(report: Report, settings: Options) -> None:
    """ParityError, with the report, if the logits differ, or had to be equal and are not known
    to be: nobody asked the original, or nothing was compared."""
    parity, proven = report.parity, bool(report.proven_tensors)
    if parity.verdict == "not equal":
        error = not_equal(parity, report.trials)
    elif parity.verdict == "not compared" and settings.require_parity:
        error = ParityError(
            f"the logits were not compared: {parity.reason}",
            hints=["without --require-parity the tensors alone are proven"] * proven,
        )
    elif parity.verdict == "consistent" and settings.require_parity:
        error = ParityError(
            f"the logits are consistent, and not proven equal: {not_asked(parity.reason)}",
            [rests_on(parity.assumed)],
            [
                *how_to_ask(report.checkpoint, report.network),
                "without --require-parity 'consistent' is enough",
            ],
        )
    else:
        return
    raise report.refused(error)


def how_to_ask(checkpoint: Checkpoint, network: Network) -> list[str]:
    """What would ask the original of a file, which a consistent verdict takes to become equal."""
    alone = checkpoint.config is None
    code = ", with --build or --config, what its model is" if alone else ""
    hints = [
        "scripts/record_keras.py records the original where it runs; --against RECORD.npz takes it",
        f"or --keras-python PATH, an interpreter with the Keras that made the file{code}",
    ]
    if alone and (checkpoint.version() or (0,)) >= (2,) and not network.theano:
        hints.append(
            "or --config model.json, what model.to_json() gives, or the whole model (`model.save`) "
            "in the place of its weights: where Keras can load that, it is asked itself"
        )
    return hints


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
            delivered.reason,
            hints=["the extra 'destinations' brings it: pip install '.[destinations]' in a clone"],
        )
    else:
        return
    raise report.refused(error)


SILENT = "faults cancel out or do not reach the logits, or the original's layers have other names"


def headline(parity: Parity) -> str:
    """Of a proof that failed; the oracle's name follows."""
    if parity.logits_agree:
        return "the converted network gives the logits of, and is not the same as,"
    return "the converted network does not give the logits of"


def not_equal(parity: Parity, trials: Sequence[Trial] = ()) -> ParityError:
    """What differs, the first wrong layer by name, the nearest of the networks that were tried,
    and what to try."""
    worst = [one for one in parity.comparisons if one.counts and not one.passes]
    findings = [
        f"{one.dtype} on {one.device}: {one.worst}, allowed {one.gate:.0e}" for one in worst[:4]
    ]
    if parity.blame:
        findings.insert(0, parity.blame)
    if parity.diagnosis:
        findings.insert(1, f"it looks as if {parity.diagnosis}")
    if parity.logits_agree and not parity.diagnosis:
        findings.append(SILENT)
    findings += parity.notes
    if len(trials) > 1 and not trials[0].fits:
        nearest = trials[0]
        tried = sum(not one.without for one in trials)
        findings.append(f"none of {tried} networks that the file allows fits the record")
        findings.append(f"the nearest, {nearest}, differs first at {nearest.differs or 'no layer'}")
    findings += [contradicted(one) for one in trials if one.without]
    return ParityError(
        f"{headline(parity)} {parity.oracle}",
        findings,
        [
            "`inspect-weights SOURCE` shows the facts that rest on a default; options, or a "
            "record, settle them"
        ],
    )


def contradicted(trial: Trial) -> str:
    """That a record fits where an option of the user's is left out."""
    changes = {name: value for name, value in trial.changes.items() if name != trial.without}
    instead = "".join(f", and with {name} {value}" for name, value in changes.items())
    return f"you set {trial.without}; without it{instead} the record fits"


def check_expected(checkpoint: Checkpoint, settings: Options) -> None:
    expected = settings.expect_sha256
    if expected and expected.lower() != checkpoint.sha256:
        raise SourceError(
            f"{checkpoint.path} is not the expected file",
            [f"sha256 expected {expected.lower()}", f"sha256 found    {checkpoint.sha256}"],
        )
