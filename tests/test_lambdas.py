"""Lambda layers whose code is of a known form, and classes of Keras' own that took their place."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from code_forms import FORMS as FORMS_OF_KERAS
from edits import layer, reconfigured
from helpers import FIXTURES
from helpers_of_code import BYTECODE, PYTHONS, dumped, with_code

import resnet_pt
from converter.conversion import convert
from converter.errors import MismatchError, ParityError, UsageError
from converter.facts.fact import Evidence
from converter.parity.original.oracle import loaded_generally
from converter.verification import verify
from converter.whole_model.graph import parse_graph
from converter.whole_model.keras_layers.call import Era
from converter.whole_model.keras_layers.function_names import FUNCTIONS, full_name
from converter.whole_model.keras_layers.lambdas import TABLE
from converter.whole_model.lift import lift
from resnet_pt.general import General

NETWORKS = FIXTURES / "networks"
SIAMESE = NETWORKS / "siamese-lambda-k224.h5"
CBAM = NETWORKS / "cbam-lambda-k210.h5"


def record(source):
    return source.with_suffix(".npz")


def fact(report, name="code"):
    return next(one for one in report.network.facts if one.name == name)


# ---- what one layer computes


def names():
    return json.loads((BYTECODE / "python-3.9.json").read_text())


def built(name, *shapes, python="3.9", keras="2.3.1", call=None, theano=False, **settings):
    """The network of one Lambda layer with the function `name`, and inputs of these shapes."""
    inputs = [f"x{number}" for number in range(len(shapes))]
    layers = [
        {
            "class_name": "InputLayer",
            "name": one,
            "config": {"name": one, "batch_input_shape": [None, *shape]},
            "inbound_nodes": [],
        }
        for one, shape in zip(inputs, shapes, strict=True)
    ]
    function = dumped(name, python) if str(name) in names() else name
    config = {"name": "code", "function": function, "function_type": "lambda", **settings}
    calls = [call or [[one, 0, 0, {}] for one in inputs]]
    layers.append(
        {"class_name": "Lambda", "name": "code", "config": config, "inbound_nodes": calls}
    )
    ends = {"input_layers": [[one, 0, 0] for one in inputs], "output_layers": [["code", 0, 0]]}
    graph = parse_graph({"class_name": "Model", "config": {"layers": layers, **ends}})
    version = tuple(map(int, keras.partition("-")[0].split(".")))
    return General(lift(graph, Era(version, keras, theano)).program)


def computed(network, *values):
    """What it gives for values that lie as in Keras, as it lies in Keras."""
    given = [torch.from_numpy(one) for one in values]
    given = [one.movedim(-1, 1) if one.dim() > 3 else one for one in given]
    found = network.double().eval()(*given)
    if network.program.outputs[0].activation == "sigmoid":  # which an output leaves out
        found = found.sigmoid()
    if network.program.outputs[0].activation == "softmax":
        found = found.softmax(1)
    return (found.movedim(1, -1) if found.dim() > 3 else found).detach().numpy()


MAP = (4, 6, 4)
VECTOR = (7,)

FORMS = {
    "identity": ((MAP,), lambda x: x),
    "scaled": ((MAP,), lambda x: x / 255.0),
    "scaled_and_shifted": ((MAP,), lambda x: x / 127.5 - 1.0),
    "in_place": ((MAP,), lambda x: x / 127.5 - 1.0),
    "squared": ((MAP,), lambda x: x**2),
    "from_one": ((VECTOR,), lambda x: 1 - x),
    "negative": ((MAP,), lambda x: -x),
    "large": ((VECTOR,), lambda x: x * 12345678901 + 1e-07),
    "listed": ((MAP,), lambda x: x - np.array([103.939, 116.779, 123.68, 1.0])),
    "mean": ((MAP,), lambda x: x.mean(3, keepdims=True)),
    "several_axes": ((MAP,), lambda x: x.sum((1, 2))),
    "difference": ((VECTOR, VECTOR), lambda x, y: np.abs(x - y)),
    "euclidean": (
        (VECTOR, VECTOR),
        lambda x, y: np.sqrt(np.maximum(((x - y) ** 2).sum(1, keepdims=True), 1e-7)),
    ),
    "joined": ((MAP, MAP), lambda x, y: np.concatenate([x, y], -1)),
    "swish": ((MAP,), lambda x: x / (1 + np.exp(-x))),
    "reversed": ((MAP,), lambda x: x[..., ::-1]),
    "part": ((MAP,), lambda x: x[:, 1:-1, ::2, :]),
    "halves": ((VECTOR,), lambda x: x[:, :4]),
    "new_axis": ((MAP,), lambda x: x[:, None]),
    "deep": ((MAP,), lambda x: np.clip(x, 0, 6)[..., None]),
    "imported_from": ((MAP,), lambda x: x / np.linalg.norm(x, axis=-1, keepdims=True)),
    "imported_within": ((MAP,), np.abs),
    "shuffle": (
        ((4, 6, 8),),
        lambda x: (
            x.reshape(len(x), 4, 6, 2, 2, 2).transpose(0, 1, 3, 2, 4, 5).reshape(len(x), 8, 12, 2)
        ),
    ),
    "imported": (
        (MAP,),
        lambda x: (
            x.reshape(len(x), 4, 6, 2, 2, 1).transpose(0, 1, 3, 2, 4, 5).reshape(len(x), 8, 12, 1)
        ),
    ),
    "closure": ((MAP,), lambda x: x * 0.5),
    "two_closures": ((MAP,), lambda x: np.clip(x, 0, 6)),
    "normed": (((4, 6, 3),), lambda x: (x - np.array([0.485, 0.456, 0.406])) / 0.2),
}
"""Shapes that each reads, and numpy's own words for it."""


