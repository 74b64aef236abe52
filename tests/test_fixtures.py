"""Files of real Keras versions: each converts, and gives what its own Keras computed."""

from __future__ import annotations

import pytest
from helpers import RECORDED, is_whole_model, opened, record, weights_only

from converter.conversion import convert
from converter.errors import MismatchError
from converter.identify import Network

BY_GRAPH_ONLY = "names of its own, read by the graph"
each = pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)


@each
def test_gives_the_logits_and_layers_that_its_keras_recorded(path, tmp_path):
    report = convert(path, tmp_path / "out.pth", against=record(path), device="cpu")

    assert report.verdict == "equal"
    assert {one.dtype for one in report.parity.comparisons} == {"float32", "float64"}
    assert all(one.worst.relative < 1e-5 for one in report.parity.comparisons)
    assert len(report.parity.layers) > 8
    assert all(one.relative < 1e-3 for one in report.parity.layers)


@pytest.mark.parametrize(
    "path", [path for path in RECORDED if is_whole_model(path)], ids=lambda path: path.stem
)
def test_weights_alone_give_the_same_or_are_refused_by_name(path, tmp_path):
    with opened(path) as (_, network):
        whole: Network = network
    alone = weights_only(path, tmp_path)
    if whole.dialect == BY_GRAPH_ONLY:
        with pytest.raises(MismatchError, match=r"no naming that is known|not a whole ResNet"):
            convert(alone, tmp_path / "out.pth", parity=False)
        return

    report = convert(alone, tmp_path / "out.pth", against=record(path), device="cpu")

    assert report.verdict == "equal"
    assert report.network.dialect == whole.dialect
    assert dict(report.network.structure.layers) == dict(whole.structure.layers)


def test_there_are_fixtures():
    assert len(RECORDED) >= 20
