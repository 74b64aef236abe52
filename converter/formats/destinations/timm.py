"""A state_dict for `timm.create_model("resnet50")` and its like.

Source: models/resnet.py of timm 1.0. The names are torchvision's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from converter.files.checkpoint import Array
from converter.formats.destination import About, Run, runner
from converter.formats.destinations import _plain, _state_dict
from converter.formats.destinations.torchvision import TABLE
from converter.formats.plain import Plain, plain, plain_obstacles
from converter.mapping.export import ExportPlan
from resnet_pt.architecture import Architecture

SUMMARY = 'a state_dict that timm.create_model("resnet50") and its like load strictly'
SUFFIXES = _state_dict.SUFFIXES
LIBRARY = "timm"
NEEDS = ("torch",)

equivalent = _plain.equivalent
losses = _plain.losses
patch = _plain.strides


def obstacles(architecture: Architecture) -> list[str]:
    found = plain_obstacles(architecture)
    network = None if found else plain(architecture)
    return _plain.stages(network) + _plain.widths(network, "timm") if network else found


def export(architecture: Architecture) -> ExportPlan:
    return _plain.export(TABLE, architecture)


def files(
    architecture: Architecture, tensors: Mapping[str, Array], about: About
) -> dict[str, bytes]:
    return {"": _state_dict.content(about.suffix, tensors, about.description)}


def read(path: Path, architecture: Architecture) -> dict[str, Array]:
    return _state_dict.read(path)


def load(path: Path, architecture: Architecture) -> Run:
    from timm.models import resnet

    from resnet_pt.patch import patch_timm

    network = plain(architecture)
    block = getattr(resnet, network.block)
    model = resnet.ResNet(block, network.depths, **_arguments(architecture, network))
    model.load_state_dict(_state_dict.state(path))
    return runner(patch_timm(model, path))


def usage(architecture: Architecture, target: str) -> list[str]:
    network = plain(architecture)
    arguments = ", ".join(f"{k}={v!r}" for k, v in _arguments(architecture, network).items())
    if network.depth:
        made = f'timm.create_model("resnet{network.depth}", {arguments})'
    else:
        block = f"timm.models.resnet.{network.block}"
        made = f"timm.models.resnet.ResNet({block}, {network.depths}, {arguments})"
    return [f"model = {made}", *_plain.loading(architecture, target, "patch_timm")]


def _arguments(architecture: Architecture, network: Plain) -> dict[str, int | str]:
    """Without a classifier, timm gives the mean of the map, or the map with no `global_pool`."""
    found: dict[str, int | str] = {"num_classes": 0}
    if network.classifier:
        found["num_classes"] = network.classifier.out_features
    elif not architecture.head:
        found["global_pool"] = ""
    if network.in_channels != 3:
        found["in_chans"] = network.in_channels
    return found
