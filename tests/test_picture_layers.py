"""What a network does to its pictures before the first convolution, as real Kerases write it.

The expected logits are those of the same network without those layers, on pictures that numpy has
worked on as the layers' documentation says.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from typing import Any

import h5py
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
    run,
    with_leaky_relus,
)
from helpers import (
    converted,
    facts,
    fixture,
    needs_tf_keras,
    opened,
    pictures_of,
    record,
    weights_only,
)

import resnet_pt
from resnet_pt import ResNet

KERAS_2 = fixture("keras-2.10-functional-head")
KERAS_3 = fixture("keras-3.15-conv_block-50")
ARCHIVE = KERAS_3.with_name("keras-3.15-nested-head.keras")
BGR = [-103.93900299072266, -116.77899932861328, -123.68000030517578]
SLICE = {"start": None, "stop": None, "step": -1}


def tensor(source: str) -> dict[str, Any]:
    """A tensor of the graph in a Keras 3 call."""
    config = {"shape": [None, None, None, 3], "dtype": "float32", "keras_history": [source, 0, 0]}
    return {"class_name": "__keras_tensor__", "config": config}


def keras_2(class_name: str, name: str, config: Any, source: Any, arguments: Any) -> Any:
    call = [source, 0, 0, arguments]
    return {"class_name": class_name, "name": name, "config": config, "inbound_nodes": [call]}


def keras_3(class_name: str, name: str, config: Any, *arguments: Any) -> Any:
    call = {"args": list(arguments), "kwargs": {}}
    return {
        "module": "keras.src.ops.numpy",  # of the operators; nobody reads it for the layers
        "registered_name": class_name,
        "class_name": class_name,
        "name": name,
        "config": {"name": name, **config},
        "inbound_nodes": [call],
    }


CAFFE_2 = [
    keras_2(
        "SlicingOpLambda",
        "tf.__operators__.getitem",
        {"function": "__operators__.getitem"},
        "INPUT",
        {"slice_spec": [{"class_name": "__ellipsis__"}, SLICE]},
    ),
    keras_2(
        "TFOpLambda",
        "tf.nn.bias_add",
        {"function": "nn.bias_add"},
        "tf.__operators__.getitem",
        {"bias": BGR, "data_format": "NHWC"},
    ),
]
TF_2 = [
    keras_2("TFOpLambda", "tf.math.truediv", {"function": "math.truediv"}, "INPUT", {"y": 127.5}),
    keras_2(
        "TFOpLambda",
        "tf.math.subtract",
        {"function": "math.subtract"},
        "tf.math.truediv",
        {"y": 1.0, "name": None},
    ),
]


def on_the_left(function: str, name: str, value: Any, source: str) -> Any:
    """As Keras 2.10 and 2.15 write `2 * x`: the constant in a tensor's place."""
    config = {"function": function}
    call = ["_CONSTANT_VALUE", -1, value, {"y": [source, 0, 0], "name": None}]
    return {"class_name": "TFOpLambda", "name": name, "config": config, "inbound_nodes": [call]}


LEFT_2 = [
    on_the_left("math.multiply", "tf.math.multiply", 1 / 127.5, "INPUT"),
    on_the_left("math.subtract", "tf.math.subtract", [1.0, 2.0, 3.0], "tf.math.multiply"),
    on_the_left("__operators__.add", "tf.__operators__.add", 0.5, "tf.math.subtract"),
]
CAFFE_3 = [
    *(
        keras_3(
            "GetItem",
            f"get_item_{channel}",
            {},
            tensor("INPUT"),
            [{"class_name": "__ellipsis__", "config": {}}, channel],
        )
        for channel in (2, 1, 0)
    ),
    keras_3("Stack", "stack", {"axis": -1}, [tensor(f"get_item_{c}") for c in (2, 1, 0)]),
    keras_3(
        "Add",
        "add",
        {},
        tensor("stack"),
        {"class_name": "__tensor__", "config": {"value": [[[BGR]]], "dtype": "float32"}},
    ),
]
TF_3 = [
    keras_3("TrueDivide", "true_divide", {}, tensor("INPUT"), 127.5),
    keras_3("Subtract", "subtract", {}, tensor("true_divide"), 1.0),
]
NORMALIZATION_3 = [
    keras_3(
        "Normalization",
        "normalization",
        {"axis": [-1], "invert": False, "mean": [100.0, 110, 120], "variance": [2000.0, 2500, 0.0]},
        tensor("INPUT"),
    )
]
RESCALING_3 = [
    keras_3("Rescaling", "first", {"scale": [0.5, 0.25, 2.0], "offset": 1.0}, tensor("INPUT")),
    keras_3("Rescaling", "second", {"scale": 3.0, "offset": [0.0, 1.0, 2.0]}, tensor("first")),
]


