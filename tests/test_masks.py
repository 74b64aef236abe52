"""Masks: where one is read, what it makes of the numbers is not known, and is refused by name."""

from __future__ import annotations

import pytest

from converter.errors import MismatchError
from converter.whole_model.graph import parse_graph
from converter.whole_model.keras_layers.call import Era
from converter.whole_model.lift import MASKED, READ_MASKS, lift

DENSE = {"units": 3, "use_bias": True, "activation": "linear"}
STEPS = {"units": 3, "activation": "tanh", "recurrent_activation": "sigmoid"}


def layer(class_name, name, settings, source=None):
    config = {"class_name": class_name, "name": name, "config": {"name": name, **settings}}
    return {**config, "inbound_nodes": [[[source, 0, 0, {}]]] if source else []}


def lifted(mask_zero, *others, version=(2, 3, 1)):
    """A table, with layers one behind the other on it, as Keras 2 writes them."""
    table = {"input_dim": 6, "output_dim": 3, "mask_zero": mask_zero}
    layers = [layer("InputLayer", "x", {"batch_input_shape": [None, 5]})]
    for class_name, settings in [("Embedding", table), *others]:
        layers.append(layer(class_name, f"l{len(layers)}", settings, layers[-1]["name"]))
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [[layers[-1]["name"], 0, 0]]}
    config = {"class_name": "Model", "config": {"name": "m", "layers": layers, **ends}}
    return lift(parse_graph(config), Era(version, ".".join(map(str, version))))


READERS = {
    "LSTM": STEPS,
    "Bidirectional": {"layer": layer("LSTM", "lstm", STEPS), "merge_mode": "concat"},
    "GlobalAveragePooling1D": {},
    "Softmax": {"axis": -1},
    "TimeDistributed": {"layer": layer("Dense", "dense", DENSE)},
}


@pytest.mark.parametrize("name", READERS)
def test_what_reads_a_mask_is_refused_behind_one(name):
    before = ("Dropout", {"rate": 0.5}), ("Dense", DENSE)
    reader = (name, READERS[name])
    assert lifted(False, *before, reader).program.layers
    with pytest.raises(MismatchError) as caught:
        lifted(True, *before, reader)
    assert caught.value.findings == (f"'l4' ({name}): {MASKED}",)
    assert name in READ_MASKS


def test_a_mask_that_nobody_reads_is_none():
    masked, plain = (lifted(one, ("Flatten", {}), ("Dense", DENSE)) for one in (True, False))
    assert masked.program == plain.program


@pytest.mark.parametrize(("version", "array"), [((1, 2, 2), "kernel"), ((2, 2, 4), "embeddings")])
def test_the_table_is_called_as_its_keras_calls_it(version, array):
    (source,) = lifted(False, ("Flatten", {}), version=version).sources.values()
    assert source.parameter == array


def test_numbers_that_a_layer_computes_are_refused():
    with pytest.raises(MismatchError) as caught:
        lifted(False, ("Flatten", {}), ("Embedding", {}))
    assert "reads numbers that another layer computes" in caught.value.findings[0]
