"""How tensors become TARGET, and what proves it: our own layout, or a destination's.

Both have the same verbs, so that the story in `conversion` has no branches:

    write     into a draft
    prove     read the draft back, hold it against SOURCE, read anew
    compare   run it with its own library, against our network (which Keras proves)
"""

from __future__ import annotations

import importlib
import importlib.metadata
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from converter.discover import modules
from converter.errors import ParityError, UsageError, why_unread
from converter.facts.pictures import unsaid
from converter.files.checkpoint import Array, Checkpoint
from converter.files.publish import Draft
from converter.formats.destination import (
    About,
    Run,
    find,
    is_installed,
    named,
    obstacles,
    refuse,
    short,
)
from converter.parity.comparing.compare import difference
from converter.parity.comparing.inputs import batches
from converter.parity.comparing.layers import compared
from converter.parity.comparing.rounding import FEATURES, share
from converter.parity.prove import Comparison, prove_tensors, same_bits, wrong_tensors
from resnet_pt.architecture import Architecture
from resnet_pt.digest import digest
from resnet_pt.labels import Label, read_labels
from resnet_pt.labels import named as named_classes
from resnet_pt.program import FORMAT, Program
from resnet_pt.program import to_dict as program_as_dict

if TYPE_CHECKING:
    from converter.mapping.export import ExportPlan
    from converter.mapping.plan import Plan
    from converter.network import Network
    from converter.options import Options
    from converter.parity.comparing.torch_run import Results

Tensors = Mapping[str, Array]
Stream = Iterator[tuple[str, Array]]

