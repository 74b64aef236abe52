"""The README says what the program does."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from click.testing import CliRunner

from converter.cli import convert_weights, inspect_weights

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_generated_parts_are_up_to_date():
    generated = runpy.run_path(str(ROOT / "scripts" / "readme.py"))["generated"]

    assert generated(README) == README


@pytest.mark.parametrize("command", [convert_weights, inspect_weights])
def test_every_option_has_its_help(command):
    for option in command.params:
        if option.param_type_name == "option":
            assert option.help, option.name


def test_every_file_that_the_readme_links_to_is_there():
    links = [part.split(")")[0] for part in README.split("](")[1:]]
    missing = [link for link in links if "://" not in link and not (ROOT / link).exists()]

    assert missing == []


def test_every_fixture_is_in_the_table_of_their_origins():
    origins = (ROOT / "fixtures" / "README.md").read_text()
    inside = [path for path in (ROOT / "fixtures").iterdir() if path.name != "README.md"]
    files = [path.name for path in inside if not (path / "README.md").exists()]

    assert [name for name in files if f"| {name} |" not in origins] == []


def test_the_network_knows_nothing_of_keras():
    for path in (ROOT / "resnet_pt").glob("*.py"):
        imports = [line for line in path.read_text().splitlines() if "import " in line]

        assert not [line for line in imports if "converter" in line or "h5py" in line], path


def test_a_refusal_is_short():
    result = CliRunner().invoke(convert_weights, ["missing.h5", "out.pth"])

    assert len(result.output.splitlines()) <= 12
