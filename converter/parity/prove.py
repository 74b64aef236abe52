"""The proof of a conversion: every tensor bit for bit, then the logits against the original."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from converter.errors import ParityError, SourceError, UsageError
from converter.files.checkpoint import Array, Checkpoint, as_float32
from converter.mapping.plan import Plan
from converter.parity.comparing.compare import GATES, Difference, difference
from converter.parity.comparing.inputs import (
    inputs,
    inputs_of_program,
    is_too_large,
    too_large,
    too_large_for,
)
from converter.parity.comparing.layers import (
    LayerError,
    Watch,
    compared,
    description,
    first_wrong,
    with_stem_pool,
)
from converter.parity.comparing.outputs import OutputActivation, output_activations
from converter.parity.comparing.pairs import Pair, pairs
from converter.parity.comparing.recovered import Recovered, recovered
from converter.parity.comparing.rounding import FEATURES, share
from converter.parity.comparing.sizes import NoSizeError
from converter.parity.comparing.verdict import AGREEING, Verdict, first_that_differs, sentence
from converter.parity.original.oracle import (
    KerasChild,
    OracleError,
    UnreadError,
    ask,
    choose_oracle,
    is_installed,
    with_code_to_run,
)
from converter.parity.original.recording import (
    Pass,
    Recording,
    output_names,
    why_not_comparable,
)
from resnet_pt.architecture import Architecture
from resnet_pt.ops import Supplied
from resnet_pt.program import Program

if TYPE_CHECKING:
    from converter.network import Network
    from converter.options import Options
    from converter.parity.comparing.torch_run import Look, Results
    from resnet_pt.general import General
    from resnet_pt.network import ResNet

Progress = Callable[[str], None]

NO_KERAS = "Keras is not installed; `pip install tf-keras` brings Keras 2 and 3"

OLD_VARIANCE = (
    "no Keras that runs today normalises as this one did; compare with a record of it (--against)"
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The logits of one input on one device in one dtype, against the original's.

    `top1` is the share of pictures whose first class is the same, `top5` the share of the
    original's first five classes that are among the first five here.
    """

    device: str
    dtype: str
    gate_dtype: str
    shape: tuple[int, ...]
    worst: Difference
    top1: float
    top5: float = float("nan")
    counts: bool = True
    """False for what is only reported (TF32, bfloat16)."""
    pairs: tuple[Pair, ...] = ()
    """Some of the logits, for a report."""
    rounding: float = 0.0
    """What rounding may do to a logit that is near 0, or to features, relative to the largest."""

    @property
    def gate(self) -> float:
        return max(GATES[self.gate_dtype], self.rounding)

    @property
    def passes(self) -> bool:
        return self.worst.relative <= self.gate


@dataclass(frozen=True, slots=True)
class Parity:
    """The outcome of a comparison with the original, or with what was built in its place.

    `oracle` is what the converted network was compared with, `is_original` whether that is the
    original, and `reason` why it was that one, or why there was none. `assumed` are the facts, by
    name, that a consistent verdict rests on. `noise` is what rounding alone does to the logits,
    measured in this run on the converted network, relative to the largest: `{dtype: error}`.
    `diagnosis` says what the first wrong layer looks like, where the numbers tell. `unjudged` are
    layers of the converted network that the original's side does not hold, `unnamed` the record's
    layers that no module is compared with, and `ties` other networks that this comparison cannot
    tell from the converted one.
    """

    verdict: Verdict
    oracle: str = ""
    reason: str = ""
    comparisons: tuple[Comparison, ...] = ()
    layers: tuple[LayerError, ...] = ()
    first_wrong_layer: str | None = None
    notes: tuple[str, ...] = ()
    noise: Mapping[str, float] = field(default_factory=dict)
    diagnosis: str = ""
    unjudged: tuple[str, ...] = ()
    unnamed: tuple[str, ...] = ()
    ties: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    is_original: bool = True

    def __str__(self) -> str:
        """The verdict in one sentence."""
        return sentence(self.verdict, self.oracle, self.reason, self.assumed)

    @property
    def agrees(self) -> bool:
        """Whether it was compared, and every error is within its gate."""
        return self.verdict in AGREEING

    @property
    def wrong(self) -> LayerError | None:
        """The first wrong layer's errors; None where it is what follows its logits that differs."""
        named = (one for one in self.layers if one.name == self.first_wrong_layer)
        return next((one for one in named if not one.passes or one.relative > one.gate), None)

    @property
    def doubt(self) -> str:
        """Why the fault may be before the first wrong layer; '' if it is that layer's own."""
        return self.wrong.doubt if self.wrong else ""

    @property
    def blame(self) -> str:
        """The first wrong layer in words, with what is not known; '' where none is to blame."""
        return f"{first_that_differs(self.doubt)} is {self.wrong}" if self.wrong else ""

    @property
    def logits_agree(self) -> bool:
        """Whether every logit is within its gate."""
        counted = [one for one in self.comparisons if one.counts]
        return bool(counted) and all(one.passes for one in counted)


