"""Behind the command `predict`: all that is decided before the first example is read, and what is
written of what the network gives."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converter.cli.examples import examples, gathered
from converter.errors import (
    MismatchError,
    SourceError,
    TargetError,
    UnsafeError,
    UsageError,
    why_unread,
)
from converter.facts.fact import Evidence
from converter.facts.pictures import only_usual

if TYPE_CHECKING:
    from resnet_pt import Preprocess, ResNet
    from resnet_pt.general import General
    from resnet_pt.labels import Labels
    from resnet_pt.maps import Picturing, Range
    from resnet_pt.ops import Shape
    from resnet_pt.pictures import Interpolation
    from resnet_pt.predict import Example, Prediction
    from resnet_pt.preprocessing import Mode
    from resnet_pt.program import Input, Program

USUAL_SIZE = (224, 224)
"""What the ImageNet networks take, where a file does not say."""

NAMES = "__examples__"
"""The array of `--out` that says which example each row is."""

Facts = Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Task:
    """`transform` is for pictures, None where there are none; `facts` are (what, value, where it
    comes from), for a person; `warnings` what of it may be wrong."""

    model: ResNet | General
    transform: Preprocess | None
    labels: Mapping[str, Labels]
    examples: Sequence[Example]
    facts: Facts
    warnings: Sequence[str] = ()
    maps: Sequence[Picturing] = ()


def prepare(
    target: Path,
    inputs: Sequence[Path],
    *,
    labels: Path | None = None,
    preprocess: Mode | None = None,
    interpolation: Interpolation = "nearest",
    size: tuple[int, int] | None = None,
    device: str = "auto",
    layers: Path | None = None,
    range: Range | None = None,
) -> Task:
    """The network in `target`, what it is given, what is done to pictures and what its classes are
    called.

    Raises UsageError for what neither the file nor an option says, SourceError for a target that
    cannot be read and for folders without pictures, MismatchError for pictures that no input takes.
    """
    from resnet_pt.maps import picturing

    model, description = open_target(target, one_device(device), layers)
    names, origin = choose_labels(model, description, labels)
    given = examples(inputs, model.program.inputs)
    transform: Preprocess | None = None
    facts: Facts = ()
    if any(isinstance(value, Path) for one in given for value in one.values):
        read = of_pictures(model, given)
        transform, facts = decide(model, description, preprocess, interpolation, size, read)
    elif preprocess or size:
        raise UsageError("--preprocess and --size are for pictures, and only arrays are given")
    warnings = [] if preprocess or not transform else unsure(description)
    how = picturing(model.program, range)
    told = [
        *facts,
        *([("labels", *origin)] if names else []),
        *activations(model),
        *(("map", f"{one.name}: {one}", "its last activation or --range") for one in how),
    ]
    return Task(model, transform, names, given, told, warnings, how)


def activations(model: ResNet | General) -> Iterator[tuple[str, str, str]]:
    """What is applied to what the network gives, for a person."""
    for one in model.program.outputs:
        if one.activation != "linear":
            yield ("activation", f"{one.name}: {one.activation}", "TARGET; applied as Keras does")


def one_device(wanted: str) -> str:
    """The accelerator that is asked for ('auto': one that is there), or the CPU."""
    from converter.parity.prove import devices

    return devices(wanted)[-1]


def open_target(
    target: Path, device: str, layers: Path | None = None
) -> tuple[ResNet | General, dict[str, Any]]:
    """(network, description). `layers` is the user's own file of layers, if it needs one."""
    from resnet_pt.files import FileError, load_described

    try:
        return load_described(target, device, layers)
    except FileError as error:
        needs_code = "resnet_pt.load(path, layers=" in str(error)
        hint = "predict takes a file that convert-weights wrote"
        hint = "--layers FILE.py gives it" if needs_code else hint
        raise SourceError(str(error), hints=[hint]) from error
    except OSError as error:
        raise SourceError(f"{target} cannot be read: {error.strerror or error}") from error


