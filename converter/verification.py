"""A converted file held against the original once more: any time, on any machine."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from converter.conversion import decide, recorded, refuse_unproven
from converter.errors import ParityError, SourceError, UsageError
from converter.facts.fact import Evidence, Fact
from converter.files.checkpoint import Array, Checkpoint
from converter.files.opening import open_source
from converter.files.shapes import KernelLayout
from converter.files.source import Unchanged, sha256
from converter.identify import identify
from converter.mapping.plan import Plan, make_plan
from converter.network import Lifted, Network, Structure
from converter.options import Options
from converter.parity.comparing.layers import description
from converter.parity.original.oracle import KerasChild
from converter.parity.original.recording import Recording, is_record, read_record
from converter.parity.prove import (
    Parity,
    compare_model,
    devices,
    notes,
    prove_logits,
    why_not_run,
    wrong_tensors,
)
from converter.parity.rivals import with_ties
from converter.report import Report
from resnet_pt.architecture import Architecture
from resnet_pt.lower import lower
from resnet_pt.ops import Dense
from resnet_pt.preprocessing import MODES, Mode
from resnet_pt.program import Program, to_dict
from resnet_pt.tensors import tensors

if TYPE_CHECKING:
    from converter.dataset.results import DatasetComparison
    from resnet_pt.general import General
    from resnet_pt.network import ResNet


def verify(
    target: str | Path,
    against: str | Path,
    *,
    progress: Callable[[str], None] = lambda message: None,
    **options: Any,
) -> Report:
    """Prove that the converted file `target` is the network in `against`.

    `against` is a record (`.npz`) or the Keras file, told by its content. A record is compared by
    logits and layers; of a Keras file the architecture has to be the target's and every tensor is
    compared bit for bit first. The keywords are fields of `converter.options.Options`; a target
    that was converted with options that say what its file could not is verified with the same.

    Raises ParityError, with the report of what was compared, if the proof fails; SourceError if
    one of the files cannot be read.
    """
    settings, started = Options(**options), time.perf_counter()
    target, against = Path(target), Path(against)
    progress("reading TARGET")
    one = _Target(target, settings.layers)
    prove = _against_record if is_record(against) else _against_keras
    report = prove(one, against, settings, progress)
    report = replace(report, seconds=time.perf_counter() - started)
    if not report.proven_tensors:  # then logits are all that there is
        settings = replace(settings, require_parity=True)
    refuse_unproven(report, settings)
    return report


def verify_images(
    target: str | Path,
    against: str | Path,
    images: str | Path,
    *,
    state: str | Path | None = None,
    transform: str | None = None,
    size: tuple[int, int] | None = None,
    batch: int = 32,
    workers: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    **options: Any,
) -> DatasetComparison | None:
    """Compare the predictions for every picture in the folder `images` with the original's.

    `against` is a record that was made with `--images` of the same folder, or the Keras file. The
    pictures are scaled by the function `transform` ('module:function'), else as `preprocess` says,
    else as the record, else as the target does. `size` is (height, width), for a network that takes
    any; `batch` pictures are run at a time, and `workers` processes load them (0: this one).
    `state` is a folder that keeps what is done; `progress` is told how many pictures of how many
    are. Under torchrun the pictures are spread over its processes; only the first one tells, and
    returns the result. Raises UsageError for a `transform` that is not there, or beside
    `preprocess`, and what `converter.dataset.compare.compare_dataset` does.
    """
    from converter.dataset.pictures import named_transform
    from converter.dataset.run import Original, compare_images
    from converter.dataset.spread import processes
    from converter.parity.original.keras_python import SCRIPT
    from resnet_pt.pictures import scaled

    settings = Options(**options)
    if transform and settings.preprocess:
        raise UsageError("--transform and --preprocess scale the pictures twice: give one")
    said = read_record(Path(against)).preprocess if is_record(Path(against)) else None
    recorded = said or _Target(Path(target), settings.layers).mode
    mode = settings.preprocess or recorded or "raw"
    own = named_transform(transform) if transform else None
    original = Original(
        Path(against),
        is_record=is_record(Path(against)),
        python=settings.keras_python or "",
        recorder=SCRIPT if settings.keras_python else None,
        build=settings.build,
        options=settings,
    )
    with processes() as group:
        found = compare_images(
            Path(target),
            Path(images),
            original,
            transform=own or partial(scaled, scaling=MODES[mode]),
            transform_name=transform or mode,
            size=size,
            wanted_device=settings.device,
            batch_size=batch,
            workers=workers,
            state=Path(state) if state else None,
            group=group,
            progress=progress if group.is_first else lambda done, total: None,
        )
        return found if group.is_first else None


class _Target:
    """A converted file: its network, its tensors, and what it says of where it came from."""

    def __init__(self, path: Path, layers: Path | None = None) -> None:
        from resnet_pt.files import FileError, load, read

        try:
            self.model: ResNet | General = load(path, layers=layers)
            self.description: Mapping[str, Any] = read(path)[1]
        except FileError as error:
            raise SourceError(str(error)) from error
        except OSError as error:
            raise SourceError(f"{path} cannot be read: {error.strerror or error}") from error
        self.path = path
        self.sha256 = sha256(path)
        state = self.model.state_dict()
        state.pop("_extra_state")
        self.halved = [name for name in state if str(state[name].dtype) == "torch.bfloat16"]
        self.tensors: dict[str, Array] = {
            name: (state[name].float() if name in self.halved else state[name]).numpy()
            for name in state
        }

    @property
    def described(self) -> Architecture | Program:
        described = description(self.model)
        assert described is not None
        return described

    @property
    def mode(self) -> Mode | None:
        """What the file says that was done to pictures."""
        from resnet_pt.pictures import known_mode

        if isinstance(self.described, Architecture):
            return known_mode(self.described)
        said = [fact.value for fact in self._facts() if fact.name == "preprocessing"]
        return next((mode for mode in MODES if mode in said), None)

    def network(self) -> Network:
        """What the file says of itself, in the words of a conversion."""
        described, outputs = self.described, self.model.original_layers
        structure = (
            Lifted(described, {}, outputs)
            if isinstance(described, Program)
            else Structure(described, {}, outputs)
        )
        return Network(structure, KernelLayout(), tuple(self._facts()), "as TARGET says")

    def _facts(self) -> Iterator[Fact]:
        by_text = {str(evidence): evidence for evidence in Evidence}
        for fact in self.description.get("facts", []):
            evidence = by_text.get(fact["evidence"], Evidence.DEFAULT)
            yield Fact(fact["name"], fact["value"], evidence, "when TARGET was converted")


# ---- against a record


def _against_record(
    target: _Target, path: Path, settings: Options, progress: Callable[[str], None]
) -> Report:
    if settings.keras_python:
        raise UsageError("--keras-python runs a Keras file, and PATH is a record")
    if settings.config or settings.build:
        raise UsageError("a configuration goes with a file of weights, and PATH is a record")
    recording = read_record(path)
    refuse_unnamed(target)
    progress("running the converted network")
    made_from = str(target.description.get("source_sha256", ""))
    parity = compare_recording(
        target.model, target.model.original_layers, recording, settings.device, made_from
    )
    checkpoint = Checkpoint(
        path=path,
        container="record",
        weights=(),
        layers=(),
        arrays=lambda weights: iter(()),
        keras_version=recording.meta.get("keras"),
        backend=recording.meta.get("backend"),
        sha256=sha256(path),
    )
    return Report(
        source=path,
        target=target.path,
        checkpoint=checkpoint,
        network=target.network(),
        plan=Plan(()),
        parity=parity,
        target_sha256=target.sha256,
        is_verification=True,
    )


def refuse_unnamed(target: _Target) -> None:
    """ParityError for a file that leaves open, or names twice, which of the original's layers a
    module stands for: what it leaves out would not be compared."""
    names = target.model.original_layers
    described = target.described
    wanted = () if isinstance(described, Program) else module_names(described)
    unnamed = [module for module in wanted if module not in names]
    twice = [layer for layer, count in Counter(names.values()).items() if count > 1]
    unknown = [name for name in names if not _has_module(target.model, name)]
    if not (unnamed or twice or unknown):
        return
    raise ParityError(
        f"{target.path} does not say of each module which layer of the original it is",
        [
            *(f"{module} has no layer" for module in unnamed),
            *(f"{layer} stands at several modules" for layer in twice),
            *(f"there is no module {name}" for name in unknown),
        ],
        ["convert the Keras file anew: what a file leaves out would not be compared"],
    )


def module_names(architecture: Architecture) -> Iterator[str]:
    """Every module with weights but the Dense layers, which the head names itself, and a norm with
    a Scale, which is judged by that."""
    modules = dict.fromkeys(name.rpartition(".")[0] for name in tensors(architecture))
    dense = {one.module for one in lower(architecture).layers if isinstance(one.op, Dense)}
    return (name for name in modules if name not in dense and f"{name}.scale" not in modules)


def _has_module(model: ResNet | General, name: str) -> bool:
    return any(name == module for module, _ in model.named_modules())


# ---- against a Keras file


def _against_keras(
    target: _Target, path: Path, settings: Options, progress: Callable[[str], None]
) -> Report:
    with Unchanged(path) as unchanged:
        report = _against_file(target, path, settings, progress, unchanged)
        unchanged.check()
    return report


def _against_file(
    target: _Target,
    path: Path,
    settings: Options,
    progress: Callable[[str], None],
    unchanged: Unchanged,
) -> Report:
    with open_source(path, settings, progress) as opened:
        unchanged.add(opened.files)
        checkpoint = replace(opened, sha256=sha256(path))
        network = identify(checkpoint, settings)
        recording = recorded(checkpoint, network, settings, progress)
        trials: Any = ()
        if recording:
            network, trials = decide(checkpoint, network, recording, settings)
        report = Report(
            source=path,
            target=target.path,
            checkpoint=checkpoint,
            network=network,
            plan=make_plan(checkpoint, network),
            parity=Parity("not equal", oracle=str(path)),
            target_sha256=target.sha256,
            trials=trials,
            is_verification=True,
        )
        report = _prove_architecture(target, report)
        progress("proving every tensor")
        report = _prove_tensors(target, report)
        if not settings.parity and not recording:
            return replace(report, parity=Parity("not compared", reason="--no-parity"))
        with KerasChild() as keras:
            parity = prove_logits(
                checkpoint, network, target.tensors, settings, progress, recording, keras
            )
    return replace(report, parity=parity)


def _prove_architecture(target: _Target, report: Report) -> Report:
    """The report, with what was not compared."""
    own, theirs = target.described, report.network.described
    warnings: list[str] = []
    if isinstance(own, Architecture) and isinstance(theirs, Architecture):
        warnings += _preprocessing(own, theirs)
        own, theirs = (replace(one, preprocessing=None) for one in (own, theirs))
        if report.checkpoint.config is None:
            warnings += _outputs(own, theirs)
            own, theirs = without_output_activations(own), without_output_activations(theirs)
    if own != theirs:
        found = list(differences(_as_data(own), _as_data(theirs)))
        _refuse(
            report,
            f"{target.path} is another network than the one in {report.source}",
            [f"{where}: {mine}, in the file {original}" for where, mine, original in found],
            ["options that it was converted with are needed here too (--bn-eps, --pool …)"],
        )
    return replace(report, warnings=(*report.warnings, *warnings))


def _as_data(network: Architecture | Program) -> dict[str, Any]:
    return to_dict(network) if isinstance(network, Program) else network.to_dict()


def _preprocessing(own: Architecture, theirs: Architecture) -> Iterator[str]:
    """What was done to pictures is no part of the network."""
    if own.preprocessing != theirs.preprocessing:
        said = [one.preprocessing or "not said" for one in (own, theirs)]
        yield (
            f"preprocessing: {said[0]} in TARGET, {said[1]} in the file; it is no part of the "
            "network and is not compared"
        )


def _outputs(own: Architecture, theirs: Architecture) -> Iterator[str]:
    """Weights alone do not tell what is applied to the logits; a record may have."""
    for mine, assumed in zip(own.outputs, theirs.outputs, strict=False):
        if mine.activation != assumed.activation:
            yield (
                f"{mine.name}: {mine.activation} behind its logits in TARGET; weights alone do not "
                f"tell it ({assumed.activation} is assumed), and it is not compared"
            )


def without_output_activations(architecture: Architecture) -> Architecture:
    outputs = tuple(replace(one, activation="linear") for one in architecture.outputs)
    return replace(architecture, outputs=outputs)


def differences(one: Any, other: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(place, one's, the other's) for every value that differs in two plain structures."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys([*one, *other]):
            inside = f"{where}.{key}" if where else key
            yield from differences(one.get(key), other.get(key), inside)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            yield from differences(left, right, f"{where}[{number}]")
    elif isinstance(one, list) and isinstance(other, list):
        yield where, f"{len(one)} entries", len(other)
    elif one != other:
        yield where, one, other


def _prove_tensors(target: _Target, report: Report) -> Report:
    wrong = wrong_tensors(report.plan, report.checkpoint, target.tensors)
    wrong.update({name: f"{name} is bfloat16, not float32" for name in target.halved})
    if wrong:
        first = _first_layer(report, wrong)
        report = replace(report, parity=replace(report.parity, first_wrong_layer=first))
        _refuse(report, f"the tensors of {target.path} are not the source's", [*wrong.values()])
    return replace(report, proven_tensors=len(report.plan.steps))


def _first_layer(report: Report, wrong: Mapping[str, str]) -> str | None:
    """The Keras layer of the first wrong tensor, in the order of the network; a constant that the
    file does not hold is its module's."""
    lifted = report.network.lifted
    layers = lifted.outputs if lifted else report.network.residual.layers
    for step in report.plan.steps:
        if step.target in wrong:
            return step.source.layer if step.source else layers.get(step.target.rpartition(".")[0])
    return None


def _refuse(report: Report, headline: str, findings: list[str], hints: Any = ()) -> NoReturn:
    raise report.refused(ParityError(headline, findings, hints))


def compare_recording(
    model: Any, outputs: Mapping[str, str], recording: Recording, device: str, made_from: str
) -> Parity:
    """A network that is there against a recording; `made_from` is the SHA-256 of the Keras file
    that it was converted from."""
    described = description(model)
    assert described is not None
    reason = why_not_run(recording, described)
    if reason:
        return Parity("not compared", recording.oracle, reason)
    parity = compare_model(model, outputs, recording, devices(device))
    noted = (*parity.notes, *notes(recording, made_from))
    return replace(with_ties(parity, model, outputs, recording), notes=noted)