def prove_tensors(plan: Plan, checkpoint: Checkpoint, written: Mapping[str, Array]) -> int:
    """Undo every step on what was read back from the draft and compare with SOURCE, read anew.

    Returns the number of tensors proven. Raises ParityError for the least difference: every bit
    of a float32 source, the bits of its one rounding for another dtype.
    """
    wrong = wrong_tensors(plan, checkpoint, written)
    if wrong:
        raise ParityError("the written tensors are not the source's", list(wrong.values()))
    return len(plan.steps)


def wrong_tensors(
    plan: Plan, checkpoint: Checkpoint, written: Mapping[str, Array]
) -> dict[str, str]:
    """`{tensor: what is wrong with it}`, in words; {} if every bit is right."""
    expected = {step.target for step in plan.steps}
    wrong = {name: f"{name} is in only one of plan and file" for name in expected ^ written.keys()}
    steps = plan.by_source
    for weight, array in checkpoint.arrays([w for w in checkpoint.weights if w in steps]):
        for step in steps[weight]:
            tensor = written.get(step.target)
            if tensor is None:
                continue
            if step.is_exact:
                same = same_bits(step.undo(tensor), as_float32(array))
            else:
                same = same_bits(tensor, step.apply(array))
            wrong.update({} if same else {step.target: f"{step.target} is not {weight}"})
    for step in plan.steps:
        if step.source is None and step.target in written:
            same = same_bits(written[step.target], step.value())
            wrong.update({} if same else {step.target: f"{step.target} is not {step.constant}"})
    return wrong


def same_bits(one: Array, other: Array) -> bool:
    """Whether two arrays have one shape, one dtype and the same bits."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    whole_number = np.dtype(f"u{one.dtype.itemsize}")
    return np.array_equal(one.view(whole_number), other.view(whole_number))


CONTRADICTED = "options make it another network than the file's own configuration describes"


def prove_logits(
    checkpoint: Checkpoint,
    network: Network,
    tensors: Mapping[str, Array],
    options: Options,
    progress: Progress,
    recording: Recording | None,
    keras: KerasChild,
) -> Parity:
    """Run the original, unless there is a recording of it, and the converted network on the same
    inputs, and compare."""
    is_given = recording is not None
    if recording:
        reason = why_not_run(recording, network.described)
        if reason:
            return Parity("not compared", recording.oracle, reason)
    elif network.variance:
        return Parity("not compared", reason=OLD_VARIANCE)
    elif supplied(network):
        return Parity("not compared", reason=SUPPLIED.format(", ".join(supplied(network)[:4])))
    elif network.lifted and with_code_to_run(checkpoint, network):
        return Parity("not compared", reason=with_code_to_run(checkpoint, network))
    elif not is_installed():
        return Parity("not compared", reason=NO_KERAS)
    else:
        try:
            recording = finite(ask_keras(keras, checkpoint, network, progress))
        except NoSizeError as error:
            return Parity("not compared", reason=error.headline)
        except OracleError as error:
            return Parity("not compared", reason=f"Keras could not run the original: {error}")
    progress("running the converted network")
    parity = compare(network, tensors, recording, devices(options.device))
    if is_given and is_in_half(network) and within_half(parity):
        worst = max(one.worst.relative for one in parity.comparisons)
        reason = f"{HALF} (they are {worst:.1e} of the largest apart)"
        return Parity("not compared", recording.oracle, reason, noise=parity.noise)
    contradicted = (CONTRADICTED,) if checkpoint.config and network.is_changed else ()
    found = (*parity.notes, *contradicted, *notes(recording, checkpoint.sha256))
    assumed = network.assumed if parity.verdict == "consistent" else ()
    return replace(parity, notes=found, assumed=assumed)


HALF = "the original computed in half precision, whose rounding hides differences of logits"
HALF_GATE = 1e-2
"""Some ten units of float16, relative to the largest logit: what is beyond is no rounding."""


def is_in_half(network: Network) -> bool:
    """Whether the model's policy says that its layers compute in half precision."""
    return any(fact.name == "precision" for fact in network.facts)


