"""The epsilon of batch normalisation that was really used, by the version of Keras."""

from __future__ import annotations

from dataclasses import replace

from converter.facts import changes
from converter.files.checkpoint import Checkpoint
from resnet_pt.architecture import Architecture, Norm

DEFAULT_EPSILON: tuple[tuple[tuple[int, ...], float], ...] = (
    ((1, 2, 0), 1e-3),
    ((1, 0, 8), 1e-5),
    ((0,), 1e-6),
)
"""BatchNormalization's default epsilon since each Keras version (keras 2a0b112d08 for 1.2.0)."""


FUSED_MINIMUM = 1.001e-5
"""The least epsilon of the fused batch normalisation of TensorFlow up to 2.11, cuDNN's
(`python/ops/nn_impl.py`, fused_batch_norm)."""


def raised_epsilon(checkpoint: Checkpoint, architecture: Architecture) -> Architecture:
    """Every norm of a map as it was really computed, those of the head too."""
    maps = architecture.maps
    head = tuple(
        replace(layer, op=raised(checkpoint, layer.op))
        if isinstance(layer.op, Norm) and maps.issuperset(layer.inputs)
        else layer
        for layer in architecture.head
    )
    body = changes.map_norms(architecture, lambda norm: raised(checkpoint, norm))
    return replace(body, head=head)


def raised(checkpoint: Checkpoint, norm: Norm) -> Norm:
    """A norm with the epsilon that was really used."""
    is_raised = raises_epsilons(checkpoint) and 0 <= norm.eps < FUSED_MINIMUM
    return norm.replace(eps=FUSED_MINIMUM) if is_raised else norm


def raises_epsilons(checkpoint: Checkpoint) -> bool:
    """Whether the Keras of a file normalised maps with a fused kernel that raises epsilons: Keras
    2.2 to 2.11 did on TensorFlow (seen in records of 2.2.4, 2.3.1 and tf.keras 2.10); TensorFlow
    2.12 takes them as they are (2.11.1 and 2.12.1 `python/ops/nn_impl.py`)."""
    version = checkpoint.version() or ()
    return checkpoint.backend == "tensorflow" and (2, 2) <= version < (2, 12)


def why(is_raised: bool) -> str:
    """The reason of an epsilon from a configuration."""
    if is_raised:
        return "as written, but not below 1.001e-5: TensorFlow's fused kernel raised it"
    return "the epsilon of every BatchNormalization"
