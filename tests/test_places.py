"""Weights alone: where sums, activations, pools and paddings stand among the layers is part of the
match, and what no place tells is an assumption by name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from edits import assert_refused, edited, run
from helpers import FIXTURES, as_text, converted, facts, fixture, opened, weights_only
from orders import NETWORKS
from test_extras import listed

from converter.errors import MismatchError
from converter.facts import changes
from converter.weights_only.expected import Code, keras_order
from resnet_pt import ResNet
from resnet_pt.architecture import Architecture, Shortcut

ORDERS = Path(__file__).parent / "orders.py"
NAMED = fixture("keras-2.2.4-tensorflow")
AUTO = fixture("keras-2.3.1-auto-named")


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `orders.NETWORKS`, as the installed Keras writes and computes them."""
    folder = tmp_path_factory.mktemp("networks")
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, ORDERS, folder], check=True, env=environment)
    return folder


Change = Callable[[Architecture], Architecture]


def same(architecture: Architecture) -> Architecture:
    return architecture


def stem_of_stride_1(architecture: Architecture) -> Architecture:
    conv = architecture.stem.conv.replace(stride=(1, 1), padding=1)
    return replace(architecture, stem=replace(architecture.stem, conv=conv))


def projections_read_the_input(architecture: Architecture) -> Architecture:
    def change(block):
        short = block.shortcut
        return replace(block, shortcut=short and replace(short, source="input"))

    return changes.map_blocks(architecture, change)


def all_read_the_norm(architecture: Architecture) -> Architecture:
    return changes.map_blocks(
        architecture,
        lambda block: replace(block, shortcut=block.shortcut or Shortcut(source="preactivation")),
    )


CONVERTED: dict[str, tuple[Change, str]] = {
    "post_imagenet_auto": (same, "network"),
    "post_imagenet_res": (same, "network"),
    "post_imagenet_invented": (same, "taken for"),
    "post-dropout_imagenet_auto": (same, "network"),
    "post-dropout_imagenet_res": (same, "network"),
    "operators_imagenet_auto": (same, "network"),
    "operators_imagenet_res": (same, "network"),
    "operators_imagenet_invented": (same, "network"),
    "pre-projection-shared_cifar_auto": (same, "network"),
    "post_cifar_auto": (stem_of_stride_1, "stride"),
    "post-dropout_cifar_auto": (stem_of_stride_1, "stride"),
    "operators_cifar_auto": (stem_of_stride_1, "stride"),
    "pre_cifar_auto": (projections_read_the_input, "shortcuts"),
    "pre-shared_cifar_auto": (all_read_the_norm, "shortcuts"),
    "norm-behind-sum_cifar_auto": (all_read_the_norm, "shortcuts"),
}
"""Networks that are read, with the one change that makes them give what Keras gave, and a fact that
must be among the assumptions: the one that is changed."""

UNLIKE = ("relu-first_cifar_auto",)
"""Networks that are read, and are others: their shortcuts start in front of an activation, of which
no description exists here."""


@pytest.mark.slow
@pytest.mark.keras
@pytest.mark.parametrize("name", CONVERTED)
def test_what_is_read_gives_what_keras_gave_or_says_what_it_assumes(name, networks, tmp_path):
    change, fact = CONVERTED[name]
    source = weights_only(networks / f"{name}.h5", tmp_path)
    network, tensors = converted(source, bn_eps=1e-3)

    assert facts(network)[fact][1] == "default"
    right = change(network.architecture)
    assert error(right, tensors, networks / f"{name}.npz") < 1e-5
    if right != network.architecture:
        assert error(network.architecture, tensors, networks / f"{name}.npz") > 1e-2


@pytest.mark.keras
@pytest.mark.parametrize("name", UNLIKE)
def test_what_a_shortcut_reads_is_an_assumption(name, networks, tmp_path):
    network, _ = converted(weights_only(networks / f"{name}.h5", tmp_path), bn_eps=1e-3)

    assert facts(network)["network"] == ("auto-main-first", "default")
    assert facts(network)["shortcuts"] == ("read their block's input", "default")


