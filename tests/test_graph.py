"""Configurations as Keras 1, 2 and 3 write them are the same graph."""

from __future__ import annotations

import time

import pytest

from converter.errors import MismatchError, SourceError
from converter.files.model_config import inbound, keywords
from converter.whole_model import ops as g
from converter.whole_model.graph import parse_graph
from converter.whole_model.keras_classes import CUSTOM, OF_CODE, OPERATOR
from converter.whole_model.keras_layers.call import Call, Era, NotLiftedError
from converter.whole_model.keras_layers.operators import lift_operator


def layer(class_name, config, *inputs, keras3=False):
    name = config["name"]
    if keras3:
        tensors = [
            {"class_name": "__keras_tensor__", "config": {"keras_history": [one, 0, 0]}}
            for one in inputs
        ]
        arguments = [tensors] if len(tensors) > 1 else tensors
        calls = [{"args": arguments, "kwargs": {}}] if inputs else []
    else:
        calls = [[[one, 0, 0, {}] for one in inputs]] if inputs else []
    return {"class_name": class_name, "name": name, "config": config, "inbound_nodes": calls}


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


def test_the_outputs_of_a_dict_are_counted_in_the_order_of_their_names():
    """As Keras counts them; it writes them as the model's code did."""
    config = keras_2(keras3=True)
    config["config"]["output_layers"] = {"second": ["fc", 0, 0], "first": ["bn", 0, 0]}

    assert parse_graph(config).outputs == ("bn", "fc/activation")


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

    assert parse_graph(config).by_id()["pad"].op == g.Unknown("Lambda", OF_CODE)


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


def chain(length, *, backwards=False):
    """A model of `length` activations in a row."""
    layers = [layer("InputLayer", {"name": "l0", "batch_input_shape": [None, 8, 8, 3]})]
    for number in range(1, length):
        config = {"name": f"l{number}", "activation": "relu"}
        layers.append(layer("Activation", config, f"l{number - 1}"))
    layers = layers[::-1] if backwards else layers
    return model("Model", layers, [["l0", 0, 0]], [[f"l{length - 1}", 0, 0]])


@pytest.mark.parametrize("backwards", [False, True])
def test_a_long_list_takes_as_long_as_it_is(backwards):
    began = time.process_time()
    graph = parse_graph(chain(8_000, backwards=backwards))

    assert [node.id for node in graph.nodes] == [f"l{number}" for number in range(8_000)]
    assert time.process_time() - began < 5  # in the square of its length: 12 s and more


@pytest.mark.slow
def test_a_layer_that_is_called_often_waits_for_each_call():
    """Calls that each wait for another layer, which comes later in the list."""
    layers = [layer("InputLayer", {"name": "in", "batch_input_shape": [None, 8, 8, 3]})]
    shared = layer("Activation", {"name": "shared", "activation": "relu"})
    shared["inbound_nodes"] = [[[f"l{number}", 0, 0, {}]] for number in range(3_000)]
    layers.append(shared)
    for number in range(3_000):
        config = {"name": f"l{number}", "activation": "relu"}
        layers.append(layer("Activation", config, "in"))
    began = time.process_time()

    graph = parse_graph(model("Model", layers, [["in", 0, 0]], [["shared", 2_999, 0]]))

    assert graph.outputs == ("shared#2999",)
    assert time.process_time() - began < 5


def test_layers_that_wait_for_each_other_are_refused():
    layers = [
        layer("InputLayer", {"name": "in", "batch_input_shape": [None, 8, 8, 3]}),
        layer("Add", {"name": "a"}, "in", "b"),
        layer("Add", {"name": "b"}, "in", "a"),
    ]

    with pytest.raises(SourceError, match="not one that Keras writes") as error:
        parse_graph(model("Model", layers, [["in", 0, 0]], [["b", 0, 0]]))
    assert "layers that wait for each other" in str(error.value)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_more_layers_than_any_network_has_are_refused_at_once(kind):
    config = chain(50_000)
    if kind == "sequential":
        config = {"class_name": "Sequential", "config": config["config"]["layers"]}
    began = time.process_time()

    with pytest.raises(SourceError, match="not one that Keras writes"):
        parse_graph(config)
    assert time.process_time() - began < 5


