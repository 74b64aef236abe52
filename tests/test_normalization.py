"""Keras' Normalization is said of a norm, and not hidden in its epsilon."""

from __future__ import annotations

from dataclasses import replace

import pytest

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
