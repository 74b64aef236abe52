"""The tensors of a network, from its `Architecture` alone: names, shapes, and their Keras names.

The names are torchvision's. A test holds this list against the `state_dict` that
`resnet_pt.ResNet` really has; it exists apart so that planning a conversion needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator

from resnet_pt.architecture import Architecture
from resnet_pt.lower import lower
from resnet_pt.program import Layer


def tensors(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """`{name: shape}` in the order of the network's `state_dict`; a counter has shape ()."""
    return {
        f"{layer.module}.{tensor.name}": tensor.shape
        for layer in parts(architecture)
        for tensor in layer.op.tensors()
    }


def parts(architecture: Architecture) -> Iterator[Layer]:
    """Every layer that has tensors, in the order of the network."""
    return lower(architecture).with_tensors()


def head_modules(architecture: Architecture) -> dict[str, str]:
    """`{layer of the head: its module}`; a Flatten of torchvision's head has none."""
    return {one.original: one.module for one in lower(architecture).layers if one.original}
