"""Write the generated parts of README.md: the namings that are known, the facts that can be set,
and the commands' help; and those of docs/networks.md: the layers that are understood.

`python scripts/readme.py` rewrites the files; a test fails while it would change anything.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType

from click.testing import CliRunner

from converter.cli import convert_weights
from converter.discover import modules
from converter.facts.table import TABLE
from converter.whole_model import tensorflow_nodes
from converter.whole_model.keras_layers import operators

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


def namings() -> str:
    """A row for each table in converter/weights_only/dialects/."""
    rows = ["| naming | layers | table |", "| --- | --- | --- |"]
    for module in modules("converter.weights_only.dialects"):
        file = f"converter/weights_only/dialects/{module.__name__.rpartition('.')[2]}.py"
        dialect = module.DIALECT
        rows.append(f"| {dialect.name} | `{dialect.summary}` | [{file}]({file}) |")
    return "\n".join(rows)


def facts() -> str:
    """A row for each fact that can be set."""
    rows = ["| fact | option | takes | a record tries |", "| --- | --- | --- | --- |"]
    for row in TABLE:
        option = f"`{row.flag}`"
        takes = f"`{row.metavar}`" if row.metavar else ", ".join(row.choices)
        if row.is_flag:
            option, takes = f"{option}, `--no-{row.flag[2:]}`", ""
        rows.append(f"| {row.name} | {option} | {takes} | {row.described} |")
    return "\n".join(rows)


def help_text() -> str:
    """`convert-weights --help`, as a terminal of 100 columns shows it."""
    result = CliRunner().invoke(
        convert_weights, ["--help"], prog_name="convert-weights", terminal_width=100
    )
    return f"```\n{result.output.strip()}\n```"


def layers() -> str:
    """A row for each file in converter/whole_model/keras_layers/."""
    rows = ["| layers | classes | refused |", "| --- | --- | --- |"]
    for module in modules("converter.whole_model.keras_layers"):
        known = getattr(module, "LAYERS", None)
        if known:
            what = str(module.__doc__).partition(".")[0].strip()
            refused = "; ".join(dict.fromkeys(refusals(module))) or "nothing"
            rows.append(f"| {what} | {', '.join(sorted(known))} | {refused} |")
    return "\n".join(rows)


def refusals(module: ModuleType) -> Iterator[str]:
    """What a module says of the settings that it refuses; `…` stands for what the file says."""
    for node in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            words = node.exc.args[0] if node.exc.args else None
            if getattr(node.exc.func, "id", "") == "NotLiftedError" and words is not None:
                yield from _text(words)


def _text(words: ast.expr) -> Iterator[str]:
    if isinstance(words, ast.Constant):
        yield str(words.value)
    elif isinstance(words, ast.JoinedStr):
        parts = [str(one.value) if isinstance(one, ast.Constant) else "…" for one in words.values]
        yield "".join(parts)


def of_tensors() -> str:
    """The operators on tensors that are understood."""
    both = {
        "TensorFlow": operators.TENSORFLOW,
        "TensorFlow's graph": tensorflow_nodes.KINDS,
        "Keras 3": operators.KERAS_3,
    }
    rows = ["| in | operators |", "| --- | --- |"]
    rows += [f"| {where} | {', '.join(sorted(known))} |" for where, known in both.items()]
    refused = "; ".join(dict.fromkeys(refusals(operators)))
    return "\n".join([*rows, "", f"Refused: {refused}."])


Parts = Mapping[str, Callable[[], str]]

PARTS: Parts = {"namings": namings, "facts": facts, "help": help_text}
PAGES: Mapping[Path, Parts] = {
    README: PARTS,
    ROOT / "docs" / "networks.md": {"layers": layers, "operators": of_tensors},
}


def generated(text: str, parts: Parts = PARTS) -> str:
    """`text` with what stands between `<!-- name -->` and `<!-- end -->` made anew."""
    for name, make in parts.items():
        start, _, rest = text.partition(f"<!-- {name} -->\n")
        _, _, after = rest.partition("<!-- end -->")
        text = f"{start}<!-- {name} -->\n{make()}\n<!-- end -->{after}"
    return text


if __name__ == "__main__":
    for page, parts in PAGES.items():
        page.write_text(generated(page.read_text(), parts))
