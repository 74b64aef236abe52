"""Write the generated parts of README.md: the namings that are known, the facts that can be set,
and the commands' help.

`python scripts/readme.py` rewrites the file; a test fails while it would change anything.
"""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from converter.cli import convert_weights
from converter.discover import modules
from converter.facts.table import TABLE

README = Path(__file__).parent.parent / "README.md"


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


PARTS = {"namings": namings, "facts": facts, "help": help_text}


def generated(text: str) -> str:
    """`text` with what stands between `<!-- name -->` and `<!-- end -->` made anew."""
    for name, make in PARTS.items():
        start, _, rest = text.partition(f"<!-- {name} -->\n")
        _, _, after = rest.partition("<!-- end -->")
        text = f"{start}<!-- {name} -->\n{make()}\n<!-- end -->{after}"
    return text


if __name__ == "__main__":
    README.write_text(generated(README.read_text()))
