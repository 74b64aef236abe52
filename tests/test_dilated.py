"""Keras 1's AtrousConvolution2D: a dilated Conv2D, told by a whole model and not by weights."""

from __future__ import annotations

import pytest
from edits import assert_refused, run
from helpers import fixture, opened, weights_only

from converter.conversion import convert
from converter.facts import strides

PATH = fixture("keras-1.2.2-dilated")
RECORD = PATH.with_suffix(".npz")


def test_a_whole_model_says_its_rates():
    with opened(PATH) as (_, network):
        assert strides.dilations(network.architecture) == (1, 1, 2, 4)
        convs = [c for stage in network.architecture.stages for b in stage for c in b.convs]

    assert [conv.dilation for conv in convs[-4:]] == [(2, 2), (2, 2), (4, 4), (4, 4)]
    assert [conv.padding for conv in convs[-4:]] == [2, 2, 4, 4]


@pytest.mark.slow
def test_it_gives_what_keras_1_gave(tmp_path):
    report = convert(PATH, tmp_path / "out.pth", against=RECORD, device="cpu")

    assert report.verdict == "equal"
    assert max(one.worst.relative for one in report.parity.comparisons) < 1e-6


@pytest.mark.slow
def test_weights_alone_are_refused_by_what_their_names_say(tmp_path):
    source = weights_only(PATH, tmp_path)

    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "has 4 dilated convolutions, as their names say, and by how much" in result.stderr
    assert "--dilation N,N,… says it for each stage" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("given", [{"dilation": "1,1,2,4"}, {}], ids=["option", "record"])
def test_each_way_that_the_refusal_names_leads_to_the_original(given, tmp_path):
    """Its strides are no default either: they are given, so that one fact is left."""
    source = weights_only(PATH, tmp_path)
    strides_given = {"stem_stride": 1, "stage_strides": "1,2,1,1"}

    report = convert(
        *(source, tmp_path / "out.pth"), against=RECORD, device="cpu", **strides_given, **given
    )

    assert report.verdict == "equal"
    assert strides.dilations(report.network.architecture) == (1, 1, 2, 4)
