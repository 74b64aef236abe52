"""The walls between the rooms: who may import whom, in any function and for types too."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
AT_THE_TOP = 10
"""Modules of `converter/` itself: what a user of the library meets, and what finds the others."""

WALLS = (
    ("converter.files", "converter.whole_model"),
    ("converter.files", "converter.weights_only"),
    ("converter.files", "converter.formats"),
    ("converter.whole_model", "converter.weights_only"),
    ("converter.weights_only", "converter.whole_model"),
    ("converter.facts", "converter.whole_model"),
    ("converter.facts", "converter.weights_only"),
    ("converter.mapping", "converter.parity"),
    ("converter.mapping", "converter.formats"),
    ("converter.parity", "converter.weights_only"),
    ("converter.parity", "converter.formats"),
    ("resnet_pt", "converter"),
)
"""(a room, one that nothing in it imports)."""


def modules() -> dict[str, Path]:
    found = {}
    for path in [*(ROOT / "converter").rglob("*.py"), *(ROOT / "resnet_pt").rglob("*.py")]:
        if "old_keras" in path.parts:  # runs elsewhere, alone
            continue
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> set[str]:
    """Our modules that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = [f"{node.module}.{one.name}" for one in node.names]
            names = [one if one in known else node.module for one in inside]
        elif isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        found.update(name for name in names if name in known)
    return found


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    known = modules()
    return {name: imported(path, known) - {name} for name, path in known.items()}


def is_in(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


@pytest.mark.parametrize(("room", "other"), WALLS)
def test_nothing_leads_through_a_wall(room, other, graph):
    assert any(is_in(one, room) for one in graph), room
    assert any(is_in(one, other) for one in graph), other
    holes = [
        f"{one} imports {there}"
        for one, others in graph.items()
        for there in others
        if is_in(one, room) and is_in(there, other)
    ]
    assert not holes


def test_nothing_but_the_commands_knows_the_terminal(graph):
    holes = [
        f"{one} imports {there}"
        for one, others in graph.items()
        for there in others
        if is_in(there, "converter.cli") and not is_in(one, "converter.cli")
    ]
    assert not holes


def test_no_module_leads_back_to_itself(graph):
    TopologicalSorter(graph).prepare()


def test_few_modules_stand_at_the_top():
    top = [path.name for path in (ROOT / "converter").glob("*.py") if path.stem != "__init__"]
    assert len(top) <= AT_THE_TOP, top
