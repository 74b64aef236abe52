"""Attention: what is refused by name, and in which order a call passes what it reads."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from converter.errors import MismatchError
from converter.whole_model.graph import parse_graph
from converter.whole_model.keras_layers.call import Era
from converter.whole_model.lift import lift
from resnet_pt.ops import Attention, MultiHead

HEADS = {"num_heads": 2, "key_dim": 3, "use_bias": True}
INPUTS = {"q": (7, 4), "v": (5, 3), "m": (7, 5)}
X, Q, V, M = (["q", 0, 0], ["q", 0, 0], ["v", 0, 0], ["m", 0, 0])


def layer(class_name, name, settings, *calls):
    config = {"class_name": class_name, "name": name, "config": {"name": name, **settings}}
    return {**config, "inbound_nodes": list(calls)}


def tensor(name):
    """A value as Keras 3 writes it."""
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}}


def lifted(class_name, settings, call, output=0, **shapes):
    inputs = [
        layer("InputLayer", name, {"batch_input_shape": [None, *shape]})
        for name, shape in {**INPUTS, **shapes}.items()
    ]
    ends = {
        "input_layers": [[name, 0, 0] for name in INPUTS],
        "output_layers": [["a", 0, output]],
    }
    layers = [*inputs, layer(class_name, "a", settings, call)]
    config = {"class_name": "Model", "config": {"name": "m", "layers": layers, **ends}}
    return lift(parse_graph(config), Era((2, 15, 0), "2.15.0"))


def keras_2(**given):
    return [[*X, given]]


def keras_3(*args, **kwargs):
    return {"args": list(args), "kwargs": kwargs}


REFUSED = {
    "it is called with attention_mask": (HEADS, keras_2(value=V, attention_mask=M)),
    "it is called with mask": (HEADS, keras_3(tensor("q"), tensor("v"), tensor("v"), tensor("m"))),
    "it is called with query_mask": (HEADS, keras_2(value=V, query_mask=[[True]])),
    "it has a use_gate": ({**HEADS, "use_gate": True}, keras_2(value=V)),
    "it has a sliding_window": ({**HEADS, "sliding_window": 2}, keras_2(value=V)),
    "its attention_axes are [2]": ({**HEADS, "attention_axes": [2]}, keras_2(value=V)),
    "its output_shape is [2, 3]": ({**HEADS, "output_shape": [2, 3]}, keras_2(value=V)),
    "which of what it reads": (HEADS, keras_3(tensor("q"), None, tensor("v"))),
    "its num_heads is not in": ({"key_dim": 3}, keras_2(value=V)),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_heads_that_are_not_understood_are_refused_by_name(reason):
    with pytest.raises(MismatchError) as caught:
        lifted("MultiHeadAttention", *REFUSED[reason])
    assert reason in caught.value.findings[0]


SCORED = {
    "its score_mode is 'concat'": ({"score_mode": "concat"}, [[*X, {}], [*V, {}]]),
    "it is called with mask": ({}, [[*X, {"mask": [M, None]}], [*V, {}]]),
    "which of what it reads": ({}, keras_3([tensor("q"), tensor("v")], mask=[tensor("m"), None])),
    "it scores 4 numbers, and 3 come": ({}, keras_3([tensor("q"), tensor("v")])),
}


@pytest.mark.parametrize("reason", SCORED)
def test_scores_that_are_not_understood_are_refused_by_name(reason):
    with pytest.raises(MismatchError) as caught:
        lifted("Attention", *SCORED[reason])
    assert reason in caught.value.findings[0]


CALLS = {
    "value by name": keras_2(value=V),
    "the key before the value": keras_2(key=V, value=Q),
    "Keras 3, by place": keras_3(tensor("q"), tensor("v")),
    "Keras 3, by name": keras_3(value=tensor("v"), query=tensor("q")),
    "Keras 3, both ways": keras_3(tensor("q"), key=tensor("v"), value=tensor("q")),
}
READS = {
    "the key before the value": ("q", "q", "v"),
    "Keras 3, both ways": ("q", "q", "v"),
}


@pytest.mark.parametrize("way", CALLS)
def test_what_it_reads_is_told_apart_by_how_it_is_passed(way):
    (found,) = lifted("MultiHeadAttention", HEADS, CALLS[way], q=(5, 4)).program.layers
    assert found.inputs == READS.get(way, ("q", "v", "v"))


def test_a_causal_mask_is_a_setting_of_older_kerases():
    given = [[*X, {}], [*X, {}]]
    (found,) = lifted("Attention", {"causal": True}, given).program.layers
    assert found.op == Attention(4, causal=True)


@pytest.mark.parametrize("causal", [True, False])
def test_heads_are_those_of_torch(causal):
    """Torch's own module with the same matrices."""
    torch.manual_seed(1)
    op = MultiHead((6, 6, 6), heads=2, width=3, values=3, outputs=6, causal=causal)
    ours = op.module((5, 6), (5, 6), (5, 6)).double()
    theirs = nn.MultiheadAttention(6, 2, batch_first=True).double()
    names = ("query", "key", "value")
    with torch.no_grad():
        for one in ours.parameters():
            one.copy_(torch.randn_like(one))
        theirs.in_proj_weight.copy_(torch.cat([getattr(ours, f"{one}_weight") for one in names]))
        theirs.in_proj_bias.copy_(torch.cat([getattr(ours, f"{one}_bias") for one in names]))
        theirs.out_proj.weight.copy_(ours.output_weight)
        theirs.out_proj.bias.copy_(ours.output_bias)
    x = torch.randn(2, 5, 6).double()
    mask = torch.ones(5, 5, dtype=torch.bool).triu(1) if causal else None
    expected, _ = theirs(x, x, x, attn_mask=mask)
    assert torch.allclose(ours(x, x, x), expected, rtol=0, atol=1e-12)
