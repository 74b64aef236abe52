"""Files of Keras 2 are asked of tf-keras, Keras 2's own code on today's TensorFlow."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import pytest
from edits import reconfigured
from helpers import FIXTURES, fixture, needs_tf_keras, opened

from converter.conversion import convert
from converter.errors import MismatchError, ParityError
from converter.parity.original import oracle
from converter.parity.original.oracle import OPERATORS_OF_KERAS_2, choose_oracle, functions, nodes
from converter.whole_model.keras_layers.operators import TENSORFLOW
from converter.whole_model.tensorflow_nodes import KINDS

slow = pytest.mark.slow
keras = pytest.mark.keras


@pytest.fixture
def without_tf_keras(monkeypatch):
    monkeypatch.setattr(oracle, "has_keras_2", lambda: False)


@pytest.fixture
def with_tf_keras(monkeypatch):
    monkeypatch.setattr(oracle, "has_keras_2", lambda: True)


def chosen(path: Path) -> oracle.Oracle:
    with opened(path) as (checkpoint, network):
        return choose_oracle(checkpoint, network)


def worst(report, dtype: str) -> float:
    return max(one.worst.relative for one in report.parity.comparisons if one.dtype == dtype)


def made(folder: Path, code: str, name: str = "model.h5") -> Path:
    """A model that tf-keras makes and saves here; `code` makes `x` of `x`, an input's value."""
    path = folder / name
    whole = f"""
import numpy as np, tensorflow as tf, tf_keras as keras
L = keras.layers
{code}
model = keras.Model(given, x)
numbers = np.random.default_rng(7)
model.set_weights([numbers.normal(0, 0.3, w.shape) ** (2 if "variance" in w.name else 1) + 0.1
                   for w in model.weights])
model.save({str(path)!r})
"""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-c", whole], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return path


# ---- which Keras is asked


@pytest.mark.parametrize(
    ("name", "library"),
    [
        ("networks/grouped-k210", "tf_keras"),
        ("networks/merges-k224", "tf_keras"),
        ("keras-2.2.4-tensorflow", "tf_keras"),
        ("networks/pools-k315", "keras"),
    ],
)
def test_each_keras_is_asked_about_its_own_files(name, library, with_tf_keras):
    found = chosen(fixture(name))

    assert (found.kind, found.library) == ("load", library)


def test_without_tf_keras_keras_3_is_asked(without_tf_keras):
    assert chosen(fixture("networks/grouped-k210")).library == "keras"


def test_what_keras_3_alone_is_not_given_tf_keras_is(with_tf_keras, monkeypatch):
    """Operators on tensors: Keras 3 has no such class."""
    path = fixture("networks/tfops-k210")

    assert chosen(path).library == "tf_keras"
    monkeypatch.setattr(oracle, "has_keras_2", lambda: False)
    assert "TFOpLambda" in chosen(path).reason


# ---- nothing is made of a configuration but what is understood


HOSTILE = ("io.write_file", "io.read_file", "raw_ops.WriteFile", "py_function", "load_op_library")


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("class_name", sorted(OPERATORS_OF_KERAS_2))
def test_a_function_that_is_not_understood_is_found_wherever_it_stands(name, class_name):
    inside = [{"layer": {"class_name": class_name, "config": {"function": name}}}]

    assert functions({"config": {"layers": inside}}) - TENSORFLOW.keys() == {name}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_names_such_a_function_is_given_to_no_keras(name, tmp_path, with_tf_keras):
    path = fixture("networks/tfops-k210")

    def rename(config):
        for one in config["config"]["layers"]:
            if one["class_name"] == "TFOpLambda":
                one["config"]["function"] = name

    with pytest.raises(MismatchError):
        convert(reconfigured(path, tmp_path, rename), tmp_path / "out.pth")
    with opened(path) as (checkpoint, network):
        rename(checkpoint.config)  # as if our reader had let it pass
        found = choose_oracle(checkpoint, network)

    assert (found.kind, found.reason) == ("build", f"functions that are not known: {name}")


# ---- what it proves


