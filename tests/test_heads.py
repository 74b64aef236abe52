"""Heads and wrappers that transfer learning leaves in a file, beyond those of the fixtures."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from edits import (
    agreement,
    assert_general,
    assert_refused,
    edited,
    layer,
    reconfigured,
    replaced,
    run,
)
from helpers import as_text, converted, facts, fixture, head_words, opened, weights_only, word

import resnet_pt
from converter.facts.epsilon import raised_epsilon
from converter.testing import assert_same_logits
from resnet_pt import ResNet, layers
from resnet_pt.architecture import GlobalPool, Layer, Norm

NESTED = fixture("keras-2.10-nested-head")
FUNCTIONAL = fixture("keras-2.10-functional-head")
HIDDEN = "dense"


def with_hidden(activation: Any) -> Any:
    def change(config: Any) -> None:
        layer(config, HIDDEN)["config"]["activation"] = activation

    return change


def behind_hidden(class_name: str, **settings: Any) -> Any:
    """Put a layer between the hidden Dense layer, made linear, and the Dropout."""

    def change(config: Any) -> None:
        with_hidden("linear")(config)
        layers = config["config"]["layers"]
        place = layers.index(layer(config, "dropout"))
        call = [[[HIDDEN, 0, 0, {}]]]
        one = {"class_name": class_name, "name": "new", "config": {"name": "new", **settings}}
        layer(config, "dropout")["inbound_nodes"][0][0][0] = "new"
        layers.insert(place, {**one, "inbound_nodes": call})

    return change


head = head_words
"""The layers of a network's head, each in a word."""


HIDDEN_LAYERS = {
    "a layer as the activation": (
        with_hidden({"class_name": "LeakyReLU", "config": {"name": "leaky", "alpha": 0.25}}),
        lambda x: np.where(x > 0, x, 0.25 * x),
    ),
    "exponential": (with_hidden("exponential"), np.exp),
    "leaky_relu, by name": (with_hidden("leaky_relu"), lambda x: np.where(x > 0, x, 0.2 * x)),
    "LeakyReLU of Keras 2": (
        behind_hidden("LeakyReLU", alpha=0.1),
        lambda x: np.where(x > 0, x, 0.1 * x),
    ),
    "LeakyReLU of Keras 3": (
        behind_hidden("LeakyReLU", negative_slope=0.3),
        lambda x: np.where(x > 0, x, 0.3 * x),
    ),
    "ReLU with a slope": (
        behind_hidden("ReLU", negative_slope=0.05, max_value=None, threshold=0.0),
        lambda x: np.where(x > 0, x, 0.05 * x),
    ),
}


@pytest.mark.parametrize("case", HIDDEN_LAYERS)
def test_an_activation_in_the_head_is_the_one_that_keras_documents(case, tmp_path):
    change, expected = HIDDEN_LAYERS[case]
    network, tensors = converted(reconfigured(FUNCTIONAL, tmp_path, change))
    model = ResNet(network.architecture).eval()
    model.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()}, False)
    pooled = torch.randn(3, network.architecture.features, 1, 1)

    with torch.no_grad():
        found = model.forward_head(pooled).numpy()

    kernels = [tensors[f"head.{name}.weight"] for name in (HIDDEN, "out")]
    biases = [tensors[f"head.{name}.bias"] for name in (HIDDEN, "out")]
    hidden = expected(pooled.flatten(1).numpy() @ kernels[0].T + biases[0])
    np.testing.assert_allclose(found, hidden @ kernels[1].T + biases[1], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        with_hidden("gelu"),
        with_hidden("leaky_relu"),
        with_hidden(
            {
                "module": "keras.layers",
                "class_name": "LeakyReLU",
                "config": {"negative_slope": 0.3},
                "registered_name": None,
            }
        ),
        behind_hidden("LeakyReLU", negative_slope=0.3),
        behind_hidden("ReLU", negative_slope=0.05, max_value=None, threshold=0.0),
    ],
    ids=["gelu", "leaky_relu", "a layer as activation", "LeakyReLU", "ReLU with a slope"],
)
def test_what_tensorflow_rounds_to_float32_is_no_difference_in_float64(
    change, tmp_path, monkeypatch
):
    """A right conversion was said to differ, by 3e-9. The settings are in Keras 3's words."""
    monkeypatch.setattr("converter.parity.original.oracle.has_keras_2", lambda: False)
    source = reconfigured(FUNCTIONAL, tmp_path, change)

    result = run(source, tmp_path / "out.pth", "--require-parity")

    assert result.exit_code == 0, result.stderr
    assert "equal to Keras itself" in result.stderr


def with_slopes(shape: tuple[int, ...]) -> Any:
    """Put a PReLU behind the hidden Dense layer, made linear."""

    def change(file: Any) -> None:
        config = json.loads(file.attrs["model_config"])
        behind_hidden("PReLU", shared_axes=None)(config)
        file.attrs["model_config"] = json.dumps(config)
        weights = file["model_weights"]
        names = [as_text(name) for name in weights.attrs["layer_names"]]
        names.insert(names.index("dropout"), "new")
        weights.attrs["layer_names"] = names
        group = weights.create_group("new")
        group["new/alpha:0"] = np.linspace(-0.5, 1.5, int(np.prod(shape)), dtype="f4").reshape(
            shape
        )
        group.attrs["weight_names"] = ["new/alpha:0"]

    return change


def hidden_units() -> int:
    with opened(FUNCTIONAL) as (_, network):
        return next(x.op.out_features for x in network.architecture.head if x.name == HIDDEN)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("alone", "original"), [(False, "Keras itself"), (True, "the bundled Keras definition")]
)
def test_the_slopes_of_a_prelu_in_the_head_are_carried_over(alone, original, tmp_path):
    """It was refused: its slopes are weights."""
    whole = edited(FUNCTIONAL, tmp_path, with_slopes((hidden_units(),)), name="whole.h5")
    source = weights_only(whole, tmp_path) if alone else whole
    target = tmp_path / "out.pth"

    result = run(source, target)

    assert result.exit_code == 0, result.stderr
    assert agreement(original) in result.stderr
    model = resnet_pt.load(target)
    assert [one for one in head_words(model) if one != "dropout"] == [
        "global_avg_pool",
        "dense",
        "prelu",
        "dense",
    ]
    np.testing.assert_array_equal(
        model.head["new"].weight.detach(), np.linspace(-0.5, 1.5, hidden_units(), dtype="f4")
    )


