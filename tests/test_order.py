"""Layers without names of their own: placed by order and shapes, and never by a guess."""

from __future__ import annotations

import zipfile

import h5py
import numpy as np
import pytest
from edits import assert_refused, edited, replaced, run
from helpers import FIXTURES, as_text, converted, facts, fixture, opened, weights_only

from converter.conversion import convert
from converter.discover import modules
from converter.errors import MismatchError
from converter.files.shapes import KernelLayout, Shapes
from converter.files.source import read_here
from converter.parity.comparing.torch_run import build
from converter.parity.comparing.torch_run import run as run_network
from converter.weights_only.from_order import match_order

AUTO = fixture("keras-2.3.1-auto-named")
FIRST_STAGE = "conv2d_11"
"""The last convolution of the first stage."""


def names_of(file):
    return [as_text(name) for name in file.attrs["layer_names"]]


def only_the_first_stage(file):
    names = names_of(file)
    last = names.index(FIRST_STAGE) + 4  # its norm, sum and activation
    file.attrs["layer_names"] = [*names[:last], "average_pooling2d_1", "flatten_1", "dense_1"]
    replaced(file, "dense_1/dense_1/kernel:0", np.ones((8, 10), "f4"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dialect"),
    [
        ("keras-2.3.1-auto-named", "auto-main-first"),
        ("keras-2.3.1-cifar-v1", "cifar-v1"),
        ("keras-2.3.1-cifar-v2", "cifar-v2"),
    ],
)
def test_every_layer_is_where_the_graph_has_it(name, dialect, tmp_path):
    """What a block's shortcut reads is told by no order."""
    with opened(fixture(name)) as (_, whole):
        pass
    with opened(weights_only(fixture(name), tmp_path)) as (_, network):
        assert network.dialect == dialect
        assert dict(network.structure.layers) == dict(whole.structure.layers)
        assert facts(network)["network"] == (dialect, "default")


def test_paddings_that_are_listed_tell_networks_of_one_order_apart(tmp_path):
    """keras-cv pads within its convolutions, and keras-applications in layers."""
    path = FIXTURES / "keras-2.15-v2.keras"
    source = tmp_path / "model.weights.h5"
    with zipfile.ZipFile(path) as file:
        source.write_bytes(file.read("model.weights.h5"))

    for weights, naming in (
        (source, "conv-block-v2"),
        (FIXTURES / "keras-cv-0.9.0-v2.weights.h5", "keras-cv-v2"),
    ):
        with opened(weights) as (_, network):
            assert network.dialect == naming
            reason = next(one.reason for one in network.facts if one.name == "network")
            assert "they fit" not in reason


@pytest.mark.slow
def test_what_could_be_either_is_refused_and_can_be_said(tmp_path):
    """In stage 1 a block's last convolution and its projection have one shape."""
    source = edited(AUTO, tmp_path, only_the_first_stage, alone=True)

    refused = run(source, tmp_path / "out.pth", "--no-parity")
    said = {
        network: converted(source, network=network)[0].structure.layers
        for network in ("auto-main-first", "auto-shortcut-first")
    }

    assert_refused(refused, 5, tmp_path / "out.pth")
    assert "as auto-main-first or as auto-shortcut-first" in refused.stderr
    assert "layer1.0.conv3: conv2d_4 or conv2d_5" in refused.stderr
    assert said["auto-main-first"]["layer1.0.conv3"] == "conv2d_4"
    assert said["auto-shortcut-first"]["layer1.0.conv3"] == "conv2d_5"


@pytest.mark.slow
@pytest.mark.parametrize(("one", "other"), [("conv2d_20", "conv2d_22"), ("conv2d_2", "conv2d_3")])
def test_layers_in_another_order_are_refused(one, other, tmp_path):
    def swap(file):
        swapped = {one: other, other: one}
        file.attrs["layer_names"] = [swapped.get(name, name) for name in names_of(file)]

    source = edited(AUTO, tmp_path, swap, alone=True)

    assert_refused(run(source, tmp_path / "out.pth", "--no-parity"), 5, tmp_path / "out.pth")


@pytest.mark.slow
def test_a_missing_layer_is_refused(tmp_path):
    def drop(file):
        file.attrs["layer_names"] = [one for one in names_of(file) if one != "conv2d_30"]

    source = edited(AUTO, tmp_path, drop, alone=True)

    assert_refused(run(source, tmp_path / "out.pth", "--no-parity"), 5, tmp_path / "out.pth")


def own_names(file):
    """Every layer under a name that its owner made up, and that no table has."""
    names = names_of(file)
    for name in names:
        file.move(name, f"my_{name}")
    file.attrs["layer_names"] = [f"my_{name}" for name in names]


@pytest.mark.slow
def test_names_of_its_own_are_not_read_by_order_unless_it_is_said(tmp_path):
    source = edited(AUTO, tmp_path, own_names, alone=True)
    _, expected = converted(AUTO)

    refused = run(source, tmp_path / "out.pth", "--no-parity")
    network, tensors = converted(source, network="auto-main-first")

    assert_refused(refused, 5, tmp_path / "out.pth")
    assert facts(network)["network"] == ("auto-main-first", "set by the user")
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, expected[name], err_msg=name)


