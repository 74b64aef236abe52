"""Convolutions in front of a stem: grey pictures, or many bands, for three channels."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from edits import assert_general, assert_refused, edited, reconfigured, run
from helpers import converted, facts, fixture, pictures_of, record
from test_picture_layers import KERAS_2, in_front, keras_3, logits, pictures, renamed, tensor

from converter.formats.plain import plain_obstacles
from resnet_pt import ResNet
from resnet_pt.architecture import Architecture, Conv, Front
from resnet_pt.check import problems

KERAS_3 = fixture("keras-3.15-conv_block-50")
CONV = {
    "filters": 3,
    "kernel_size": [3, 3],
    "strides": [1, 1],
    "padding": "same",
    "dilation_rate": [1, 1],
    "groups": 1,
    "activation": "relu",
    "use_bias": True,
    "trainable": True,
}
NORM = {"axis": -1, "epsilon": 0.001, "momentum": 0.99, "center": True, "scale": True}
PARTS = {"BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance")}


def with_front(*layers: Any) -> Any:
    """Set layers, (class, name, configuration), between a model's grey input and its stem."""

    def change(file: Any) -> None:
        config = json.loads(file.attrs["model_config"])
        sources = ["INPUT", *(name for _, name, _ in layers)]
        made = [
            {**keras_3(kind, name, settings, tensor(source)), "module": "keras.layers"}
            for (kind, name, settings), source in zip(layers, sources, strict=False)
        ]
        in_front(made)(config)
        config["config"]["layers"][0]["config"]["batch_shape"][-1] = 1
        file.attrs["model_config"] = json.dumps(config)
        for kind, name, settings in layers[::-1]:
            add_weights(file["model_weights"], kind, name, settings)

    return change


def add_weights(root: Any, kind: str, name: str, settings: Any) -> None:
    generator = np.random.default_rng(len(name))
    group = root.create_group(name)
    arrays: dict[str, Any] = {}
    if kind == "Conv2D":
        shape = (*settings["kernel_size"], 3 if name == "second" else 1, settings["filters"])
        arrays["kernel"] = generator.normal(size=shape)
        arrays["bias"] = generator.normal(size=settings["filters"])
    for part in PARTS.get(kind, ()):
        arrays[part] = generator.uniform(0.5, 1.5, 3)
    group.attrs["weight_names"] = [f"{name}/{part}" for part in arrays]
    for part, values in arrays.items():
        group[f"{name}/{part}"] = values.astype("f4")
    names = list(root.attrs["layer_names"])
    root.attrs["layer_names"] = [names[0], name, *names[1:]]


@pytest.mark.slow
def test_a_convolution_in_front_is_part_of_the_network(tmp_path):
    path = edited(KERAS_3, tmp_path, with_front(("Conv2D", "grey", CONV)))

    result = run(path, tmp_path / "out.pth", "--require-parity")

    assert result.exit_code == 0, result.stderr
    assert "equal to Keras itself" in result.stderr
    network, tensors = converted(path)
    assert network.architecture.stem.front == (
        Front(Conv(1, 3, (3, 3), padding=1, bias=True), "relu"),
    )
    assert network.architecture.in_channels == 1
    assert facts(network)["front"] == ("3x3/1 of 1 → 3 channels, relu", "model_config")
    assert "preprocessing" not in facts(network)
    x = pictures(KERAS_3)[..., :1]
    kernel, bias = (
        torch.from_numpy(tensors[f"front.0.{one}"]).double() for one in ("weight", "bias")
    )
    first = torch.conv2d(torch.from_numpy(x.transpose(0, 3, 1, 2)), kernel, bias, padding=1).relu()
    wanted = logits(*converted(KERAS_3), first.numpy().transpose(0, 2, 3, 1))
    np.testing.assert_allclose(
        logits(network, tensors, x), wanted, rtol=0, atol=1e-9 * abs(wanted).max()
    )


@pytest.mark.slow
def test_several_and_their_norms_are(tmp_path):
    layers = (
        ("Conv2D", "one", {**CONV, "activation": "linear"}),
        ("BatchNormalization", "normed", NORM),
        ("Conv2D", "second", {**CONV, "strides": [2, 2], "activation": "tanh"}),
    )
    path = edited(KERAS_3, tmp_path, with_front(*layers))

    result = run(path, tmp_path / "out.pth", "--require-parity")

    assert result.exit_code == 0, result.stderr
    assert "equal to Keras itself" in result.stderr
    one, two = converted(path)[0].architecture.stem.front
    assert (one.norm is not None, one.activation) == (True, "linear")
    assert (two.norm, two.activation, two.conv.padding) == (None, "tanh", "same")


