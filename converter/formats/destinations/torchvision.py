"""A state_dict for `torchvision.models.resnet50` and its like.

Source: models/resnet.py of torchvision 0.29.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from converter.files.checkpoint import Array
from converter.formats.destination import About, Run, runner
from converter.formats.destinations import _plain, _state_dict
from converter.formats.plain import plain, plain_obstacles
from converter.mapping.export import ExportPlan
from resnet_pt.architecture import Architecture

SUMMARY = "a state_dict that torchvision.models.resnet50 and its like load strictly"
SUFFIXES = _state_dict.SUFFIXES
LIBRARY = "torchvision"
NEEDS = ("torch",)

TABLE: _plain.Table = (
    ("conv1", "conv1"),
    ("bn1", "bn1"),
    ("layer{layer}.{index}.conv1", "layer{layer}.{index}.conv1"),
    ("layer{layer}.{index}.bn1", "layer{layer}.{index}.bn1"),
    ("layer{layer}.{index}.conv2", "layer{layer}.{index}.conv2"),
    ("layer{layer}.{index}.bn2", "layer{layer}.{index}.bn2"),
    ("layer{layer}.{index}.conv3", "layer{layer}.{index}.conv3"),
    ("layer{layer}.{index}.bn3", "layer{layer}.{index}.bn3"),
    ("layer{layer}.{index}.downsample.0", "layer{layer}.{index}.downsample.0"),
    ("layer{layer}.{index}.downsample.1", "layer{layer}.{index}.downsample.1"),
    ("{head}", "fc"),
)

equivalent = _plain.equivalent
losses = _plain.losses
patch = _plain.strides


def obstacles(architecture: Architecture) -> list[str]:
    found = plain_obstacles(architecture)
    if found:
        return found
    network = plain(architecture)
    found = _plain.stages(network) + _plain.widths(network, "torchvision")
    if network.classifier is None:
        found.append("no classifier: torchvision's network always has one")
    if network.in_channels != 3:
        found.append(f"pictures of {network.in_channels} channels: torchvision's have 3")
    return found


def export(architecture: Architecture) -> ExportPlan:
    return _plain.export(TABLE, architecture)


def files(
    architecture: Architecture, tensors: Mapping[str, Array], about: About
) -> dict[str, bytes]:
    return {"": _state_dict.content(about.suffix, tensors, about.description)}


def read(path: Path, architecture: Architecture) -> dict[str, Array]:
    return _state_dict.read(path)


def load(path: Path, architecture: Architecture) -> Run:
    from torchvision.models import resnet

    from resnet_pt.patch import patch_torchvision

    network = plain(architecture)
    block = getattr(resnet, network.block)
    classes = network.classifier.out_features if network.classifier else 0
    model = resnet.ResNet(block, list(network.depths), num_classes=classes)
    model.load_state_dict(_state_dict.state(path))
    return runner(patch_torchvision(model, path))


def usage(architecture: Architecture, target: str) -> list[str]:
    network = plain(architecture)
    classes = network.classifier.out_features if network.classifier else 0
    if network.depth:
        made = f"torchvision.models.resnet{network.depth}(num_classes={classes})"
    else:
        block = f"torchvision.models.resnet.{network.block}"
        made = f"torchvision.models.ResNet({block}, {list(network.depths)}, num_classes={classes})"
    return [f"model = {made}", *_plain.loading(architecture, target, "patch_torchvision")]
