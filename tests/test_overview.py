"""`inspect-weights` of any model: its layers by kind, what it holds, and where it can be ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner
from helpers import FIXTURES, fixture, weights_only
from helpers_of_code import with_code

from converter.cli import convert_weights, inspect_weights
from converter.errors import MismatchError
from converter.files.model_config import layer_name, model_layers
from converter.files.source import read_here
from converter.identify import identify
from converter.options import Options
from converter.whole_model.lift import NotUnderstoodError
from converter.whole_model.overview import overview

NETWORKS = FIXTURES / "networks"
CBAM = NETWORKS / "cbam-lambda-k210.h5"
RESNET = fixture("keras-2.2.4-tensorflow")


@pytest.fixture
def loops(tmp_path):
    """A network whose Lambda layers have loops, which are refused."""
    return with_code(CBAM, tmp_path, "loops")


def run(command, *arguments):
    return CliRunner().invoke(command, [str(one) for one in arguments])


def inspected(*arguments, code=0):
    result = run(inspect_weights, *arguments, "--json")
    assert result.exit_code == code, result.stderr
    return json.loads(result.stdout)


# ---- what is there


def test_a_network_with_several_inputs():
    model = inspected(NETWORKS / "multiinput-k224.h5")["model"]

    assert model["inputs"] == [
        {"name": "picture", "shape": [32, 32, 3]},
        {"name": "table", "shape": [7]},
    ]
    assert model["outputs"] == ["price"]
    assert {one["name"]: one["layers"] for one in model["kinds"]}["Conv2D"] == 2
    assert model["parameters"]["all"] == 4629


def test_a_person_reads_the_same():
    result = run(inspect_weights, NETWORKS / "multiinput-k224.h5")

    assert "Conv2D              2       " in result.stdout
    assert "parameters 4,629: " in result.stdout
    assert "picture  (N, 32, 32, 3)  (N, 3, 32, 32)" in result.stdout
    assert "price   (N, 3)  softmax" in result.stdout


def test_a_residual_network_has_its_layers_too():
    data = inspected(RESNET)

    assert (data["classes"], data["refused"]) == (10, None)
    assert {one["name"]: one["layers"] for one in data["model"]["kinds"]}["Conv2D"] == 53


def test_weights_alone_do_not_say_what_is_trained(tmp_path):
    model = inspected(weights_only(RESNET, tmp_path))["model"]

    assert model["parameters"] == {
        "trainable": 0,
        "statistics": 3320,
        "frozen": 0,
        "unsaid": 98442,
        "all": 101762,
    }
    assert (model["kinds"], model["inputs"], model["ends"]) == ([], [], [])


MAKE = """
import sys, json, keras
from keras import layers
base = keras.Sequential(
    [
        keras.Input((8, 8, 3)),
        layers.Conv2D(4, 3, name="frozen"),
        layers.BatchNormalization(name="still"),
    ],
    name="base",
)
base.trainable = False
x = picture = keras.Input((8, 8, 3), name="picture")
x = layers.BatchNormalization(name="norm")(base(x))
x = layers.TimeDistributed(layers.Dense(5), name="each")(layers.Reshape((6, 24))(x))
x = layers.Dropout(0.5)(layers.LSTM(3, name="memory")(x))
model = keras.Model(picture, layers.Dense(2, name="last")(x))
count = lambda weights: sum(int(one.numpy().size) for one in weights)
frozen = count(base.layers[0].weights) + count([base.layers[1].gamma, base.layers[1].beta])
print(json.dumps({
    "trainable": count(model.trainable_weights),
    "frozen": frozen,
    "statistics": count(model.non_trainable_weights) - frozen,
}))
model.save(sys.argv[1])
"""


@pytest.mark.keras
@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_parameters_are_counted_as_keras_counts_them(suffix, tmp_path):
    path = tmp_path / f"model{suffix}"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", MAKE, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    counted = json.loads(done.stdout.splitlines()[-1])

    data = json.loads(run(inspect_weights, path, "--json").stdout)

    found = data["model"]["parameters"]
    assert {name: found[name] for name in counted} == counted
    assert found.get("unsaid", 0) == 0
    kinds = {one["name"]: one for one in data["model"]["kinds"]}
    assert kinds["TimeDistributed(Dense)"] == {
        "name": "TimeDistributed(Dense)",
        "layers": 1,
        "parameters": 125,
    }
    assert kinds["LSTM"]["layers"] == 1


# ---- what would be refused


def test_what_would_be_refused_is_said_as_convert_weights_says_it(loops, tmp_path):
    refused = run(convert_weights, loops, tmp_path / "out.pth", "--no-parity")
    seen = run(inspect_weights, loops)

    assert (seen.exit_code, seen.stderr) == (refused.exit_code, refused.stderr)
    assert seen.exit_code == 5
    assert "Lambda                  2       0" in seen.stdout
    assert seen.stdout.endswith("          --outputs multiply\n")


def test_it_is_in_the_json_too(loops):
    data = inspected(loops, code=5)

    for name, finding in zip(("lambda", "lambda_1"), data["refused"]["findings"], strict=True):
        assert finding.startswith(f"{name!r} (Lambda): it runs a function of the project's own: ")
    assert 'LAYERS = {\n    "lambda": lambda_,' in data["refused"]["layers_file"]
    assert data["model"]["last_ends"] == ["multiply"]
    assert "dialect" not in data


def test_weights_of_no_known_naming_are_counted_and_refused(tmp_path):
    alone = weights_only(NETWORKS / "multiinput-k224.h5", tmp_path)

    data = inspected(alone, code=5)

    assert data["model"]["parameters"]["all"] == 4629
    assert data["refused"]["headline"].startswith("no naming that is known fits the layers of")


# ---- where it can be ended


@pytest.mark.parametrize("name", ["loops", "cbam-lambda-k210", "multiinput-k224", "nested-k315"])
def test_what_is_listed_ends_it_and_nothing_else_does(name, loops):
    with read_here(loops if name == "loops" else NETWORKS / f"{name}.h5") as checkpoint:
        ends = overview(checkpoint, outermost(checkpoint)).ends
        found = {one: is_understood(checkpoint, one) for one in names(checkpoint)}

    assert ends
    assert [one for one, is_one in found.items() if is_one] == list(ends)


def test_were_what_is_refused_not_known_more_would_be_listed(loops):
    with read_here(loops) as checkpoint:
        assert len(overview(checkpoint).ends) > len(
            overview(checkpoint, outermost(checkpoint)).ends
        )


def names(checkpoint):
    """The layers of the outermost model that are no inputs."""
    layers = model_layers(checkpoint.config)
    return [layer_name(one) for one in layers if one["class_name"] != "InputLayer"]


def outermost(checkpoint):
    """The layers that are refused."""
    try:
        identify(checkpoint, Options())
    except NotUnderstoodError as error:
        return error.outermost
    return frozenset()


def is_understood(checkpoint, name):
    try:
        identify(checkpoint, Options(outputs=(name,)))
    except MismatchError:
        return False
    return True
