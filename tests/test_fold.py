"""Biases, Scale layers and epsilons folded into norms: the rule, and that nothing is lost."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from networks import random_tensors

from converter.errors import MismatchError
from converter.facts.changes import map_norms
from converter.formats.fold import folded, folds
from converter.parity.comparing import torch_run
from converter.parity.comparing.compare import GATES, difference
from resnet_pt import resnet
from resnet_pt.tensors import tensors as shapes

KERAS = resnet((1, 2, 1, 1), 7, width=4, stride_on="1x1", bias=True, eps=1e-3, momentum=0.01)
SCALED = map_norms(KERAS, lambda norm: norm.replace(rescale=True))


def fold(architecture, ours):
    """The tensors of `folded(architecture)`."""
    rules = folds(architecture)
    return {
        name: rules[name].apply(ours) if name in rules else ours[name]
        for name in shapes(folded(architecture))
    }


def single(value: float) -> bytes:
    """A float64 rounded to float32 once, by C."""
    return struct.pack("<f", value)


def logits(architecture, tensors, dtype="float64"):
    model = torch_run.build(architecture, tensors)
    pictures = np.random.default_rng(3).uniform(-128, 128, (2, 3, 70, 64)).astype(np.float32)
    return torch_run.run_nchw(model, [pictures], dtype)[""]


@pytest.mark.parametrize("architecture", [KERAS, SCALED], ids=["bias", "bias and Scale"])
def test_every_number_is_the_rule_in_float64_rounded_once(architecture):
    ours = random_tensors(architecture)
    theirs = fold(architecture, ours)
    convolution = {"bn1": "conv1", "layer2.1.bn2": "layer2.1.conv2"}
    convolution["layer3.0.downsample.1"] = "layer3.0.downsample.0"

    for norm, conv in convolution.items():
        for channel in range(ours[f"{norm}.weight"].size):

            def number(name, channel=channel):
                return float(ours[name][channel]) if name in ours else None

            scale = number(f"{norm}.scale.weight")
            gamma, beta = number(f"{norm}.weight"), number(f"{norm}.bias")
            expected = {
                "running_mean": number(f"{norm}.running_mean") - number(f"{conv}.bias"),
                "running_var": number(f"{norm}.running_var") + (1e-3 - 1e-5),
                "weight": gamma if scale is None else gamma * scale,
                "bias": beta if scale is None else beta * scale + number(f"{norm}.scale.bias"),
            }
            for name, value in expected.items():
                assert theirs[f"{norm}.{name}"][channel].tobytes() == single(value), (norm, name)


def test_everything_else_is_as_it_was_and_nothing_more_is_there():
    ours = random_tensors(SCALED)
    theirs = fold(SCALED, ours)

    assert {name: array.shape for name, array in theirs.items()} == shapes(folded(SCALED))
    for name in ("conv1.weight", "layer4.0.conv2.weight", "fc.weight", "fc.bias"):
        assert theirs[name].tobytes() == ours[name].tobytes()
    assert not [name for name in theirs if name.endswith("conv1.bias") or "scale" in name]


def test_the_same_epsilon_and_no_bias_is_left_alone_to_the_bit():
    architecture = resnet((1, 1, 1, 1), 7, width=4)
    ours = random_tensors(architecture)
    ours["bn1.running_var"][0] = 1e-30

    assert all(fold(architecture, ours)[name].tobytes() == ours[name].tobytes() for name in ours)


@pytest.mark.parametrize("architecture", [KERAS, SCALED], ids=["bias", "bias and Scale"])
def test_the_folded_network_gives_the_same_logits(architecture):
    ours = random_tensors(architecture)
    theirs = fold(architecture, ours)

    found = difference("logits", logits(folded(architecture), theirs), logits(architecture, ours))

    assert found.relative < 1e-6


def with_unfolded(theirs, ours, part):
    return {**theirs, **{name: ours[name] for name in theirs if name.endswith(part)}}


@pytest.mark.parametrize(
    "part", ["layer2.1.bn2.running_mean", "layer2.1.bn2.weight", "layer2.1.bn2.bias", "running_var"]
)
def test_what_is_not_folded_would_be_noticed(part):
    ours = random_tensors(SCALED)
    theirs = with_unfolded(fold(SCALED, ours), ours, part)

    found = difference("logits", logits(folded(SCALED), theirs), logits(SCALED, ours))

    assert found.relative > GATES["float32"]


def test_a_variance_that_would_be_negative_is_refused():
    architecture = map_norms(KERAS, lambda norm: norm.replace(eps=1e-6))
    ours = random_tensors(architecture)
    ours["layer3.0.bn1.running_var"][2] = 0

    with pytest.raises(MismatchError, match=r"layer3\.0\.bn1 cannot have epsilon 1e-05.*-9e-06"):
        fold(architecture, ours)
