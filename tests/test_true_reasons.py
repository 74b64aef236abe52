"""A refusal says why, and what it proposes is true: no hint leads to another refusal."""

from __future__ import annotations

import ast
import importlib.util
import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from edits import assert_general, assert_refused, edited, layer, reconfigured, run
from helpers import as_text, fixture, opened

from converter.errors import MismatchError
from converter.whole_model.keras_classes import CUSTOM, KERAS
from converter.whole_model.layer_classes import OPS, op_of
from converter.whole_model.ops import Unknown

PATH = fixture("keras-2.2.4-tensorflow")
PREACTIVATED = fixture("keras-2.3.1-qubvel-18")
ROOT = Path(__file__).parent.parent


def added(class_name, name, *sources, **config):
    """A layer of Keras 2, for a configuration."""
    call = [[source, 0, 0, {}] for source in sources]
    config = {"name": name, **config}
    return {"class_name": class_name, "name": name, "config": config, "inbound_nodes": [call]}


# ---- Keras' own classes, of every age


def exported():
    """What `keras.layers` of the installed Keras exports, read and not imported."""
    spec = importlib.util.find_spec("keras")
    path = Path(spec.submodule_search_locations[0]) / "_tf_keras" / "keras" / "layers"
    tree = ast.parse((path / "__init__.py").read_text())
    imports = [one for node in tree.body if isinstance(node, ast.ImportFrom) for one in node.names]
    return {one.name for one in imports if one.name[0].isupper()}


@pytest.mark.keras
def test_every_class_of_the_installed_keras_is_known_to_be_its_own():
    bases = {"Layer", "Wrapper", "InputSpec", "Input"}

    assert exported() - bases - KERAS == set()
    assert len(exported()) > 100


@pytest.mark.parametrize("name", ["Conv1D", "LSTM", "Cropping3D", "MaxoutDense", "Deconvolution2D"])
def test_keras_own_class_is_no_class_of_a_projects_own(name):
    op = op_of(name, {})

    assert isinstance(op, Unknown)
    assert not op.is_custom
    assert "it is Keras' own" in op.reason


@pytest.mark.parametrize("name", ["MyBlock", "package>Conv1D", "package>ResNetBackbone"])
def test_a_registered_class_is_the_projects_own_whatever_it_is_called(name):
    assert op_of(name, {}) == Unknown(name, CUSTOM)


def test_no_class_that_is_read_is_said_not_to_be():
    assert {name for name in OPS if name not in KERAS} == {"BatchNorm", "Scale"}


def sequences(config):
    """In the place of the network: a convolution along a sequence, and nothing else."""
    config["config"]["layers"] = [
        layer(config, "input_1"),
        added("Conv1D", "conv1d", "input_1", kernel_size=[3]),
        added("GlobalAveragePooling1D", "pool", "conv1d"),
    ]
    config["config"]["output_layers"] = [["pool", 0, 0]]


