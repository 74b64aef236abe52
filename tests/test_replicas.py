"""Files of Keras' `multi_gpu_model`: the model that it copies, or a refusal."""

from __future__ import annotations

from typing import Any

import pytest
from edits import assert_refused, edited, reconfigured, run
from helpers import as_text, facts, fixture, head_words, opened

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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [other_arguments, another_axis, a_layer_more, slices_of_two_inputs, one_slice_read_twice],
)
def test_what_is_not_to_the_letter_that_is_refused(change, tmp_path):
    result = run(reconfigured(PATH, tmp_path, change), tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "(Lambda): it runs a function" in result.stderr


def listed(*names: str) -> Any:
    """All weights in one group, that of the model, and these names around it."""

    def change(file: Any) -> None:
        found = []
        for name in [as_text(one) for one in file.attrs["layer_names"]]:
            group = file[name]
            found += [
                (as_text(one), group[as_text(one)][()]) for one in group.attrs["weight_names"]
            ]
            del file[name]
        for name in names:
            file.create_group(name).attrs["weight_names"] = []
        for name, values in found:
            file["resnet50"][name] = values
        file["resnet50"].attrs["weight_names"] = [name for name, _ in found]
        file.attrs["layer_names"] = list(names)

    return change


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sliced", "joined"),
    [
        (("lambda_1", "lambda_2"), "fc1000"),
        (("lambda_3", "lambda_4", "lambda_5"), "concatenate_2"),  # Keras before 2.1
        (("lambda_1", "lambda_2"), "activation_50"),  # the model ends in a layer of that name
    ],
)
def test_weights_of_the_whole_are_those_of_the_model(sliced, joined, tmp_path):
    """Keras 2.0.9 and 2.1.6 cannot save such a model, only its weights."""
    change = listed("input_1", *sliced, "resnet50", joined)
    alone = edited(PATH, tmp_path, listed("resnet50"), alone=True, name="alone.h5")

    with (
        opened(alone) as (_, whole),
        opened(edited(PATH, tmp_path, change, alone=True)) as (_, one),
    ):
        assert one.architecture == whole.architecture
        assert dict(one.structure.layers) == dict(whole.structure.layers)
        value, evidence = facts(one)["batch"]
        assert (value, evidence) == ("not sliced, and not joined again", "default")
        assert "batch" not in facts(whole)


@pytest.mark.slow
@pytest.mark.parametrize(
    "names",
    [
        ("input_1", "lambda_1", "resnet50", "fc1000"),
        ("input_1", "lambda_1", "lambda_3", "resnet50", "fc1000"),
        ("input_1", "lambda_1", "lambda_2", "resnet50"),
        ("input_1", "lambda_1", "lambda_2", "resnet50", "fc1000", "multiply_1"),
        ("input_1", "lambda_1", "lambda_2", "resnet50", "lambda_3"),
    ],
)
def test_weights_around_which_other_layers_stand_are_refused(names, tmp_path):
    source = edited(PATH, tmp_path, listed(*names), alone=True)

    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "'lambda_1'" in result.stderr


def test_what_is_joined_is_read_as_the_layer_that_gives_it_its_name(tmp_path):
    """A model that ends in a pool, which nothing lists but the Concatenate's name."""

    def change(file: Any) -> None:
        del file["fc1000"]
        names = [as_text(one) for one in file.attrs["layer_names"]]
        file.attrs["layer_names"] = [name for name in names if name != "fc1000"]
        listed("input_1", "lambda_1", "lambda_2", "resnet50", "global_max_pooling2d_1")(file)

    with opened(edited(PATH, tmp_path, change, alone=True)) as (_, network):
        assert head_words(network) == ["global_max_pool"]
