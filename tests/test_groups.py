"""Grouped convolutions that are written as slices, a Conv2D of each, and a Concatenate."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from edits import edited, layer, reconfigured, replaced, run
from helpers import converted, facts, fixture, weights_only

from converter.files.source import read_here

PATH = fixture("keras-2.3.1-qubvel-resnext")
RECORD = PATH.with_suffix(".npz")
GROUPS = 4


def groups(path):
    """The number of groups of each kernel that was joined."""
    with read_here(path) as checkpoint:
        kernels = [one for one in checkpoint.weights if one.parameter == "kernel"]
        return [one.pieces for one in kernels if one.pieces > 1]


def refusal(path, folder):
    result = run(path, folder / "out.pth", "--no-parity")
    assert result.exit_code == 5
    return result.output


def test_the_kernels_of_the_groups_are_side_by_side():
    network, tensors = converted(PATH)
    conv = network.architecture.stages[0][0].convs[1]
    assert conv.groups == GROUPS
    weight = tensors["layer1.0.conv2.weight"]
    with h5py.File(PATH) as file:
        for group in range(GROUPS):
            name = f"conv2d_{group + 1}"
            kernel = file[f"model_weights/{name}/{name}/kernel:0"][:]  # height, width, in, out
            mine = weight[group * kernel.shape[3] : (group + 1) * kernel.shape[3]]
            assert np.array_equal(mine, kernel.transpose(3, 2, 0, 1))


def test_every_array_is_used_once():
    with read_here(PATH) as checkpoint, h5py.File(PATH) as file:
        paths = [path for one in checkpoint.weights for path in one.path.split(" + ")]
        names = file["model_weights"].visititems
        found: list[str] = []
        names(lambda name, one: found.append(name) if isinstance(one, h5py.Dataset) else None)
    assert sorted(paths) == sorted(f"model_weights/{name}" for name in found)


def test_weights_alone_are_the_same_network(tmp_path):
    whole, tensors = converted(PATH)
    alone, others = converted(weights_only(PATH, tmp_path))
    assert alone.dialect == "resnext-unit"
    assert alone.architecture.stages == whole.architecture.stages
    assert tensors.keys() == others.keys()
    assert all(np.array_equal(tensors[name], others[name]) for name in tensors)


def test_that_their_code_is_not_looked_at_is_said():
    network, _ = converted(PATH)
    assert facts(network)["custom code"] == (
        "grouped convolutions, as image-classifiers slices them",
        "default",
    )
    [reason] = [fact.reason for fact in network.facts if fact.name == "custom code"]
    assert reason.startswith("24 Lambda layers are taken for the slices that the groups of 6 conv")


def test_arrays_are_read_in_any_order():
    with read_here(PATH) as checkpoint:
        joined = [one for one in checkpoint.weights if one.pieces > 1][:2]
        plain = [one for one in checkpoint.weights if one.pieces == 1][:2]
        wanted = [joined[1], plain[0], joined[0], plain[1]]
        read = list(checkpoint.arrays(wanted))
        again = dict(checkpoint.arrays(plain + joined))
    assert [weight for weight, _ in read] == wanted
    assert all(np.array_equal(array, again[weight]) for weight, array in read)
    assert all(array.shape == weight.shape for weight, array in read)


def test_within_a_nested_base_the_names_alone_tell_them(tmp_path):
    def nest(file):
        inside = [name for name in list(file) if name not in ("fc1", "softmax", "pool1")]
        names = [weight for name in file.attrs["layer_names"] for weight in listed(file, name)]
        base = file.create_group("model_1")
        for name in inside:
            for one in file[name]:
                file.copy(f"{name}/{one}", base)
            del file[name]
        base.attrs["weight_names"] = [one for one in names if not one.startswith(b"fc1/")]
        file.attrs["layer_names"] = [b"model_1", b"pool1", b"fc1", b"softmax"]

    def listed(file, name):
        return [bytes(one) for one in file[name].attrs["weight_names"]]

    _, tensors = converted(PATH)
    network, others = converted(edited(PATH, tmp_path, nest, alone=True))
    assert network.dialect == "resnext-unit"
    assert all(np.array_equal(tensors[name], others[name]) for name in tensors)


@pytest.mark.parametrize("place", ["lambda_1", "concatenate_1"])
def test_weights_alone_without_the_layers_around_them_are_refused(place, tmp_path):
    def rename(file):
        names = [bytes(name) for name in file.attrs["layer_names"]]
        names[names.index(place.encode())] = b"another_1"
        file.attrs["layer_names"] = names
        file.create_group("another_1").attrs["weight_names"] = file[place].attrs["weight_names"]

    path = edited(PATH, tmp_path, rename, alone=True)
    assert groups(path) == [GROUPS] * 5
    assert "conv2d_1" in refusal(path, tmp_path)


def test_a_concatenate_in_the_head_is_not_passed_over(tmp_path):
    def add(file):
        names = [bytes(name) for name in file.attrs["layer_names"]]
        names.insert(names.index(b"fc1"), b"concatenate_9")
        file.attrs["layer_names"] = names
        file.create_group("concatenate_9").attrs["weight_names"] = np.zeros(0, "S1")

    path = edited(PATH, tmp_path, add, alone=True)
    assert groups(path) == [GROUPS] * 6
    assert "concatenate_9" in refusal(path, tmp_path)


def swap_spans(config, names=("lambda_1", "lambda_2")):
    one, other = (layer(config, name)["config"]["arguments"] for name in names)
    one["start"], other["start"] = other["start"], one["start"]
    one["stop"], other["stop"] = other["stop"], one["stop"]


def swap_later_spans(config):
    swap_spans(config, ("lambda_2", "lambda_3"))


def leave_out(config):
    layer(config, "lambda_4")["config"]["arguments"]["stop"] -= 1


def another_argument(config):
    layer(config, "lambda_1")["config"]["arguments"]["step"] = 2


def swap_joined(config):
    [call] = layer(config, "concatenate_1")["inbound_nodes"]
    call[0], call[1] = call[1], call[0]


def another_source(config):
    layer(config, "lambda_2")["inbound_nodes"] = [[["stage1_unit1_relu1", 0, 0, {}]]]


def another_axis(config):
    layer(config, "concatenate_1")["config"]["axis"] = 2


def unlike(config):
    layer(config, "conv2d_2")["config"]["dilation_rate"] = [2, 2]


def another_class(config):
    layer(config, "conv2d_3")["class_name"] = "SeparableConv2D"


@pytest.mark.parametrize(
    "change",
    [
        swap_spans,
        swap_later_spans,
        leave_out,
        another_argument,
        swap_joined,
        another_source,
        another_axis,
        unlike,
        another_class,
    ],
)
def test_what_is_not_to_the_letter_is_refused(change, tmp_path):
    path = reconfigured(PATH, tmp_path, change)
    assert groups(path) == [GROUPS] * 5
    assert "(Lambda): it runs a function" in refusal(path, tmp_path)


def test_a_slice_that_another_layer_reads_too_is_refused(tmp_path):
    def read_twice(config):
        layer(config, "zero_padding2d_4")["inbound_nodes"] = [[["conv2d_1", 0, 0, {}]]]

    path = reconfigured(PATH, tmp_path, read_twice)
    assert groups(path) == [GROUPS] * 5


def test_kernels_of_two_shapes_are_not_joined(tmp_path):
    def widen(file):
        replaced(file, "conv2d_2/conv2d_2/kernel:0", np.ones((3, 3, 2, 4), "float32"))

    path = edited(PATH, tmp_path, widen, alone=True)
    assert groups(path) == []
    assert "conv2d_1" in refusal(path, tmp_path)


def test_swapped_groups_differ_from_the_record(tmp_path):
    def swap(file):
        root = file["model_weights"]
        one, other = (root[f"conv2d_{n}/conv2d_{n}/kernel:0"] for n in (1, 2))
        one[...], other[...] = other[:], one[:]

    path = edited(PATH, tmp_path, swap)
    result = run(path, tmp_path / "out.pth", "--against", RECORD)
    assert result.exit_code == 1
    assert "the first layer that is known to differ is concatenate_1" in result.output
