"""Two errors for each layer: as the network runs, and alone, fed the original's inputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import FIXTURES, converted, fixture, record
from stand_ins import whole_recording

from converter.facts.changes import with_pool
from converter.files.opening import open_source
from converter.identify import identify
from converter.options import Options
from converter.parity.comparing import torch_run
from converter.parity.comparing.inputs import inputs_of_program
from converter.parity.comparing.layers import compared
from converter.parity.original import keras_child
from converter.parity.original.oracle import KerasChild, ask, choose_oracle
from converter.parity.original.recording import Sample, read_record
from converter.parity.prove import compare, compare_model

PATH = fixture("keras-2.3.1-conv_block-50")


@pytest.fixture(scope="module")
def right():
    return converted(PATH)


@pytest.fixture(scope="module")
def original(right):
    return whole_recording(*right)


def with_other(tensors, name, change):
    return {**tensors, name: change(tensors[name])}


def test_the_same_network_has_no_errors_but_rounding(right, original):
    parity = compare(*right, original, ("cpu",))

    assert parity.verdict == "equal"
    assert len(parity.layers) == len(set(compared(right[0].structure).values())) + 1  # and fc
    assert all(one.own is not None for one in parity.layers)
    assert max(one.own.relative for one in parity.layers) < 1e-14
    assert 0 < parity.noise["float64"] < 1e-13


def test_a_fault_shows_alone_in_its_own_layer_and_runs_on_into_all_others(right, original):
    network, tensors = right
    broken = with_other(tensors, "layer3.1.conv2.weight", lambda w: w[..., ::-1].copy())

    parity = compare(network, broken, original, ("cpu",))

    alone = [one.name for one in parity.layers if not one.own_passes]
    running = [one.name for one in parity.layers if one.cumulative.relative > one.gate]
    assert alone == ["conv4_block2_2_conv"] == [parity.first_wrong_layer]
    assert running[:2] == ["conv4_block2_2_conv", "conv4_block2_2_bn"]
    assert running[-1] == "probs"


def test_two_faults_show_alone_each_in_its_layer(right, original):
    network, tensors = right
    broken = with_other(tensors, "layer1.0.conv2.weight", lambda w: w * np.float32(1.01))
    broken = with_other(broken, "fc.bias", lambda bias: bias[::-1].copy())

    parity = compare(network, broken, original, ("cpu",))

    assert [one.name for one in parity.layers if not one.own_passes] == [
        "conv2_block1_2_conv",
        "probs",
    ]


def test_a_fault_that_the_logits_do_not_show_is_not_equal(right, original):
    """A channel of a convolution that nothing behind it reads: its logits are the original's."""
    network, tensors = right
    silent = with_other(tensors, "layer2.1.bn1.weight", lambda gamma: gamma * 0)
    silent = with_other(silent, "layer2.1.bn1.bias", lambda beta: beta * 0)
    recording = whole_recording(network, silent)
    broken = with_other(silent, "layer2.1.conv1.weight", lambda w: -w)

    parity = compare(network, broken, recording, ("cpu",))

    assert all(one.passes for one in parity.comparisons)
    assert parity.verdict == "not equal"
    assert parity.first_wrong_layer == "conv3_block2_1_conv"


@pytest.mark.parametrize("way", ["valid", "same"])
def test_a_wrong_pool_that_no_layer_is_known_for_is_not_blamed_on_what_reads_it(
    way, right, original
):
    """As of a file of weights, which does not name the layers without any."""
    network, tensors = right
    model = torch_run.build(with_pool(network.architecture, way), tensors)
    names = compared(network.structure)
    del names["maxpool"]

    parity = compare_model(model, names, original, ("cpu",))

    assert parity.first_wrong_layer == "conv2_block1_1_conv"
    assert not parity.wrong.is_alone
    assert str(parity.wrong).endswith(
        "or it is before it, in the max-pool of the stem: not recorded"
    )
    assert parity.diagnosis.startswith("the max-pool of the stem is wrong: its padding is ")
    assert parity.diagnosis.endswith("the original's 'zero': zeros around 1")
    assert "the max-pool of the stem" in parity.unjudged


def test_where_the_input_is_not_known_whole_there_is_no_own_error(right):
    network, tensors = right
    recording = whole_recording(network, tensors, keep=lambda layer: "block2_1" not in layer)
    known = {one.name: one.own for one in compare(network, tensors, recording, ("cpu",)).layers}

    assert "conv3_block2_1_conv" not in known
    assert known["conv3_block2_2_conv"] is not None  # its input is computed from what is known
    sampled = read_record(record(PATH))
    layers = compare(network, tensors, sampled, ("cpu",)).layers
    assert [one.name for one in layers if one.own] == ["conv1_conv"]


def test_a_layer_between_samples_is_not_judged_alone(right, original):
    """What is computed from a sampled layer is unknown, up to the next whole one."""
    network, tensors = right
    first = original.passes[0]
    layers = dict(first.layers)
    name = "conv3_block2_1_bn"
    index = np.arange(5)
    layers[name] = Sample(index, layers[name].value[index])
    recording = replace(original, passes=(replace(first, layers=layers),))
    broken = with_other(tensors, "layer2.1.conv2.weight", lambda w: w * np.float32(1.01))

    parity = compare(network, broken, recording, ("cpu",))

    known = {one.name: one.own for one in parity.layers}
    assert known[name] is not None
    assert known["conv3_block2_2_conv"] is None
    assert parity.first_wrong_layer == "conv3_block2_2_conv"


