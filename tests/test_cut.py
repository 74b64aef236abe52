"""Models that end at an inner layer of a network, and networks that are no ResNets."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from edits import agreement, assert_general, assert_refused, edited, reconfigured, run
from helpers import (
    FIXTURES,
    as_text,
    facts,
    fixture,
    head_words,
    needs_tf_keras,
    opened,
    weights_only,
)

import resnet_pt
from converter.weights_only.names import NESTED_END
from resnet_pt.network import ResidualBlock

FLAT, PREACTIVATED = fixture("keras-2.2.4-tensorflow"), fixture("keras-2.3.1-v2-50")
NESTED = fixture("keras-2.10-nested-head")
FIRST_ACTIVATION, LAST_ACTIVATION = "activation_4", "activation_49"
"""Behind the first sum, and behind the last."""


def short_circuited(config: Any, name: str) -> None:
    """Take a layer out of a functional model; what read it reads what it read."""
    layers = config["config"]["layers"]
    gone = next(one for one in layers if one["config"]["name"] == name)
    layers.remove(gone)
    source = gone["inbound_nodes"][0][0][0]
    for part in (*layers, config["config"]):
        for key in ("inbound_nodes", "output_layers"):
            if key in part:
                part[key] = json.loads(json.dumps(part[key]).replace(f'"{name}"', f'"{source}"'))


def in_base(config: Any) -> None:
    base = next(one for one in config["config"]["layers"] if "layers" in one["config"])
    short_circuited(base, base["config"]["output_layers"][0][0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "change", "original"),
    [
        (FLAT, lambda config: short_circuited(config, LAST_ACTIVATION), "Keras itself"),
        pytest.param(NESTED, in_base, "Keras itself", marks=needs_tf_keras),
    ],
)
def test_a_model_that_was_cut_at_its_last_sum_gives_the_logits_of_keras(
    path, change, original, tmp_path
):
    """It was refused: whoever has the file alone cannot end the model elsewhere."""
    target = tmp_path / "out.pth"

    result = run(reconfigured(path, tmp_path, change), target)

    assert result.exit_code == 0, result.stderr
    assert agreement(original) in result.stderr
    model = resnet_pt.load(target)
    blocks = [block for stage in model.architecture.stages for block in stage]
    assert [block.activated for block in blocks] == [True] * (len(blocks) - 1) + [False]
    x = torch.rand(2, 3, 64, 64) * 250 - 120
    with torch.inference_mode():
        plain, fast = model(x), resnet_pt.optimize(model)(x)
    assert float((fast - plain).abs().max()) < 1e-5 * float(plain.abs().max())


@pytest.mark.slow
def test_a_last_sum_that_is_activated_is_another_network(tmp_path):
    """The anti-test: such a block with an activation behind it is not equal."""
    change = reconfigured(FLAT, tmp_path, lambda one: short_circuited(one, LAST_ACTIVATION))
    real = ResidualBlock.forward

    def activated(self: ResidualBlock, x: torch.Tensor) -> torch.Tensor:
        return self.relu(real(self, x))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ResidualBlock, "forward", activated)
        result = run(change, tmp_path / "out.pth", "--require-parity")

    assert result.exit_code == 1


@pytest.mark.slow
def test_a_network_that_is_cut_at_its_last_sum_is_no_plain_one(tmp_path):
    source = reconfigured(FLAT, tmp_path, lambda one: short_circuited(one, LAST_ACTIVATION))

    result = run(source, tmp_path / "out.pth", "--no-parity", "--to", "torchvision")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "the network ends in a sum that nothing activates" in result.stderr


@pytest.mark.keras
def test_an_inner_sum_that_nothing_activates_ends_a_general_network(tmp_path):
    source = reconfigured(FLAT, tmp_path, lambda one: short_circuited(one, FIRST_ACTIVATION))

    assert_general(source, tmp_path / "out.pth")


@pytest.mark.slow
def test_a_last_norm_that_nothing_activates_is_the_heads(tmp_path):
    """ResNet50V2 up to `post_bn`; the pool behind it was blamed."""
    source = reconfigured(
        PREACTIVATED, tmp_path, lambda config: short_circuited(config, "post_relu")
    )

    with opened(source) as (_, network):
        assert network.architecture.norm is None
        assert head_words(network)[0] == "norm"
        assert network.architecture.head[0].name == "post_bn"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "gone", "behind"),
    [(FLAT, LAST_ACTIVATION, "bn5c_branch2c"), (PREACTIVATED, "post_relu", "post_bn")],
)
def test_weights_that_list_no_last_activation_are_not_given_one(path, gone, behind, tmp_path):
    def change(file: Any) -> None:
        names = [as_text(name) for name in file.attrs["layer_names"]]
        file.attrs["layer_names"] = [name for name in names if name != gone]

    source = edited(path, tmp_path, change, alone=True)

    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert f"the model was cut behind {behind!r}" in result.stderr


def variables(folder: Path) -> Path:
    """The weights of a ResNet50V2 in Keras 2.15's container, whose layers have no names."""
    target = folder / "v2.weights.h5"
    with zipfile.ZipFile(FIXTURES / "keras-2.15-v2.keras") as archive:
        target.write_bytes(archive.read("model.weights.h5"))
    return target