FOLDED = "the folded network"
NOT_SOURCE = "is not what SOURCE gives"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of the weights at a destination.

    `library` is what ran them ('torchvision 0.29.1'), or '' with the `reason` why none did.
    `comparisons` are of its logits, or of the folded network's, with our own network's in
    float64; their `device` is what ran. `strides` are to be set in the library's network:
    {module: stride}. `dropped` are tensors of ours that it does not hold: {name: reason}.
    """

    destination: str
    library: str = ""
    reason: str = ""
    comparisons: tuple[Comparison, ...] = ()
    strides: Mapping[str, int] | None = None
    dropped: Mapping[str, str] = field(default_factory=dict)
    losses: tuple[str, ...] = ()
    usage: tuple[str, ...] = ()

    @property
    def passes(self) -> bool:
        return all(one.passes for one in self.comparisons)


@dataclass(frozen=True, slots=True)
class Written:
    """What a draft holds: how many tensors were proven, those of our network, which they are or
    were folded from, and those of the network that another library builds, as one of ours."""

    proven: int
    tensors: Tensors
    theirs: Tensors = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OwnLayout:
    """Our self-describing layout, by the writer of TARGET's suffix."""

    writer: ModuleType
    labels: tuple[str, ...] | None = None
    is_directory: bool = False

    @property
    def needs(self) -> str:
        return str(self.writer.NEEDS)

    def write(
        self, one: Draft, checkpoint: Checkpoint, network: Network, plan: Plan, tensors: Stream
    ) -> None:
        description = describe(checkpoint, network)
        if self.labels is not None:
            description["labels"] = list(fitting(self.labels, network.described))
        self.writer.write(one.file, plan.specs, tensors, description)
        one.flush()

    def prove(self, path: Path, checkpoint: Checkpoint, network: Network, plan: Plan) -> Written:
        tensors, _ = self.writer.read(path)
        return Written(prove_tensors(plan, checkpoint, tensors), tensors)

    def compare(self, path: Path, network: Network, written: Written) -> Delivery | None:
        return None


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A destination of `converter.formats.destinations`."""

    module: ModuleType
    target: Path
    labels: tuple[str, ...] | None
    parity: bool

    @property
    def is_directory(self) -> bool:
        return not self.module.SUFFIXES

    @property
    def needs(self) -> str:
        return "torch"

    def write(
        self, one: Draft, checkpoint: Checkpoint, network: Network, plan: Plan, tensors: Stream
    ) -> None:
        described = network.evident
        arrays = dict(tensors)
        description = describe(checkpoint, network)
        description["sha256"] = digest(description, arrays.items())
        about = About(description, self.target.suffix, self.labels)
        theirs = self.module.export(described).tensors(arrays)
        for name, content in self.module.files(described, theirs, about).items():
            one.write(name, content)
        one.flush()

    def prove(self, path: Path, checkpoint: Checkpoint, network: Network, plan: Plan) -> Written:
        """The steps are undone, and what they give back has the bits of SOURCE, read anew; what
        was folded, which has no inverse, is folded once more."""
        steps = {step.target: step for step in self.module.export(network.evident).steps}
        found = self.module.read(path, network.evident)
        wrong = dict.fromkeys(steps.keys() ^ found.keys(), "is in only one of plan and file")
        theirs = {
            steps[name].tensor: steps[name].undo(found[name]) for name in found.keys() - wrong
        }
        kept = [step for step in steps.values() if step.fold is None]
        ours = {step.tensor: theirs[step.tensor] for step in kept if step.tensor in theirs}
        other = wrong_tensors(plan.only(ours), checkpoint, ours)
        wrong |= {step.target: NOT_SOURCE for step in kept if step.tensor in other}
        ours |= plan.only(plan.specs.keys() - ours.keys()).tensors(checkpoint)
        for step in steps.values():
            if (
                step.fold
                and step.tensor in theirs
                and not same_bits(theirs[step.tensor], step.fold.apply(ours))
            ):
                wrong[step.target] = NOT_SOURCE
        if wrong:
            said = [f"{name} {what}" for name, what in wrong.items()]
            raise ParityError(f"the tensors written for {short(self.module)} are wrong", said)
        return Written(len(found), ours, theirs)

    def compare(self, path: Path, network: Network, written: Written) -> Delivery:
        architecture = network.evident
        module = self.module
        export = module.export(architecture)
        done = Delivery(
            destination=short(module),
            strides=getattr(module, "patch", lambda architecture: {})(architecture),
            losses=(*export.losses, *module.losses(architecture), *_untold(module, network)),
            dropped=export.dropped,
            usage=tuple(module.usage(architecture, str(self.target))),
        )
        if not (self.parity or getattr(module, "PROVES_ITSELF", False)):
            return replace(done, reason="--no-parity")
        ours = runnable(architecture, written.tensors, "float64")
        single = runnable(architecture, written.tensors, "float32")
        tried = _tried(architecture, ours, single)
        comparisons: tuple[Comparison, ...] = ()
        if hasattr(module, "equivalent"):
            folded = runnable(module.equivalent(architecture), written.theirs, "float64")
            comparisons = _comparisons(tried, folded, FOLDED)
        library, theirs, reason = _library(module, path, architecture)
        if theirs:
            comparisons += _comparisons(tried, theirs, library)
        return replace(done, library=library, reason=reason, comparisons=comparisons)


def _untold(module: ModuleType, network: Network) -> list[str]:
    """What a destination would tell of pictures, and does not: that is known too little."""
    reason = unsaid(network)
    if not hasattr(module, "PICTURES") or not reason:
        return []
    return [f"no {module.PICTURES}: the network reads what the Keras model read; {reason}"]


def check_expressible(to: str | None, network: Network) -> None:
    """MismatchError for a network that a destination cannot express; our own layout can say all."""
    if to is not None:
        refuse(named(to), network.described)


def export_plan(to: str | None, network: Network) -> ExportPlan | None:
    """The steps to the tensors of a destination; None for our own layout, and for a network that it
    cannot express, where a record may settle on another."""
    if to is None or obstacles(named(to), network.evident):
        return None
    found: ExportPlan = named(to).export(network.evident)
    return found


def layout_of(settings: Options, target: Path) -> OwnLayout | Elsewhere:
    """Where `--to` sends the weights. Raises UsageError for a TARGET that cannot be one."""
    labels = label_names(settings.labels) if settings.labels else None
    if settings.to is None:
        return OwnLayout(writer_for(target), labels)
    return Elsewhere(find(settings.to, target), target, labels, settings.parity)


def writer_for(target: Path) -> ModuleType:
    """The writer of a target's suffix."""
    for writer in modules("converter.formats.writers"):
        if target.suffix in writer.SUFFIXES:
            return writer
    known = ", ".join(suffixes())
    raise UsageError(f"TARGET {target} needs a suffix that says its format: {known}")


def suffixes() -> tuple[str, ...]:
    """Those of all our own formats."""
    writers = modules("converter.formats.writers")
    return tuple(suffix for writer in writers for suffix in writer.SUFFIXES)


