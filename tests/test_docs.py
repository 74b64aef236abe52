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
    made = runpy.run_path(str(ROOT / "scripts" / "readme.py"))

    assert len(made["PAGES"]) == 2
    for page, parts in made["PAGES"].items():
        assert made["generated"](page.read_text(), parts) == page.read_text()


def test_the_reference_is_up_to_date():
    made = runpy.run_path(str(ROOT / "scripts" / "reference.py"))

    assert made["PAGE"].read_text() == made["page"]()


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


def test_every_fixture_is_in_the_table_of_what_was_converted():
    from helpers import RECORDED

    page = (ROOT / "docs" / "support.md").read_text()

    assert [path.name for path in RECORDED if f"| {path.name} |" not in page] == []


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text()
    pages = [path.name for path in (ROOT / "docs").glob("*.md") if path.name != "README.md"]

    assert [name for name in pages if f"]({name})" not in index] == []


def test_the_network_knows_nothing_of_keras():
    for path in (ROOT / "resnet_pt").glob("*.py"):
        imports = [line for line in path.read_text().splitlines() if "import " in line]

        assert not [line for line in imports if "converter" in line or "h5py" in line], path


@pytest.mark.slow
def test_a_refusal_is_short():
    result = CliRunner().invoke(convert_weights, ["missing.h5", "out.pth"])

    assert len(result.output.splitlines()) <= 12


def walk_through():
    """The dialect that the README adds, as its reader would have it."""
    block = README.partition("## Adding a naming")[2].partition("```python\n")[2]
    made: dict[str, object] = {}
    exec(block.partition("```")[0], made)
    return made["DIALECT"]


def renamed(module):
    """A module's layer as the walk-through's project calls it."""
    if not module.startswith("layer"):
        return {"conv1": "stem_conv", "bn1": "stem_bn", "fc": "scores"}[module]
    stage, index, part = module.removeprefix("layer").split(".", 2)
    names = {"downsample.0": "short", "downsample.1": "short_bn"}
    for number, word in enumerate(("first", "second", "third"), start=1):
        names[f"conv{number}"], names[f"bn{number}"] = word, f"{word}_bn"
    return f"unit{stage}{chr(97 + int(index))}_{names[part]}"


@pytest.mark.slow
def test_the_walk_through_adds_a_naming_that_works(tmp_path, monkeypatch):
    """A real file's weights under the walk-through's names are read by its table alone."""
    from types import SimpleNamespace

    import h5py
    import numpy as np
    from edits import assert_refused, run
    from helpers import converted, fixture, weights_only

    path = fixture("keras-2.2.4-tensorflow")
    network, expected = converted(path)
    names = {layer: renamed(module) for module, layer in network.structure.layers.items()}
    source = weights_only(path, tmp_path)
    with h5py.File(source, "a") as file:
        weighted = [one.decode() for one in file.attrs["layer_names"]]
        weighted = [one for one in weighted if one in names]
        for layer in weighted:
            file.move(layer, names[layer])
        file.attrs["layer_names"] = [names[layer] for layer in weighted]

    assert_refused(run(source, tmp_path / "out.pth", "--no-parity"), 5, tmp_path / "out.pth")
    added = [SimpleNamespace(DIALECT=walk_through())]
    monkeypatch.setattr("converter.identify.modules", lambda package: added)
    network, tensors = converted(source)

    assert network.dialect == "my-project"
    assert tensors.keys() == expected.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, expected[name], err_msg=name)
