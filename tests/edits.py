"""Files with one thing changed, for tests of what must be noticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from click.testing import CliRunner, Result
from helpers import copy, weights_only

from converter.cli import convert_weights
from converter.conversion import convert
from converter.errors import ConvertError
from converter.files.isolation.child import failures
from converter.files.source import read_here


def edited(
    path: Path,
    folder: Path,
    change: Callable[[Any], object],
    *,
    alone: bool = False,
    name: str | None = None,
) -> Path:
    """A copy of a whole model (or its weights `alone`) after `change` of the open file."""
    target = weights_only(path, folder) if alone else copy(path, folder)
    with h5py.File(target, "a") as file:
        change(file)
    return target.rename(folder / name) if name else target


def reconfigured(path: Path, folder: Path, change: Callable[[Any], object]) -> Path:
    """A copy of a whole model after `change` of its parsed `model_config`."""

    def rewrite(file: Any) -> None:
        config = json.loads(file.attrs["model_config"])
        change(config)
        file.attrs["model_config"] = json.dumps(config)

    return edited(path, folder, rewrite)


def layer(config: Any, name: str) -> Any:
    """One layer of a functional model's configuration."""
    return next(one for one in config["config"]["layers"] if one["name"] == name)


def with_leaky_relus(config: Any, slope: float = 0.3) -> None:
    """LeakyReLU in the place of every ReLU of the network."""
    for one in config["config"]["layers"]:
        if one["class_name"] == "Activation" and one["config"]["activation"] == "relu":
            settings = {"name": one["config"]["name"], "negative_slope": slope}
            one.update(class_name="LeakyReLU", config=settings, module="keras.layers")


def agreement(original: str) -> str:
    """What the summary says of logits that are those of `original`."""
    if original == "Keras itself":
        return f"logits    equal to {original}"
    return f"they are those of {original}, built from the same reading"


def replaced(file: Any, path: str, values: object) -> None:
    """Put other values, of any shape, in an array's place."""
    del file[path]
    file[path] = values


def every_array(file: Any, make: Callable[[Any, str, Any], object]) -> None:
    """Call `make(file, path, values)` for every array, which is gone by then."""
    paths: list[str] = []
    file.visititems(lambda path, one: paths.append(path) if isinstance(one, h5py.Dataset) else None)
    for path in paths:
        values = np.asarray(file[path])
        del file[path]
        make(file, path, values)


def run(*arguments: object) -> Result:
    result = CliRunner().invoke(convert_weights, [str(argument) for argument in arguments])
    source = Path(str(arguments[0]))
    if result.exit_code in REFUSALS and source.is_file():
        assert refusal_here(source) in (None, result.exit_code)
    return result


REFUSALS = (3, 4, 5)


def refusal_here(source: Path) -> int | None:
    """The exit code for what the reader says of a file without the limits of its own process, or
    None: then it is what the file holds that is refused."""
    try:
        with failures(source), read_here(source) as checkpoint:
            for _ in checkpoint.arrays(checkpoint.weights):
                pass
    except ConvertError as error:
        return error.exit_code
    return None


def assert_refused(result: Result, code: int, target: Path) -> None:
    """A message and an exit code, no traceback, and nothing written."""
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == code
    assert result.stderr.startswith("Error: ")
    assert result.stdout == ""
    assert not target.exists()


def assert_general(source: Path, target: Path) -> None:
    """It converts by its configuration alone, and gives the logits that Keras computes from it."""
    report = convert(source, target)
    assert report.network.lifted
    assert report.parity.is_original
    assert report.verdict == "equal", report.parity


def names_removed(file: Any) -> None:
    """Take the layers' names out of an open `.weights.h5`, as Keras before 3.6 wrote it."""

    def remove(name: str, found: Any) -> None:
        if "name" in found.attrs:
            del found.attrs["name"]

    file.visititems(remove)