def caffe(x: np.ndarray) -> np.ndarray:
    return x[..., ::-1] + np.array(BGR)


def tf(x: np.ndarray) -> np.ndarray:
    return x / 127.5 - 1


def from_the_left(x: np.ndarray) -> np.ndarray:
    return 0.5 + (np.array([1.0, 2.0, 3.0]) - x / 127.5)


def normalized(x: np.ndarray) -> np.ndarray:
    roots = np.sqrt([2000.0, 2500.0, 0.0])
    return (x - [100.0, 110.0, 120.0]) / np.maximum(roots, 1e-7)


def rescaled(x: np.ndarray) -> np.ndarray:
    return (x * [0.5, 0.25, 2.0] + 1) * 3 + [0.0, 1.0, 2.0]


CASES = {
    "caffe, tf.keras": (KERAS_2, CAFFE_2, caffe),
    "tf, tf.keras": (KERAS_2, TF_2, tf),
    "constants on the left, tf.keras": (KERAS_2, LEFT_2, from_the_left),
    "caffe, Keras 3": (KERAS_3, CAFFE_3, caffe),
    "tf, Keras 3": (KERAS_3, TF_3, tf),
    "Normalization with numbers": (KERAS_3, NORMALIZATION_3, normalized),
    "Rescaling by channel, twice": (KERAS_3, RESCALING_3, rescaled),
}


def renamed(value: Any, old: str, new: str) -> Any:
    """The same JSON with a string exchanged."""
    if isinstance(value, list):
        return [renamed(one, old, new) for one in value]
    if isinstance(value, dict):
        return {key: renamed(one, old, new) for key, one in value.items()}
    return new if value == old else value


def in_front(layers: list[Any]) -> Any:
    """Set layers between a model's input and what reads it."""

    def change(config: Any) -> None:
        found = config["config"]["layers"]
        source = found[0]["config"]["name"]
        reader = next(one for one in found[1:] if one["inbound_nodes"])
        last = layers[-1]["name"]
        reader["inbound_nodes"] = renamed(reader["inbound_nodes"], source, last)
        found[1:1] = renamed(layers, "INPUT", source)

    return change


def logits(network: Any, tensors: dict[str, np.ndarray], pictures: np.ndarray) -> np.ndarray:
    """Of pictures (N, H, W, C), in float64."""
    model = ResNet(network.architecture)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in tensors.items()}, False)
    with torch.no_grad():
        x = torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy())
        return model.double().eval()(x).numpy()


def pictures(path: Any) -> np.ndarray:
    """Two pictures as large as the record's, of whole numbers from 0 to 255."""
    shape = pictures_of(record(path)).shape[1:]
    return np.random.default_rng(3).integers(0, 256, (2, *shape)).astype(np.float64)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_what_is_done_to_a_picture_is_part_of_the_network(case, tmp_path):
    path, layers, expected = CASES[case]
    x = pictures(path)

    found = logits(*converted(reconfigured(path, tmp_path, in_front(layers))), x)

    wanted = logits(*converted(path), expected(x))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9 * np.abs(wanted).max())
    plain = logits(*converted(path), x)
    assert np.abs(plain - wanted).max() > 1e-3 * np.abs(wanted).max()


def test_the_pictures_are_raw_where_the_network_works_on_them(tmp_path):
    source = reconfigured(KERAS_3, tmp_path, in_front(CAFFE_3))

    network, _ = converted(source)

    assert network.architecture.stem.channels == (2, 1, 0)
    assert facts(network)["preprocessing"] == ("raw", "model_config")


