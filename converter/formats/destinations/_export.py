"""Our network, traced once with its tensors inside: what ONNX and torch.export start from.

Any network can be exported: padding as in TensorFlow's 'same' is traced as arithmetic on the size
of the picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from converter.files.checkpoint import Array
from converter.parity.comparing.inputs import default_size, fitting_shapes, takes_other_sizes
from converter.parity.comparing.sizes import NoSizeError
from resnet_pt.architecture import Architecture
from resnet_pt.program import Program
from resnet_pt.tensors import tensors as shapes

INPUT = "pictures"

Described = Architecture | Program


def network(described: Described, tensors: Mapping[str, Array]) -> Any:
    """The network, in eval mode. Counters of batches, which a format may lack, are zero."""
    from converter.parity.comparing import torch_run

    counters = {
        name: np.zeros((), np.int64)
        for name in shapes(described)
        if name.endswith("num_batches_tracked")
    }
    return torch_run.build(described, {**counters, **tensors})


def example(described: Described) -> tuple[Any, ...]:
    """Two pictures to trace with, or two of each input: a batch of one would be taken for a fixed
    number."""
    import torch

    if isinstance(described, Program):
        found = fitting_shapes(described)
        return tuple(torch.zeros(2, *found[one.name]) for one in described.inputs)
    return (torch.zeros(2, described.in_channels, *example_size(described)),)


def obstacles(described: Described) -> list[str]:
    """A network is traced with a picture, which has to fit it."""
    try:
        example(described)
    except NoSizeError as error:
        return [error.headline]
    return []


def example_size(architecture: Architecture) -> tuple[int, int]:
    return architecture.input_size or default_size(architecture)


def dynamic(described: Described, names: Mapping[int, Any]) -> dict[str, Any]:
    """The axes that stay free, by the arguments of `forward`, as `torch.export` takes them: `names`
    has a word for each axis of pictures (N, C, H, W). Of a program it is the batch."""
    if isinstance(described, Program):
        return {"inputs": tuple({0: names[0]} for _ in described.inputs)}
    axes = (0, 2, 3) if takes_other_sizes(described) else (0,)
    return {"x": {axis: names[axis] for axis in axes}}


def fixed_size(described: Described) -> list[str]:
    """What is lost where the size of the pictures is not free."""
    if isinstance(described, Program):
        found = fitting_shapes(described)
        free = [one.name for one in described.inputs if None in one.shape]
        return [f"other sizes of {name} than {found[name]}: it is traced with one" for name in free]
    if takes_other_sizes(described):
        return []
    height, width = example_size(described)
    return [f"other sizes than {height}x{width}: the head is tied to the size of the map"]


def input_names(described: Described) -> list[str]:
    """The inputs by their Keras layers; `pictures` of a residual network."""
    if isinstance(described, Program):
        return [one.name for one in described.inputs]
    return [INPUT]


def output_names(described: Described) -> list[str]:
    """The outputs by their Keras layers; `logits` for the only one."""
    names = [output.name for output in described.outputs]
    return names if len(names) > 1 else ["logits"]


def named(described: Described, arrays: list[Array]) -> dict[str, Array]:
    """Outputs as our network names them: '' for the only one."""
    names = output_names(described)
    return dict(zip(names if len(names) > 1 else [""], arrays, strict=True))
