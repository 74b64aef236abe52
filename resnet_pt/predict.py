"""What a network gives for pictures and arrays: what its Keras original gave, and of classes the
best."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from resnet_pt.architecture import Output
from resnet_pt.general import General
from resnet_pt.labels import Label, Labels, is_binary
from resnet_pt.layers import activation
from resnet_pt.network import ResNet
from resnet_pt.ops import MisfitError, Shape
from resnet_pt.pictures import FORMATS, Array, Preprocess
from resnet_pt.program import Input, Program, problems
from resnet_pt.program import Output as Returned

READERS = min(8, os.cpu_count() or 1)
"""Threads that decode; Pillow lets them run side by side."""


@dataclass(frozen=True, slots=True)
class Score:
    """A class with the number that Keras' last activation gives it."""

    index: int
    label: Label
    value: float


@dataclass(frozen=True, slots=True)
class Example:
    """What a network reads at once: for each input the file of a picture, or an array without the
    batch, with the channels of a map last. `name` is for a person."""

    name: str
    values: tuple[Path | Array, ...]


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the network gives for one example, or why it cannot be read: for each output, by its
    name, the `values` that Keras' model gives, with the channels of a map last, and, where they are
    classes, the best of them in `outputs`."""

    name: str
    outputs: Mapping[str, tuple[Score, ...]]
    values: Mapping[str, Array]
    error: str = ""


def find_pictures(paths: Sequence[Path]) -> list[Path]:
    """The files themselves, and for a folder the pictures in it and below, in order of name, with
    the folders there that cannot be listed: who reads those is told why."""
    return [one for path in paths for one in (_below(path) if os.path.isdir(path) else [path])]


def _below(folder: Path) -> list[Path]:
    known, unlisted = suffixes(), list[Path]()
    walk = os.walk(folder, onerror=lambda error: unlisted.append(Path(error.filename)))
    files = [Path(where, name) for where, _, names in walk for name in names]
    return sorted([*(one for one in files if one.suffix.lower() in known), *unlisted])


def suffixes() -> set[str]:
    """Of the formats that are decoded here."""
    return {suffix for suffix, kind in Image.registered_extensions().items() if kind in FORMATS}


def why_it_does_not_run(program: Program, given: Sequence[Shape]) -> str:
    """Why a network cannot read inputs of these shapes, channels first, without computing anything;
    '' if it can (a head that flattens its map takes one size only)."""
    named = dict(zip([one.name for one in program.inputs], given, strict=True))
    for one in program.inputs:
        if not _may_be(named[one.name], one.shape):
            return f"{one.name} is {one.shape}, and {named[one.name]} comes"
    wrong = problems(replace(program, inputs=tuple(Input(*one) for one in named.items())))
    empty = [name for name, shape in _shapes(program, named).items() if 0 in shape]
    return wrong[0] if wrong else f"nothing is left of {empty[0]}" if empty else ""


def _may_be(shape: Shape, stated: Shape) -> bool:
    """Whether an input may have a shape: a map may be of another size than is stated, which the
    layers judge."""
    free = len(stated) >= MAP
    return len(shape) == len(stated) and all(
        one in (None, other) or (free and axis > 0)
        for axis, (one, other) in enumerate(zip(stated, shape, strict=True))
    )


def _shapes(program: Program, given: Mapping[str, Shape]) -> dict[str, Shape]:
    try:
        return program.shapes(given)
    except MisfitError:
        return {}


def predict(
    model: ResNet | General,
    examples: Sequence[Example],
    transform: Preprocess | None,
    labels: Mapping[str, Labels],
    *,
    batch: int = 16,
    top: int = 5,
    why_not: Callable[[Program, Sequence[Shape]], str] = why_it_does_not_run,
) -> Iterator[Prediction]:
    """A `Prediction` for each example, in their order, `batch` at a time, on the device that the
    model is on. `transform` is for those that are pictures; `labels` are those of `labels.named`:
    of other outputs there are no classes. `why_not` says why an example of such shapes is not run,
    or ''."""
    load = partial(_loaded, model.program, transform, why_not)
    with ThreadPoolExecutor(READERS) as readers:
        for start in range(0, len(examples), batch):
            some = examples[start : start + batch]
            loaded = list(readers.map(load, some))
            run = dict(_run(model, [one for one in loaded if not isinstance(one, str)]))
            for example, one in zip(some, loaded, strict=True):
                if isinstance(one, str):
                    yield Prediction(example.name, {}, {}, one)
                else:
                    values = run[id(one)]
                    yield Prediction(
                        example.name,
                        _scores(model.program.outputs, values, labels, top),
                        {name: as_in_keras(value) for name, value in values.items()},
                    )


def _loaded(
    program: Program,
    transform: Preprocess | None,
    why_not: Callable[[Program, Sequence[Shape]], str],
    example: Example,
) -> tuple[Tensor, ...] | str:
    """A tensor for each input, or why there is none."""
    found = []
    for value in example.values:
        if isinstance(value, Path):
            assert transform, "pictures come with a transform"
            one = _read(transform, value)
        else:
            one = torch.from_numpy(as_in_torch(value))
        if isinstance(one, str):
            return one
        found.append(one)
    wrong = why_not(program, [tuple(one.shape) for one in found])
    return f"the network cannot read it: {wrong}" if wrong else tuple(found)


def _read(transform: Preprocess, path: Path) -> Tensor | str:
    """The picture, or why there is none."""
    try:
        return transform(path)
    except OSError as error:
        return error.strerror or str(error)


MAP = 3
"""Axes behind the batch from which on channels come second."""


def as_in_torch(array: Array) -> Array:
    """One value, without the batch, with the channels of a map first."""
    moved = np.moveaxis(array, -1, 0) if array.ndim >= MAP else array
    return np.ascontiguousarray(moved, dtype=np.float32)


def as_in_keras(value: Tensor) -> Array:
    """One value, without the batch, with the channels of a map last."""
    moved = value.movedim(0, -1) if value.dim() >= MAP else value
    found: Array = moved.contiguous().numpy()
    return found


def _run(
    model: ResNet | General, loaded: Sequence[tuple[Tensor, ...]]
) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """(id of an example, what its original gives for it by output name), those of one size side by
    side."""
    device = next((one.device for one in model.parameters()), torch.device("cpu"))
    alike: dict[tuple[Shape, ...], list[tuple[Tensor, ...]]] = {}
    for one in loaded:
        alike.setdefault(tuple(tuple(value.shape) for value in one), []).append(one)
    for some in alike.values():
        with torch.inference_mode():
            result = model(*(torch.stack(values).to(device) for values in zip(*some, strict=True)))
        found = result if isinstance(result, dict) else {model.program.outputs[0].name: result}
        given = {
            one.name: last(found[one.name].cpu(), one.activation) for one in model.program.outputs
        }
        for number, one in enumerate(some):
            yield id(one), {name: values[number] for name, values in given.items()}


def last(values: Tensor, name: str) -> Tensor:
    """The activation that an output leaves out, by its Keras name, for a batch; a softmax is over
    Keras' last axis, the channels of a map."""
    if name == "softmax":
        return values.softmax(-1 if values.dim() == MAP else 1)
    result: Tensor = activation(name)(values)
    return result


def _scores(
    outputs: Sequence[Returned],
    values: Mapping[str, Tensor],
    labels: Mapping[str, Labels],
    top: int,
) -> dict[str, tuple[Score, ...]]:
    """The best classes of one example, for each output that has classes."""
    return {
        one.name: _best(paired(values[one.name], one, labels[one.name]), labels[one.name], top)
        for one in outputs
        if one.name in labels
    }


def paired(values: Tensor, output: Returned | Output, labels: Labels) -> Tensor:
    """(classes,) as they are; for a single sigmoid with two labels, (2,): what it leaves, and what
    it says."""
    is_pair = is_binary(output, len(values)) and len(labels) == 2
    return torch.cat([1 - values, values]) if is_pair else values


def _best(values: Tensor, labels: Labels, top: int) -> tuple[Score, ...]:
    found, indices = values.topk(min(top, len(values)))
    return tuple(
        Score(index, labels[index], value)
        for index, value in zip(indices.tolist(), found.tolist(), strict=True)
    )
