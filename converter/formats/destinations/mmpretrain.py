"""A checkpoint for mmpretrain's ImageClassifier; mmdet reads its backbone.

Source: mmpretrain 1.2, models/backbones/resnet.py and models/classifiers/image.py.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converter.files.checkpoint import Array
from converter.formats.destination import About, Run, runner
from converter.formats.destinations import _plain
from converter.formats.plain import plain, plain_obstacles
from converter.mapping.export import ExportPlan
from resnet_pt.architecture import Architecture
from resnet_pt.preprocessing import MODES

SUMMARY = "a checkpoint for mmpretrain's ImageClassifier, or a backbone of mmdet"
SUFFIXES = (".pth",)
LIBRARY = "mmpretrain"
NEEDS = ("torch",)
PICTURES = "data_preprocessor"

TABLE: _plain.Table = (
    ("conv1", "backbone.conv1"),
    ("bn1", "backbone.bn1"),
    ("layer{layer}.{index}.conv1", "backbone.layer{layer}.{index}.conv1"),
    ("layer{layer}.{index}.bn1", "backbone.layer{layer}.{index}.bn1"),
    ("layer{layer}.{index}.conv2", "backbone.layer{layer}.{index}.conv2"),
    ("layer{layer}.{index}.bn2", "backbone.layer{layer}.{index}.bn2"),
    ("layer{layer}.{index}.conv3", "backbone.layer{layer}.{index}.conv3"),
    ("layer{layer}.{index}.bn3", "backbone.layer{layer}.{index}.bn3"),
    ("layer{layer}.{index}.downsample.0", "backbone.layer{layer}.{index}.downsample.0"),
    ("layer{layer}.{index}.downsample.1", "backbone.layer{layer}.{index}.downsample.1"),
    ("{head}", "head.fc"),
)

equivalent = _plain.equivalent
losses = _plain.losses


def obstacles(architecture: Architecture) -> list[str]:
    found = plain_obstacles(architecture)
    if found:
        return found
    network = plain(architecture)
    found = _plain.mixed(network) + _plain.named_depth(network) + _plain.doubling(network)
    return found + _plain.expansion(network)


def export(architecture: Architecture) -> ExportPlan:
    return _plain.export(TABLE, architecture)


def files(
    architecture: Architecture, tensors: Mapping[str, Array], about: About
) -> dict[str, bytes]:
    import torch

    meta = {"convert_weights": dict(about.description), "model": classifier(architecture)}
    file = io.BytesIO()
    torch.save({"meta": meta, "state_dict": _plain.as_torch(tensors)}, file)
    return {"": file.getvalue()}


def read(path: Path, architecture: Architecture) -> dict[str, Array]:
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return {name: tensor.numpy() for name, tensor in state.items()}


SCALING: Mapping[str | None, dict[str, Any]] = {
    mode: {"mean": one.means, "std": one.deviations, "to_rgb": not one.bgr}
    for mode, one in MODES.items()
}
"""Keras' modes, for pictures from 0 to 255 that OpenCV read in BGR."""


def classifier(architecture: Architecture) -> dict[str, Any]:
    """The `model` of a configuration."""
    network = plain(architecture)
    found: dict[str, Any] = {
        "type": "ImageClassifier",
        "backbone": {
            "type": "ResNet",
            "depth": network.depth,
            "in_channels": network.in_channels,
            "stem_channels": network.stem,
            "base_channels": network.middle[0],
            "style": "caffe" if network.stride_on == "1x1" else "pytorch",
        },
    }
    if architecture.head:
        found["neck"] = {"type": "GlobalAveragePooling"}
    if network.classifier:
        found["head"] = {
            "type": "LinearClsHead",
            "num_classes": network.classifier.out_features,
            "in_channels": network.out[-1],
        }
    if architecture.preprocessing in SCALING:
        found["data_preprocessor"] = SCALING[architecture.preprocessing]
    return found


def load(path: Path, architecture: Architecture) -> Run:
    import mmpretrain.models  # noqa: F401 registers the classes
    from mmengine.runner import load_checkpoint
    from mmpretrain.registry import MODELS

    model = MODELS.build(classifier(architecture))
    load_checkpoint(model, str(path), map_location="cpu", strict=True)
    return runner(model, lambda found: found[-1] if isinstance(found, tuple) else found)


def usage(architecture: Architecture, target: str) -> list[str]:
    backbone = classifier(architecture)["backbone"]
    return [
        f"model = {classifier(architecture)}",
        f"load_from = {target!r}",
        "# in mmdet, with the same data_preprocessor:",
        f"backbone = dict(type='ResNet', depth={backbone['depth']}, style={backbone['style']!r}, "
        f"init_cfg=dict(type='Pretrained', checkpoint={target!r}, prefix='backbone.'))",
    ]
