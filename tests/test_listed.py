"""Weights alone: what the listed layers without weights say, and what is a default beside them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from edits import assert_refused, edited, names_removed, replaced, run
from helpers import FIXTURES, as_text, converted, facts, fixture, head_words, opened, weights_only
from test_extras import FLAT_VARIABLES, listed, with_variables

from resnet_pt import ResNet

FLAT = fixture("keras-2.10-functional-head")
NAMED = fixture("keras-resnet-0.2.0-18")
"""Every activation is called after its function."""
AUTO = fixture("keras-2.2.4-tensorflow")
KECAM = fixture("kecam-1.4.1-aotnet50")
OLD = fixture("keras-2.1.6-tensorflow")


def renamed(names: dict[str, str]) -> Any:
    """Give layers other names, and leave out those whose new name is ''."""

    def change(file: Any) -> None:
        found = []
        for name in (as_text(one) for one in file.attrs["layer_names"]):
            new = names.get(name, name)
            if new and new != name:
                file.move(name, new)
            found += [new] if new else []
        file.attrs["layer_names"] = found

    return change


def of_weights(source: Path, folder: Path, names: dict[str, str]) -> Path:
    return edited(source, folder, renamed(names), alone=True)


def reason(network: Any, name: str) -> str:
    return next(fact.reason for fact in network.facts if fact.name == name)


def runs(network: Any, size: int) -> None:
    with torch.no_grad():
        ResNet(network.architecture).eval()(
            torch.rand(2, network.architecture.in_channels, size, size)
        )


# ---- the function between the blocks


def test_names_say_the_function_or_it_is_a_default(tmp_path):
    with opened(of_weights(NAMED, tmp_path, {})) as (_, network):
        assert facts(network)["activation"] == ("relu", "layer names")
    with opened(of_weights(FLAT, tmp_path, {})) as (_, network):  # `conv2_block1_out` says none
        assert facts(network)["activation"] == ("relu", "default")
        assert "'conv1_relu', and others whose names do not say" in reason(network, "activation")
    with opened(of_weights(AUTO, tmp_path, {})) as (_, network):
        assert facts(network)["activation"] == ("relu", "default")
        assert "weights do not record it" in reason(network, "activation")


@pytest.mark.parametrize("name", ["re_lu_3", "activation_3", "conv1_relu6"])
def test_one_layer_that_does_not_say_its_function_leaves_it_a_default(name, tmp_path):
    """`re_lu` is a class, which may have a bound or a slope."""
    with opened(of_weights(NAMED, tmp_path, {"res3a_branch2a_relu": name})) as (_, network):
        assert facts(network)["activation"] == ("relu", "default")


@pytest.mark.parametrize("name", ["conv1_relu_1", "stem_ReLU2", "gate_1_relu"])
def test_a_relu_may_be_numbered(name, tmp_path):
    with opened(of_weights(NAMED, tmp_path, {"res3a_branch2a_relu": name})) as (_, network):
        assert facts(network)["activation"] == ("relu", "layer names")


@pytest.mark.parametrize(
    "name", ["conv1_gelu", "stem_leaky_relu", "swish_3", "Block_ELU", "conv1_lrelu", "prelu1"]
)
def test_names_that_say_another_function_are_not_taken_for_relu(name, tmp_path):
    source = of_weights(FLAT, tmp_path, {"conv1_relu": name})

    result = run(source, tmp_path / "o.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "o.pth")
    assert f"'{name}'" in result.stderr
    assert "another function than relu" in result.stderr


@pytest.mark.parametrize("name", ["sigmoid_out", "head_tanh"])
def test_where_no_order_is_kept_another_function_may_be_the_heads(name, tmp_path):
    source = with_variables(FLAT_VARIABLES, tmp_path, "activation")

    def change(file: Any) -> None:
        file["layers/activation_90/vars"].attrs["name"] = name

    changed = edited(source, tmp_path, change, name="named.weights.h5")
    with opened(changed) as (_, network):
        assert facts(network)["activation"] == ("relu", "default")


@pytest.mark.slow
def test_a_norm_or_a_sum_without_an_activation_is_not_passed_over(tmp_path):
    """kecam's option of the same names, whose sums nothing activates: off by 2.2."""
    paths = (KECAM, AUTO, FLAT)
    for path, name in zip(
        paths, ("stack2_block1_out_relu", "activation_7", "conv3_block1_1_relu"), strict=True
    ):
        source = of_weights(path, tmp_path, {name: ""})
        result = run(source, tmp_path / "o.pth", "--no-parity")

        assert_refused(result, 5, tmp_path / "o.pth")
        assert "lists its layers in other places than" in result.stderr


