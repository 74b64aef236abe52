"""Weights alone of residual networks that no table knows: a wrong fact is never hidden.

`scripts/wild_networks` is the campaign in full.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from wild_networks import BASES, judged, keras, networks, shaped

from converter.conversion import convert

pytestmark = pytest.mark.keras

CHANGED = [
    ({"eps": 1e-5}, {"epsilon"}),
    ({"stem_stride": 2}, {"stride"}),
    ({"activation": "tanh"}, {"activation"}),
    ({"strides": [2, 2, 2]}, {"stride"}),
    ({"strided_block": 1, "strides": [2, 1, 1]}, {"stride"}),
    ({"dilation": 2}, {"amounts"}),
    ({"output": "sigmoid"}, {"output"}),
    ({"hidden": [6], "hidden_activation": "tanh"}, {"head activation"}),
]
"""Changes of a network that is known, and the facts in which what is made of its file is wrong."""


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    with keras(tmp_path_factory.mktemp("wild")) as made:
        yield made


def outcomes(make, network):
    """What came of each file of a network; {} for one that cannot be."""
    found = make(network)
    return {
        container: judged(network, Path(path), Path(found["record"]))
        for container, path in found.get("files", {}).items()
    }


@pytest.mark.slow
@settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(network=networks())
def test_no_wrong_fact_is_hidden(make, network):
    for container, outcome in outcomes(make, network).items():
        assert not outcome.hidden, (container, outcome)


@pytest.mark.parametrize("base", BASES, ids=lambda one: f"{one['naming']}-{one['window']}")
def test_networks_that_are_known_are_right(base, make):
    for container, outcome in outcomes(make, shaped(base)).items():
        assert outcome.is_right or (outcome.refused and container != "listed"), outcome
        assert not outcome.wrong


@pytest.mark.parametrize(("changes", "facts"), CHANGED)
def test_what_is_wrong_is_seen_to_be(changes, facts, make):
    """The property is no property where the one who judges is blind."""
    auto = next(one for one in BASES if one["naming"] == "auto")
    outcome = outcomes(make, shaped({**auto, **changes}))["listed"]

    assert not outcome.refused
    assert outcome.wrong == facts


@pytest.mark.parametrize("container", ["listed", "named", "unnamed"])
def test_nobody_who_was_not_asked_is_said_to_be_equalled(container, make, tmp_path):
    found = make(shaped(BASES[0]))

    report = convert(found["files"][container], tmp_path / "out.pth", device="cpu")

    assert report.verdict == "consistent"