def within_half(parity: Parity) -> bool:
    """Whether the logits differ by no more than half precision may make them."""
    apart = [one.worst.relative for one in parity.comparisons if one.counts]
    return parity.verdict == "not equal" and bool(apart) and max(apart) <= HALF_GATE


def finite(recording: Recording) -> Recording:
    """The passes in which the original gave numbers. Raises OracleError where it gave none: an
    exponential of pictures in [0, 255] is endless."""
    numbers = [
        one
        for one in recording.passes
        if all(np.isfinite(logits).all() for logits in one.logits.values())
    ]
    lost = len(recording.passes) - len(numbers)
    if not numbers:
        raise OracleError("what it gives is endless for every input that was tried")
    if not lost:
        return recording
    note = f"{lost} of {len(recording.passes)} inputs are endless in the original, and not compared"
    return replace(recording, passes=tuple(numbers), notes=(*recording.notes, note))


def why_not_run(recording: Recording, network: Architecture | Program) -> str:
    """Why a network is not run on a recording's pictures; '' if it is."""
    if isinstance(network, Program):
        reason = why_not_comparable(recording, network)
        return reason or too_large_for(network, recording.passes[0].inputs)
    architecture = network
    sizes = {one.input.shape[1:3] for one in recording.passes}
    large = [too_large(architecture, size) for size in sizes if is_too_large(architecture, size)]
    return why_not_comparable(recording, architecture) or "".join(large[:1])


def notes(recording: Recording, source: str) -> tuple[str, ...]:
    """What is odd about a record and does not stop its use; `source` is the SHA-256 of the Keras
    file that the network is from, '' of one that was saved again and does not say it."""
    made_from = recording.meta.get("sha256")
    if not source or made_from in (None, source):
        return recording.notes
    return (f"the record was made from another file (sha256 {made_from})", *recording.notes)


def will_ask_keras(network: Network, options: Options, recording: Recording | None) -> bool:
    """Whether `prove_logits` will need Keras."""
    is_asked = options.parity and not recording and not network.variance
    return is_asked and not supplied(network) and is_installed()


SUPPLIED = (
    "code of your own computes {}, and Keras has none for them: a record of the original proves "
    "it (scripts/record_keras.py, --against)"
)


def supplied(network: Network) -> list[str]:
    """The layers that the user's own file computes."""
    layers = network.lifted.program.layers if network.lifted else ()
    found = [repr(layer.original) for layer in layers if isinstance(layer.op, Supplied)]
    return list(dict.fromkeys(found))


def ask_keras(
    keras: KerasChild, checkpoint: Checkpoint, network: Network, progress: Progress
) -> Recording:
    """Keras' own answer; where it has read the file and cannot load the model after all, the
    bundled definition's."""
    oracle = choose_oracle(checkpoint, network)
    if network.lifted:
        if not oracle.is_original:
            raise OracleError(oracle.reason)
        progress("asking Keras for the original's logits")
        return ask(keras, oracle, checkpoint, network, inputs_of_program(network.program))
    size = network.architecture.input_size if oracle.fixed_size else None
    if size and is_too_large(network.architecture, size):
        oracle, size = type(oracle)("build", too_large(network.architecture, size)), None
    progress("asking Keras for the original's logits")
    try:
        return ask(keras, oracle, checkpoint, network, inputs(network.architecture, size))
    except OracleError as error:
        if oracle.kind != "load" or isinstance(error, UnreadError):
            raise
        progress("asking the bundled Keras definition")
        build = type(oracle)("build", f"Keras could not load and run the model: {error}")
        return ask(keras, build, checkpoint, network, inputs(network.architecture, None))


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
    """Every pass of a recording on every device, and every layer that it knows on the CPU."""
    from converter.parity.comparing import torch_run

    model = torch_run.build(network.described, tensors)
    return compare_model(model, compared(network.structure), recording, where)