@pytest.mark.slow
def test_a_grey_picture_set_beside_itself_is_one_of_three_channels(tmp_path):
    def change(config: Any) -> None:
        joined = keras_3("Concatenate", "concatenate", {"axis": -1}, [tensor("INPUT")] * 3)
        in_front([joined])(config)
        config["config"]["layers"][0]["config"]["batch_shape"][-1] = 1

    grey = pictures(KERAS_3)[..., :1]

    network, tensors = converted(reconfigured(KERAS_3, tmp_path, change))

    assert network.architecture.in_channels == 1
    wanted = logits(*converted(KERAS_3), np.repeat(grey, 3, axis=-1))
    np.testing.assert_array_equal(logits(network, tensors, grey), wanted)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("function", "math.exp", "'tf.math.truediv' (TFOpLambda): it is called with y"),
        ("y", [[1.0, 2.0], [3.0, 4.0]], "'tf.math.truediv' (TFOpLambda): its constant is not"),
        ("y", [1.0, 2.0], "rescaling has 2 numbers for 3 channels"),
    ],
)
def test_an_operator_that_is_not_understood_is_refused_by_name(name, value, words, tmp_path):
    one = renamed(TF_2[:1], "", "")
    where = one[0]["config"] if name == "function" else one[0]["inbound_nodes"][0][3]
    where[name] = value
    target = tmp_path / "out.pth"

    result = run(reconfigured(KERAS_2, tmp_path, in_front(one)), target, "--no-parity")

    assert_refused(result, 5, target)
    assert words in result.stderr


@pytest.mark.parametrize(
    ("function", "value"),
    [("math.add", "x"), ("math.add", [[1.0, 2.0]] * 2)],
)
def test_a_constant_on_the_left_that_is_not_understood_is_refused_by_name(
    function, value, tmp_path
):
    """What is no number for each channel."""
    target = tmp_path / "out.pth"
    one = [on_the_left(function, "left", value, "INPUT")]

    result = run(reconfigured(KERAS_2, tmp_path, in_front(one)), target, "--no-parity")

    assert_refused(result, 5, target)
    assert "'left' (TFOpLambda): its constant is not a number" in result.stderr


def adapted(file: Any) -> None:
    """A Normalization layer that has seen pictures, in front of a whole Keras 3 model."""
    config = json.loads(file.attrs["model_config"])
    layers = renamed(NORMALIZATION_3, "", "")
    layers[0]["config"] |= {"mean": None, "variance": None}
    in_front(as_layers(layers))(config)
    file.attrs["model_config"] = json.dumps(config)
    add_normalization(file["model_weights"], "normalization/normalization")


def add_normalization(root: Any, path: str) -> None:
    group = root.create_group("normalization")
    names = [f"{path}/{name}" for name in ("mean", "variance", "count")]
    group.attrs["weight_names"] = names
    group[names[0]] = np.array([100.0, 110.0, 120.0], "f4")
    group[names[1]] = np.array([2000.0, 2500.0, 0.0], "f4")
    group[names[2]] = np.int64(37)
    listed = list(root.attrs["layer_names"])
    root.attrs["layer_names"] = [*listed[:1], "normalization", *listed[1:]]


@pytest.mark.slow
def test_an_adapted_normalization_is_a_norm_of_the_picture(tmp_path):
    x = pictures(KERAS_3)

    network, tensors = converted(edited(KERAS_3, tmp_path, adapted))

    wanted = logits(*converted(KERAS_3), normalized(x))
    np.testing.assert_allclose(
        logits(network, tensors, x), wanted, rtol=0, atol=1e-9 * np.abs(wanted).max()
    )
    assert [str(weight) for weight in network.left_out] == ["normalization/count"]


def test_an_adapted_normalization_is_read_from_weights_alone(tmp_path):
    source = edited(
        KERAS_3, tmp_path, lambda file: add_normalization(file, "normalization"), alone=True
    )

    network, tensors = converted(source)

    assert network.architecture.stem.data_norm.eps == 1e-14
    assert network.architecture.stem.norm.eps == converted(KERAS_3)[0].architecture.stem.norm.eps
    np.testing.assert_array_equal(tensors["bn_data.running_mean"], [100, 110, 120])