@pytest.mark.slow
def test_other_slopes_are_not_equal(tmp_path, monkeypatch):
    """The anti-test: the slopes the other way around."""
    source = edited(FUNCTIONAL, tmp_path, with_slopes((hidden_units(),)))
    real = torch.nn.functional.prelu
    monkeypatch.setattr(torch.nn.functional, "prelu", lambda x, slopes: real(x, slopes.flip(0)))

    assert run(source, tmp_path / "out.pth", "--require-parity").exit_code == 1


@pytest.mark.slow
def test_slopes_of_another_number_than_come_are_refused(tmp_path):
    source = edited(FUNCTIONAL, tmp_path, with_slopes((hidden_units() + 1,)))

    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert (
        f"'new' has {hidden_units() + 1} slopes, and {hidden_units()} numbers come" in result.stderr
    )


@pytest.mark.slow
def test_slopes_for_the_pixels_of_a_map_are_refused(tmp_path):
    source = edited(FUNCTIONAL, tmp_path, with_slopes((1, 1, hidden_units())))

    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "new/alpha (1, 1, 48) becomes (1, 1, 48), but new.weight is (48,)" in result.stderr


@pytest.mark.slow
def test_a_prelu_between_the_blocks_is_refused(tmp_path):
    def change(config: Any) -> None:
        one = layer(config, "conv3_block1_1_relu")
        one["class_name"] = "PReLU"

    result = run(reconfigured(FUNCTIONAL, tmp_path, change), tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "missing: conv3_block1_1_relu/alpha, for conv3_block1_1_relu" in result.stderr


POOL, MAXIMUM, JOINED = "global_average_pooling2d", "maximum", "joined"


def with_both_pools(order: tuple[str, ...], axis: int) -> Any:
    """Set a global maximum beside the global average, and have the hidden Dense read both."""

    def added(class_name: str, name: str, config: Any, sources: Any) -> Any:
        call = [[source, 0, 0, {}] for source in sources]
        config = {"name": name, **config}
        return {"class_name": class_name, "name": name, "config": config, "inbound_nodes": [call]}

    def change(file: Any) -> None:
        config = json.loads(file.attrs["model_config"])
        layers = config["config"]["layers"]
        last = layer(config, POOL)["inbound_nodes"][0][0][0]
        place = layers.index(layer(config, HIDDEN))
        layers[place:place] = [
            added("GlobalMaxPooling2D", MAXIMUM, {"data_format": "channels_last"}, [last]),
            added("Concatenate", JOINED, {"axis": axis}, order),
        ]
        layer(config, HIDDEN)["inbound_nodes"][0][0][0] = JOINED
        file.attrs["model_config"] = json.dumps(config)
        kernel = f"model_weights/{HIDDEN}/{HIDDEN}/kernel:0"
        values = np.asarray(file[kernel])
        replaced(file, kernel, np.concatenate([values, 0.5 * values[::-1]]))

    return change


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("order", [(POOL, MAXIMUM), (MAXIMUM, POOL)])
def test_two_global_pools_are_joined_in_their_order(order, axis, tmp_path):
    source = edited(FUNCTIONAL, tmp_path, with_both_pools(order, axis))
    network, tensors = converted(source)
    model = ResNet(network.architecture).eval()
    model.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()}, False)
    x = torch.randn(3, network.architecture.features, 2, 3)

    with torch.no_grad():
        found = model.forward_head(x).numpy()

    pooled = {POOL: x.mean((2, 3)).numpy(), MAXIMUM: x.amax((2, 3)).numpy()}
    kernels = [tensors[f"head.{name}.weight"].T for name in (HIDDEN, "out")]
    biases = [tensors[f"head.{name}.bias"] for name in (HIDDEN, "out")]
    joined = np.concatenate([pooled[name] for name in order], 1)
    hidden = np.maximum(joined @ kernels[0] + biases[0], 0)
    np.testing.assert_allclose(found, hidden @ kernels[1] + biases[1], rtol=1e-4, atol=1e-4)
    assert [one.inputs for one in network.architecture.head if word(one) == "concat"] == [order]


@pytest.mark.slow
def test_two_joined_pools_give_the_logits_of_keras(tmp_path):
    source = edited(FUNCTIONAL, tmp_path, with_both_pools((MAXIMUM, POOL), -1))
    target = tmp_path / "out.pth"

    result = run(source, target, "--require-parity")

    assert result.exit_code == 0, result.stderr
    assert "equal to Keras itself" in result.stderr
    found = head_words(resnet_pt.load(target))
    assert found == [
        "global_avg_pool",
        "global_max_pool",
        "concat",
        "dense",
        "activation",
        "dropout",
        "dense",
    ]


