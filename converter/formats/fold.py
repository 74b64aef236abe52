"""Which tensors of a network are folded into its norms (`converter.mapping.export`), so that it
has convolutions without bias, and norms with one epsilon and no Scale layer behind."""

from __future__ import annotations

from converter.facts.changes import map_convs, map_norms
from converter.mapping.export import (
    EPS,
    Fold,
    LessBias,
    OtherEpsilon,
    Scaled,
    ScaledAndShifted,
)
from resnet_pt.architecture import Architecture, Conv, Norm
from resnet_pt.lower import lower
from resnet_pt.program import Normed, normed


def folded(architecture: Architecture) -> Architecture:
    """The network that the folded tensors are of: the same function, in torch's own terms."""

    def norm(one: Norm) -> Norm:
        return one.replace(eps=EPS, gamma=True, beta=True, rescale=False)

    def conv(one: Conv) -> Conv:
        return one.replace(bias=False)

    return map_convs(map_norms(architecture, norm), conv)


def folds(architecture: Architecture) -> dict[str, Fold]:
    """`{tensor of the folded network: what it is computed from}`; the others stay as they are.

    Every norm before the head has to follow its convolution.
    """
    found: dict[str, Fold] = {}
    for one in normed(lower(architecture)):
        found |= _of_norm(one)
    return found


def _of_norm(one: Normed) -> dict[str, Fold]:
    assert isinstance(one.norm.op, Norm)
    assert isinstance(one.conv.op, Conv)
    norm, found = one.norm.module, dict[str, Fold]()
    if one.conv.op.bias:
        mean = f"{norm}.running_mean"
        found[mean] = LessBias(mean, f"{one.conv.module}.bias")
    if one.norm.op.eps != EPS:
        variance = f"{norm}.running_var"
        found[variance] = OtherEpsilon(variance, one.norm.op.eps)
    if one.scale:
        gamma, beta = f"{norm}.weight", f"{norm}.bias"
        scale, shift = f"{one.scale.module}.weight", f"{one.scale.module}.bias"
        found[gamma] = Scaled(gamma, scale)
        found[beta] = ScaledAndShifted(beta, scale, shift)
    return found