def label_names(path: Path) -> tuple[str, ...]:
    """The names of the classes in a file that `resnet_pt.labels` reads, in the order of the
    classifier. UsageError for any other."""
    try:
        return tuple(label.name for label in read_labels(path))
    except (OSError, ValueError) as error:
        raise UsageError(f"--labels {path} cannot be read: {why_unread(error)}") from error


def fitting(labels: tuple[str, ...], network: Architecture | Program) -> tuple[str, ...]:
    """The names, if the network has as many classes. Raises UsageError."""
    try:
        outputs = named_classes(network, tuple(map(Label, labels)))
    except ValueError as error:
        raise UsageError(f"--labels: {error}") from error
    if not outputs:
        raise UsageError("--labels: the network has no classes: it gives features")
    return labels


def describe(checkpoint: Checkpoint, network: Network) -> dict[str, Any]:
    """What travels with the tensors; a checksum of both is added when they are written. No name of
    a file: the same input gives the same bytes."""
    return {
        **_of_network(network),
        "facts": [
            {
                "name": fact.name,
                "value": fact.value,
                "evidence": str(fact.evidence),
                "assumed": fact.is_assumed,
            }
            for fact in network.facts
        ],
        "layers": compared(network.structure),
        "source_sha256": checkpoint.sha256,
        **({"config_sha256": checkpoint.given.sha256} if checkpoint.given else {}),
    }


def _of_network(network: Network) -> dict[str, Any]:
    """The network itself: a program, or a residual network's architecture."""
    if network.lifted:
        return {"format": FORMAT, "program": program_as_dict(network.program)}
    return {"format": FORMAT, "architecture": network.architecture.to_dict()}


def runnable(
    network: Architecture | Program, tensors: Tensors, dtype: str
) -> Callable[..., Results]:
    """One of our networks as a function of pictures (N, C, H, W), or of all of its inputs."""
    from converter.parity.comparing import torch_run

    model = torch_run.build(network, tensors)
    return lambda *batch: torch_run.run_nchw(model, batch, dtype)


def _library(
    module: ModuleType, path: Path, network: Architecture | Program
) -> tuple[str, Run | None, str]:
    """(name and version, the library's network, why there is none)."""
    name = module.LIBRARY
    if not is_installed(name):
        return "", None, f"not compared with {name}: not installed"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a library's own, about its own future
        try:
            importlib.import_module(name)
        except Exception as error:  # a broken installation raises whatever it meets
            return "", None, f"not compared with {name}: it cannot be imported: {error}"
        try:
            run = module.load(path, network)
        except ImportError as error:
            return "", None, f"not compared with {name}: {error}"
        except Exception as error:  # the library's own, about what was written
            raise ParityError(f"{name} does not load what was written", [str(error)]) from error
    return f"{name} {importlib.metadata.version(name)}", run, ""


@dataclass(frozen=True, slots=True)
class _Tried:
    """A batch, what our network gives for it in float64, and how far off it is in float32, by
    output, relative to the largest."""

    batch: list[Array]
    expected: Results
    noise: Mapping[str, float]


def _tried(
    network: Architecture | Program,
    ours: Callable[..., Results],
    single: Callable[..., Results],
) -> list[_Tried]:
    """Every batch that a destination is compared on; pictures for which float32 has no number, as
    for an exponential of 255, are left out."""
    found = []
    for whole in batches(network):
        rows = [np.isfinite(one).reshape(len(one), -1).all(1) for one in single(*whole).values()]
        batch = [np.ascontiguousarray(one[np.logical_and.reduce(rows)]) for one in whole]
        if len(batch[0]):
            expected, rounded = ours(*batch), single(*batch)
            noise = {n: difference(n, rounded[n], one).relative for n, one in expected.items()}
            found.append(_Tried(batch, expected, noise))
    return found


def _comparisons(tried: list[_Tried], theirs: Run, name: str) -> tuple[Comparison, ...]:
    found = []
    for one in tried:
        actual = theirs(*one.batch)
        for output, logits in one.expected.items():
            there = actual.get(output, np.zeros(0))
            worst = difference(output or "logits", there, logits)
            top1 = float("nan")
            if there.shape == logits.shape:
                top1 = float(np.mean(there.argmax(1) == logits.argmax(1)))
            terms = share(one.expected.sums[output], logits, "float32")
            rounding = max(terms, FEATURES * one.noise[output])
            shape = one.batch[0].shape
            found.append(
                Comparison(name, "float32", "float32", shape, worst, top1, rounding=rounding)
            )
    return tuple(found)