def decide(
    model: ResNet | General,
    description: Mapping[str, Any],
    mode: Mode | None,
    interpolation: Interpolation,
    size: tuple[int, int] | None,
    read: Input | None = None,
) -> tuple[Preprocess, Facts]:
    """The transform of pictures for the input `read` (the only one, where it is not said), and its
    facts with where each comes from."""
    from typing import get_args

    from resnet_pt.predict import why_it_does_not_run
    from resnet_pt.preprocessing import Mode

    read = read or model.program.inputs[0]
    told = {fact["name"]: fact for fact in description.get("facts", [])}.get("preprocessing", {})
    known = mode or recorded_mode(model, told)
    if known is None:
        raise UsageError(
            "the file does not say what its project did to its pictures: "
            f"give mode, one of {', '.join(get_args(Mode))}",
            hints=["--preprocess sets the mode"],
        )
    chosen, origin = size_of(model, read, size)
    transform = transform_of(read.shape[0], known, chosen, interpolation)
    recorded = f"TARGET ({told.get('evidence', 'recorded')})"
    if chosen:
        refuse_too_large(model.program, chosen, is_stated=bool(size))
        shapes = pictures_of(model.program, chosen)
        wrong = len(shapes) == 1 and why_it_does_not_run(model.program, shapes)
        if wrong:
            hints = ["--size HxW sets another"]
            raise UsageError(f"the network cannot read pictures of {by(chosen)}", [wrong], hints)
    shown = by(chosen) if chosen else "of each picture"
    return transform, [
        ("preprocess", transform.mode, "--preprocess" if mode else recorded),
        ("size", f"{shown}, {interpolation}", origin),
    ]


def of_pictures(model: ResNet | General, given: Sequence[Example]) -> Input:
    """The input that pictures are given for. Raises MismatchError for one that takes none, and
    UsageError for several that take pictures of other kinds."""
    places = {
        place for one in given for place, value in enumerate(one.values) if isinstance(value, Path)
    }
    inputs = [model.program.inputs[place] for place in sorted(places)]
    for one in inputs:
        if len(one.shape) != 3:
            raise MismatchError(
                f"{one.name!r} is no map: a picture is none of its inputs",
                hints=["give it as an array, .npy or .npz, as Keras has it"],
            )
    if len({one.shape for one in inputs}) > 1:
        raise UsageError(
            "pictures are given for inputs of different shapes",
            [f"{one.name}: {one.shape}" for one in inputs],
            ["give all but one of them as arrays, .npy or .npz"],
        )
    return inputs[0]


def recorded_mode(model: ResNet | General, told: Mapping[str, Any]) -> Mode | None:
    """What TARGET says that was done to pictures."""
    from resnet_pt.network import ResNet
    from resnet_pt.pictures import known_mode
    from resnet_pt.preprocessing import MODES

    if isinstance(model, ResNet):
        return known_mode(model.architecture)
    return next((mode for mode in MODES if mode == told.get("value")), None)


def size_of(
    model: ResNet | General, read: Input, size: tuple[int, int] | None
) -> tuple[tuple[int, int] | None, str]:
    """(the size of pictures, where it comes from); None is that of each picture itself."""
    from resnet_pt.network import ResNet

    if size:
        return size, "--size"
    if isinstance(model, ResNet):
        stated = model.architecture.input_size
        return stated or USUAL_SIZE, "TARGET" if stated else "the usual size"
    _, height, width = read.shape
    if height and width:
        return (height, width), "TARGET"
    return None, "TARGET does not say one; --size does"


def transform_of(
    channels: int | None,
    mode: Mode,
    size: tuple[int, int] | None,
    interpolation: Interpolation,
) -> Preprocess:
    from resnet_pt.pictures import CHANNELS, Preprocess

    if channels not in CHANNELS:
        raise MismatchError(f"no picture has {channels} channels")
    try:
        return Preprocess(mode, size, interpolation, CHANNELS[channels])
    except ValueError as error:
        raise UsageError(str(error), hints=["--preprocess sets the mode"]) from error


def unsure(description: Mapping[str, Any]) -> list[str]:
    """A line where TARGET says of pictures only what the code of its naming did by default."""
    default = str(Evidence.DEFAULT)
    return [
        only_usual(fact["value"])
        for fact in description.get("facts", [])
        if fact["name"] == "preprocessing" and fact["evidence"] == default
    ]


