"""Logits from what came out of a last softmax or sigmoid, against numpy in float64."""

from __future__ import annotations

import numpy as np
import pytest

from converter.parity.comparing.recovered import recovered

LOGITS = np.random.default_rng(3).normal(0, 3, (6, 5))


def softmax(logits):
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return (powers / powers.sum(-1, keepdims=True)).astype(np.float32)


def sigmoid(logits):
    return (1 / (1 + np.exp(-logits))).astype(np.float32)


BOTH = pytest.mark.parametrize(("name", "compute"), [("softmax", softmax), ("sigmoid", sigmoid)])


@BOTH
def test_the_logits_themselves_are_as_near_as_can_be(name, compute):
    told = recovered(compute(LOGITS), name)

    assert told.tells
    assert np.abs(told.nearest(LOGITS) - told.logits).max() == 0


@BOTH
@pytest.mark.parametrize("apart", [1e-2, 1e-3, -1e-3])
def test_one_logit_that_is_off_is_as_far_off(name, compute, apart):
    told = recovered(compute(LOGITS), name)
    others = LOGITS.copy()
    others[2, LOGITS[2].argmin()] += apart

    found = told.nearest(others) - told.logits

    assert np.abs(found).max() == pytest.approx(abs(apart), rel=2e-2)


def test_what_is_added_to_all_logits_leaves_no_trace_in_a_softmax():
    told = recovered(softmax(LOGITS), "softmax")

    assert np.abs(told.nearest(LOGITS + 7) - told.logits).max() < 1e-12


def test_what_is_0_or_1_tells_nothing():
    assert not recovered(softmax(LOGITS * 1000), "softmax").tells
    assert not recovered(sigmoid(np.sign(LOGITS) * 100), "sigmoid").tells
    assert not recovered(np.ones((4, 1), np.float32), "softmax").tells


def test_a_saturated_sigmoid_tells_that_a_logit_is_high():
    told = recovered(np.float32([[1.0, 0.3], [0.6, 0.2]]), "sigmoid")
    near = told.nearest(np.array([[30.0, 0.0], [0.0, 0.0]]))
    low = told.nearest(np.array([[3.0, 0.0], [0.0, 0.0]]))

    assert near[0, 0] == told.logits[0, 0]
    assert low[0, 0] < told.logits[0, 0] - 10


def test_other_activations_are_not_turned_round():
    assert recovered(np.float32([[0.5]]), "relu") is None