def with_convolutions(last: str, behind_score: str = "linear") -> Any:
    """A head that convolves the map, and pools what comes out; `last` is behind that."""

    def convolution(name: str, source: str, size: int, filters: int, activation: str) -> Any:
        return {
            "class_name": "Conv2D",
            "name": name,
            "inbound_nodes": [[[source, 0, 0, {}]]],
            "config": {
                "name": name,
                "filters": filters,
                "kernel_size": [size, size],
                "strides": [1, 1],
                "padding": "same",
                "activation": activation,
                "use_bias": True,
                "data_format": "channels_last",
                "dilation_rate": [1, 1],
            },
        }

    def change(file: Any) -> None:
        config = json.loads(file.attrs["model_config"])
        layers = config["config"]["layers"]
        pool = layer(config, POOL)
        source = pool["inbound_nodes"][0][0][0]
        place = layers.index(pool)
        layers[place:place] = [
            convolution("inner", source, 3, 4, "relu"),
            convolution("score", "inner", 1, 3, behind_score),
        ]
        pool["inbound_nodes"][0][0][0] = "score"
        config["config"]["layers"] = [x for x in layers if x["name"] not in (HIDDEN, "dropout")]
        out = layer(config, "out")
        out["inbound_nodes"][0][0][0] = POOL
        out.update(class_name="Activation", config={"name": "out", "activation": last})
        file.attrs["model_config"] = json.dumps(config)

        weights = file["model_weights"]
        features = weights[f"{HIDDEN}/{HIDDEN}/kernel:0"].shape[0]
        generator = np.random.default_rng(5)
        for name, shape in (("inner", (3, 3, features, 4)), ("score", (1, 1, 4, 3))):
            group = weights.create_group(name)
            group[f"{name}/kernel:0"] = generator.normal(0, 0.1, shape).astype("f4")
            group[f"{name}/bias:0"] = generator.normal(0, 1, shape[-1]).astype("f4")
            group.attrs["weight_names"] = [f"{name}/kernel:0", f"{name}/bias:0"]
        gone = (HIDDEN, "dropout", "out")
        names = [as_text(one) for one in weights.attrs["layer_names"]]
        names = [one for one in names if one not in gone]
        weights.attrs["layer_names"] = [*names, "inner", "score"]

    return change


@pytest.mark.slow
@pytest.mark.parametrize("last", ["softmax", "elu"])
def test_a_head_of_convolutions_is_read_from_a_whole_model(last, tmp_path):
    target = tmp_path / "out.pth"

    result = run(edited(FUNCTIONAL, tmp_path, with_convolutions(last)), target, "--require-parity")

    assert result.exit_code == 0, result.stderr
    assert "equal to Keras itself" in result.stderr
    assert "conv 3x3 4, relu, conv 1x1 3, global_avg_pool" in result.stderr
    architecture = resnet_pt.load(target).architecture
    assert architecture.classes == 3
    assert architecture.outputs[0].activation == last


@pytest.mark.slow
@pytest.mark.parametrize(("behind", "is_read"), [(POOL, True), ("conv5_block1_out", False)])
def test_a_reshape_of_given_width_is_that_of_a_vector_or_refused(behind, is_read, tmp_path):
    """`tf.reshape(map, [-1, C])` sets pixels beside pictures: it was read as a Flatten."""

    def change(config: Any) -> None:
        features = converted(FUNCTIONAL)[0].architecture.features
        settings = {"name": "reshape", "function": "reshape"}
        one = {"class_name": "TFOpLambda", "name": "reshape", "config": settings}
        one["inbound_nodes"] = [[behind, 0, 0, {"shape": [-1, features]}]]
        layers = config["config"]["layers"]
        layers.insert(layers.index(layer(config, HIDDEN)), one)
        layer(config, HIDDEN)["inbound_nodes"][0][0][0] = "reshape"

    source = reconfigured(FUNCTIONAL, tmp_path, change)
    if is_read:
        with opened(source) as (_, network):
            assert head(network)[:3] == ["global_avg_pool", "flatten_hwc", "dense"]
        return
    result = run(source, tmp_path / "o.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "o.pth")
    assert "not as many numbers for each picture" in result.stderr


@pytest.mark.slow
def test_a_softmax_of_a_map_is_over_its_channels(tmp_path):
    """It was over the width, which the proof alone noticed."""
    source = edited(FUNCTIONAL, tmp_path, with_convolutions("linear", "softmax"))

    result = run(source, tmp_path / "out.pth", "--require-parity")

    assert result.exit_code == 0, result.stderr
    assert "equal to Keras itself" in result.stderr
    x = torch.rand(2, 3, 4, 5)
    torch.testing.assert_close(layers.activation("softmax")(x).sum(1), torch.ones(2, 4, 5))


def softmax_between_blocks(file: Any) -> None:
    config = json.loads(file.attrs["model_config"])
    for one in config["config"]["layers"]:
        if one["class_name"] == "Activation":
            one["config"]["activation"] = "softmax"
    file.attrs["model_config"] = json.dumps(config)


@pytest.mark.parametrize(
    "with_softmax", [with_convolutions("linear", "softmax"), softmax_between_blocks]
)
@pytest.mark.keras
def test_a_softmax_of_a_map_of_channels_first_is_over_its_columns(with_softmax, tmp_path):
    def change(file: Any) -> None:
        with_softmax(file)
        config = json.loads(file.attrs["model_config"])
        for one in config["config"]["layers"]:
            if one["class_name"] == "BatchNormalization":
                one["config"]["axis"] = 1
            elif "data_format" in one["config"]:
                one["config"]["data_format"] = "channels_first"
            elif "batch_input_shape" in one["config"]:
                one["config"]["batch_input_shape"] = [None, 3, 224, 224]
        file.attrs["model_config"] = json.dumps(config)

    assert_general(edited(FUNCTIONAL, tmp_path, change), tmp_path / "o.pth")


def test_a_norm_of_a_map_in_the_head_has_the_least_epsilon_of_tensorflow():
    """Its fused kernel is for maps alone: norms of vectors keep what is written."""
    norm = Norm(8, eps=1e-5)
    head = (
        Layer("on_map", norm, ("",)),
        Layer("pool", GlobalPool("avg"), ("on_map",)),
        Layer("on_vector", norm, ("pool",)),
    )
    with opened(FUNCTIONAL) as (checkpoint, network):
        raised = raised_epsilon(checkpoint, replace(network.architecture, head=head))

    assert [raised.head[place].op.eps for place in (0, 2)] == [1.001e-5, 1e-5]


@pytest.mark.slow
@pytest.mark.parametrize("between", ["Flatten", "GlobalMaxPooling2D"])
def test_a_convolution_of_a_vector_is_refused(between, tmp_path):
    def change(file: Any) -> None:
        with_convolutions("softmax")(file)
        config = json.loads(file.attrs["model_config"])
        one = {"class_name": between, "name": "between", "config": {"name": "between"}}
        score = layer(config, "score")
        layers = config["config"]["layers"]
        layers.insert(layers.index(score), {**one, "inbound_nodes": [[["inner", 0, 0, {}]]]})
        score["inbound_nodes"][0][0][0] = "between"
        file.attrs["model_config"] = json.dumps(config)

    result = run(edited(FUNCTIONAL, tmp_path, change), tmp_path / "o.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "o.pth")
    assert "'score'" in result.stderr
    assert "and 1 come" in result.stderr or "reads a vector, and wants a map" in result.stderr


@pytest.mark.slow
def test_a_pool_may_be_joined_with_itself(tmp_path):
    source = edited(FUNCTIONAL, tmp_path, with_both_pools((POOL, POOL), -1))

    result = run(source, tmp_path / "out.pth", "--require-parity")

    assert result.exit_code == 0, result.stderr
    assert "equal to Keras itself" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("map", f"'{JOINED}' (Concatenate): "),
        ("average", "do not fit the network\n  dense/kernel"),
    ],
    ids=["map", "average"],
)
def test_what_joins_anything_else_is_refused(source, words, tmp_path):
    """Maps, and means of vectors."""

    def change(file: Any) -> None:
        with_both_pools((POOL, MAXIMUM), -1)(file)
        config = json.loads(file.attrs["model_config"])
        if source == "average":
            layer(config, JOINED)["class_name"] = "Average"
        else:
            layer(config, JOINED)["inbound_nodes"][0][1][0] = "conv5_block1_out"
        file.attrs["model_config"] = json.dumps(config)

    target = tmp_path / "out.pth"
    result = run(edited(FUNCTIONAL, tmp_path, change), target)

    assert_refused(result, 5, target)
    assert words in result.stderr