def too_large(program: Program, shapes: Sequence[Shape], limit: int) -> str:
    """Why inputs of these shapes would take too much memory; '' if they do not."""
    from converter.parity.comparing.sizes import take

    taken = bytes_of(program, shapes)
    if taken <= limit:
        return ""
    where = "of memory each in the network of TARGET"
    return f"would take {take(taken)} {where}: over the limit of {take(limit)}"


def bytes_of(program: Program, shapes: Sequence[Shape]) -> int:
    from converter.parity.comparing.sizes import bytes_for

    return bytes_for(program, dict(zip([one.name for one in program.inputs], shapes, strict=True)))


def why_not(program: Program, shapes: Sequence[Shape]) -> str:
    """Why an example is not run; '' if it is."""
    from converter.parity.comparing.sizes import STATED_LIMIT
    from resnet_pt.predict import why_it_does_not_run

    return why_it_does_not_run(program, shapes) or too_large(program, shapes, STATED_LIMIT)


def refuse_too_large(program: Program, size: tuple[int, int], *, is_stated: bool) -> None:
    """What a file claims of its pictures and windows is not believed without a bound; a person who
    states a size may want more."""
    from converter.parity.comparing.sizes import CLAIMED_LIMIT, STATED_LIMIT

    shapes = pictures_of(program, size)
    wrong = too_large(program, shapes, STATED_LIMIT if is_stated else CLAIMED_LIMIT)
    if not wrong:
        return
    fits = bytes_of(program, shapes) <= STATED_LIMIT
    hints = [f"--size {by(size)} says that so much is there"] * fits
    raise UnsafeError(
        f"pictures of {by(size)} {wrong}", hints=[*hints, "a smaller --size takes less"]
    )


def pictures_of(program: Program, size: tuple[int, int]) -> list[Shape]:
    """The shapes of inputs for pictures of a size; of other inputs that which is stated."""
    return [
        (one.shape[0], *size) if len(one.shape) == 3 else tuple(side or 1 for side in one.shape)
        for one in program.inputs
    ]


