"""The PyTorch side: ResNets that compute what their Keras originals computed.

Knows nothing of Keras or HDF5. `Architecture` and what it needs import without torch; the
network itself is imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from resnet_pt.architecture import Architecture
from resnet_pt.factory import resnet

if TYPE_CHECKING:
    from resnet_pt.files import FileError, load, save
    from resnet_pt.inference import optimize
    from resnet_pt.network import ResNet
    from resnet_pt.overview import summary
    from resnet_pt.patch import patch_timm, patch_torchvision
    from resnet_pt.pictures import Preprocess, preprocess
    from resnet_pt.transfer import with_classes
    from resnet_pt.tutorial import ResNet50, conv_block, identity_block

__all__ = [
    "Architecture",
    "FileError",
    "Preprocess",
    "ResNet",
    "ResNet50",
    "conv_block",
    "identity_block",
    "load",
    "optimize",
    "patch_timm",
    "patch_torchvision",
    "preprocess",
    "resnet",
    "save",
    "summary",
    "with_classes",
]

_WITH_TORCH = {
    "FileError": "resnet_pt.files",
    "Preprocess": "resnet_pt.pictures",
    "ResNet": "resnet_pt.network",
    "ResNet50": "resnet_pt.tutorial",
    "conv_block": "resnet_pt.tutorial",
    "identity_block": "resnet_pt.tutorial",
    "load": "resnet_pt.files",
    "optimize": "resnet_pt.inference",
    "patch_timm": "resnet_pt.patch",
    "patch_torchvision": "resnet_pt.patch",
    "preprocess": "resnet_pt.pictures",
    "save": "resnet_pt.files",
    "summary": "resnet_pt.overview",
    "with_classes": "resnet_pt.transfer",
}


def __getattr__(name: str) -> Any:
    if name not in _WITH_TORCH:
        raise AttributeError(f"module 'resnet_pt' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_WITH_TORCH[name]), name)