def within_the_base(layers: list[Any]) -> dict[str, bytes]:
    """The members of an archive with layers in front of its nested base."""
    with zipfile.ZipFile(ARCHIVE) as file:
        content = {name: file.read(name) for name in file.namelist()}
    config = json.loads(content["config.json"])
    base = next(one for one in config["config"]["layers"] if one["class_name"] == "Functional")
    in_front(layers)(base)
    return {**content, "config.json": json.dumps(config).encode()}


@pytest.mark.slow
@pytest.mark.keras
def test_keras_itself_gives_the_same_logits(tmp_path):
    """From an archive: Keras 3 cannot load its own operators from HDF5."""
    source = tmp_path / "model.keras"
    with zipfile.ZipFile(source, "w") as file:
        for name, data in within_the_base(CAFFE_3).items():
            file.writestr(name, data)

    result = run(source, tmp_path / "out.pth", "--require-parity")

    assert result.exit_code == 0, result.stderr
    assert "equal to Keras itself" in result.stderr
    assert resnet_pt.load(tmp_path / "out.pth").architecture.stem.channels == (2, 1, 0)


def as_layers(operators: list[Any]) -> list[Any]:
    """As Keras writes layers, so that it loads them."""
    return [{**one, "module": "keras.layers", "registered_name": None} for one in operators]


RESCALING = keras_3("Rescaling", "rescaling", {"scale": 1 / 255.0, "offset": 0.1}, tensor("INPUT"))
DIVIDED = keras_3("TrueDivide", "true_divide", {}, tensor("INPUT"), 255.0)
del DIVIDED["module"]  # as Keras 3 writes it to HDF5


def of_bytes(config: Any) -> None:
    """A model that takes pictures as bytes, and rescales them."""
    in_front(as_layers([RESCALING]))(config)
    config["config"]["layers"][0]["config"]["dtype"] = "uint8"


@pytest.mark.slow
@pytest.mark.keras
@pytest.mark.parametrize(
    ("change", "original"),
    [
        (in_front(as_layers([RESCALING])), "Keras itself"),
        (of_bytes, "Keras itself"),
        (in_front(as_layers(NORMALIZATION_3)), "Keras itself"),
        (in_front([DIVIDED]), "the bundled Keras definition"),  # Keras does not load it from HDF5
    ],
    ids=["Rescaling", "bytes", "Normalization", "an operator"],
)
def test_the_proof_computes_with_the_numbers_that_are_written(change, original, tmp_path):
    """Right conversions were said to differ: Keras casts 1 / 255 by way of float32, and pictures to
    the bytes of its input."""
    result = run(reconfigured(KERAS_3, tmp_path, change), tmp_path / "out.pth")

    assert result.exit_code == 0, result.stderr
    assert agreement(original) in result.stderr


def as_functions(config: Any) -> None:
    """TensorFlow's own functions in the place of layers, as tf.keras writes them."""
    for one in config["config"]["layers"]:
        settings = one["config"]
        if one["class_name"] == "Activation" and settings["activation"] == "relu":
            function, arguments = "nn.relu", {"name": None}
        elif one["class_name"] == "ZeroPadding2D":
            widths = [[0, 0], *settings["padding"], [0, 0]]
            function, arguments = "compat.v1.pad", {"paddings": widths, "mode": "CONSTANT"}
        elif one["class_name"] == "GlobalAveragePooling2D":
            function, arguments = "math.reduce_mean", {"axis": [1, 2]}
        else:
            continue
        source = one["inbound_nodes"][0][0][0]
        one.update(class_name="TFOpLambda", config={"name": one["name"], "function": function})
        one["inbound_nodes"] = [[source, 0, 0, arguments]]


@pytest.mark.slow
@pytest.mark.keras
@needs_tf_keras
def test_functions_of_tensorflow_are_the_layers_that_they_stand_for(tmp_path):
    source, target = reconfigured(KERAS_2, tmp_path, as_functions), tmp_path / "out.pth"

    result = run(source, target)

    assert result.exit_code == 0, result.stderr
    assert agreement("Keras itself") in result.stderr
    assert resnet_pt.load(target).architecture == converted(KERAS_2)[0].architecture


