"""Keras 3's `.weights.h5` and its shards; bfloat16."""

from __future__ import annotations

import itertools
import json

import h5py
import numpy as np
import pytest
from edits import assert_refused, names_removed, run
from helpers import FIXTURES, converted, copy, facts, word

from converter.files.readers._variables import counted, snake_case

SHARDED = FIXTURES / "keras-3.15-sharded.weights.json"


def in_one(target):
    """The three shards as the one file that Keras writes without `max_shard_size`."""
    with h5py.File(target, "w") as file:
        for shard in sorted(FIXTURES.glob("keras-3.15-sharded_*.weights.h5")):
            with h5py.File(shard) as part:
                for layer, group in part["layers"].items():
                    variables = file.require_group(f"layers/{layer}/vars")
                    for name, value in group["vars"].attrs.items():
                        variables.attrs[name] = value
                    for number in group["vars"]:
                        group["vars"].copy(number, variables)
    return target


def changed(folder, change):
    target = in_one(folder / "changed.weights.h5")
    with h5py.File(target, "a") as file:
        change(file)
    return target


def test_it_is_the_same_network_as_its_shards(tmp_path):
    _, expected = converted(SHARDED)
    network, tensors = converted(in_one(tmp_path / "one.weights.h5"))

    assert network.dialect == "conv-block"
    assert facts(network)["stem"] == ("7x7/2, padding 3", "layer names")
    assert facts(network)["pool"] == ("max-pool 3x3/2, padding 1", "layer names")
    assert facts(network)["flipped"] == ("no", "file attributes")
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, expected[name], err_msg=name)


def test_layers_without_names_are_placed_by_order_and_shapes(tmp_path):
    _, expected = converted(SHARDED)

    network, tensors = converted(changed(tmp_path, names_removed))

    assert network.dialect == "conv-block"
    assert facts(network)["network"][0] == "conv-block"
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, expected[name], err_msg=name)


def test_groups_are_counted_not_sorted_by_letter(tmp_path):
    """conv2d_10 comes before conv2d_2 in HDF5; Keras 2.13 skips every second number."""

    def skip(file):
        names_removed(file)
        for kind in ("conv2d", "batch_normalization"):
            names = [name for name in file["layers"] if counted(name)[0] == kind]
            for name in sorted(names, key=counted, reverse=True):
                number = counted(name)[1]
                if number:
                    file["layers"].move(name, f"{kind}_{2 * number}")

    _, expected = converted(SHARDED)
    _, tensors = converted(changed(tmp_path, skip))

    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, expected[name], err_msg=name)


