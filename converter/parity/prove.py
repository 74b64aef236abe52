"""The proof of a conversion: every tensor bit for bit, then the logits against the original."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from converter.checkpoint import Array, Checkpoint, as_float32
from converter.errors import ParityError, SourceError, UsageError
from converter.parity.compare import GATES, LAYER_GATES, Difference, difference
from converter.parity.inputs import inputs
from converter.parity.oracle import OracleError, ask, choose_oracle, is_installed
from converter.parity.recording import Pass, Recording, read_record, why_not_comparable
from converter.plan import Plan

if TYPE_CHECKING:
    from converter.identify import Network
    from converter.options import Options

Verdict = Literal["equal", "not equal", "not compared"]
Progress = Callable[[str], None]

NO_KERAS = "Keras is not installed; `pip install 'convert-weights[keras]'` brings it"

OLD_VARIANCE = (
    "no Keras that runs today normalises as this one did; compare with a record of it (--against)"
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The logits of one input on one device in one dtype, against the original's."""

    device: str
    dtype: str
    gate_dtype: str
    shape: tuple[int, ...]
    worst: Difference
    top1: float
    counts: bool = True
    """False for what is only reported (TF32)."""

    @property
    def gate(self) -> float:
        return GATES[self.gate_dtype]

    @property
    def passes(self) -> bool:
        return self.worst.relative <= self.gate


@dataclass(frozen=True, slots=True)
class Parity:
    """The outcome of a comparison with the original."""

    verdict: Verdict
    oracle: str = ""
    reason: str = ""
    comparisons: tuple[Comparison, ...] = ()
    layers: tuple[Difference, ...] = ()
    first_wrong_layer: str | None = None
    notes: tuple[str, ...] = ()


def prove_tensors(plan: Plan, checkpoint: Checkpoint, written: Mapping[str, Array]) -> int:
    """Undo every step on what was read back from the draft and compare with SOURCE, read anew.

    Returns the number of tensors proven. Raises ParityError for the least difference: every bit
    of a float32 source, the bits of its one rounding for another dtype.
    """
    wrong: list[str] = []
    expected = {step.target for step in plan.steps}
    wrong += [f"{name} is in only one of plan and file" for name in expected ^ written.keys()]
    steps = {step.source: step for step in plan.mapped}
    for weight, array in checkpoint.arrays([w for w in checkpoint.weights if w in steps]):
        step, tensor = steps[weight], written.get(steps[weight].target)
        if tensor is None:
            continue
        if step.is_exact:
            same = same_bits(step.undo(tensor), as_float32(array))
        else:
            same = same_bits(tensor, step.apply(array))
        wrong += [] if same else [f"{step.target} is not {weight}"]
    for step in plan.steps:
        if step.source is None and step.target in written:
            same = same_bits(written[step.target], step.value())
            wrong += [] if same else [f"{step.target} is not {step.constant}"]
    if wrong:
        raise ParityError("the written tensors are not the source's", wrong)
    return len(plan.steps)


