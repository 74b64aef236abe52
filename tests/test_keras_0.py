"""Keras 0.x: `layer_3/param_0`, standard deviations, epsilon outside the root."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from edits import assert_refused, run
from helpers import as_text, converted, fixture

from resnet_pt import load

ORDER = ("gamma", "beta", "moving_mean", "moving_variance")


def as_keras_0(path, target):
    """The weights of a Keras 2 file as Keras 0 would have them: kernels (out, in, rows, columns),
    turned for Theano; deviations in place of variances, less the epsilon added to them."""
    with h5py.File(path) as source, h5py.File(target, "w") as file:
        names = [as_text(name) for name in source["model_weights"].attrs["layer_names"]]
        file.attrs["nb_layers"] = len(names)
        for number, name in enumerate(names):
            group = file.create_group(f"layer_{number}")
            stored = source[f"model_weights/{name}"]
            arrays = [stored[as_text(one)][...] for one in stored.attrs["weight_names"]]
            group.attrs["nb_params"] = len(arrays)
            for index, array in enumerate(arrays):
                if array.ndim == 4:
                    array = array[::-1, ::-1].transpose(3, 2, 0, 1)
                if len(arrays) == 4 and index == 3:
                    array = (np.sqrt(array.astype("f8") + 1e-3) - 1e-6).astype("f4")
                group[f"param_{index}"] = array
    return target


@pytest.mark.slow
def test_a_file_of_keras_0_is_the_same_network(tmp_path):
    path = fixture("keras-2.3.1-auto-named")
    source = as_keras_0(path, tmp_path / "old.h5")
    _, expected = converted(path)

    network, tensors = converted(source, pool="valid", stem="pad")

    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        if name.endswith("running_var"):  # epsilon went into it
            np.testing.assert_allclose(tensor, expected[name] + 1e-3, rtol=1e-5)
        else:
            np.testing.assert_array_equal(tensor, expected[name])
    assert network.theano
    assert {fact.name: fact.value for fact in network.facts}["running_std"].startswith("a standard")


@pytest.mark.slow
def test_it_converts(tmp_path):
    source = as_keras_0(fixture("keras-2.3.1-auto-named"), tmp_path / "old.h5")

    result = run(source, tmp_path / "out.pth")

    assert result.exit_code == 0, result.output
    assert "Keras 0 HDF5" in result.stderr
    assert load(tmp_path / "out.pth").architecture.depths == (3, 4, 6, 3)


def test_a_graph_model_is_refused_with_the_reason(tmp_path):
    with h5py.File(tmp_path / "graph.h5", "w") as file:
        file.create_group("graph").attrs["nb_params"] = 0

    result = run(tmp_path / "graph.h5", tmp_path / "out.pth")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "did not save the means" in result.stderr


def test_a_group_that_is_no_layer_is_refused(tmp_path):
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        file.attrs["nb_layers"] = 1
        group = file.create_group("layer_0")
        group.attrs["nb_params"] = 3
        for number in range(3):
            group[f"param_{number}"] = np.zeros((3, 3), "f4")

    assert_refused(run(tmp_path / "odd.h5", tmp_path / "out.pth"), 5, tmp_path / "out.pth")


def test_a_count_without_end_is_refused(tmp_path):
    with h5py.File(tmp_path / "many.h5", "w") as file:
        file.attrs["nb_layers"] = 10**9

    assert_refused(run(tmp_path / "many.h5", tmp_path / "out.pth"), 4, tmp_path / "out.pth")
