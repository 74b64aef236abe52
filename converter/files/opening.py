"""SOURCE as the options say: with the configuration that is given for a file of weights."""

from __future__ import annotations

import hashlib
import itertools
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from converter.errors import MismatchError, UsageError
from converter.files.checkpoint import Checkpoint
from converter.files.given import Given, Match
from converter.files.isolation.reader import open_checkpoint, open_configuration
from converter.files.leftovers import work_folder
from converter.files.model_config import is_model
from converter.files.npz import MAX_FILE
from converter.files.readers._given import refuse_whole
from converter.files.source import sha256
from converter.identify import identify
from converter.mapping.plan import make_plan
from converter.options import Options
from converter.parity.original.keras_python import built
from resnet_pt.regular import open_regular

Progress = Callable[[str], None]


@contextmanager
def open_source(
    source: Path, settings: Options, progress: Progress = lambda message: None
) -> Iterator[Checkpoint]:
    """The checkpoint in SOURCE, readable while the context lasts.

    Weights alone are read as the whole model that they are of, where its configuration is given:
    by `config`, by `build`, or by the record that they are compared with. Raises MismatchError
    for one that does not fit, or fits in two ways; UsageError for a whole model.
    """
    given = given_configuration(source, settings, progress)
    if settings.match and given is None:
        raise UsageError(f"--match {settings.match}: no configuration is given for {source}")
    with open_checkpoint(source, given) as checkpoint:
        if checkpoint.rivals:
            refuse_two_ways(checkpoint, settings)
        if settings.build and given is None:
            checkpoint = replace(checkpoint, notes=(*checkpoint.notes, WITHOUT_TEXT))
        if checkpoint.config is not None or checkpoint.description is not None:
            yield checkpoint
            return
        checkpoint = replace(checkpoint, beside=configurations_beside(source))
        with pointing(checkpoint):
            yield checkpoint


@contextmanager
def pointing(checkpoint: Checkpoint) -> Iterator[None]:
    """Where a configuration would help weights alone that are refused, one beside them is named."""
    try:
        yield
    except MismatchError as error:
        if checkpoint.beside and any("--config" in hint for hint in error.hints):
            error.hints = (*error.hints, checkpoint.told_beside)
        raise


LOOKED_AT, SNIFFED, SHOWN = 500, 4096, 2
"""Files of a folder, bytes of each that may be a configuration, and those that are named."""


def configurations_beside(source: Path) -> tuple[str, ...]:
    """The names of files in SOURCE's folder that look like a Keras configuration: it is for the
    user to say whether one is that of these weights."""
    with suppress(OSError):
        files = itertools.islice(source.parent.iterdir(), LOOKED_AT)
        texts = sorted(path for path in files if path.suffix in (".json", ".yaml", ".yml"))
        return tuple(path.name for path in texts if _looks_like_one(path))[:SHOWN]
    return ()


def _looks_like_one(path: Path) -> bool:
    if not path.is_file():  # a pipe would wait for ever
        return False
    try:
        with path.open("rb") as file:
            start = file.read(SNIFFED)
    except OSError:
        return False
    return b"class_name" in start and b"config" in start


WITHOUT_TEXT = "the model that --build builds has no to_json(): the file is read as if alone"


def given_configuration(source: Path, settings: Options, progress: Progress) -> Given | None:
    """What the options give for SOURCE; None where they give nothing, or a record that has no
    configuration, or SOURCE has its own."""
    if settings.config:
        return _of_file(settings.config, "--config", settings.match)
    if settings.build:
        if not is_alone(source):  # before any code is run for it
            raise refuse_whole(source)
        return _of_code(settings, progress)
    if settings.against and has_configuration(settings.against) and is_alone(source):
        given = _of_file(settings.against, "--against", settings.match)
        return given if is_model(given.config) else None
    return None


def _of_file(path: Path, option: str, match: Match | None) -> Given:
    return Given(open_configuration(path), str(path), option, sha256(path), match)


def _of_code(settings: Options, progress: Progress) -> Given | None:
    """What the model that the user's code builds says of itself. Only another interpreter, which
    runs the model all the same, may have one that says nothing."""
    assert settings.build
    progress("building the model with its own code")
    text = built(settings.build, settings.code, settings.keras_python)
    if text is None and settings.keras_python:
        return None
    if text is None:
        raise UsageError(f"--build {settings.build}: the model that it builds has no to_json()")
    with work_folder() as folder:
        path = folder / "model.json"
        path.write_bytes(text)
        config = open_configuration(path)
    digest = hashlib.sha256(text).hexdigest()
    return Given(config, settings.build, "--build", digest, settings.match)


IN_RECORD = "config.npy"


def has_configuration(record: Path) -> bool:
    """Whether a record holds the configuration of its model."""
    with (
        suppress(OSError, ValueError, zipfile.BadZipFile),
        open_regular(record, MAX_FILE) as file,
        zipfile.ZipFile(file) as archive,
    ):
        return IN_RECORD in archive.namelist()
    return False


def is_alone(source: Path) -> bool:
    """Whether a file holds weights alone, whose layers a configuration may name."""
    with open_checkpoint(source) as checkpoint:
        has_own = checkpoint.config is not None or checkpoint.description is not None
        return not has_own and checkpoint.keras_version != "0"


def refuse_two_ways(checkpoint: Checkpoint, settings: Options) -> None:
    """Raise MismatchError if the weights make a network of the configuration by the names of its
    layers and by their order, and not the same one."""
    given = checkpoint.given
    assert given
    other = replace(given, match="order" if checkpoint.match == "names" else "names")
    try:
        with open_checkpoint(checkpoint.path, other) as there:
            make_plan(there, identify(there, settings))
    except MismatchError:
        return
    raise MismatchError(
        f"{checkpoint.path} fits {given} by the names of the layers, and by their order, which "
        "pairs them differently",
        checkpoint.rivals,
        [
            "--match order is what Keras' own load_weights does",
            "--match names is right where the layers are listed in another order than then",
        ],
    )
