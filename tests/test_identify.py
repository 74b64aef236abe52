"""Facts and their evidence, for every version of the same names."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import pytest
from edits import layer, reconfigured
from helpers import as_text, copy, facts, fixture, opened, weightless_removed, weights_only

from converter.conversion import convert
from converter.errors import MismatchError
from resnet_pt.architecture import Pool
from resnet_pt.ops import Activation

PAD = "7x7/2, padding 3"
SAME = "7x7/2, 'same' as in TensorFlow"
UNPADDED, PADDED = "max-pool 3x3/2, unpadded", "max-pool 3x3/2, padding 1"

# The timeline of the original naming: keras c5ff4c967e, c2a8450279; keras-applications 36436f6.
TIMELINE = [
    ("keras-1.2.2-tensorflow", PAD, UNPADDED),
    ("keras-2.0.9-tensorflow", SAME, UNPADDED),
    ("keras-2.1.6-tensorflow", PAD, UNPADDED),
    ("keras-2.2.4-tensorflow", PAD, PADDED),
]


def stem_and_pool(path, **options):
    with opened(path, **options) as (_, network):
        found = facts(network)
    return found["stem"], found["pool"]


@pytest.mark.parametrize(("name", "stem", "pool"), TIMELINE, ids=lambda value: str(value))
def test_a_whole_model_says_it_itself(name, stem, pool):
    assert stem_and_pool(fixture(name)) == ((stem, "model_config"), (pool, "model_config"))


@pytest.mark.parametrize(("name", "stem", "pool"), TIMELINE, ids=lambda value: str(value))
def test_weights_say_it_by_the_layers_that_they_list(name, stem, pool, tmp_path):
    alone = weights_only(fixture(name), tmp_path)

    known = "default" if name == "keras-1.2.2-tensorflow" else "layer names"  # 'same' looks alike
    assert stem_and_pool(alone) == ((stem, "layer names"), (pool, known))


@pytest.mark.parametrize(("name", "stem", "pool"), TIMELINE[1:], ids=lambda value: str(value))
def test_weights_without_such_layers_say_it_by_their_version(name, stem, pool, tmp_path):
    alone = weights_only(fixture(name), tmp_path)
    weightless_removed(alone)

    assert stem_and_pool(alone) == ((stem, "file attributes"), (pool, "file attributes"))


def test_weights_that_say_nothing_rest_on_the_default(tmp_path):
    alone = weights_only(fixture("keras-1.2.2-tensorflow"), tmp_path)
    weightless_removed(alone)

    assert stem_and_pool(alone) == ((PAD, "default"), (UNPADDED, "default"))


@pytest.mark.parametrize(
    ("name", "eps", "evidence"),
    [
        ("keras-1.2.2-tensorflow", "0.001", "default"),
        ("keras-2.0.9-tensorflow", "0.001", "default"),
        ("keras-2.3.1-conv_block-50", "1.001e-5", "default"),
        ("keras-2.10-tutorial", "0.001", "default"),
    ],
)
def test_epsilon_of_weights_alone(name, eps, evidence, tmp_path):
    with opened(weights_only(fixture(name), tmp_path)) as (_, network):
        assert facts(network)["epsilon"] == (eps, evidence)


@pytest.mark.parametrize(
    ("options", "fact", "value"),
    [
        ({"bn_eps": 1e-4}, "epsilon", "0.0001"),
        ({"stem": "same"}, "stem", SAME),
        ({"pool": "same"}, "pool", "max-pool 3x3/2, 'same' as in TensorFlow"),
        ({"stride_on": "3x3"}, "stride on", "3x3"),
        ({"theano_kernels": True}, "flipped", "180 degrees (Theano)"),
        ({"running_std": "std"}, "running_std", "a standard deviation, squared"),
        ({"preprocess": "torch"}, "preprocessing", "torch"),
    ],
)
@pytest.mark.parametrize("alone", [True, False], ids=["weights only", "whole model"])
def test_an_option_beats_the_evidence(alone, options, fact, value, tmp_path):
    path = fixture("keras-1.2.2-tensorflow")
    path = weights_only(path, tmp_path) if alone else path

    with opened(path, **options) as (_, network):
        assert facts(network)[fact] == (value, "set by the user")


def test_what_stands_beside_an_option_still_rests_on_a_default(tmp_path):
    """--stride-on says nothing of the stem's stride, nor of the padding of what strides then."""
    with opened(weights_only(fixture("keras-1.2.2-tensorflow"), tmp_path), stride_on="3x3") as (
        _,
        network,
    ):
        shown = facts(network)
    moved = "stem 2, pool 2, stages 1 2 2 2: convolution 2 (3x3)"
    assert shown["stride"] == (moved, "default")
    assert shown["padding"] == ("same", "default")


