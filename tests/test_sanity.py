"""Weights that cannot be right are refused, unless their owner says that they are."""

from __future__ import annotations

import json
import os

import h5py
import numpy as np
import pytest
from click import Choice
from edits import assert_refused, run
from helpers import LEGACY, copy, fixture, opened, set_weight

from converter.cli import convert_weights
from converter.mapping.plan import make_plan
from converter.mapping.sanity import CHECKS, Sanity

PATH = fixture("keras-2.2.4-tensorflow")
KERNEL = "res3b_branch2b/res3b_branch2b/kernel:0"
OTHER = "res3c_branch2b/res3c_branch2b/kernel:0"


def put(weight, value):
    return lambda path: set_weight(path, weight, value)


def take(weight, other):
    """One array's numbers in another's place."""

    def change(path):
        with h5py.File(path) as file:
            values = file[f"model_weights/{other}"][...]
        set_weight(path, weight, values)

    return change


def one_number(weight, value, index):
    def change(path):
        with h5py.File(path, "a") as file:
            file[f"model_weights/{weight}"][index] = value

    return change


def exchange(*layers):
    """Swap gamma and beta of these layers (all of them: none given)."""

    def change(path):
        with h5py.File(path, "a") as file:
            root = file["model_weights"]
            for layer in layers or [name for name in root if name.startswith("bn")]:
                gamma, beta = (root[f"{layer}/{layer}/{name}:0"] for name in ("gamma", "beta"))
                gamma[...], beta[...] = beta[...], gamma[...]

    return change


def fresh_but_exchanged(path):
    set_weight(path, "bn3b_branch2b/bn3b_branch2b/gamma:0", 0)
    set_weight(path, "bn3b_branch2b/bn3b_branch2b/beta:0", 1)


def one_wide_norm_exchanged(path):
    """In one norm alone it takes a quarter of negative gammas to be sure."""
    beta = np.linspace(-1, 3, 64)
    with h5py.File(path, "a") as file:
        norm = file["model_weights/bn5a_branch2c/bn5a_branch2c"]
        norm["gamma:0"][...] = np.resize(beta, norm["gamma:0"].shape)
        norm["beta:0"][...] = 0.5


WRONG = [
    (put("conv1/conv1/kernel:0", np.nan), "not-finite", "conv1/kernel is not finite in"),
    (put("fc1000/fc1000/bias:0", np.inf), "not-finite", "in 10 places, first at [0]"),
    (
        one_number("bn_conv1/bn_conv1/moving_variance:0", -0.5, 2),
        "negative-variance",
        "is a variance, and -0.5 at 2, which is no rounding under an epsilon of 0.001",
    ),
    (put(KERNEL, 0), "constant-kernel", "res3b_branch2b/kernel is 0 everywhere"),
    (put(KERNEL, 0.25), "constant-kernel", "res3b_branch2b/kernel is 0.25 everywhere"),
    (put("fc1000/fc1000/kernel:0", 0), "constant-kernel", "fc1000/kernel is 0 everywhere"),
    (
        take(OTHER, KERNEL),
        "identical-kernels",
        "res3b_branch2b/kernel and res3c_branch2b/kernel hold the same numbers",
    ),
    (
        take("bn_conv1/bn_conv1/moving_mean:0", "bn_conv1/bn_conv1/moving_variance:0"),
        "identical-kernels",
        "bn_conv1/moving_mean and its variance",
    ),
    (exchange(), "swapped-norm", "look swapped: gammas below zero, betas all above"),
    (fresh_but_exchanged, "swapped-norm", "look swapped: gammas of 0, betas of 1"),
    (one_wide_norm_exchanged, "swapped-norm", "bn5a_branch2c/gamma and bn5a_branch2c/beta look"),
]
each = pytest.mark.parametrize(("change", "check", "words"), WRONG)


@pytest.mark.slow
@each
def test_weights_that_cannot_be_right_are_code_6(change, check, words, tmp_path):
    source = copy(PATH, tmp_path)
    change(source)

    result = run(source, tmp_path / "out.safetensors", "--no-parity")

    assert_refused(result, 6, tmp_path / "out.safetensors")
    assert words in result.stderr
    assert f"if you know that they are: --allow {check}" in result.stderr
    assert len(result.stderr.splitlines()) <= 12
    assert os.listdir(tmp_path) == ["source.h5"]


@pytest.mark.slow
@each
def test_who_knows_better_is_warned(change, check, words, tmp_path):
    source, report = copy(PATH, tmp_path), tmp_path / "report.json"
    change(source)
    others = [name for name in CHECKS if name != check]
    allow = [word for name in others for word in ("--allow", name)]

    still = run(source, tmp_path / "out.safetensors", "--no-parity", *allow)
    result = run(
        *(source, tmp_path / "out.safetensors", "--no-parity"),
        *("--allow", check, "--report", report),
    )

    assert still.exit_code == 6
    assert result.exit_code == 0, result.output
    assert any(words in line and "warning" in line for line in result.stderr.splitlines())
    assert any(words in text for text in json.loads(report.read_text())["warnings"])