def within(prefix: str) -> Any:
    """Give the nested base's weights the names they have in a model around that model."""

    def change(file: Any) -> None:
        group = file.get("model_weights", file)["resnet50"]
        names = weight_names(group)
        for name in names:
            group[f"{prefix}/{name}"] = np.asarray(group[name])
        for name in {name.split("/")[0] for name in names}:
            del group[name]
        group.attrs["weight_names"] = [f"{prefix}/{name}" for name in names]

    return change


def weight_names(group: Any) -> list[str]:
    return [as_text(name) for name in group.attrs["weight_names"]]


@pytest.mark.parametrize("alone", [False, True])
def test_a_layer_is_found_behind_the_models_around_it(alone, tmp_path):
    source = edited(NESTED, tmp_path, within("sequential_1/resnet50"), alone=alone)

    network, tensors = converted(source)

    wanted, expected = converted(NESTED)
    assert network.structure.layers == wanted.structure.layers
    assert all(np.array_equal(tensors[name], expected[name]) for name in expected)


def wrapped(config: Any) -> None:
    """Put the last Dense layer in a Sequential of its own, as `Sequential([...])` does."""
    layers = config["config"]["layers"]
    last = layers.pop()
    layers.append({"class_name": "Sequential", "config": {"name": "top", "layers": [last]}})


def wrapped_weights(file: Any) -> None:
    config = json.loads(file.attrs["model_config"])
    wrapped(config)
    file.attrs["model_config"] = json.dumps(config)
    root = file["model_weights"]
    root.move("dense_1", "top")
    listed = [as_text(name) for name in root.attrs["layer_names"]]
    root.attrs["layer_names"] = ["top" if name == "dense_1" else name for name in listed]


def test_a_model_of_one_layer_within_the_head_is_that_layer(tmp_path):
    network, tensors = converted(edited(NESTED, tmp_path, wrapped_weights))

    wanted, expected = converted(NESTED)
    assert head(network) == head(wanted)
    assert all(np.array_equal(tensors[name], expected[name]) for name in expected)


# ---- weights alone


@pytest.mark.slow
def test_a_base_that_pools_itself_pools_before_the_head(tmp_path):
    """`ResNet50(pooling='avg')` within a Sequential: the pool is not listed, and a norm follows."""

    def change(file: Any) -> None:
        names = ["resnet50", "batch_normalization", "dense", "dense_1"]
        features = file["dense"]["dense/kernel:0"].shape[0]
        group = file["batch_normalization"]
        for number, name in enumerate(weight_names(group), start=1):
            del group[name]
            group[name] = np.linspace(number, 2 * number, features, dtype="f4")
        file.attrs["layer_names"] = names

    source = edited(NESTED, tmp_path, change, alone=True)
    network, _ = converted(source)

    assert head(network) == ["global_avg_pool", "norm", "dense", "activation", "dense"]
    assert "the file lists no pool" in next(f.reason for f in network.facts if f.name == "head")
    assert facts(network)["head"][1] == "default"
    target = tmp_path / "out.pth"
    assert run(source, target, "--no-parity").exit_code == 0
    with torch.no_grad():
        found = resnet_pt.load(target)(torch.zeros(1, 3, 64, 64))
    assert found.shape == (1, network.architecture.classes)


def nested(version: str, *between: str) -> Any:
    """Make the network without its top one layer of a model, as a project's own head does."""

    def change(file: Any) -> None:
        base = file.create_group("resnet50")
        names = []
        for name in [as_text(name) for name in file.attrs["layer_names"]]:
            inner = [] if name == "fc1000" else weight_names(file[name])
            for weight in inner:
                file.move(f"{name}/{weight}", f"resnet50/{weight}")
            names += inner
        base.attrs["weight_names"] = names
        for name in between:
            file.create_group(name).attrs["weight_names"] = np.zeros(0)
        file.attrs["layer_names"] = ["resnet50", *between, "fc1000"]
        file.attrs["keras_version"] = version

    return change


