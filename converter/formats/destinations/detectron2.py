"""A checkpoint for detectron2's backbones, as its model zoo has them.

Source: detectron2 0.6, modeling/backbone/resnet.py (names, options) and
checkpoint/detection_checkpoint.py (the two file formats); tools/convert-torchvision-to-d2.py does
the same renaming. A test holds the names against a re-implementation of that source: detectron2
itself is in no package index.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from converter.files.checkpoint import Array
from converter.formats.destination import About, Run
from converter.formats.destinations import _plain
from converter.formats.plain import plain, plain_obstacles
from converter.mapping.export import ExportPlan
from resnet_pt.architecture import Architecture
from resnet_pt.preprocessing import MODES

SUMMARY = "a checkpoint for detectron2's ResNet backbones (.pkl or .pth)"
SUFFIXES = (".pkl", ".pth")
LIBRARY = "detectron2"
NEEDS = ("torch",)
PICTURES = "PIXEL_MEAN, PIXEL_STD and FORMAT"
AUTHOR = "convert-weights"

TABLE: _plain.Table = (
    ("conv1", "stem.conv1"),
    ("bn1", "stem.conv1.norm"),
    ("layer{layer}.{index}.conv1", "res{stage}.{index}.conv1"),
    ("layer{layer}.{index}.bn1", "res{stage}.{index}.conv1.norm"),
    ("layer{layer}.{index}.conv2", "res{stage}.{index}.conv2"),
    ("layer{layer}.{index}.bn2", "res{stage}.{index}.conv2.norm"),
    ("layer{layer}.{index}.conv3", "res{stage}.{index}.conv3"),
    ("layer{layer}.{index}.bn3", "res{stage}.{index}.conv3.norm"),
    ("layer{layer}.{index}.downsample.0", "res{stage}.{index}.shortcut"),
    ("layer{layer}.{index}.downsample.1", "res{stage}.{index}.shortcut.norm"),
    ("{head}", "linear"),
)

equivalent = _plain.equivalent
losses = _plain.losses


def obstacles(architecture: Architecture) -> list[str]:
    found = plain_obstacles(architecture)
    if found:
        return found
    network = plain(architecture)
    found = _plain.mixed(network) + _plain.named_depth(network) + _plain.doubling(network)
    if network.convolutions == 2 and network.out[0] != 64:
        found.append(f"{network.out[0]} channels behind the first blocks: a ResNet-18 or 34 has 64")
    return found


def export(architecture: Architecture) -> ExportPlan:
    counters = "counters of batches: detectron2's frozen norm has none"
    return _plain.export(TABLE, architecture, counters=counters)


def files(
    architecture: Architecture, tensors: Mapping[str, Array], about: About
) -> dict[str, bytes]:
    """'matching_heuristics' lets a backbone inside a detector find its tensors."""
    found: dict[str, Any] = {"__author__": AUTHOR, "matching_heuristics": True}
    found["convert_weights"] = dict(about.description)
    file = io.BytesIO()
    if about.suffix == ".pkl":
        _Pickler(file, protocol=4).dump({**found, "model": dict(tensors)})
    else:
        import torch

        torch.save({**found, "model": _plain.as_torch(tensors)}, file)
    return {"": file.getvalue()}


class _Pickler(pickle.Pickler):
    """Arrays by their public constructor: numpy's own way names modules that moved in numpy 2,
    and detectron2 lives with older ones."""

    def reducer_override(self, one: Any) -> Any:
        if not isinstance(one, np.ndarray):
            return NotImplemented
        return np.ndarray, (one.shape, one.dtype.str, bytearray(one.tobytes()))


def read(path: Path, architecture: Architecture) -> dict[str, Array]:
    with path.open("rb") as file:
        if file.read(4) == b"PK\x03\x04":
            import torch

            model = torch.load(path, map_location="cpu", weights_only=True)["model"]
            return {name: tensor.numpy() for name, tensor in model.items()}
        file.seek(0)
        return pickle.load(file, encoding="latin1")["model"]  # type: ignore[no-any-return]


def load(path: Path, architecture: Architecture) -> Run:
    raise ImportError("detectron2 is in no package index, and was never run with this tool")


SCALING: Mapping[str | None, tuple[str, list[float], list[float]]] = {
    mode: ("BGR" if one.bgr else "RGB", one.means, one.deviations) for mode, one in MODES.items()
}
"""(order of channels, mean, standard deviation) of Keras' modes, for pictures from 0 to 255."""


def usage(architecture: Architecture, target: str) -> list[str]:
    network = plain(architecture)
    lines = ["MODEL:", f"  WEIGHTS: {target!r}"]
    scaling = SCALING.get(architecture.preprocessing)
    if scaling:
        lines += [f"  PIXEL_MEAN: {scaling[1]}", f"  PIXEL_STD: {scaling[2]}"]
    lines += [
        "  RESNETS:",
        f"    DEPTH: {network.depth}",
        f"    STRIDE_IN_1X1: {network.stride_on == '1x1'}",
        f"    STEM_OUT_CHANNELS: {network.stem}",
        f"    RES2_OUT_CHANNELS: {network.out[0]}",
        f"    WIDTH_PER_GROUP: {network.middle[0]}",
    ]
    return [*lines, "INPUT:", f'  FORMAT: "{scaling[0]}"'] if scaling else lines