@pytest.mark.slow
def test_an_unknown_network_is_named_with_those_that_are_known(tmp_path):
    result = run(weights_only(AUTO, tmp_path), tmp_path / "out.pth", "--network", "alexnet")

    assert_refused(result, 2, tmp_path / "out.pth")
    assert "known are auto-main-first" in result.stderr


def test_a_stem_without_padding_layers_is_not_padded(tmp_path):
    def unpad(file):
        file.attrs["layer_names"] = [one for one in names_of(file) if "padding" not in one]

    source = edited(AUTO, tmp_path, unpad, alone=True)

    with opened(source) as (_, network):
        assert facts(network)["stem"] == ("7x7/2, 'same' as in TensorFlow", "default")


def test_a_layer_before_the_first_convolution_is_told(tmp_path):
    def rescale(file):
        file.create_group("rescaling").attrs["weight_names"] = np.zeros(0)
        file.attrs["layer_names"] = ["input_1", "rescaling", *names_of(file)[1:]]

    with opened(edited(AUTO, tmp_path, rescale, alone=True)) as (_, network):
        assert facts(network)["input"][1] == "default"
        assert any("rescaling" in fact.reason for fact in network.facts)


def test_the_file_keeps_its_layers_in_order():
    """What the edits above rely on."""
    with h5py.File(AUTO) as file:
        names = names_of(file["model_weights"])
    assert names.index(FIRST_STAGE) == names.index("conv2d_12") - 4


@pytest.mark.slow
def test_a_projection_that_does_not_read_the_block_is_in_no_order(tmp_path):
    def narrow(file):
        path = "conv2d_15/conv2d_15/kernel:0"
        replaced(file, path, file[path][:, :, :-1])

    source = edited(AUTO, tmp_path, narrow, alone=True, name="narrow.h5")
    dialects = [module.DIALECT for module in modules("converter.weights_only.dialects")]

    with read_here(source) as checkpoint, read_here(weights_only(AUTO, tmp_path)) as right:
        assert match_order(right, Shapes(right, KernelLayout()), dialects) != []
        assert match_order(checkpoint, Shapes(checkpoint, KernelLayout()), dialects) == []


ORDERS = ("auto-main-first", "auto-shortcut-first")


def recorded(source, network, path):
    """A record of the logits that one reading of a file gives."""
    found, tensors = converted(source, network=network)
    pictures = np.random.default_rng(1).uniform(-1, 1, (2, 32, 32, 3)).astype("f4")
    logits = run_network(build(found.architecture, tensors), pictures, "float32", "cpu")
    np.savez(path, input=pictures, logits=logits[""])
    return path


@pytest.mark.slow
@pytest.mark.parametrize("original", ORDERS)
def test_a_record_decides_which_of_two_readings_it_is(original, tmp_path):
    source = edited(AUTO, tmp_path, only_the_first_stage, alone=True)
    record = recorded(source, original, tmp_path / "record.npz")

    report = convert(
        source, tmp_path / "out.pth", against=record, device="cpu", allow=["constant-kernel"]
    )

    assert report.verdict == "equal"
    assert facts(report.network)["network"] == (original, "record")
    assert report.network.dialect == original


@pytest.mark.slow
@pytest.mark.parametrize("dry_run", [True, False])
def test_a_record_that_decides_nothing_leaves_two_readings_refused(dry_run, tmp_path):
    """What came out of a softmax proves no logits, and here it is another network's."""
    source = edited(AUTO, tmp_path, only_the_first_stage, alone=True)
    pictures = np.zeros((1, 64, 64, 3), "f4")
    np.savez(tmp_path / "record.npz", input=pictures, output=np.eye(10, dtype="f4")[:1])

    with pytest.raises(MismatchError, match="can be read in several ways"):
        convert(source, tmp_path / "out.pth", against=tmp_path / "record.npz", dry_run=dry_run)
    assert not (tmp_path / "out.pth").exists()