def beside_itself(class_name, config):
    """The op of a picture that is joined with itself."""
    nodes = [
        layer("InputLayer", {"name": "in", "batch_input_shape": [None, 8, 8, 3]}),
        layer(class_name, {"name": "joined", **config}, "in", "in"),
    ]
    graph = parse_graph(model("Model", nodes, [["in", 0, 0]], [["joined", 0, 0]]))
    return graph.by_id()["joined"].op


@pytest.mark.parametrize(
    ("class_name", "config", "expected"),
    [
        ("Concatenate", {"axis": -1}, g.Channels((None, None))),
        ("Concatenate", {"axis": 3}, g.Channels((None, None))),
        ("Concatenate", {"axis": 1}, g.Stack(is_new=False, axis=1)),  # set below itself
        ("Concatenate", {"axis": 2}, g.Unknown("Concatenate", "axis 2")),
        ("Merge", {"mode": "concat", "concat_axis": -1}, g.Channels((None, None))),
        ("Merge", {"mode": "concat", "concat_axis": 1}, g.Stack(is_new=False, axis=1)),
        ("Merge", {"mode": "concat", "concat_axis": 2}, g.Unknown("Concatenate", "axis 2")),
        ("Merge", {"mode": "dot"}, g.Unknown("Merge", "mode 'dot'")),
    ],
)
def test_what_is_joined_is_joined_along_the_axis_that_is_said(class_name, config, expected):
    assert beside_itself(class_name, config) == expected


@pytest.mark.parametrize(
    ("class_name", "config", "expected"),
    [
        ("ELU", {"alpha": 1.0}, g.Activation("elu")),
        ("ELU", {"alpha": 0.5}, g.Unknown("ELU", "its alpha is not 1")),
        ("PReLU", {}, g.PReLU()),
        ("Reshape", {"target_shape": [-1]}, g.Flatten()),
        ("Reshape", {"target_shape": [128]}, g.Flatten()),
        ("Reshape", {"target_shape": [1, 1, 128]}, g.Reshape((1, 1, 128))),
    ],
)
def test_a_layer_is_read_or_refused_with_the_reason(class_name, config, expected):
    nodes = [
        layer("InputLayer", {"name": "in", "batch_input_shape": [None, 8, 8, 3]}),
        layer(class_name, {"name": "act", **config}, "in"),
    ]
    graph = parse_graph(model("Model", nodes, [["in", 0, 0]], [["act", 0, 0]]))
    assert graph.by_id()["act"].op == expected


MAXIMUM = "it begins with a number of its own"
BATCH = "it makes the shape [1, -1], of another batch"
PADS = [[0, 0], [1, 2], [3, 4], [0, 0]]
NO_ZEROS = "it pads with something else than zeros, or not a map"
OTHER_AXES = "it pads other axes than height and width"
KEPT = "it keeps the axes that it is a mean over"


