"""The page for a reviewer: complete, by itself, and safe whatever a stranger's file is called."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser
from importlib import resources

import h5py
import pytest
from edits import edited, run
from helpers import as_text, fixture, record

from converter.conversion import convert
from converter.errors import ParityError, printable
from converter.reports import html
from converter.reports._charts import LogScale, layer_chart, round_numbers, scatter

PATH = fixture("keras-2.2.4-tensorflow")
EVIL = "<img src=x onerror=alert(1)>'\"&"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    target = tmp_path_factory.mktemp("page") / "out.pth"
    return convert(PATH, target, against=record(PATH), device="cpu").to_dict()


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    target = tmp_path_factory.mktemp("page") / "out.pth"
    with pytest.raises(ParityError) as error:
        convert(PATH, target, against=record(PATH), stem="same", device="cpu")
    return error.value.report.to_dict()


class Page(HTMLParser):
    """A page as a browser would have it: its tags with their attributes, and its text."""

    def __init__(self, rendered: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(rendered.decode())

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def page(data) -> Page:
    return Page(html.render(data))


@pytest.mark.slow
def test_the_first_line_is_the_verdict(data, wrong):
    equal = "Equal: the converted network gives the logits of the record of Keras 2.2.4"
    unequal = "Not equal: the logits differ from those of the record of Keras 2.2.4 on tensorflow. "

    assert page(data).text.split("Parity report")[1].count(equal) == 2  # and in the sign-off
    assert f"{unequal}The first layer that differs is conv1." in page(wrong).text
    assert equal not in page(wrong).text


@pytest.mark.slow
def test_a_report_that_compared_nothing_says_so(tmp_path):
    report = convert(PATH, tmp_path / "out.pth", parity=False).to_dict()

    text = page(report).text

    assert "Not compared: --no-parity." in text
    assert "373 tensors were read back" in text
    assert "Equal:" not in text


def test_everything_in_the_report_is_on_the_page(data):
    text = page(data).text

    for step in data["mapping"]:
        assert step["target"] in text
        assert step["source"] is None or step["source"] in text
    for layer in data["parity"]["layers"]:
        assert layer["name"] in text
    for fact in data["source"]["facts"]:
        assert f"{fact['name']} {fact['value']} {fact['evidence']} {fact['reason']}" in text
    for name, version in data["versions"].items():
        assert f"{name} {version}" in text
    for digest in (data["source"]["sha256"], data["target"]["sha256"]):
        assert text.count(digest) == 2  # with the files, and where it is signed
    assert "Signature" in text


def test_a_fact_that_rests_on_a_default_is_marked(data):
    marked = copy.deepcopy(data)
    assert marked["source"]["facts"][0]["evidence"] != "default"
    marked["source"]["facts"][0]["evidence"] = "default"

    before, after = (
        len([a for a in page(one).named("tr") if a.get("class") == "weak"])
        for one in (data, marked)
    )

    assert before == len([one for one in data["source"]["facts"] if one["evidence"] == "default"])
    assert after == before + 1


@pytest.mark.slow
def test_a_conversion_writes_the_page_and_a_refused_one_too(tmp_path):
    for name, options, verdict in (("one", (), "Equal"), ("two", ("--stem", "same"), "Not equal")):
        path = tmp_path / f"{name}.html"
        run(
            *(PATH, tmp_path / f"{name}.pth", "--against", record(PATH), "--device", "cpu"),
            *("--report", path, *options),
        )
        assert f"{verdict}: " in Page(path.read_bytes()).text


@pytest.mark.parametrize("name", ["report.txt", "report", "report.pdf"])
def test_a_report_of_no_known_format_is_told_before_anything_is_done(name, tmp_path):
    result = run(PATH, tmp_path / "out.pth", "--no-parity", "--report", tmp_path / name)

    assert result.exit_code == 2
    assert "needs a suffix that says its format: .html, .htm, .json" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_candidates_are_shown_with_their_errors_and_the_choice(data, wrong):
    assert "Those marked “fits” reproduce the record" in page(data).text
    assert "fits, chosen" in page(data).text
    assert "None of them reproduces it" in page(wrong).text
    assert "“fits”" not in page(wrong).text
    assert "fits, chosen" not in page(wrong).text
    nearest = copy.deepcopy(wrong)
    nearest["candidates"][0]["differs"] = "bn2a_branch2a: another epsilon"
    assert "no: bn2a_branch2a: another epsilon" in page(nearest).text


def test_a_report_without_a_mapping_has_no_empty_table(data):
    """As of a target that was compared with a record alone."""
    assert "Every tensor" in page(data).text
    assert "Every tensor" not in page({**data, "mapping": []}).text


# ---- what is measured in some reports only


def barely_measured(data):
    bare = copy.deepcopy(data)
    for entry in (*bare["parity"]["layers"], *bare["parity"]["logits"], bare["parity"]):
        for key in ("own", "noise", "diagnosis", "top5"):
            entry.pop(key, None)
    return bare


def fully_measured(data):
    full = copy.deepcopy(data)
    for layer in full["parity"]["layers"]:
        layer.update(own={**layer, "relative": 2.5e-16}, noise=1.5e-16)
    full["parity"]["layers"][4]["own"] = None
    full["parity"].update(noise={"float64": 3.5e-16}, diagnosis="its kernel is flipped")
    for one in full["parity"]["logits"]:
        one["top5"] = 0.8
    return full


def test_own_errors_noise_and_faults_are_shown_where_they_are(data):
    plain, full = page(barely_measured(data)).text, page(fully_measured(data)).text

    for words in ("this layer alone", "2.5e-16", "1.5e-16", "3.5e-16", "80 %", "is flipped"):
        assert words in full
        assert words not in plain


def test_what_is_not_finite_is_said_and_drawn(data):
    broken = copy.deepcopy(data)
    broken["parity"]["layers"][0]["relative"] = None
    broken["parity"]["logits"][0]["pairs"][0]["actual"] = None

    assert "conv1: not finite cumulative" in page(broken).text


def test_differing_predictions_are_marked_side_by_side(data):
    moved = copy.deepcopy(data)
    pairs = [one for one in moved["parity"]["logits"][0]["pairs"] if one["picture"] == 0]
    best = max(pairs, key=lambda one: one["actual"])
    best["actual"] = min(one["actual"] for one in pairs) - 1

    assert not [a for a in page(data).named("tr") if a.get("class") == "wrong"]
    assert [a for a in page(moved).named("tr") if a.get("class") == "wrong"]


def test_a_network_without_classes_has_no_top5(data):
    headless = {**data, "source": {**data["source"], "classes": None}}

    assert "Top-5, side by side" in page(data).text
    assert "Top-5, side by side" not in page(headless).text
    assert "value 3: " in page(headless).text


# ---- a page by itself, and nobody else's


def test_the_page_needs_nothing_else(data):
    rendered = html.render(data).decode()
    attributes = [key for _, found in page(data).tags for key in found]

    assert not {"src", "href", "srcset", "action", "style"} & set(attributes)
    assert "://" not in rendered
    assert "@import" not in rendered
    assert "url(" not in rendered


def test_the_policy_allows_only_the_scripts_and_styles_that_it_came_with(data):
    found = page(data)
    policy = next(a["content"] for a in found.named("meta") if "http-equiv" in a)

    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    rendered = html.render(data).decode()
    for tag in ("script", "style"):
        (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", rendered, re.DOTALL)
        assert f"{tag}-src {html._hash(inside)}" in policy


def evil_layer(file):
    names = [as_text(name) for name in file.attrs["layer_names"]]
    file.move("fc1000", EVIL)
    names = [EVIL if name == "fc1000" else name for name in names]
    file.attrs.create("layer_names", names, dtype=h5py.string_dtype())


def tags_of(found: Page) -> set[tuple[str, tuple[str, ...]]]:
    return {(tag, tuple(sorted(attributes))) for tag, attributes in found.tags}


@pytest.mark.slow
def test_what_a_stranger_named_a_layer_does_nothing(data, tmp_path):
    source = edited(PATH, tmp_path, evil_layer, alone=True)
    path = tmp_path / "report.html"

    result = run(source, tmp_path / "out.pth", "--no-parity", "--report", path)

    assert result.exit_code == 0, result.output
    found = Page(path.read_bytes())
    assert EVIL in found.text
    assert tags_of(found) <= tags_of(page(data))


def with_evil_text(value, text):
    """The same report with `text` behind everything that is said in words."""
    if isinstance(value, dict):
        return {key: with_evil_text(one, text) for key, one in value.items()}
    if isinstance(value, list):
        return [with_evil_text(one, text) for one in value]
    return value + text if isinstance(value, str) else value


@pytest.mark.parametrize(
    "text", [EVIL, "</title></style></script><script>alert(1)</script>", "{{ 7 * 7 }}", "\x1b[2J"]
)
def test_no_text_of_a_report_becomes_part_of_the_page(text, data):
    evil = with_evil_text(fully_measured(data), text)
    evil["verdict"] = data["verdict"]

    found = page(evil)

    assert tags_of(found) <= tags_of(page(fully_measured(data)))
    assert len(found.named("script")) == 1
    assert found.text.count(printable(text)) > 1000


def test_a_page_that_does_not_escape_is_noticed(data, monkeypatch):
    monkeypatch.setattr(html.ENVIRONMENT, "autoescape", False)
    monkeypatch.setattr(html.ENVIRONMENT, "cache", None)
    evil = with_evil_text(data, EVIL)
    evil["verdict"] = data["verdict"]

    assert not tags_of(page(evil)) <= tags_of(page(data))


# ---- for everyone's eyes


STYLE = resources.files("converter.reports").joinpath("templates/style.css").read_text()


def colours(block: str) -> dict[str, str]:
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block))


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_known():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read(theme):
    light, dark = map(colours, STYLE.split("@media screen and (prefers-color-scheme: dark)")[:2])
    there = light if theme == "light" else dark
    assert there.keys() == light.keys()

    pairs = [
        *((ink, ground) for ink in ("ink", "dim") for ground in ("page", "wash")),
        *(("green", "green-wash"), ("red", "red-wash"), ("amber", "amber-wash")),
        *(("amber", "page"), ("red", "page")),
    ]
    assert [p for p in pairs if contrast(there[p[0]], there[p[1]]) < 4.5] == []
    marks = [("blue", "wash"), ("orange", "wash"), ("red", "wash"), ("ink", "wash")]
    assert [p for p in marks if contrast(there[p[0]], there[p[1]]) < 3] == []


def test_tables_charts_and_fields_say_what_they_are(data):
    found = page(fully_measured(data))

    assert all(attributes.get("scope") in ("row", "col") for attributes in found.named("th"))
    charts = [a for a in found.named("svg") if "aria-hidden" not in a]
    assert len(charts) == 3
    assert all(a.get("role") == "img" and a.get("aria-label") for a in charts)
    assert len(found.named("label")) == len(found.named("input"))


# ---- charts


def layers(*errors):
    return [{"name": f"layer{k}", "relative": error} for k, error in enumerate(errors)]


def test_a_larger_error_is_higher_and_ten_times_is_one_step():
    chart = layer_chart(layers(1e-9, 1e-8, 1e-6, 0.0, None), None)

    heights = [mark.y for mark in chart.marks]
    assert heights[0] - heights[1] == pytest.approx((heights[1] - heights[2]) / 2)
    assert heights[3] == chart.bottom
    assert heights[4] == chart.top
    assert [mark.x for mark in chart.marks] == sorted(mark.x for mark in chart.marks)
    assert all(chart.top < y < chart.bottom for y in heights[:3])


def test_one_layer_and_none_are_drawn_too():
    assert len(layer_chart(layers(0.0), None).marks) == 1
    assert layer_chart([], None) is None


def test_the_first_wrong_layer_is_marked_where_it_is():
    chart = layer_chart(layers(1e-9, 1e-2, 1e-2), "layer1")

    assert chart.fault.at == chart.marks[1].x
    assert layer_chart(layers(1e-9), None).fault is None


def test_the_scale_has_a_power_of_ten_at_its_place():
    scale = LogScale([1e-9, 1e-3], 100, 0)

    assert all(tick.at == pytest.approx(scale(float(tick.text))) for tick in scale.ticks())


def pairs(*values):
    return [{"index": k, "expected": e, "actual": a} for k, (e, a) in enumerate(values)]


def scatter_of(values):
    return scatter(pairs(*values), "class")


@pytest.mark.parametrize(
    "values",
    [(0, 0), (1e300, 1e300), (1e308, -1e308), (-1.7e308, -1.7e308), (1e-320, 2e-320), (1, 1e17)],
    ids=str,
)
def test_no_number_is_too_large_or_small_for_a_chart(values):
    chart = scatter_of((values,))

    if chart:
        assert chart.left <= chart.marks[0].x <= chart.right
        assert chart.bottom >= chart.marks[0].y >= chart.top
    assert layer_chart(layers(*map(abs, values)), None).marks


def test_equal_logits_lie_on_the_diagonal_and_others_do_not():
    chart = scatter_of(((-2.0, -2.0), (5.0, 5.0), (1.0, 1.5)))

    def off_diagonal(mark):
        across = (mark.x - chart.left) / (chart.right - chart.left)
        return (chart.bottom - mark.y) / (chart.bottom - chart.top) - across

    assert [off_diagonal(mark) for mark in chart.marks[:2]] == pytest.approx([0, 0])
    assert off_diagonal(chart.marks[2]) > 0.05
    assert scatter_of(((None, 1.0),)) is None
    assert len(scatter_of(((3.0, 3.0),)).marks) == 1


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-2.1, 0.9, [-2, -1, 0]), (0, 1000, [0, 200, 400, 600, 800, 1000]), (-0.01, 0.02, None)],
)
def test_ticks_are_round_and_few(low, high, expected):
    found = round_numbers(low, high)

    assert 3 <= len(found) <= 8
    assert all(low <= value <= high for value in found)
    assert expected is None or found == pytest.approx(expected)
