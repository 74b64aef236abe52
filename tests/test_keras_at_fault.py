"""An oracle's own fault is not the file's: Keras 3 on TensorFlow, asked a question whose answer is
known."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import h5py
import pytest

from converter.conversion import convert
from converter.errors import ParityError
from converter.parity.original import oracle
from converter.parity.original.keras_twice import TURNED, adds_along_width, asked_twice, in_words

pytestmark = pytest.mark.keras

BOARD = """
import keras, numpy as np, sys
L, first = keras.layers, {"data_format": "channels_first"}
def conv(x, filters, bias, **more):
    return L.Conv2D(filters, 3, padding="same", use_bias=bias, **first, **more)(x)
bias = sys.argv[2] == "bias"
inputs = x = keras.Input((2, 8, 8))
x = L.ReLU()(L.BatchNormalization(axis=1)(conv(x, 8, bias)))
for filters, stride in ((8, 1), (4, 2)):
    y = L.ReLU()(L.BatchNormalization(axis=1)(conv(x, filters, bias, strides=stride)))
    y = L.BatchNormalization(axis=1)(conv(y, filters, bias))
    if stride == 2:
        x = L.Conv2D(filters, 1, strides=2, use_bias=bias, **first)(x)
    x = L.ReLU()(L.Add()([x, y]))
x = L.Dense(5)(L.GlobalAveragePooling2D(**first)(x))
model = keras.Model(inputs, x)
rng = np.random.default_rng(5)
model.set_weights([abs(rng.normal(size=w.shape)) + 0.1 for w in model.weights])
model.save(sys.argv[1])
"""
"""A board of 8x8 and 8 filters, then 4x4 and 4: as many columns as filters throughout."""


def run(code, *arguments):
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "KERAS_BACKEND": "tensorflow"}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def board(folder, version=None, bias="bias"):
    """A whole model of Keras 3, or one that says it is of an older Keras."""
    path = folder / "board.h5"
    run(BOARD, path, bias)
    if version:
        with h5py.File(path, "a") as file:
            file.attrs["keras_version"] = file["model_weights"].attrs["keras_version"] = version
    return path


@pytest.mark.slow
def test_a_bias_that_keras_3_adds_along_the_width_is_not_the_files_fault(tmp_path, monkeypatch):
    """Keras 3 is asked about files of Keras 2 where there is no tf-keras."""
    monkeypatch.setattr(oracle, "has_keras_2", lambda: False)
    report = convert(board(tmp_path, "2.2.4"), tmp_path / "out.pth", device="cpu")

    assert report.verdict == "equal"
    assert report.parity.oracle == "Keras itself"
    assert all(one.passes and one.own_passes for one in report.parity.layers)
    (note,) = report.parity.notes
    assert note.startswith("Keras 3.")
    assert " on tensorflow is at fault: channels first, conv2d" in note
    assert "(it adds a bias along the width where that is the number of filters)" in note
    assert "those of channels last, the order that TensorFlow computes in, are taken" in note


@pytest.mark.slow
def test_where_no_layer_has_a_bias_keras_is_right_and_nothing_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(oracle, "has_keras_2", lambda: False)
    report = convert(board(tmp_path, "2.2.4", "none"), tmp_path / "out.pth", device="cpu")

    assert report.verdict == "equal"
    assert report.parity.notes == ()


@pytest.mark.slow
def test_a_file_of_keras_3_may_have_been_run_with_the_fault_and_is_not_called_equal(tmp_path):
    with pytest.raises(ParityError) as refused:
        convert(board(tmp_path), tmp_path / "out.pth", device="cpu")

    report = refused.value.report
    assert report.verdict == "not equal"
    assert any("written by Keras 3" in note for note in report.parity.notes)
    assert "a record made by the Keras and backend that ran it decides (--against)" in str(
        refused.value
    )


FIRST = {"data_format": "channels_first"}
LAYERS = {
    "depthwise": (
        "DepthwiseConv2D",
        {"kernel_size": 3, "depth_multiplier": 2, "padding": "same", **FIRST},
        True,
    ),
    "separable": ("SeparableConv2D", {"filters": 6, "kernel_size": 3, **FIRST}, True),
    "separable, 7": ("SeparableConv2D", {"filters": 7, "kernel_size": 3, **FIRST}, False),
    "grouped": ("Conv2D", {"filters": 6, "kernel_size": 3, "groups": 2, **FIRST}, True),
    "grouped, 4": ("Conv2D", {"filters": 4, "kernel_size": 3, "groups": 2, **FIRST}, False),
    "max": ("MaxPooling2D", {"pool_size": 3, "strides": 2, "padding": "same", **FIRST}, False),
    "average": ("AveragePooling2D", {"pool_size": 2, **FIRST}, False),
    "global average": ("GlobalAveragePooling2D", FIRST, False),
    "global max": ("GlobalMaxPooling2D", FIRST, False),
    "pad": ("ZeroPadding2D", {"padding": [[1, 0], [2, 1]], **FIRST}, False),
    "flatten": ("Flatten", FIRST, False),
    "norm": ("BatchNormalization", {"axis": 1}, False),
}
"""Layers on a map of 4 channels, 6 rows and 8 columns, of which a window of 3 leaves 6 (and a
multiplier of 2 makes 8 channels of 4, on 8 columns), and whether Keras 3 is wrong."""

EACH = """
import json, keras, numpy as np, sys
from converter.parity.original.keras_twice import asked_twice
keras.config.set_floatx("float64")
found = {}
for name, (kind, settings, _) in json.loads(sys.argv[1]).items():
    layer = getattr(keras.layers, kind)(**settings)
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 8))
    layer.build(x.shape)
    rng = np.random.default_rng(1)
    layer.set_weights([abs(rng.normal(size=w.shape)) for w in layer.weights])
    faults = {}
    layer.call = asked_twice(layer, faults)
    answer, own = np.asarray(layer(x)), type(layer).call
    bias = 0.0
    if getattr(layer, "use_bias", False):  # another way: without a bias, which numpy adds
        bias, layer.use_bias = np.asarray(layer.bias).reshape(1, -1, 1, 1), False
    found[name] = bool(faults), float(abs(answer - (np.asarray(own(layer, x)) + bias)).max())
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def each():
    return json.loads(run(EACH, json.dumps(LAYERS)))


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_gives_what_its_documentation_says(name, each):
    kind, _, is_wrong = LAYERS[name]
    was_wrong, apart = each[name]

    assert was_wrong == is_wrong
    assert apart < 1e-12
    assert kind in TURNED


def test_the_question_about_the_bias_has_a_known_answer():
    assert not adds_along_width(lambda x, bias: x + bias)
    assert adds_along_width(lambda x, bias: x + bias.ravel())


class Wrong:
    """A layer that is wrong channels first, as no Keras is yet."""

    name, data_format, compute_dtype = "odd", "channels_first", "float32"


def test_what_has_no_maps_or_keeps_channels_last_is_left_as_it_is():
    assert asked_twice(Wrong(), {}) is None


def test_a_keras_without_faults_has_nothing_to_say():
    assert in_words(None, {}, keeps=False) == ""


@pytest.mark.slow
def test_a_record_of_a_keras_that_is_at_fault_says_so(tmp_path):
    """The record is what that Keras computed; whose fault the difference is, is told."""
    source = board(tmp_path, "2.2.4")

    with pytest.raises(ParityError) as refused:
        convert(source, tmp_path / "out.pth", device="cpu", keras_python=sys.executable)

    told = str(refused.value)
    assert ", which made the record, is at fault: it adds the bias of conv2d, conv2d_1" in told
    assert "a record of that one decides" in told