def compare_model(
    model: ResNet | General,
    outputs: Mapping[str, str],
    recording: Recording,
    where: Sequence[str],
) -> Parity:
    """The same for a network that is there: `outputs` is `{torch module: Keras layer}`.

    The network comes back in another dtype, and on another device, than it was given in.
    """
    from converter.parity.comparing import torch_run

    outputs = with_stem_pool(model, outputs)
    told = what_is_told(model, recording)
    recording = with_logits(recording, told)
    ran: list[tuple[Results, Pass, str, str, str]] = []
    activations: tuple[OutputActivation, ...] = ()
    first = recording.passes[0]
    watch = Watch(first)
    noise = Noise()
    for device in where:
        for number, (one, dtype, reduced) in enumerate(runs(recording, device)):
            look = _look(watch, one, dtype, number) if device == "cpu" else None
            try:
                with (
                    torch_run.arithmetic(reduced, device),
                    torch_run.watched(model, outputs, watch.wanted(look, outputs), look),
                ):
                    results = torch_run.run(model, one.inputs, dtype, device)
                as_told(results, told)
            except torch_run.CannotRunError as error:
                return _broken_off(model, outputs, recording, watch, str(error))
            ran.append((results, one, device, dtype, reduced))
            if number == 0 and device == "cpu":
                watch.finishing(model, outputs, results)
                activations = _output_activations(model, one, results)
            if not reduced:
                noise.tell(one.input, dtype, device, results)
    comparisons = [one for run in ran for one in _compared(*run, noise)]
    picture = [one[:1] for one in first.inputs]
    if first.dtype == "float64":
        with torch_run.watched(model, outputs, first.known, watch.rounding):
            noise.reordered(first.input, torch_run.run_reordered(model, picture, "float64"))
    # Maps of two sizes may meet where only some layers are known whole and one is wrong.
    with (
        suppress(RuntimeError),
        torch_run.watched(model, outputs, first.known, watch.alone),
    ):
        results = torch_run.run(model, picture, "float64", "cpu")
        as_told(results, told)
        watch.finishing_alone(model, outputs, results)
    parity = _judged(recording, comparisons, watch.errors(), noise.floor, activations)
    diagnosis = parity.diagnosis or _diagnosis(model, outputs, first, parity.wrong)
    noted = (
        *parity.notes,
        *((UP_TO,) if any(one.top is not None for one in told.values()) else ()),
    )
    return _covered(replace(parity, diagnosis=diagnosis, notes=noted), outputs, first)


UP_TO = (
    "the record holds no logits: what came out of softmax tells them, up to what is added to all"
)


def _broken_off(
    model: Any, outputs: Mapping[str, str], recording: Recording, watch: Watch, why: str
) -> Parity:
    """A network that cannot run on the original's input, as far as it came: once more, to see what
    rounding does to its layers, and with each fed the original's."""
    from converter.parity.comparing import torch_run

    first = recording.passes[0]
    ran = {layer for layer in first.known if layer in watch.modules or layer in first.calls}
    for dtype, look in (("float32", watch.rounding), ("float64", watch.alone)):
        with suppress(RuntimeError), torch_run.watched(model, outputs, ran, look):
            torch_run.run(model, [one[:1] for one in first.inputs], dtype, "cpu")
    parity = _judged(recording, [], watch.errors(), {})
    words = _diagnosis(model, outputs, first, parity.wrong)
    note = f"it cannot run on the original's input: {why}"
    parity = replace(parity, diagnosis=words, notes=(note, *parity.notes))
    return _covered(parity, outputs, first)


def what_is_told(model: Any, recording: Recording) -> dict[str, Recovered]:
    """`{output: its logits}`, of those of which a record has only what came out of the activation
    that the network leaves out."""
    network = description(model)
    names = {} if network is None else output_names(network)
    first = recording.passes[0].logits
    found = {n: recovered(first[n], names[n].activation) for n in recording.hidden & names.keys()}
    return {name: one for name, one in found.items() if one}