@pytest.mark.slow
@pytest.mark.keras
@pytest.mark.parametrize("name", [n for n in NETWORKS if n not in {*CONVERTED, *UNLIKE}])
def test_another_order_is_refused(name, networks, tmp_path):
    source = weights_only(networks / f"{name}.h5", tmp_path)

    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    said = ("lists its layers in other places than", "no naming that is known fits the layers")
    assert any(one in result.stderr for one in said)


def error(architecture: Architecture, tensors: dict[str, np.ndarray], record: Path) -> float:
    """The worst difference of a logit from Keras', relative to the largest."""
    model = ResNet(architecture).eval()
    values = {name: torch.as_tensor(value) for name, value in tensors.items()}
    model.load_state_dict(values, strict=False)
    with np.load(record) as file, torch.no_grad():
        found = model(torch.tensor(file["pictures"].transpose(0, 3, 1, 2))).numpy()
        return float(abs(found - file["given"]).max() / abs(file["given"]).max())


@pytest.mark.slow
@pytest.mark.keras
def test_a_network_that_is_told_is_refused_with_all_its_misfits(networks, tmp_path):
    source = weights_only(networks / "two-relus_imagenet_auto.h5", tmp_path)

    result = run(source, tmp_path / "out.pth", "--no-parity", "--network", "auto-main-first")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert result.stderr.count("it lists 'activation") == 4
    assert "auto-main-first has activation there" in result.stderr


# ---- the list of a network


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("keras-2.2.4-tensorflow", Code(False, "none")),
        ("keras-1.0.7-theano", Code(True, "none")),
        ("keras-2.3.1-conv_block-50", Code(True, "none")),
        ("keras-2.3.1-v2-50", Code(True, "wide")),
        ("keras-2.3.1-qubvel-18", Code(False, "wide")),
        ("kecam-1.4.1-resnet-d", Code(True, "wide")),
        ("keras-2.10-scale", Code(False, "wide")),
    ],
)
def test_layers_with_weights_are_in_the_order_in_which_keras_listed_them(name, code):
    path = fixture(name)
    with opened(path) as (_, network), h5py.File(path) as file:
        names = [as_text(one) for one in file["model_weights"].attrs["layer_names"]]
        places = [place.module for place in keras_order(network.architecture, code)]
        expected = [network.structure.layers[module] for module in places if module]
        found = [one for one in names if one in expected]

    assert found == expected


# ---- names


def renamed(names: dict[str, str]):
    def change(file):
        found = [as_text(one) for one in file.attrs["layer_names"]]
        for name, new in names.items():
            file.move(name, new)
        file.attrs["layer_names"] = [names.get(name, name) for name in found]

    return change


@pytest.mark.slow
@pytest.mark.parametrize("name", ["l2_norm", "my_scale", "lambda_7", "attention_1", "shift"])
@pytest.mark.parametrize("place", ["res3a_branch2a", "activation_9", "add_4", "avg_pool", "fc1000"])
def test_a_layer_that_no_rule_explains_is_refused_by_its_name(name, place, tmp_path):
    """Behind the pool it was passed over without a word: off by 1.7."""
    source = listed(NAMED, tmp_path, name, place, 1)

    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert f"'{name}'" in result.stderr


@pytest.mark.parametrize("name", ["softmax", "predictions", "output"])
def test_an_activation_behind_the_logits_may_be_called_after_them(name, tmp_path):
    with opened(listed(NAMED, tmp_path, name, "fc1000", 1)) as (_, network):
        said = facts(network).get("taken for", ("", ""))[0]
    assert said == ("" if name == "softmax" else f"the activation behind the logits: {name!r}")


def reason(network, name):
    return next(fact.reason for fact in network.facts if fact.name == name)


@pytest.mark.slow
def test_a_name_that_says_nothing_is_told_by_its_place_and_named(tmp_path):
    """One activation, one sum and the pool in front of the head, by invented names."""
    names = {"activation_8": "gate", "add_3": "mix", "avg_pool": "squash"}
    with opened(edited(NAMED, tmp_path, renamed(names), alone=True)) as (_, network):
        said = "activation: 'gate'; sum: 'mix'; an average: 'squash'"
        assert facts(network)["taken for"] == (said, "default")
    with opened(NAMED) as (_, whole):
        assert network.architecture.stages == whole.architecture.stages