def leaky_behind_an_operator(config: Any) -> None:
    with_leaky_relus(config)
    in_front([DIVIDED])(config)


@pytest.mark.slow
@pytest.mark.keras
@pytest.mark.parametrize(
    ("change", "original"),
    [
        (with_leaky_relus, "Keras itself"),
        (leaky_behind_an_operator, "the bundled Keras definition"),
    ],
    ids=["Keras", "bundled"],
)
def test_a_network_of_leaky_relus_has_their_slope(change, original, tmp_path):
    """Its pool is padded with zeros, which count where the map is negative."""
    source, target = reconfigured(KERAS_3, tmp_path, change), tmp_path / "out.pth"

    result = run(source, target)

    assert result.exit_code == 0, result.stderr
    assert agreement(original) in result.stderr
    assert "activation     leaky_relu 0.3" in result.stderr
    model = resnet_pt.load(target)
    assert model.architecture.stem.pool.fill == "zero"
    another = ResNet(replace(model.architecture, slope=0.29))
    with pytest.raises(ValueError, match="another architecture"):
        another.load_state_dict(model.state_dict())


def with_nothing_around(pad: Any) -> None:
    """-inf in the place of a layer's zeros, as keras-hub writes it."""
    pad.update(
        class_name="Pad",
        module="keras.src.ops.numpy",
        config={"pad_width": [[0, 0], [1, 1], [1, 1], [0, 0]], "mode": "constant"},
    )
    pad["inbound_nodes"][0]["kwargs"] = {"constant_values": float("-inf")}


@pytest.mark.slow
@pytest.mark.keras
def test_a_pool_with_nothing_around_it_is_padded_with_that(tmp_path):
    """keras-hub's V2, in a plain model: -inf, where zeros would win over a negative map."""

    def change(config: Any) -> None:
        with_leaky_relus(config)
        with_nothing_around(layer(config, "pool1_pad"))

    source, target = reconfigured(KERAS_3, tmp_path, change), tmp_path / "out.pth"

    result = run(source, target, "--require-parity")

    assert result.exit_code == 0, result.stderr
    pool = resnet_pt.load(target).architecture.stem.pool
    assert (pool.padding, pool.fill) == (1, "-inf")


@pytest.mark.slow
def test_nothing_is_no_padding_of_a_convolution(tmp_path):
    source = reconfigured(
        KERAS_3, tmp_path, lambda config: with_nothing_around(layer(config, "conv1_pad"))
    )

    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "'conv1_pad' (Pad): constant_values is -inf, no finite number" in result.stderr


@pytest.mark.slow
def test_nothing_around_zeros_is_refused(tmp_path):
    """Of two layers in front of the pool, in either order."""

    def change(config: Any, order: int) -> None:
        layers = config["config"]["layers"]
        pad = layer(config, "pool1_pad")
        another = json.loads(json.dumps(pad).replace("pool1_pad", "another"))
        layers.insert(layers.index(pad), another)
        pad["inbound_nodes"] = renamed(pad["inbound_nodes"], "conv1_relu", "another")
        with_nothing_around((pad, another)[order])

    for order in (0, 1):
        source = reconfigured(KERAS_3, tmp_path, lambda config, order=order: change(config, order))
        result = run(source, tmp_path / "out.pth", "--no-parity")

        assert_refused(result, 5, tmp_path / "out.pth")
        assert "constant_values is -inf, no finite number" in result.stderr


@pytest.mark.keras
@pytest.mark.slow
def test_leaky_relus_of_two_slopes_are_a_general_networks(tmp_path):
    assert_general(reconfigured(KERAS_3, tmp_path, with_slope(0.2)), tmp_path / "out.pth")


@pytest.mark.slow
def test_a_slope_that_is_no_number_is_refused(tmp_path):
    target = tmp_path / "out.pth"
    result = run(reconfigured(KERAS_3, tmp_path, with_slope([1.0, 2.0])), target, "--no-parity")

    assert_refused(result, 5, target)
    assert "'conv5_block2_1_relu' (LeakyReLU): its slope is not a number" in result.stderr