@pytest.mark.parametrize("name", FORMS)
def test_a_form_that_is_known_gives_what_its_code_does(name):
    shapes, compute = FORMS[name]
    chance = np.random.default_rng(3)
    values = [chance.normal(0, 3, (2, *shape)) for shape in shapes]

    found = computed(built(name, *shapes), *values)

    np.testing.assert_allclose(found, compute(*values), rtol=1e-12, atol=1e-12)


def test_its_arguments_are_what_the_file_says():
    x, y = np.ones((2, 7)), np.full((2, 7), 2.0)

    network = built("residual", VECTOR, VECTOR, arguments={"scale": 0.25})

    assert computed(network, x, y).tolist() == (x + y * 0.25).tolist()


@pytest.mark.parametrize(
    ("name", "shapes", "words"),
    [
        ("loops", (MAP,), "straight code"),
        ("conditional", (MAP,), "it depends on K.ndim(x)"),
        ("residual", (VECTOR, VECTOR), "its argument 'scale' has no value"),
        ("difference", (MAP,), "takes one of the batch"),
        ("euclidean", (VECTOR,), "it takes what it reads for 2 values"),
        ("method", (MAP,), "it calls x.get_shape, which is none that is known"),
        ("floor", (MAP,), "its operator // is none that is known"),
        ("first", (MAP,), "a part of the batch"),
        ("imported", ((4, 6, 3),), "blocks of 4 pixels of 3 channels"),
        ("resized", (MAP,), "TensorFlow 1's or 2's, which is not said"),
    ],
)
def test_what_is_not_understood_is_refused_with_the_reason(name, shapes, words):
    with pytest.raises(MismatchError) as refused:
        built(name, *shapes)

    (finding,) = refused.value.findings
    assert finding.startswith("'code' (Lambda): it runs a function of the project's own: ")
    assert words in finding


@pytest.mark.parametrize(
    ("function", "settings", "words"),
    [
        ([None, None, None], {}, "its function is no text"),
        ([dumped("closure")[0], None, None], {}, "not as many values as its function takes"),
        ([dumped("closure")[0], None, ["K"]], {}, "not a number"),
        (dumped("scaled"), {"arguments": {"y": 2}}, "arguments are not those of its function"),
        (dumped("scaled"), {"output_shape": [4, 6, 3]}, "its output_shape is [4, 6, 3]"),
        ("shouted", {}, "of 'shouted' the file has no code"),
        ({"class_name": "function", "config": "abs"}, {}, "of 'abs' the file has no code"),
    ],
)
def test_data_that_does_not_go_with_the_code_is_refused(function, settings, words):
    with pytest.raises(MismatchError) as refused:
        built(function, MAP, **settings)

    assert words in str(refused.value.findings)


