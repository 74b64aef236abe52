"""Weights alone: layers beside the network whose settings are written nowhere in the file."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edits import assert_refused, edited, run
from helpers import FIXTURES, as_text, facts, fixture, opened, word

NESTED = fixture("keras-2.10-nested-head")
FLAT = fixture("keras-2.10-functional-head")
FLAT_VARIABLES = fixture("keras-3.0.5-conv_block.weights")


def nested_variables(folder: Path) -> Path:
    """The weights alone of a nested base with a head, as Keras 3.15's `save_weights` lays them."""
    target = folder / "nested.weights.h5"
    with zipfile.ZipFile(FIXTURES / "keras-3.15-nested-head.keras") as archive:
        target.write_bytes(archive.read("model.weights.h5"))
    return target


def with_variables(source: Path, folder: Path, *classes: str) -> Path:
    """A copy with more weightless layers in the outermost model, each its class' 90th."""

    def change(file: Any) -> None:
        for number, name in enumerate(classes):
            variables = file.create_group(f"layers/{name}_{90 + number}/vars")
            variables.attrs["name"] = f"{name}_{90 + number}"

    return edited(source, folder, change, name="edited.weights.h5")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zero_padding2d", "max_pooling2d", "add"])
def test_what_stands_beside_a_nested_network_is_not_passed_over(kind, tmp_path):
    source = with_variables(nested_variables(tmp_path), tmp_path, kind)
    target = tmp_path / "out.pth"

    result = run(source, target, "--no-parity")

    assert_refused(result, 5, target)
    assert f"'{kind}_90'" in result.stderr
    assert "not where they stand or what they compute" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["zero_padding2d", "add"])
def test_a_layer_more_than_the_network_has_is_not_passed_over(kind, tmp_path):
    source = with_variables(FLAT_VARIABLES, tmp_path, kind)
    target = tmp_path / "out.pth"

    result = run(source, target, "--no-parity")

    assert_refused(result, 5, target)
    assert f"{kind}_90" in result.stderr


def test_an_activation_beside_a_nested_network_is_said_to_be_unknown(tmp_path):
    with opened(nested_variables(tmp_path)) as (_, network):
        assert "which function" not in reason(network)
    source = with_variables(nested_variables(tmp_path), tmp_path, "activation")
    with opened(source) as (_, network):
        assert facts(network)["head"][1] == "default"
        assert "where 'activation_90' stands, and which function it is" in reason(network)


def reason(network: Any) -> str:
    return next(fact.reason for fact in network.facts if fact.name == "head")


@pytest.mark.slow
def test_a_norm_that_may_stand_in_front_is_placed_nowhere(tmp_path):
    """Three classes and three channels: `Dense(3)` and the picture have the width of the norm."""
    channels = 3

    def change(file: Any) -> None:
        variables = file.create_group("layers/batch_normalization_9/vars")
        variables.attrs["name"] = "batch_normalization_9"
        for number in range(4):
            variables[str(number)] = np.ones(channels, "f4")
        for layer in file["layers"].values():
            if "0" in layer.get("vars", {}) and layer["vars"]["0"].ndim == 2:
                last = layer["vars"]
        for number in ("0", "1"):
            values = np.asarray(last[number])[..., :channels]
            del last[number]
            last[number] = values

    source = edited(nested_variables(tmp_path), tmp_path, change, name="edited.weights.h5")
    target = tmp_path / "out.pth"

    result = run(source, target, "--no-parity")

    assert_refused(result, 5, target)
    assert "norm 'batch_normalization_9' has 3 channels and may stand behind" in result.stderr
    assert "or in front of the network" in result.stderr


def listed(source: Path, folder: Path, name: str, place: str, offset: int = 0) -> Path:
    """A copy of a model's weights alone that lists one more layer at, or behind, `place`."""

    def change(file: Any) -> None:
        names = [as_text(one) for one in file.attrs["layer_names"]]
        names.insert(names.index(place) + offset, name)
        file.attrs["layer_names"] = names
        file.create_group(name).attrs["weight_names"] = np.zeros(0)

    return edited(source, folder, change, alone=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "name", "place", "offset"),
    [
        (NESTED, "zero_padding2d", "resnet50", 0),
        (NESTED, "my_padding", "resnet50", 0),
        (NESTED, "max_pooling2d", "resnet50", 0),
        (NESTED, "activation", "resnet50", 0),
        (NESTED, "zero_padding2d", "resnet50", 1),
        (NESTED, "activation", "resnet50", 1),
        (NESTED, "add", "resnet50", 1),
        (FLAT, "zero_padding2d", "conv1_pad", 0),
        (FLAT, "max_pooling2d", "conv1_pad", 0),
        (FLAT, "zero_padding2d", "global_average_pooling2d", 0),
    ],
)
def test_a_layer_that_the_order_shows_to_be_none_of_the_networks_is_refused(
    source, name, place, offset, tmp_path
):
    target = tmp_path / "out.pth"

    result = run(listed(source, tmp_path, name, place, offset), target, "--no-parity")

    assert_refused(result, 5, target)
    assert f"'{name}'" in result.stderr


def test_the_relu_of_a_hidden_layer_stands_where_an_activation_is_listed(tmp_path):
    """`Dense, BatchNormalization, Activation` is another head than `Dense(relu), Batch...`."""
    source = listed(NESTED, tmp_path, "activation_90", "batch_normalization", 1)

    with opened(source) as (_, network):
        head = [(one.name, word(one)) for one in network.architecture.head]
    place = head.index(("activation_90", "activation"))
    assert head[place - 1] == ("batch_normalization", "norm")
    assert [kind for _, kind in head].count("activation") == 1


def test_what_operators_do_in_front_of_the_network_is_said_to_be_unknown(tmp_path):
    """Keras 3 keeps no group for them: `x / 255` is written nowhere, before a base or within it."""
    for source in (nested_variables(tmp_path), FLAT_VARIABLES):
        with opened(source) as (_, network):
            assert facts(network)["input"] == ("as it comes to the first convolution", "default")
