"""Keras' Normalization as a norm: told from a BatchNormalization by what it lacks."""

from __future__ import annotations

from resnet_pt.architecture import Norm

NORMALIZATION_EPS = 1e-14
"""Keras' Normalization divides by the root of a variance or by 1e-7, whichever is more. As a norm
with this epsilon it gives the same for a variance of 0, and for all others but the last digits."""


def is_normalization(norm: Norm) -> bool:
    """Whether a norm of the picture is Keras' Normalization, which has neither gamma nor beta."""
    return norm.eps == NORMALIZATION_EPS and not norm.gamma and not norm.beta
