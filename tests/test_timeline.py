"""The same names in every version: where the timeline turns, and what two readings agree on."""

from __future__ import annotations

from dataclasses import replace

import h5py
import numpy as np
import pytest
from edits import assert_refused, edited, run
from helpers import (
    LEGACY,
    facts,
    fixture,
    is_whole_model,
    opened,
    weightless_removed,
    weights_only,
)

from converter.errors import MismatchError

PATH = fixture("keras-2.2.4-tensorflow")
DILATED = "keras-1.2.2-dilated"
"""Without names, strides and dilations are those of code that its places fit."""
PAD, SAME = "7x7/2, padding 3", "7x7/2, 'same' as in TensorFlow"
UNPADDED, PADDED = "max-pool 3x3/2, unpadded", "max-pool 3x3/2, padding 1"

# keras c5ff4c967e (2.0.7) and c2a8450279 (2.1.5); keras-applications 36436f6 (Keras 2.2.3).
TURNS = [
    ("2.0.0", PAD, UNPADDED),
    ("2.0.6", PAD, UNPADDED),
    ("2.0.7", SAME, UNPADDED),
    ("2.1.4", SAME, UNPADDED),
    ("2.1.5", PAD, UNPADDED),
    ("2.2.2", PAD, UNPADDED),
    ("2.2.3", PAD, PADDED),
    ("2.2.4-tf", PAD, PADDED),
    ("2.3.1", PAD, PADDED),
    ("2.10.0", PAD, PADDED),
    ("3.15.1", PAD, PADDED),
]


def weights_of(version, folder, listed=False):
    alone = weights_only(PATH, folder)
    if not listed:
        weightless_removed(alone)
    with h5py.File(alone, "a") as file:
        del file.attrs["keras_version"]
        if version is not None:
            file.attrs["keras_version"] = version
    return alone


@pytest.mark.parametrize(("version", "stem", "pool"), TURNS, ids=lambda value: str(value))
def test_a_version_alone_tells_stem_and_pool(version, stem, pool, tmp_path):
    with opened(weights_of(version, tmp_path)) as (_, network):
        found = facts(network)

    # since Keras 2.4 its own code has other names: a copy ran there
    evidence = "default" if version in ("2.10.0", "3.15.1") else "file attributes"
    assert found["stem"] == (stem, evidence)
    assert found["pool"] == (pool, evidence)


@pytest.mark.parametrize(
    ("version", "eps"),
    [
        ("1.0.7", "1e-06"),
        ("1.0.8", "1e-05"),
        ("1.1.2", "1e-05"),
        ("1.2.0", "0.001"),
        ("2.0.0", "0.001"),
    ],
)
def test_a_version_alone_tells_epsilons_default(version, eps, tmp_path):
    """A copy of Keras' code with an epsilon of its own has the same names."""
    with opened(weights_of(version, tmp_path, listed=True)) as (_, network):
        assert facts(network)["epsilon"] == (eps, "default")
        reason = next(fact.reason for fact in network.facts if fact.name == "epsilon")
        assert f"default in Keras {version}" in reason


@pytest.mark.parametrize("listed", [True, False], ids=["layers listed", "only weights listed"])
@pytest.mark.parametrize("version", ["unknown", "", "x.y"])
def test_a_version_that_is_none_is_no_evidence(version, listed, tmp_path):
    source = weights_of(version, tmp_path, listed)

    with opened(source) as (_, network):
        assert facts(network)["epsilon"] == ("0.001", "default")


@pytest.mark.keras
@pytest.mark.parametrize("version", ["unknown", b"x.y"])
def test_a_whole_model_of_an_unknown_version_is_converted(version, tmp_path):
    def rename(file):
        for one in (file, file["model_weights"]):
            one.attrs["keras_version"] = version

    source = edited(PATH, tmp_path, rename)

    result = run(source, tmp_path / "out.pth", "--device", "cpu")

    assert result.exit_code == 0, repr(result.exception)


def test_names_beat_the_version(tmp_path):
    """A file of Keras 2.2.4 that says it is of 2.0.9 still lists `conv1_pad` and `pool1_pad`."""
    with opened(weights_of("2.0.9", tmp_path, listed=True)) as (_, network):
        found = facts(network)

    assert found["stem"] == (PAD, "layer names")
    assert found["pool"] == (PADDED, "layer names")


EPSILON_DOES_NOT_SHOW = {"keras-1.0.7-theano", "keras-1.1.2-theano-tf"}
"""Keras 1 weights do not say their version, and the default epsilon changed with 1.2."""


def shown(architecture, with_epsilon):
    """What both readings must agree on: not names of layers without weights, a Dropout's rate or
    the last activation, which weights do not tell."""
    data = architecture.to_dict()
    head = [
        {key: value for key, value in one["op"].items() if key != "rate"}
        for one in data.pop("head")
    ]
    for key in ("input_size", "preprocessing", "outputs"):
        data.pop(key)
    return repr((data, head)) if with_epsilon else repr((convolutions(architecture), head))


def convolutions(architecture):
    blocks = [block for stage in architecture.stages for block in stage]
    return [conv for block in blocks for conv in block.convs]


@pytest.mark.parametrize(
    "path", [path for path in LEGACY if is_whole_model(path)], ids=lambda path: path.stem
)
def test_weights_alone_are_the_network_of_the_whole_model(path, tmp_path):
    with opened(path) as (_, network):
        whole = network
    try:
        with opened(weights_only(path, tmp_path)) as (_, network):
            alone = network
    except MismatchError:
        assert whole.dialect == "names of its own, read by the graph"
        return

    stem = whole.architecture.stem
    if stem.rescaling:  # which is not in the weights, and said to be
        behind = replace(whole.architecture, stem=replace(stem, rescaling=None))
        whole = replace(whole, structure=replace(whole.structure, architecture=behind))
    if whole.dialect == "names of its own, read by the graph":
        # Told by the layers' order: the window of the last average is not in the weights.
        assert dict(alone.structure.layers) == dict(whole.structure.layers)
        if path.stem == DILATED:
            assert {facts(alone)[name][1] for name in ("stride", "amounts")} == {"default"}
            return
        assert convolutions(alone.architecture) == convolutions(whole.architecture)
        return
    with_epsilon = path.stem not in EPSILON_DOES_NOT_SHOW
    assert shown(alone.architecture, with_epsilon) == shown(whole.architecture, with_epsilon)
    assert alone.layout == whole.layout
    assert alone.theano == whole.theano


def test_a_network_cut_off_behind_a_block_is_refused_or_headless(tmp_path):
    """Without the last layers of a block there is no whole block to convert."""

    def cut(file):
        names = list(file.attrs["layer_names"])
        file.attrs["layer_names"] = names[: names.index(b"res4c_branch2b")]

    source = edited(PATH, tmp_path, cut, alone=True)

    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "missing: res4c_branch2b" in result.stderr
    assert "missing: bn4c_branch2c" in result.stderr


def test_a_file_without_layers_is_refused(tmp_path):
    def empty(file):
        file.attrs["layer_names"] = np.zeros(0)

    source = edited(PATH, tmp_path, empty, alone=True)

    assert_refused(run(source, tmp_path / "out.pth"), 5, tmp_path / "out.pth")
