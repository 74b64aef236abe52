"""Arrays as HDF5 can store them, read; what is refused is in tests/test_hostile.py."""

from __future__ import annotations

import numpy as np
import pytest
from edits import assert_refused, edited, every_array, replaced, run
from helpers import converted, fixture, opened

PATH = fixture("keras-2.2.4-tensorflow")
KERNEL = "conv1/conv1/kernel:0"


def stored(dtype="f4", **options):
    def make(file, path, values):
        file.create_dataset(path, data=values.astype(dtype), **options)

    return lambda file: every_array(file, make)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        pytest.param(">f4", {}, id="big-endian"),
        pytest.param("f8", {}, id="float64 of float32 values"),
        pytest.param("f4", {"compression": "gzip", "shuffle": True}, id="gzip and shuffle"),
        pytest.param("f4", {"fletcher32": True}, id="fletcher32"),
        pytest.param("f4", {"chunks": True}, id="chunked"),
    ],
)
def test_however_float32_is_stored_the_tensors_are_the_same(dtype, options, tmp_path):
    source = edited(PATH, tmp_path, stored(dtype, **options), alone=True)

    _, tensors = converted(source)

    expected = converted(PATH)[1]
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        assert tensor.tobytes() == expected[name].tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["f2", "f8"])
def test_another_precision_becomes_its_one_rounding(dtype, tmp_path):
    random = np.random.default_rng(1)
    values = random.normal(size=(7, 7, 3, 4)).astype(dtype)
    source = edited(PATH, tmp_path, lambda file: replaced(file, KERNEL, values), alone=True)

    result = run(source, tmp_path / "out.safetensors", "--no-parity")
    _, tensors = converted(source)

    assert result.exit_code == 0, result.output
    assert np.array_equal(tensors["conv1.weight"], values.astype("f4").transpose(3, 2, 0, 1))


def test_a_float64_that_float32_cannot_hold_is_code_6(tmp_path):
    def enlarge(file):
        values = file[KERNEL][...].astype("f8")
        values[0, 0, 0, 0] = 1e300
        replaced(file, KERNEL, values)

    source = edited(PATH, tmp_path, enlarge, alone=True)

    assert_refused(run(source, tmp_path / "out.pth", "--no-parity"), 6, tmp_path / "out.pth")


@pytest.mark.parametrize("name", ["../fc1000/fc1000/kernel:0", "/fc1000/fc1000/kernel:0", "."])
def test_a_name_does_not_lead_out_of_its_layer(name, tmp_path):
    def redirect(file):
        file["conv1"].attrs["weight_names"] = [name.encode(), b"conv1/bias:0"]

    source = edited(PATH, tmp_path, redirect, alone=True)
    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert result.exit_code in {3, 4}
    assert isinstance(result.exception, SystemExit), repr(result.exception)


@pytest.mark.parametrize(
    "config", ["{", "[]", '"text"', "3", b"\xff\xfe", "{}"], ids=lambda config: repr(config)
)
def test_a_model_config_that_is_none_is_code_3(config, tmp_path):
    def rewrite(file):
        file.attrs["model_config"] = config

    source = edited(PATH, tmp_path, rewrite)

    assert_refused(run(source, tmp_path / "out.pth", "--no-parity"), 3, tmp_path / "out.pth")


def test_a_whole_model_without_its_configuration_is_read_as_weights(tmp_path):
    def forget(file):
        del file.attrs["model_config"]

    source = edited(PATH, tmp_path, forget)

    with opened(source) as (checkpoint, network):
        assert checkpoint.config is None
        assert network.dialect == "res-branch"
        assert network.architecture.stages == converted(PATH)[0].architecture.stages