def test_a_network_of_sequences_is_said_to_be_one(tmp_path):
    result = run(reconfigured(PATH, tmp_path, sequences), tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "'conv1d' (Conv1D): it reads 2 axes behind the batch, and 3 come" in result.stderr
    assert "of its own" not in result.stderr


def test_an_operator_of_keras_is_no_class_of_a_projects_own(tmp_path):
    def change(config):
        node = {"class_name": "Einsum", "name": "einsum", "config": {"name": "einsum"}}
        sequences(config)
        config["config"]["layers"][1:] = [
            {**node, "module": "keras.src.ops.numpy", "inbound_nodes": [[["input_1", 0, 0, {}]]]}
        ]
        config["config"]["output_layers"] = [["einsum", 0, 0]]

    result = run(reconfigured(PATH, tmp_path, change), tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "'einsum' (Einsum): it is an operator of Keras' own" in result.stderr


# ---- what the kernels of weights alone are of


def weights(path, **layers):
    """Weights alone, `{layer: {parameter: shape}}`."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        for name, arrays in layers.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{one}:0".encode() for one in arrays]
            for one, shape in arrays.items():
                group[f"{name}/{one}:0"] = np.ones(shape, "f4")
    return path


LSTM = {"kernel": (8, 64), "recurrent_kernel": (16, 64), "bias": (64,)}


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (
            {"c": {"kernel": (5, 1, 8)}, "e": {"kernel": (3, 8, 8)}, "d": {"kernel": (8, 2)}},
            "0 convolutions, 2 1-D convolutions and 1 Dense layers",
        ),
        ({"c": {"kernel": (3, 3, 3, 1, 4)}}, "0 convolutions, 1 3-D convolutions and 0 Dense"),
        ({"c": LSTM, "d": {"kernel": (8, 2)}}, "0 convolutions, 1 recurrent layers and 1 Dense"),
        ({"c": {"kernel": (3, 3, 1, 8)}, "d": {"kernel": (8, 2)}}, "1 convolutions and 1 Dense"),
    ],
)
def test_only_dense_kernels_are_counted_as_dense_layers(layers, words, tmp_path):
    with pytest.raises(MismatchError) as refused, opened(weights(tmp_path / "w.h5", **layers)):
        pass

    assert f"it looks like a network of {words}" in str(refused.value)
    is_read = "recurrent" not in words
    assert ("--config model.json" in str(refused.value)) == is_read
    assert ("recurrent layers are not read yet" in str(refused.value)) != is_read


# ---- what stands where a block ends


def before_the_sum(class_name, way, **settings):
    """One more layer at the end of one of the two ways into the second sum."""

    def change(config):
        layers = config["config"]["layers"]
        add = layer(config, "add_2")
        source = add["inbound_nodes"][0][way]
        layers.insert(layers.index(add), added(class_name, "extra", source[0], **settings))
        source[0] = "extra"

    return change


@pytest.mark.keras
def test_a_relu_before_a_sum_is_a_general_networks(tmp_path):
    change = before_the_sum("Activation", 0, activation="relu")

    assert_general(reconfigured(PATH, tmp_path, change), tmp_path / "out.pth")


def test_a_pad_before_a_sum_is_refused_for_the_shapes_that_meet(tmp_path):
    change = before_the_sum("ZeroPadding2D", 1, padding=[[1, 0], [0, 1]])

    result = run(reconfigured(PATH, tmp_path, change), tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "'add_2' (Add): it puts sides of 56 and 57 together" in result.stderr
    assert "is missing" not in result.stderr


# ---- what is proposed


def with_decoder(file):
    """Weights alone, and behind them a convolution of the project's own."""
    names = [as_text(name) for name in file.attrs["layer_names"]]
    body = [name for name in names if not name.startswith(("fc", "softmax", "pool1_avg"))]
    first = next(name for name in names if name in ("res2a_branch2b", "stage1_unit1_conv1"))
    file.copy(first, "decoder_conv")
    file.create_group("decoder_upsampling").attrs["weight_names"] = []
    file.attrs["layer_names"] = [*body, "decoder_upsampling", "decoder_conv"]


def ending_behind(name):
    """What `keras.Model(model.input, model.get_layer(NAME).output)` saves."""

    def change(file):
        config = json.loads(file.attrs["model_config"])
        layers = config["config"]["layers"]
        kept = layers[: [one["name"] for one in layers].index(name) + 1]
        config["config"].update(layers=kept, output_layers=[[name, 0, 0]])
        file.attrs["model_config"] = json.dumps(config)
        group = file["model_weights"]
        there = {one["name"] for one in kept}
        names = [as_text(one) for one in group.attrs["layer_names"]]
        group.attrs["layer_names"] = [one for one in names if one in there]

    return change


@pytest.mark.parametrize(
    ("path", "end"), [(PATH, "activation_49"), (PREACTIVATED, "relu1")], ids=["2015", "2016"]
)
def test_the_encoder_that_a_refused_decoder_is_told_of_converts(path, end, tmp_path):
    whole = edited(path, tmp_path, lambda file: None, name="whole.h5")
    alone = edited(path, tmp_path, with_decoder, alone=True)

    refused = run(alone, tmp_path / "out.pth", "--no-parity")
    assert_refused(refused, 5, tmp_path / "out.pth")
    assert "unknown: decoder_conv" in refused.stderr
    assert "what is unknown stands behind the network: its encoder alone is read" in refused.stderr
    (told,) = re.findall(r"model\.get_layer\('(\w+)'\)", refused.stderr)
    assert told == end

    encoder = edited(whole, tmp_path, ending_behind(told), name="encoder.h5")
    done = run(encoder, tmp_path / "out.pth", "--no-parity")
    assert done.exit_code == 0, done.output


def test_a_sum_of_two_inputs_of_other_sizes_is_refused_for_them(tmp_path):

    def change(config):
        second = added("InputLayer", "input_2", batch_input_shape=[None, 64, 64, 3])
        second["inbound_nodes"] = []
        config["config"]["layers"].insert(1, second)
        config["config"]["input_layers"].append(["input_2", 0, 0])
        layer(config, "add_1")["inbound_nodes"][0][1] = ["input_2", 0, 0, {}]

    result = run(reconfigured(PATH, tmp_path, change), tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "'add_1' (Add): it puts sides of 3 and 16 together" in result.stderr


UNCONDITIONAL = {
    "convert the whole model (model.save)": "goes on: what of it is refused too",
    "convert the whole model (.keras)": "a head of Dense layers, whose order alone is not told",
    "convert the whole model (model.save), whose": "the same of a head's norm or PReLU",
    "convert its weights alone (model.save_weights)": "of keras-hub, whose names are a naming",
    "convert it as it was before model.quantize": "that file has plain kernels",
    "convert the weights alone (model.save_weights)": "of keras-resnet, whose names are a naming",
}
"""Hints that propose to convert another file without an 'if', and why they are true."""


def hints():
    """(file, text) of every literal hint of a refusal of what a file holds."""
    rooms = ("recognition", "evidence", "from_names", "from_order", "head_names", "graph", "plan")
    for path in sorted((ROOT / "converter").rglob("*.py")):
        if not any(room in path.parts or path.stem == room for room in rooms):
            continue
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path.name, node.value


def test_no_hint_says_that_something_may_be_read():
    """That was said of a file whose whole model was refused too."""
    assert [text for _, text in hints() if "may be read" in text] == []
    assert [text for _, text in hints() if "inspect-weights" in text] == []


@pytest.mark.parametrize(
    "text",
    sorted(
        {
            text
            for _, text in hints()
            if text.startswith(("convert it", "convert the", "convert a "))
        }
    ),
)
def test_what_is_proposed_without_an_if_is_true_of_every_file_it_is_said_of(text):
    assert any(text.startswith(start) for start in UNCONDITIONAL), text
