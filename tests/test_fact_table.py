"""Each fact of the table can be set, is read again as it was set, and is tried by a record."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers import (
    FIXTURES,
    converted,
    copy,
    facts,
    opened,
    pictures_of,
    record,
    weightless_removed,
    weights_only,
)

from converter.conversion import convert
from converter.errors import ParityError, UsageError
from converter.facts.defaults import Defaults
from converter.facts.strides import KERAS
from converter.facts.table import BY_NAME, TABLE, changed, single_changes
from converter.options import Options
from converter.parity import settle
from converter.parity.comparing import torch_run
from converter.parity.original.recording import read_record
from resnet_pt import resnet
from resnet_pt.architecture import Architecture, Block, Dense, Flatten, Layer, Stem
from resnet_pt.ops import Activation

ARCHITECTURES = [row for row in TABLE if row.set]
"""The facts of an architecture."""


def basic() -> Architecture:
    """Basic blocks, a Flatten and a hidden Dense layer."""
    wide = resnet((2, 2, 2), 7, width=4)

    def block(one: Block) -> Block:
        first, second, last = one.convs
        middle = second.replace(in_channels=first.in_channels)
        end = last.replace(kernel=(3, 3), padding=1)
        return dataclasses.replace(one, convs=(middle, end), norms=one.norms[1:])

    stages = tuple(tuple(map(block, stage)) for stage in wide.stages)
    head = (
        Layer("flat", Flatten("hwc"), ("",)),
        Layer("hidden", Dense(256, 9), ("flat",)),
        Layer("relu", Activation("relu"), ("hidden",)),
        Layer("fc", Dense(9, 7), ("relu",)),
    )
    return dataclasses.replace(wide, stages=stages, head=head)


def preactivated() -> Architecture:
    """Pre-activated blocks, and a stem at whose pool zeros are more than nothing."""
    plain = resnet((2, 2), 7, width=4)
    stages = tuple(
        tuple(dataclasses.replace(block, preactivation=True) for block in stage)
        for stage in plain.stages
    )
    wide = dataclasses.replace(plain, stages=stages)
    stem: Stem = dataclasses.replace(wide.stem, activation=False)
    return dataclasses.replace(wide, stem=stem)


# ---- set, and read again


@pytest.mark.parametrize("make", [lambda: resnet((2, 2, 3), 5, width=4), basic, preactivated])
@pytest.mark.parametrize("row", ARCHITECTURES, ids=lambda row: row.name)
def test_what_is_set_is_read_again(row, make):
    architecture = make()
    values = [*row.tries(architecture), *(row.choices if row.name == "preprocessing" else ())]
    for value in values if not row.why_not(architecture) else ():
        if (row.name, value) == ("pool", "inf") and architecture.stem.activation:
            continue  # behind a relu zeros are nothing
        other = row.set(architecture, value, KERAS)
        assert row.read(other) == value
        again = row.set(other, row.read(architecture), KERAS)
        assert row.read(again) == row.read(architecture)


@pytest.mark.parametrize("row", ARCHITECTURES, ids=lambda row: row.name)
def test_every_fact_is_read_again_on_some_network(row):
    """So that the test above has something to set."""
    networks = [resnet((2, 2, 3), 5, width=4), basic(), preactivated()]
    assert any(row.others(one) for one in networks) or row.name == "preprocessing"


def test_a_fact_is_set_alone():
    architecture = resnet((2, 2, 3), 5, width=4)
    for row in ARCHITECTURES:
        for changes in single_changes(architecture, KERAS, row.name):
            other = changed(architecture, changes, KERAS)
            same = [one for one in ARCHITECTURES if one.name not in changes]
            moved = {one.name for one in same if one.read(other) != one.read(architecture)}
            assert moved <= ALLOWED.get(row.name, set()), (row.name, changes, moved)


ALLOWED = {
    "stem stride": {"stem"},  # padding by half and 'same' are one where nothing strides
    "pool kind": {"pool window", "pool stride", "pool"},  # of a pool that is not there
    "stage strides": {"stride in", "stride on", "padding"},
    "stride on": {"padding"},
}


def test_the_stride_is_moved_with_the_padding_of_the_code():
    """TensorFlow's v1.5 pads 'same'; where Theano ran, or the naming's code pads, evenly."""
    first = resnet((2, 2), 5, width=4, stride_on="1x1")
    row = BY_NAME["stride on"]

    same, even = (row.set(first, "3x3", Defaults(eps=1e-3, padding=way)) for way in ("same", "pad"))

    assert [one.stages[1][0].convs[1].padding for one in (same, even)] == ["same", 1]
    assert BY_NAME["padding"].read(same) == ("-", "same")
    assert even.stages == resnet((2, 2), 5, width=4, stride_on="3x3").stages


def test_a_stride_that_no_block_of_a_network_can_have_is_refused():
    row = BY_NAME["stride on"]
    with pytest.raises(ValueError, match="may stride on first or second"):
        row.set(basic(), "3x3", KERAS)
    with pytest.raises(ValueError, match="may stride on 1x1 or 3x3"):
        row.set(preactivated(), "second", KERAS)


def test_convolutions_in_front_and_of_a_deep_stem_are_seen():
    from converter.facts.changes import convs, map_convs
    from converter.facts.words import describe_stride
    from resnet_pt.architecture import Conv, Front, Norm

    plain = resnet((1, 1), 5, width=4)
    front = Front(Conv(1, 3, (3, 3), (2, 2), 1))
    deep = ((Conv(3, 4, (3, 3), (2, 2), 1), Norm(4)),)
    stem = dataclasses.replace(plain.stem, front=(front,), deep=deep)
    network = dataclasses.replace(plain, stem=stem)

    biased = map_convs(network, lambda conv: conv.replace(bias=True))

    assert describe_stride(network).startswith("front 2, stem 4, pool 2, stages")
    assert all(conv.bias for conv in convs(biased))
    assert len(convs(network)) == len(convs(plain)) + 2


def test_an_epsilon_of_1e_14_is_an_epsilon():
    """It was taken for Keras' Normalization, and could not be set again."""
    row = BY_NAME["epsilon"]
    tiny = row.set(resnet((1, 1), 5, width=4), 1e-14, KERAS)

    assert row.read(tiny) == 1e-14
    assert row.read(row.set(tiny, 1e-3, KERAS)) == 1e-3