def same_bits(one: Array, other: Array) -> bool:
    """Whether two arrays have one shape, one dtype and the same bits."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    whole_number = np.dtype(f"u{one.dtype.itemsize}")
    return np.array_equal(one.view(whole_number), other.view(whole_number))


def prove_logits(
    checkpoint: Checkpoint,
    network: Network,
    tensors: Mapping[str, Array],
    options: Options,
    progress: Progress,
) -> Parity:
    """Run the original and the converted network on the same inputs, and compare."""
    if options.against:
        recording = read_record(options.against)
        reason = why_not_comparable(recording, network.architecture)
        if reason:
            return Parity("not compared", recording.oracle, reason)
    elif network.variance:
        return Parity("not compared", reason=OLD_VARIANCE)
    elif not is_installed():
        return Parity("not compared", reason=NO_KERAS)
    else:
        try:
            recording = ask_keras(checkpoint, network, progress)
        except OracleError as error:
            return Parity("not compared", reason=f"Keras could not run the original: {error}")
    progress("running the converted network")
    parity = compare(network, tensors, recording, devices(options.device))
    return replace(parity, notes=notes(recording, checkpoint))


def notes(recording: Recording, checkpoint: Checkpoint) -> tuple[str, ...]:
    """What is odd about a record and does not stop its use."""
    made_from = recording.meta.get("sha256")
    if made_from in (None, checkpoint.sha256):
        return ()
    return (f"the record was made from another file (sha256 {made_from})",)


def ask_keras(checkpoint: Checkpoint, network: Network, progress: Progress) -> Recording:
    """Keras' own answer; where it cannot load the file after all, the bundled definition's."""
    oracle = choose_oracle(checkpoint, network)
    size = network.architecture.input_size if oracle.fixed_size else None
    progress("asking Keras for the original's logits")
    try:
        return ask(oracle, checkpoint, network, inputs(network.architecture, size))
    except OracleError as error:
        if oracle.kind != "load":
            raise
        progress("asking the bundled Keras definition")
        build = type(oracle)("build", f"Keras could not load the model: {error}")
        return ask(build, checkpoint, network, inputs(network.architecture, None))


def devices(wanted: str) -> tuple[str, ...]:
    """The CPU, and the accelerator that is asked for ('auto': any that is there)."""
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return ("cpu", *(name for name, is_there in there.items() if is_there))
    if wanted != "cpu" and not there[wanted]:
        raise UsageError(f"--device {wanted}: torch finds no such device here")
    return ("cpu",) if wanted == "cpu" else ("cpu", wanted)


def compare(
    network: Network, tensors: Mapping[str, Array], recording: Recording, where: Sequence[str]
) -> Parity:
    """Every pass of a recording on every device; samples of layers from the first float64 pass
    (or the first pass at all) on the CPU."""
    from converter.parity import torch_run

    model = torch_run.build(network.architecture, tensors)
    comparisons: list[Comparison] = []
    layers: tuple[Difference, ...] = ()
    for device in where:
        for one, dtype, exact in runs(recording, device):
            wanted = one.layers if not layers else {}
            with (
                torch_run.arithmetic(exact),
                torch_run.sampled(model, network.structure.outputs, wanted) as seen,
            ):
                results = torch_run.run(model, one.input, dtype, device)
            comparisons += _compared(results, one, device, dtype, exact)
            layers = layers or tuple(
                difference(layer, value, wanted[layer].value) for layer, value in seen.items()
            )
    return _judged(recording, comparisons, layers)


def runs(recording: Recording, device: str) -> list[tuple[Pass, str, bool]]:
    """(pass, dtype to run in, whether exactly): each pass in its own dtype; a float32 record in
    float64 too, where the converted network adds no rounding of its own.

    On CUDA the float32 passes run with TF32 as well, as they may in production; that is reported
    and never enters the verdict.
    """
    found = [(one, one.dtype) for one in recording.passes]
    if all(one.dtype == "float32" for one in recording.passes):
        found = [(one, dtype) for one in recording.passes for dtype in ("float64", "float32")]
    exact = [(one, dtype, True) for one, dtype in found if (device, dtype) != ("mps", "float64")]
    tf32 = [(one, dtype, False) for one, dtype in found if (device, dtype) == ("cuda", "float32")]
    return exact + tf32


def _compared(
    results: Mapping[str, Array], one: Pass, device: str, dtype: str, exact: bool
) -> list[Comparison]:
    ran = dtype if exact else f"{dtype} (TF32)"
    gate = "float64" if dtype == one.dtype == "float64" else "float32"
    found = []
    for name, expected in one.logits.items():
        actual = results.get(name, np.zeros(0))
        top1 = float("nan")
        if actual.shape == expected.shape:
            top1 = float(np.mean(actual.argmax(-1) == expected.argmax(-1)))
        worst = difference(name or "logits", actual, expected)
        found.append(Comparison(device, ran, gate, tuple(one.input.shape), worst, top1, exact))
    return found


def _judged(
    recording: Recording, comparisons: Sequence[Comparison], layers: tuple[Difference, ...]
) -> Parity:
    failed = [one for one in comparisons if one.counts and not one.passes]
    first = next((one.name for one in layers if one.relative > _layer_gate(recording)), None)
    verdict: Verdict = "not equal" if failed or not comparisons else "equal"
    nowhere = [one.name for one in layers if not np.isfinite(one.absolute)]
    if verdict == "equal" and nowhere:
        raise SourceError(
            f"the record's logits are this network's, but its layer {nowhere[0]!r} is not: the "
            "record is damaged",
            hints=["make it anew with scripts/record_keras.py"],
        )
    return Parity(
        verdict=verdict,
        oracle=recording.oracle,
        reason=str(recording.meta.get("reason", "")),
        comparisons=tuple(comparisons),
        layers=layers,
        first_wrong_layer=first if verdict == "not equal" else None,
    )


def _layer_gate(recording: Recording) -> float:
    return LAYER_GATES[recording.passes[0].dtype]
