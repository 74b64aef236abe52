"""The tensors of a network, from its `Architecture` or `Program` alone: names, shapes, and their
Keras names.

The names are torchvision's. A test holds this list against the `state_dict` that
`resnet_pt.ResNet` really has; it exists apart so that planning a conversion needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator

from resnet_pt.architecture import Architecture
from resnet_pt.lower import lower
from resnet_pt.program import Layer, Program


def tensors(network: Architecture | Program) -> dict[str, tuple[int, ...]]:
    """`{name: shape}` in the order of the network's `state_dict`; a counter has shape ()."""
    return {
        f"{layer.module}.{tensor.name}": tensor.shape
        for layer in parts(network)
        for tensor in layer.op.tensors()
    }


def parts(network: Architecture | Program) -> Iterator[Layer]:
    """Every layer that has tensors, in the order of the network."""
    program = network if isinstance(network, Program) else lower(network)
    return program.with_tensors()


def head_modules(architecture: Architecture) -> dict[str, str]:
    """`{layer of the head: its module}`; a Flatten of torchvision's head has none."""
    return {one.original: one.module for one in lower(architecture).layers if one.original}