# ---- options


def test_the_options_are_those_of_the_table():
    fields = [field.name for field in dataclasses.fields(Options)]
    first = fields.index(TABLE[0].option)

    assert fields[first:] == [row.option for row in TABLE]
    assert len(BY_NAME) == len(TABLE)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("stage_strides", "1,2,x", "--stage-strides 1,2,x: "),
        ("dilation", "0", "--dilation 0: a whole number from 1 to 64"),
        ("padding", "odd", "--padding odd: even or same for all stages"),
        ("activation", "softmax", "--activation softmax: known are "),
        ("activation", "leaky_relu", "--activation leaky_relu: known are "),
        ("pool", "none", "--pool none: known are valid, zero, same, inf"),
        ("stem_stride", 0, "--stem-stride 0: a whole number from 1"),
    ],
)
def test_what_no_network_has_is_refused(option, value, words):
    with pytest.raises(UsageError, match=words):
        Options(**{option: value})


def test_lists_may_be_given_as_text_or_numbers():
    assert Options(stage_strides="1,2,2").stage_strides == (1, 2, 2)
    assert Options(stage_strides=[1, 2, 2]).stage_strides == (1, 2, 2)
    assert Options(dilation=2).dilation == (2,)
    assert Options(padding="-, same").padding == ("-", "same")
    assert Options(activation="leaky_relu:0.30").activation == "leaky_relu:0.3"


# ---- what a record settles

NETWORKS: dict[str, tuple[dict[str, object], dict[str, str]]] = {
    "standard": ({}, {}),
    "epsilon": ({"eps": 1e-3}, {"epsilon": "0.001"}),
    "activation": ({"activation": "elu"}, {"activation": "elu"}),
    "stem stride": ({"stem_stride": 1}, {"stem stride": "1"}),
    "stem": ({"stem": "same"}, {"stem": "7x7/2, 'same' as in TensorFlow"}),
    "stem valid": ({"stem": "valid"}, {"stem": "7x7/2, padding 0"}),
    "pool kind": ({"pool": "average", "pool_padding": "same"}, {"pool kind": "average"}),
    "no pool": ({"pool": "none", "pool_padding": ""}, {"pool kind": "none"}),
    "pool window": ({"pool_window": 2}, {"pool window": "2"}),
    "pool stride": ({"pool_stride": 1}, {"pool stride": "1"}),
    "pool": ({"pool_padding": "valid"}, {"pool": "max-pool 3x3/2, unpadded"}),
    "pool same": ({"pool_padding": "same"}, {"pool": "max-pool 3x3/2, 'same' as in TensorFlow"}),
    "stage strides": ({"strides": [2, 2, 1]}, {"stage strides": "2,2,1"}),
    "stride in": ({"stride_in": 1}, {"stride in": "last"}),
    "stride on": ({"stride_on": 2}, {"stride on": "3x3"}),
    "padding": ({"stride_on": 2, "padding": "even"}, {"stride on": "3x3", "padding": "even"}),
    "dilation": ({"dilation": [1, 1, 2]}, {"dilation": "1,1,2"}),
    "head activation": ({"hidden": "tanh"}, {"head activation": "tanh"}),
    "stride and dilation": (
        {"strides": [1, 2, 1], "dilation": [1, 1, 2]},
        {"stage strides": "1,2,1", "dilation": "1,1,2"},
    ),
    "stem of CIFAR": (
        {"stem_stride": 1, "pool": "none", "pool_padding": ""},
        {"stem stride": "1", "pool kind": "none"},
    ),
    "basic": ({"basic": True, "stride_on": 2}, {"stride on": "second"}),
}
"""`{network: (its facts, what a record changes)}`."""