def with_slope(slope: Any) -> Any:
    def change(config: Any) -> None:
        with_leaky_relus(config)
        layer(config, "conv5_block2_1_relu")["config"]["negative_slope"] = slope

    return change


@pytest.mark.slow
@pytest.mark.keras
def test_zeros_of_two_layers_in_a_row_are_added_up(tmp_path):
    """A border in front of a network that pads for its first convolution."""
    border = {"padding": [[1, 2], [3, 4]], "data_format": "channels_last"}
    layers = as_layers([keras_3("ZeroPadding2D", "border", border, tensor("INPUT"))])
    target = tmp_path / "out.pth"

    result = run(reconfigured(KERAS_3, tmp_path, in_front(layers)), target, "--require-parity")

    assert result.exit_code == 0, result.stderr
    assert "equal to Keras itself" in result.stderr
    assert resnet_pt.load(target).architecture.stem.conv.padding == (6, 7, 4, 5)


@pytest.mark.slow
@pytest.mark.keras
def test_the_proof_of_an_adapted_normalization_computes_with_its_weights(tmp_path):
    """Made anew in float64, it had a mean of 0 and a variance of 1."""
    source = edited(KERAS_3, tmp_path, adapted)

    result = run(source, tmp_path / "out.pth", "--require-parity")

    assert result.exit_code == 0, result.stderr
    assert "equal to Keras itself" in result.stderr


# ---- weights alone do not say what layers without weights compute


def listed(*names: str, at: int = 1) -> Any:
    def change(file: Any) -> None:
        for name in names:
            file.create_group(name).attrs["weight_names"] = np.zeros(0)
        found = list(file.attrs["layer_names"])
        file.attrs["layer_names"] = [*found[:at], *names, *found[at:]]

    return change


@pytest.mark.parametrize("name", ["lambda_1", "leaky_re_lu_3", "tf.math.multiply", "concatenate"])
def test_a_layer_that_computes_what_weights_do_not_say_is_refused(name, tmp_path):
    last = -1
    source = edited(KERAS_2, tmp_path, listed(name, at=last), alone=True)
    target = tmp_path / "out.pth"

    result = run(source, target, "--no-parity")

    assert_refused(result, 5, target)
    assert repr(name) in result.stderr


def test_one_in_front_of_the_network_is_told(tmp_path):
    source = edited(KERAS_2, tmp_path, listed("lambda_1"), alone=True)

    with opened(source) as (_, network):
        assert facts(network)["input"][1] == "default"


@pytest.mark.parametrize(("name", "is_read"), [("rescaling", True), ("my_own_layer", False)])
def test_a_container_that_tells_classes_is_asked_for_them(name, is_read, tmp_path):
    """`.weights.h5` has a group for every layer, called after its class."""

    def change(file: Any) -> None:
        file["layers"].create_group(name)

    path = KERAS_3.with_name("keras-2.15-conv_block.weights.h5")
    source = tmp_path / "model.weights.h5"
    source.write_bytes(path.read_bytes())
    with h5py.File(source, "a") as file:
        change(file)
    target = tmp_path / "out.pth"

    result = run(source, target, "--no-parity")

    if is_read:
        assert f"the file lists {name} before it" in result.stderr
        assert target.exists()
    else:
        assert_refused(result, 5, target)
        assert name in result.stderr


def test_a_random_layer_of_keras_3_does_nothing_when_it_predicts(tmp_path):
    """Keras 3 writes `training: true` into their calls, and `predict` overrides it."""
    random = keras_3("RandomContrast", "random_contrast", {}, tensor("INPUT"))
    random["inbound_nodes"][0]["kwargs"] = {"training": True}

    network, _ = converted(reconfigured(KERAS_3, tmp_path, in_front([random])))

    assert network.architecture == converted(KERAS_3)[0].architecture


def test_weights_alone_of_this_file_are_the_whole_models(tmp_path):
    """What the edits above rely on."""
    with opened(weights_only(KERAS_2, tmp_path)) as (_, network), opened(KERAS_2) as (_, whole):
        assert dict(network.structure.layers) == dict(whole.structure.layers)
