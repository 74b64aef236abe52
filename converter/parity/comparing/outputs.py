"""What the original applied to its logits last, held against what the converted network says.

The network leaves that activation out and its file names it (`architecture.outputs`): no logit
shows whether the name is right, only what came out of the original does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from converter.files.checkpoint import Array
from converter.parity.comparing.compare import GATES
from converter.parity.original.recording import Pass, output_names
from resnet_pt.architecture import ACTIVATIONS, Architecture
from resnet_pt.program import Program

STEEPEST = 2.0
"""No activation but linear ones moves by more than twice what its input moves (selu: 1.76)."""


@dataclass(frozen=True, slots=True)
class OutputActivation:
    """The activation that the network names for the output of a Keras `layer`, and the `fitting`
    ones: those that give what came out of the original from these logits."""

    layer: str
    named: str
    fitting: tuple[str, ...]

    @property
    def passes(self) -> bool:
        return self.named in self.fitting

    def __str__(self) -> str:
        theirs = " or ".join(self.fitting) or "none that is known"
        return f"the activation behind {self.layer} is {self.named}, the original's {theirs}"


def output_activations(
    architecture: Architecture | Program, one: Pass, logits: Mapping[str, Array]
) -> tuple[OutputActivation, ...]:
    """For every output whose logits and whose final values the original is known by."""
    return tuple(
        OutputActivation(
            output.name,
            output.activation,
            fitting(logits[name], one.outputs[name], output.activation),
        )
        for name, output in output_names(architecture).items()
        if name in one.outputs and name in logits
    )


def fitting(logits: Array, output: Array, named: str = "") -> tuple[str, ...]:
    """The activations that make `output` from `logits`, (N, classes) or (N, H, W, C), as exactly
    as logits are compared; of two names of one activation only that which is `named`."""
    if logits.shape != output.shape:
        return ()
    largest = max(float(np.abs(logits).max()), float(np.abs(output).max()))
    allowed = STEEPEST * GATES["float32"] * largest
    names = sorted(ACTIVATIONS - {"silu" if named == "swish" else "swish"})
    return tuple(n for n in names if np.abs(activated(logits, n) - output).max() <= allowed)


def activated(values: Array, name: str) -> Array:
    """An activation by its Keras name, in float64, of values as they lie in Keras."""
    import torch

    from resnet_pt.layers import activation

    wide = torch.from_numpy(values.astype(np.float64))
    found: Array = (wide.softmax(-1) if name == "softmax" else activation(name)(wide)).numpy()
    return found