def test_names_that_say_it_need_no_assumption(tmp_path):
    names = {"activation_8": "block2_relu", "add_3": "block2_sum", "activation_9": "out_act"}
    with opened(edited(NAMED, tmp_path, renamed(names), alone=True)) as (_, network):
        assert "taken for" not in facts(network)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "new"), [("add_3", "block2_relu"), ("activation_8", "merge_8")])
def test_a_name_that_says_something_else_than_its_place_is_refused(name, new, tmp_path):
    source = edited(NAMED, tmp_path, renamed({name: new}), alone=True)

    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert f"'{new}'" in result.stderr


@pytest.mark.parametrize("name", ["dropout_3", "gaussian_noise_1", "block_drop"])
def test_what_does_nothing_at_inference_may_stand_anywhere(name, tmp_path):
    """By Keras' own name without a word, by another as an assumption."""
    for place in ("res3a_branch2b", "fc1000"):
        with opened(listed(NAMED, tmp_path, name, place)) as (_, network):
            said = facts(network).get("taken for", ("", ""))[0]
        assert said == ("nothing at inference: 'block_drop'" if name == "block_drop" else "")


# ---- what is told by nothing


@pytest.mark.parametrize(
    "name",
    ["keras-3.0.5-conv_block.weights.h5", "keras-2.10-nested-head.h5", "mask-rcnn.h5"],
)
def test_where_no_places_are_known_the_network_is_an_assumption(name, tmp_path):
    """A container without order, a nested model, a detector's layers among the network's."""
    path = FIXTURES / name
    source = path if name.startswith(("keras-3", "mask")) else weights_only(path, tmp_path)
    with opened(source) as (_, network):
        assert facts(network)["network"] == (network.dialect, "default")
        said = reason(network, "network")
    assert "where sums and activations stand among the layers is not in the file" in said


def test_of_a_network_by_names_and_places_what_shortcuts_read_is_assumed(tmp_path):
    with opened(weights_only(NAMED, tmp_path)) as (_, network):
        assert facts(network)["network"] == ("res-branch", "default")
        assert facts(network)["shortcuts"] == ("read their block's input", "default")


# ---- code of its time


def of_version(version: str):
    def change(file):
        file.attrs["keras_version"] = version

    return change


def test_an_order_of_code_of_another_time_is_refused_until_it_is_said(tmp_path):
    source = edited(fixture("raghakot-basic"), tmp_path, of_version("2.10.0"), alone=True)

    refused = run(source, tmp_path / "out.pth", "--no-parity")
    network, _ = converted(source, network="raghakot")

    assert_refused(refused, 5, tmp_path / "out.pth")
    assert "does not run on Keras 2.10.0, which wrote it" in refused.stderr
    assert "--network raghakot says that it is a copy of that code" in refused.stderr
    assert facts(network)["network"] == ("raghakot", "set by the user")


@pytest.mark.parametrize(("version", "copied"), [("2.2.4", False), ("2.10.0", True)])
def test_no_fact_is_said_to_be_of_code_that_the_version_excludes(version, copied, tmp_path):
    with opened(edited(NAMED, tmp_path, of_version(version), alone=True)) as (_, network):
        reasons = [fact.reason for fact in network.facts if "res-branch ran (" in fact.reason]
    assert reasons
    assert all(("before Keras 2.4: this is a copy of it" in one) == copied for one in reasons)


def in_models(file):
    """The layers of each stage in a model of its own, as a class keeps them that holds models."""
    names = [as_text(one) for one in file.attrs["layer_names"]]
    for first, last, model in ((10, 40, "sequential"), (40, 60, "sequential_1")):
        group, held = file.create_group(model), []
        for name in names[first:last]:
            for weight in (as_text(one) for one in file[name].attrs["weight_names"]):
                file.copy(f"{name}/{weight}", group, weight)
                held.append(weight.encode())
            del file[name]
        group.attrs["weight_names"] = held
    file.attrs["layer_names"] = [*names[:10], "sequential", "sequential_1", *names[60:]]


def test_models_within_a_model_class_have_no_order(tmp_path):
    """It was read in the order of Keras 0.3: off by 0.066."""
    source = edited(AUTO, tmp_path, in_models, alone=True)

    with pytest.raises(MismatchError, match="in several models, and not in which order"):
        converted(source)


def test_the_folder_of_networks_is_complete():
    assert {*CONVERTED, *UNLIKE} <= set(NETWORKS)
