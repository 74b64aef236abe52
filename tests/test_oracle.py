"""Real Keras as the oracle, in a process of its own."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from edits import assert_refused, run
from helpers import copy, fixture, opened, weights_only

from converter.conversion import convert
from converter.errors import ParityError
from converter.parity.original.oracle import (
    LOADED,
    KerasChild,
    OracleError,
    choose_oracle,
    class_names,
    loaded_generally,
)
from converter.parity.prove import CONTRADICTED

SCRIPTS = Path(__file__).parent.parent / "scripts"
keras = pytest.mark.keras


@pytest.fixture(scope="module")
def made_by_keras(tmp_path_factory):
    """The legacy network, narrow, built and saved by real Keras in this very run."""
    path = tmp_path_factory.mktemp("keras") / "resnet50.h5"
    code = f"""
import sys; sys.path.insert(0, {str(SCRIPTS)!r})
from legacy_resnet50 import fill, resnet50
model = resnet50(width=4, classes=7); fill(model); model.save({str(path)!r})
"""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=environment)
    return path


def gelu(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def worst(report, dtype):
    return max(one.worst.relative for one in report.parity.comparisons if one.dtype == dtype)


@pytest.mark.slow
@keras
def test_a_model_that_keras_makes_here_gives_the_same_to_the_last_digits(made_by_keras, tmp_path):
    report = convert(made_by_keras, tmp_path / "out.pth", device="cpu", require_parity=True)

    assert report.verdict == "equal"
    assert report.parity.oracle == "Keras itself"
    assert worst(report, "float64") < 1e-12
    assert worst(report, "float32") < 1e-5
    assert len(report.parity.layers) > 100
    assert all(one.own and one.own.relative < 1e-13 for one in report.parity.layers)
    assert 0 < report.parity.noise["float64"] < 1e-13 < report.parity.noise["float32"] < 1e-5


@pytest.mark.slow
@keras
def test_its_weights_alone_are_compared_with_the_bundled_definition(made_by_keras, tmp_path):
    alone = weights_only(made_by_keras, tmp_path)

    report = convert(alone, tmp_path / "out.pth", device="cpu")

    assert report.verdict == "consistent"
    assert report.parity.oracle == "the bundled Keras definition"
    assert report.parity.reason == "the file holds weights only"
    assert worst(report, "float64") < 1e-12
    assert {one.shape[1:3] for one in report.parity.comparisons} == {(224, 224), (256, 240)}


@pytest.mark.slow
@keras
@pytest.mark.parametrize("name", ["keras-1.2.2-theano-th", "keras-2.10-scale"])
def test_what_keras_cannot_load_is_compared_with_the_bundled_definition(name, tmp_path):
    report = convert(fixture(name), tmp_path / "out.pth", device="cpu")

    assert report.verdict == "consistent"
    assert report.parity.oracle == "the bundled Keras definition"
    assert worst(report, "float64") < 1e-12


@pytest.mark.slow
@keras
def test_keras_notices_a_wrong_epsilon_in_one_norm(made_by_keras, tmp_path, monkeypatch):
    """The anti-test: everything right but one norm's epsilon, by a millionth of the default."""
    from converter.parity.comparing import torch_run

    build = torch_run.build

    def build_wrong(architecture, tensors):
        model = build(architecture, tensors)
        model.layer3[2].bn2.eps *= 1 + 1e-6
        return model

    monkeypatch.setattr(torch_run, "build", build_wrong)

    with pytest.raises(ParityError, match="the first layer that differs is bn4c_branch2b") as error:
        convert(made_by_keras, tmp_path / "out.pth", device="cpu")
    alone = [one.name for one in error.value.report.parity.layers if not one.own_passes]
    assert alone == ["bn4c_branch2b"]
    assert error.value.report.parity.diagnosis == (
        "its epsilon is 0.001000001, the original's 0.001"
    )
    assert list(tmp_path.iterdir()) == []


def chosen(path, **options):
    with opened(path, **options) as (checkpoint, network):
        return choose_oracle(checkpoint, network)


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("keras-2.2.4-tensorflow", "load", ""),
        ("keras-3.15-nested-head", "load", ""),
        ("keras-1.2.2-tensorflow", "build", "Keras 3 cannot load a model of Keras 1"),
        ("keras-2.10-scale", "build", "classes that Keras does not have: Scale"),
    ],
)
def test_the_oracle_is_the_faithful_one(name, kind, reason):
    oracle = chosen(fixture(name))

    assert (oracle.kind, oracle.reason) == (kind, reason)


def test_a_theano_model_is_not_given_to_keras(tmp_path):
    path = copy(fixture("keras-2.2.4-tensorflow"), tmp_path)
    with h5py.File(path, "a") as file:
        file["model_weights"].attrs["backend"] = b"theano"

    assert chosen(path).reason == "Keras 3 computes something else for a model saved on Theano"


@pytest.mark.parametrize(
    "option",
    [
        *({"stem": "same"}, {"bn_eps": 1e-5}, {"theano_kernels": True}, {"pool": "valid"}),
        *({"stem": "pad"}, {"bn_eps": 1e-3}, {"theano_kernels": False}, {"pool": "zero"}),
    ],
)
def test_whatever_options_say_it_is_the_original_that_is_asked(option):
    """The bundled definition would be built as they say, and agree."""
    assert chosen(fixture("keras-2.2.4-tensorflow"), **option).kind == "load"


@pytest.mark.slow
@pytest.mark.parametrize("option", [("--stem", "same"), ("--bn-eps", 1e-5), ("--theano-kernels",)])
def test_an_option_against_what_the_model_says_is_not_equal_and_says_why(option, tmp_path):
    target = tmp_path / "out.pth"

    result = run(fixture("keras-2.2.4-tensorflow"), target, *option)

    assert_refused(result, 1, target)
    assert "does not give the logits of Keras itself" in result.stderr
    assert CONTRADICTED in result.stderr


