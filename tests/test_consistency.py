"""Layers that fit their names and not each other: such a network cannot run."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from edits import assert_refused, edited, layer, reconfigured, replaced, run
from helpers import fixture

from resnet_pt.architecture import Conv, Dense, Dropout, Flatten, GlobalPool, Layer, Output, Pool
from resnet_pt.check import problems
from resnet_pt.factory import resnet
from resnet_pt.ops import Activation, Concat, PReLU

PATH = fixture("keras-2.2.4-tensorflow")
either = pytest.mark.parametrize("alone", [True, False], ids=["weights only", "whole model"])


def inside(alone, path):
    return path if alone else f"model_weights/{path}"


@pytest.mark.slow
@either
def test_a_convolution_that_reads_more_channels_than_come_is_code_5(alone, tmp_path):
    def widen(file):
        path = inside(alone, "res3b_branch2b/res3b_branch2b/kernel:0")
        kernel = file[path][...]
        replaced(file, path, np.concatenate([kernel, kernel], axis=2))

    source = edited(PATH, tmp_path, widen, alone=alone)

    assert_refused(run(source, tmp_path / "out.pth", "--no-parity"), 5, tmp_path / "out.pth")


@pytest.mark.slow
@either
def test_a_norm_of_other_channels_than_its_convolution_is_code_5(alone, tmp_path):
    def narrow(file):
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            path = inside(alone, f"bn3b_branch2b/bn3b_branch2b/{name}:0")
            replaced(file, path, np.ones(3, "f4"))

    source = edited(PATH, tmp_path, narrow, alone=alone)

    assert_refused(run(source, tmp_path / "out.pth", "--no-parity"), 5, tmp_path / "out.pth")


@pytest.mark.slow
@either
def test_a_shortcut_of_other_channels_than_its_block_is_code_5(alone, tmp_path):
    def narrow(file):
        path = inside(alone, "res3a_branch1/res3a_branch1")
        kernel = file[f"{path}/kernel:0"][...]
        replaced(file, f"{path}/kernel:0", kernel[..., :5])
        replaced(file, f"{path}/bias:0", np.ones(5, "f4"))
        for name in ("gamma", "beta", "moving_mean", "moving_variance"):
            path = inside(alone, f"bn3a_branch1/bn3a_branch1/{name}:0")
            replaced(file, path, np.ones(5, "f4"))

    source = edited(PATH, tmp_path, narrow, alone=alone)

    assert_refused(run(source, tmp_path / "out.pth", "--no-parity"), 5, tmp_path / "out.pth")


@pytest.mark.slow
@either
def test_a_classifier_that_reads_more_than_the_features_is_code_5(alone, tmp_path):
    def widen(file):
        path = inside(alone, "fc1000/fc1000/kernel:0")
        replaced(file, path, np.ones((77, 10), "f4"))

    source = edited(PATH, tmp_path, widen, alone=alone)

    assert_refused(run(source, tmp_path / "out.pth", "--no-parity"), 5, tmp_path / "out.pth")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "values"),
    [
        pytest.param("res3a_branch2a", {"filters": 99}, id="filters"),
        pytest.param("fc1000", {"units": 99}, id="units"),
        pytest.param("res3a_branch2a", {"groups": 0}, id="no groups"),
        pytest.param("res3a_branch2a", {"groups": 3}, id="groups that do not divide"),
        pytest.param("res3a_branch2a", {"strides": [0, 0]}, id="a stride of 0"),
        pytest.param("max_pooling2d_1", {"pool_size": [0, 0]}, id="a window of 0"),
        pytest.param("bn3b_branch2b", {"epsilon": -1.0}, id="a negative epsilon"),
        pytest.param("bn3b_branch2b", {"epsilon": float("nan")}, id="an epsilon of NaN"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(name, values, tmp_path):
    source = reconfigured(
        PATH, tmp_path, lambda config: layer(config, name)["config"].update(values)
    )

    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code in {3, 5}
    assert not (tmp_path / "out.pth").exists()


@pytest.mark.slow
@pytest.mark.keras
def test_an_array_that_the_configuration_denies_is_not_used(tmp_path):
    def change(config):
        layer(config, "bn2a_branch2a")["config"]["scale"] = False

    result = run(reconfigured(PATH, tmp_path, change), tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "not used: model_weights/bn2a_branch2a/bn2a_branch2a/gamma:0 (4,)" in result.stderr


@pytest.mark.slow
def test_a_network_that_cannot_run_is_not_written_for_want_of_a_comparison(tmp_path):
    """Keras refuses such a file too, which must not count as 'not compared'."""

    def widen(file):
        path = "model_weights/res3b_branch2b/res3b_branch2b/kernel:0"
        kernel = file[path][...]
        replaced(file, path, np.concatenate([kernel, kernel], axis=2))

    source = edited(PATH, tmp_path, widen)

    assert_refused(run(source, tmp_path / "out.pth"), 5, tmp_path / "out.pth")


AVERAGE = Pool((2, 2), (2, 2), 0, mode="avg")


@pytest.mark.parametrize(
    ("kinds", "fits"),
    [
        (("flatten_hwc", "dense"), True),
        (("global_avg_pool", "dense"), True),
        (("avg_pool", "flatten_hwc", "activation", "dense"), True),
        (("dense",), False),
        (("avg_pool", "dense"), False),
        (("activation", "dense", "flatten_hwc"), False),
        (("prelu", "global_avg_pool"), False),
        (("global_avg_pool", "prelu", "dense"), True),
    ],
)
def test_a_layer_of_vectors_that_reads_a_map_is_no_network(kinds, fits):
    """Keras' Dense and PReLU work on the last axis of a map; torch's read its rows, or planes."""
    made = resnet((1, 1), 3, width=4)
    width = made.features
    ops = {
        "dense": Dense(width, width),
        "prelu": PReLU(width),
        "avg_pool": AVERAGE,
        "global_avg_pool": GlobalPool("avg"),
        "flatten_hwc": Flatten("hwc"),
        "activation": Activation("relu"),
    }
    names = [f"{number}_{kind}" for number, kind in enumerate(kinds)]
    head = tuple(
        Layer(name, ops[kind], (source,))
        for name, kind, source in zip(names, kinds, ["", *names], strict=False)
    )

    found = problems(replace(made, head=head, outputs=(Output("y", names[-1]),)))

    assert (found == []) == fits, found
    assert fits or "reads a map" in found[0]


@pytest.mark.parametrize(
    ("op", "words"),
    [
        (GlobalPool("max"), "'last' pools a vector"),
        (AVERAGE, "'last' pools a vector"),
        (Conv(4, 2, (1, 1)), "'last' reads a vector, and wants a map"),
    ],
)
def test_what_works_on_maps_does_not_read_a_vector(op, words):
    """Two pools behind each other were written, and the network could not run."""
    made = resnet((1, 1), 3, width=4)
    head = (Layer("mean", GlobalPool("avg"), ("",)), Layer("last", op, ("mean",)))

    found = problems(replace(made, head=head, outputs=(Output("y", "last"),)))

    assert words in "".join(found)


@pytest.mark.parametrize(
    ("conv", "words"),
    [
        (Conv(5, 2, (1, 1)), "reads 5 channels, and"),
        (Conv(0, 2, (1, 1)), "a size that is not positive"),
    ],
)
def test_a_convolution_in_the_head_fits_the_map(conv, words):
    made = resnet((1, 1), 3, width=4)
    head = (Layer("score", conv, ("",)), Layer("mean", GlobalPool("avg"), ("score",)))

    assert words in "".join(problems(replace(made, head=head, outputs=(Output("y", "mean"),))))


def test_a_slope_that_is_no_number_is_refused():
    made = replace(resnet((1, 1), 3, width=4), activation="leaky_relu", slope=float("inf"))

    assert problems(made) == ["leaky_relu has slope inf: it is no finite number of float32"]


POOLS = (Layer("mean", GlobalPool("avg"), ("",)), Layer("peak", GlobalPool("max"), ("",)))


@pytest.mark.parametrize(
    ("joining", "width", "words"),
    [
        (Layer("both", Concat(), ("mean", "peak")), 2, ""),
        (Layer("both", Concat(), ("mean", "peak", "mean")), 3, ""),
        (Layer("both", Concat(), ("mean", "peak")), 1, "numbers, and"),
        (Layer("both", Concat(), ("mean", "")), 2, "reads a map"),
        (Layer("both", Concat(), ("mean",)), 1, "joins 1 layers"),
        (Layer("both", Dropout(0.0), ("mean", "peak")), 1, "joins 2 layers"),
        (Layer("both", Concat(), ("mean", "last")), 2, "does not come before it"),
    ],
)
def test_what_is_joined_has_to_be_vectors_that_come_before(joining, width, words):
    made = resnet((1, 1), 3, width=4)
    last = Layer("last", Dense(width * made.features, 5), ("both",))

    found = problems(replace(made, head=(*POOLS, joining, last), outputs=(Output("y", "last"),)))

    assert bool(found) == bool(words), found
    assert words in "".join(found)
