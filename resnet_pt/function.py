"""A plain function as a module of torch."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn


class Function(nn.Module):
    """A plain function as a module, printed by a name and its settings."""

    def __init__(self, compute: Callable[..., Tensor], name: str, settings: str) -> None:
        super().__init__()
        self.compute = compute
        self.name = name
        self.settings = settings

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.compute(*inputs)

    def _get_name(self) -> str:
        return self.name

    def extra_repr(self) -> str:
        return self.settings
