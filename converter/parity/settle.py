"""Facts that a file leaves open, decided by what the original computed.

Every network that the file allows is run on the record's first input. The one that reproduces it
is chosen; where several do, within the record's precision, the one that contradicts the least
evidence, and the others are shown as ties.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from converter.checkpoint import Array, Checkpoint
from converter.facts import Evidence, Fact
from converter.identify import Network, identify
from converter.parity.compare import GATES, LAYER_GATES, difference
from converter.parity.layers import as_array, compared, first_picture
from converter.parity.outputs import output_activations
from converter.parity.recording import Recording
from converter.parity.rounding import share
from converter.plan import make_plan

if TYPE_CHECKING:
    from converter.options import Options

ALTERNATIVES: Mapping[str, tuple[str, tuple[Any, ...]]] = {
    "epsilon": ("bn_eps", (1e-3, 1e-5, 1.001e-5, 1e-6)),
    "stem": ("stem", ("pad", "same")),
    "pool": ("pool", ("valid", "zero", "same")),
    "stride": ("stride_on", ("1x1", "3x3")),
    "flatten": ("flatten", ("channels-last", "channels-first")),
    "flipped": ("theano_kernels", (False, True)),
    "running_std": ("running_std", ("variance", "std")),
}
"""`{fact: (the option that sets it, what it can be)}`."""


LOOKED_AT = 4096
"""Elements of a layer that a trial is compared on."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate: what it changes (nothing: the network as inferred), how far its logits are
    from the record's, how many layers `agree` before the first that does not, and how much
    evidence it contradicts. Where no candidate fits, the nearest one says at which layer it
    `differs` first, in words."""

    changes: Mapping[str, str]
    error: float
    agree: int
    cost: int
    network: Network
    differs: str = ""
    gate: float = GATES["float32"]

    @property
    def fits(self) -> bool:
        return self.error <= self.gate

    def __str__(self) -> str:
        changes = ", ".join(f"{name} {value}" for name, value in self.changes.items())
        return f"{changes or 'as inferred'}: {self.error:.1e}"


def settle(
    checkpoint: Checkpoint, network: Network, recording: Recording, options: Options
) -> tuple[Network, tuple[Trial, ...]]:
    """(the network that the record decides for, every trial, best first).

    Where no candidate fits, the network stays as inferred, for the proof to refuse, and the first
    trial says where it differs first.
    """
    court = _Court(checkpoint, network, recording)
    court.hear(network)
    alone = court.trials[0].fits  # then ties differ in one fact: no need to try them all together
    for changes in _combinations(network):
        if len(changes) <= 1 or not alone:
            court.hear(identify(checkpoint, _with(options, changes)))
    ranked = sorted(court.trials, key=_rank)
    best = ranked[0]
    if not best.fits:
        return network, (court.looked_at(best), *ranked[1:])
    facts = tuple(_from_record(fact, best) for fact in best.network.facts)
    chosen = replace(best.network, facts=facts) if best.changes else network
    return with_outputs(chosen, recording, checkpoint.config is None), tuple(ranked)


def with_outputs(network: Network, recording: Recording, weights_only: bool) -> Network:
    """The network with the output activations of the record, where weights alone left them at
    their default and the record tells them."""
    if not weights_only:
        return network
    architecture = network.architecture
    one = recording.passes[0]
    found = {
        activation.layer: activation.fitting[0]
        for activation in output_activations(architecture, one, one.logits)
        if len(activation.fitting) == 1 and not activation.passes
    }
    if not found:
        return network
    outputs = tuple(
        replace(output, activation=found.get(output.name, output.activation))
        for output in architecture.outputs
    )
    structure = replace(network.structure, architecture=replace(architecture, outputs=outputs))
    values = ", ".join(output.activation for output in outputs)
    kept = [one for one in network.facts if one.name != "output"]
    fact = Fact("output", values, Evidence.RECORD, "what came out behind the logits")
    return replace(network, structure=structure, facts=(*kept, fact))


def _rank(trial: Trial) -> tuple[bool, int, float]:
    """Those that fit, by the evidence they contradict; the others by how far they go right, then
    by their error."""
    return (not trial.fits, trial.cost if trial.fits else -trial.agree, trial.error)


def _combinations(network: Network) -> Iterator[Mapping[str, Any]]:
    """Every combination of options for what is open."""
    facts = [fact.name for fact in network.facts if is_open(fact)]
    if network.architecture.stem.pool is None:  # there is nothing to pad
        facts = [name for name in facts if name != "pool"]
    choices = [[None, *ALTERNATIVES[name][1]] for name in facts]
    for values in itertools.product(*choices):
        yield {name: v for name, v in zip(facts, values, strict=True) if v is not None}


def is_open(fact: Fact) -> bool:
    """Whether a record may decide otherwise: nothing that the user or a model_config states."""
    return fact.name in ALTERNATIVES and fact.evidence < Evidence.MODEL_CONFIG


def _with(options: Options, changes: Mapping[str, Any]) -> Options:
    return replace(options, **{ALTERNATIVES[name][0]: value for name, value in changes.items()})


def _from_record(fact: Fact, best: Trial) -> Fact:
    if fact.name not in best.changes:
        return fact
    return replace(fact, evidence=Evidence.RECORD, reason="the network that reproduces the record")


class _Court:
    """Runs each candidate once; arrays are carried over once for each kernel layout."""

    def __init__(self, checkpoint: Checkpoint, network: Network, recording: Recording) -> None:
        self.checkpoint, self.network, self.recording = checkpoint, network, recording
        self.trials: list[Trial] = []
        self.tensors: dict[Any, dict[str, Array]] = {}
        self.heard: set[Any] = set()

    def hear(self, candidate: Network) -> None:
        layout = (candidate.layout, candidate.variance)
        if (candidate.architecture, layout) in self.heard:
            return
        self.heard.add((candidate.architecture, layout))
        if layout not in self.tensors:
            plan = make_plan(self.checkpoint, candidate)
            self.tensors[layout] = dict(plan.tensors(self.checkpoint))
        values = {fact.name: fact.value for fact in candidate.facts}
        changed = [f for f in self.network.facts if is_open(f) and values[f.name] != f.value]
        error, gate, agree = self.tried(candidate, self.tensors[layout])
        self.trials.append(
            Trial(
                changes={fact.name: values[fact.name] for fact in changed},
                error=error,
                agree=agree,
                cost=sum(1 + fact.evidence for fact in changed),
                network=candidate,
                gate=gate,
            )
        )

    def looked_at(self, trial: Trial) -> Trial:
        """The same, with the layer at which it differs first."""
        from converter.parity.prove import compare

        candidate = trial.network
        tensors = self.tensors[candidate.layout, candidate.variance]
        parity = compare(candidate, tensors, self.recording, ("cpu",))
        words = str(parity.wrong or "")
        return replace(trial, differs=f"{words}: {parity.diagnosis}" if parity.diagnosis else words)

    def tried(self, candidate: Network, tensors: Mapping[str, Array]) -> tuple[float, float, int]:
        """How far the candidate's logits are from the record's, on its first input, how far they
        may be, and how many layers agree before the first that does not."""
        from converter.parity import torch_run

        model = torch_run.build(candidate.architecture, tensors)
        one = self.recording.passes[0]
        agreeing: list[bool] = []

        def look(module: str, layer: str, inputs: Any, result: Any) -> None:
            actual, expected = first_picture(as_array(result), one.layers[layer])
            some = slice(None, None, max(1, expected.size // LOOKED_AT))
            apart = difference(layer, actual[some], expected[some]) if expected.size else None
            agreeing.append(apart is not None and apart.relative <= LAYER_GATES["float32"])

        with torch_run.watched(model, compared(candidate.structure), one.layers, look):
            results = torch_run.run(model, one.input[:1], "float32", "cpu")
        nothing = np.zeros(0)
        errors: list[tuple[float, float]] = []
        for name, expected in one.logits.items():
            apart = difference(name, results.get(name, nothing), expected[:1]).relative
            rounding = share(results.sums.get(name), expected[:1], "float32")
            errors.append((apart, max(GATES["float32"], rounding)))
        error, gate = max(errors, key=lambda one: one[0] / one[1])
        return error, gate, [*agreeing, False].index(False)