@pytest.mark.slow
@pytest.mark.parametrize(
    ("between", "kinds"),
    [
        (["flatten_2"], ["avg_pool", "flatten_hwc"]),
        (["global_max_pooling2d_1"], ["avg_pool", "global_max_pool"]),
        (["global_average_pooling2d_1"], ["avg_pool", "global_avg_pool"]),
        (["average_pooling2d_1", "flatten_2"], ["avg_pool", "global_avg_pool", "flatten_hwc"]),
    ],
)
def test_resnet50_of_old_keras_pools_without_a_top(between, kinds, tmp_path):
    """Before Keras 2.2 `include_top=False` left the 7x7 pool in, which a nested base hides."""
    original = fixture("keras-2.1.6-tensorflow")
    source = edited(original, tmp_path, nested("2.1.6", *between), alone=True)
    target = tmp_path / "out.pth"

    assert run(source, target, "--no-parity").exit_code == 0
    with opened(source) as (_, network):
        assert head(network) == [*kinds, "dense"]
        assert "before Keras 2.2" in next(f.reason for f in network.facts if f.name == "head")
    assert_same_logits(resnet_pt.load(target), original.with_suffix(".npz"))


def test_an_old_base_that_was_cut_before_its_last_stage_pools_nothing(tmp_path):
    """It was given the pool of the whole one, and failed at the first picture."""

    def change(file: Any) -> None:
        nested("2.0.9", "flatten_2")(file)
        base = file["resnet50"]
        names = [name for name in weight_names(base) if not name.startswith(("res5", "bn5"))]
        base.attrs["weight_names"] = names
        features = base["res4b_branch2c/kernel:0"].shape[-1]
        replaced(file, "fc1000/fc1000/kernel:0", np.ones((4 * features, 10), "f4"))

    with opened(edited(fixture("keras-2.1.6-tensorflow"), tmp_path, change, alone=True)) as (
        _,
        one,
    ):
        assert head(one) == ["flatten_hwc", "dense"]


def test_a_version_of_two_codes_decides_nothing(tmp_path):
    """TensorFlow 1.10 and 1.11 are both Keras 2.1.6-tf, and pool differently."""
    original = fixture("keras-2.1.6-tensorflow")
    source = edited(original, tmp_path, nested("2.1.6-tf", "flatten_2"), alone=True)

    with opened(source) as (_, network):
        assert head(network) == ["flatten_hwc", "dense"]
        assert [facts(network)[name][1] for name in ("stem", "pool", "head")] == ["default"] * 3
        assert "TensorFlow 1.10's" in next(f.reason for f in network.facts if f.name == "head")


def test_resnet50_of_later_keras_gives_its_map(tmp_path):
    source = edited(
        fixture("keras-2.1.6-tensorflow"), tmp_path, nested("2.2.0", "flatten_2"), alone=True
    )

    with opened(source) as (_, network):
        assert head(network) == ["flatten_hwc", "dense"]


def test_the_pool_within_a_base_of_later_keras_is_over_the_whole_map(tmp_path):
    """`pooling='avg'`: a window of 7x7 is another where the map is not 7x7."""
    source = edited(fixture("keras-2.1.6-tensorflow"), tmp_path, nested("2.2.4"), alone=True)

    with opened(source) as (_, network):
        assert head(network) == ["global_avg_pool", "dense"]


@pytest.mark.parametrize(
    ("name", "times", "kinds", "window"),
    [
        ("average_pooling2d", 1, ["global_avg_pool", "flatten_hwc"], "the whole map"),
        ("average_pooling2d", 4, ["avg_pool", "flatten_hwc"], "2x2"),
        ("max_pooling2d_1", 1, ["global_max_pool", "flatten_hwc"], "the whole map"),
        ("max_pooling2d_1", 4, ["max_pool", "flatten_hwc"], "2x2"),
    ],
)
def test_the_window_of_a_pool_is_what_the_dense_layer_asks_for(
    name, times, kinds, window, tmp_path
):
    """Weights do not hold it; Keras' own default is 2x2."""

    def change(file: Any) -> None:
        for one in (name, "flatten"):
            file.create_group(one).attrs["weight_names"] = np.zeros(0)
        kernel = np.asarray(file["dense"]["dense/kernel:0"])
        del file["dense"]["dense/kernel:0"]
        file["dense"]["dense/kernel:0"] = np.tile(kernel, (times, 1))
        names = ["resnet50", name, "flatten", "dense", "batch_normalization", "dense_1"]
        file.attrs["layer_names"] = names

    with opened(edited(NESTED, tmp_path, change, alone=True)) as (_, network):
        assert head(network)[:2] == kinds
        assert facts(network)["head"][1] == "default"
        reason = next(fact.reason for fact in network.facts if fact.name == "head")
        assert f"the window of {name!r} is not in the file: {window} is assumed" in reason


def listed_behind(first: str, name: str) -> Any:
    """List a layer without weights behind another."""

    def change(file: Any) -> None:
        file.create_group(name).attrs["weight_names"] = np.zeros(0)
        names = [as_text(one) for one in file.attrs["layer_names"]]
        names.insert(names.index(first) + 1, name)
        file.attrs["layer_names"] = names

    return change


@pytest.mark.parametrize("name", ["activation_7", "re_lu"])
def test_an_activation_before_the_first_dense_layer_is_kept_and_said_to_be_assumed(name, tmp_path):
    """It was left out: an average, a norm and a relu before the Dense layer were off by 2e-2."""
    change = listed_behind("global_average_pooling2d", name)

    with opened(edited(NESTED, tmp_path, change, alone=True)) as (_, network):
        reason = next(fact.reason for fact in network.facts if fact.name == "head activation")
        assert head(network)[:3] == ["global_avg_pool", "activation", "dense"]
        assert facts(network)["head activation"] == ("relu", "default")
        assert f"which function {name!r} is, is not in the file: relu is assumed" in reason


def test_an_activation_that_ends_the_network_is_none_of_the_head(tmp_path):
    change = listed_behind("dense_1", "activation_7")

    with opened(edited(NESTED, tmp_path, change, alone=True)) as (_, network):
        assert head(network)[-1] == "dense"