@pytest.fixture(scope="session")
def keras_networks(tmp_path_factory):
    """Every network of a live Keras 3, its weights alone and without the names of what has none,
    and the record of its input and logits."""
    folder = tmp_path_factory.mktemp("networks")
    program = Path(__file__).parent / "fact_networks.py"
    variants = [f"{slug(name)}={json.dumps(given)}" for name, (given, _) in NETWORKS.items()]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, program, folder, *variants]
    subprocess.run(command, check=True, env=environment)
    for name in NETWORKS:
        alone = weights_only(folder / f"{slug(name)}.h5", folder)
        weightless_removed(alone)
        with h5py.File(alone, "a") as file:
            del file.attrs["keras_version"]
    return folder


def slug(name: str) -> str:
    return name.replace(" ", "_")


def weights_and_record(folder, name):
    return folder / f"{slug(name)}_weights.h5", folder / f"{slug(name)}.npz"


def bare(network):
    """The architecture, less what weights alone do not say of the logits and the pictures."""
    outputs = tuple(dataclasses.replace(one, activation="") for one in network.architecture.outputs)
    return dataclasses.replace(network.architecture, outputs=outputs, preprocessing=None)


def settled(source, against, **options):
    """(the network that a record decides for, every trial)."""
    with opened(source, **options) as (checkpoint, network):
        return settle.settle(checkpoint, network, read_record(against), Options(**options))


@pytest.mark.slow
@pytest.mark.keras
@pytest.mark.parametrize("name", NETWORKS)
def test_a_record_settles_each_fact(name, keras_networks):
    """By its logits alone, from weights alone: no layer of it is known."""
    weights, against = weights_and_record(keras_networks, name)
    changes = NETWORKS[name][1]

    network, trials = settled(weights, against)

    assert changes in [trial.changes for trial in trials if trial.fits]
    if name not in SAME:
        assert trials[0].changes == changes
    shown = facts(network)
    assert all(shown[one] == (value, "record") for one, value in trials[0].changes.items())
    assert len(trials) <= settle.MOST


SAME = {"stride and dilation", "stride in"}
"""Another network gives the same for every picture: a later stage strides, and is dilated till
then; or the 3x3 of the first of two blocks strides, evenly padded."""


@pytest.mark.slow
@pytest.mark.keras
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "standard"])
def test_without_its_alternatives_a_fact_is_not_settled(name, keras_networks, monkeypatch):
    weights, against = weights_and_record(keras_networks, name)
    equivalent = {"stride in", "stride on", "stage strides", "dilation"}
    removed = set(NETWORKS[name][1])
    removed |= equivalent if removed & equivalent else set()
    kept = tuple(row for row in TABLE if row.name not in removed)
    monkeypatch.setattr(settle, "TABLE", kept)
    monkeypatch.setattr(settle, "MOST", 0)
    monkeypatch.setattr(settle._Court, "_combinations", lambda self: ())

    network, trials = settled(weights, against)

    assert len(trials) > 20
    assert not any(trial.fits for trial in trials)
    assert "record" not in [evidence for _, evidence in facts(network).values()]


@pytest.mark.slow
@pytest.mark.keras
def test_what_the_record_settles_is_converted_and_can_be_set(keras_networks, tmp_path):
    """The stride on a 3x3, padded as TensorFlow's 'same' and evenly."""
    for name, options in (
        ("stride on", {"stride_on": "3x3"}),
        ("padding", {"stride_on": "3x3", "padding": "even"}),
    ):
        weights, against = weights_and_record(keras_networks, name)
        target = tmp_path / f"{slug(name)}.pth"

        report = convert(weights, target, against=against, device="cpu")
        again = converted(weights, **options)[0]

        assert report.verdict == "equal"
        assert bare(again) == bare(report.network)


