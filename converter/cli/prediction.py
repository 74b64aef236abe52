"""Behind the command `predict`: all that is decided before the first picture is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converter.errors import MismatchError, SourceError, UnsafeError, UsageError, why_unread
from converter.facts.fact import Evidence
from converter.facts.pictures import only_usual

if TYPE_CHECKING:
    from resnet_pt import Architecture, Preprocess, ResNet
    from resnet_pt.labels import Labels
    from resnet_pt.pictures import Interpolation
    from resnet_pt.predict import Prediction
    from resnet_pt.preprocessing import Mode

USUAL_SIZE = (224, 224)
"""What the ImageNet networks take, where a file does not say."""


@dataclass(frozen=True, slots=True)
class Task:
    """`facts` are (what, value, where it comes from), for a person; `warnings` what of it may be
    wrong."""

    model: ResNet
    transform: Preprocess
    labels: Mapping[str, Labels]
    paths: Sequence[Path]
    facts: Sequence[tuple[str, str, str]]
    warnings: Sequence[str] = ()


def prepare(
    target: Path,
    images: Sequence[Path],
    *,
    labels: Path | None = None,
    preprocess: Mode | None = None,
    interpolation: Interpolation = "nearest",
    size: tuple[int, int] | None = None,
    device: str = "auto",
) -> Task:
    """The network in `target`, what it does to pictures and what its classes are called.

    Raises UsageError for what neither the file nor an option says, SourceError for a target that
    cannot be read and for folders without pictures, MismatchError for a network without classes.
    """
    from resnet_pt.predict import find_pictures

    model, description = open_target(target, one_device(device))
    transform, facts = decide(model, description, preprocess, interpolation, size)
    names, origin = choose_labels(model, description, labels)
    paths = find_pictures(images)
    if not paths:
        raise SourceError(f"no pictures in {', '.join(map(str, images))}")
    warnings = [] if preprocess else unsure(description)
    return Task(model, transform, names, paths, [*facts, ("labels", *origin)], warnings)


def one_device(wanted: str) -> str:
    """The accelerator that is asked for ('auto': one that is there), or the CPU."""
    from converter.parity.prove import devices

    return devices(wanted)[-1]


def open_target(target: Path, device: str) -> tuple[ResNet, dict[str, Any]]:
    """(network, description)."""
    from resnet_pt.files import FileError, load_described
    from resnet_pt.network import ResNet

    try:
        model, description = load_described(target, device)
    except FileError as error:
        hint = "predict takes a file that convert-weights wrote"
        raise SourceError(str(error), hints=[hint]) from error
    except OSError as error:
        raise SourceError(f"{target} cannot be read: {error.strerror or error}") from error
    if not isinstance(model, ResNet):
        raise MismatchError(
            f"{target} holds no residual network: what its inputs and outputs are is not known",
            hints=["resnet_pt.load gives it as a module; its outputs are as docs/networks.md says"],
        )
    return model, description


def decide(
    model: ResNet,
    description: Mapping[str, Any],
    mode: Mode | None,
    interpolation: Interpolation,
    size: tuple[int, int] | None,
) -> tuple[Preprocess, list[tuple[str, str, str]]]:
    """The transform, and its facts with where each comes from."""
    import resnet_pt
    from resnet_pt.pictures import CHANNELS
    from resnet_pt.predict import why_it_does_not_run

    architecture = model.architecture
    if architecture.in_channels not in CHANNELS:
        raise MismatchError(f"no picture has {architecture.in_channels} channels")
    evidence = {fact["name"]: fact["evidence"] for fact in description.get("facts", [])}
    recorded = f"TARGET ({evidence.get('preprocessing', 'recorded')})"
    chosen = size or architecture.input_size or USUAL_SIZE
    try:
        transform = resnet_pt.preprocess(
            architecture, mode=mode, size=chosen, interpolation=interpolation
        )
    except ValueError as error:
        raise UsageError(str(error), hints=["--preprocess sets the mode"]) from error
    refuse_too_large(architecture, chosen, is_stated=bool(size))
    wrong = why_it_does_not_run(architecture, chosen)
    if wrong:
        hints = ["--size HxW sets another"]
        raise UsageError(f"the network cannot read pictures of {by(chosen)}", [wrong], hints)
    origin = "--size" if size else "TARGET" if architecture.input_size else "the usual size"
    return transform, [
        ("preprocess", transform.mode, "--preprocess" if mode else recorded),
        ("size", f"{by(chosen)}, {interpolation}", origin),
    ]


def unsure(description: Mapping[str, Any]) -> list[str]:
    """A line where TARGET says of pictures only what the code of its naming did by default."""
    default = str(Evidence.DEFAULT)
    return [
        only_usual(fact["value"])
        for fact in description.get("facts", [])
        if fact["name"] == "preprocessing" and fact["evidence"] == default
    ]


def refuse_too_large(architecture: Architecture, size: tuple[int, int], *, is_stated: bool) -> None:
    """What a file claims of its pictures and windows is not believed without a bound; a person who
    states a size may want more."""
    from converter.parity.comparing.sizes import CLAIMED_LIMIT, STATED_LIMIT, prediction_bytes, take

    taken = prediction_bytes(architecture, size)
    limit = STATED_LIMIT if is_stated else CLAIMED_LIMIT
    if taken <= limit:
        return
    hints = [f"--size {by(size)} says that so much is there"] if taken <= STATED_LIMIT else []
    raise UnsafeError(
        f"pictures of {by(size)} would take {take(taken)} of memory each in the network of TARGET: "
        f"over the limit of {take(limit)}",
        hints=[*hints, "a smaller --size takes less"],
    )


def usable_batch(task: Task, wanted: int) -> int:
    """As many pictures at a time as are wanted, fewer where these would take much memory."""
    from converter.parity.comparing.sizes import CLAIMED_LIMIT, prediction_bytes

    assert task.transform.size
    one = prediction_bytes(task.model.architecture, task.transform.size)
    return max(1, min(wanted, CLAIMED_LIMIT // max(one, 1)))


def by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def choose_labels(
    model: ResNet, description: Mapping[str, Any], file: Path | None
) -> tuple[dict[str, Labels], tuple[str, str]]:
    """The labels of each output, and (how many, where they are from): the file that is given, the
    target's own, ImageNet's for 1000 classes, or numbers."""
    from resnet_pt.labels import Label, imagenet, named, read_labels

    own = tuple(Label(name) for name in description.get("labels", ()))
    labels, origin = own, "TARGET"
    if file:
        origin = "--labels"
        try:
            labels = read_labels(file)
        except (OSError, ValueError) as error:
            raise UsageError(f"--labels {file} cannot be read: {why_unread(error)}") from error
    elif not own and model.architecture.classes == 1000:
        labels, origin = imagenet(), "ImageNet's, as there are 1000"
    elif not own:
        origin = "numbers; --labels FILE names them"
    try:
        names = named(model.architecture, labels)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if not names:
        raise MismatchError("the network in TARGET has no classes: it gives features")
    return names, (str(sum(map(len, names.values()))), origin)


def to_dict(task: Task, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """What `--json` prints."""
    transform = task.transform
    return {
        "preprocess": transform.mode,
        "size": list(transform.size or ()),
        "interpolation": transform.interpolation,
        "activations": {one.name: one.activation for one in task.model.architecture.outputs},
        "pictures": [_picture(one) for one in predictions],
    }


def _picture(prediction: Prediction) -> dict[str, Any]:
    if prediction.error:
        return {"path": str(prediction.path), "error": prediction.error}
    outputs = {
        name: [
            {
                "index": score.index,
                "label": score.label.name,
                **({"synset": score.label.synset} if score.label.synset else {}),
                "value": score.value,
            }
            for score in scores
        ]
        for name, scores in prediction.outputs.items()
    }
    return {"path": str(prediction.path), "outputs": outputs}
