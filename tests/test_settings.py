"""What a library made of a configuration is held against it, setting by setting."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from converter.parity.original.settings import BEFORE, misread, same


def network(*layers: dict[str, Any]) -> dict[str, Any]:
    """A functional model's configuration of these layers."""
    return {"class_name": "Functional", "config": {"name": "model", "layers": list(layers)}}


def layer(class_name: str, name: str = "one", **settings: Any) -> dict[str, Any]:
    return {"class_name": class_name, "name": name, "config": {"name": name, **settings}}


CONV = layer("Conv2D", filters=4, kernel_size=[3, 3], padding="same", activation="relu")


def changed(settings: dict[str, Any], **more: Any) -> dict[str, Any]:
    found = copy.deepcopy(settings)
    found["config"].update(more)
    return found


def test_what_was_read_as_it_stands_is_no_misreading():
    assert misread(network(CONV), network(CONV), {}) == []


@pytest.mark.parametrize(
    ("said", "made", "wrong"),
    [
        (CONV, changed(CONV, padding="valid"), "its padding is 'same', and 'valid' was taken"),
        (changed(CONV, gate=2), CONV, "its gate was dropped, and is 2"),
        (CONV, changed(CONV, gate=2), "it says no gate, and 2 was taken"),
        (CONV, changed(CONV, groups=2), "it says no groups, and 2 was taken"),
        (
            layer("GRU", units=3),
            layer("GRU", units=3, reset_after=True),
            "it says no reset_after, and True was taken",
        ),
        (CONV, layer("Dense"), "it is a Conv2D, and Dense was made"),
        (
            layer("LeakyReLU", alpha=0.3),
            layer("LeakyReLU", alpha=0.2),
            "its alpha is 0.3, and 0.2 was taken",
        ),
        (
            layer("TFOpLambda", function="math.add"),
            layer("TFOpLambda", function="math.subtract"),
            "its function is 'math.add', and 'math.subtract' was taken",
        ),
    ],
)
def test_what_was_read_otherwise_is_named_with_its_layer(said, made, wrong):
    assert misread(network(said), network(made), {}) == [f"one: {wrong}"]


def test_a_nested_and_a_wrapped_layer_are_looked_at_too():
    inner = network(layer("Softmax", "soft", axis=[1, 2])) | {"name": "inner"}
    other = network(layer("Softmax", "soft", axis=-1)) | {"name": "inner"}
    wraps = layer("TimeDistributed", "each", layer=layer("Dense", "dense", units=3))
    another = layer("TimeDistributed", "each", layer=layer("Dense", "dense", units=4))

    found = misread(network(inner, wraps), network(other, another), {})

    assert found == [
        "inner/soft: its axis is [1, 2], and -1 was taken",
        "each: layer: its units is 3, and 4 was taken",
    ]


def test_a_layer_that_is_not_there_is_named_but_an_input_may_be_implied():
    assert misread(network(CONV, layer("InputLayer", "input")), network(CONV), {}) == []
    assert misread(network(CONV), network(), {}) == ["layer 'one' is not in it"]


def test_an_axis_may_be_counted_from_the_other_end_of_as_many():
    norm, counted = layer("BatchNormalization", axis=-1), layer("BatchNormalization", axis=[3])

    assert misread(network(norm), network(counted), {"one": 4}) == []
    assert misread(network(norm), network(counted), {"one": 5}) == [
        "one: its axis is -1, and [3] was taken"
    ]


def test_what_was_before_a_setting_is_what_its_absence_says():
    early = layer("Conv2D", filters=4)

    assert misread(network(early), network(changed(early, **BEFORE)), {}) == []


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ((2, 2), [2, 2], True),
        (2, [2, 2], True),
        (2, [2, 3], False),
        (None, [], False),
        (0.3, 0.30000001192092896, True),
        (0.3, 0.300001, False),
        ({"type": "ndarray", "value": [0.1, 0.2]}, [0.1, 0.2], True),
        ({"class_name": "__tuple__", "items": [1, 2]}, [1, 2], True),
        (True, False, False),
        (0, False, True),
        (None, False, False),
        ("relu", "relu6", False),
    ],
)
def test_ways_to_write_one_setting(one, other, is_same):
    assert same(one, other) is is_same
    assert same(other, one) is is_same
