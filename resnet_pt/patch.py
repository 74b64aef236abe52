"""Strides for torchvision's and timm's ResNets, which have no option for them.

Keras' ResNets stride on the first 1x1 of a block, torchvision's and timm's on the 3x3. The shapes
of the weights are the same, so the wrong network loads without a word and predicts something else.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from resnet_pt.architecture import Architecture, Conv
from resnet_pt.files import FileError, read
from resnet_pt.lower import lower

DESCRIPTION = "convert_weights"
"""Under this key a state_dict for another library says what it is: in the `_metadata` that torch
keeps with a state_dict, or in the header of a safetensors file."""

Network = TypeVar("Network", bound=nn.Module)


def patch_torchvision(model: Network, path: str | os.PathLike[str]) -> Network:
    """Set the strides of a plain torchvision ResNet to those of the network in `path`, in place.

    `path` is a file of `convert-weights`: for torchvision, for timm, or in the self-describing
    layout. Weights are not touched. Returns `model`.

    Raises FileError for a file that says nothing of its network, ValueError for a model that
    strides cannot make the same network: another depth, kernel or padding.
    """
    convolutions = dict(_convolutions(architecture(path)))
    wrong = []
    for name, conv in convolutions.items():
        module = _module(model, name)
        if not isinstance(module, nn.Conv2d):
            wrong.append(f"the model has no convolution {name}")
        elif (module.kernel_size, module.padding) != (conv.kernel, _pair(conv.padding)):
            wrong.append(f"{name} is {module}, not {conv.kernel}, padding {conv.padding!r}")
    wrong += [
        f"the file has no convolution {name}"
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and name not in convolutions
    ]
    wrong += _other_pool(model, architecture(path))
    if wrong:
        more = f" … and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ValueError(f"{path} is of another network: {'; '.join(wrong[:3])}{more}")
    for name, conv in convolutions.items():
        model.get_submodule(name).stride = conv.stride  # type: ignore[assignment]
    return model


def patch_timm(model: Network, path: str | os.PathLike[str]) -> Network:
    """`patch_torchvision` for `timm.create_model("resnet50")` and its like, whose convolutions
    have the same names."""
    return patch_torchvision(model, path)


def architecture(path: str | os.PathLike[str]) -> Architecture:
    """The network that a file of `convert-weights` describes: one of our own layout, or one for
    torchvision or timm. Raises FileError."""
    path = Path(path)
    description = _beside(path) or read(path)[1]
    try:
        return Architecture.from_dict(description.get("architecture"))
    except ValueError as error:
        raise FileError(f"{path}: the architecture in the file is not readable: {error}") from error


def _beside(path: Path) -> dict[str, Any] | None:
    """The description that lies where a strict load does not look, or None."""
    import torch
    from safetensors import SafetensorError, safe_open

    with path.open("rb") as file:
        is_archive = file.read(4) == b"PK\x03\x04"
    try:
        if is_archive:
            state = torch.load(path, map_location="cpu", weights_only=True)
            return getattr(state, "_metadata", {}).get(DESCRIPTION)
        with safe_open(path, framework="np") as opened:
            text = (opened.metadata() or {}).get(DESCRIPTION)
        return json.loads(text) if text else None
    except (SafetensorError, RuntimeError, ValueError):
        return None  # `read` says what is wrong with it


def _module(model: nn.Module, name: str) -> nn.Module | None:
    try:
        return model.get_submodule(name)
    except AttributeError:
        return None


def _convolutions(network: Architecture) -> Iterator[tuple[str, Conv]]:
    for layer in lower(network).layers:
        if isinstance(layer.op, Conv):
            yield layer.module, layer.op


def _other_pool(model: nn.Module, network: Architecture) -> list[str]:
    module, pool = _module(model, "maxpool"), network.stem.pool
    if isinstance(module, nn.MaxPool2d) and pool:
        theirs = [_pair(one) for one in (module.kernel_size, module.stride, module.padding)]
        if theirs == [pool.kernel, pool.stride, _pair(pool.padding)]:
            return []
    return [f"the model's maxpool is {module}, the file's {pool}"]


def _pair(value: Any) -> Any:
    return (value, value) if isinstance(value, int) else value