@pytest.mark.parametrize(
    ("class_name", "config", "expected"),
    [
        ("Relu", {}, g.Activation("relu")),
        ("Relu6", {}, g.Activation("relu6")),
        ("Sigmoid", {}, g.Activation("sigmoid")),
        ("Silu", {}, g.Activation("silu")),
        ("Selu", {}, g.Activation("selu")),
        ("Tanh", {}, g.Activation("tanh")),
        ("Softplus", {}, g.Activation("softplus")),
        ("Softsign", {}, g.Activation("softsign")),
        ("Mean", {"axis": [1, 2], "keepdims": False}, g.GlobalPooling("avg", is_last=True)),
        ("Mean", {"axis": [2, 1], "keepdims": False}, g.GlobalPooling("avg", is_last=True)),
        ("Mean", {"axis": [1, 2], "keepdims": True}, g.Unknown("Mean", KEPT)),
        ("Mean", {"axis": -1}, g.Unknown("Mean", "it is a mean over the axes -1")),
        ("Mean", {"axis": [1, 3]}, g.Unknown("Mean", "it is a mean over the axes [1, 3]")),
        ("Max", {"axis": [1, 2], "initial": None}, g.GlobalPooling("max", is_last=True)),
        ("Max", {"axis": [1, 2], "initial": 3}, g.Unknown("Maximum", MAXIMUM)),
        ("Amax", {"axis": [1, 2]}, g.GlobalPooling("max", is_last=True)),
        ("Pad", {"pad_width": PADS, "mode": "constant"}, g.Pad((3, 4, 1, 2), is_last=True)),
        ("Pad", {"pad_width": PADS, "mode": "reflect"}, g.Unknown("Pad", NO_ZEROS)),
        (
            "Pad",
            {"pad_width": PADS, "mode": "constant", "constant_values": float("-inf")},
            g.Pad((3, 4, 1, 2), is_last=True, value=float("-inf")),
        ),
        ("Pad", {"pad_width": PADS[::-1], "mode": "constant"}, g.Pad((1, 2, 3, 4), True)),
        ("Pad", {"pad_width": [*PADS[:3], [0, 1]]}, g.Unknown("Pad", OTHER_AXES)),
        ("Flip", {"axis": -1}, g.Reverse()),
        ("Flip", {"axis": 2}, g.Unknown("Flip", "it turns the axis 2")),
        ("LeakyRelu", {"negative_slope": 0.1}, g.Activation("leaky_relu", 0.1)),
        ("Elu", {"alpha": 0.5}, g.Unknown("ELU", "its alpha is not 1")),
        ("Gelu", {"approximate": False}, g.Activation("gelu")),
        ("Gelu", {"approximate": True}, g.Unknown("Gelu", "it is the approximate one")),
        ("Reshape", {"newshape": [-1, 128]}, g.Reshape((128,))),  # with the batch
        ("Reshape", {"newshape": [1, -1]}, g.Unknown("Reshape", BATCH)),
        ("Mean", {"axis": [-3, -2]}, g.GlobalPooling("avg", is_last=True)),
        ("Reshape", {"newshape": [-1, 1, 1, 128]}, g.Reshape((1, 1, 128))),
        ("Cast", {"dtype": "float32"}, g.Identity()),
        ("Cast", {"dtype": "int32"}, g.Unknown("Cast", OPERATOR)),
        ("Exp", {}, g.Activation("exponential")),
        ("Log", {}, g.Unknown("Log", OPERATOR)),
    ],
)
def test_an_operator_of_keras_3_is_read_or_refused(class_name, config, expected):
    assert op_of_keras_3(class_name, config, module="keras.src.ops.nn") == expected


@pytest.mark.parametrize("class_name", ["Relu", "Sigmoid", "Tanh", "Mean"])
def test_a_layer_of_an_operators_name_is_custom_code(class_name):
    config = {"axis": [1, 2], "keepdims": False}
    own = g.Unknown(f"own.layers>{class_name}", CUSTOM)
    assert op_of_keras_3(class_name, config, module="own.layers") == own


def test_a_registered_class_of_an_operators_name_is_custom_code():
    assert op_of_keras_3("own>Relu", {}, module=None) == g.Unknown("own>Relu", CUSTOM)


@pytest.mark.parametrize(
    ("config", "expected"),
    [({}, g.Activation("relu")), ({"trainable": True}, g.Unknown("Relu", CUSTOM))],
    ids=["an operator", "a layer"],
)
def test_an_h5_has_no_modules_and_layers_say_whether_they_are_trained(config, expected):
    assert op_of_keras_3("Relu", config, module=None) == expected


def test_an_operator_of_keras_3_is_none_of_keras_2():
    nodes = [
        layer("InputLayer", {"name": "in", "batch_input_shape": [None, 8, 8, 3]}),
        layer("Relu", {"name": "act"}, "in"),
    ]
    graph = parse_graph(model("Functional", nodes, [["in", 0, 0]], [["act", 0, 0]]))
    assert graph.by_id()["act"].op == g.Unknown("Relu", CUSTOM)


