"""Configurations as Keras 1, 2 and 3 write them are the same graph."""

from __future__ import annotations

import pytest

from converter import graph as g
from converter.errors import SourceError
from converter.graph import parse_graph


def layer(class_name, config, *inputs, keras3=False):
    name = config["name"]
    if keras3:
        tensors = [
            {"class_name": "__keras_tensor__", "config": {"keras_history": [one, 0, 0]}}
            for one in inputs
        ]
        arguments = [tensors] if len(tensors) > 1 else tensors
        inbound = [{"args": arguments, "kwargs": {}}] if inputs else []
    else:
        inbound = [[[one, 0, 0, {}] for one in inputs]] if inputs else []
    return {"class_name": class_name, "name": name, "config": config, "inbound_nodes": inbound}


def model(class_name, layers, inputs, outputs):
    config = {"name": "net", "layers": layers, "input_layers": inputs, "output_layers": outputs}
    return {"class_name": class_name, "config": config}


KERAS_1 = model(
    "Model",
    [
        layer("InputLayer", {"name": "in", "batch_input_shape": [None, 8, 8, 3]}),
        layer("ZeroPadding2D", {"name": "pad", "padding": [3, 3], "dim_ordering": "tf"}, "in"),
        layer(
            "Convolution2D",
            {
                "name": "conv",
                "nb_filter": 4,
                "nb_row": 7,
                "nb_col": 7,
                "subsample": [2, 2],
                "border_mode": "valid",
                "bias": True,
                "activation": "linear",
                "dim_ordering": "tf",
            },
            "pad",
        ),
        layer("BatchNormalization", {"name": "bn", "epsilon": 1e-3, "mode": 0, "axis": 3}, "conv"),
        layer("Merge", {"name": "sum", "mode": "sum"}, "bn", "conv"),
        layer(
            "Dense", {"name": "fc", "output_dim": 5, "bias": True, "activation": "softmax"}, "sum"
        ),
    ],
    [["in", 0, 0]],
    [["fc", 0, 0]],
)


def keras_2(keras3=False):
    def one(class_name, config, *inputs):
        return layer(class_name, config, *inputs, keras3=keras3)

    shape = {"batch_shape" if keras3 else "batch_input_shape": [None, 8, 8, 3]}
    return model(
        "Functional" if keras3 else "Model",
        [
            one("InputLayer", {"name": "in", **shape}),
            one("ZeroPadding2D", {"name": "pad", "padding": [[3, 3], [3, 3]]}, "in"),
            one(
                "Conv2D",
                {
                    "name": "conv",
                    "filters": 4,
                    "kernel_size": [7, 7],
                    "strides": [2, 2],
                    "padding": "valid",
                    "dilation_rate": [1, 1],
                    "use_bias": True,
                    "activation": "linear",
                    "data_format": "channels_last",
                },
                "pad",
            ),
            one("BatchNormalization", {"name": "bn", "epsilon": 1e-3, "axis": [3]}, "conv"),
            one("Add", {"name": "sum"}, "bn", "conv"),
            one(
                "Dense",
                {"name": "fc", "units": 5, "use_bias": True, "activation": "softmax"},
                "sum",
            ),
        ],
        ["in", 0, 0] if keras3 else [["in", 0, 0]],
        ["fc", 0, 0] if keras3 else [["fc", 0, 0]],
    )


def test_three_ways_to_write_it_are_one_graph():
    one = parse_graph(KERAS_1)

    assert one.nodes == parse_graph(keras_2()).nodes == parse_graph(keras_2(keras3=True)).nodes
    assert one.outputs == parse_graph(keras_2(keras3=True)).outputs == ("fc/activation",)


def test_an_activation_inside_a_layer_is_a_node_of_its_own():
    nodes = parse_graph(KERAS_1).by_id()

    assert nodes["fc"].op == g.Dense(5, bias=True)
    assert nodes["fc/activation"].op == g.Activation("softmax")
    assert nodes["fc/activation"].layer == "fc"


@pytest.mark.parametrize("listed", [True, False], ids=["before Keras 2.2.3", "since"])
def test_a_nested_model_is_opened_up(listed):
    dense = {"class_name": "Dense", "config": {"name": "fc", "units": 5, "use_bias": True}}
    layers = [keras_2(), dense]
    outer = {"class_name": "Sequential", "config": layers if listed else {"layers": layers}}

    nodes = parse_graph(outer).by_id()

    assert nodes["net/conv"].outer == ("net",)
    assert nodes["net/conv"].layer == "conv"
    assert nodes["fc"].inputs == ("net/fc/activation",)


def test_a_layer_called_as_its_second_call_is_found():
    """A model used as a layer counts its own making as call 0."""
    config = keras_2()
    config["config"]["layers"][2]["inbound_nodes"] = [[["pad", 1, 0, {}]]]

    assert parse_graph(config).by_id()["conv"].inputs == ("pad",)


def test_channels_first_is_noticed():
    config = keras_2()
    config["config"]["layers"][2]["config"]["data_format"] = "channels_first"

    assert parse_graph(config).channels_first


def test_code_in_a_configuration_is_named_and_not_run():
    config = keras_2()
    config["config"]["layers"][1] = layer(
        "Lambda", {"name": "pad", "function": ["4wEAAAABAAAA", None, None]}, "in"
    )

    assert parse_graph(config).by_id()["pad"].op == g.Unknown("Lambda")


def cycle():
    config = keras_2()
    config["config"]["layers"][1]["inbound_nodes"] = [[["fc", 0, 0, {}]]]
    return config


def nested(depth):
    config = {"class_name": "Sequential", "config": {"layers": []}}
    for number in range(depth):
        config = {"class_name": "Sequential", "config": {"name": f"m{number}", "layers": [config]}}
    return config


@pytest.mark.parametrize(
    "config",
    [{}, {"class_name": "Model"}, {"class_name": "Model", "config": 3}, cycle(), nested(500)],
    ids=["empty", "no config", "a number", "a cycle", "too deep"],
)
def test_what_keras_does_not_write_is_refused(config):
    with pytest.raises(SourceError, match="the model_config is not one that Keras writes"):
        parse_graph(config)