def usable_batch(task: Task, wanted: int) -> int:
    """As many examples at a time as are wanted, fewer where these would take much memory."""
    from converter.parity.comparing.sizes import CLAIMED_LIMIT
    from resnet_pt.predict import as_in_torch

    size = task.transform.size if task.transform else None
    program = task.model.program
    if task.transform and not size:  # each has its own
        return 1
    pictures = pictures_of(program, size or (1, 1))
    shapes = [
        shape if isinstance(value, Path) else as_in_torch(value).shape
        for shape, value in zip(pictures, task.examples[0].values, strict=True)
    ]
    return max(1, min(wanted, CLAIMED_LIMIT // max(bytes_of(program, shapes), 1)))


def by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def choose_labels(
    model: ResNet | General, description: Mapping[str, Any], file: Path | None
) -> tuple[dict[str, Labels], tuple[str, str]]:
    """The labels of each output that has classes, and (how many, where they are from): the file
    that is given, the target's own, ImageNet's for 1000 classes, or numbers."""
    from resnet_pt.files import described_by
    from resnet_pt.labels import Label, classes, imagenet, named, read_labels

    network = described_by(model)
    own = tuple(Label(name) for name in description.get("labels", ()))
    labels, origin = own, "TARGET"
    if file:
        origin = "--labels"
        try:
            labels = read_labels(file)
        except (OSError, ValueError) as error:
            raise UsageError(f"--labels {file} cannot be read: {why_unread(error)}") from error
    elif not own and [count for _, count in classes(network)] == [1000]:
        labels, origin = imagenet(), "ImageNet's, as there are 1000"
    elif not own:
        origin = "numbers; --labels FILE names them"
    try:
        names = named(network, labels)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if file and not names:
        raise UsageError(f"--labels {file}: the network has no classes")
    return names, (str(sum(map(len, names.values()))), origin)


# ---- what is written


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are written: the arrays, and the folder of pictures of maps; None for none.
    `force` replaces what is there."""

    out: Path | None = None
    maps: Path | None = None
    force: bool = False


def check_places(places: Places, target: Path, given: Sequence[Path], task: Task) -> None:
    """Refuse, before anything is run, what could not be written. Raises UsageError, TargetError."""
    from converter.files.publish import check_target

    if places.out:
        if places.out.suffix != ".npz":
            raise UsageError(f"--out {places.out} needs the suffix .npz")
        real = check_target(target, places.out, places.force)
        if any(os.path.realpath(str(one).partition("=")[2] or one) == str(real) for one in given):
            raise TargetError(f"{places.out} is one of the inputs")
    if not places.maps:
        return
    if not [one for one in task.maps if not one.reason]:
        told = [f"{one.name}: {one.reason}" for one in task.maps]
        raise UsageError(
            "--maps: no output can be written as pictures", told or ["there is no map"]
        )
    if places.maps.exists() and not places.maps.is_dir():
        raise TargetError(f"{places.maps} is there already, and is no directory")
    for path in planned(task, places.maps):
        if path.exists() and not places.force:
            raise TargetError(f"{path} is there already", hints=["replace it with --force"])


def planned(task: Task, folder: Path) -> Iterator[Path]:
    """The pictures of maps that will be written."""
    from resnet_pt.maps import channel_suffixes

    shapes = task.model.program.shapes()
    values = {one.name: shapes[one.value] for one in task.model.program.outputs}
    for name in base_names([one.name for one in task.examples]):
        for how in task.maps:
            if not how.reason:
                count = 1 if how.by_class else int(values[how.name][0] or 1)
                yield from (
                    folder / f"{name}{_of_output(task, how)}{suffix}.png"
                    for suffix in channel_suffixes(count)
                )


def _of_output(task: Task, how: Picturing) -> str:
    """What is added to a picture's name where there are several outputs."""
    if len(task.model.program.outputs) == 1:
        return ""
    return "-" + "".join(char if char.isalnum() or char in "._-" else "_" for char in how.name)


def base_names(examples: Sequence[str]) -> list[str]:
    """A name of a file for each example: that of its picture, or of its array with the row, and a
    number where that is taken."""
    found: dict[str, None] = {}
    for example in examples:
        name, row = example.partition(" + ")[0], ""
        if name.endswith("]"):
            name, _, row = name[:-1].rpartition("[")
        base = first = f"{Path(name).stem}{'_' * bool(row)}{row}"
        number = 1
        while base in found:
            number += 1
            base = f"{first}_{number}"
        found[base] = None
    return list(found)


def write_arrays_of(out: Path, found: Sequence[Prediction], *, force: bool) -> None:
    """Every output by its name, with a row for each example that was read."""
    import numpy as np

    from converter.files.npz import write_arrays
    from converter.files.publish import draft

    read = [one for one in found if not one.error]
    arrays = gathered([one.values for one in read])
    arrays[NAMES] = np.array([one.name for one in read])
    with draft(Path(os.path.realpath(out)), force=force) as one:
        write_arrays(one.file, arrays)
        one.finish()


def write_maps(folder: Path, task: Task, found: Sequence[Prediction], *, force: bool) -> int:
    """The maps as pictures, PNG; how many were written."""
    from converter.files.publish import draft
    from resnet_pt.maps import pictures

    count = 0
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise TargetError(f"{folder} cannot be written: {error.strerror or error}") from error
    names = base_names([one.name for one in task.examples])
    for name, one in zip(names, found, strict=True):
        for how in task.maps:
            if one.error or how.reason:
                continue
            for suffix, picture in pictures(one.values[how.name], how):
                path = folder / f"{name}{_of_output(task, how)}{suffix}.png"
                with draft(Path(os.path.realpath(path)), force=force) as file:
                    picture.save(file.file, "PNG")
                    file.finish()
                count += 1
    return count


def to_dict(task: Task, predictions: Sequence[Prediction]) -> dict[str, Any]:
    """What `--json` prints."""
    transform = task.transform
    return {
        "preprocess": transform.mode if transform else None,
        "size": list(transform.size or ()) if transform else None,
        "interpolation": transform.interpolation if transform else None,
        "activations": {one.name: one.activation for one in task.model.program.outputs},
        "pictures": [_example(one) for one in predictions],
    }


def _example(prediction: Prediction) -> dict[str, Any]:
    if prediction.error:
        return {"path": prediction.name, "error": prediction.error}
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
    values = {
        name: {
            "shape": value.shape,
            "smallest": float(value.min()),
            "largest": float(value.max()),
            "mean": float(value.mean()),
        }
        for name, value in prediction.values.items()
    }
    return {"path": prediction.name, "outputs": outputs, "values": values}