def keras_tensor(name):
    history = {"shape": [None, *VECTOR], "dtype": "float32", "keras_history": [name, 0, 0]}
    return {"class_name": "__keras_tensor__", "config": history}


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ([["x0", 0, 0, {"mask": ["x1", 0, 0]}]], "it is called with mask"),
        ([["x0", 0, 0, {"scale": 3}]], "it is called with scale"),
        ({"args": [[[keras_tensor("x0")], keras_tensor("x1")]], "kwargs": {}}, "within each other"),
        ({"args": [keras_tensor("x0"), keras_tensor("x1")], "kwargs": {}}, "within each other"),
    ],
)
def test_a_call_that_is_more_than_one_argument_is_refused(call, words):
    with pytest.raises(MismatchError) as refused:
        built("difference", VECTOR, VECTOR, call=call)

    assert words in str(refused.value.findings)


def test_functions_of_another_backend_are_refused():
    with pytest.raises(MismatchError) as refused:
        built("difference", VECTOR, VECTOR, theano=True)

    assert "on Theano" in str(refused.value.findings)
    assert built("scaled", VECTOR, theano=True)


@pytest.mark.parametrize("wrapped", ["value", "parts"])
def test_later_kerases_write_the_same_code_as_an_object(wrapped):
    code, defaults, closure = dumped("closure")
    inner = {"value": [code, defaults, closure]}
    if wrapped == "parts":
        inner = {"code": code, "defaults": defaults, "closure": closure}

    network = built({"class_name": "__lambda__", "config": inner}, VECTOR)

    assert computed(network, np.ones((1, 7))).tolist() == [[0.5] * 7]


@pytest.mark.parametrize(
    ("keras", "mode"), [("2.2.4", "corner"), ("2.10.0", "bilinear"), ("2.3.0-tf", "bilinear")]
)
def test_which_tensorflow_resizes_is_known_from_the_keras(keras, mode):
    (layer_,) = built("resized", MAP, keras=keras).program.layers

    assert layer_.op.mode == mode


def test_every_function_is_an_operator_of_the_tables():
    assert {known.operator for known in FUNCTIONS.values()} <= TABLE.keys()


# ---- whole models


@pytest.mark.parametrize("python", PYTHONS)
def test_the_python_that_wrote_the_code_makes_no_difference(python, tmp_path):
    source = with_code(SIAMESE, tmp_path, "difference", python)

    report = convert(source, tmp_path / "out.pth", against=record(SIAMESE))

    assert report.verdict == "equal"


@pytest.mark.parametrize(
    ("source", "name", "settings", "blamed"),
    [
        (CBAM, "mean", {}, "lambda_1"),  # which was the greatest
        (SIAMESE, "residual", {"arguments": {"scale": -1}}, "l1"),  # not its absolute value
    ],
)
def test_code_that_computes_something_else_is_found(source, name, settings, blamed, tmp_path):
    other = with_code(source, tmp_path, name, **settings)

    with pytest.raises(ParityError) as refused:
        convert(other, tmp_path / "out.pth", against=record(source))

    assert blamed in refused.value.findings[0]


def test_it_is_shown_with_what_global_names_are_taken_for(tmp_path):
    report = convert(SIAMESE, tmp_path / "out.pth", parity=False)

    assert fact(report).value == "'l1': K.abs(t[0] - t[1])"
    assert "K is keras.backend" in fact(report).reason
    assert fact(report).evidence == Evidence.DEFAULT
    assert "read and never run" in str(report.to_dict())


def test_code_without_global_names_assumes_nothing(tmp_path):
    source = with_code(SIAMESE, tmp_path, "residual", arguments={"scale": -1})

    report = convert(source, tmp_path / "out.pth", parity=False)

    assert fact(report).value == "'l1': inputs[0] + (inputs[1] * scale) with scale=-1"
    assert fact(report).evidence == Evidence.MODEL_CONFIG


