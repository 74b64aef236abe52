"""Files of Keras' `multi_gpu_model`: the model that it copies, or a refusal."""

from __future__ import annotations

from typing import Any

import pytest
from edits import assert_refused, reconfigured, run
from helpers import facts, fixture, opened

PATH = fixture("keras-2.2.4-tensorflow")


def copied(config: Any, parts: int = 2) -> None:
    """What keras 2.3.1 `utils/multi_gpu_utils.py` builds around a model."""
    source = config["config"]["layers"][0]
    model = {**config, "name": "resnet50", "inbound_nodes": []}
    lambdas = []
    for number in range(parts):
        name = f"lambda_{number + 1}"
        lambdas.append(made(name, "Lambda", [source["name"]]))
        lambdas[-1]["config"]["arguments"] = {"i": number, "parts": parts}
        model["inbound_nodes"].append([[name, 0, 0, {}]])
    joined = made("fc1000", "Concatenate", ["resnet50"] * parts)
    joined["config"]["axis"] = 0
    for number, reference in enumerate(joined["inbound_nodes"][0], start=1):
        reference[1] = number
    config["config"] = {
        "name": "model_1",
        "layers": [source, *lambdas, model, joined],
        "input_layers": [[source["name"], 0, 0]],
        "output_layers": [["fc1000", 0, 0]],
    }


def made(name: str, class_name: str, sources: list[str]) -> Any:
    return {
        "name": name,
        "class_name": class_name,
        "config": {"name": name},
        "inbound_nodes": [[[source, 0, 0, {}] for source in sources]],
    }


@pytest.mark.parametrize("parts", [2, 4])
def test_the_model_that_is_copied_is_converted(parts, tmp_path):
    """It was said not to be a configuration that Keras writes."""
    with opened(PATH) as (_, whole):
        pass
    with opened(reconfigured(PATH, tmp_path, lambda one: copied(one, parts))) as (_, network):
        assert network.architecture.stages == whole.architecture.stages
        assert network.architecture.head == whole.architecture.head
        assert dict(network.structure.layers) == dict(whole.structure.layers)
        assert facts(network)["batch"] == ("not sliced, and not joined again", "default")


def other_arguments(config: Any) -> None:
    copied(config)
    config["config"]["layers"][1]["config"]["arguments"] = {"i": 1, "parts": 2}


def another_axis(config: Any) -> None:
    copied(config)
    config["config"]["layers"][-1]["config"]["axis"] = -1


def a_layer_more(config: Any) -> None:
    copied(config)
    config["config"]["layers"].append(made("softmax_1", "Softmax", ["fc1000"]))
    config["config"]["output_layers"] = [["softmax_1", 0, 0]]


def slices_of_two_inputs(config: Any) -> None:
    copied(config)
    layers = config["config"]["layers"]
    layers.insert(1, {**layers[0], "name": "another"})
    layers[3]["inbound_nodes"] = [[["another", 0, 0, {}]]]


def one_slice_read_twice(config: Any) -> None:
    copied(config)
    layers = config["config"]["layers"]
    layers[3]["inbound_nodes"] = [[["lambda_1", 0, 0, {}]]] * 2


@pytest.mark.parametrize(
    "change",
    [other_arguments, another_axis, a_layer_more, slices_of_two_inputs, one_slice_read_twice],
)
def test_what_is_not_to_the_letter_that_is_refused(change, tmp_path):
    result = run(reconfigured(PATH, tmp_path, change), tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "the model 'resnet50' is used twice" in result.stderr
