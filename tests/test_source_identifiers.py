"""Names of a stranger's model in Python source: nothing of them runs."""

import ast
import math

import pytest

from converter.source.identifiers import TAKEN, Names, comment, identifier, literal

HOSTILE = [
    *("", "_", "__class__", "class", "None", "print", "forward", "self", "torch", "match", "nn"),
    *("1", "0conv", "a/b", "a.b", "a b", "x\ny", "x\r\nimport os", "x\u2028y", "x\x00y"),
    *('"""', "'''", "\\", "a\\", '"); import os; ("', "{x}", "%s", "# noqa", "a" * 500),
    *("\u0441onv", "ﬁre", "\uff43onv", "\u202eevil", "ünïcode", "卷积", "\ud800"),
]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_name_becomes_an_identifier(name: str) -> None:
    found = identifier(name)
    assert found.isascii()
    assert found.isidentifier()
    assert found not in TAKEN
    assert not found.startswith("_")


def test_names_of_one_scope_differ_and_stay() -> None:
    names = Names()
    found = [names[name] for name in HOSTILE]
    assert len(set(found)) == len(HOSTILE)
    assert [names[name] for name in HOSTILE] == found
    assert [names["conv-1"], names["conv_1"], names["conv.1"]] == ["conv_1", "conv_1_2", "conv_1_3"]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_string_is_one_literal(name: str) -> None:
    source = literal(name)
    assert source.isascii()
    assert "\n" not in source
    assert ast.literal_eval(source) == name


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_text_stays_within_its_comment_or_docstring(name: str) -> None:
    text = comment(name)
    assert text.isascii()
    assert text.isprintable()
    assert ast.dump(ast.parse(f"x = 1  # {text}\n")) == ast.dump(ast.parse("x = 1\n"))
    (only,) = ast.parse(f'"""{text}."""').body
    assert isinstance(only, ast.Expr)
    assert isinstance(only.value, ast.Constant)


@pytest.mark.parametrize("value", [None, True, -1, 1e-3, (1,), (), ((1, 2), "a"), [1.5, [2]]])
def test_a_constant_is_written_as_it_is(value: object) -> None:
    assert ast.literal_eval(literal(value)) == value


def test_numbers_that_are_not_finite_are_written_as_calls() -> None:
    assert literal(float("-inf")) == 'float("-inf")'
    assert literal(math.nan) == 'float("nan")'


class Sly(str):
    """A string that prints as code."""

    def __repr__(self) -> str:
        return "print()"


@pytest.mark.parametrize(
    "value", [Sly("a"), {1: 2}, object(), (Sly("a"),)], ids=lambda one: type(one).__name__
)
def test_anything_else_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="no constant"):
        literal(value)
