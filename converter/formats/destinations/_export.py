"""Our network, traced once with its tensors inside: what ONNX and torch.export start from.

Any architecture can be exported: padding as in TensorFlow's 'same' is traced as arithmetic on the
size of the picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from converter.files.checkpoint import Array
from converter.parity.comparing.inputs import default_size, takes_other_sizes
from converter.parity.comparing.sizes import NoSizeError
from resnet_pt.architecture import Architecture
from resnet_pt.tensors import tensors as shapes

INPUT = "pictures"


def network(architecture: Architecture, tensors: Mapping[str, Array]) -> Any:
    """The network, in eval mode. Counters of batches, which a format may lack, are zero."""
    from converter.parity.comparing import torch_run

    counters = {
        name: np.zeros((), np.int64)
        for name in shapes(architecture)
        if name.endswith("num_batches_tracked")
    }
    return torch_run.build(architecture, {**counters, **tensors})


def example(architecture: Architecture) -> Any:
    """Two pictures to trace with: a batch of one would be taken for a fixed number."""
    import torch

    return torch.zeros(2, architecture.in_channels, *example_size(architecture))


def obstacles(architecture: Architecture) -> list[str]:
    """A network is traced with a picture, which has to fit it."""
    try:
        example_size(architecture)
    except NoSizeError as error:
        return [error.headline]
    return []


def example_size(architecture: Architecture) -> tuple[int, int]:
    return architecture.input_size or default_size(architecture)


def dynamic(architecture: Architecture) -> tuple[int, ...]:
    """The axes of a batch (N, C, H, W) that stay free."""
    return (0, 2, 3) if takes_other_sizes(architecture) else (0,)


def fixed_size(architecture: Architecture) -> list[str]:
    """What is lost where the size of the pictures is not free."""
    if takes_other_sizes(architecture):
        return []
    height, width = example_size(architecture)
    return [f"other sizes than {height}x{width}: the head is tied to the size of the map"]


def output_names(architecture: Architecture) -> list[str]:
    """The outputs by their Keras layers; `logits` for the only one."""
    names = [output.name for output in architecture.outputs]
    return names if len(names) > 1 else ["logits"]


def named(architecture: Architecture, arrays: list[Array]) -> dict[str, Array]:
    """Outputs as our network names them: '' for the only one."""
    names = output_names(architecture)
    return dict(zip(names if len(names) > 1 else [""], arrays, strict=True))
