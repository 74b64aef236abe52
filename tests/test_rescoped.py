"""Weights whose scope has a number that their layer has not: a base built twice in a session."""

from __future__ import annotations

from typing import Any

import pytest
from edits import assert_refused, edited, run
from helpers import as_text, converted, fixture

PATH = fixture("keras-2.10-nested-head")


def weights_of(file: Any) -> Any:
    return file.get("model_weights", file)


def rescoped(number: str, *kept: str) -> Any:
    """What TensorFlow 1 writes for a nested base whose layers' scopes were taken."""

    def change(file: Any) -> None:
        root = weights_of(file)
        for group in (root[as_text(name)] for name in root.attrs["layer_names"]):
            names = [as_text(name) for name in group.attrs["weight_names"]]
            if len({name.rpartition("/")[0] for name in names}) < 2:
                continue
            group.attrs["weight_names"] = [moved(group, name, number, kept) for name in names]

    return change


def moved(group: Any, name: str, number: str, kept: tuple[str, ...]) -> str:
    scope, _, parameter = name.rpartition("/")
    new = name if scope in kept else f"{scope}{number}/{parameter}"
    if new != name:
        group.move(name, new)
    return new


@pytest.mark.parametrize("alone", [False, True], ids=["whole", "weights"])
@pytest.mark.parametrize(
    ("number", "kept"), [("_1", ()), ("_12", ()), ("_1", ("conv1_conv", "conv1_bn"))]
)
def test_a_base_built_twice_is_read_as_the_first(alone, number, kept, tmp_path):
    """It was refused: 'conv1_conv' has no kernel, and no naming fits 'conv1_conv_1'."""
    plain = edited(PATH, tmp_path, lambda file: None, alone=alone, name="plain.h5")
    source = edited(PATH, tmp_path, rescoped(number, *kept), alone=alone)

    network, tensors = converted(source)
    expected, values = converted(plain)

    assert network.architecture == expected.architecture
    assert dict(network.structure.layers) == dict(expected.structure.layers)
    assert {name: one.tobytes() for name, one in tensors.items()} == {
        name: one.tobytes() for name, one in values.items()
    }


@pytest.mark.parametrize("alone", [False, True], ids=["whole", "weights"])
def test_scopes_that_lead_to_one_layer_are_refused(alone, tmp_path):
    def change(file: Any) -> None:
        rescoped("_1")(file)
        group = weights_of(file)["resnet50"]
        names = [as_text(name) for name in group.attrs["weight_names"]]
        old = next(name for name in names if name.startswith("conv2_block1_1_conv_1/"))
        new = old.replace("conv2_block1_1_conv_1", "conv1_conv")
        group.copy(old, new)
        group.attrs["weight_names"] = [*names, new]

    result = run(edited(PATH, tmp_path, change, alone=alone), tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "the same weight of the same layer" in result.stderr