def test_a_wrong_kernel_in_front_is_found(tmp_path):
    path = edited(KERAS_3, tmp_path, with_front(("Conv2D", "grey", CONV)))
    network, tensors = converted(path)
    x = pictures(KERAS_3)[..., :1]
    right = logits(network, tensors, x)
    turned = {**tensors, "front.0.weight": tensors["front.0.weight"][:, :, ::-1, ::-1].copy()}
    assert np.abs(logits(network, turned, x) - right).max() > 1e-3 * np.abs(right).max()


@pytest.mark.keras
def test_an_activation_that_no_residual_network_has_is_a_general_ones(tmp_path):
    path = edited(KERAS_3, tmp_path, with_front(("Conv2D", "grey", {**CONV, "activation": "mish"})))

    assert_general(path, tmp_path / "out.pth")


@pytest.mark.slow
def test_weights_alone_with_one_are_refused_by_name(tmp_path):
    path = edited(KERAS_3, tmp_path, with_front(("Conv2D", "grey", CONV)))
    alone = edited(path, tmp_path, lambda file: None, alone=True, name="alone.h5")

    result = run(alone, tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "unknown: grey" in result.stderr


def architecture(**changes: Any) -> Architecture:
    found = converted(KERAS_3)[0].architecture
    front = replace(Front(Conv(1, 3, (1, 1))), **changes)
    return replace(found, stem=replace(found.stem, front=(front,)))


@pytest.mark.slow
def test_what_does_not_fit_is_said():
    assert problems(architecture()) == []
    assert problems(architecture(conv=Conv(1, 4, (1, 1)))) == ["conv1 reads 3 channels, and 4 come"]
    assert problems(architecture(activation="mish")) == [
        "front.2 has an activation that is not known: 'mish'"
    ]


def test_it_survives_the_description_and_is_in_no_other_library():
    found = architecture(activation="relu")
    assert Architecture.from_dict(found.to_dict()) == found
    assert "1 convolutions in front of the stem" in plain_obstacles(found)
    assert ResNet(found)(torch.zeros(1, 1, 64, 64)).shape == (1, found.classes)


REPEATED = {
    "Keras 3": (KERAS_3, keras_3("Repeat", "repeat", {"repeats": 3, "axis": -1}, tensor("INPUT"))),
    "tf.repeat": (KERAS_2, {"function": "repeat"}),
    "tf.image.grayscale_to_rgb": (KERAS_2, {"function": "image.grayscale_to_rgb"}),
}


@pytest.mark.parametrize("case", REPEATED)
def test_a_grey_picture_that_is_repeated_is_one_of_three_channels(case, tmp_path):
    path, made = REPEATED[case]
    if path == KERAS_2:
        given = {"repeats": 3, "axis": -1} if case == "tf.repeat" else {}
        made = {
            "class_name": "TFOpLambda",
            "name": "repeat",
            "config": {"name": "repeat", **made},
            "inbound_nodes": [["INPUT", 0, 0, given]],
        }

    def change(config: Any) -> None:
        in_front([renamed(made, "", "")])(config)
        first = config["config"]["layers"][0]["config"]
        first["batch_shape" if "batch_shape" in first else "batch_input_shape"][-1] = 1

    network, tensors = converted(reconfigured(path, tmp_path, change))

    assert network.architecture.stem.channels == (0, 0, 0)
    grey = pictures_of(record(path))[:1, ..., :1].astype(np.float64)
    wanted = logits(*converted(path), np.repeat(grey, 3, axis=-1))
    np.testing.assert_array_equal(logits(network, tensors, grey), wanted)


@pytest.mark.slow
def test_a_norm_with_renorm_is_named(tmp_path):
    def change(config: Any) -> None:
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "BatchNormalization":
                layer["config"]["renorm"] = True

    result = run(reconfigured(KERAS_3, tmp_path, change), tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "renorm=True keeps statistics of another kind" in result.stderr
