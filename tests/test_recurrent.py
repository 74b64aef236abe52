"""Recurrent layers: what is refused by name, where their arrays are, and their torch modules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from converter.errors import MismatchError
from converter.files.readers.legacy_h5 import _recurrent, _unwrapped
from converter.mapping.transforms import Gates, Row
from converter.whole_model.graph import parse_graph
from converter.whole_model.keras_layers.call import Era
from converter.whole_model.lift import lift
from resnet_pt.ops import GRU, LSTM, Activation, HardSigmoid, SimpleRNN

KERAS_2 = Era((2, 3, 1), "2.3.1")
PLAIN = {"units": 3, "activation": "tanh", "recurrent_activation": "sigmoid"}


def layer(class_name, name, settings, *calls):
    config = {"class_name": class_name, "name": name, "config": {"name": name, **settings}}
    return {**config, "inbound_nodes": list(calls)}


def model(class_name, settings, given=None, tensor=0, shape=(5, 4)):
    """A model of one layer, called with `given` by keyword; value `tensor` of it is the output."""
    layers = [
        layer("InputLayer", "x", {"batch_input_shape": [None, *shape]}),
        layer(class_name, "steps", settings, [["x", 0, 0, given or {}]]),
    ]
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [["steps", 0, tensor]]}
    return {"class_name": "Model", "config": {"name": "m", "layers": layers, **ends}}


def lifted(*arguments, era=KERAS_2, **more):
    return lift(parse_graph(model(*arguments, **more)), era)


def both(settings, **more):
    return {"layer": layer("LSTM", "lstm", settings), "merge_mode": "concat", **more}


REFUSED = {
    "it is stateful: each batch begins": ("LSTM", {**PLAIN, "stateful": True}),
    "it is time_major: the batch is": ("GRU", {**PLAIN, "time_major": True}),
    "it applies softmax at each step": ("GRU", {**PLAIN, "activation": "softmax"}),
    "Keras 1 keeps each of its gates": ("LSTM", {"output_dim": 3}),
    "it is called with mask": ("LSTM", PLAIN, {"mask": [[True] * 5]}),
    "it reads 2 values": ("LSTM", PLAIN, {"initial_state": ["x", 0, 0]}),
    "its merge_mode is None": ("Bidirectional", both(PLAIN, merge_mode=None)),
    "it holds a RNN": ("Bidirectional", {"layer": layer("RNN", "r", {}), "merge_mode": "sum"}),
    "another one of the values that it gives": ("LSTM", {**PLAIN, "return_state": True}, {}, 1),
    "it reads a sequence, and 3 axes come": ("SimpleRNN", PLAIN, {}, 0, (5, 4, 2)),
    "how many numbers it reads is not": ("SimpleRNN", PLAIN, {}, 0, (5, None)),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_would_change_its_numbers_is_refused_by_name(reason):
    with pytest.raises(MismatchError) as caught:
        lifted(*REFUSED[reason])
    assert any(reason in one for one in caught.value.findings)


def test_its_first_value_alone_is_read_where_it_gives_its_state_too():
    (found,) = lifted("LSTM", {**PLAIN, "return_state": True}).program.layers
    assert found.op == LSTM(4, 3)


SLOPES = {(2, 2, 4): 0.2, (3, 0, 0): 1 / 6}


@pytest.mark.parametrize("version", SLOPES)
def test_a_hard_sigmoid_is_that_of_its_age(version):
    settings = {**PLAIN, "recurrent_activation": "hard_sigmoid"}
    (found,) = lifted("LSTM", settings, era=Era(version)).program.layers
    assert found.op.recurrent == HardSigmoid(SLOPES[version])

    with pytest.raises(MismatchError) as caught:
        lifted("LSTM", settings, era=Era(()))
    assert "depends on the Keras that wrote the file" in str(caught.value.findings)


def test_a_gru_that_does_not_say_when_it_resets_does_so_before():
    (found,) = lifted("GRU", PLAIN).program.layers
    assert found.op == GRU(4, 3, reset_after=False)


TORCHS = [
    (LSTM(4, 3, sequences=True), nn.LSTM),
    (GRU(4, 3, bias=False), nn.GRU),
    (SimpleRNN(4, 3, backwards=True, activation=Activation("relu")), nn.RNN),
]
OURS = [
    LSTM(4, 3, recurrent=HardSigmoid(0.2)),
    GRU(4, 3, reset_after=False, sequences=True),
    SimpleRNN(4, 3, bias=False, activation=Activation("linear")),
]


@pytest.mark.parametrize(("op", "kind"), TORCHS)
def test_torchs_own_module_is_taken_where_it_has_the_numbers(op, kind):
    assert isinstance(op.module((5, 4)), kind)


@pytest.mark.parametrize("op", [*(op for op, _ in TORCHS), *OURS])
def test_an_op_says_the_tensors_and_the_shape_of_its_module(op):
    module = op.module((5, 4))
    held = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    assert held == {tensor.name: tensor.shape for tensor in op.tensors()}
    assert tuple(module(torch.zeros(2, 5, 4)).shape[1:]) == op.shape((5, 4))


@pytest.mark.parametrize(("op", "ours"), [(LSTM(4, 3), "LSTM"), (GRU(4, 3, sequences=True), "GRU")])
def test_the_steps_written_out_are_torchs(op, ours):
    """The two roads to one layer: a step of ours, and torch's module."""
    from resnet_pt import recurrent

    torchs, steps = op.module((5, 4)).double(), getattr(recurrent, ours)(op).double()
    steps.load_state_dict(torchs.state_dict() | {}, strict=False)
    if ours == "LSTM":  # ours adds one bias, torch two
        with torch.no_grad():
            steps.bias_ih_l0.add_(torchs.bias_hh_l0)
    x = torch.randn(2, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(steps(x), torchs(x), rtol=0, atol=1e-12)


def test_an_activation_in_place_would_harm_a_gradient():
    module = LSTM(4, 3, activation=Activation("relu"), sequences=True).module((5, 4))
    module(torch.randn(2, 5, 4)).sum().backward()
    assert module.weight_hh_l0.grad is not None


def test_gates_are_put_in_order_and_back():
    array = np.arange(12.0).reshape(6, 2)
    moved = Gates((1, 2, 0)).apply(array)
    assert moved[:, 0].tolist() == [4.0, 6.0, 8.0, 10.0, 0.0, 2.0]
    assert np.array_equal(Gates((1, 2, 0)).inverse().apply(moved), array)
    with pytest.raises(ValueError, match="not as many rows"):
        Gates((1, 0, 2)).shape((7, 2))


def test_a_row_is_one_of_as_many():
    assert Row(1, 2).shape((2, 9)) == (9,)
    with pytest.raises(ValueError, match="has not 2 rows"):
        Row(1, 2).shape((9,))


SCOPES = {
    "steps/kernel:0": ("steps/kernel:0", ""),
    "steps/lstm_cell_3/kernel:0": ("steps/kernel:0", ""),
    "outer/steps_1/gru_cell/bias:0": ("outer/steps_1/bias:0", ""),
    "twice/forward_lstm/recurrent_kernel:0": ("twice/recurrent_kernel:0", "forward_"),
    "twice/backward_lstm_1/lstm_cell/bias:0": ("twice/bias:0", "backward_"),
    "owning/own/lstm_cell/bias:0": ("owning/bias:0", "backward_"),
    "owning/backward_own/lstm_cell/bias:0": ("owning/bias:0", "backward_"),
    "forward_lstm/kernel:0": ("forward_lstm/kernel:0", ""),
    "dense/forward_lstm/kernel:0": ("dense/forward_lstm/kernel:0", ""),
    "dense/lstm_cell/kernel:0": ("dense/lstm_cell/kernel:0", ""),
}


@pytest.mark.parametrize("name", SCOPES)
def test_the_scopes_within_a_recurrent_layer_are_told_by_the_configuration(name):
    own = layer("LSTM", "own", PLAIN)
    layers = [
        layer("LSTM", "steps", PLAIN),
        layer("Bidirectional", "twice", both(PLAIN)),
        layer("Bidirectional", "owning", both(PLAIN, backward_layer=own)),
        layer("Dense", "dense", {}),
    ]
    recurrent = _recurrent({"class_name": "Model", "config": {"layers": layers}})
    assert _unwrapped(name, recurrent) == SCOPES[name]
