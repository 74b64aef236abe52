"""What projects on Keras before 2.3 do, and their weights alone do not say."""

from __future__ import annotations

import json
from typing import Any

import h5py
import numpy as np
import pytest
from edits import agreement, assert_refused, edited, run
from helpers import converted, facts, fixture, head_words, weights_only, word

from converter.conversion import convert
from converter.errors import UsageError

KERAS_RESNET = fixture("keras-resnet-0.2.0-18")
OLD = fixture("keras-2.1.6-tensorflow")
FLAT = fixture("keras-2.10-head-flatten")
NESTED = fixture("keras-2.10-nested-head")


def as_of_0_1(frozen: bool) -> Any:
    """With a layer of the name that only keras-resnet before 0.2 gives; the file is not frozen."""

    def change(file: Any) -> None:
        text = file.attrs["model_config"]
        assert '"freeze": false' in text
        text = text.replace('"freeze": false', f'"freeze": {str(frozen).lower()}')
        file.attrs["model_config"] = text.replace('"conv1_relu"', '"padding_conv1"')

    return change


@pytest.mark.slow
def test_norms_of_keras_resnet_0_1_that_take_the_batchs_statistics_are_refused(tmp_path):
    path = edited(KERAS_RESNET, tmp_path, as_of_0_1(frozen=False))

    result = run(path, tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "'bn_conv1' and 20 more norms" in result.stderr
    assert "normalise by the batch at hand" in result.stderr


def test_those_of_keras_resnet_0_2_and_frozen_ones_do_not(tmp_path):
    plain, _ = converted(KERAS_RESNET)
    frozen, _ = converted(edited(KERAS_RESNET, tmp_path, as_of_0_1(frozen=True)))
    assert frozen.architecture == plain.architecture


def test_weights_alone_of_keras_resnet_0_1_show_it(tmp_path):
    network, _ = converted(fixture("keras-resnet-0.1.0"))
    assert facts(network)["statistics"] == ("the moving ones", "default")
    network, _ = converted(weights_only(KERAS_RESNET, tmp_path))
    assert "statistics" not in facts(network)


def of_version(version: str) -> Any:
    def change(file: Any) -> None:
        file.attrs["keras_version"] = version.encode()

    return change


@pytest.mark.parametrize("version", ["2.0.9", "2.1.6"])
def test_the_order_of_a_flatten_is_a_default_before_keras_2_2(version, tmp_path):
    path = edited(FLAT, tmp_path, of_version(version), alone=True)
    network, _ = converted(path)
    assert facts(network)["flatten"] == ("channels-last", "default")

    network, _ = converted(path, flatten="channels-first")
    assert facts(network)["flatten"] == ("channels-first", "set by the user")
    assert "flatten_chw" in head_words(network)


def test_later_kerases_flatten_alike(tmp_path):
    network, _ = converted(edited(FLAT, tmp_path, of_version("2.2.0"), alone=True))
    assert "flatten" not in facts(network)


@pytest.mark.slow
def test_a_record_decides_the_order_of_a_flatten(tmp_path):
    """A model of channels first has its Dense layer's inputs in another order: the same numbers,
    moved, are what it would have."""
    path = edited(FLAT, tmp_path, of_version("2.1.6"), alone=True)
    network, _ = converted(path)
    features, dense = network.architecture.features, network.architecture.head[-4:]
    first = next(layer for layer in dense if word(layer) == "dense")

    def turn(file: Any) -> None:
        kernel = file[f"{first.name}/{first.name}/kernel:0"]
        values = kernel[:].reshape(3, 4, features, -1).transpose(2, 0, 1, 3)
        kernel[...] = values.reshape(kernel.shape)

    with h5py.File(path, "a") as file:
        turn(file)
    report = convert(path, tmp_path / "out.pth", against=FLAT.with_suffix(".npz"), device="cpu")
    assert report.verdict == "equal"
    fact = next(fact for fact in report.facts if fact.name == "flatten")
    assert (fact.value, str(fact.evidence)) == ("channels-first", "record")


def test_the_option_needs_a_flatten():
    with pytest.raises(UsageError, match="this network has no Flatten"):
        converted(fixture("keras-3.15-conv_block-50"), flatten="channels-first")


def popped(layers: int) -> Any:
    """Take the last layers of a file of weights away, as `model.layers.pop()` does."""

    def change(file: Any) -> None:
        names = list(file.attrs["layer_names"])
        for name in names[-layers:]:
            del file[name]
        file.attrs["layer_names"] = names[:-layers]

    return change


@pytest.mark.parametrize(
    ("layers", "expected"), [(1, ["avg_pool", "flatten_hwc"]), (2, ["avg_pool"])]
)
def test_what_is_listed_behind_the_pool_of_a_popped_network_is_read(layers, expected, tmp_path):
    network, _ = converted(edited(OLD, tmp_path, popped(layers), alone=True))
    assert head_words(network) == expected
    assert network.architecture.outputs[0].layer == network.architecture.head[-1].name


def test_a_global_pool_behind_the_one_that_old_code_left_in_is_read(tmp_path):
    def change(file: Any) -> None:
        popped(2)(file)
        names = [*file.attrs["layer_names"], b"global_average_pooling2d_1"]
        file.attrs["layer_names"] = names
        group = file.create_group("global_average_pooling2d_1")
        group.attrs["weight_names"] = np.zeros(0, "S1")

    network, _ = converted(edited(OLD, tmp_path, change, alone=True))
    assert head_words(network) == ["avg_pool", "global_avg_pool"]


@pytest.mark.slow
def test_a_flatten_that_ends_the_network_is_compared(tmp_path):
    path = edited(OLD, tmp_path, popped(1), alone=True)
    result = run(path, tmp_path / "out.pth")
    assert result.exit_code == 0, result.stderr
    assert agreement("the bundled Keras definition") in result.stderr


def without_biases(file: Any) -> None:
    for name in file:
        weights = [bytes(one) for one in file[name].attrs["weight_names"]]
        kept = [one for one in weights if not (one.endswith(b"/bias:0") and name != "fc1000")]
        file[name].attrs["weight_names"] = kept or np.zeros(0, "S1")
        for one in set(weights) - set(kept):
            del file[name][one]


@pytest.mark.slow
def test_a_projects_own_code_without_biases_is_not_keras_resnet(tmp_path):
    network, _ = converted(edited(OLD, tmp_path, without_biases, alone=True))
    assert network.dialect == "res-branch-no-bias"
    assert facts(network)["epsilon"][0] == "0.001"
    whole, _ = converted(OLD)
    assert network.architecture.stem.pool == whole.architecture.stem.pool


def test_without_a_list_of_layers_it_is_taken_for_keras_resnet(tmp_path):
    def change(file: Any) -> None:
        without_biases(file)
        names = [
            name for name in file.attrs["layer_names"] if len(file[name].attrs["weight_names"])
        ]
        file.attrs["layer_names"] = names

    network, _ = converted(edited(OLD, tmp_path, change, alone=True))
    assert network.dialect == "keras-resnet"


def in_a_sequential_of_its_own(file: Any) -> None:
    """Write both models as lists, as Keras before 2.2.3 did: the inner one has no name then."""
    config = json.loads(file.attrs["model_config"])
    layers = config["config"]["layers"]
    outer = [one for one in layers if one["class_name"] != "InputLayer"]
    inner, last = outer.pop(), {"class_name": "Sequential"}
    file.attrs["model_config"] = json.dumps(
        {"class_name": "Sequential", "config": [*outer, {**last, "config": [inner]}]}
    )
    root = file["model_weights"]
    name = inner["config"]["name"]
    root.move(name, "sequential_9")
    names = [str(one) for one in root.attrs["layer_names"]]
    root.attrs["layer_names"] = ["sequential_9" if one == name else one for one in names]


def test_a_sequential_in_a_sequential_without_a_name_is_read(tmp_path):
    path = edited(NESTED, tmp_path, in_a_sequential_of_its_own)
    network, tensors = converted(path)
    plain, same = converted(NESTED)
    assert network.architecture.head == plain.architecture.head
    assert all(np.array_equal(tensors[name], same[name]) for name in tensors)
