"""Refusals: one headline, a few findings, a hint, and nothing that a terminal would obey."""

from __future__ import annotations

import h5py
import pytest
from click.testing import CliRunner
from edits import edited
from helpers import as_text, fixture

from converter import errors
from converter.cli import convert_weights, inspect_weights
from converter.errors import ConvertError, printable

PATH = fixture("keras-2.2.4-tensorflow")
CODES = {
    "ParityError": 1,
    "UsageError": 2,
    "SourceError": 3,
    "UnsafeError": 4,
    "MismatchError": 5,
    "SanityError": 6,
    "TargetError": 7,
    "UnforeseenError": 70,
}


def test_every_refusal_has_the_exit_code_of_the_contract():
    found = {
        name: one.exit_code
        for name, one in vars(errors).items()
        if isinstance(one, type) and issubclass(one, ConvertError) and one is not ConvertError
    }

    assert found == CODES


def test_the_tree_in_the_docstring_is_the_tree():
    for name, code in CODES.items():
        assert any(name in line and f" {code} " in line for line in errors.__doc__.splitlines())


def test_a_message_lists_a_few_findings_and_counts_the_rest():
    error = ConvertError("headline", [f"finding {n}" for n in range(11)], ["do this"])

    assert str(error) == (
        "headline\n"
        "  finding 0\n"
        "  finding 1\n"
        "  finding 2\n"
        "  finding 3\n"
        "  finding 4\n"
        "  finding 5\n"
        "  finding 6\n"
        "  finding 7\n"
        "  … and 3 more\n"
        "hint: do this"
    )


def test_a_message_that_fits_counts_nothing():
    error = ConvertError("headline", [f"finding {n}" for n in range(8)])

    assert "more" not in str(error)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain – text", "plain – text"),
        ("two\nlines", "two\\nlines"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\u202efdp", "\\u202efdp"),
        ("\udc80", "\\udc80"),
    ],
)
def test_control_characters_are_shown_and_not_sent(text, shown):
    assert printable(text) == shown


ESCAPE = "\x1b]0;owned\x07\x1b[2J"


def by_attribute(name):
    def change(file):
        file.attrs[name] = f"{as_text(file.attrs[name])}{ESCAPE}"

    return change


def by_layer(file):
    names = [as_text(name) for name in file.attrs["layer_names"]]
    file.move("fc1000", f"fc{ESCAPE}")
    names = [f"fc{ESCAPE}" if name == "fc1000" else name for name in names]
    file.attrs.create("layer_names", names, dtype=h5py.string_dtype())


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [by_attribute("backend"), by_attribute("keras_version"), by_layer],
    ids=["backend", "version", "layer"],
)
def test_what_a_stranger_wrote_does_not_steer_the_terminal(change, tmp_path):
    source = str(edited(PATH, tmp_path, change, alone=True))

    plan = CliRunner().invoke(convert_weights, [source, "--dry-run"])
    inspection = CliRunner().invoke(inspect_weights, [source])

    for result in (plan, inspection):
        assert isinstance(result.exception, SystemExit | None), repr(result.exception)
        assert "\x1b" not in result.output
        assert "\x07" not in result.output
