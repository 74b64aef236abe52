"""What a wrong layer looks like where no suspicion reproduces the original: measured, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from converter.files.checkpoint import Array
from converter.parity.comparing.compare import as_array
from converter.parity.faults.suspects import conv_padding
from converter.parity.original.recording import Sample

NO_BIAS = "its bias is zero, and the original's may not be"
"""Of a Dense layer: one picture does not tell a constant from another kernel."""

SHOWN = 4
"""Channels that are named before they are only counted."""


def described(
    module: nn.Module, x: Tensor | None, result: Tensor, sample: Sample, limit: float
) -> str:
    """From the whole activations of both; '' where there is nothing to say. `x` is None where what
    the layer read may be wrong: then only what its whole output shows is said."""
    if not sample.is_whole:
        return ""
    actual, expected = as_array(result), sample.first()
    if np.squeeze(actual).shape != np.squeeze(expected).shape:
        return f"its output is {actual.shape}, the original's {expected.shape}"
    if not np.isfinite(actual).all():
        return "it gives NaN or infinity"
    columns = expected.shape[-1]
    scene = _Fit(
        actual.reshape(-1, columns).astype(np.float64),
        expected.reshape(-1, columns).astype(np.float64),
        limit * float(np.abs(expected).max(initial=0.0)),
    )
    if x is None:
        return scene.reordered() or scene.activated() or scene.scaled()
    return (
        scene.reordered()
        or scene.activated()
        or _of_kind(module, x, scene)
        or scene.scaled()
        or scene.some_channels()
        or border(actual, expected, scene.tolerance)
    )


def _of_kind(module: nn.Module, x: Tensor, fit: _Fit) -> str:
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return norm(module, as_array(x).reshape(-1, fit.actual.shape[1]), fit)
    if isinstance(module, nn.Conv2d | nn.Linear):
        bias = None if module.bias is None else module.bias.cpu().numpy()
        inner = fit.without(bias)
        if isinstance(module, nn.Linear) and bias is not None and not bias.any():
            return fit.scaled() or fit.some_channels() or NO_BIAS
        weight = one_weight(module, x, fit) if isinstance(module, nn.Conv2d) else ""
        return weight or fit.bias(bias) or inner.reordered("its kernel's") or inner.kernel()
    return ""


def of_weights(module: nn.Module, others: Mapping[str, nn.Module]) -> str:
    """What the weights alone show: all zero, another layer's too, or of few digits."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.numel() < 2:
        return ""
    if not bool(weight.any()):
        return "its weights are zero"
    for layer, other in others.items():
        theirs = getattr(other, "weight", None)
        if not isinstance(theirs, Tensor) or weight.dim() == 1:
            continue
        if theirs.shape == weight.shape and torch.equal(weight, theirs):
            return f"it has the weights of {layer} too"
    return rounded(weight)


def rounded(weight: Tensor) -> str:
    """Numbers that all happen to be of a shorter format were rounded to it."""
    for dtype in (torch.bfloat16, torch.float16):
        if torch.equal(weight, weight.to(dtype).to(weight.dtype)) and _values(weight) > 2:
            return f"its weights were rounded to {str(dtype).removeprefix('torch.')}"
    values = _values(weight)
    few = 1 < values <= weight.numel() / 4
    return f"its weights were rounded to {values} values" if few else ""


def _values(weight: Tensor) -> int:
    return len(np.unique(weight.cpu().numpy()))


