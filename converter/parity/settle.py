"""Facts that a file leaves open, decided by what the original computed.

The network as inferred is run on the record's first input, and each that differs from it in one
fact (`converter.facts.table`). Where none of them reproduces the record, the changes that come
nearer are combined, and then the facts that code is known to vary in. The network that reproduces
the record is chosen; where several do, within the record's precision, the one that contradicts the
least evidence. Those that differ from it in one fact and fit as well are ties; a fact of which
every other value fails is settled.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from converter.discover import modules
from converter.errors import MismatchError, UsageError
from converter.facts.fact import Evidence, Fact
from converter.facts.table import BY_NAME, PARTS, TABLE, Changes, Row, single_changes, text
from converter.facts.user import told
from converter.files.checkpoint import Array, Checkpoint
from converter.identify import identify
from converter.mapping.plan import make_plan
from converter.network import Network
from converter.parity.comparing.compare import GATES, LAYER_GATES, as_array, difference
from converter.parity.comparing.layers import compared, first_picture
from converter.parity.comparing.outputs import activated, output_activations
from converter.parity.comparing.rounding import share
from converter.parity.original.recording import Recording, output_names

if TYPE_CHECKING:
    from converter.options import Options

LOOKED_AT = 4096
"""Elements of a layer that a trial is compared on."""


MOST = 400
"""From so many networks on no more changes are combined. What is left is the last resort: the facts
that are known to vary, in all combinations, of which there are fewer."""

NEAREST = 3
"""How many of the networks that come nearer have their changes combined with others, at a time."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One candidate: what it changes (nothing: the network as inferred), how far its logits are
    from the record's, how many layers `agree` before the first that does not, and how much
    evidence it contradicts. Where no candidate fits, the nearest one says at which layer it
    `differs` first, in words. `without` is an option of the user's that it leaves out."""

    changes: Mapping[str, str]
    error: float
    agree: int
    cost: int
    network: Network
    differs: str = ""
    gate: float = GATES["float32"]
    without: str = ""
    values: Changes = field(default_factory=dict)

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
    trial says where it differs first; the last ones leave out an option of the user's.
    """
    court = _Court(checkpoint, network, recording, options)
    court.search()
    best = court.best
    if not best.fits:
        ranked = sorted(court.trials, key=_rank)
        nearest = best if recording.hidden else court.looked_at(best)
        return network, (nearest, *ranked[1:], *court.without_options())
    apart = court.told_apart()
    best = court.best  # a neighbour of the first that fitted may contradict less
    ranked = sorted(court.trials, key=_rank)
    chosen = best.network if best.changes else network
    chosen = replace(chosen, facts=_from_record(chosen, best, apart))
    return with_outputs(chosen, recording, checkpoint.config is None), tuple(ranked)


def _from_record(network: Network, best: Trial, apart: Collection[str]) -> tuple[Fact, ...]:
    """The facts of the network that fits: those that it changes, and those of which every other
    value that was tried does not fit, come from the record."""
    facts, architecture = network.facts, network.architecture
    for name in best.changes:
        reason = REPRODUCES if name in apart else f"{REPRODUCES}; another value fits as well"
        facts = told(facts, BY_NAME[name], architecture, Evidence.RECORD, reason)
    own = {fact.name for fact in facts}
    settled = {name for name in apart if name not in best.changes}
    for shown, parts in PARTS.items():
        left = {row.name for row in parts if not row.why_not(architecture)} - own
        if left and left <= settled:  # then the fact that shows them is
            settled = (settled - left) | {shown}
    for fact in facts:
        if fact.name in settled:
            known = replace(fact, evidence=Evidence.RECORD, reason=OTHERS_FAIL)
            facts = tuple(known if one is fact else one for one in facts)
    for name in sorted(settled - own):
        facts = told(facts, BY_NAME[name], architecture, Evidence.RECORD, OTHERS_FAIL)
    return facts


REPRODUCES = "the network that reproduces the record"
OTHERS_FAIL = "the other values that were tried do not reproduce the record"


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
    structure = replace(network.residual, architecture=replace(architecture, outputs=outputs))
    values = ", ".join(output.activation for output in outputs)
    kept = [one for one in network.facts if one.name != "output"]
    fact = Fact("output", values, Evidence.RECORD, "what came out behind the logits")
    return replace(network, structure=structure, facts=(*kept, fact))


def _rank(trial: Trial) -> tuple[bool, int, float]:
    """Those that fit, by the evidence they contradict; the others by how far they go right, then
    by their error."""
    return (not trial.fits, trial.cost if trial.fits else -trial.agree, trial.error)


def is_open(row: Row, facts: Sequence[Fact]) -> bool:
    """Whether a record may decide otherwise: nothing that the user or a model_config states."""
    known = evidence_of(row, facts)
    return known is not None and known < Evidence.MODEL_CONFIG


def evidence_of(row: Row, facts: Sequence[Fact]) -> Evidence | None:
    """The evidence of a fact, shown for itself or as a part of another; None where it is not."""
    own = {fact.name: fact.evidence for fact in facts}
    return own.get(row.name, own.get(row.part_of))


def _identified(checkpoint: Checkpoint, options: Options) -> Network | None:
    """The network as the options have it; None where the file allows no such one."""
    try:
        return identify(checkpoint, options)
    except (MismatchError, UsageError):
        return None


def _read(network: Network) -> Any:
    """How the arrays of a file are read."""
    return network.layout, network.variance, tuple(network.residual.layers.items())


class _Court:
    """Runs each candidate once; arrays are carried over once for each way of reading them."""

    def __init__(
        self, checkpoint: Checkpoint, network: Network, recording: Recording, options: Options
    ) -> None:
        self.checkpoint, self.network, self.recording = checkpoint, network, recording
        self.options = options
        self.trials: list[Trial] = []
        self.asked: dict[Any, Trial | None] = {}
        self.heard: dict[Any, Trial] = {}
        self.tensors: dict[Any, dict[str, Array]] = {}

    @property
    def best(self) -> Trial:
        return min(self.trials, key=_rank)

    def search(self) -> None:
        """Every single change; where none fits, those that come nearer, combined with all others;
        where the record tells of no layer which came nearer, what is known to vary as well."""
        inferred = self.hear({})
        assert inferred is not None
        self.around(inferred)
        done = [inferred]
        while not self.best.fits and len(self.trials) < MOST:
            nearer = [one for one in self.trials if _rank(one) < _rank(inferred)]
            nearest = [one for one in sorted(nearer, key=_rank) if one not in done][:NEAREST]
            if not nearest:
                break
            for trial in nearest:
                if len(self.trials) < MOST:
                    done.append(trial)
                    self.around(trial)
        if not self.best.fits and not self.recording.passes[0].layers:
            for changes in self._combinations():
                self.hear(changes)

    def told_apart(self) -> set[str]:
        """The facts of the best candidate of which every other value fails."""
        best = self.best
        found = self.around(best)
        while self.best is not best:
            best = self.best
            found = self.around(best)
        fitting = {name for name, trial in found if trial.fits}
        return {name for name, _ in found} - fitting

    def without_options(self) -> tuple[Trial, ...]:
        """The first candidate that fits with an option of the user's left out, or that fact set to
        another value."""
        for row in TABLE:
            if getattr(self.options, row.option) is None or row.name == "preprocessing":
                continue
            left_out: dict[str, Any] = {row.option: None}
            options = replace(self.options, **left_out)
            network = _identified(self.checkpoint, options)
            if network is None:
                continue
            other = _Court(self.checkpoint, network, self.recording, options)
            inferred = other.hear({})
            assert inferred is not None
            other.around(inferred, [row.name])
            if other.best.fits:
                changes = {row.flag: "left out", **other.best.changes}
                return (replace(other.best, changes=changes, without=row.flag),)
        return ()

    def around(self, center: Trial, names: Sequence[str] = ()) -> list[tuple[str, Trial]]:
        """(fact, candidate) for every single change of a candidate, in all open facts or these."""
        found = []
        for name in names or self._open(center.network):
            for changes in self._changes(center.network, name):
                trial = self.hear({**center.values, **changes})
                if trial is not None and trial is not center:
                    found.append((name, trial))
        return found

    def _open(self, candidate: Network) -> list[str]:
        """The facts that the file leaves open, and those for which a candidate has made a place."""
        mine, theirs = self.network.facts, candidate.facts
        return [
            row.name
            for row in TABLE
            if is_open(row, mine) or (evidence_of(row, mine) is None and is_open(row, theirs))
        ]

    def _changes(self, candidate: Network, name: str) -> Iterator[Changes]:
        if name == "network":
            for module in modules("converter.weights_only.dialects"):
                yield {name: module.DIALECT.name}
        else:
            yield from single_changes(candidate.architecture, candidate.defaults, name)

    def _combinations(self) -> Iterator[Changes]:
        """What code is known to vary in, in every combination."""
        rows = [row for row in TABLE if row.varies and is_open(row, self.network.facts)]
        if BY_NAME["stride on"] in rows and BY_NAME["padding"] not in rows:
            rows.append(BY_NAME["padding"])
        architecture = self.network.architecture
        choices = []
        for row in rows:
            now = row.read(architecture) if row.read else None
            choices.append([None, *(value for value in row.varies if value != now)])
        for values in itertools.product(*choices):
            yield {
                row.name: value
                for row, value in zip(rows, values, strict=True)
                if value is not None
            }

    def hear(self, changes: Changes) -> Trial | None:
        """The trial of a network that the file allows; None if it allows none such."""
        key = tuple(sorted(changes.items(), key=lambda one: one[0]))
        if key not in self.asked:
            given = {BY_NAME[name].option: value for name, value in changes.items()}
            candidate = _identified(self.checkpoint, replace(self.options, **given))
            self.asked[key] = None if candidate is None else self._trial(candidate, changes)
        return self.asked[key]

    def _trial(self, candidate: Network, changes: Changes) -> Trial:
        """The trial of a candidate; of an equal one that was heard before, that one's."""
        read = _read(candidate)
        key = (replace(candidate.architecture, preprocessing=None), read)
        if key not in self.heard:
            if read not in self.tensors:
                plan = make_plan(self.checkpoint, candidate)
                self.tensors[read] = dict(plan.tensors(self.checkpoint))
            values = {fact.name: fact.value for fact in candidate.facts}
            error, gate, agree = self.tried(candidate, self.tensors[read])
            self.heard[key] = Trial(
                changes={name: values.get(name, text(changes[name])) for name in changes},
                error=error,
                agree=agree,
                cost=sum(self._cost(BY_NAME[name]) for name in changes),
                network=candidate,
                gate=gate,
                values=changes,
            )
            self.trials.append(self.heard[key])
        return self.heard[key]

    def _cost(self, row: Row) -> int:
        """How much a change contradicts: the evidence, and more where code is not known to vary.
        Nothing for a fact that another change has made a place for."""
        evidence = evidence_of(row, self.network.facts)
        return 0 if evidence is None else 1 + evidence + (not row.varies)

    def looked_at(self, trial: Trial) -> Trial:
        """The same, with the layer at which it differs first."""
        from converter.parity.prove import compare

        candidate = trial.network
        tensors = self.tensors[_read(candidate)]
        parity = compare(candidate, tensors, self.recording, ("cpu",))
        words = str(parity.wrong or "")
        return replace(trial, differs=f"{words}: {parity.diagnosis}" if parity.diagnosis else words)

    def tried(self, candidate: Network, tensors: Mapping[str, Array]) -> tuple[float, float, int]:
        """How far the candidate's logits are from the record's, on its first input, how far they
        may be, and how many layers agree before the first that does not."""
        from converter.parity.comparing import torch_run

        model = torch_run.build(candidate.architecture, tensors)
        one = self.recording.passes[0]
        agreeing: list[bool] = []

        def look(module: str, layer: str, inputs: Any, result: Any) -> None:
            actual, expected = first_picture(as_array(result), one.layers[layer])
            some = slice(None, None, max(1, expected.size // LOOKED_AT))
            apart = difference(layer, actual[some], expected[some]) if expected.size else None
            agreeing.append(apart is not None and apart.relative <= LAYER_GATES["float32"])

        try:
            with torch_run.watched(model, compared(candidate.structure), one.layers, look):
                results = torch_run.run(model, one.input[:1], "float32", "cpu")
        except torch_run.CannotRunError:
            return math.inf, GATES["float32"], [*agreeing, False].index(False)
        nothing = np.zeros(0)
        errors: list[tuple[float, float]] = []
        outputs = output_names(candidate.architecture)
        for name, expected in one.logits.items():
            actual = results.get(name, nothing)
            if name in self.recording.hidden:  # what it has came out behind the activation
                actual = activated(actual, outputs[name].activation)
            apart = difference(name, actual, expected[:1]).relative
            rounding = share(results.sums.get(name), expected[:1], "float32")
            errors.append((apart, max(GATES["float32"], rounding)))
        error, gate = max(errors, key=lambda one: one[0] / one[1])
        return error, gate, [*agreeing, False].index(False)
