"""Biases, Scale layers and epsilons, folded into the four vectors of a batch normalisation.

The networks of the PyTorch world have convolutions without bias, and norms with one epsilon
(1e-5) and no Scale layer behind. A norm of the original that follows its convolution,

    (x + bias - mean) / sqrt(variance + eps) * gamma + beta, then * scale + shift,

is one of theirs with

    mean'     = mean - bias
    variance' = variance + (eps - eps')
    gamma'    = gamma * scale
    beta'     = beta * scale + shift

Each is computed in float64 and rounded to float32 once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from converter.errors import MismatchError
from converter.facts.changes import map_convs, map_norms
from converter.files.checkpoint import Array
from converter.mapping.sanity import is_variance
from resnet_pt.architecture import Architecture, Conv, Norm
from resnet_pt.lower import lower
from resnet_pt.program import Layer, Normed, normed
from resnet_pt.tensors import parts

EPS = 1e-5
"""torch's default, which the folded networks have everywhere."""


def folded(architecture: Architecture) -> Architecture:
    """The network that `fold` makes the tensors of: the same function, in torch's own terms."""

    def norm(one: Norm) -> Norm:
        return one.replace(eps=EPS, gamma=True, beta=True, rescale=False)

    def conv(one: Conv) -> Conv:
        return one.replace(bias=False)

    return map_convs(map_norms(architecture, norm), conv)


def fold(architecture: Architecture, tensors: Mapping[str, Array]) -> dict[str, Array]:
    """The tensors of `folded(architecture)`, in its order.

    Every norm before the head has to follow its convolution. MismatchError where a variance
    would become negative by more than rounding: the original's epsilon is below 1e-5, and so is the
    variance.
    """
    found = dict(tensors)
    for one in normed(lower(architecture)):
        module = one.norm.module
        bias = found.pop(f"{one.conv.module}.bias", None)
        if bias is not None:
            found[f"{module}.running_mean"] = _rounded(
                _wide(found[f"{module}.running_mean"]) - _wide(bias)
            )
        found[f"{module}.running_var"] = _variance(one, found[f"{module}.running_var"])
        if one.scale:
            scale = _wide(found.pop(f"{one.scale.module}.weight"))
            shift = _wide(found.pop(f"{one.scale.module}.bias"))
            gamma, beta = _wide(found[f"{module}.weight"]), _wide(found[f"{module}.bias"])
            found[f"{module}.weight"] = _rounded(gamma * scale)
            found[f"{module}.bias"] = _rounded(beta * scale + shift)
    return {name: found[name] for name in _names(folded(architecture))}


def _variance(one: Normed, variance: Array) -> Array:
    assert isinstance(one.norm.op, Norm)
    module, eps = one.norm.module, one.norm.op.eps
    wide = _wide(variance) + (eps - EPS)
    if not is_variance(wide, EPS):
        raise MismatchError(
            f"{module} cannot have epsilon {EPS:g}: a variance would be {wide.min():.3g}",
            [f"epsilon of the original {eps:g}, its least variance {variance.min():.3g}"],
            ["the self-describing layout (no --to), --to onnx and --to pt2 keep the epsilon"],
        )
    return _rounded(wide)


def _wide(array: Array) -> Any:
    return array.astype(np.float64)


def _rounded(array: Any) -> Array:
    return array.astype(np.float32)  # type: ignore[no-any-return]


def _names(architecture: Architecture) -> Iterator[str]:
    for part in parts(architecture):
        yield from names(part)


def names(part: Layer) -> list[str]:
    """The tensors of a module, by their whole names."""
    return [f"{part.module}.{tensor.name}" for tensor in part.op.tensors()]