def with_logits(recording: Recording, told: Mapping[str, Recovered]) -> Recording:
    """The record with what is told of logits for them."""
    (first, *rest) = recording.passes
    logits = {**first.logits, **{name: one.logits for name, one in told.items()}}
    return replace(recording, passes=(replace(first, logits=logits), *rest)) if told else recording


def as_told(results: Results, told: Mapping[str, Recovered]) -> None:
    """Set the results of these outputs as far off as the record tells that they are."""
    results.update({n: one.nearest(results[n]) for n, one in told.items() if n in results})


def _output_activations(
    model: ResNet | General, one: Pass, results: Mapping[str, Array]
) -> tuple[OutputActivation, ...]:
    network = description(model)
    return () if network is None else output_activations(network, one, results)


def _covered(parity: Parity, outputs: Mapping[str, str], first: Pass) -> Parity:
    """With the names of what was not held against each other."""
    judged = {one.name for one in parity.layers}
    judged |= {layer for layer, names in first.calls.items() if judged & set(names)}
    return replace(
        parity,
        unjudged=tuple(dict.fromkeys(name for name in outputs.values() if name not in judged)),
        unnamed=tuple(name for name in first.layers if name not in judged),
    )


def _diagnosis(model: Any, outputs: Mapping[str, str], one: Pass, wrong: LayerError | None) -> str:
    from converter.parity.faults.diagnosis import diagnose

    if isinstance(description(model), Program):
        return ""
    return diagnose(model, outputs, one, wrong) if wrong else ""


def _look(watch: Watch, one: Pass, dtype: str, number: int) -> Look | None:
    """What looks at a run on the CPU: its layers at first, then, for a float32 record, what
    rounding does to them."""
    if number == 0:
        return watch.running
    return watch.rounding if one is watch.one and dtype == "float32" else None


class Noise:
    """What rounding alone does to the converted network's logits: float32 against float64, and
    float64 against float64 with its sums in another order, relative to the largest logit."""

    def __init__(self) -> None:
        self.floor: dict[str, float] = {}
        self._wide: dict[int, Results] = {}
        self._sums: dict[int, float] = {}
        self._features: dict[tuple[int, str], float] = {}

    def tell(self, picture: Array, dtype: str, device: str, results: Results) -> None:
        if dtype == "float64" and device == "cpu":
            self._wide[id(picture)] = results
        elif dtype == "float32" and id(picture) in self._wide:
            where = dtype if device == "cpu" else f"{dtype} on {device}"
            wide = self._wide[id(picture)]
            self._measured(where, results, wide)
            found = [sums.noise(wide.sums[name]) for name, sums in results.sums.items()]
            self._sums[id(picture)] = max([self.of_sums(picture), *found])
            for name, features in results.items():
                apart = difference(name, features, wide[name]).relative
                if np.isfinite(apart):
                    before = self.of_features(picture, name)
                    self._features[id(picture), name] = max(before, apart)

    def of_features(self, picture: Array, name: str) -> float:
        """What float32 does to the worst number of an output, relative to the largest."""
        return self._features.get((id(picture), name), 0.0)

    def of_sums(self, picture: Array) -> float:
        """One standard deviation of what float32 does to the sums of the last Dense layer."""
        return self._sums.get(id(picture), 0.0)

    def reordered(self, picture: Array, results: Mapping[str, Array]) -> None:
        self._measured("float64", results, self._wide[id(picture)])

    def _measured(self, key: str, one: Mapping[str, Array], other: Mapping[str, Array]) -> None:
        found = [difference(name, one[name][:1], other[name][:1]).relative for name in one]
        self.floor[key] = max([self.floor.get(key, 0.0), *found])


def runs(recording: Recording, device: str) -> list[tuple[Pass, str, str]]:
    """(pass, dtype to run in, reduced arithmetic or ''): each pass in its own dtype; a float32
    record in float64 too, where the converted network adds no rounding of its own.

    On CUDA the float32 passes run with TF32 and in bfloat16 as well, as they may in production;
    that is reported and never enters the verdict.
    """
    found = [(one, one.dtype) for one in recording.passes]
    if all(one.dtype == "float32" for one in recording.passes):
        found = [(one, dtype) for one in recording.passes for dtype in ("float64", "float32")]
    exact = [(one, dtype, "") for one, dtype in found if (device, dtype) != ("mps", "float64")]
    if device != "cuda":
        return exact
    single = [one for one, dtype in found if dtype == "float32"]
    return exact + [(one, "float32", kind) for kind in ("TF32", "bfloat16") for one in single]