def test_keras_is_not_given_the_code(tmp_path):
    target = tmp_path / "out.pth"

    report = convert(SIAMESE, target)

    assert report.verdict == "not compared"
    assert "the code of its Lambda layers ('l1') is never run" in report.parity.reason
    assert "--against" in report.parity.reason
    assert verify(target, SIAMESE, parity=False).proven_tensors
    assert verify(target, record(SIAMESE)).verdict == "equal"
    assert not {"Lambda", "LambdaMerge", "__lambda__"} & loaded_generally()


def test_another_interpreter_is_not_given_the_code(tmp_path):
    with pytest.raises(UsageError, match=r"would run code that is in .*'l1'") as refused:
        convert(SIAMESE, tmp_path / "out.pth", keras_python="/nonexistent/python")

    assert "record_keras.py" in refused.value.hints[0]


def test_code_of_the_users_own_may_take_its_place(tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("def l1(x, y):\n    return (x - y).abs()\n\n\nLAYERS = {'l1': l1}\n")

    report = convert(SIAMESE, tmp_path / "out.pth", layers=mine, against=record(SIAMESE))

    assert report.verdict == "equal"
    assert not [one for one in report.network.facts if one.name == "code"]


def test_only_what_cannot_be_read_is_to_be_supplied(tmp_path):
    """Of two layers, one behind the other's readers."""

    def change(config):
        layer(config, "lambda")["config"]["function"] = dumped("loops")

    source = reconfigured(CBAM, tmp_path, change)

    with pytest.raises(MismatchError) as refused:
        convert(source, tmp_path / "out.pth", parity=False)

    assert len(refused.value.findings) == 1
    assert "'lambda' (Lambda)" in refused.value.findings[0]
    assert "lambda_1" not in str(refused.value)


def test_the_network_trains_and_is_loaded_again(tmp_path):
    target = tmp_path / "out.pth"
    convert(CBAM, target, parity=False)
    model = resnet_pt.load(target).train()

    model(torch.randn(2, *model.program.inputs[0].shape)).sum().backward()

    assert all(one.grad is not None for one in model.parameters())


def test_every_python_has_a_file_of_all_functions():
    found = {one: set(json.loads(one.read_text())) for one in BYTECODE.glob("*.json")}

    assert len(found) == len(PYTHONS)
    assert len({tuple(sorted(one)) for one in found.values()}) == 1


# ---- held against Keras' backend and TensorFlow themselves


@pytest.mark.keras
def test_each_function_gives_what_keras_and_tensorflow_give(tmp_path):
    """Every function of the table, called as people call it: in float64, but where TensorFlow
    computes in float32 whatever it is told (its resizing; it keeps a slope of 0.2 in float32)."""
    target = tmp_path / "forms.npz"
    script = Path(__file__).parent / "code_forms.py"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run([sys.executable, script, target], check=True, env=environment)
    with np.load(target) as file:
        arrays = {name: file[name] for name in file.files}
    codes = json.loads(str(arrays["codes"]))
    wrong = {}
    for number, (text, shapes) in enumerate(FORMS_OF_KERAS):
        values = [arrays[f"{number}/reads/{place}"] for place in range(len(shapes))]
        gives = arrays[f"{number}/gives"]
        try:
            network = built([codes[text], None, None], *shapes, keras="2.10.0")
        except MismatchError as refused:
            wrong[text] = refused.findings
            continue
        found = computed(network, *values)
        allowed = 1e-6 if "resize" in text or text == "tf.nn.leaky_relu(x)" else 1e-12
        off = np.abs(found - gives).max() if found.shape == gives.shape else np.inf
        if off > allowed * max(1.0, np.abs(gives).max()):
            wrong[text] = off

    assert wrong == {}
    written = " ".join(text for text, _ in FORMS_OF_KERAS)
    called = {full_name(one, assumed=True) for one in re.findall(r"(?:K|tf)\.[\w.]+", written)}
    short = {name.replace("tensorflow.v1.", "tensorflow.") for name in called}
    of_table = {name.replace("tensorflow.v1.", "tensorflow.") for name in FUNCTIONS}
    assert of_table - short == NOT_IN_KERAS_3


NOT_IN_KERAS_3 = {"keras.backend.identity"}
