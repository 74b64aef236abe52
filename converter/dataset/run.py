"""One call for a converted file, a folder of pictures, and an original of any kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from converter.dataset.compare import Progress, compare_dataset
from converter.dataset.pictures import Size, Transform, find_pictures
from converter.dataset.predict import (
    KerasProcess,
    Predict,
    bundled_keras,
    converted,
    own_keras,
    recorded,
)
from converter.dataset.results import DatasetComparison, Kind
from converter.dataset.spread import Group, device
from converter.errors import UnsafeError, UsageError
from converter.facts.table import TABLE
from converter.files.isolation.reader import open_configuration
from converter.files.opening import open_source
from converter.files.source import sha256
from converter.identify import identify
from converter.options import Options
from converter.parity.comparing.inputs import (
    default_size,
    is_too_large,
    too_large,
    too_large_for,
)
from converter.parity.comparing.layers import description
from converter.parity.original.keras_python import building, refuse_code
from converter.parity.original.oracle import BUNDLED
from converter.parity.original.recording import read_record
from resnet_pt.architecture import Architecture

if TYPE_CHECKING:
    from resnet_pt.general import General
    from resnet_pt.network import ResNet

DECIDING = (*(row.option for row in TABLE if row.name != "preprocessing"), "match", "build")
"""The options that decide which network the bundled definition is."""


@dataclass(frozen=True, slots=True)
class Original:
    """Where the original's predictions come from: a record (`.npz`), or a Keras file.

    A file is run by record_keras.py, `recorder`, in the interpreter `python`, with the code that
    `build` names if it holds weights alone; without a recorder by the bundled Keras definition of
    the network that is inferred from it with `options`.
    """

    path: Path
    is_record: bool
    python: Path | str = ""
    recorder: Path | None = None
    build: str | None = None
    options: Options = field(default_factory=Options)

    @property
    def is_original(self) -> bool:
        """Whether the original itself is asked, now or when it was recorded."""
        return self.is_record or self.recorder is not None

    @property
    def oracle(self) -> str:
        """What gives the predictions, for a person."""
        if self.is_record:
            return "a record"
        return f"Keras, run by {self.python}" if self.recorder else BUNDLED

    @property
    def asked(self) -> str:
        """Who computes it, and of which network: another one may give other last bits, and another
        network other numbers."""
        if self.is_record:
            return "record"
        config = self.options.config
        given = [f"config {sha256(config)}"] if config else []
        if self.recorder:
            return ", ".join([str(self.python), *([self.build] if self.build else []), *given])
        told = {name: getattr(self.options, name) for name in DECIDING}
        said = [f"{name} {value}" for name, value in told.items() if value is not None]
        return ", ".join(["bundled definition", *said, *given])


@contextmanager
def predicting(original: Original, names: tuple[str, ...]) -> Iterator[tuple[Kind, Predict]]:
    """What an original gives, and how to ask it; its process lives as long as the context."""
    if original.is_record:
        yield recorded(read_record(original.path), names)
        return
    with (
        TemporaryDirectory(prefix="convert-weights-") as folder,
        ask(original, Path(folder)) as keras,
    ):
        yield keras.of, keras


def ask(original: Original, folder: Path) -> KerasProcess:
    """The process that predicts; `folder` is its own for as long as it lives."""
    options = original.options
    if original.recorder:
        arguments = building(original.build, options.code)
        if not original.build:
            with open_source(original.path, options) as checkpoint:
                refuse_code(checkpoint)
        if options.config:
            text = folder / "model.json"
            text.write_text(json.dumps(open_configuration(options.config)))
            arguments = ["--config", str(text)]
        return own_keras(original.python, original.recorder, original.path, arguments)
    with open_source(original.path, options) as checkpoint:
        return bundled_keras(checkpoint, identify(checkpoint, options))


def pictures_of(model: ResNet | General, size: Size | None) -> tuple[int, Size]:
    """(channels, size) of the pictures that a network reads; `size` is a person's.

    Raises UsageError for a general network that reads no single picture, or any size where none is
    given, or gives other than one vector; UnsafeError for pictures that are too large.
    """
    described = description(model)
    if isinstance(described, Architecture):
        size = size or described.input_size or default_size(described)
        if is_too_large(described, size):
            raise UnsafeError(too_large(described, size))
        return described.in_channels, size
    assert described is not None
    shapes = described.shapes()
    reads = [one.shape for one in described.inputs]
    gives = [shapes[one.value] for one in described.outputs]
    if [len(shape) for shape in (*reads, *gives)] != [3, 1]:
        raise UsageError(
            "--images compares networks that read one picture and give one vector, and this one "
            f"reads {', '.join(map(str, reads))} and gives {', '.join(map(str, gives))}",
            hints=["a record, or its Keras file, proves it without --images"],
        )
    ((channels, height, width),) = reads
    if size is None and height and width:
        size = (height, width)
    if size is None or channels is None:
        raise UsageError("the network takes pictures of any size: --size HxW says which")
    picture = np.broadcast_to(np.float32(0), (1, *size, channels))
    wrong = too_large_for(described, [picture])
    if wrong:
        raise UnsafeError(wrong)
    return channels, size


def compare_images(
    target: Path,
    images: Path,
    original: Original,
    *,
    transform: Transform,
    transform_name: str | None,
    size: Size | None = None,
    wanted_device: str = "auto",
    batch_size: int = 32,
    workers: int = 0,
    state: Path | None = None,
    group: Group,
    progress: Progress,
) -> DatasetComparison:
    """Hold the converted network in `target` against `original`, for every picture in `images`.

    `transform` is what the project did to its pictures, and `transform_name` what a state calls it.
    `size` is for a network that takes any. See `compare_dataset` for the rest and the errors.
    """
    from resnet_pt import load

    model = load(target, layers=original.options.layers)
    names = find_pictures(images)
    channels, size = pictures_of(model, size)
    with predicting(original, names) as (of, predict):
        found = compare_dataset(
            images,
            names,
            predict,
            converted(model, device(wanted_device), of),
            size=size,
            channels=channels,
            transform=transform,
            of=of,
            batch_size=batch_size,
            workers=workers,
            state=state,
            identity={
                "target": sha256(target),
                "original": sha256(original.path),
                "asked": original.asked,
                "transform": transform_name,
            },
            group=group,
            progress=progress,
        )
    return replace(found, oracle=original.oracle, is_original=original.is_original)
