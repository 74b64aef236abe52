"""Files of real Keras versions: each converts, and gives what its own Keras computed."""

from __future__ import annotations

import pytest
from helpers import LEGACY, RECORDED, fixture, is_whole_model, opened, record, weights_only

from converter.conversion import convert
from converter.errors import ParityError
from converter.network import Network

BEFORE_1_0_8 = "keras-1.0.7-theano"
"""Its weights alone do not say how old they are, and epsilon was outside the root then."""

NOT_IN_THE_WEIGHTS = {
    "keras-1.1.2-theano-tf": ["epsilon"],
    "keras-1.2.2-dilated": [
        *("stem", "stride", "stage strides", "stem stride", "amounts", "dilation"),
    ],
    "keras-2.10-head-max-sigmoid": ["output"],
}
"""What weights alone cannot say and a default gets wrong, so that only a record puts it right:
Keras 1 weights do not say their version, and epsilon was 1e-5 before 1.2; no weights say strides
and dilations, nor what is applied to the logits, and softmax is assumed."""

BY_ORDER = {
    "keras-1.2.2-dilated": "auto-main-first",
    "keras-2.3.1-auto-named": "auto-main-first",
    "keras-2.3.1-cifar-v1": "cifar-v1",
    "keras-2.3.1-cifar-v2": "cifar-v2",
    "keras-contrib-18": "keras-contrib",
    "raghakot-18": "raghakot",
    "raghakot-basic": "raghakot",
    "raghakot-bottleneck": "raghakot",
}
"""Files without names of their own: whose order of layers theirs is."""

PICTURES = "keras-2.10-picture-layers"
DILATED = "keras-1.2.2-dilated"
"""Weights alone do not say by how much (tests/test_dilated.py)."""

each = pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)


def corrected(source, report):
    """Facts that the file was read wrongly for, and that only the record put right."""
    with opened(source) as (_, network):
        read = {fact.name: fact.value for fact in network.facts}
    return [fact.name for fact in report.facts if read.get(fact.name) != fact.value]


def verdict(source, report):
    """The verdict with what it was compared with, for docs/support.md."""
    right = ", ".join(corrected(source, report))
    return f"{report.parity}{f', which put right: {right}' if right else ''}"


@each
def test_gives_the_logits_and_layers_that_its_keras_recorded(path, tmp_path, record_property):
    report = convert(path, tmp_path / "out.pth", against=record(path), device="cpu")
    record_property("verdict", verdict(path, report))

    assert report.verdict == "equal"
    assert corrected(path, report) == []
    assert {one.dtype for one in report.parity.comparisons} == {"float32", "float64"}
    assert all(one.worst.relative < 1e-5 for one in report.parity.comparisons)
    read_by_graph = path in LEGACY and is_whole_model(path) and not report.plan.left_out
    assert report.parity.layers or not read_by_graph
    assert all(one.relative < 1e-3 for one in report.parity.layers)


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        path
        for path in LEGACY
        if is_whole_model(path) and path.stem not in (BEFORE_1_0_8, PICTURES, DILATED)
    ],
    ids=lambda path: path.stem,
)
def test_weights_alone_give_the_same(path, tmp_path, record_property):
    with opened(path) as (_, network):
        whole: Network = network
    alone = weights_only(path, tmp_path)
    report = convert(alone, tmp_path / "out.pth", against=record(path), device="cpu")
    record_property("verdict", verdict(alone, report))

    assert report.verdict == "equal"
    assert corrected(alone, report) == NOT_IN_THE_WEIGHTS.get(path.stem, [])
    assert report.network.dialect == BY_ORDER.get(path.stem, whole.dialect)
    assert dict(report.network.structure.layers) == dict(whole.structure.layers)


@pytest.mark.slow
def test_weights_alone_of_a_keras_before_1_0_8_are_refused_by_the_proof(tmp_path):
    path = fixture(BEFORE_1_0_8)
    alone = weights_only(path, tmp_path)

    with pytest.raises(ParityError, match=r"not give the logits of record of Keras 1\.0\.7"):
        convert(alone, tmp_path / "out.pth", against=record(path), device="cpu")
    assert not (tmp_path / "out.pth").exists()


@pytest.mark.slow
def test_weights_alone_do_not_say_what_is_done_to_pictures(tmp_path):
    """They are converted, as what comes behind that; the record is of the whole."""
    path = fixture(PICTURES)
    alone = weights_only(path, tmp_path)

    with opened(alone) as (_, network):
        fact = next(fact for fact in network.facts if fact.name == "input")
    assert str(fact.evidence) == "default"
    assert "the file lists rescaling, normalization before it" in fact.reason
    with pytest.raises(ParityError, match=r"not give the logits of record of Keras 2\.10\.0"):
        convert(alone, tmp_path / "out.pth", against=record(path), device="cpu")


def test_there_are_fixtures():
    assert len(LEGACY) >= 30
    assert len(RECORDED) > len(LEGACY)
