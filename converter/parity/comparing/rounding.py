"""What rounding may do to a logit: more than the gate, where a sum is near 0 and its terms are not.

The gate is relative to the largest logit. Of a thousand, the largest is a good part of what it is
added up from; the only one, or the larger of two, may be near 0, and then its rounding, which goes
with the magnitudes of the terms (Higham, Accuracy and Stability of Numerical Algorithms, 3.1), is
more than a gate of it: so for a picture of one in six networks of one class, one in twenty of two,
one in 2,000 of ten (random heads on a ResNet-50, four pictures each).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from converter.files.checkpoint import Array

if TYPE_CHECKING:
    from torch import Tensor, nn

RATE = {"float64": 2e-15, "float32": 1e-6}
"""What rounding may take from a sum, relative to the magnitudes of its terms: some 16 units of the
dtype. Seen up to 6.4e-7 in float32."""

DEVIATIONS = 6
"""What the noise of the inputs may do to a sum, in standard deviations of what it does if the signs
of both sides' roundings are random: 4 of the difference between two."""


FEATURES = 4
"""How many times the noise of an output, measured here, those of a float32 original may be off.
NOISE_MARGIN of `layers` is more, since layers are known by samples."""


@dataclass(frozen=True, slots=True)
class Sums:
    """What a Dense layer, or a 1x1 convolution of one pixel, added up for N pictures: the `terms`'
    magnitudes, (N,), the largest sum of them for each picture, the `inputs`, (N, in), and the
    largest 2-`norm` of a row of weights. Of another layer all are 0."""

    terms: Array
    inputs: Array
    norm: float = 0.0

    def noise(self, wide: Sums) -> float:
        """One standard deviation of a sum, from how far the inputs are from those in float64."""
        apart = np.sqrt(np.mean(np.square(self.inputs - wide.inputs), axis=1))
        return self.norm * float(apart.max(initial=0.0))


def share(sums: Sums | None, expected: Array, dtype: str, noise: float = 0.0) -> float:
    """What rounding in `dtype` may do to these logits, relative to the largest of the `expected`;
    `noise` is one standard deviation of what the inputs' rounding does to a sum."""
    largest = float(np.abs(expected).max(initial=0.0))
    terms = float(sums.terms.max(initial=0.0)) if sums else 0.0
    found = max(RATE[dtype] * terms, DEVIATIONS * noise) / largest if largest else 0.0
    return found if np.isfinite(found) else 0.0


def _wide(tensor: Tensor) -> Array:
    values: Array = tensor.cpu().double().numpy()  # in this order: MPS has no float64
    return values


@contextmanager
def watched_sums(model: nn.Module) -> Iterator[Callable[[Tensor], Sums]]:
    """While the context lasts, what tells of a tensor what such a layer added up to it."""
    import torch

    found: dict[int, tuple[Tensor, Sums]] = {}
    """By where the result lies, so that a Flatten behind it is the same."""

    def keep(module: nn.Linear | nn.Conv2d, args: Any, result: Tensor) -> None:
        (x,), weight = args, module.weight
        if isinstance(module, torch.nn.Conv2d):
            if module.groups > 1 or weight.shape[2:] != (1, 1) or x.shape[2:] != (1, 1):
                return
            x, weight = x.flatten(1), weight.flatten(1)
        bias = None if module.bias is None else module.bias.abs()
        terms = torch.nn.functional.linear(x.abs(), weight.abs(), bias)
        norm = float(weight.norm(dim=1).max())
        largest = terms.flatten(1).amax(1)
        found[result.data_ptr()] = result, Sums(_wide(largest), _wide(x.flatten(1)), norm)

    def sums(tensor: Tensor) -> Sums:
        other = Sums(np.zeros(len(tensor)), np.zeros((len(tensor), 1)))
        return found[tensor.data_ptr()][1] if tensor.data_ptr() in found else other

    kinds = (torch.nn.Linear, torch.nn.Conv2d)
    linear = [one for one in model.modules() if isinstance(one, kinds)]
    handles = [one.register_forward_hook(keep) for one in linear]
    try:
        yield sums
    finally:
        for handle in handles:
            handle.remove()
