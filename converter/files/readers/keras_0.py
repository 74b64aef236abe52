"""Keras 0.x: arrays by number alone, `layer_3/param_0`, in the order of the model's layers.

Nothing in the file names a layer; weightless ones have a group too. Source: keras 0.3.3
`models.py` (`Sequential.save_weights`), `layers/normalization.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from converter.errors import MismatchError, SourceError, UnsafeError, UsageError
from converter.files.checkpoint import Checkpoint, Weight
from converter.files.given import Given
from converter.files.readers import _hdf5

FORMAT = "hdf5"
LAYERS, GRAPH = "nb_layers", "graph"

PARAMETERS: Mapping[tuple[int, ...], tuple[str, ...]] = {
    (): (),
    (4,): ("W",),
    (4, 1): ("W", "b"),
    (2,): ("W",),
    (2, 1): ("W", "b"),
    (1, 1, 1, 1): ("gamma", "beta", "running_mean", "running_std"),
    (1, 1): ("gamma", "beta"),
}
"""What the arrays of one layer are, by their numbers of axes."""

NAMES = {
    "W": "kernel",
    "b": "bias",
    "running_mean": "moving_mean",
    "running_std": "moving_variance",
}


def recognises(file: Any) -> bool:
    """Whether an open HDF5 file is one of these."""
    return LAYERS in file.attrs or (
        _hdf5.has_group(file, GRAPH) and "nb_params" in _hdf5.group(file, GRAPH).attrs
    )


def read(file: Any, path: Path, keep: ExitStack, given: Given | None = None) -> Checkpoint:
    """Everything but the arrays; they are read from `file` when asked for."""
    if given:
        raise UsageError(
            f"{path} is of Keras 0, whose files name no layer: no configuration goes with it"
        )
    if LAYERS not in file.attrs:
        raise MismatchError(
            f"{path} holds the weights of a Graph model of Keras 0.x, which did not save the means "
            "and deviations of its norms",
            hints=["load it in its Keras and save it from there with Keras 1's save_weights"],
        )
    datasets: dict[str, Any] = {}
    names = [f"layer_{number}" for number in range(_count(file, LAYERS))]
    weights = [weight for name in names for weight in _of_group(file, name, datasets)]
    return Checkpoint(
        path=path,
        container="Keras 0 HDF5, weights only",
        weights=tuple(weights),
        layers=tuple(names),
        arrays=lambda wanted: ((one, _hdf5.read(datasets[one.path])) for one in wanted),
        keras_version="0",
    )


def _count(group: Any, name: str) -> int:
    try:
        count = int(group.attrs[name])
    except (KeyError, TypeError, ValueError):
        raise SourceError(f"the file's {name} is no number") from None
    if not 0 <= count <= _hdf5.MAX_NAMES:
        raise UnsafeError(f"{name} is {count}: over the limit of {_hdf5.MAX_NAMES:,}")
    return count


def _of_group(file: Any, name: str, datasets: dict[str, Any]) -> Iterator[Weight]:
    try:
        group = _hdf5.group(file, name)
        found = [
            _hdf5.dataset(group, f"param_{number}") for number in range(_count(group, "nb_params"))
        ]
    except KeyError as error:
        raise SourceError(f"the file does not hold {name}: {error.args[0]!r}") from None
    axes = tuple(len(one.shape) for one in found)
    if axes not in PARAMETERS:
        raise MismatchError(f"{name} holds {len(found)} arrays of {axes} axes: no single layer's")
    for number, (one, spelling) in enumerate(zip(found, PARAMETERS[axes], strict=True)):
        path = f"{name}/param_{number}"
        datasets[path] = one
        yield Weight(
            group=name,
            layer=name,
            parameter=NAMES.get(spelling, spelling),
            path=path,
            shape=tuple(one.shape),
            dtype=_hdf5.float_type(one, path),
            spelling=spelling,
        )