def moved_into(home: str, *moved: str) -> Any:
    """Make layers of the head those of the model in a group, behind what is there."""

    def change(file: Any) -> None:
        group = file[home] if home in file else file.create_group(home)
        names = weight_names(group) if "weight_names" in group.attrs else []
        for layer_ in moved:
            for weight in weight_names(file[layer_]):
                file.move(f"{layer_}/{weight}", f"{home}/{weight}")
                names.append(weight)
        group.attrs["weight_names"] = names
        listed = [as_text(name) for name in file.attrs["layer_names"]]
        first = listed.index(moved[0])
        listed[first:first] = [] if home in listed else [home]
        inner = ("global_average_pooling2d",) if home == "resnet50" else ()  # it is within, too
        file.attrs["layer_names"] = [name for name in listed if name not in (*moved, *inner)]

    return change


@pytest.mark.parametrize(
    ("home", "moved"),
    [
        ("resnet50", ["dense"]),
        ("resnet50", ["dense", "batch_normalization"]),
        ("sequential", ["dense", "batch_normalization"]),
    ],
)
def test_a_head_that_is_nested_stands_where_its_model_does(home, moved, tmp_path):
    """It was put behind the rest, and refused, or computed in the wrong order."""
    source = edited(NESTED, tmp_path, moved_into(home, *moved), alone=True)
    _, values = converted(NESTED)

    network, tensors = converted(source)

    order = [one.name for one in network.architecture.head if word(one) in ("dense", "norm")]
    reason = next(fact.reason for fact in network.facts if fact.name == "head")
    assert order == ["dense", "batch_normalization", "dense_1"]
    assert "what is nested beside 'dense' and has no weights is not in the file" in reason
    assert {name: one.tobytes() for name, one in tensors.items()} == {
        name: one.tobytes() for name, one in values.items()
    }


def with_no_pool_listed(pixels: int) -> Any:
    """The Dense layer reads so many numbers for each channel, and the file says not from where."""

    def change(file: Any) -> None:
        listed = [as_text(name) for name in file.attrs["layer_names"]]
        file.attrs["layer_names"] = [name for name in listed if "pool" not in name]
        kernel = file["dense/dense/kernel:0"]
        replaced(file, "dense/dense/kernel:0", np.tile(kernel, (pixels, 1)))

    return change


def test_two_numbers_for_a_channel_may_be_joined_pools_and_are_refused(tmp_path):
    """It was read as a Flatten of two pixels, which failed at the first picture."""
    source = edited(NESTED, tmp_path, with_no_pool_listed(2), alone=True)

    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "reads two numbers for each of" in result.stderr
    assert "convert the whole model" in result.stderr


def test_a_flatten_that_is_not_listed_is_said_to_be_assumed(tmp_path):
    with opened(edited(NESTED, tmp_path, with_no_pool_listed(4), alone=True)) as (_, network):
        reason = next(fact.reason for fact in network.facts if fact.name == "head")
        assert head(network)[:2] == ["flatten_hwc", "dense"]
        assert "lists no Flatten and no joined pools" in reason


@pytest.mark.keras
def test_a_sum_in_the_head_is_a_general_networks(tmp_path):
    target = tmp_path / "out.pth"

    def change(config: Any) -> None:
        behind_hidden("Add")(config)
        call = layer(config, "new")["inbound_nodes"][0]
        call.append([HIDDEN, 0, 0, {}])

    assert_general(reconfigured(FUNCTIONAL, tmp_path, change), target)


@pytest.mark.parametrize(("classes", "activation"), [(1, "sigmoid"), (3, "softmax")])
def test_the_last_activation_of_weights_alone_is_said_to_be_assumed(classes, activation, tmp_path):
    """A softmax behind one number is always 1: nobody has that."""

    def change(file: Any) -> None:
        for name in weight_names(file["dense_1"]):
            values = np.asarray(file["dense_1"][name])[..., :classes]
            del file["dense_1"][name]
            file["dense_1"][name] = values

    with opened(edited(NESTED, tmp_path, change, alone=True)) as (_, network):
        assert facts(network)["output"] == (activation, "default")
        assert network.architecture.outputs[0].activation == activation


def test_the_code_of_a_naming_says_its_last_activation():
    with opened(fixture("keras-hub-0.32-18.weights")) as (_, network):
        assert network.architecture.outputs[0].activation == "linear"


@pytest.mark.parametrize(
    ("policy", "name"),
    [
        ({"class_name": "Policy", "config": {"name": "mixed_float16"}}, "mixed_float16"),
        ("float16", "float16"),
        ("float32", None),
        ({"class_name": "DTypePolicy", "config": {"name": "float32"}}, None),
    ],
)
def test_a_model_that_computed_in_half_precision_is_said_to_have(policy, name, tmp_path):
    """As Keras 2.10 writes it; its predictions were 2.5e-3 from those of its weights."""

    def change(config: Any) -> None:
        layer(config, HIDDEN)["config"]["dtype"] = policy

    with opened(reconfigured(FUNCTIONAL, tmp_path, change)) as (_, network):
        reasons = {fact.name: fact.reason for fact in network.facts}
    assert ("precision" in reasons) == (name is not None)
    assert name is None or f"the model's policy is {name}:" in reasons["precision"]