def test_a_constant_that_is_given_in_the_call_is_heeded():
    node = layer("Pad", {"name": "act", "pad_width": PADS, "mode": "constant"}, "in", keras3=True)
    node["inbound_nodes"][0]["kwargs"] = {"constant_values": 1}
    nodes = [layer("InputLayer", {"name": "in", "batch_shape": [None, 8, 8, 3]}), node]
    graph = parse_graph(model("Functional", nodes, ["in", 0, 0], ["act", 0, 0]))
    assert graph.by_id()["act"].op == g.Unknown("Pad", NO_ZEROS)


ZEROS = {"paddings": PADS, "mode": "CONSTANT", "name": None, "constant_values": 0}


@pytest.mark.parametrize(
    ("function", "arguments", "expected"),
    [
        ("nn.relu", {"name": None}, g.Activation("relu")),
        ("math.sigmoid", {}, g.Activation("sigmoid")),
        ("nn.leaky_relu", {}, g.Activation("leaky_relu", 0.2)),
        ("nn.leaky_relu", {"alpha": 0.1}, g.Activation("leaky_relu", 0.1)),
        ("nn.gelu", {"approximate": False}, g.Activation("gelu")),
        ("nn.gelu", {"approximate": True}, g.Unknown("Gelu", "it is the approximate one")),
        ("nn.softmax", {"axis": -1}, g.Activation("softmax")),
        ("nn.softmax", {"axis": 1}, g.Unknown("Softmax", "axis 1")),
        ("math.reduce_mean", {"axis": [1, 2]}, g.GlobalPooling("avg", is_last=True)),
        ("math.reduce_mean", {"axis": [1, 2], "keepdims": True}, g.Unknown("Mean", KEPT)),
        ("math.reduce_max", {"axis": [1, 2]}, g.GlobalPooling("max", is_last=True)),
        ("reshape", {"shape": [-1, 128]}, g.Reshape((128,))),
        ("reshape", {"shape": -1}, g.Unknown("Reshape", "it makes the shape -1, of another batch")),
        ("compat.v1.pad", ZEROS, g.Pad((3, 4, 1, 2), is_last=True)),
        ("compat.v1.pad", {**ZEROS, "constant_values": 2}, g.Unknown("Pad", NO_ZEROS)),
        ("compat.v1.pad", {**ZEROS, "mode": "REFLECT"}, g.Unknown("Pad", NO_ZEROS)),
        ("reverse", {"axis": [-1], "name": None}, g.Reverse()),
        ("identity", {}, g.Identity()),
        ("nn.relu", {"other": 1}, "nn.relu"),
        ("nn.dropout", {"rate": 0.1}, "nn.dropout"),  # it drops at inference too
        ("math.l2_normalize", {"axis": 1}, "math.l2_normalize"),
    ],
)
def test_a_function_of_tensorflow_is_read_or_refused(function, arguments, expected):
    """Written by tf.keras 2.10 and 2.15."""
    node = layer("TFOpLambda", {"name": "act", "function": function}, "in")
    node["inbound_nodes"] = [["in", 0, 0, arguments]]
    nodes = [layer("InputLayer", {"name": "in", "batch_input_shape": [None, 8, 8, 3]}), node]
    graph = parse_graph(model("Functional", nodes, [["in", 0, 0]], [["act", 0, 0]]))
    refused = g.Unknown("TFOpLambda", f"the function {expected!r} is not understood")
    assert graph.by_id()["act"].op == (refused if isinstance(expected, str) else expected)


def op_of_keras_3(class_name, config, module):
    nodes = [
        layer("InputLayer", {"name": "in", "batch_shape": [None, 8, 8, 3]}),
        layer(class_name, {"name": "act", **config}, "in", keras3=True),
    ]
    if module:
        nodes[-1]["module"] = module
    written = model("Functional", nodes, ["in", 0, 0], ["act", 0, 0])
    return parse_graph(written).by_id()["act"].op


def tensor(layer: str) -> dict:
    history = {"shape": [None, 6], "dtype": "float32", "keras_history": [layer, 0, 0]}
    return {"class_name": "__keras_tensor__", "config": history}