@slow
@keras
@needs_tf_keras
@pytest.mark.parametrize(
    "name", ["grouped-k210", "merges-k224", "siamese-subtract-k224", "crnn-lstm-k224"]
)
def test_a_network_of_keras_2_is_proven_by_tf_keras(name, tmp_path):
    path = fixture(f"networks/{name}")

    report = convert(path, tmp_path / "out.pth", device="cpu", require_parity=True)

    assert report.verdict == "equal"
    assert str(report.parity).startswith("equal to Keras itself (tf-keras 2.")
    assert worst(report, "float64") < 1e-12
    assert all(one.own and one.own_passes for one in report.parity.layers)


@slow
@keras
@needs_tf_keras
def test_one_weight_that_is_another_is_caught_and_its_layer_named(tmp_path, monkeypatch):
    """The anti-test: a weight off by one part in a hundred million."""
    from converter.parity.comparing import torch_run

    build = torch_run.build

    def build_wrong(network, tensors):
        model = build(network, tensors)
        (weight,) = [one for name, one in model.named_parameters() if name == "dense.weight"]
        weight.data = weight.data.double()
        weight.data[0, 0] *= 1 + 1e-8
        return model

    monkeypatch.setattr(torch_run, "build", build_wrong)
    path = fixture("networks/grouped-k210")

    with pytest.raises(ParityError, match="the first layer that differs is dense"):
        convert(path, tmp_path / "out.pth", device="cpu")


def with_hard_sigmoids(config):
    for one in config["config"]["layers"]:
        if one["class_name"] == "Conv2D":
            one["config"]["activation"] = "hard_sigmoid"


@slow
@keras
@needs_tf_keras
def test_a_function_that_keras_3_computes_otherwise_is_proven(tmp_path, monkeypatch):
    """`hard_sigmoid` is max(0, min(1, x/5 + 1/2)) in Keras 2, and of x/6 in Keras 3."""
    path = reconfigured(fixture("networks/merges-k224"), tmp_path, with_hard_sigmoids)

    report = convert(path, tmp_path / "out.pth", device="cpu", require_parity=True)

    assert report.verdict == "equal"
    monkeypatch.setattr(oracle, "has_keras_2", lambda: False)
    with pytest.raises(ParityError, match="does not give the logits of Keras itself") as error:
        convert(path, tmp_path / "other.pth", device="cpu")
    assert error.value.report.parity.reason.startswith("Keras 3.")


@slow
@keras
@needs_tf_keras
def test_what_tf_keras_fills_in_is_no_proof(tmp_path):
    def without_center(config):
        for one in config["config"]["layers"]:
            if one["class_name"] == "BatchNormalization":
                del one["config"]["center"]

    path = reconfigured(fixture("networks/multiinput-k224"), tmp_path, without_center)

    report = convert(path, tmp_path / "out.pth", device="cpu")

    assert report.verdict == "not compared"
    assert "MisreadError: " in report.parity.reason
    assert "it says no center, and True was taken" in report.parity.reason


# ---- its float64


CONSTANTS = """
given = x = keras.Input((9, 8, 3))
x = L.Rescaling(1 / 3, -0.1)(x)
x = L.LeakyReLU(0.1)(L.Conv2D(4, 3)(x))
x = L.ReLU(negative_slope=0.2)(L.Conv2D(4, 3, activation="gelu")(x))
x = L.Conv2D(4, 2, activation=tf.nn.leaky_relu)(tf.nn.leaky_relu(x - 0.3, alpha=0.15))
x = L.ELU(0.7)(L.BatchNormalization(axis=1)(x)) * 0.1
x = L.Dense(3)(L.Flatten()(tf.nn.gelu(x)))
"""


@slow
@keras
@needs_tf_keras
@pytest.mark.parametrize("name", ["model.h5", "model.keras"])
def test_constants_that_tensorflow_rounds_are_made_exact(name, tmp_path):
    path = made(tmp_path, CONSTANTS, name)

    report = convert(path, tmp_path / "out.pth", device="cpu", require_parity=True)

    assert report.parity.reason.startswith("tf-keras")
    assert worst(report, "float64") < 1e-13


BILINEAR = """
given = x = keras.Input((6, 5, 3))
x = L.UpSampling2D(3, interpolation="bilinear", name="up")(L.Conv2D(4, 3)(x))
x = L.Conv2D(2, 3)(x)
"""


