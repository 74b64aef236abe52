"""Models of other forms than those of the fixtures, that Keras makes here: what Keras itself, or
the definition that is bundled, is given and gives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import weights_only
from torch import nn

import resnet_pt
from converter.conversion import convert
from converter.errors import ParityError
from converter.parity.comparing import sizes, torch_run

SCRIPTS = Path(__file__).parent.parent / "scripts"

pytestmark = pytest.mark.keras


def made(folder: Path, code: str, suffix: str = ".keras") -> Path:
    """A model that real Keras builds, fills and saves: `code` makes `model` of the legacy network,
    narrow. What it gives for `pictures`, (N, C, H, W) for it where its input is, is beside it, by
    the names of a dict, or as `classes`."""
    path = folder / f"model{suffix}"
    program = f"""
import sys; sys.path.insert(0, {str(SCRIPTS)!r})
import keras, numpy as np
from keras import layers
from legacy_resnet50 import fill, resnet50
{code}
first = model.input_shape[1] == 3
size = model.input_shape[2:] if first else model.input_shape[1:3]
pictures = np.random.default_rng(5).uniform(-100, 100, (2, *size, 3)).astype("float32")
given = model.predict(pictures.transpose(0, 3, 1, 2) if first else pictures, verbose=0)
given = given if isinstance(given, dict) else {{"classes": given}}
np.savez({str(folder / "given.npz")!r}, pictures=pictures, **given)
model.save({str(path)!r})
"""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    return path


DICT = """
body = resnet50(width=4, classes=7)
features = body.layers[-2].output
last = {
    "second": layers.Dense(3, name="a", activation="softmax")(features),
    "first": layers.Dense(3, name="z", activation="sigmoid")(features),
}
model = keras.Model(body.inputs, last)
fill(model)
"""
"""The names' order is neither that in which they are written, nor that of the layers."""

