"""Keras' Normalization is said of a norm, and not hidden in its epsilon."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from converter.facts.changes import with_eps
from converter.facts.words import describe_eps
from resnet_pt import Architecture, resnet
from resnet_pt.ops import Norm
from resnet_pt.ops.norm import NORMALIZATION_EPS


def with_picture_norm(norm):
    bare = resnet((1, 1), 3, width=4, eps=1e-3)
    return replace(bare, stem=replace(bare.stem, data_norm=norm))


def test_a_batch_norm_with_its_epsilon_is_none():
    alike = Norm(3, NORMALIZATION_EPS, gamma=False, beta=False)
    architecture = with_picture_norm(alike)

    assert describe_eps(architecture) == "1e-14, 0.001"
    assert with_eps(architecture, 1e-5).stem.data_norm.eps == 1e-5


def test_it_has_no_epsilon_of_its_own():
    architecture = with_picture_norm(Norm.standardizing(3))

    assert describe_eps(architecture) == "0.001"
    assert with_eps(architecture, 1e-5).stem.data_norm == Norm.standardizing(3)


@pytest.mark.parametrize(
    ("norm", "standardizes"),
    [(Norm.standardizing(3), True), (Norm(3, 1e-3, gamma=False, beta=False), False)],
)
def test_a_description_of_an_earlier_version_told_it_by_its_epsilon(norm, standardizes):
    data = with_picture_norm(norm).to_dict()
    del data["stem"]["data_norm"]["standardizes"]

    assert Architecture.from_dict(data).stem.data_norm.standardizes == standardizes


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 4, 4)])
@pytest.mark.parametrize("trains", [False, True])
def test_a_normalization_is_that_of_keras_to_the_last_digit(shape, trains):
    """It divides by the root of the variance, or by 1e-7, and never learns another one."""
    mean, variance = torch.tensor([0.5, -2.0, 0.1]), torch.tensor([0.07, 1e-3, 0.0])
    module = Norm.standardizing(3).module(shape[1:]).double().train(trains)
    module.running_mean.copy_(mean)
    module.running_var.copy_(variance)
    x = torch.randn(shape, dtype=torch.float64)
    at = (1, 3) + (1,) * (len(shape) - 2)
    root = variance.double().sqrt().clamp(min=1e-7).view(at)

    torch.testing.assert_close(module(x), (x - mean.double().view(at)) / root, rtol=1e-15, atol=0)
    assert torch.equal(module.running_var, variance.double())
