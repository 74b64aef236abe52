"""Contract tests over every naming, and the tables held against real graphs."""

from __future__ import annotations

import pytest
from helpers import RECORDED, is_whole_model, opened

from converter.discover import modules
from converter.errors import MismatchError
from converter.from_names import match_dialect, structure_from_names
from converter.structure import Shapes

DIALECTS = [module.DIALECT for module in modules("converter.dialects")]
each = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
WHOLE = [path for path in RECORDED if is_whole_model(path)]


@each
def test_a_name_means_one_module(dialect):
    table = dialect.modules()

    assert table["conv1"] == "conv1" if "conv1" in table else "conv1" in table.values()
    assert {"layer1.0.conv1", "layer4.2.conv2", "layer2.0.downsample.0"} <= set(table.values())


@each
def test_every_row_is_found_and_no_other_name(dialect):
    table = dialect.modules()
    first = next(name for name, module in table.items() if module == "layer1.0.conv1")

    assert first.upper() not in table
    assert f"{first} " not in table
    assert f"{first}_1" not in table


def test_names_differ():
    assert len({dialect.name for dialect in DIALECTS}) == len(DIALECTS)


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


def test_most_fixtures_have_a_table():
    with_table = 0
    for path in WHOLE:
        with opened(path) as (_, network):
            with_table += network.dialect != "names of its own, read by the graph"

    assert with_table >= 9


def test_a_dialect_that_contradicts_itself_is_refused():
    from dataclasses import replace

    from converter.dialect import Row

    broken = replace(DIALECTS[0], name="broken", rows=(Row("a", "conv1"), Row("a", "bn1")))

    with pytest.raises(ValueError, match="dialect broken: 'a' means two modules"):
        broken.modules()
