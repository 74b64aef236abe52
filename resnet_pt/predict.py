"""What a network sees in pictures: the best classes of each, as its Keras original scored them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from resnet_pt.architecture import Architecture, Output
from resnet_pt.labels import Label, Labels, is_binary
from resnet_pt.layers import activation
from resnet_pt.network import ResNet
from resnet_pt.pictures import FORMATS, Preprocess

READERS = min(8, os.cpu_count() or 1)
"""Threads that decode; Pillow lets them run side by side."""


@dataclass(frozen=True, slots=True)
class Score:
    """A class with the number that Keras' last activation gives it."""

    index: int
    label: Label
    value: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """The best classes of one picture, for each output by its name; or why it cannot be read."""

    path: Path
    outputs: Mapping[str, tuple[Score, ...]]
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


def why_it_does_not_run(architecture: Architecture, size: tuple[int, int]) -> str:
    """What torch says to a picture of (height, width), without computing anything; '' if it runs
    (a head that flattens its map takes one size only)."""
    with torch.device("meta"):
        model = ResNet(architecture).eval()
        picture = torch.empty(1, architecture.in_channels, *size)
    try:
        model(picture)
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return ""


def predict(
    model: ResNet,
    paths: Sequence[Path],
    transform: Preprocess,
    labels: Mapping[str, Labels],
    *,
    batch: int = 16,
    top: int = 5,
) -> Iterator[Prediction]:
    """A `Prediction` for each path, in their order, `batch` pictures at a time, on the device that
    the model is on. `labels` are those of `labels.named`; other outputs are left out."""
    with ThreadPoolExecutor(READERS) as readers:
        for start in range(0, len(paths), batch):
            some = paths[start : start + batch]
            loaded = list(readers.map(partial(_read, transform), some))
            pictures = [one for one in loaded if isinstance(one, Tensor)]
            scores = iter(_scores(model, pictures, labels, top))
            for path, one in zip(some, loaded, strict=True):
                read = isinstance(one, Tensor)
                yield Prediction(path, next(scores)) if read else Prediction(path, {}, str(one))


def _read(transform: Preprocess, path: Path) -> Tensor | str:
    """The picture, or why there is none."""
    try:
        return transform(path)
    except OSError as error:
        return error.strerror or str(error)


def _scores(
    model: ResNet, pictures: Sequence[Tensor], labels: Mapping[str, Labels], top: int
) -> list[dict[str, tuple[Score, ...]]]:
    if not pictures:
        return []
    device = next(model.parameters()).device
    with torch.inference_mode():
        result = model(torch.stack(list(pictures)).to(device))
    rows: list[dict[str, tuple[Score, ...]]] = [{} for _ in pictures]
    for output in model.architecture.outputs:
        if output.name not in labels:
            continue
        logits = result[output.name] if isinstance(result, dict) else result
        values = activated(logits.cpu(), output, len(labels[output.name]))
        for row, numbers in zip(rows, values, strict=True):
            row[output.name] = _best(numbers, labels[output.name], top)
    return rows


def activated(logits: Tensor, output: Output, labels: int) -> Tensor:
    """(N, classes) → what Keras' model returned: its last activation. For a single sigmoid with
    two labels, (N, 2): what it leaves, and what it says."""
    values: Tensor = activation(output.activation)(logits)
    is_pair = is_binary(output, values.shape[1]) and labels == 2
    return torch.cat([1 - values, values], 1) if is_pair else values


def _best(values: Tensor, labels: Labels, top: int) -> tuple[Score, ...]:
    found, indices = values.topk(min(top, len(values)))
    return tuple(
        Score(index, labels[index], value)
        for index, value in zip(indices.tolist(), found.tolist(), strict=True)
    )