def test_head_activation_beats_the_assumed_relu(tmp_path):
    alone = weights_only(fixture("keras-2.10-functional-head"), tmp_path)

    with opened(alone) as (_, network):
        assert facts(network)["head activation"] == ("relu", "default")
    with opened(alone, head_activation="tanh") as (_, network):
        assert facts(network)["head activation"] == ("tanh", "set by the user")
        assert Activation("tanh") in [layer.op for layer in network.architecture.head]


@pytest.mark.parametrize(
    ("name", "theano", "order", "flipped"),
    [
        ("keras-1.2.2-tensorflow", False, "hwio", False),
        ("keras-1.2.2-theano-th", True, "oihw", True),
        ("keras-2.0.9-tensorflow", False, "hwio", False),
    ],
)
def test_the_spelling_of_parameters_tells_the_backend(name, theano, order, flipped, tmp_path):
    with opened(weights_only(fixture(name), tmp_path)) as (_, network):
        assert network.theano is theano
        assert (network.layout.order, network.layout.flipped) == (order, flipped)


def rewritten(path, how):
    """The name lists of a file in another of the ways that h5py versions write them."""
    with h5py.File(path, "a") as file:
        for owner, key in [(file, "layer_names"), *((file[g], "weight_names") for g in file)]:
            names = [as_text(name) for name in owner.attrs[key]]
            del owner.attrs[key]
            if not names:
                owner.attrs[key] = np.zeros(0)
            elif how == "fixed":
                owner.attrs[key] = np.array([name.encode() for name in names])
            elif how == "variable":
                owner.attrs.create(key, names, dtype=h5py.string_dtype())
            else:
                for number, part in enumerate(np.array_split(np.array(names, "S"), 3)):
                    if len(part) or number == 0:
                        owner.attrs[f"{key}{number}"] = part


@pytest.mark.parametrize("how", ["fixed", "variable", "chunked"])
def test_name_lists_are_read_in_every_way_they_are_written(how, tmp_path):
    alone = weights_only(fixture("keras-2.2.4-tensorflow"), tmp_path)
    with opened(alone) as (_, before):
        pass
    rewritten(alone, how)

    with opened(alone) as (_, after):
        assert after.structure == before.structure
        assert after.facts == before.facts


def test_weights_under_another_scope_than_their_layer(tmp_path):
    """A model loaded twice in one session: `conv1/conv1_1/kernel:0` (Keras 2.0.5 and others)."""
    alone = weights_only(fixture("keras-2.2.4-tensorflow"), tmp_path)
    with h5py.File(alone, "a") as file:
        for layer in list(file):
            names = [as_text(name) for name in file[layer].attrs["weight_names"]]
            if names:
                file.move(f"{layer}/{layer}", f"{layer}/{layer}_1")
                renamed = [name.replace(f"{layer}/", f"{layer}_1/") for name in names]
                file[layer].attrs["weight_names"] = [name.encode() for name in renamed]

    with opened(alone) as (checkpoint, network):
        assert network.dialect == "res-branch"
        assert {weight.layer for weight in checkpoint.weights} == set(
            network.structure.layers.values()
        )


def without_layer(path, layer):
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = [n for n in file.attrs["layer_names"] if as_text(n) != layer]


def test_a_missing_layer_is_named(tmp_path):
    alone = weights_only(fixture("keras-2.2.4-tensorflow"), tmp_path)
    without_layer(alone, "res4d_branch2b")

    with pytest.raises(MismatchError) as error, opened(alone):
        pass
    assert str(error.value) == (
        f"the layers of {alone} are not a whole ResNet: nearest is the naming 'res-branch'\n"
        "  missing: res4d_branch2b\n"
        "hint: layers of res-branch: conv1, bn_conv1, res2a_branch2a, bn2a_branch2a, …, fc1000"
    )