def moved(name: str, behind: str) -> Any:
    """A layer listed in another place."""

    def change(file: Any) -> None:
        names = [as_text(one) for one in file.attrs["layer_names"]]
        names.remove(name)
        names.insert(names.index(behind) + 1, name)
        file.attrs["layer_names"] = names

    return change


@pytest.mark.parametrize(
    ("path", "name", "behind"),
    [
        (FLAT, "conv3_block1_1_relu", "conv3_block1_1_conv"),
        (FLAT, "conv1_relu", "conv1_conv"),
        (AUTO, "activation_2", "res2a_branch2a"),
        (AUTO, "activation_4", "bn2a_branch1"),
        (fixture("keras-2.3.1-v2-50"), "conv3_block1_1_relu", "conv3_block1_1_conv"),
    ],
)
def test_an_activation_in_another_place_is_not_passed_over(path, name, behind, tmp_path):
    """Between a convolution and its norm, or in front of a sum: off by 0.3."""
    source = edited(path, tmp_path, moved(name, behind), alone=True)

    result = run(source, tmp_path / "o.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "o.pth")
    assert "lists its layers in other places than" in result.stderr
    assert f"'{name}'" in result.stderr


def test_a_stem_that_nothing_pads_may_be_an_unpadded_one(tmp_path):
    """keras-resnet's code pads within its convolution, and a project's own may not; Keras' own did
    at one time, which the version tells."""
    flat = of_weights(FLAT, tmp_path, {"conv1_pad": ""})
    for path in (flat, fixture("keras-resnet-0.2.0-50")):
        with opened(path) as (_, network):
            assert facts(network)["stem"][1] == "default"
            assert "'valid' would look alike" in reason(network, "stem")
    with opened(weights_only(fixture("keras-2.0.9-tensorflow"), tmp_path)) as (_, network):
        assert facts(network)["stem"] == ("7x7/2, 'same' as in TensorFlow", "layer names")


# ---- pools


def test_a_stem_without_a_pool_has_none(tmp_path):
    source = of_weights(FLAT, tmp_path, {"pool1_pad": "", "pool1_pool": ""})

    with opened(source) as (_, network):
        assert network.architecture.stem.pool is None
        assert facts(network)["pool"] == ("none", "layer names")


def test_a_pool_in_front_of_the_stems_norm_is_refused(tmp_path):
    """It was taken for the one behind it."""

    def change(file: Any) -> None:
        names = [as_text(one) for one in file.attrs["layer_names"]]
        names.remove("pool1_pool")
        names.insert(names.index("conv1_bn"), "pool1_pool")
        file.attrs["layer_names"] = [name for name in names if name != "pool1_pad"]

    result = run(edited(FLAT, tmp_path, change, alone=True), tmp_path / "o.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "o.pth")
    assert "behind 'conv1_conv' it lists 'pool1_pool'; conv-block has nothing" in result.stderr


@pytest.mark.parametrize("name", ["average_pooling2d_1", "stem_avg_pool"])
def test_an_average_in_the_stem_is_not_taken_for_a_max_pool(name, tmp_path):
    source = of_weights(FLAT, tmp_path, {"pool1_pool": name})

    result = run(source, tmp_path / "o.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "o.pth")
    assert f"'{name}'; conv-block has activation" in result.stderr


def pools_gone(file: Any) -> None:
    """Of a `.weights.h5`, which has a group for every layer."""
    for name in [name for name in file["layers"] if name.startswith("max_pooling2d")]:
        del file["layers"][name]


def test_where_no_order_is_kept_a_max_pool_is_listed_or_there_is_none(tmp_path):
    """The head's average stands in no stem."""
    alone = edited(FLAT_VARIABLES, tmp_path, pools_gone, name="alone.weights.h5")
    with opened(alone) as (_, network):
        assert network.architecture.stem.pool is None
        assert facts(network)["pool"] == ("none", "layer names")
    average = with_variables(alone, tmp_path, "average_pooling2d")

    result = run(average, tmp_path / "o.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "o.pth")
    assert "lists an average-pool in the stem" in result.stderr


def test_a_function_that_pads_does_not_say_how_much(tmp_path):
    with opened(of_weights(FLAT, tmp_path, {})) as (_, network):
        assert facts(network)["stem"][1] == "layer names"
    with opened(of_weights(FLAT, tmp_path, {"conv1_pad": "tf.compat.v1.pad"})) as (_, network):
        assert facts(network)["stem"][1] == "default"
        assert "not how many zeros it sets" in reason(network, "stem")


def test_a_padding_without_a_pool_is_refused(tmp_path):
    source = of_weights(FLAT, tmp_path, {"pool1_pool": ""})

    result = run(source, tmp_path / "o.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "o.pth")
    assert "it lists 'conv1_relu', 'pool1_pad'; conv-block has activation" in result.stderr


def test_what_is_listed_in_the_place_of_a_pool_may_be_one(tmp_path):
    source = of_weights(FLAT, tmp_path, {"pool1_pad": "", "pool1_pool": "shrink"})

    with opened(source) as (_, network):
        assert network.architecture.stem.pool is not None
        assert facts(network)["pool"][1] == "default"


def test_a_pool_without_padding_may_be_a_same_one(tmp_path):
    """Of Keras 2.1.6's own code it is known; later code of the same names padded."""
    with opened(of_weights(OLD, tmp_path, {})) as (_, network):
        assert facts(network)["pool"][1] == "layer names"
    with opened(of_weights(AUTO, tmp_path, {"pool1_pad": ""})) as (_, network):
        assert facts(network)["pool"][1] == "default"
        assert "'same' would look alike" in reason(network, "pool")


@pytest.mark.parametrize("name", ["average_pooling2d_7", "stack2_block1_shortcut_down"])
def test_pools_that_the_code_of_a_naming_has_not_are_refused(name, tmp_path):
    """kecam's option of shortcuts that pool: they were left out without a word."""
    source = listed(FLAT, tmp_path, name, "conv3_block1_0_conv")

    result = run(source, tmp_path / "o.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "o.pth")
    assert f"'{name}'; conv-block has activation there" in result.stderr


def test_averages_are_counted_where_no_order_is_kept(tmp_path):
    one = with_variables(FLAT_VARIABLES, tmp_path, "average_pooling2d")
    with opened(one):
        pass  # it may be the head's
    two = with_variables(FLAT_VARIABLES, tmp_path, "average_pooling2d", "average_pooling2d")

    result = run(two, tmp_path / "o.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "o.pth")
    assert "lists 2 pools" in result.stderr


def test_shortcuts_that_pool_have_to_be_listed(tmp_path):
    """keras-hub's vd blocks: a deep stem alone is no sign of them."""
    source = FIXTURES / "keras-hub-0.32-vd-26.weights.h5"

    def change(file: Any) -> None:
        layers = file["layers/res_net_backbone/layers"]
        for name in [name for name in layers if name.startswith("average_pooling2d")]:
            del layers[name]

    changed = edited(source, tmp_path, change, name="edited.weights.h5")
    result = run(changed, tmp_path / "o.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "o.pth")
    assert "lists 0 pools among the layers of its network" in result.stderr


# ---- the pool of the name `avg_pool`


def classes(path: Path) -> int:
    return converted(path)[0].architecture.classes or 0


def test_the_pool_of_the_tutorials_top_is_as_large_as_its_map(tmp_path):
    """deeplearning.ai's course has pictures of 64x64 and a window of 2x2."""
    source = of_weights(OLD, tmp_path, {"fc1000": f"fc{classes(OLD)}"})

    with opened(source) as (_, network):
        found = head_words(network)
        assert found == ["global_avg_pool", "flatten_hwc", "dense"]
        assert facts(network)["head"][1] == "default"
        assert "the window of 'avg_pool' is not in the file: the whole map is assumed" in reason(
            network, "head"
        )
        runs(network, 64)


def test_a_window_that_nothing_tells_is_said_to_be_assumed(tmp_path):
    with opened(of_weights(OLD, tmp_path, {"fc1000": "dense_1"})) as (_, network):
        assert network.architecture.head[0].op.kernel == (7, 7)
        assert "the window of 'avg_pool' is not in the file: 7x7 is assumed" in reason(
            network, "head"
        )
    with opened(of_weights(OLD, tmp_path, {})) as (_, network):
        assert facts(network)["head"][1] == "layer names"  # Keras' own top


def test_the_published_top_keeps_its_window(tmp_path):
    """`fc1000` of 1000 classes is Keras' own, not the tutorial's."""

    def of_1000_classes(file: Any) -> None:
        group = file["fc1000"]
        for name in (as_text(one) for one in group.attrs["weight_names"]):
            values = np.asarray(group[name])
            replaced(group, name, np.zeros((*values.shape[:-1], 1000), values.dtype))

    with opened(edited(OLD, tmp_path, of_1000_classes, alone=True)) as (_, network):
        assert network.architecture.classes == 1000
        assert network.architecture.head[0].op.kernel == (7, 7)


def test_a_window_under_keras_own_names_is_assumed_where_keras_had_none(tmp_path):
    """Since 2.2.3 Keras' own top has no Flatten: it is a copy's."""

    def change(file: Any) -> None:
        file.attrs["keras_version"] = "2.2.4"

    with opened(edited(OLD, tmp_path, change, alone=True)) as (_, network):
        assert facts(network)["head"][1] == "default"
        assert "the window of 'avg_pool' is not in the file: 7x7 is assumed" in reason(
            network, "head"
        )


def test_a_global_pool_behind_the_one_that_old_keras_left_in(tmp_path):
    """The commonest head of its day: it was converted to a network that could not run."""
    source = of_weights(OLD, tmp_path, {"flatten_1": "global_average_pooling2d_1"})

    with opened(source) as (_, network):
        found = head_words(network)
        assert found == ["avg_pool", "global_avg_pool", "dense"]
        runs(network, 224)


# ---- epsilon, and names of Keras 1


def test_code_may_have_set_its_epsilon(tmp_path):
    with opened(of_weights(fixture("keras-2.3.1-auto-named"), tmp_path, {})) as (_, network):
        assert facts(network)["epsilon"] == ("0.001", "default")
        assert "the project's own code may have given another" in reason(network, "epsilon")


def test_a_model_of_keras_1_that_was_loaded_and_saved_again(tmp_path):
    """`conv1_W_2:0`: the layer was said to have no kernel."""
    source = fixture("keras-1.2.2-tensorflow")

    def change(file: Any) -> None:
        for layer in (as_text(one) for one in file.attrs["layer_names"]):
            names = [as_text(one) for one in file[layer].attrs["weight_names"]]
            new = [name.replace(":0", "_2:0") for name in names]
            for old, one in zip(names, new, strict=True):
                file[layer].move(old, one)
            file[layer].attrs["weight_names"] = [one.encode() for one in new]

    with opened(edited(source, tmp_path, change, alone=True)) as (_, network):
        assert network.architecture.depths == converted(source)[0].architecture.depths
        assert network.structure.layers["conv1"] == "conv1"


def test_names_removed_leave_the_counts(tmp_path):
    """Of a `.weights.h5` that says no names the classes are counted all the same."""
    source = with_variables(FLAT_VARIABLES, tmp_path, "average_pooling2d", "average_pooling2d")
    nameless = edited(source, tmp_path, names_removed, name="nameless.weights.h5")

    result = run(nameless, tmp_path / "o.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "o.pth")
    assert "lists 2 pools" in result.stderr


def test_whoever_has_saved_the_whole_model_is_not_told_to(tmp_path):
    """keras-hub's classes are saved without their graph."""
    path, source = FIXTURES / "keras-hub-0.32-18.keras", tmp_path / "model.keras"
    with zipfile.ZipFile(path) as file:
        content = {name: file.read(name) for name in file.namelist()}
    weights = tmp_path / "model.weights.h5"
    weights.write_bytes(content["model.weights.h5"])
    with h5py.File(weights, "a") as file:
        group = file["layers/res_net_backbone/layers"].create_group("average_pooling2d_8/vars")
        group.attrs["name"] = "average_pooling2d_8"
        group = file["layers/res_net_backbone/layers"].create_group("average_pooling2d_9/vars")
        group.attrs["name"] = "average_pooling2d_9"
    with zipfile.ZipFile(source, "w") as file:
        for name, data in {**content, "model.weights.h5": weights.read_bytes()}.items():
            file.writestr(name, data)

    result = run(source, tmp_path / "o.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "o.pth")
    assert "keras.Model(backbone.inputs, backbone.outputs), whose configuration" in result.stderr
    assert "model.save)" not in result.stderr