@pytest.mark.slow
def test_a_variance_of_zero_is_a_warning(tmp_path):
    """Real detectors have channels that never fired."""
    source = copy(PATH, tmp_path)
    one_number("bn_conv1/bn_conv1/moving_variance:0", 0, 2)(source)

    result = run(source, tmp_path / "out.safetensors", "--no-parity")

    assert result.exit_code == 0, result.output
    assert "warning   bn_conv1/moving_variance is 0 in 1 of 4 channels" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("last_gamma", [0, 1])
def test_a_network_that_was_never_trained_is_right(last_gamma, tmp_path):
    source = copy(PATH, tmp_path)
    values = {"gamma:0": 1, "beta:0": 0, "moving_mean:0": 0, "moving_variance:0": 1}
    with h5py.File(source, "a") as file:
        root = file["model_weights"]
        for layer in (name for name in root if name.startswith("bn")):
            for name, value in values.items():
                root[f"{layer}/{layer}/{name}"][...] = value
            if layer.endswith("branch2c"):
                root[f"{layer}/{layer}/gamma:0"][...] = last_gamma
        root["fc1000/fc1000/bias:0"][...] = 0

    result = run(source, tmp_path / "out.safetensors", "--no-parity")

    assert result.exit_code == 0, result.output
    assert "warning" not in result.stderr


@pytest.mark.parametrize("path", LEGACY, ids=lambda path: path.stem)
def test_what_real_keras_wrote_is_right(path):
    with opened(path) as (checkpoint, network):
        plan = make_plan(checkpoint, network)
        sanity = Sanity(plan)
        tensors = dict(sanity.watch(checkpoint))

    assert tensors.keys() == plan.specs.keys()
    assert sanity.warnings == ()


def test_the_command_knows_every_check_and_no_other():
    option = next(one for one in convert_weights.params if one.name == "allow")

    assert isinstance(option.type, Choice)
    assert list(option.type.choices) == list(CHECKS)


def test_a_check_that_is_none_is_a_usage_error_from_python_too(tmp_path):
    from converter.conversion import convert
    from converter.errors import UsageError

    with pytest.raises(UsageError, match="--allow everything: known are not-finite"):
        convert(PATH, tmp_path / "out.safetensors", allow=["everything"])


VARIANCE = "bn_conv1/bn_conv1/moving_variance:0"
HALF = (np.float32(0.001) - np.nextafter(np.float32(0.001), np.float32(0))) / 2
"""Half a unit in the last place of an epsilon of 0.001: what it swallows at most."""


@pytest.mark.slow
@pytest.mark.parametrize("value", [-4e-17, -1e-45, -np.nextafter(HALF, np.float32(0))])
def test_a_variance_that_epsilon_swallows_is_rounding_and_a_warning(value, tmp_path):
    source = copy(PATH, tmp_path)
    one_number(VARIANCE, value, 2)(source)

    result = run(source, tmp_path / "out.safetensors", "--no-parity")

    assert result.exit_code == 0, result.output
    assert np.float32(0.001) + np.float32(value) == np.float32(0.001)
    assert (
        f"warning   bn_conv1/moving_variance is a variance, and {np.float32(value):g} at 2: taken "
        "for rounding, since an epsilon of 0.001 swallows it" in result.stderr
    )


@pytest.mark.slow
@pytest.mark.parametrize("value", [-np.nextafter(HALF, np.float32(1)), -1e-9, -1e-4])
def test_a_variance_that_epsilon_does_not_swallow_is_none(value, tmp_path):
    source = copy(PATH, tmp_path)
    one_number(VARIANCE, value, 2)(source)

    result = run(source, tmp_path / "out.safetensors", "--no-parity")

    assert_refused(result, 6, tmp_path / "out.safetensors")
    assert f"and {np.float32(value):g} at 2, which is no rounding" in result.stderr


@pytest.mark.slow
def test_each_norm_is_judged_by_its_own_epsilon(tmp_path):
    """A smaller one swallows less; one of nothing swallows nothing."""
    source = copy(PATH, tmp_path)
    one_number(VARIANCE, -1e-11, 2)(source)

    for eps, code in ((1e-3, 0), (1e-5, 6), (0.0, 6)):
        result = run(source, tmp_path / "out.pth", "--no-parity", "--bn-eps", eps, "--force")
        assert result.exit_code == code, result.output


@pytest.mark.slow
def test_of_several_channels_the_worst_is_told_and_all_are_counted(tmp_path):
    source = copy(PATH, tmp_path)
    one_number(VARIANCE, -4e-17, 2)(source)
    one_number(VARIANCE, -2e-17, 0)(source)

    result = run(source, tmp_path / "out.safetensors", "--no-parity")

    assert "-4e-17 at 2, and below 0 in 2 channels: taken for rounding" in result.stderr


@pytest.mark.slow
def test_a_destination_with_an_epsilon_of_its_own_takes_rounding_too(tmp_path):
    """With the same epsilon, 1e-5, the variance stays what it is."""
    source = copy(PATH, tmp_path)
    one_number(VARIANCE, -4e-17, 2)(source)

    result = run(
        *(source, tmp_path / "out.pkl", "--no-parity", "--to", "detectron2", "--bn-eps", 1e-5)
    )

    assert result.exit_code == 0, result.output