@slow
@keras
@needs_tf_keras
def test_what_tensorflow_computes_in_float32_is_named_and_compared_as_that(tmp_path):
    path = made(tmp_path, BILINEAR)

    report = convert(path, tmp_path / "out.pth", device="cpu", require_parity=True)

    (note,) = report.parity.notes
    assert note.startswith("TensorFlow computes up in float32 whatever it is told")
    assert {one.gate_dtype for one in report.parity.comparisons} == {"float32"}
    assert worst(report, "float64") < 1e-6


@slow
@keras
@needs_tf_keras
def test_the_bilinear_of_tensorflow_1_is_asked_of_no_keras(tmp_path):
    """tf-keras has another, which lies half a pixel elsewhere."""
    path = made(tmp_path, BILINEAR)
    with h5py.File(path, "a") as file:
        file.attrs["keras_version"] = file["model_weights"].attrs["keras_version"] = "2.3.1"

    found = chosen(path)

    assert (found.kind, found.reason) == ("build", oracle.NO_CORNERS)


FIRST = """
first = {"data_format": "channels_first"}
given = x = keras.Input((3, 12, 10))
x = L.Conv2D(4, 3, strides=2, padding="same", activation="relu", **first)(x)
x = L.BatchNormalization(axis=1)(L.Conv2DTranspose(5, 3, strides=2, padding="same", **first)(x))
x = L.SeparableConv2D(6, 3, activation="tanh", **first)(L.AveragePooling2D(2, **first)(x))
x = L.MaxPooling2D(2, padding="same", **first)(L.DepthwiseConv2D(2, **first)(x))
x = L.Dense(3)(L.Flatten(**first)(x))
"""


@slow
@keras
@needs_tf_keras
def test_channels_first_is_asked_though_tensorflow_has_no_such_convolution_on_a_cpu(tmp_path):
    path = made(tmp_path, FIRST)

    report = convert(path, tmp_path / "out.pth", device="cpu", require_parity=True)

    assert report.verdict == "equal"
    assert worst(report, "float64") < 1e-12


# ---- the environment


@slow
@keras
@needs_tf_keras
@pytest.mark.parametrize(
    ("name", "asked"),
    [("networks/ecg-class-k315", "Keras 3."), ("networks/tfops-k210", "tf-keras")],
)
def test_a_variable_that_chooses_a_keras_elsewhere_chooses_none_here(
    name, asked, tmp_path, monkeypatch
):
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "1")
    monkeypatch.setenv("KERAS_BACKEND", "torch")

    report = convert(fixture(name), tmp_path / "out.pth", device="cpu", require_parity=True)

    assert report.parity.reason.startswith(asked)


@keras
@slow
@needs_tf_keras
def test_layers_that_fail_in_float64_and_do_nothing_are_passed(tmp_path):
    source = made(
        tmp_path,
        "x = given = L.Input((12, 12, 3))\n"
        "x = L.Resizing(16, 16)(L.RandomRotation(0.1)(L.RandomFlip()(L.Rescaling(1 / 255)(x))))\n"
        "x = L.Dense(3)(L.GlobalAveragePooling2D()(L.Conv2D(4, 3)(x)))",
    )
    report = convert(source, tmp_path / "out.pth", require_parity=True)

    assert report.verdict == "equal"
    assert "resizing" in " ".join(report.parity.notes)


@pytest.mark.parametrize(
    ("op", "is_asked"), [("AddV2", True), ("WriteFile", False), ("PyFunc", False)]
)
def test_nodes_of_a_graph_are_made_where_all_are_understood(op, is_asked):
    inside = [{"layer": {"class_name": "TensorFlowOpLayer", "config": {"node_def": {"op": op}}}}]

    assert nodes({"config": {"layers": inside}}) == {op}
    assert (op in KINDS) == is_asked


@keras
@slow
@needs_tf_keras
@pytest.mark.parametrize("number", [96, 99])  # a constant for each channel, a transposition
def test_nodes_of_tensorflows_graph_are_asked_in_float64(number, tmp_path):
    with zipfile.ZipFile(FIXTURES / "graphs" / "tf-2.3.zip") as archive:
        source = Path(archive.extract(f"{number}.h5", tmp_path))
    report = convert(source, tmp_path / "out.pth", require_parity=True)

    assert (report.verdict, report.parity.notes) == ("equal", ())
    assert worst(report, "float64") < 1e-15
