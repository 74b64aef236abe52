"""Write docs/support.md: every fixture, the verdict that it had, and against what.

    python scripts/support.py

The outcomes are those of tests/test_fixtures.py, run here; who wrote a file is what
fixtures/README.md says. A test fails while a fixture is missing from the table.
"""

from __future__ import annotations

import datetime
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "support.md"
ORIGINS = ROOT / "fixtures" / "README.md"
WHOLE = "test_gives_the_logits_and_layers_that_its_keras_recorded"
ALONE = "test_weights_alone_give_the_same"

TEXT = """# What was converted, and gave the same

Each file was written by the package named beside it, and converted against a record of what that
package's own Keras computed from it: logits within 1e-5 of the largest, in float64 and float32.
The verdict is the one that this conversion had, with what it was compared with; where the file had
been read wrongly and only the record put it right, the facts stand behind it. 'Weights alone' are
the same file less its configuration: without a record their verdict is `consistent` at best
([verification.md](verification.md#what-a-verdict-means)). Made by `python scripts/support.py` on
{day}, from {count} outcomes of `tests/test_fixtures.py`.

| file | written by | what it is | as it is | weights alone |
| --- | --- | --- | --- | --- |
"""


def outcomes() -> dict[tuple[str, str], str]:
    """{(test, fixture): the verdict, or 'failed'} of a run of the fixtures' tests."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-n", "auto", "tests/test_fixtures.py"]
        report = ["-o", "junit_family=xunit1", f"--junitxml={path}"]
        subprocess.run([*command, *report], cwd=ROOT, check=False)
        cases = ET.parse(path).iter("testcase")
        return {_key(case.attrib["name"]): _outcome(case) for case in cases}


def _key(name: str) -> tuple[str, str]:
    test, _, fixture = name.partition("[")
    return test, fixture.rstrip("]")


def _outcome(case: ET.Element) -> str:
    wrong = case.find("failure") is not None or case.find("error") is not None
    said = [one.attrib["value"] for one in case.iter("property") if one.attrib["name"] == "verdict"]
    return "failed" if wrong else "".join(said)


def origins() -> dict[str, tuple[str, str]]:
    """{fixture: (writer, what it is)}, from the tables of fixtures/README.md."""
    found = {}
    for line in ORIGINS.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 5 and cells[0] not in ("name", "---"):
            found[cells[0]] = (cells[1], cells[-1])
    return found


def table(results: dict[tuple[str, str], str]) -> str:
    """The page."""
    written = origins()
    files = sorted(fixture for test, fixture in results if test == WHOLE)
    lines = []
    for file in files:
        name = next(name for name in sorted(written, key=len, reverse=True) if _is_of(file, name))
        alone = results.get((ALONE, file.removesuffix(".h5")), "")
        writer, what = written[name]
        lines.append(f"| {file} | {writer} | {what} | {results[WHOLE, file]} | {alone} |")
    text = TEXT.format(day=datetime.date.today().isoformat(), count=len(results))
    return text + "\n".join(lines) + "\n"


def _is_of(file: str, name: str) -> bool:
    return file == name or file.startswith(f"{name}.")


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(table(outcomes()))