def _compared(
    results: Results, one: Pass, device: str, dtype: str, reduced: str, noise: Noise
) -> list[Comparison]:
    gate = "float64" if dtype == one.dtype == "float64" else "float32"
    ran = {"TF32": f"{dtype} (TF32)"}.get(reduced, reduced) or dtype
    found = []
    for name, expected in one.logits.items():
        actual = results.get(name, np.zeros(0))
        worst = difference(name or "logits", actual, expected)
        top1, top5 = (agreement(actual, expected, count) for count in (1, 5))
        shape, shown = tuple(one.input.shape), pairs(actual, expected)
        single = gate == "float32"
        of_sums = noise.of_sums(one.input) if single else 0.0
        of_features = FEATURES * noise.of_features(one.input, name) if single else 0.0
        rounding = max(share(results.sums.get(name), expected, gate, of_sums), of_features)
        found.append(
            Comparison(device, ran, gate, shape, worst, top1, top5, not reduced, shown, rounding)
        )
    return found


def agreement(actual: Array, expected: Array, count: int) -> float:
    """The share of the `count` largest of `expected` that are among the largest of `actual`; NaN
    for arrays of other shapes."""
    if actual.shape != expected.shape:
        return float("nan")
    count = min(count, expected.shape[-1])
    one, other = (
        np.argsort(-array, axis=-1, kind="stable")[..., :count] for array in (actual, expected)
    )
    return float((other[..., :, None] == one[..., None, :]).any(-1).mean())


def _judged(
    recording: Recording,
    comparisons: Sequence[Comparison],
    layers: tuple[LayerError, ...],
    noise: Mapping[str, float],
    activations: tuple[OutputActivation, ...] = (),
) -> Parity:
    """Equal, or, where the original was not asked, consistent, if every logit is within its gate,
    every layer as the network runs and alone, and what is applied to the logits gives what came out
    of the original."""
    failed = [one for one in comparisons if one.counts and not one.passes]
    logits_agree = bool(comparisons) and not failed
    wrong_outputs = [one for one in activations if not one.passes] if logits_agree else []
    failed_layers = [one for one in layers if not (one.own_passes and one.running_passes)]
    agrees = logits_agree and not failed_layers and not wrong_outputs
    agreeing: Verdict = "equal" if recording.is_original else "consistent"
    nowhere = [one.name for one in layers if not np.isfinite(one.cumulative.absolute)]
    if logits_agree and nowhere and all(one.own_passes for one in layers):
        raise SourceError(
            f"the record's logits are this network's, but its layer {nowhere[0]!r} is not: the "
            "record is damaged",
            hints=["make it anew with scripts/record_keras.py"],
        )
    wrong = None if agrees else first_wrong(layers)
    name = wrong.name if wrong else wrong_outputs[0].layer if wrong_outputs else None
    return Parity(
        verdict=agreeing if agrees else "not equal",
        oracle=recording.oracle,
        is_original=recording.is_original,
        reason=str(recording.meta.get("reason", "")),
        comparisons=tuple(comparisons),
        layers=layers,
        first_wrong_layer=name,
        notes=() if agrees or name else (_unknown_place(comparisons, layers),),
        noise=dict(noise),
        diagnosis=str(wrong_outputs[0]) if wrong_outputs and not wrong else "",
        ties=tuple(_other_activations(activations)) if agrees else (),
    )


def _unknown_place(comparisons: Sequence[Comparison], layers: tuple[LayerError, ...]) -> str:
    if not layers:
        return "no layer is named: none of the original's is held against the network"
    return (
        "no layer is named: the layers that are known agree on the pictures that they are known "
        "for, and others differ"
    )


def _other_activations(activations: tuple[OutputActivation, ...]) -> Iterator[str]:
    for one in activations:
        others = [name for name in one.fitting if name != one.named]
        if others:
            yield f"{' or '.join(others)} behind {one.layer}, in the place of {one.named}"
