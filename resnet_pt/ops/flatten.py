"""A map written as a vector."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from resnet_pt.ops.protocol import Op, Shape

if TYPE_CHECKING:
    import torch
    from torch import nn


class Flatten(Op, frozen=True):
    """(N, C, H, W) → (N, C * H * W), in the order in which a Flatten of channels last ('hwc') or
    of channels first ('chw') writes it, and so of the weights that read it. A vector stays one."""

    order: Literal["hwc", "chw"]

    def words(self) -> str:
        return f"flatten_{self.order}"

    def shape(self, *inputs: Shape) -> Shape:
        known = [length for length in inputs[0] if length is not None]
        return (math.prod(known) if len(known) == len(inputs[0]) else None,)

    def module(self, *inputs: Shape) -> nn.Module:
        from torch import nn

        return nn.Flatten(1) if self.order == "chw" else super().module(*inputs)

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        (x,) = inputs
        turned = self.order == "hwc" and x.dim() >= 4
        return (x.movedim(1, -1) if turned else x).flatten(1)
