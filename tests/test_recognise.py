"""Every layer of a graph finds its place with what it computes, or the file is refused."""

from __future__ import annotations

import pytest
import torch
from edits import assert_refused, edited, layer, reconfigured, run, with_leaky_relus
from helpers import as_text, converted, fixture, head_words, opened

import resnet_pt
from converter.errors import MismatchError, SourceError
from converter.whole_model import ops as g
from converter.whole_model.graph import parse_graph
from resnet_pt.ops import Activation, Combine, Resize

PATH = fixture("keras-2.2.4-tensorflow")
AFTER_A_SUM, AFTER_THE_LAST_SUM, AFTER_A_NORM = "activation_10", "activation_49", "activation_11"


def with_layer(name, **values):
    return lambda config: layer(config, name)["config"].update(values)


@pytest.mark.slow
@pytest.mark.parametrize("name", [AFTER_A_SUM, AFTER_THE_LAST_SUM, AFTER_A_NORM])
@pytest.mark.parametrize("activation", ["tanh", "relu6"])
def test_one_other_activation_is_not_taken_for_relu(name, activation, tmp_path):
    """It is no residual network of a known kind, and a network all the same."""
    source = reconfigured(PATH, tmp_path, with_layer(name, activation=activation))

    with opened(source) as (_, network):
        ops = {layer.name: layer.op for layer in network.program.layers}

    assert network.lifted
    assert ops[name] == Activation(activation)


@pytest.mark.parametrize("name", [AFTER_A_SUM, AFTER_THE_LAST_SUM, AFTER_A_NORM])
@pytest.mark.parametrize("activation", ["made_up"])
def test_an_activation_that_is_not_known_is_named(name, activation, tmp_path):
    source = reconfigured(PATH, tmp_path, with_layer(name, activation=activation))

    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert activation in result.stderr


@pytest.mark.slow
def test_a_norm_over_another_axis_is_not_taken_for_one_over_channels(tmp_path):
    source = reconfigured(PATH, tmp_path, with_layer("bn3b_branch2b", axis=1))

    assert_refused(run(source, tmp_path / "out.pth", "--no-parity"), 5, tmp_path / "out.pth")


def called_while(training):
    def change(config):
        layer(config, "bn3b_branch2b")["inbound_nodes"][0][0][3] = {"training": training}

    return change


@pytest.mark.slow
def test_a_norm_called_as_in_training_is_refused(tmp_path):
    """`bn(x, training=True)` normalises by the batch at hand, at inference too."""
    source = reconfigured(PATH, tmp_path, called_while(True))

    assert_refused(run(source, tmp_path / "out.pth", "--no-parity"), 5, tmp_path / "out.pth")


@pytest.mark.slow
def test_a_norm_called_as_in_inference_is_the_norm_that_it_is(tmp_path):
    """`base(x, training=False)`: what Keras' guide to transfer learning writes."""
    source = reconfigured(PATH, tmp_path, called_while(False))

    with opened(source) as (_, network):
        assert network.architecture == converted(PATH)[0].architecture


@pytest.mark.slow
def test_a_layer_that_has_no_place_is_named_and_not_its_neighbour(tmp_path):
    def change(config):
        layer(config, AFTER_A_SUM)["class_name"] = "Lambda"

    source = reconfigured(PATH, tmp_path, change)

    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert f"'{AFTER_A_SUM}' (Lambda): it runs a function" in result.stderr


def added(class_name, name, *sources, **config):
    """A layer of Keras 2, for a configuration."""
    call = [[source, 0, 0, {}] for source in sources]
    config = {"name": name, **config}
    return {"class_name": class_name, "name": name, "config": config, "inbound_nodes": [call]}


@pytest.mark.slow
def test_a_dropout_within_a_block_does_nothing_when_it_predicts(tmp_path):
    """As wide ResNets have it."""

    def change(config):
        layers = config["config"]["layers"]
        layers.insert(
            layers.index(layer(config, AFTER_A_NORM)), added("Dropout", "drop", "x", rate=0.3)
        )
        drop = layer(config, "drop")
        reader = layer(config, AFTER_A_NORM)
        drop["inbound_nodes"], reader["inbound_nodes"] = (
            reader["inbound_nodes"],
            [[["drop", 0, 0, {}]]],
        )

    source = reconfigured(PATH, tmp_path, change)

    assert converted(source)[0].architecture == converted(PATH)[0].architecture