def test_a_quantised_model_is_said_to_be_that(tmp_path):
    """Of float8 it was said that a Dense layer had no kernel."""
    policy = {"class_name": "QuantizedFloat8DTypePolicy", "config": {"mode": "float8"}}

    def change(config: Any) -> None:
        layer(config, HIDDEN)["config"]["dtype"] = policy

    result = run(reconfigured(FUNCTIONAL, tmp_path, change), tmp_path / "o.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "o.pth")
    assert "the model is quantised (QuantizedFloat8DTypePolicy of 'dense')" in result.stderr
    assert "as it was before model.quantize" in result.stderr


@pytest.mark.parametrize("activation", ["softmax", "tanh"])
def test_what_is_applied_to_the_logits_last_is_said(activation, tmp_path):
    """A tanh was left out, as a softmax is, without a word."""

    def change(config: Any) -> None:
        layer(config, "out")["config"]["activation"] = activation

    with opened(reconfigured(FUNCTIONAL, tmp_path, change)) as (_, network):
        assert facts(network)["output"] == (activation, "model_config")


def with_listed(name: str, before: str) -> Any:
    """List a layer without weights."""

    def change(file: Any) -> None:
        names = [as_text(one) for one in file.attrs["layer_names"]]
        names.insert(names.index(before), name)
        file.create_group(name).attrs["weight_names"] = []
        file.attrs["layer_names"] = names

    return change


@pytest.mark.parametrize(
    ("path", "name", "before"),
    [
        (NESTED, "random_crop", "resnet50"),  # these two act at inference too
        (NESTED, "auto_contrast", "resnet50"),
        (NESTED, "lambda_1", "resnet50"),
        (FUNCTIONAL, "add_7", "dropout"),  # behind the pool: what it adds is not in the file
    ],
)
def test_a_layer_that_computes_what_weights_do_not_tell_is_not_passed_over(
    path, name, before, tmp_path
):
    source = edited(path, tmp_path, with_listed(name, before), alone=True)

    result = run(source, tmp_path / "o.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "o.pth")
    assert repr(name) in result.stderr


def pool_last(file: Any) -> None:
    """The global pool behind the Dense layers, which would work on the map."""
    names = [as_text(name) for name in file.attrs["layer_names"] if as_text(name) != POOL]
    file.attrs["layer_names"] = [*names, POOL]


@pytest.mark.slow
@pytest.mark.keras
def test_a_dense_layer_on_a_map_is_said_to_be_that(tmp_path):
    """It was said that the file had been changed."""

    def change(config: Any) -> None:
        layer(config, HIDDEN)["inbound_nodes"] = layer(config, POOL)["inbound_nodes"]

    alone, target = edited(FUNCTIONAL, tmp_path, pool_last, alone=True), tmp_path / "o.pth"
    result = run(alone, target, "--no-parity")

    assert_refused(result, 5, target)
    assert f"{POOL!r} pools a map and is listed behind a Dense layer" in result.stderr
    assert_general(reconfigured(FUNCTIONAL, tmp_path, change), target)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("normalization", "lists normalization before it"),
        ("rescaling", "lists rescaling before it"),
        ("my_own_layer", "lists my_own_layer before it: an input, or what works on pictures"),
        ("random_flip", "a nested model lists nothing but weights"),
    ],
)
def test_what_stands_in_front_of_a_nested_network_is_told(name, words, tmp_path):
    """Also where it is the first of all: a Sequential lists no input."""
    source = edited(NESTED, tmp_path, with_listed(name, "resnet50"), alone=True)

    with opened(source) as (checkpoint, network):
        assert checkpoint.layers[0] == name
        assert facts(network)["input"][1] == "default"
        assert words in next(fact.reason for fact in network.facts if fact.name == "input")


def test_what_a_nested_base_does_to_pictures_is_said_to_be_unknown(tmp_path):
    with opened(weights_only(NESTED, tmp_path)) as (_, network):
        reason = next(fact.reason for fact in network.facts if fact.name == "input")
        assert "what it does to pictures is not in them" in reason


def test_a_network_that_runs_on_every_frame_is_said_to_be_that_of_one(tmp_path):
    """The weights of a TimeDistributed base were converted without a word."""

    def change(file: Any) -> None:
        file.move("resnet50", "time_distributed_1")
        names = [as_text(one) for one in file.attrs["layer_names"]]
        names[names.index("resnet50")] = "time_distributed_1"
        file.attrs["layer_names"] = names

    with opened(edited(NESTED, tmp_path, change, alone=True)) as (_, network):
        reason = next(fact.reason for fact in network.facts if fact.name == "input")
        assert "this is the network of one frame" in reason
        assert facts(network)["input"][1] == "default"


