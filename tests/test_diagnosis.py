"""What the first wrong layer is said to look like: each mistake is made, and recognised."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import converted, fixture, record
from stand_ins import whole_recording
from test_parity import stride_of_one_block_moved
from torch import nn

from converter.facts import changes
from converter.parity.comparing import torch_run
from converter.parity.comparing.layers import compared
from converter.parity.original.recording import read_record
from converter.parity.prove import compare, compare_model

PATH = fixture("keras-2.2.4-tensorflow")


@pytest.fixture(scope="module")
def right():
    return converted(PATH)


@pytest.fixture(scope="module")
def original(right):
    return whole_recording(*right)


def halved(values):
    return values.astype(np.float16).astype(np.float32)


def one_off(values):
    changed = values.copy()
    changed[3, 1, 0, 2] += np.float32(0.25)
    return changed


def exchanged(values):
    changed = values.copy()
    changed[[1, 2]] = changed[[2, 1]]
    return changed


def twice_in_one_channel(values):
    changed = values.copy()
    changed[2] *= 2
    return changed


TENSORS = {
    "layer1.1.conv2.weight": [
        (lambda w: w[..., ::-1, ::-1], "its kernel is turned by 180°"),
        (lambda w: w[..., ::-1], "its kernel is mirrored left to right"),
        (lambda w: w.swapaxes(2, 3), "height and width of its kernel are swapped"),
        (lambda w: w.swapaxes(0, 1), "its input and output channels are swapped"),
        (lambda w: -w, "its kernel has the wrong sign"),
        (lambda w: w * np.float32(0.5), "its kernel is 0.5 times the original's"),
        (halved, "its weights were rounded to float16"),
        (one_off, "one weight is off by 0.25: kernel[0, 2, 1, 3] (HWIO)"),
        (exchanged, "its kernel's output channels 1 and 2 are swapped"),
        (twice_in_one_channel, "its kernel is 1 to 2 times the original's"),
    ],
    "conv1.weight": [
        (lambda w: w[:, ::-1], "its input channels are in reverse order (BGR and RGB?)"),
    ],
    "layer3.5.conv3.bias": [
        (lambda b: b * 0, "its bias is missing"),
        (lambda b: -b, "its bias has the wrong sign"),
        (lambda b: np.roll(b, 1), "its bias is shifted by one"),
    ],
    "layer3.1.bn2.weight": [
        (lambda g: np.roll(g, 1), "its gamma is shifted by one"),
        (lambda g: g * 0 + 1, "its gamma or its variance is not the original's"),
    ],
    "layer3.1.bn2.running_mean": [
        (lambda m: m * 0, "its beta or its mean is not the original's"),
        (lambda m: -m, "its mean has the wrong sign"),
    ],
    "layer3.1.bn2.running_var": [
        (lambda v: v**2, "its variance was squared"),
        (np.sqrt, "its variance is a standard deviation"),
    ],
    "fc.weight": [
        (lambda w: w[::-1], "its kernel's classes are in reverse order"),
        (lambda w: w[:, ::-1], "its inputs are in reverse order"),
    ],
}
CASES = [
    pytest.param(name, change, words, id=f"{name}: {words}")
    for name, cases in TENSORS.items()
    for change, words in cases
]


@pytest.mark.parametrize(("name", "change", "words"), CASES)
def test_a_wrong_tensor_is_recognised(name, change, words, right, original):
    network, tensors = right
    broken = {**tensors, name: np.ascontiguousarray(change(tensors[name]))}

    parity = compare(network, broken, original, ("cpu",))

    assert parity.diagnosis == words
    assert parity.first_wrong_layer == network.structure.layers[name.rpartition(".")[0]]


def swap(one, other):
    return lambda t: {**t, one: t[other], other: t[one]}


NORM = "layer2.0.bn1"
SEVERAL = [
    pytest.param(
        swap(f"{NORM}.weight", f"{NORM}.bias"), "its gamma and beta are swapped", id="gamma, beta"
    ),
    pytest.param(
        lambda t: {
            **t,
            f"{NORM}.weight": t[f"{NORM}.weight"] * 0 + 1,
            f"{NORM}.bias": t[f"{NORM}.bias"] * 0,
            f"{NORM}.running_mean": t[f"{NORM}.running_mean"] * 0,
            f"{NORM}.running_var": t[f"{NORM}.running_var"] * 0 + 1,
        },
        "it was never filled: it holds the values of a new layer",
        id="a new layer",
    ),
    pytest.param(
        swap("layer2.1.conv2.weight", "layer2.2.conv2.weight"),
        "its kernel was swapped: the original's is in res3c_branch2b",
        id="two layers' kernels",
    ),
]


@pytest.mark.parametrize(("change", "words"), SEVERAL)
def test_tensors_in_each_others_place_are_recognised(change, words, right, original):
    network, tensors = right

    assert compare(network, change(tensors), original, ("cpu",)).diagnosis == words


def one_class(values):
    changed = values.copy()
    changed[3, 1] += np.float32(0.25)
    return changed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: w * np.float32(1.01), "its output is 1.01 times the original's"),
        (one_class, "something is wrong in channel 3 of 10"),
    ],
    ids=["a factor", "one class"],
)
def test_a_bias_that_is_zero_in_the_original_too_is_not_blamed(change, words, right):
    network, tensors = right
    tensors = {**tensors, "fc.bias": tensors["fc.bias"] * 0}
    original = whole_recording(network, tensors)
    broken = {**tensors, "fc.weight": change(tensors["fc.weight"])}

    assert compare(network, broken, original, ("cpu",)).diagnosis == words


def test_a_bias_that_was_lost_is_said_to_be_zero(right, original):
    network, tensors = right
    broken = {**tensors, "fc.bias": tensors["fc.bias"] * 0}

    words = "its bias is zero, and the original's may not be"
    assert compare(network, broken, original, ("cpu",)).diagnosis == words


def dilated(architecture):
    """One 3x3 dilated, its padding as it was: its map is smaller than the block's shortcut."""
    (first, *blocks), *stages = architecture.stages
    block = blocks[0]
    convs = (block.convs[0], block.convs[1].replace(dilation=(2, 2)), *block.convs[2:])
    changed = (first, replace(block, convs=convs), *blocks[1:])
    return replace(architecture, stages=(changed, *stages))