@pytest.mark.slow
def test_where_keras_cannot_load_it_what_options_contradict_is_said(tmp_path):
    source = fixture("keras-1.2.2-tensorflow")

    result = run(source, tmp_path / "out.pth", "--bn-eps", 1e-4)

    assert "logits    consistent: nothing is assumed; the original was not asked" in result.stderr
    assert "those of the bundled Keras definition" in result.stderr
    assert CONTRADICTED in result.stderr


@pytest.mark.parametrize(
    "config",
    [
        {"class_name": "Lambda", "config": {}},
        {"class_name": "Dense", "module": "os", "registered_name": "system"},
        {"class_name": "Dense", "module": "keras.layers", "registered_name": "evil>Dense"},
        {"config": {"layers": [{"config": {"kernel_initializer": {"class_name": "Custom"}}}]}},
    ],
)
def test_a_class_that_is_not_keras_own_is_never_given_to_keras(config):
    assert class_names(config) - LOADED


@pytest.mark.parametrize(
    "config",
    [
        {"class_name": "Lambda", "config": {}},
        {"class_name": "TFSMLayer", "config": {"filepath": "/tmp"}},
        {"class_name": "TextVectorization", "config": {"vocabulary": "/etc/passwd"}},
        {"class_name": "function", "config": "get_file", "module": "keras.utils"},
        {"class_name": "Conv2D", "module": "keras.layers", "registered_name": "evil>Conv2D"},
    ],
)
def test_what_reads_files_or_runs_code_is_in_no_general_network_that_keras_loads(config):
    inside = {"class_name": "Conv2D", "config": {"kernel_initializer": config}}

    assert class_names(inside) - loaded_generally()
    assert {"Conv2DTranspose", "LayerNormalization"} <= loaded_generally()


def test_what_the_fixtures_name_is_known():
    with opened(fixture("keras-3.15-conv_block-50")) as (checkpoint, _):
        assert class_names(json.loads(json.dumps(checkpoint.config))) <= LOADED


@pytest.mark.slow
def test_an_oracle_that_fails_means_not_compared(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OracleError("no such layer")

    monkeypatch.setattr("converter.parity.prove.is_installed", lambda: True)
    monkeypatch.setattr("converter.parity.prove.ask", fail)
    path = fixture("keras-2.2.4-tensorflow")

    report = convert(path, tmp_path / "out.pth")

    assert report.verdict == "not compared"
    assert report.parity.reason == "Keras could not run the original: no such layer"
    with pytest.raises(ParityError, match="the logits were not compared"):
        convert(path, tmp_path / "other.pth", require_parity=True)


@pytest.mark.slow
@keras
def test_a_full_temporary_folder_is_not_the_target(tmp_path, monkeypatch):
    """The target was said to be unwritable, in numpy's words."""

    def full(*_: object) -> None:
        raise OSError("150528 requested and 45024 written")

    monkeypatch.setattr("converter.parity.original.oracle.np.save", full)

    report = convert(fixture("keras-2.2.4-tensorflow"), tmp_path / "out.pth", device="cpu")

    assert report.verdict == "not compared"
    assert "its pictures cannot be written: 150528 requested" in report.parity.reason
    assert "(TMPDIR), is it full?" in report.parity.reason


def test_a_keras_that_is_not_asked_ends_with_its_context():
    with KerasChild() as keras:
        folder = keras.start()
        process = keras.process
        assert folder.is_dir()
        assert process.poll() is None

    assert process.poll() is not None
    assert not folder.exists()


@pytest.mark.slow
def test_a_keras_whose_caller_has_ended_does_nothing():
    with KerasChild() as keras:
        folder = keras.start()
        keras.process.communicate(timeout=60)  # its standard input is closed

        assert keras.process.returncode in (0, 3)  # 3: not installed
        assert {one.name for one in folder.iterdir()} <= {"error.txt"}


@pytest.mark.slow
@keras
@pytest.mark.parametrize(
    ("operator", "function"),
    [
        ("keras.ops.leaky_relu(x, 0.3)", lambda x: np.where(x > 0, x, 0.3 * x)),
        ("keras.ops.gelu(x, approximate=False)", gelu),
    ],
    ids=["leaky_relu", "gelu"],
)
def test_operators_compute_with_the_numbers_that_are_written(operator, function, tmp_path):
    """TensorFlow keeps a slope in float32; in a nested model too."""
    code = f"""
import keras, numpy as np, sys
from converter.parity.original.keras_child import exact
keras.config.set_floatx("float64")
inner = keras.Input((5,)); x = inner; inner = keras.Model(inner, {operator})
outer = keras.Input((5,)); x = inner(outer); model = keras.Model(outer, {operator})
x = np.load({str(tmp_path / "x.npy")!r})
np.save({str(tmp_path / "y.npy")!r}, np.asarray(exact(model, "float64")(x)))
"""
    x = np.random.default_rng(3).normal(size=(4, 5))
    np.save(tmp_path / "x.npy", x)
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "KERAS_BACKEND": "tensorflow"}

    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=environment)

    found = np.load(tmp_path / "y.npy")
    np.testing.assert_allclose(found, function(function(x)), rtol=1e-12, atol=0)


@pytest.mark.slow
@keras
def test_a_pool_padded_with_nothing_is_no_false_alarm(tmp_path):
    """keras-hub's V2, whose map can be negative: the bundled definition padded with zeros."""
    source = fixture("keras-hub-0.32-v2-26.weights")

    report = convert(source, tmp_path / "out.pth", device="cpu")

    assert report.verdict == "consistent"
    assert report.network.architecture.stem.pool.fill == "-inf"