@pytest.mark.parametrize("is_sampled", [True, False])
def test_a_layer_that_may_be_right_is_not_described(is_sampled):
    """One channel of a norm is off, which no sample shows: the Dense layer is the first that
    differs, and what is wrong with it cannot be told."""
    path = fixture("keras-2.2.4-tensorflow")
    network, tensors = converted(path)
    sampled = read_record(record(path))
    unseen = replace(sampled, passes=tuple(replace(one, layers={}) for one in sampled.passes))
    gamma = tensors["layer4.2.bn3.weight"].copy()
    gamma[5] *= np.float32(1.01)
    broken = {**tensors, "layer4.2.bn3.weight": gamma}

    parity = compare(network, broken, sampled if is_sampled else unseen, ("cpu",))

    assert parity.verdict == "not equal"
    assert parity.first_wrong_layer == "fc1000"
    assert not parity.wrong.is_alone
    assert parity.diagnosis == ""


def test_maps_of_two_sizes_that_meet_are_no_crash(right, original):
    """A pool that is wrong, and an original that is known whole only here and there."""
    network, tensors = right
    first = original.passes[0]
    some = {
        name: layer if "_0_" in name else Sample(np.arange(3), layer.value[:3])
        for name, layer in first.layers.items()
    }
    recording = replace(original, passes=(replace(first, layers=some),))
    architecture = with_pool(network.architecture, "valid")
    structure = replace(network.structure, architecture=architecture)

    parity = compare(replace(network, structure=structure), tensors, recording, ("cpu",))

    assert parity.first_wrong_layer == "pool1_pool"


def test_a_float32_original_is_judged_by_its_own_gates(right):
    network, tensors = right
    recording = whole_recording(network, tensors, "float32")

    parity = compare(network, tensors, recording, ("cpu",))

    assert parity.verdict == "equal"
    assert 1e-9 < max(one.own.relative for one in parity.layers) < 1e-5
    assert {one.own_gate for one in parity.layers} == {1e-5}
    assert parity.noise.keys() == {"float32"}
    assert max(one.gate for one in parity.layers) < 1e-4  # by the noise of each layer


def test_activations_are_handed_over_whole_as_long_as_there_is_room(tmp_path, monkeypatch):
    seen = {name: np.arange(300.0).reshape(1, 10, 10, 3) for name in ("one", "two", "three")}
    monkeypatch.setattr(keras_child, "WHOLE_LIMIT", 2 * seen["one"].nbytes)

    found = keras_child.kept(seen, tmp_path)

    assert found.keys() == {"0/whole/one", "0/whole/two", "0/index/three", "0/value/three"}
    assert np.array_equal(np.load(tmp_path / "whole_1.npy"), seen["two"])
    assert np.array_equal(found["0/value/three"], found["0/index/three"])
    assert keras_child.kept(seen, None).keys() == {
        f"0/{kind}/{name}" for kind in ("index", "value") for name in seen
    }


def test_a_network_is_looked_at_without_being_changed(right, original):
    network, tensors = right
    model = torch_run.build(network.architecture, tensors)

    compare_model(model, compared(network.structure), original, ("cpu",))

    assert not any(one._forward_hooks for one in model.modules())
    state = model.float().state_dict()
    assert all(np.array_equal(state[name].numpy(), tensors[name]) for name in tensors)


@pytest.fixture(scope="module")
def called_twice():
    """A network of which a convolution, a norm and an activation are called two times."""
    path = FIXTURES / "networks" / "twice-k315.h5"
    network, tensors = converted(path)
    with open_source(path, Options()) as checkpoint, KerasChild() as child:
        same = identify(checkpoint, Options())
        asked = inputs_of_program(same.program)
        return (
            network,
            tensors,
            ask(child, choose_oracle(checkpoint, same), checkpoint, same, asked),
        )


@pytest.mark.keras
def test_a_layer_that_is_called_several_times_is_judged_at_each(called_twice):
    parity = compare(*called_twice, ("cpu",))

    names = [one.name for one in parity.layers]
    assert {"conv2d (call 1)", "conv2d (call 2)"} < set(names)
    assert len(names) == len(set(names)) == 17
    assert max(one.own.relative for one in parity.layers) < 1e-14
    assert parity.verdict == "equal"
    assert parity.unjudged == parity.unnamed == ()


@pytest.mark.keras
def test_the_original_may_have_made_the_calls_in_another_order(called_twice):
    network, tensors, recording = called_twice
    first = recording.passes[0]
    swapped = dict(first.layers)
    for names in first.calls.values():
        for name, other in zip(names, reversed(names), strict=True):
            swapped[name] = first.layers[other]
    assert swapped.keys() == first.layers.keys()
    recording = replace(recording, passes=(replace(first, layers=swapped), *recording.passes[1:]))

    parity = compare(network, tensors, recording, ("cpu",))

    assert parity.verdict == "equal"
    assert max(one.own.relative for one in parity.layers) < 1e-14


@pytest.mark.keras
@pytest.mark.parametrize("change", [lambda w: w[..., ::-1].copy(), lambda w: w * 1.001])
def test_the_wrong_layer_is_named_though_it_is_called_twice(change, called_twice):
    network, tensors, recording = called_twice
    (weight,) = (
        f"{module}.weight"
        for module, layer in compared(network.structure).items()
        if layer == "conv2d"
    )

    parity = compare(network, with_other(tensors, weight, change), recording, ("cpu",))

    assert parity.verdict == "not equal"
    assert parity.first_wrong_layer == "conv2d (call 1)"
    assert [one.name for one in parity.layers if not one.own_passes][1:] == ["conv2d (call 2)"]
