"""Arrays as HDF5 can store them: the plain ones are read, the dangerous ones are refused."""

from __future__ import annotations

import h5py
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


def soft_link(file):
    file.move(KERNEL, "elsewhere")
    file[KERNEL] = h5py.SoftLink("/elsewhere")


def external_link(file):
    del file["conv1"]
    file["conv1"] = h5py.ExternalLink("other.h5", "/conv1")


def external_storage(file):
    del file[KERNEL]
    file.create_dataset(KERNEL, (7, 7, 3, 4), "f4", external=[("/dev/zero", 0, 7 * 7 * 3 * 4 * 4)])


def virtual_dataset(file):
    del file[KERNEL]
    layout = h5py.VirtualLayout((7, 7, 3, 4), "f4")
    layout[...] = h5py.VirtualSource("other.h5", "x", (7, 7, 3, 4))
    file.create_virtual_dataset(KERNEL, layout)


def shape_bomb(file):
    del file[KERNEL]
    file.create_dataset(KERNEL, (2**20, 2**20), "f4", chunks=(1, 1024), compression="gzip")


def huge_chunks(file):
    del file[KERNEL]
    file.create_dataset(KERNEL, (7, 7, 3, 4), "f4", chunks=(2048, 2048, 3, 4), maxshape=(None,) * 4)


def other_filter(file):
    values = file[KERNEL][...]
    del file[KERNEL]
    file.create_dataset(KERNEL, data=values, compression="lzf")


def many_names(file):
    file["conv1"].attrs["weight_names"] = np.zeros(30_000, "S1")


def long_name(file):
    file["conv1"].attrs["weight_names"] = [b"x" * 2000]


def numbers_for_names(file):
    file["conv1"].attrs["weight_names"] = np.arange(3)


@pytest.mark.parametrize(
    "change",
    [
        soft_link,
        external_link,
        external_storage,
        virtual_dataset,
        shape_bomb,
        huge_chunks,
        other_filter,
        many_names,
        long_name,
        numbers_for_names,
    ],
    ids=lambda change: change.__name__,
)
def test_what_is_dangerous_to_read_is_code_4(change, tmp_path):
    source = edited(PATH, tmp_path, change, alone=True)

    assert_refused(run(source, tmp_path / "out.pth", "--no-parity"), 4, tmp_path / "out.pth")


def never_written(file):
    del file[KERNEL]
    file.create_dataset(KERNEL, (7, 7, 3, 4), "f4")


def group_for_array(file):
    del file[KERNEL]
    file.create_group(KERNEL)


def array_for_group(file):
    del file["conv1"]
    file["conv1"] = np.ones(3, "f4")


def missing_group(file):
    del file["conv1"]


def missing_array(file):
    del file[KERNEL]


def layer_twice(file):
    names = list(file.attrs["layer_names"])
    file.attrs["layer_names"] = [*names, names[2]]


@pytest.mark.parametrize(
    "change",
    [
        never_written,
        group_for_array,
        array_for_group,
        missing_group,
        missing_array,
        layer_twice,
    ],
    ids=lambda change: change.__name__,
)
def test_what_is_not_as_its_lists_say_is_code_3(change, tmp_path):
    source = edited(PATH, tmp_path, change, alone=True)

    assert_refused(run(source, tmp_path / "out.pth", "--no-parity"), 3, tmp_path / "out.pth")


def whole_numbers(file):
    replaced(file, KERNEL, np.ones((7, 7, 3, 4), "i4"))


def no_space(file):
    replaced(file, KERNEL, h5py.Empty("f4"))


def weight_twice(file):
    file["conv1"].attrs["weight_names"] = [b"conv1/kernel:0", b"conv1/kernel:0"]


def three_axes(file):
    replaced(file, KERNEL, np.ones((7, 7, 3), "f4"))


@pytest.mark.parametrize(
    "change",
    [whole_numbers, no_space, weight_twice, three_axes],
    ids=lambda change: change.__name__,
)
def test_arrays_that_no_network_has_are_code_5(change, tmp_path):
    source = edited(PATH, tmp_path, change, alone=True)

    assert_refused(run(source, tmp_path / "out.pth", "--no-parity"), 5, tmp_path / "out.pth")


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