def test_weights_of_a_model_of_several_pictures_are_said_to_be_those(tmp_path):
    """A siamese network: to convert the whole model, as was said, does not help."""

    def change(file: Any) -> None:
        with_listed("input_8", "resnet50")(file)
        with_listed("input_9", "resnet50")(file)
        with_listed("lambda_1", "dense_1")(file)

    result = run(edited(NESTED, tmp_path, change, alone=True), tmp_path / "o.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "o.pth")
    assert "inputs: it is of a model that joins" in result.stderr
    assert "get_layer(NAME).save_weights" in result.stderr


@pytest.mark.parametrize(
    "activation",
    [
        {"class_name": "PReLU", "config": {"name": "p"}},
        {"class_name": "__lambda__", "config": {"value": ["code", None, None]}},
        {"class_name": "Swoosh", "config": {"beta": 2}, "registered_name": "own>Swoosh"},
    ],
    ids=lambda one: one["class_name"],
)
def test_an_activation_that_is_an_object_is_not_passed_over(activation, tmp_path):
    """It was taken for none at all: the model was converted, and predicted something else."""
    source = reconfigured(FUNCTIONAL, tmp_path, with_hidden(activation))

    result = run(source, tmp_path / "o.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "o.pth")
    whose = activation.get("registered_name", activation["class_name"])
    assert f"its activation is an object of the class {whose}" in result.stderr


def test_the_epsilon_of_a_heads_norm_is_said_to_be_assumed(tmp_path):
    with opened(weights_only(NESTED, tmp_path)) as (_, network):
        reason = next(fact.reason for fact in network.facts if fact.name == "head")
        assert "the epsilon of the head's norms is not in the file: 0.001 is assumed" in reason


def test_a_model_whose_configuration_lists_no_layers_is_said_to_be_of_its_own_class(tmp_path):
    """keras-cv's backbones: it was said not to be a configuration that Keras writes."""

    def change(file: Any) -> None:
        config = {"name": "backbone", "stackwise_filters": [64, 128]}
        file.attrs["model_config"] = json.dumps({"class_name": "ResNetBackbone", "config": config})

    result = run(edited(FUNCTIONAL, tmp_path, change), tmp_path / "o.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "o.pth")
    assert "a class of its own, 'ResNetBackbone'" in result.stderr
    assert "its weights alone are read by them" in result.stderr


OLD = fixture("keras-2.1.6-tensorflow")


def with_nested_head(version: str, *layers: str) -> Any:
    """A base that lists its `avg_pool`, and a model behind it, whose Flatten nothing lists."""

    def change(file: Any) -> None:
        pooled = file["fc1000/fc1000/kernel:0"].shape[0]
        gone = ("flatten_1", "fc1000")
        names = [as_text(one) for one in file.attrs["layer_names"] if as_text(one) not in gone]
        group = file.create_group("sequential_1")
        widths = [pooled, *[3] * len(layers)]
        for name, sizes in zip(layers, itertools.pairwise(widths), strict=True):
            group[f"{name}/kernel:0"] = np.ones(sizes, "f4")
            group[f"{name}/bias:0"] = np.ones(sizes[1], "f4")
        group.attrs["weight_names"] = [f"{n}/{p}:0" for n in layers for p in ("kernel", "bias")]
        file.attrs["layer_names"] = [*names, "sequential_1"]
        file.attrs["keras_version"] = version

    return change


@pytest.mark.parametrize("layers", [("dense_1",), ("dense_1", "dense_2")], ids=["one", "two"])
def test_the_pool_of_an_old_base_is_no_global_one_in_front_of_a_nested_head(layers, tmp_path):
    """Keras 2.1.6: it was taken for one, off by 5e-2 where the map is not 7x7, without a word."""
    source = edited(OLD, tmp_path, with_nested_head("2.1.6", *layers), alone=True)

    with opened(source) as (_, network):
        pool, flat, *_ = network.architecture.head
        reason = next(fact.reason for fact in network.facts if fact.name == "head")
        assert (word(pool), pool.op.kernel, word(flat)) == ("avg_pool", (7, 7), "flatten_hwc")
        assert "has a 7x7 average of the name 'avg_pool', and a Flatten" in reason


def test_the_pool_of_a_newer_base_is_said_to_be_assumed_in_front_of_a_nested_head(tmp_path):
    change = with_nested_head("2.2.4", "dense_1", "dense_2")

    with opened(edited(OLD, tmp_path, change, alone=True)) as (_, network):
        reason = next(fact.reason for fact in network.facts if fact.name == "head")
        assert head_words(network)[0] == "global_avg_pool"
        assert "the window of 'avg_pool' is not in the file: the whole map is assumed" in reason


@pytest.mark.parametrize("parameter", ["recurrent_kernel", "renorm_mean"])
def test_a_parameter_that_ends_as_another_does_is_not_that_one(parameter, tmp_path):
    """An LSTM's two kernels were said to be one, and of two models."""

    def change(file: Any) -> None:
        other = {"recurrent_kernel": "dense_1", "renorm_mean": "batch_normalization"}[parameter]
        group = file[other]
        names = [as_text(one) for one in group.attrs["weight_names"]]
        group[f"{other}/{parameter}:0"] = np.ones(5, "f4")
        group.attrs["weight_names"] = [*names, f"{other}/{parameter}:0"]

    result = run(edited(NESTED, tmp_path, change, alone=True), tmp_path / "o.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "o.pth")
    assert "not used:" in result.stderr
    assert f"{parameter}:0 (5,)" in result.stderr


def test_a_mean_over_channels_that_come_first_is_no_pool(tmp_path):
    """Keras 3's operator says axes 1 and 2, whatever the model's are: here a column is left of each
    map, and the layer behind has a kernel for what a pool gives."""

    def change(config: Any) -> None:
        pool = layer(config, POOL)
        operator = {"name": POOL, "axis": [1, 2], "keepdims": False}
        layer(config, "input_1")["config"]["batch_input_shape"] = [None, 3, 224, 224]
        for one in config["config"]["layers"]:
            if one["class_name"] == "BatchNormalization" and one["name"].endswith("_bn"):
                one["config"]["axis"] = 1
            elif "data_format" in one["config"]:
                one["config"]["data_format"] = "channels_first"
        pool.update(class_name="Mean", module="keras.src.ops.numpy", config=operator)

    result = run(reconfigured(FUNCTIONAL, tmp_path, change), tmp_path / "o.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "o.pth")
    assert f"{HIDDEN}/kernel" in result.stderr


def test_a_dense_layer_without_a_kernel_is_shown_with_what_it_has(tmp_path):
    """As a quantised one, whose kernel is another array."""

    def change(file: Any) -> None:
        group = file["model_weights/out"]
        names = [name for name in weight_names(group) if "bias" in name]
        group.attrs["weight_names"] = names

    result = run(edited(FUNCTIONAL, tmp_path, change), tmp_path / "o.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "o.pth")
    assert "missing: out/kernel, for out" in result.stderr


def test_layers_of_a_head_that_lead_to_no_output_are_left_out_by_name(tmp_path):
    """As of a nested model one of whose outputs nothing reads."""

    def change(file: Any) -> None:
        config = json.loads(file.attrs["model_config"])
        layers = config["config"]["layers"]
        dense = next(one for one in layers if one["class_name"] == "Dense")
        another = json.loads(json.dumps(dense).replace(f'"{dense["name"]}"', '"unread"'))
        layers.insert(layers.index(dense), another)
        file.attrs["model_config"] = json.dumps(config)
        root = file["model_weights"]
        group = root.create_group("unread")
        shape = root[f"{dense['name']}/{dense['name']}/kernel:0"].shape
        group.attrs["weight_names"] = [b"unread/kernel:0", b"unread/bias:0"]
        group["unread/kernel:0"] = np.ones(shape, "f4")
        group["unread/bias:0"] = np.ones(shape[1:], "f4")
        root.attrs["layer_names"] = [*map(str, root.attrs["layer_names"]), "unread"]

    path = edited(FUNCTIONAL, tmp_path, change)
    network, tensors = converted(path)
    plain, same = converted(FUNCTIONAL)
    assert {weight.layer for weight in network.left_out} == {"unread"}
    assert network.architecture == plain.architecture
    assert tensors.keys() == same.keys()
    result = run(path, tmp_path / "out.pth", "--no-parity")
    assert "left out  unread: no part of the network" in result.stderr
