"""More single faults that the proof has to notice, on other files than the first."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import converted, fixture, record, weights_only

from converter.conversion import convert
from converter.errors import ParityError
from converter.parity.original.recording import read_record
from converter.parity.prove import compare

BASIC, PREACTIVATED, CAFFE = (
    fixture("keras-2.3.1-cifar-v1"),
    fixture("keras-2.3.1-v2-50"),
    fixture("keras-2.10-scale"),
)


def judged(path, change):
    """The comparison of a file's network, after `change` of its tensors, with its record."""
    network, tensors = converted(path)
    broken = dict(tensors)
    change(broken)
    assert any(broken[name] is not tensors[name] for name in tensors)
    return network, compare(network, broken, read_record(record(path)), ("cpu",))


def first_of(network, module):
    """The Keras layer that fills a module."""
    return network.structure.layers[module]


def swap(one, other):
    def change(tensors):
        assert tensors[one].shape == tensors[other].shape
        tensors[one], tensors[other] = tensors[other], tensors[one]

    return change


def rearranged(name, *axes):
    def change(tensors):
        moved = tensors[name].transpose(axes)
        assert moved.shape == tensors[name].shape
        tensors[name] = np.ascontiguousarray(moved)

    return change


def flipped(name):
    def change(tensors):
        tensors[name] = tensors[name][..., ::-1, ::-1].copy()

    return change


FAULTS = [
    pytest.param(
        fixture("keras-2.2.4-tensorflow"),
        rearranged("layer1.0.conv1.weight", 1, 0, 2, 3),
        "layer1.0.conv1",
        id="in and out of a square 1x1 swapped",
    ),
    pytest.param(
        fixture("keras-1.2.2-theano-th"),
        flipped("layer3.1.conv2.weight"),
        "layer3.1.conv2",
        id="one kernel of a Theano file not flipped",
    ),
    pytest.param(
        fixture("keras-1.2.2-theano-th"),
        flipped("conv1.weight"),
        "conv1",
        id="the stem of a Theano file not flipped",
    ),
    pytest.param(
        BASIC,
        swap("layer1.0.conv1.weight", "layer1.0.conv2.weight"),
        "layer1.0.conv1",
        id="the convolutions of a basic block swapped",
    ),
    pytest.param(
        BASIC,
        rearranged("layer2.1.conv2.weight", 0, 1, 3, 2),
        "layer2.1.conv2",
        id="height and width of a basic block's kernel swapped",
    ),
    pytest.param(
        PREACTIVATED,
        swap("layer2.1.bn1.weight", "layer2.1.bn1.bias"),
        "layer2.1.bn1",
        id="gamma and beta of a pre-activation swapped",
    ),
    pytest.param(
        CAFFE,
        swap("layer2.0.bn2.weight", "layer2.0.bn2.scale.weight"),
        "layer2.0.bn2",
        id="the gammas of a norm and its Scale swapped",
    ),
    pytest.param(
        fixture("keras-2.3.1-qubvel-18"),
        swap("bn_data.bias", "bn_data.running_mean"),
        "bn_data",
        id="beta and mean of the norm of the picture swapped",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("path", "change", "module"), FAULTS)
def test_one_fault_is_not_equal_and_named_where_it_is(path, change, module):
    network, parity = judged(path, change)

    shown = network.structure.outputs.get(module, first_of(network, module))
    assert parity.verdict == "not equal"
    assert parity.first_wrong_layer == shown


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("keras-1.2.2-theano-th", {"theano_kernels": False}),
        ("keras-1.2.2-tensorflow", {"theano_kernels": True}),
        pytest.param("keras-2.0.9-theano", {"stem": "same"}, marks=pytest.mark.slow),
        ("keras-2.0.9-tensorflow", {"stem": "pad"}),
        ("keras-2.1.6-tensorflow", {"pool": "zero"}),
        ("keras-2.1.6-tensorflow", {"pool": "same"}),
        ("keras-2.3.1-conv_block-50", {"stride_on": "3x3"}),
        ("keras-2.3.1-conv_block-50", {"bn_eps": 1e-3}),
        ("keras-1.2.2-tensorflow", {"running_std": "std"}),
    ],
    ids=lambda value: str(value),
)
def test_one_wrong_fact_writes_nothing(name, options, tmp_path):
    """A record may not decide what the user set: it can only refuse it."""
    path = fixture(name)

    with pytest.raises(ParityError, match="does not give the logits"):
        convert(path, tmp_path / "out.pth", against=record(path), device="cpu", **options)

    assert list(tmp_path.iterdir()) == []


def test_a_head_that_only_classifies_wrongly_is_named(tmp_path):
    """Nothing before the head differs, and yet the logits do."""
    path = fixture("keras-2.10-functional-head")
    network, tensors = converted(path)
    name = "head.dense.weight"
    broken = {**tensors, name: np.roll(tensors[name], 1, axis=0)}

    parity = compare(network, broken, read_record(record(path)), ("cpu",))

    assert parity.verdict == "not equal"
    assert parity.first_wrong_layer in {"dense", "out"}


@pytest.mark.slow
def test_a_wrong_guess_behind_a_hidden_layer_writes_nothing(tmp_path):
    path = fixture("keras-2.10-functional-head")
    alone = weights_only(path, tmp_path)

    with pytest.raises(ParityError):
        convert(
            alone,
            tmp_path / "out.pth",
            against=record(path),
            device="cpu",
            head_activation="sigmoid",
        )
    assert not (tmp_path / "out.pth").exists()
