"""Weights alone with their model's own configuration are the whole model."""

from __future__ import annotations

import json
import lzma
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace

import h5py
import numpy as np
import pytest
from edits import names_removed
from helpers import FIXTURES, LEGACY, RECORDED, as_text, fixture, is_whole_model, weights_only

from converter.conversion import convert
from converter.errors import MismatchError, UnsafeError
from converter.files.auto_names import made_up_number
from converter.files.configuration_file import configuration_here
from converter.files.configuration_text import parse
from converter.files.given import Given
from converter.files.source import read_here
from converter.identify import identify
from converter.mapping.plan import make_plan
from converter.options import Options

WHOLE = [path for path in LEGACY if is_whole_model(path)]
ARCHIVES = [path for path in RECORDED if path.suffix == ".keras"]


def configuration(path):
    """What `to_json` wrote of a whole model in HDF5: the version of Keras is in it (keras 1.0.7
    `Container.to_json`), which some kept in the file beside its configuration."""
    with h5py.File(path) as file:
        config = json.loads(file.attrs["model_config"])
        version = file.attrs.get("keras_version", "")
        return json.dumps({"keras_version": as_text(version), **config})


def given(text, **options):
    return Given(parse(text.encode()), "model.json", sha256="0" * 64, **options)


def read(path, configured=None):
    """(checkpoint, network, tensors) of a file."""
    with read_here(path, configured) as checkpoint:
        network = identify(checkpoint, Options())
        plan = make_plan(checkpoint, network)
        return checkpoint, network, plan, dict(plan.tensors(checkpoint))


def assert_the_same(one, other):
    """Architecture, mapping, facts and every bit; what says that it was given is beside."""
    (_, whole, plan, tensors), (checkpoint, network, mapped, found) = one, other
    assert network.structure == whole.structure
    assert network.dialect == whole.dialect
    given_too = [fact for fact in network.facts if fact.name not in ("configuration", "weights")]
    assert [fact.name for fact in given_too] == [fact.name for fact in whole.facts]
    assert [fact.value for fact in given_too] == [fact.value for fact in whole.facts]
    assert [without_source(step) for step in mapped.steps] == [
        without_source(step) for step in plan.steps
    ]
    assert found.keys() == tensors.keys()
    assert all(found[name].tobytes() == tensors[name].tobytes() for name in tensors)
    assert checkpoint.rivals == ()


def without_source(step):
    """A step, its array by layer and parameter."""
    return str(step.source), replace(step, source=None)


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.stem)
def test_the_weights_of_a_whole_model_with_its_json_are_the_whole_model(path, tmp_path):
    alone = weights_only(path, tmp_path)

    found = read(alone, given(configuration(path)))

    assert_the_same(read(path), found)
    assert found[0].match == "names"


@pytest.mark.parametrize("path", ARCHIVES, ids=lambda path: path.stem)
def test_the_weights_of_an_archive_with_its_json_are_the_whole_model(path, tmp_path):
    alone = tmp_path / "model.weights.h5"
    with zipfile.ZipFile(path) as archive:
        alone.write_bytes(archive.read("model.weights.h5"))
        text, metadata = archive.read("config.json"), json.loads(archive.read("metadata.json"))
    if "hub" in path.stem:
        with pytest.raises(MismatchError, match="of a class of its own"):
            read(alone, given(text.decode()))
        return
    config = {**json.loads(text), "keras_version": metadata["keras_version"]}

    found = read(alone, given(json.dumps(config)))

    assert_the_same(read(path), found)


@pytest.mark.slow
@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.stem)
def test_names_of_another_session_are_paired_in_keras_order(path, tmp_path):
    """Every layer of the file has another name, as from a notebook that built two models."""
    alone = weights_only(path, tmp_path)
    renamed(alone)
    if "retinanet" in path.stem:
        with pytest.raises(MismatchError, match="whether it has weights is not"):
            read(alone, given(configuration(path)))
        return

    found = read(alone, given(configuration(path)))

    assert found[0].match == "order"
    assert_the_same(read(path), found)


def renamed(path):
    """Set `other_` before the name of every layer and weight in a file of weights."""
    with h5py.File(path, "a") as file:
        names = [as_text(name) for name in attribute(file, "layer_names")]
        moved = {name: f"other_{number}" for number, name in enumerate(names)}
        for name, new in moved.items():
            group = file.create_group(new)
            weights = [as_text(one) for one in attribute(file[name], "weight_names")]
            for one in weights:
                scope, _, last = one.rpartition("/")
                group[f"x{scope.replace('/', '_')}/{last}"] = file[name][one][()]
            group.attrs["weight_names"] = [
                f"x{one.rpartition('/')[0].replace('/', '_')}/{one.rpartition('/')[2]}".encode()
                for one in weights
            ]
            del file[name]
        for key in [key for key in file.attrs if key.startswith("layer_names")]:
            del file.attrs[key]
        file.attrs["layer_names"] = np.array([one.encode() for one in moved.values()])