@pytest.mark.slow
@pytest.mark.keras
def test_what_came_out_of_softmax_settles_facts_and_is_compared(keras_networks, tmp_path):
    """Of logits that are small enough for softmax to tell them apart."""
    full, against = weights_and_record(keras_networks, "stem stride")
    weights = copy(full, tmp_path)
    with h5py.File(weights, "a") as file:
        for name in file["predictions/predictions"]:
            file[f"predictions/predictions/{name}"][...] *= 0.05
    with np.load(against) as file:
        picture, logits = file["input"], file["logits"] * 0.05
    shares = np.exp(logits - logits.max(-1, keepdims=True))
    output = (shares / shares.sum(-1, keepdims=True)).astype("float32")
    np.savez(tmp_path / "output.npz", input=picture, output=output)

    report = convert(weights, tmp_path / "out.pth", against=tmp_path / "output.npz", device="cpu")

    assert report.verdict == "equal"
    assert "up to what is added to all" in report.parity.notes[0]
    assert report.trials[0].changes == {"stem stride": "1"}
    assert facts(report.network)["stem stride"] == ("1", "record")


@pytest.mark.slow
@pytest.mark.keras
def test_a_record_that_contradicts_an_option_says_so(keras_networks, tmp_path):
    weights, against = weights_and_record(keras_networks, "epsilon")

    for given, words in (
        ({"stem": "same", "bn_eps": 1e-3}, "you set --stem; without it the record fits"),
        ({"bn_eps": 1e-6}, "you set --bn-eps; without it, and with epsilon 0.001 the record fits"),
    ):
        with pytest.raises(ParityError) as error:
            convert(weights, tmp_path / "out.pth", against=against, device="cpu", **given)
        assert words in error.value.findings


# ---- facts of how a file is read, and of the network as a whole


def own_record(folder, source, pictures, **options):
    """A record of what the file computes with these options, of a picture of another record."""
    network, tensors = converted(source, **options)
    picture = pictures_of(pictures)[:1]
    model = torch_run.build(network.architecture, tensors)
    logits = torch_run.run(model, picture, "float64", "cpu")[""]
    np.savez(folder / "own.npz", input=picture, logits=logits)
    return folder / "own.npz"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fixture_name", "option", "value", "fact"),
    [
        ("keras-2.2.4-tensorflow.h5", "theano_kernels", True, "flipped"),
        ("keras-1.2.2-tensorflow.h5", "running_std", "std", "running_std"),
        ("keras-hub-0.32-26.weights.h5", "network", "keras-cv", "network"),
        ("keras-2.3.1-cifar-v2.h5", "shortcut_on", "preactivation", "shortcut"),
    ],
)
def test_a_record_settles_how_a_file_is_read(fixture_name, option, value, fact, tmp_path):
    source = FIXTURES / fixture_name
    if not fixture_name.endswith(".weights.h5"):
        source = weights_only(source, tmp_path)
    against = own_record(tmp_path, source, record(FIXTURES / fixture_name), **{option: value})

    network, trials = settled(source, against)

    assert list(trials[0].changes) == [fact]
    assert facts(network)[fact][1] == "record"
    with opened(source, **{option: value}) as (_, expected):
        assert bare(network) == bare(expected)
        assert (network.layout, network.variance) == (expected.layout, expected.variance)


@pytest.mark.slow
def test_a_record_settles_the_order_of_a_flatten(tmp_path):
    path = FIXTURES / "keras-2.10-head-flatten.h5"
    source = weights_only(path, tmp_path)
    with h5py.File(source, "a") as file:
        file.attrs["keras_version"] = b"2.1.6"
    against = own_record(tmp_path, source, record(path), flatten="channels-first")

    network, trials = settled(source, against)

    assert trials[0].changes == {"flatten": "channels-first"}
    assert facts(network)["flatten"] == ("channels-first", "record")


# ---- what is settled, and what is not


@pytest.mark.slow
def test_what_no_record_tells_apart_stays_a_default(tmp_path):
    """Without a small variance epsilon 1e-5 and 1.001e-5 give the same float32 logits."""
    path = FIXTURES / "keras-2.3.1-conv_block-50.h5"
    source = weights_only(path, tmp_path)
    with h5py.File(source, "a") as file:

        def widen(name, found):
            if name.endswith("moving_variance:0"):
                found[...] = np.maximum(found[...], 0.5)

        file.visititems(widen)

    network, trials = settled(source, own_record(tmp_path, source, record(path)))

    assert trials[0].changes == {}
    assert {"epsilon": "1e-05"} in [trial.changes for trial in trials if trial.fits]
    shown = facts(network)
    assert shown["epsilon"] == ("1.001e-5", "default")
    assert shown["stem"][1] == shown["pool"][1] == "record"
