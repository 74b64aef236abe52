"""Write docs/reference.md from the code: the commands' help, and what Python can import.

`python scripts/reference.py` rewrites the page; a test fails while it would change anything.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
from click.testing import CliRunner

import converter
import converter.errors
import converter.options
import converter.testing
import resnet_pt
from converter import cli

PAGE = Path(__file__).parent.parent / "docs" / "reference.md"

START = """# Reference

Generated from the code by `python scripts/reference.py`. What a file may hold is in
[support.md](support.md); the report's fields are in [report.md](report.md).
"""

COMMANDS = (cli.convert_weights, cli.inspect_weights, cli.verify_weights, cli.predict)


def page() -> str:
    parts = [START, "## Commands", *map(command, COMMANDS)]
    parts += ["## `converter`", "Importing it needs neither torch nor Keras.", *public(converter)]
    parts += [entry("converter.options.Options", converter.options.Options)]
    parts += [entry("converter.testing.assert_same_logits", converter.testing.assert_same_logits)]
    parts += ["### `converter.errors`", f"```\n{inspect.getdoc(converter.errors)}\n```"]
    parts += ["## `resnet_pt`", *public(resnet_pt)]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def command(one: click.Command) -> str:
    """`--help`, as a terminal of 100 columns shows it."""
    name = str(one.name)
    result = CliRunner().invoke(one, ["--help"], prog_name=name, terminal_width=100)
    return f"### `{name}`\n\n```\n{result.output.strip()}\n```"


def public(module: ModuleType) -> Iterator[str]:
    """What a module says that it exports, in that order."""
    for name in module.__all__:
        yield entry(f"{module.__name__}.{name}", getattr(module, name))


def entry(name: str, one: Any) -> str:
    """A name with its signature, its docstring, and the public names of a class."""
    lines = [f"### `{name}`", "", "```python", signature(name, one), "```", ""]
    lines += [inspect.getdoc(one) or ""]
    if inspect.isclass(one):
        lines += ["", *members(one)]
    return "\n".join(lines)


def signature(name: str, one: Any) -> str:
    """One parameter on each line, where there are many; of an exception, what it is one of."""
    if inspect.isclass(one) and issubclass(one, Exception):
        return f"class {one.__name__}({one.__bases__[0].__name__})"
    found = inspect.signature(one)
    parts = [parameter(value) for value in found.parameters.values()]
    kinds = [value.kind for value in found.parameters.values()]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        parts.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    short = name.rpartition(".")[2]
    returns = found.return_annotation
    arrow = "" if inspect.isclass(one) or returns is found.empty else f" -> {returns}"
    if len(", ".join(parts)) < 60:
        return f"{short}({', '.join(parts)}){arrow}"
    return f"{short}(\n" + "".join(f"    {part},\n" for part in parts) + f"){arrow}"


def parameter(one: inspect.Parameter) -> str:
    """`name: type = default`; a default that is a function, or made anew each time, is left out."""
    stars = {one.VAR_KEYWORD: "**", one.VAR_POSITIONAL: "*"}.get(one.kind, "")
    text = f"{stars}{one.name}: {one.annotation}"
    if one.default is one.empty:
        return text
    plain = isinstance(one.default, str | int | float | tuple | None)
    return f"{text} = {one.default!r}" if plain else f"{text} = …"


def members(one: type) -> Iterator[str]:
    """A class's own public properties and methods, by the first paragraph of their docstrings; a
    dataclass's fields are its parameters."""
    fields = {field.name for field in dataclasses.fields(one)} if is_dataclass(one) else set()
    for name, member in vars(one).items():
        text = getattr(member, "__doc__", None)
        if not name.startswith("_") and name not in fields and text and is_code(member):
            paragraph = inspect.cleandoc(text).partition("\n\n")[0]
            yield f"- `{name}`: {paragraph}"


def is_dataclass(one: type) -> bool:
    return dataclasses.is_dataclass(one)


def is_code(member: Any) -> bool:
    return callable(member) or isinstance(member, property | classmethod | staticmethod)


if __name__ == "__main__":
    PAGE.write_text(page())