def attribute(found, name):
    if name in found.attrs:
        return list(found.attrs[name])
    parts = [key for key in (f"{name}{n}" for n in range(99)) if key in found.attrs]
    return [one for part in parts for one in found.attrs[part]]


SAVED = """
import sys
import keras
model = keras.models.load_model(sys.argv[1], compile=False)
model.save_weights("alone.weights.h5")
model.save_weights("sharded.weights.json", max_shard_size=0.0002)
open("model.json", "w").write(model.to_json())
"""
"""What Keras 3 writes of a model: its weights in both containers, and its words."""


@pytest.fixture(scope="module", params=["keras-3.15-nested-head.h5", "keras-3.15-conv_block-50.h5"])
def of_keras_3(request, tmp_path_factory):
    """(a whole model, the folder in which Keras 3 wrote its weights and configuration)."""
    folder = tmp_path_factory.mktemp("keras3")
    path = FIXTURES / request.param
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-c", SAVED, str(path)]
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    return path, folder


@pytest.mark.slow
@pytest.mark.keras
@pytest.mark.parametrize("name", ["alone.weights.h5", "sharded.weights.json"])
def test_keras_3s_containers_with_their_json_are_the_whole_model(name, of_keras_3):
    path, folder = of_keras_3

    found = read(folder / name, given((folder / "model.json").read_text()))

    assert found[0].match == "names"
    assert_the_same_network(read(path), found)


@pytest.mark.keras
def test_without_names_layers_go_by_class_and_number(of_keras_3, tmp_path):
    path, folder = of_keras_3
    alone = tmp_path / "old.weights.h5"
    shutil.copy(folder / "alone.weights.h5", alone)
    with h5py.File(alone, "a") as file:
        names_removed(file)

    found = read(alone, given((folder / "model.json").read_text()))

    assert found[0].match == "order"
    assert_the_same_network(read(path), found)


@pytest.mark.slow
@pytest.mark.keras
@pytest.mark.parametrize("name", ["alone.weights.h5", "sharded.weights.json"])
def test_keras_3_itself_is_asked_of_such_a_pair(name, of_keras_3, tmp_path):
    _, folder = of_keras_3

    report = convert(
        folder / name, tmp_path / "out.pth", config=folder / "model.json", device="cpu"
    )

    assert report.verdict == "equal"
    assert report.parity.oracle == "Keras itself"


@pytest.mark.parametrize(
    ("weights", "whole"),
    [
        ("keras-2.15-conv_block.weights.h5", "keras-2.15-conv_block.keras"),
        ("keras-3.0.5-conv_block.weights.h5", "keras-3.0.5-conv_block.h5"),
    ],
)
def test_containers_of_earlier_kerases(weights, whole):
    with read_here(FIXTURES / whole) as checkpoint:
        config = {"keras_version": checkpoint.keras_version, **checkpoint.config}

    found = read(FIXTURES / weights, given(json.dumps(config)))

    assert_the_same_network(read(FIXTURES / whole), found)


def assert_the_same_network(one, other):
    """Architecture, the layer of every module, and every bit: containers order and call their
    arrays differently."""
    (_, whole, _, tensors), (_, network, _, found) = one, other
    assert network.structure == whole.structure
    assert found.keys() == tensors.keys()
    assert all(found[name].tobytes() == tensors[name].tobytes() for name in tensors)


def yaml_of(name):
    return lzma.open(FIXTURES / "configurations" / f"{name}.yaml.xz").read()


@pytest.mark.parametrize("name", ["keras-1.2.2-dilated", "keras-2.2.4-tensorflow"])
def test_the_yaml_that_its_keras_wrote_is_the_same(name, tmp_path):
    path = fixture(name)
    config = Given(parse(yaml_of(name)), "model.yaml", sha256="0" * 64)

    assert_the_same(read(path), read(weights_only(path, tmp_path), config))


def test_a_yaml_with_a_number_of_numpys_is_refused():
    with pytest.raises(UnsafeError, match="an object of numpy"):
        parse(yaml_of("keras-1.2.2-tensorflow"))


@pytest.mark.parametrize("name", ["keras-2.15-conv_block.keras", "keras-1.2.2-tensorflow.h5"])
def test_a_whole_model_says_its_keras_too(name):
    with read_here(FIXTURES / name) as checkpoint:
        whole = checkpoint

    found = Given(configuration_here(FIXTURES / name))

    assert found.keras_version == whole.keras_version
    assert found.backend == whole.backend


def test_groups_of_convolutions_are_given_as_they_are_written(tmp_path):
    path = fixture("keras-2.3.1-qubvel-resnext")

    found = Given(configuration_here(path), sha256="0" * 64)

    assert_the_same(read(path), read(weights_only(path, tmp_path), found))


def test_a_number_that_is_no_decimal_is_no_number():
    assert made_up_number("conv2d_7", "Conv2D") == 7
    assert made_up_number("conv2d", "Conv2D") == 0
    assert made_up_number("convolution2d_7", "Conv2D") == 7
    assert made_up_number("batchnormalization_3", "BatchNormalization") == 3
    assert made_up_number("conv2d_²", "Conv2D") is None
    assert made_up_number("res2a", "Conv2D") is None
