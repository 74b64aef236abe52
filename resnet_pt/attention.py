"""Modules of attention over the steps of sequences: what `resnet_pt.ops.attention` describes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def _only_before(scores: Tensor) -> Tensor:
    """Scores (N, T, S) of which step t has none behind the t-th."""
    kept = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    return scores.masked_fill(~kept, float("-inf"))


class Attention(nn.Module):
    """Values weighed by how a query and their keys agree. `weight` is how many numbers weigh a
    score: 0 for a single one, None for none."""

    def __init__(self, additive: bool, weight: int | None, causal: bool) -> None:
        super().__init__()
        self.additive, self.causal = additive, causal
        shape = (weight,) if weight else ()
        self.weight = None if weight is None else nn.Parameter(torch.ones(shape))

    def forward(self, query: Tensor, value: Tensor, key: Tensor | None = None) -> Tensor:
        key = value if key is None else key
        if self.additive:
            sums = torch.tanh(query.unsqueeze(2) + key.unsqueeze(1))
            scores = (sums if self.weight is None else sums * self.weight).sum(-1)
        else:
            scores = query @ key.transpose(1, 2)
            scores = scores if self.weight is None else scores * self.weight
        scores = _only_before(scores) if self.causal else scores
        return scores.softmax(-1) @ value

    def extra_repr(self) -> str:
        return f"additive={self.additive}, causal={self.causal}"


class MultiHead(nn.Module):
    """The same for several heads, each with weights of its own, which lie behind each other in one
    matrix. `shapes` are those of the parameters by name."""

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], heads: int, width: int, causal: bool
    ) -> None:
        super().__init__()
        self.heads, self.scale, self.causal = heads, width**-0.5, causal
        for name, shape in shapes.items():
            values = torch.zeros(shape)
            if len(shape) > 1 and values.device.type != "meta":
                nn.init.xavier_uniform_(values)
            self.register_parameter(name, nn.Parameter(values))

    def forward(self, query: Tensor, value: Tensor, key: Tensor) -> Tensor:
        given = {"query": query, "key": key, "value": value}
        q, k, v = (self._of_heads(self._weighed(name, one)) for name, one in given.items())
        found = nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=self.causal, scale=self.scale
        )
        return self._weighed("output", found.transpose(1, 2).flatten(2))

    def _of_heads(self, x: Tensor) -> Tensor:
        """(N, T, heads * width) → (N, heads, T, width)."""
        return x.reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)

    def _weighed(self, name: str, x: Tensor) -> Tensor:
        bias = getattr(self, f"{name}_bias", None)
        return nn.functional.linear(x, getattr(self, f"{name}_weight"), bias)

    def extra_repr(self) -> str:
        return f"heads={self.heads}, scale={self.scale}, causal={self.causal}"