@pytest.mark.slow
def test_a_network_in_a_class_of_its_own_is_named(tmp_path):
    """keras-hub's and keras-cv's backbones within a model: it was said to have no sums."""

    def change(config):
        config["config"]["layers"] = [
            layer(config, "input_1"),
            added("package>ResNetBackbone", "backbone", "input_1"),
            added("GlobalAveragePooling2D", "pool", "backbone"),
        ]
        config["config"]["output_layers"] = [["pool", 0, 0]]

    result = run(reconfigured(PATH, tmp_path, change), tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "(package>ResNetBackbone): it is a class of the project's own" in result.stderr
    assert "model.save_weights" in result.stderr


@pytest.mark.parametrize("name", ["Average", "Multiply"])
def test_blocks_that_are_joined_otherwise_are_joined_so(name, tmp_path):
    """They are no residual blocks."""

    def change(config):
        for one in config["config"]["layers"]:
            if one["class_name"] == "Add":
                one["class_name"] = name

    with opened(reconfigured(PATH, tmp_path, change)) as (_, network):
        ops = {layer.name: layer.op for layer in network.program.layers}

    assert ops["add_1"] == Combine(name.lower())


@pytest.mark.slow
def test_a_graph_that_keras_lost_is_said_to_be_lost(tmp_path):
    """Layers that were given other names, saved by Keras before 2.4."""

    def change(config):
        layer(config, "add_1")["inbound_nodes"] = []

    result = run(reconfigured(PATH, tmp_path, change), tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "'add_1' (Add): its configuration does not say what it reads" in result.stderr


@pytest.mark.slow
def test_what_is_not_known_may_give_several_tensors(tmp_path):
    """`tf.split`: the configuration was said to be none that Keras writes."""

    def change(config):
        layer(config, AFTER_A_NORM)["class_name"] = "Split"
        source = f"{AFTER_A_NORM}"
        for one in config["config"]["layers"]:
            for call in one["inbound_nodes"]:
                for tensor in call:
                    tensor[2] = 1 if tensor[0] == source else tensor[2]

    result = run(reconfigured(PATH, tmp_path, change), tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert f"'{AFTER_A_NORM}' (Split): it is" in result.stderr
    assert "--outputs 'bn3a_branch2a' ends the network before" in result.stderr


def test_a_sequential_may_resize_its_pictures_itself(tmp_path):
    def change(config):
        first = {"class_name": "Resizing", "config": {"name": "resizing", "height": 8, "width": 8}}
        second = {"class_name": "Rescaling", "config": {"name": "rescaling", "scale": 0.5}}
        inner = {**config, "name": "base"}
        layers = [{"class_name": "InputLayer", "config": {"batch_input_shape": [None, 8, 8, 3]}}]
        config_of_all = {"name": "all", "layers": [*layers, first, second, dict(inner)]}
        config.clear()
        config.update(class_name="Sequential", config=config_of_all)

    with opened(reconfigured(PATH, tmp_path, change)) as (_, network):
        first = network.program.layers[0]

    assert (first.name, first.op) == ("resizing", Resize((8, 8)))


def test_a_shortcut_whose_map_can_be_negative_is_padded_with_zeros(tmp_path):
    """Of a network of leaky relus: zeros win over what is negative."""

    def change(config):
        with_leaky_relus(config)
        layers = config["config"]["layers"]
        short = layer(config, "res3a_branch1")
        place, call = layers.index(short), short["inbound_nodes"]
        pool = {"pool_size": [3, 3], "strides": [1, 1], "padding": "valid"}
        layers[place:place] = [
            added("ZeroPadding2D", "zeros", "x", padding=[[1, 1], [1, 1]]),
            added("MaxPooling2D", "pool", "zeros", **pool),
        ]
        layer(config, "zeros")["inbound_nodes"] = call
        short["inbound_nodes"] = [[["pool", 0, 0, {}]]]

    network, _ = converted(reconfigured(PATH, tmp_path, change))

    assert network.architecture.stages[1][0].shortcut.pool.fill == "zero"


@pytest.mark.slow
def test_a_sum_of_maps_that_do_not_fit_is_said_to_be_that(tmp_path):

    def change(config):
        layers = config["config"]["layers"]
        place = layers.index(layer(config, "add_16"))
        layers.insert(place, added("UpSampling2D", "up", "input_1", size=[1, 1]))
        layer(config, "add_16")["inbound_nodes"][0][1][0] = "up"

    result = run(reconfigured(PATH, tmp_path, change), tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "'add_16' (Add): it puts sides of 3 and 128 together" in result.stderr


def test_squeeze_and_excitation_is_carried_over(tmp_path):
    def change(config):
        layers = config["config"]["layers"]
        add = layer(config, "add_16")
        place, source = layers.index(add), add["inbound_nodes"][0][0][0]
        layers[place:place] = [
            added("GlobalAveragePooling2D", "squeeze", source),
            added("Reshape", "excite", "squeeze", target_shape=[1, 1, 128]),
            added("Multiply", "scale", source, "excite"),
        ]
        add["inbound_nodes"][0][0][0] = "scale"

    with opened(reconfigured(PATH, tmp_path, change)) as (_, network):
        ops = {layer.name: layer.op for layer in network.program.layers}

    assert ops["scale"] == Combine("multiply")


def test_a_layer_that_is_called_again_on_its_own_output_is_a_graph():
    """One `relu = Activation("relu")`, used behind several layers, is what Keras writes."""

    def one(class_name, name, *inbound, **config):
        return {
            "class_name": class_name,
            "name": name,
            "config": {"name": name, **config},
            "inbound_nodes": [[[source, call, 0, {}]] for source, call in inbound],
        }

    norm = {"epsilon": 1e-3, "axis": 3}
    config = {
        "class_name": "Model",
        "config": {
            "name": "net",
            "layers": [
                one("InputLayer", "in", batch_input_shape=[None, 8, 8, 3]),
                one("BatchNormalization", "first", ("in", 0), **norm),
                one("Activation", "relu", ("first", 0), ("second", 0), activation="relu"),
                one("BatchNormalization", "second", ("relu", 0), **norm),
            ],
            "input_layers": [["in", 0, 0]],
            "output_layers": [["relu", 1, 0]],
        },
    }

    graph = parse_graph(config)

    assert [type(node.op) for node in graph.nodes] == [
        g.Input,
        g.BatchNorm,
        g.Activation,
        g.BatchNorm,
        g.Activation,
    ]
    assert graph.outputs == (graph.nodes[-1].id,)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        pytest.param({}, "flatten_chw", id="Keras 1 and 2.1"),
        pytest.param({"data_format": "channels_last"}, "flatten_chw", id="told channels_last"),
        pytest.param({"data_format": "channels_first"}, "flatten_hwc", id="told channels_first"),
    ],
)
def test_a_flatten_of_channels_first_maps_may_reorder_them(values, kind, tmp_path):
    """Since Keras 2.2 a Flatten that is told `channels_first` moves the channels to the end
    (keras 2.2.4 `layers/core.py`, Flatten.call; 3.15 does so too)."""
    source = reconfigured(
        fixture("keras-1.2.2-theano-th"), tmp_path, with_layer("flatten_1", **values)
    )

    with opened(source) as (_, network):
        assert head_words(network)[1] == kind


@pytest.mark.parametrize("outputs", [[], [["fc2000", 0, 0]]], ids=["none", "of no layer"])
def test_outputs_that_make_no_sense_are_refused(outputs, tmp_path):
    source = reconfigured(
        PATH, tmp_path, lambda config: config["config"].update(output_layers=outputs)
    )

    with pytest.raises((MismatchError, SourceError)), opened(source):
        pass


def test_an_output_may_be_given_twice(tmp_path):
    twice = [["fc1000", 0, 0], ["fc1000", 0, 0]]
    source = reconfigured(
        PATH, tmp_path, lambda config: config["config"].update(output_layers=twice)
    )

    with opened(source) as (_, network):
        assert [one.name for one in network.program.outputs] == ["fc1000", "fc1000_1"]


@pytest.mark.slow
@pytest.mark.parametrize("length", [50, 1500])
def test_a_long_head_never_ends_in_a_traceback(length, tmp_path):
    def lengthen(config):
        listed, last = config["config"]["layers"], "avg_pool"
        for number in range(length):
            name = f"dropout_{number}"
            inbound = [[[last, 0, 0, {}]]]
            one = {"class_name": "Dropout", "name": name, "inbound_nodes": inbound}
            listed.append({**one, "config": {"name": name, "rate": 0.5}})
            last = name
        layer(config, "fc1000")["inbound_nodes"] = [[[last, 0, 0, {}]]]

    source = reconfigured(PATH, tmp_path, lengthen)

    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert isinstance(result.exception, SystemExit | None), repr(result.exception)
    assert result.exit_code == 0 or length > 1000


@pytest.mark.slow
def test_layers_may_be_listed_in_any_order(tmp_path):
    source = reconfigured(PATH, tmp_path, lambda config: config["config"]["layers"].reverse())

    with opened(source) as (_, network):
        assert network.structure.architecture == converted(PATH)[0].architecture
        assert dict(network.structure.layers) == dict(converted(PATH)[0].structure.layers)


def as_written(file):
    return [as_text(name) for name in file["model_weights"].attrs["layer_names"]]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["type", "keys", "half", "forward", "training"])
def test_an_output_may_be_called_as_torch_calls_something_of_its_own(name, tmp_path):
    def rename(file):
        group = file["model_weights"]
        names = [name if one == "out" else one for one in as_written(file)]
        config = file.attrs["model_config"]
        file.attrs["model_config"] = config.replace('"out"', f'"{name}"')
        group.move("out", name)
        group.attrs["layer_names"] = names

    source = edited(fixture("keras-2.10-functional-head"), tmp_path, rename)

    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert result.exit_code == 0, result.output
    model = resnet_pt.load(tmp_path / "out.pth")
    assert model(torch.zeros(1, 3, 224, 224)).shape == (1, model.architecture.classes)
