"""Activations with settings, and those whose meaning changed with Keras' versions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from resnet_pt.ops.protocol import Op, Shape, finite, short

if TYPE_CHECKING:
    import torch
    from torch import nn

SIXTH = 1 / 6
"""The slope of a hard sigmoid in Keras 3 and in torch; it is 0.2 in Keras 1 and 2."""


class Clipped(Op, frozen=True):
    """Keras' ReLU with all its settings: `slope` * (x - `threshold`) below the threshold, x from
    there on, and at most `maximum`. With a maximum, x is at least 0 there too, which tells where
    the threshold is negative, as Keras 2 takes it (tensorflow 2.3 `keras/backend.py`, relu)."""

    maximum: float | None = None
    slope: float = 0.0
    threshold: float = 0.0

    def problems(self) -> Iterator[str]:
        numbers = (self.slope, self.threshold, 0.0 if self.maximum is None else self.maximum)
        yield from finite("a setting of", *numbers)

    def module(self, *inputs: Shape) -> nn.Module:
        from torch import nn

        if self.threshold == 0.0 and self.slope == 0.0 and self.maximum is not None:
            return nn.Hardtanh(0.0, self.maximum) if self.maximum > 0 else super().module(*inputs)
        return super().module(*inputs)

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        import torch

        (x,) = inputs
        above = x if self.maximum is None else x.clamp(0.0, self.maximum)
        below = self.slope * (x - self.threshold) if self.slope else torch.zeros_like(x)
        return torch.where(x > self.threshold, above, below)


class Clamp(Op, frozen=True):
    """x, or `least` where it is less, or `most` where it is more; None stands for no bound."""

    least: float | None = None
    most: float | None = None

    def problems(self) -> Iterator[str]:
        yield from finite(
            "a bound of", *(one for one in (self.least, self.most) if one is not None)
        )
        if self.least is None and self.most is None:
            yield "has no bound"

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        return inputs[0].clamp(self.least, self.most)


class ELU(Op, frozen=True):
    """x, or `alpha` * (exp(x) - 1) where x is negative."""

    alpha: float = 1.0

    def problems(self) -> Iterator[str]:
        yield from finite("an alpha of", self.alpha)

    def module(self, *inputs: Shape) -> nn.Module:
        from torch import nn

        return nn.ELU(self.alpha)


class Thresholded(Op, frozen=True):
    """x where it is greater than `theta`, else 0."""

    theta: float = 1.0

    def problems(self) -> Iterator[str]:
        yield from finite("a theta of", self.theta)

    def module(self, *inputs: Shape) -> nn.Module:
        from torch import nn

        return nn.Threshold(self.theta, 0.0)


class HardSigmoid(Op, frozen=True):
    """`slope` * x + 0.5, kept within 0 and 1; `times_input` multiplies it with x (hard_swish)."""

    slope: float
    times_input: bool = False

    def problems(self) -> Iterator[str]:
        yield from finite("a slope of", self.slope)

    def module(self, *inputs: Shape) -> nn.Module:
        from torch import nn

        if self.slope != SIXTH:
            return super().module(*inputs)
        return nn.Hardswish() if self.times_input else nn.Hardsigmoid()

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        (x,) = inputs
        gate = (x * self.slope + 0.5).clamp(0.0, 1.0)
        return x * gate if self.times_input else gate


class Elementwise(Op, frozen=True):
    """A function of each number by itself, by its `name` in `FUNCTIONS`."""

    name: str

    def problems(self) -> Iterator[str]:
        if self.name not in NAMES:
            yield f"has a function that is not known: {short(self.name)}"

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        return _functions()[self.name](inputs[0])


NAMES = frozenset(
    [
        *("abs", "square", "sqrt", "negative", "celu", "gelu_tanh", "log_sigmoid", "mish"),
        *("hard_tanh", "hard_shrink", "soft_shrink", "tanh_shrink", "squareplus", "sparse_plus"),
        *("sparse_sigmoid", "log", "exp", "reciprocal", "rsqrt"),
    ]
)
"""Keras 3's names (3.15 `activations/activations.py`, with their defaults) and numpy's."""


def _functions() -> Mapping[str, Callable[[torch.Tensor], torch.Tensor]]:
    import torch
    from torch.nn import functional as F

    return {
        "abs": torch.abs,
        "square": torch.square,
        "sqrt": torch.sqrt,
        "negative": torch.neg,
        "log": torch.log,
        "exp": torch.exp,
        "reciprocal": torch.reciprocal,
        "rsqrt": torch.rsqrt,
        "celu": F.celu,
        "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
        "log_sigmoid": F.logsigmoid,
        "mish": F.mish,
        "hard_tanh": F.hardtanh,
        "hard_shrink": F.hardshrink,
        "soft_shrink": F.softshrink,
        "tanh_shrink": F.tanhshrink,
        "squareplus": lambda x: 0.5 * (x + torch.sqrt(x * x + 4)),
        "sparse_plus": _sparse_plus,
        "sparse_sigmoid": lambda x: (0.5 * (x + 1)).clamp(0.0, 1.0),
    }


def _sparse_plus(x: torch.Tensor) -> torch.Tensor:
    """0 up to -1, (x + 1)² / 4 up to 1, then x."""
    import torch

    return torch.where(x <= -1, torch.zeros_like(x), torch.where(x < 1, 0.25 * (x + 1) ** 2, x))