def test_the_activation_behind_the_last_norm_is_the_networks_own(tmp_path):
    """It was said to stand somewhere in the head."""
    with opened(variables(tmp_path)) as (_, network):
        assert network.dialect == "conv-block-v2"
        assert facts(network)["head"][1] != "default"


@pytest.mark.slow
def test_variables_without_the_last_activation_are_not_given_one(tmp_path):
    def change(file: Any) -> None:
        group = next(name for name in file if "layer" in name)
        last = max(
            (name for name in file[group] if name.startswith("activation")),
            key=lambda name: (len(name), name),
        )
        del file[f"{group}/{last}"]

    source = edited(variables(tmp_path), tmp_path, change, name="cut.weights.h5")

    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "the model was cut behind" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("gone", ["res5c_branch2c", "bn5c_branch2c"])
def test_what_lacks_the_end_of_its_last_block_is_referred_to_the_whole_model(gone, tmp_path):
    def change(file: Any) -> None:
        names = [as_text(name) for name in file.attrs["layer_names"]]
        file.attrs["layer_names"] = [name for name in names if name != gone]

    result = run(edited(FLAT, tmp_path, change, alone=True), tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert f"missing: {gone}" in result.stderr
    assert "if it ends behind a whole block, its whole model (model.save) is read" in result.stderr


@pytest.mark.slow
def test_a_norm_that_may_be_the_next_stages_is_taken_for_the_last_one_only_if_told(tmp_path):
    """ResNet50V2 up to `conv5_block1_preact_relu`: the stage before was taken for the last one,
    which does not stride, and predictions were wrong without a word."""
    whole = variables(tmp_path)
    with opened(whole) as (_, network):
        layers = dict(network.structure.layers)
    gone = [
        layer
        for module, layer in layers.items()
        if module == "norm" or (module.startswith("layer4.") and module != "layer4.0.bn1")
    ]

    def change(file: Any) -> None:
        for layer in (*gone, "dense"):
            del file[f"layers/{layer}"]
        norms = sum(name.startswith("batch_normalization") for name in file["layers"])
        functions = [name for name in file["layers"] if name.startswith("activation")]
        sums = [name for name in file["layers"] if name.startswith("add")]
        pads = [name for name in file["layers"] if name.startswith("zero_padding2d")]
        kept = 2 + sum(m.endswith(".conv2") and layer not in gone for m, layer in layers.items())
        for name in (*functions[norms:], *sums, *pads[kept:]):
            del file[f"layers/{name}"]

    source = edited(whole, tmp_path, change, name="cut.weights.h5")

    refused = run(source, tmp_path / "out.pth", "--no-parity")

    assert_refused(refused, 5, tmp_path / "out.pth")
    assert "may hold a network of 3 stages, or one that was cut" in refused.stderr
    told = run(source, tmp_path / "out.pth", "--no-parity", "--network", "conv-block-v2")
    assert told.exit_code == 0


@pytest.mark.slow
def test_where_a_nested_base_ends_is_said_to_be_assumed(tmp_path):
    """Cut at its last sum, its weights are the same."""
    with opened(weights_only(NESTED, tmp_path)) as (_, network):
        _, evidence = facts(network)["head"]
        reason = next(fact.reason for fact in network.facts if fact.name == "head")

    assert evidence == "default"
    assert NESTED_END in reason
    with opened(weights_only(FLAT, tmp_path)) as (_, network):
        assert NESTED_END not in str(network.facts)


def test_keras_resnets_four_maps_are_said_to_be_one_here(tmp_path):
    def without_top(file: Any) -> None:
        names = [as_text(name) for name in file.attrs["layer_names"]]
        file.attrs["layer_names"] = [name for name in names if name not in ("pool5", "fc1000")]
        del file["fc1000"], file["pool5"]

    source = edited(fixture("keras-resnet-0.2.0-18"), tmp_path, without_top, alone=True)

    with opened(source) as (_, network):
        reason = next(fact.reason for fact in network.facts if fact.name == "head")

    assert reason == "keras-resnet without a top gives the map of every stage; this gives the last"
