"""What a reader finds in a file: names, shapes and attributes first, arrays when asked for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from converter.errors import printable
from converter.files.given import Given

Array = npt.NDArray[Any]
Shape = tuple[int, ...]

GIVE_IT = (
    "give its configuration with --config model.json: on the old machine, "
    "open('model.json', 'w').write(model.to_json())"
)
"""How a file of weights gets the configuration of its model, in words."""

REFUSED_TOO = "Lambda layers and classes of the project's own are refused there too"

COUNT = "count"
"""How many pictures a Normalization layer has seen: no part of what it computes, and an integer."""

TRAINING_ALONE = frozenset([COUNT, "vector_u"])
"""That, and what a SpectralNormalization estimates a kernel's norm with while it trains."""

PARAMETERS: dict[str, str] = {
    "kernel": "kernel",
    "W": "kernel",  # Keras 1
    "depthwise_kernel": "depthwise_kernel",
    "pointwise_kernel": "pointwise_kernel",
    "bias": "bias",
    "b": "bias",  # Keras 1
    "gamma": "gamma",
    "beta": "beta",
    "alpha": "alpha",  # PReLU's
    "alphas": "alpha",  # Keras 1
    "mean": "moving_mean",  # Normalization's
    "variance": "moving_variance",
    "count": COUNT,
    "moving_mean": "moving_mean",
    "running_mean": "moving_mean",  # Keras 1
    "moving_variance": "moving_variance",
    "running_std": "moving_variance",  # Keras 1: holds the variance, whatever its name says
}
"""Every spelling of a parameter, and the name it has here: Keras 2's."""


@dataclass(frozen=True, slots=True)
class Weight:
    """One array of a file, by the layer it belongs to.

    `group` is the top-level layer it is stored under: the layer itself, or the nested model
    around it. `path` finds the array again; `spelling` is the parameter's name as written.
    `pieces` is how many arrays of the file it is, side by side (`converter.files.readers._groups`).
    """

    group: str
    layer: str
    parameter: str
    path: str
    shape: Shape
    dtype: str = "float32"
    spelling: str = ""
    pieces: int = 1

    def __str__(self) -> str:
        return f"{self.layer}/{self.parameter}"


class ArraySource(Protocol):
    """Where a checkpoint's arrays come from."""

    def __call__(self, weights: Iterable[Weight]) -> Iterator[tuple[Weight, Array]]: ...


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A Keras file, opened.

    `layers` lists every layer, weightless ones too, in the file's order: their names tell what
    a weights-only file does not say otherwise. `config` is the `model_config` of a whole model,
    `description` that of one whose class keeps its layers to itself, with the class's arguments,
    `shards` are the names of the files beside `path` that it is only the list of, `notes` is what
    is to be said about how the file was read. `has_preprocessor` says that a part of the model that
    works on pictures before the network does (keras-hub's) was left out of these lists.

    Where the configuration of a file of weights was `given`, `match` says whether its layers got
    their weights by their 'names' or by their 'order', and `rivals` what the other way, which fits
    too, pairs differently. Where none was, `beside` are files in its folder that look like one.

    Where the container is not `is_ordered`, layers are in order within their class alone; where
    it is not `is_named`, their names are classes with a number (`conv2d_3`). `kinds` gives the
    classes, in snake case, of the layers without weights, where the container tells them, and
    `homes` the groups that lead to those layers ('' in the outermost model).
    """

    path: Path
    container: str
    weights: tuple[Weight, ...]
    layers: tuple[str, ...]
    arrays: ArraySource
    keras_version: str | None = None
    backend: str | None = None
    config: Mapping[str, Any] | None = None
    description: Mapping[str, Any] | None = None
    shards: tuple[str, ...] = ()
    is_ordered: bool = True
    is_named: bool = True
    kinds: Mapping[str, str] = field(default_factory=dict)
    homes: Mapping[str, str] = field(default_factory=dict)
    sha256: str = ""
    notes: tuple[str, ...] = ()
    has_preprocessor: bool = False
    match: str = ""
    rivals: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    given: Given | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The file itself, and those beside it that hold its arrays."""
        return (self.path, *(self.path.parent / Path(name).name for name in self.shards))

    def of_layer(self) -> dict[str, dict[str, Weight]]:
        """`{layer: {parameter: weight}}`."""
        found: dict[str, dict[str, Weight]] = {}
        for weight in self.weights:
            found.setdefault(weight.layer, {})[weight.parameter] = weight
        return found

    def version(self) -> tuple[int, ...] | None:
        """The Keras version as numbers, (2, 1, 6), or None where the file does not say."""
        if self.keras_version is None:
            return None
        parts = self.keras_version[:40].split("-")[0].split(".")
        return tuple(int(part) for part in parts[:3] if part.isdecimal()) or None

    @property
    def oldest_version(self) -> tuple[int, ...]:
        """The oldest Keras that may have written the file: the one that it names, or, of a
        container without order, the first that wrote such (2.12)."""
        oldest = () if self.is_ordered else (2, 12)
        return self.version() or oldest

    @property
    def advice(self) -> str:
        """What to do about what the file does not say, in words. A model of a class of its own, as
        keras-hub's, is saved without its graph."""
        if self.container.endswith("whole model"):
            plain = (
                "save its backbone as a plain model, keras.Model(backbone.inputs, backbone.outputs)"
            )
            return f"{plain}, whose configuration says it ({REFUSED_TOO})"
        return f"convert the whole model (model.save), which says it ({REFUSED_TOO}), or {GIVE_IT}"

    @property
    def told_beside(self) -> str:
        """That a file beside it looks like a configuration, in words; '' where none does."""
        if not self.beside:
            return ""
        names = " and ".join(printable(name) for name in self.beside)
        return f"beside it {names} may be that of its model: it is read where --config names it"

    @property
    def version_tells_code(self) -> bool:
        """Whether its version tells which code of `keras.applications` it came with. 2.1.6-tf does
        not: TensorFlow 1.10 had code of its own, 1.11 takes whatever keras-applications is there.
        """
        return self.keras_version != "2.1.6-tf"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An array that is not there yet; `dtype` is as numpy's `dtype.str` has it: '<f4'."""

    shape: Shape
    dtype: str

    @property
    def itemsize(self) -> int:
        return np.dtype(self.dtype).itemsize

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.itemsize


def as_float32(array: Array) -> Array:
    """The array in float32: its own bits, or rounded once where it is wider."""
    with np.errstate(over="ignore"):  # what overflows is infinite, and refused as that
        return np.asarray(array, dtype=np.float32)
