"""A table of a network's layers with shapes and parameters, by torchinfo."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from torchinfo import ModelStatistics

USUAL_SIZE = (224, 224)


def summary(
    model: nn.Module, input_size: tuple[int, ...] | None = None, *, depth: int = 3
) -> ModelStatistics:
    """What each layer gives and how many parameters it has, down to `depth`; `print` it.

    `input_size` is (N, C, H, W), as torchinfo takes it; without one, a batch of one picture as
    large as the network's file says, or of 224x224. Totals are attributes (`total_params`).
    Raises ImportError, saying what to install, without torchinfo.
    """
    try:
        import torchinfo
    except ImportError as error:
        raise ImportError("a summary needs torchinfo: pip install torchinfo") from error
    size = input_size or _own_size(model)
    columns = ("output_size", "num_params", "trainable")
    return torchinfo.summary(
        model,
        input_size=size,
        depth=depth,
        col_names=columns,
        row_settings=("var_names",),
        verbose=0,
    )


def _own_size(model: nn.Module) -> tuple[int, ...]:
    architecture = getattr(model, "architecture", None)
    if architecture is None:
        raise ValueError("give input_size: this network does not describe itself")
    return (1, architecture.in_channels, *(architecture.input_size or USUAL_SIZE))