def test_an_extra_layer_is_named(tmp_path):
    alone = weights_only(fixture("keras-2.2.4-tensorflow"), tmp_path)
    with h5py.File(alone, "a") as file:
        file.copy("res4d_branch2b", "attention")
        names = [as_text(name) for name in file.attrs["layer_names"]]
        file.attrs["layer_names"] = [*names[:50], "attention", *names[50:]]

    with pytest.raises(MismatchError, match="unknown: attention"), opened(alone):
        pass


@pytest.mark.parametrize(
    ("layers", "family"),
    [
        (["block1_conv1", "block1_conv2"], "VGG"),
        (["block1_conv1", "block14_sepconv1"], "Xception"),
        (["stem_conv", "block1a_project_conv"], "EfficientNet"),
        (["stem_conv", "stage_1"], "a network of 2 convolutions and 0 Dense layers"),
    ],
)
def test_another_network_says_what_it_looks_like(layers, family, tmp_path):
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.encode() for layer in layers]
        for layer in layers:
            group = file.create_group(layer)
            group.attrs["weight_names"] = [f"{layer}/kernel:0".encode()]
            group[f"{layer}/kernel:0"] = np.ones((3, 3, 3, 3), "f4")

    with pytest.raises(MismatchError, match=f"it looks like {family}"), opened(path):
        pass


def test_a_block_of_other_convolutions_is_refused_by_their_name(tmp_path):
    """The shortcut then has as many convolutions as the block, as in Xception: an activation was
    blamed."""

    def change(config: Any) -> None:
        for part in ("2b", "2c"):
            layer(config, f"res2a_branch{part}")["class_name"] = "SeparableConv2D"

    path = reconfigured(fixture("keras-2.2.4-tensorflow"), tmp_path, change)

    with pytest.raises(MismatchError, match="do not fit the network") as error:
        convert(path, tmp_path / "out.pth", parity=False)
    assert "missing: res2a_branch2b/pointwise_kernel" in str(error.value.findings)


def test_a_pool_of_zeros_over_a_map_that_can_be_negative_is_no_torch_padding():
    with opened(fixture("keras-2.3.1-v2-50")) as (_, network):
        assert network.architecture.stem.pool == Pool((3, 3), (2, 2), 1, fill="zero")


def test_copies_are_the_same_whatever_they_are_called(tmp_path):
    path = copy(fixture("keras-2.2.4-tensorflow"), tmp_path, "weights.of.my\nmodel.bin")

    with opened(path) as (_, network):
        assert network.dialect == "res-branch"


@pytest.mark.parametrize(
    ("version", "is_raised"), [("2.1.6", False), ("2.11.0", True), ("2.12.0", False)]
)
def test_tensorflow_raised_epsilons_up_to_2_11(version, is_raised, tmp_path):
    """2.10.1 gives 301.374 for a variance and an epsilon of 1e-6, 2.15.1 the true 707.107."""
    path = copy(fixture("keras-resnet-0.2.0-18"), tmp_path)
    with h5py.File(path, "a") as file:
        for group in (file, file["model_weights"]):
            group.attrs["keras_version"] = version

    with opened(path) as (_, network):
        assert network.is_raised == is_raised
        assert facts(network)["epsilon"][0] == ("1.001e-5" if is_raised else "1e-05")


@pytest.mark.parametrize("name", ["keras-resnet-0.2.0-18", "kecam-1.4.1-aotnet50"])
def test_an_epsilon_that_tensorflow_raised_is_the_raised_one(name):
    """Both configurations say 1e-5; their records say 1.001e-5 (test_fixtures)."""
    with opened(fixture(name)) as (checkpoint, network):
        written = str(checkpoint.config)

        assert "'epsilon': 1e-05" in written
        assert "1.001e-05" not in written
        assert facts(network)["epsilon"] == ("1.001e-5", "model_config")
        assert network.is_raised
