"""What a file itself says, before the user does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from converter.facts.fact import Evidence, Fact
from converter.files.checkpoint import Checkpoint, Weight
from converter.network import Lifted, Structure

KERAS_RESNET_0_1 = "padding_conv1"
"""The layer that pads the stem of keras-resnet before 0.2, and of no later version."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the file itself says, before the user does."""

    structure: Structure | Lifted
    facts: tuple[Fact, ...]
    dialect: str
    is_raised: bool = False
    left_out: tuple[Weight, ...] = ()

    @property
    def residual(self) -> Structure:
        """The structure of a residual network of a known kind; none other is asked for it."""
        assert isinstance(self.structure, Structure)
        return self.structure


def groups_fact(checkpoint: Checkpoint) -> tuple[Fact, ...]:
    """That grouped convolutions are written group by group, behind Lambda layers."""
    kernels = [one for one in checkpoint.weights if one.parameter == "kernel"]
    groups = [one.pieces for one in kernels if one.pieces > 1]
    if not groups:
        return ()
    reason = (
        f"{sum(groups)} Lambda layers are taken for the slices that the groups of {len(groups)} "
        "convolutions read; their code is not run"
    )
    value = "grouped convolutions, as image-classifiers slices them"
    return (Fact("custom code", value, Evidence.DEFAULT, reason),)


def batch_fact(names: Sequence[str]) -> tuple[Fact, ...]:
    """That the layers of these names are taken for the slices of a `multi_gpu_model`."""
    if not names:
        return ()
    reason = f"{', '.join(names)} are taken for multi_gpu_model's slices; their code is not run"
    return (Fact("batch", "not sliced, and not joined again", Evidence.DEFAULT, reason),)