def test_a_value_that_keras_3_passes_by_keyword_is_read():
    """Softmax()(x, mask=y): without its mask it would be another layer."""
    call = {"args": [tensor("dense")], "kwargs": {"mask": tensor("other"), "training": False}}
    softmax = {"name": "softmax", "class_name": "Softmax", "config": {}, "inbound_nodes": [call]}

    assert inbound(softmax) == [[("dense", 0, 0), ("other", 0, 0)]]
    assert keywords(call) == {}
    assert keywords({**call, "kwargs": {"scale": 2, "mask": None}}) == {"scale": 2}


def test_an_operator_that_reads_a_value_by_keyword_is_refused():
    call = Call("Subtract", "subtract", {}, (), "subtract", "subtract", Era((3, 15)))
    call.arguments = {"args": [], "kwargs": {"x2": tensor("a"), "x1": tensor("b")}}

    with pytest.raises(NotLiftedError, match="it reads a value by keyword"):
        lift_operator(call)


def test_a_model_called_with_more_values_than_its_inputs_is_refused():
    """Keras before 2.4 leaves an input that no layer reads out of a nested model."""
    inner = model(
        "Model",
        [
            layer("InputLayer", {"name": "b", "batch_input_shape": [None, 4]}),
            layer("Activation", {"name": "act", "activation": "relu"}, "b"),
        ],
        [["b", 0, 0]],
        [["act", 0, 0]],
    )
    nested = {**inner, "name": "inner", "inbound_nodes": [[["x", 0, 0, {}], ["y", 0, 0, {}]]]}
    nested["config"] = {**inner["config"], "name": "inner"}
    inputs = [layer("InputLayer", {"name": n, "batch_input_shape": [None, 4]}) for n in "xy"]
    outer = model("Model", [*inputs, nested], [["x", 0, 0], ["y", 0, 0]], [["inner", 1, 0]])

    with pytest.raises(MismatchError, match="'inner' is called with 2 values"):
        parse_graph(outer)


def called_by_name(inputs, call):
    """A model of two inputs that is called with values for their names; x goes to b, z to a."""
    layers = [
        layer("InputLayer", {"name": "b", "batch_input_shape": [None, 4]}),
        layer("InputLayer", {"name": "a", "batch_input_shape": [None, 4]}),
        layer("Activation", {"name": "of_b", "activation": "relu"}, "b"),
        layer("Activation", {"name": "of_a", "activation": "tanh"}, "a"),
        layer("Subtract", {"name": "sub"}, "of_b", "of_a"),
    ]
    inner = model("Functional", layers, inputs, [["sub", 0, 0]])
    inner = {**inner, "name": "inner", "inbound_nodes": [call]}
    given = [layer("InputLayer", {"name": n, "batch_input_shape": [None, 4]}) for n in "xz"]
    return model("Functional", [*given, inner], [["x", 0, 0], ["z", 0, 0]], [["inner", 0, 0]])


LISTED = [["b", 0, 0], ["a", 0, 0]]
BY_NAME = {"b": ["b", 0, 0], "a": ["a", 0, 0]}


@pytest.mark.parametrize("inputs", [LISTED, BY_NAME])
@pytest.mark.parametrize("names", ["ab", "ba"])
@pytest.mark.parametrize("major", [2, 3])
def test_values_that_a_model_is_called_with_by_name_reach_their_inputs(major, names, inputs):
    goes = {"b": "x", "a": "z"}
    call = {name: [goes[name], 0, 0, {}] for name in names}
    if major == 3:
        call = {"args": [{name: tensor(goes[name]) for name in names}], "kwargs": {}}
    parsed = parse_graph(called_by_name(inputs, call))

    reads = {node.layer: node.inputs for node in parsed.calls}
    assert (reads["of_b"], reads["of_a"]) == (("x",), ("z",))


def test_a_name_that_is_no_input_is_refused():
    call = {"b": ["x", 0, 0, {}], "c": ["z", 0, 0, {}]}
    with pytest.raises(SourceError) as refused:
        parse_graph(called_by_name(LISTED, call))
    assert "values for ['b', 'c'], and its inputs are ['a', 'b']" in str(refused.value)
