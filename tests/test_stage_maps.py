"""Models that return the maps of their stages, as detectors and segmenters take them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from edits import assert_general, edited, run
from helpers import as_text, converted, fixture, opened

import resnet_pt
from resnet_pt import ResNet, packed
from resnet_pt.architecture import Output
from resnet_pt.check import problems

V1 = fixture("keras-2.3.1-conv_block-50")
V2 = fixture("keras-2.3.1-v2-50")


def returning(*names: str, without: tuple[str, ...] = ()) -> Any:
    """End the model in these layers, less those that then lead to nothing."""

    def change(file: Any) -> None:
        config = json.loads(file.attrs["model_config"])
        inner = config["config"]
        inner["layers"] = [one for one in inner["layers"] if one["name"] not in without]
        inner["output_layers"] = [[name, 0, 0] for name in names]
        file.attrs["model_config"] = json.dumps(config)
        group = file["model_weights"]
        listed = [as_text(name) for name in group.attrs["layer_names"]]
        group.attrs["layer_names"] = [name for name in listed if name not in without]
        for name in without:
            del group[name]

    return change


def ends(path: Any) -> tuple[str, ...]:
    """The names of the stages' last layers in a fixture of fewer blocks than its namesake."""
    with opened(path) as (_, network):
        outputs = network.structure.outputs
        depths = network.architecture.depths
        last = [outputs[f"layer{n}.{depth - 1}"] for n, depth in enumerate(depths, start=1)]
        return (*last[:-1], "post_relu") if network.architecture.norm else tuple(last)


@pytest.mark.slow
@pytest.mark.parametrize("path", [V1, V2])
def test_the_maps_of_all_stages_are_those_of_keras(path, tmp_path):
    """keras-resnet without a top returns them; it was refused."""
    names = ends(path)
    with opened(path) as (_, network):
        head = tuple(layer.name for layer in network.architecture.head)
    source = edited(path, tmp_path, returning(*names, without=head))
    target = tmp_path / "out.pth"

    result = run(source, target, "--require-parity")

    assert result.exit_code == 0, result.stderr
    assert "equal to Keras itself" in result.stderr
    model = resnet_pt.load(target)
    with torch.no_grad():
        maps = model(torch.rand(1, 3, 64, 64))
    assert list(maps) == list(names)
    assert [len(one[0]) for one in maps.values()] == [
        stage[-1].out_channels for stage in model.architecture.stages
    ]


@pytest.mark.slow
def test_maps_beside_logits_are_those_of_keras(tmp_path):
    names = ends(V1)
    source = edited(V1, tmp_path, returning(names[2], "probs", names[0]))

    result = run(source, tmp_path / "out.pth", "--require-parity")

    assert result.exit_code == 0, result.stderr
    assert "equal to Keras itself" in result.stderr


@pytest.mark.slow
def test_another_map_than_that_of_keras_is_noticed(tmp_path, monkeypatch):
    """The anti-test: the map of the third stage is larger by a thousandth."""
    names = ends(V1)
    source = edited(V1, tmp_path, returning(names[2], "probs"))
    real = ResNet.results
    monkeypatch.setattr(
        ResNet, "results", lambda self, found: real(self, (found[0] * 1.001, *found[1:]))
    )

    assert run(source, tmp_path / "out.pth", "--require-parity").exit_code == 1


@pytest.mark.keras
def test_the_map_within_a_stage_is_an_output_of_a_general_network(tmp_path):
    names = ends(V1)
    with opened(V1) as (_, network):
        inner = network.structure.outputs["layer3.0"]
    assert inner not in names

    assert_general(edited(V1, tmp_path, returning(inner, "probs")), tmp_path / "out.pth")


@pytest.mark.slow
@pytest.mark.parametrize("batch", [2, 5])
def test_a_packed_network_returns_the_same_maps(batch, tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "PER_THREAD", 2 / torch.get_num_threads())
    names = ends(V1)
    network, tensors = converted(edited(V1, tmp_path, returning(names[1], "probs")))
    model = ResNet(network.architecture).eval()
    model.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()}, False)
    x = torch.rand(batch, 3, 64, 64) * 250 - 120

    with torch.inference_mode():
        plain, fast = model(x), resnet_pt.optimize(model)(x)

    for name in plain:
        scale = float(plain[name].abs().max())
        np.testing.assert_allclose(fast[name], plain[name], rtol=0, atol=1e-5 * scale)


def test_a_head_does_without_no_map_that_it_returns():
    outputs = (Output("a", "", stage=1), Output("b", ""))
    model = ResNet(replace(resnet_pt.resnet((1, 1), 3, width=4), head=(), outputs=outputs)).eval()
    features = model.forward_features(torch.rand(1, 3, 32, 32))

    with pytest.raises(KeyError):
        model.forward_head(features)


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ((Output("a", "", stage=1), Output("b", "")), ""),
        ((Output("a", "", stage=4), Output("b", "")), "outputs are of the stages"),
        ((Output("a", "", stage=-1), Output("b", "")), "outputs are of the stages"),
        ((Output("a", "", stage=2),), "no output is of the last block"),
        ((Output("a", "fc", stage=2), Output("b", "")), "of a stage and of a layer of the head"),
    ],
)
def test_an_output_is_of_a_stage_that_there_is(outputs, words):
    found = problems(replace(resnet_pt.resnet((1, 1, 1, 1), 3, width=4), outputs=outputs))

    assert bool(found) == bool(words), found
    assert words in "; ".join(found)
