"""The pages in docs/: their commands run, and what they point to is there."""

from __future__ import annotations

import re
import shutil

import pytest
from helpers import FIXTURES, fixture, record
from pages import DOCS, ROOT, blocks, run, shims

PAGES = sorted(DOCS.glob("*.md"))
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


@pytest.fixture
def reader(tmp_path):
    """(folder, commands): what a reader of the tutorial has in hand."""
    work = tmp_path / "work"
    (work / "pictures").mkdir(parents=True)
    shutil.copyfile(fixture("keras-2.2.4-tensorflow"), work / "old_model.h5")
    for name in ("elephant.png", "pictures/one.png", "pictures/two.png"):
        shutil.copyfile(FIXTURES / "pictures" / "rgb.png", work / name)
    return work, shims(tmp_path / "bin")


@pytest.mark.slow
def test_the_tutorial_runs(reader):
    short = [one for one in blocks(DOCS / "tutorial.md") if one.runs and not one.is_long]

    assert len(short) >= 6
    for block in short:
        run(block, *reader)
    assert (reader[0] / "mine.pth").exists()


GIVEN = "import torch\npictures = torch.zeros(2, 3, 224, 224)\n"


@pytest.mark.slow
@pytest.mark.keras
def test_what_stands_on_the_other_pages_runs(reader):
    """The converter's own; docs/destinations.md is run with the real libraries."""
    work, commands = reader
    for name in ("model.h5", "resnet50_weights.h5"):
        shutil.copyfile(work / "old_model.h5", work / name)
    shutil.copyfile(record(fixture("keras-2.2.4-tensorflow")), work / "record.npz")
    (work / "pictures").rename(work / "photos")
    pages = (DOCS / "report.md", ROOT / "README.md", DOCS / "inference.md")
    told = [one for page in pages for one in blocks(page) if one.runs and not one.is_long]

    assert [block.page for block in told if block.language == "sh"] == ["report.md", "README.md"]
    for block in told:
        run(block, work, commands, GIVEN)
    assert (work / "report.html").exists()


@pytest.mark.slow
def test_a_command_that_fails_is_seen(reader):
    first = blocks(DOCS / "tutorial.md")[0]

    (reader[0] / "old_model.h5").unlink()
    with pytest.raises(AssertionError, match=r"tutorial\.md, block 0"):
        run(first, *reader)


@every_page
def test_every_link_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]

    assert missing == []


@every_page
def test_every_test_that_is_named_is_there(page):
    for file, name in re.findall(r"`(tests/\w+\.py)(?:::(\w+))?`", page.read_text()):
        assert (ROOT / file).exists(), file
        assert f"def {name}(" in (ROOT / file).read_text() if name else True, f"{file}::{name}"