class _Fit:
    """(positions, channels) of what a layer gave and of what the original did."""

    def __init__(self, actual: Array, expected: Array, tolerance: float) -> None:
        self.actual, self.expected, self.tolerance = actual, expected, tolerance
        self.wrong = np.flatnonzero(np.abs(actual - expected).max(0) > tolerance)

    def near(self, one: Array, other: Array) -> bool:
        return bool(np.abs(one - other).max(initial=0.0) <= self.tolerance)

    def without(self, bias: Array | None) -> _Fit:
        """What comes before the bias."""
        offset = 0 if bias is None else bias
        return _Fit(self.actual - offset, self.expected - offset, self.tolerance)

    def reordered(self, whose: str = "its") -> str:
        """The right channels in another order."""
        some = self.actual[:: max(1, len(self.actual) // 512)][:, self.wrong]
        theirs = self.expected[:: max(1, len(self.actual) // 512)][:, self.wrong]
        if len(self.wrong) < 2 or len(some) < 4:
            return ""
        apart = np.abs(some[:, None, :] - theirs[:, :, None]).max(0)
        order = apart.argmin(1)
        found = apart[np.arange(len(order)), order].max() <= self.tolerance
        if not found or len(set(order)) != len(order):
            return ""
        if len(order) == 2:
            return f"{whose} output channels {self.wrong[0]} and {self.wrong[1]} are swapped"
        return f"{len(order)} of {whose} output channels are in another order"

    def activated(self) -> str:
        """What the original left out of its logits."""
        powers = np.exp(self.expected - self.expected.max(1, keepdims=True))
        near = self.near(powers / powers.sum(1, keepdims=True), self.actual)
        return "a softmax is behind it, and the original's logits have none" if near else ""

    def bias(self, bias: Array | None) -> str:
        """A constant for each channel is missing."""
        offset = self.expected.mean(0) - self.actual.mean(0)
        if len(self.actual) < 4 or not self.near(self.actual + offset, self.expected):
            return ""
        if bias is None or not bias.any():
            return "its bias is missing"
        return f"its bias is not the original's{self._where()}"

    def kernel(self) -> str:
        """All of it times a number for each channel."""
        factor = (self.actual * self.expected).sum(0)
        factor = factor / np.maximum((self.actual**2).sum(0), 1e-300)
        if len(self.actual) < 4 or not self.near(self.actual * factor, self.expected):
            return ""
        return f"its kernel is {_factors(1 / factor)} times the original's"

    def scaled(self) -> str:
        """All of it times one number."""
        factor = (self.actual * self.expected).sum() / max((self.actual**2).sum(), 1e-300)
        if not factor or not self.near(self.actual * factor, self.expected):
            return ""
        return f"its output is {1 / factor:.6g} times the original's"

    def some_channels(self) -> str:
        return f"something is wrong{self._where()}" if self._where() else ""

    def _where(self) -> str:
        """Which channels differ, unless all do."""
        if not 0 < len(self.wrong) < self.actual.shape[1]:
            return ""
        shown = ", ".join(map(str, self.wrong[:SHOWN]))
        more = len(self.wrong) - SHOWN
        which = f"{shown} and {more} more" if more > 0 else shown
        return f" in channel {which} of {self.actual.shape[1]}"


def _factors(factor: Array) -> str:
    low, high = float(factor.min()), float(factor.max())
    return f"{low:.6g}" if high - low <= 1e-6 * abs(high) else f"{low:.4g} to {high:.4g}"


def one_weight(conv: nn.Conv2d, x: Tensor, fit: _Fit) -> str:
    """One channel is off by a multiple of one of the numbers that it reads: one weight is."""
    if len(fit.wrong) != 1 or conv.groups != 1 or conv.dilation != (1, 1):
        return ""
    channel = int(fit.wrong[0])
    read = F.unfold(F.pad(x, conv_padding(conv, x)), conv.kernel_size, stride=conv.stride)[0]
    off = torch.from_numpy(fit.actual[:, channel] - fit.expected[:, channel]).to(read)
    if read.shape[1] < 4:
        return ""
    amount = (read @ off) / (read**2).sum(1).clamp(min=1e-300)
    left = (off - amount[:, None] * read).abs().amax(1)
    place = int(left.argmin())
    if float(left[place]) > fit.tolerance:
        return ""
    rows, columns = conv.kernel_size
    source, place = divmod(place, rows * columns)
    row, column = divmod(place, columns)
    where = f"{row}, {column}, {source}, {channel}"
    return f"one weight is off by {float(amount.max()):.3g}: kernel[{where}] (HWIO)"


def norm(module: Any, x: Array, fit: _Fit) -> str:
    """The original's is a multiple of the input and a constant, for each channel: from them the
    vector that is wrong."""
    mean = x.mean(0)
    spread = ((x - mean) ** 2).sum(0)
    slope = ((x - mean) * fit.expected).sum(0) / np.maximum(spread, 1e-300)
    shift = fit.expected.mean(0) - slope * mean
    if not fit.near(x * slope + shift, fit.expected):
        return ""
    gamma, beta, mu, variance = (
        getattr(module, name).cpu().numpy()
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    if _is_fresh(gamma, beta, mu, variance):
        return "it was never filled: it holds the values of a new layer"
    now = gamma / np.sqrt(variance + module.eps)
    seen = spread > 0
    if np.abs(slope - now)[seen].max(initial=0.0) <= 1e-7 * np.abs(now).max():
        return f"its beta or its mean is not the original's{fit._where()}"
    eps = (gamma / np.where(slope == 0, np.nan, slope)) ** 2 - variance
    eps = eps[seen & np.isfinite(eps)]
    if eps.size and np.ptp(eps) <= 1e-3 * abs(eps.mean()) and eps.mean() >= 0:
        return f"its epsilon is {module.eps:.9g}, the original's {eps.mean():.6g}"
    if np.abs(shift - (beta - mu * slope))[seen].max() <= 1e-7 * np.abs(shift).max():
        return f"its gamma or its variance is not the original's{fit._where()}"
    return f"its vectors are not the original's{fit._where()}"


def _is_fresh(gamma: Array, beta: Array, mean: Array, variance: Array) -> bool:
    return bool((gamma == 1).all() and (variance == 1).all() and not beta.any() and not mean.any())


def border(actual: Array, expected: Array, tolerance: float) -> str:
    """Nothing but the border of a map differs."""
    if actual.ndim != 4 or min(actual.shape[1:3]) < 5:
        return ""
    wrong = (np.abs(actual - expected) > tolerance).any((0, 3))
    inside = wrong[2:-2, 2:-2].any()
    return "" if inside else "only the border of its map differs: its padding is another"
