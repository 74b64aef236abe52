"""A logit near 0, added up from terms that are not: rounding is no fault, and a fault is one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import converted, fixture, pictures_of, record

from converter.dataset.results import Predictions, compare_predictions
from converter.parity import prove
from converter.parity.comparing import torch_run
from converter.parity.comparing.compare import GATES
from converter.parity.comparing.rounding import RATE, Sums, share, watched_sums
from converter.parity.original.recording import Pass, Recording
from converter.parity.settle import Trial

PATH = fixture("keras-2.3.1-conv_block-50")


def near_zero(nearness=1e-3):
    """(network, tensors, picture) of a network of one class whose logit for the picture is
    `nearness` of the terms that it is added up from."""
    network, tensors = converted(PATH)
    picture = pictures_of(record(PATH))[:1]
    head = network.architecture.head
    dense = replace(head[-1], op=head[-1].op.replace(out_features=1))
    architecture = replace(network.architecture, head=(*head[:-1], dense))
    network = replace(network, structure=replace(network.structure, architecture=architecture))
    weight = np.random.default_rng(0).normal(size=(1, dense.op.in_features)).astype(np.float32)
    tensors = {**tensors, "fc.weight": weight, "fc.bias": np.zeros(1, np.float32)}
    results = torch_run.run(torch_run.build(architecture, tensors), picture, "float64", "cpu")
    rest = results[""][0, 0] - nearness * results.sums[""].terms[0]
    return network, {**tensors, "fc.bias": np.array([-rest], np.float32)}, picture


def original(network, tensors, picture, off=0.0):
    """What another library gives: its float32 sums are added up in another order, and rounded."""
    model = torch_run.build(network.architecture, tensors)
    wide = torch_run.run(model, picture, "float64", "cpu")
    rounded = torch_run.run_reordered(model, picture, "float32")
    apart = off * np.float32(rounded.sums[""].terms[0])
    passes = (
        Pass(picture, dict(wide), {}, "float64"),
        Pass(picture, {"": rounded[""] + apart}, {}, "float32"),
    )
    return Recording(passes, "a stand-in", {"kind": "logits"})


@pytest.mark.slow
def test_rounding_of_a_logit_near_zero_is_no_fault():
    network, tensors, picture = near_zero()
    parity = prove.compare(network, tensors, original(network, tensors, picture, 3e-7), ("cpu",))

    assert parity.verdict == "equal"
    [wide, single] = [one for one in parity.comparisons if one.gate_dtype == one.dtype]
    assert single.worst.relative > GATES["float32"]
    assert single.rounding == single.gate > single.worst.relative
    assert wide.worst.relative <= wide.gate < 1e-11


@pytest.mark.slow
@pytest.mark.parametrize("tensor", ["fc.weight", "layer4.2.conv3.weight", "layer1.0.bn1.bias"])
def test_a_fault_shows_in_a_logit_near_zero_too(tensor):
    network, tensors, picture = near_zero()
    recording = original(network, tensors, picture)
    wrong = tensors[tensor].copy()
    wrong.ravel()[0] += 1e-3 * np.abs(wrong).max()
    parity = prove.compare(network, {**tensors, tensor: wrong}, recording, ("cpu",))

    assert parity.verdict == "not equal"


@pytest.mark.slow
def test_more_than_rounding_is_a_fault_of_float32_alone():
    network, tensors, picture = near_zero()
    parity = prove.compare(network, tensors, original(network, tensors, picture, 3e-5), ("cpu",))

    assert parity.verdict == "not equal"


@pytest.mark.slow
def test_logits_that_are_a_good_part_of_their_terms_have_the_plain_gate():
    network, tensors = converted(PATH)
    picture = pictures_of(record(PATH))[:1]
    parity = prove.compare(network, tensors, original(network, tensors, picture), ("cpu",))

    assert {one.gate for one in parity.comparisons} == {1e-12, 1e-5}


def test_the_terms_are_the_magnitudes_that_are_added_up():
    dense = torch.nn.Linear(3, 2)
    model = torch.nn.Sequential(torch.nn.Flatten(), dense)
    x = torch.randn(4, 3, 1, 1)
    with torch.no_grad(), watched_sums(model) as sums:
        result = model(x)
        found, other = sums(result), sums(result.clone())
    expected = (x.flatten(1).abs() @ dense.weight.abs().T + dense.bias.abs()).amax(1)
    assert np.allclose(found.terms, expected.detach())
    assert np.array_equal(found.inputs, x.flatten(1).double())
    assert found.norm == pytest.approx(float(dense.weight.detach().norm(dim=1).max()))
    assert not other.terms.any()
    assert not model[1]._forward_hooks


def test_the_noise_of_the_inputs_counts_by_the_weights():
    wide = Sums(np.array([10.0]), np.ones((1, 4)), norm=2.0)
    rounded = replace(wide, inputs=np.ones((1, 4)) + np.array([[1e-3, -1e-3, 1e-3, -1e-3]]))
    assert rounded.noise(wide) == pytest.approx(2e-3)
    assert share(wide, np.array([[0.5]]), "float32") == pytest.approx(RATE["float32"] * 20)
    assert share(wide, np.array([[0.5]]), "float32", 1e-2) == pytest.approx(0.12)
    assert share(wide, np.array([[0.0]]), "float32") == 0.0
    assert share(None, np.array([[0.5]]), "float32") == 0.0


def test_a_record_of_a_logit_near_zero_fits():
    network, *_ = near_zero()
    assert not Trial({}, 5e-5, 0, 0, network).fits
    assert Trial({}, 5e-5, 0, 0, network, gate=1e-4).fits


def test_a_picture_of_a_data_set_may_have_a_logit_near_zero():
    expected, actual = np.array([[1e-3], [1.0]]), np.array([[1e-3 + 1e-6], [1.0]])
    near, plain = compare_predictions((0, 1), Predictions(actual, np.array([2.0, 2.0])), expected)
    assert near.relative == pytest.approx(1e-6 / 0.2)
    assert plain.relative == 0.0
    [bare, _] = compare_predictions((0, 1), Predictions(actual), expected)
    assert bare.relative == pytest.approx(1e-3)


def features(values):
    """What a network without a top returns: no Dense layer adds it up."""
    none = Sums(np.zeros(len(values)), np.zeros((len(values), 1)))
    return torch_run.Results({"": values}, {"": none})


@pytest.mark.parametrize("size", [256, 3])
def test_an_output_may_be_off_by_some_times_its_own_noise(size):
    """Which is measured: of few numbers it may be small by luck, and then nothing is widened."""
    picture = np.zeros((1, 8, 8, 3), np.float32)
    wide = np.linspace(-1, 1, size)[None]
    noise = prove.Noise()
    noise.tell(picture, "float64", "cpu", features(wide))
    noise.tell(picture, "float32", "cpu", features(wide + 1e-5))
    for dtype, gate in (("float64", 1e-12), ("float32", 4e-5)):
        one = Pass(picture, {"": wide}, {}, dtype)
        [found] = prove._compared(features(wide), one, "cpu", dtype, "", noise)
        assert found.gate == pytest.approx(gate)


def test_what_overflows_in_float32_widens_no_gate():
    picture = np.zeros((1, 8, 8, 3), np.float32)
    wide = np.linspace(-1, 1, 256)[None]
    broken = wide.copy()
    broken[0, 0] = np.inf
    noise = prove.Noise()
    noise.tell(picture, "float64", "cpu", features(wide))
    noise.tell(picture, "float32", "cpu", features(broken))
    one = Pass(picture, {"": wide}, {}, "float32")
    [found] = prove._compared(features(broken), one, "cpu", "float32", "", noise)
    assert found.gate == 1e-5
    assert not found.passes