NESTED_DICT = f"""
{DICT}
inputs = keras.Input((224, 224, 3))
returned = model(inputs)
last = {{
    "first": returned["first"],
    "second": layers.Dense(3, name="added", activation="softmax")(returned["second"]),
}}
model = keras.Model(inputs, last)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "softmax"), [(DICT, "a"), (NESTED_DICT, "added")], ids=["dict", "nested"]
)
def test_each_output_of_a_dict_is_keras_own(code, softmax, tmp_path):
    """Keras counts them in the order of their names: it was said to be unable to load the model,
    and a nested one's were taken for each other."""
    source = made(tmp_path, code)
    target = tmp_path / "out.pth"

    report = convert(source, target, device="cpu", require_parity=True)

    assert report.parity.oracle == "Keras itself"
    given = np.load(tmp_path / "given.npz")
    with torch.no_grad():
        found = resnet_pt.load(target)(torch.from_numpy(given["pictures"].transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(found[softmax].softmax(1), given["second"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found["z"].sigmoid(), given["first"], rtol=0, atol=1e-5)


CHANNELS_FIRST = """
body = resnet50(width=4, classes=7)
fill(body)
config = body.get_config()
for layer in config["layers"]:
    layer.pop("build_config", None)  # of the other shapes
    settings = layer["config"]
    if "data_format" in settings:
        settings["data_format"] = "channels_first"
    if layer["class_name"] == "BatchNormalization":
        settings["axis"] = 1
    if layer["class_name"] == "InputLayer":
        settings["batch_shape"] = (None, 3, 224, 224)
stage = body.get_layer("res3a_branch2a").input._keras_history.operation.name
config["output_layers"] = {"stage": [stage, 0, 0], "classes": ["fc1000", 0, 0]}
model = keras.Model.from_config(config)
model.set_weights(body.get_weights())
"""


@pytest.fixture(scope="module")
def channels_first(tmp_path_factory):
    return made(tmp_path_factory.mktemp("keras"), CHANNELS_FIRST)


@pytest.mark.slow
def test_a_model_of_channels_first_is_asked_itself(channels_first, tmp_path):
    """It was given (N, H, W, C), and said not to be loaded."""
    target = tmp_path / "out.pth"

    report = convert(channels_first, target, device="cpu", require_parity=True)

    assert report.parity.oracle == "Keras itself"
    assert len(report.parity.layers) > 100
    assert all(one.own and one.own.relative < 1e-13 for one in report.parity.layers)
    given = np.load(channels_first.parent / "given.npz")
    with torch.no_grad():
        found = resnet_pt.load(target)(torch.from_numpy(given["pictures"].transpose(0, 3, 1, 2)))
    (stage,) = set(found) - {"fc1000"}
    scale = np.abs(given["stage"]).max()
    np.testing.assert_allclose(found[stage], given["stage"], rtol=0, atol=1e-5 * scale)
    np.testing.assert_allclose(found["fc1000"].softmax(1), given["classes"], rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("module", ["conv1", "layer2.0.conv2"])
def test_a_wrong_convolution_in_it_is_named(module, channels_first, tmp_path, monkeypatch):
    """The anti-test: one kernel is turned on its side, which the shapes do not show."""
    build = torch_run.build

    def build_wrong(*arguments):
        model = build(*arguments)
        weight = model.get_submodule(module).weight
        weight.data = weight.data.transpose(2, 3).contiguous()
        return model

    monkeypatch.setattr(torch_run, "build", build_wrong)

    with pytest.raises(ParityError) as error:
        convert(channels_first, tmp_path / "out.pth", device="cpu")

    parity = error.value.report.parity
    assert parity.oracle == "Keras itself"
    assert parity.diagnosis == "height and width of its kernel are swapped"


FLATTENED = """
body = resnet50(width=4, classes=7)
fill(body)
features = keras.Model(body.inputs, body.get_layer("avg_pool").input)
config = features.get_config()
for layer in config["layers"]:
    layer.pop("build_config", None)
config["layers"][0]["config"]["batch_shape"] = (None, 64, 96, 3)
small = keras.Model.from_config(config)
small.set_weights(features.get_weights())
flat = layers.Flatten(name="flat")(small.output)
model = keras.Model(small.inputs, layers.Dense(3, name="last", activation="softmax")(flat))
"""
"""Of a map of 2x3 pixels."""


@pytest.fixture(scope="module")
def flattened(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keras")
    return weights_only(made(folder, FLATTENED, ".h5"), folder)


@pytest.mark.slow
def test_weights_behind_a_flattened_map_are_proven_with_pictures_that_fit(flattened, tmp_path):
    """They were not compared: the pictures were of 224x224."""
    target = tmp_path / "out.pth"

    report = convert(flattened, target, device="cpu")

    assert report.verdict == "consistent"
    assert report.parity.oracle == "the bundled Keras definition"
    assert {one.shape for one in report.parity.comparisons} == {(1, 64, 96, 3)}
    given = np.load(flattened.parent / "given.npz")
    with torch.no_grad():
        found = resnet_pt.load(target)(torch.from_numpy(given["pictures"].transpose(0, 3, 1, 2)))
    allowed = 1e-5 * max(1.0, float(found.abs().max()))  # of the largest logit, as the proof has it
    np.testing.assert_allclose(found.softmax(1), given["classes"], rtol=0, atol=allowed)


@pytest.mark.slow
def test_a_flatten_in_another_order_is_noticed(flattened, tmp_path, monkeypatch):
    """The anti-test."""
    build = torch_run.build

    def build_wrong(*arguments):
        model = build(*arguments)
        (flat,) = [name for name, _ in model.head.named_children() if name != "last"]
        model.head[flat] = nn.Flatten(1)
        return model

    monkeypatch.setattr(torch_run, "build", build_wrong)

    with pytest.raises(ParityError, match="the first layer that differs is last"):
        convert(flattened, tmp_path / "out.pth", device="cpu")


@pytest.mark.slow
def test_a_destination_is_compared_with_pictures_that_fit(flattened, tmp_path):
    report = convert(flattened, tmp_path / "out.pt2", to="pt2", device="cpu")

    assert report.delivery.passes
    assert {one.shape for one in report.delivery.comparisons} == {(3, 3, 64, 96)}
    assert any("other sizes than 64x96" in loss for loss in report.delivery.losses)


def test_that_no_picture_fits_is_said(flattened, tmp_path, monkeypatch):
    monkeypatch.setattr(sizes, "LARGEST_SIDE", 64)

    report = convert(flattened, tmp_path / "out.pth", device="cpu")

    assert report.verdict == "not compared"
    assert report.parity.reason == (
        "no picture of up to 64x64 becomes a map of 128 channels of which 'last' can read 768 "
        "numbers"
    )
