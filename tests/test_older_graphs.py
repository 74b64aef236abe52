"""Small graphs of layers that older Kerases wrote, against what these computed of them."""

from __future__ import annotations

import json
import zipfile

import pytest
from helpers import FIXTURES
from layer_graphs import Campaign

from converter.files.kinds import SettingError
from converter.whole_model import tensorflow_nodes
from converter.whole_model.keras_layers import merging
from converter.whole_model.keras_layers.operators import TENSORFLOW
from resnet_pt.ops import Clipped

FOLDER = FIXTURES / "graphs"

DOT = (
    "a dot product of maps was another one in Keras up to 2.2.4 and TensorFlow up to 2.0, and the "
    "file does not rule these out"
)
FLATTEN = "(TimeDistributed): it repeats a Flatten for each step"
LOST = (
    "the model 'model_6' is called with 2 values, and its configuration has 1 inputs: Keras before "
    "2.4 leaves out an input that no layer reads, and which value is left is not in the file"
)
PIXELS = "(PReLU): its slopes are for pixels, and the size of its map is not said"
EACH = "it is maximum with a number for each channel"

REFUSED: dict[str, set[str]] = {
    "keras-1.2.2": {f"(Merge): {DOT}", FLATTEN, PIXELS},
    "keras-2.2.4": {f"(Dot): {DOT}", FLATTEN, LOST},
    "keras-2.3.1": {FLATTEN, LOST},
    "keras-2.10": {FLATTEN, f"(TFOpLambda): {EACH}"},
    "keras-2.15": {FLATTEN, f"(TFOpLambda): {EACH}"},
    "tf-1.15": {
        f"(Dot): {DOT}",
        FLATTEN,
        f"(TensorFlowOpLayer): {EACH}",
        "(TensorFlowOpLayer): its node's half_pixel_centers is False, not True",
    },
    "tf-2.3": {FLATTEN, f"(TensorFlowOpLayer): {EACH}"},
}
"""Why one graph each of a file is refused: all others are equal."""


def unpacked(name, folder):
    """What a Keras made, graph by graph."""
    with zipfile.ZipFile(FOLDER / f"{name}.zip") as archive:
        archive.extractall(folder)
    for path in sorted(folder.glob("*.json"), key=lambda one: int(one.stem)):
        made = json.loads(path.read_text())
        file, record = (str(path.with_suffix(ending)) for ending in (".h5", ".npz"))
        yield {**made, "file": file, "record": record}


def heard(name, folder):
    campaign = Campaign(lambda made: made, shrinks=False)
    for made in unpacked(name, folder):
        campaign.hear(made)
    return campaign


@pytest.mark.parametrize("name", REFUSED)
def test_what_an_older_keras_computed_is_given(name, tmp_path):
    campaign = heard(name, tmp_path)
    assert campaign.failures == []
    assert dict(campaign.refusals) == dict.fromkeys(REFUSED[name], 1)


BROKEN = {
    "a node that means another": ("tf-2.3", tensorflow_nodes.KINDS, "Maximum", "Minimum"),
    "a node's constant on the other side": ("tf-1.15", tensorflow_nodes.KINDS, "Sub", "Add"),
    "a joining layer": ("keras-1.2.2", merging.MODES, "max", "ave"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_seen(what, tmp_path, monkeypatch):
    name, table, one, other = BROKEN[what]
    monkeypatch.setitem(table, one, table[other])
    assert heard(name, tmp_path).failures != []


def test_a_relu_below_zero_with_a_maximum_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(Clipped, "compute", lambda op, x: x.clamp(max=op.maximum))
    assert heard("tf-2.3", tmp_path).failures != []


def test_every_file_is_held():
    assert sorted(REFUSED) == sorted(path.stem for path in FOLDER.glob("*.zip"))


# ---- the nodes of TensorFlowOpLayer


def node(op, inputs, constants=None, **attributes):
    """A layer's configuration and its call."""
    attr = {"T": {"type": "DT_FLOAT"}, **attributes}
    said = {"name": op, "op": op, "input": inputs, "attr": attr}
    return {"node_def": said, "constants": constants or {}}


X = ["x", 0, 0, {}]


def test_a_constant_stands_where_the_node_has_it():
    config = node("Sub", ["Sub/x", "x"], {"0": 2.0})
    assert tensorflow_nodes.function_of(config, [X]) == (
        "math.subtract",
        ["_CONSTANT_VALUE", -1, 2.0, {"y": ["x", 0, 0]}],
    )


def test_a_node_may_be_json_within_json():
    config = node("Relu", ["x"])
    config["node_def"] = json.dumps(config["node_def"])
    assert tensorflow_nodes.function_of(config, [X]) == ("nn.relu", ["x", 0, 0, {}])


def test_every_node_is_a_function_that_is_understood():
    functions = {kind.function for kind in tensorflow_nodes.KINDS.values()}
    assert functions - set(TENSORFLOW) == set()


MASKS = {"begin_mask": 9, "end_mask": 9, "ellipsis_mask": 0, "new_axis_mask": 0}


def test_bits_of_the_masks_are_the_axes():
    masks = {key: {"i": str(value)} for key, value in {**MASKS, "shrink_axis_mask": 4}.items()}
    constants = {"1": [0, 1, 2, 0], "2": [0, 7, 3, 0], "3": [1, 1, 1, 2]}
    config = node("StridedSlice", ["x", "b", "e", "s"], constants, **masks)
    _, call = tensorflow_nodes.function_of(config, [X])
    whole, part = {"start": None, "stop": None, "step": 1}, {"start": 1, "stop": 7, "step": 1}
    assert call[3] == {"slice_spec": [whole, part, 2, {**whole, "step": 2}]}


UNPLAIN = {
    "the TensorFlow operation 'Einsum' is not understood": node("Einsum", ["x"]),
    "it reads numbers of type DT_INT32": node("Relu", ["x"], T={"type": "DT_INT32"}),
    "its node's data_format is NCHW, not NHWC": node(
        "BiasAdd", ["x", "b"], {"1": [1.0]}, data_format={"s": "TkNIVw=="}
    ),
    "its node's new_thing is True": node("Relu", ["x"], new_thing={"b": True}),
    "its node has 2 inputs, and 1 tensors and 0 constants are there": node("Add", ["x", "y"]),
    "its node has 2 inputs, and 1 are known": node("Relu", ["x", "y"], {"1": 1.0}),
    "its node_def is no JSON": {"node_def": "{", "constants": {}},
    "its node_def is no node of a TensorFlow graph": {"node_def": [], "constants": {}},
    "one of its constants reads as a tensor": node("Add", ["x", "y"], {"1": ["y", 0, 0]}),
}


@pytest.mark.parametrize("reason", UNPLAIN)
def test_a_node_that_is_not_plain_is_refused(reason):
    with pytest.raises(SettingError) as refused:
        tensorflow_nodes.function_of(UNPLAIN[reason], [X])
    assert str(refused.value) == reason
