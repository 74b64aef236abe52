"""Contract tests over every naming, and the tables held against real graphs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from edits import edited, run
from helpers import LEGACY, as_text, fixture, is_whole_model, opened

from converter.discover import modules
from converter.errors import MismatchError
from converter.files.shapes import Shapes
from converter.weights_only.from_names import match_dialect, structure_from_names

ALL = [module.DIALECT for module in modules("converter.weights_only.dialects")]
DIALECTS = [dialect for dialect in ALL if dialect.rows]
each = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
WHOLE = [path for path in LEGACY if is_whole_model(path)]


@each
def test_a_name_means_one_module(dialect):
    table = dialect.modules()

    assert list(table.values()).count(dialect.stem) == 1
    assert {"layer1.0.conv1", "layer4.2.conv2", "layer2.0.downsample.0"} <= set(table.values())


@each
def test_every_row_is_found_and_no_other_name(dialect):
    table = dialect.modules()
    first = next(name for name, module in table.items() if module == "layer1.0.conv1")

    assert first.upper() not in table
    assert f"{first} " not in table
    assert f"{first}_1" not in table


def test_names_differ():
    assert len({dialect.name for dialect in ALL}) == len(ALL)


@pytest.mark.parametrize("dialect", ALL, ids=lambda dialect: dialect.name)
def test_a_dialect_has_names_or_an_order(dialect):
    assert dialect.rows or dialect.orders
    for order in (*dialect.orders, *dialect.first_order):
        assert len(set(order)) == len(order)
        assert {"conv1", "conv2", "downsample.0"} <= set(order)
    assert not dialect.first_order or len(dialect.first_order) == len(dialect.orders)


@pytest.mark.parametrize("path", WHOLE, ids=lambda path: path.stem)
def test_the_table_says_what_the_graph_says(path):
    """Names are matched by a table, or by following the graph; where both can, they agree."""
    with opened(path) as (checkpoint, network):
        try:
            match = match_dialect(checkpoint, DIALECTS)
        except MismatchError:
            assert network.dialect == "names of its own, read by the graph"
            return
        shapes = Shapes(checkpoint, network.layout)
        named = structure_from_names(checkpoint, match, shapes, network.theano)

    assert dict(named.layers) == dict(network.structure.layers)


@pytest.mark.slow
def test_most_fixtures_have_a_table():
    with_table = 0
    for path in WHOLE:
        with opened(path) as (_, network):
            with_table += network.dialect != "names of its own, read by the graph"

    assert with_table >= 9


def test_a_dialect_that_contradicts_itself_is_refused():

    from converter.weights_only.dialect import Row

    broken = replace(DIALECTS[0], name="broken", rows=(Row("a", "conv1"), Row("a", "bn1")))

    with pytest.raises(ValueError, match="dialect broken: 'a' means two modules"):
        broken.modules()


@pytest.mark.slow
def test_layers_that_a_dialect_leaves_out_are_listed_and_not_carried_over(tmp_path):
    """A detector's other parts: named in the table, or the file is refused."""
    path = fixture("keras-2.2.4-tensorflow")
    beside = edited(path, tmp_path, with_layer("fpn_p4"), alone=True, name="detector.h5")
    unknown = edited(path, tmp_path, with_layer("fpn_p9"), alone=True, name="unknown.h5")

    refused = run(unknown, tmp_path / "out.pth", "--no-parity")
    result = run(beside, tmp_path / "out.pth", "--no-parity")

    assert refused.exit_code == 5
    assert "unknown: fpn_p9" in refused.stderr
    assert result.exit_code == 0, result.output
    assert "naming    mask-rcnn" in result.stderr
    assert "left out  fpn_p4: no part of the network" in result.stderr
    assert "mapped    320 of 322 weights" in result.stderr


@pytest.mark.slow
def test_a_stage_more_than_names_are_read_to_is_said_to_be_that(tmp_path):
    path = fixture("keras-2.2.4-tensorflow")
    source = edited(path, tmp_path, with_layer("res6a_branch2a"), alone=True)

    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert result.exit_code == 5
    assert "unknown: res6a_branch2a" in result.stderr
    assert "of more than 4 stages is read from the whole model" in result.stderr


def with_layer(name):
    """Add a convolution of another name, before the last layer."""

    def change(file):
        file.copy("res4d_branch2b", name)
        names = [as_text(one) for one in file.attrs["layer_names"]]
        file.attrs["layer_names"] = [*names[:-1], name, names[-1]]

    return change