def test_a_layer_in_another_place_is_refused(tmp_path):
    """The order that is read is the order that is there: two layers swapped do not fit."""

    def swap(file):
        names_removed(file)
        layers = file["layers"]
        layers.move("conv2d_5", "kept")
        layers.move("conv2d_6", "conv2d_5")
        layers.move("kept", "conv2d_6")

    result = run(changed(tmp_path, swap), tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")


def test_the_state_of_training_is_no_weight(tmp_path):
    def train(file):
        file.create_dataset("optimizer/vars/0", data=np.int64(7))
        file.create_dataset("layers/activation/seed_generator/vars/0", data=np.zeros(2, "u4"))

    assert run(changed(tmp_path, train), tmp_path / "out.pth", "--no-parity").exit_code == 0


def test_an_array_that_is_no_number_is_refused(tmp_path):
    def spoil(file):
        del file["layers/conv2d_5/vars/0"]
        file["layers/conv2d_5/vars/0"] = np.zeros((1, 1, 2, 2), "i4")

    result = run(changed(tmp_path, spoil), tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "int32" in result.stderr


def test_missing_numbers_are_refused(tmp_path):
    def spoil(file):
        file["layers/conv2d_5/vars"].move("1", "7")

    result = run(changed(tmp_path, spoil), tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 3, tmp_path / "out.pth")


def as_bfloat16(array):
    """The upper halves of float32: what Keras 3 stores."""
    return (array.astype("<f4").view("<u4") >> 16).astype("<u2").view("V2")


def test_bfloat16_is_read_to_the_bit(tmp_path):
    kept = {}

    def shorten(file):
        group = file["layers/conv2d_5/vars"]
        kept["array"], kept["layer"] = group["0"][...], group.attrs["name"]
        del group["0"]
        group["0"] = as_bfloat16(kept["array"])
        group["0"].attrs["dtype"] = "bfloat16"

    network, tensors = converted(changed(tmp_path, shorten))
    modules = {layer: module for module, layer in network.structure.layers.items()}

    expected = (kept["array"].view("<u4") & 0xFFFF0000).view("<f4").transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(tensors[f"{modules[kept['layer']]}.weight"], expected)


def test_pairs_of_bytes_that_do_not_say_what_they_are_are_refused(tmp_path):
    def shorten(file):
        group = file["layers/conv2d_5/vars"]
        array = group["0"][...]
        del group["0"]
        group["0"] = as_bfloat16(array)

    result = run(changed(tmp_path, shorten), tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")


@pytest.mark.parametrize(
    ("class_name", "group"),
    [
        ("Conv2D", "conv2d"),
        ("BatchNormalization", "batch_normalization"),
        ("BatchNorm", "batch_norm"),
        ("GlobalAveragePooling2D", "global_average_pooling2d"),
        ("ReLU", "re_lu"),
        ("keras_hub>ResNetBackbone", "res_net_backbone"),
        ("DepthwiseConv2D", "depthwise_conv2d"),
    ],
)
def test_classes_are_spelled_as_keras_spells_them(class_name, group):
    assert snake_case(class_name) == group


# ---- shards


def sharded(folder, content=None):
    """A copy of the list and its shards."""
    for path in FIXTURES.glob("keras-3.15-sharded*"):
        copy(path, folder, path.name)
    target = folder / SHARDED.name
    if content:
        target.write_text(json.dumps(content))
    return target


def test_a_missing_shard_is_named(tmp_path):
    source = sharded(tmp_path)
    (tmp_path / "keras-3.15-sharded_00001.weights.h5").unlink()

    result = run(source, tmp_path / "out.pth")

    assert_refused(result, 3, tmp_path / "out.pth")
    assert "keras-3.15-sharded_00001.weights.h5, which is not beside it" in result.stderr


@pytest.mark.parametrize("name", ["../x.h5", "/etc/passwd", "", "..", 5])
def test_a_shard_elsewhere_is_refused(name, tmp_path):
    source = sharded(tmp_path, {"weight_map": {"/layers/conv2d/vars": [name]}})

    assert_refused(run(source, tmp_path / "out.pth"), 4, tmp_path / "out.pth")


def test_other_json_is_no_source(tmp_path):
    (tmp_path / "config.json").write_text('{"layers": []}')

    assert_refused(run(tmp_path / "config.json", tmp_path / "out.pth"), 3, tmp_path / "out.pth")


def test_the_hash_covers_every_shard(tmp_path):
    source = sharded(tmp_path)
    first = run(source, tmp_path / "a.pth", "--no-parity", "--report", tmp_path / "a.json")
    with h5py.File(tmp_path / "keras-3.15-sharded_00002.weights.h5", "a") as file:
        file["layers/dense/vars/1"][0] += 1
    second = run(source, tmp_path / "b.pth", "--no-parity", "--report", tmp_path / "b.json")

    assert first.exit_code == second.exit_code == 0
    hashes = {
        json.loads((tmp_path / name).read_text())["source"]["sha256"]
        for name in ("a.json", "b.json")
    }
    assert len(hashes) == 2


def with_nested_head(widths, nested):
    """A chain of Dense layers behind the base, those numbered `nested` in a model of their own."""

    def change(file):
        for group in ("layers/dense", "layers/dense_1"):
            if group in file:
                del file[group]
        counts = {}
        for number, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
            home = "layers/sequential/layers" if number in nested else "layers"
            count = counts[home] = counts.get(home, -1) + 1
            group = file.create_group(f"{home}/dense_{count}" if count else f"{home}/dense")
            variables = group.create_group("vars")
            variables.attrs["name"] = f"fc_{number}"
            variables["0"] = np.full((inputs, outputs), number, "f4")
            variables["1"] = np.arange(outputs, dtype="f4")

    return change


@pytest.mark.parametrize(
    ("widths", "nested"),
    [
        ((64, 16, 5), {0}),
        ((64, 16, 5), {1}),
        ((64, 16, 16, 5), {0, 1}),
        ((64, 16, 16, 16, 5), {1, 2}),  # alike, and of one model: in its order
        ((64, 16, 5), {}),
    ],
)
def test_nested_dense_layers_are_put_in_the_order_that_their_widths_say(widths, nested, tmp_path):
    """Outer layers are listed before nested ones, wherever they stand."""
    network, _ = converted(changed(tmp_path, with_nested_head(widths, nested)))

    head = network.architecture.head
    dense = [layer for layer in head if word(layer) == "dense"]
    assert [layer.name for layer in dense] == [f"fc_{n}" for n in range(len(widths) - 1)]
    assert [layer.op.in_features for layer in dense] == list(widths[:-1])
    assert [word(one) for one in head if word(one) in ("dense", "activation")] == [
        *["dense", "activation"] * (len(dense) - 1),
        "dense",
    ]


def test_nested_dense_layers_whose_widths_fit_in_several_orders_are_refused(tmp_path):
    source = changed(tmp_path, with_nested_head((64, 16, 16, 16, 5), {1}))

    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "fit in several" in result.stderr


def test_nested_dense_layers_that_do_not_follow_each_other_are_refused(tmp_path):
    def change(file):
        with_nested_head((64, 16, 5), {0})(file)
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = np.ones((17, 5), "f4")

    result = run(changed(tmp_path, change), tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "follow each other in none" in result.stderr


def test_a_prelu_whose_place_the_container_does_not_tell_is_refused(tmp_path):
    def change(file):
        with_nested_head((64, 16, 5), {})(file)
        variables = file.create_group("layers/p_re_lu/vars")
        variables.attrs["name"] = "slopes"
        variables["0"] = np.ones(16, "f4")

    result = run(changed(tmp_path, change), tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "where 'slopes' stands is not in the file" in result.stderr


def test_a_model_class_of_its_own_is_refused_with_the_names_of_its_parts(tmp_path):
    """It was said to be no Keras file; its layers are held by attributes."""

    def change(file):
        file.move("layers", "base/layers")
        file.create_group("vars")
        file.create_group("fc/vars").attrs["name"] = "dense"
        file["fc/vars/0"], file["fc/vars/1"] = np.ones((64, 5), "f4"), np.ones(5, "f4")

    result = run(changed(tmp_path, change), tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "is of a model class of its own" in result.stderr
    assert "a part: base" in result.stderr
    assert "a part: fc" in result.stderr


def test_kernels_in_half_precision_are_said_to_have_been_computed_with(tmp_path):
    def change(file):
        for group in file["layers"].values():
            for number in list(group["vars"]):
                values = group["vars"][number][()]
                del group["vars"][number]
                group["vars"][number] = values.astype("f2")

    network, _ = converted(changed(tmp_path, change))

    assert facts(network)["precision"] == ("float32", "default")
    assert "precision" not in facts(converted(SHARDED)[0])