FACTS = [
    (lambda a: changes.with_eps(a, 1e-5), "its epsilon is 1e-05, the original's 0.001"),
    (
        lambda a: changes.with_stem(a, "same"),
        "its padding is (2, 3, 2, 3) (left, right, top, bottom), the original's is padding 3 3",
    ),
    (
        lambda a: changes.with_pool(a, "valid"),
        "its padding is 'valid' 0, the original's 'zero': zeros around 1",
    ),
    (
        lambda a: changes.with_pool(a, "same"),
        "its padding is 'same' as in TensorFlow (0, 1, 0, 1) (left, right, top, bottom), "
        "the original's 'zero': zeros around 1",
    ),
    (dilated, "its dilation is (2, 2), the original's (1, 1)"),
    (
        lambda a: replace(a, activation="gelu"),
        "the activation before it is gelu, the original's relu",
    ),
    (
        lambda a: replace(a, activation="relu6"),
        "the activation before it is relu6, the original's relu",
    ),
    (stride_of_one_block_moved, "its stride is (1, 1), the original's (2, 2)"),
]


@pytest.mark.slow
@pytest.mark.parametrize("which", ["whole", "sampled"])
@pytest.mark.parametrize(("change", "words"), FACTS, ids=[words for _, words in FACTS])
def test_a_wrong_fact_is_recognised_by_samples_too(change, words, which, right, original):
    network, tensors = right
    structure = replace(network.structure, architecture=change(network.architecture))
    recording = original if which == "whole" else read_record(record(PATH))

    parity = compare(replace(network, structure=structure), tensors, recording, ("cpu",))

    assert parity.diagnosis == words


def without_activation(model):
    model.layer2[1].relu = nn.Identity()  # in the block and at its end


def not_added(model):
    block = model.layer3[1]
    block._steps = tuple(
        replace(step, function=lambda long, short: long) if step.function else step
        for step in block._steps
    )


def in_training(model):
    model.layer2[0].bn2.train()


def means(model):
    model.maxpool = nn.AvgPool2d(3, 2, padding=1, count_include_pad=True)


BEHAVIOUR = [
    (
        means,
        "max_pooling2d_1",
        "it takes the mean, the original's the maximum, with padding 'zero': zeros around 1",
    ),
    (without_activation, "res3b_branch2b", "the activation before it is missing"),
    (
        not_added,
        "activation_28",
        "it computes activation(long way), without the shortcut, the original "
        "activation(long way + shortcut)",
    ),
    (in_training, "bn3a_branch2b", "it runs in training mode"),
]


@pytest.mark.parametrize(("change", "layer", "words"), BEHAVIOUR)
def test_a_network_that_does_something_else_is_recognised(change, layer, words, right, original):
    network, tensors = right
    model = torch_run.build(network.architecture, tensors)
    change(model)

    parity = compare_model(model, compared(network.structure), original, ("cpu",))

    assert (parity.first_wrong_layer, parity.diagnosis) == (layer, words)


def test_nothing_is_said_of_what_nobody_recognises(right, original):
    network, tensors = right
    noise = np.random.default_rng(0).normal(size=tensors["layer3.1.conv2.weight"].shape)
    broken = {**tensors, "layer3.1.conv2.weight": noise.astype(np.float32)}

    parity = compare(network, broken, original, ("cpu",))

    assert (parity.first_wrong_layer, parity.diagnosis) == ("res4b_branch2b", "")
