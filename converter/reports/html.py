"""A report for people: one page that needs nothing else, to read, to print and to sign.

Everything in a report may come from a stranger's file: the template engine escapes all of it, and
the page's own policy lets no script run but the one that it came with.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import jinja2

from converter.errors import SHOWN, printable, shortened
from converter.parity.comparing.verdict import first_that_differs, sentence
from converter.reports._charts import error_text, layer_chart, scatter

SUFFIXES = (".html", ".htm")

Entry = Mapping[str, Any]


def render(data: Mapping[str, Any]) -> bytes:
    """UTF-8, self-contained."""
    style, script = _template("style.css"), _template("script.js")
    classes = data["source"].get("classes")  # a general network has none that are known
    page = ENVIRONMENT.get_template("page.html.jinja").render(
        report=data,
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'",
        verdict=verdict(data),
        best=best_figure(data),
        refusal=refusal(data),
        assumptions=assumptions(data),
        differs=first_that_differs(data["parity"]["doubt"]).removeprefix("the first layer that "),
        layers=layer_chart(data["parity"]["layers"], data["first_wrong_layer"]),
        groups=groups(data["parity"]["logits"], "class" if classes else "value"),
        top5=top5(data["parity"]["logits"]) if classes else [],
        names=NAMES,
        noise=data["parity"].get("noise"),
        diagnosis=data["parity"].get("diagnosis"),
        coverage=coverage(data["parity"]),
        measured={key for one in _entries(data) for key, value in one.items() if value is not None},
    )
    return page.encode("utf-8", "replace")  # a name that is no text still has its place


def _entries(data: Entry) -> list[Entry]:
    """Every comparison and every layer: a column of the page is shown if one has it."""
    return [*data["parity"]["logits"], *data["parity"]["layers"]]


def _shown(value: object) -> object:
    """What goes into the page: control characters as escapes, as on the terminal."""
    return printable(value) if type(value) is str else value


def _template(name: str) -> str:
    """A file of templates/ as it is. Its text is ours, and marked so where it is put in."""
    loader = ENVIRONMENT.loader
    assert loader
    return loader.get_source(ENVIRONMENT, name)[0]


def _hash(text: str) -> str:
    """How a content security policy names an inline script or style."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


ENVIRONMENT = jinja2.Environment(
    loader=jinja2.PackageLoader("converter.reports"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    finalize=_shown,
    trim_blocks=True,
    lstrip_blocks=True,
)
ENVIRONMENT.filters["error"] = error_text
ENVIRONMENT.filters["shape"] = lambda shape: "×".join(map(str, shape)) or "scalar"

NAMES = {
    "noise floor": "noise floor: rounding alone",
    "cumulative": "cumulative: as the network runs",
    "own": "own: this layer alone",
}
"""What the series of the layers' chart are."""


def verdict(data: Entry) -> str:
    """The outcome in one line."""
    parity = data["parity"]
    original = parity["oracle"].replace("record of", "the record of", 1)
    if data["verdict"] == "equal":
        return f"Equal: the converted network gives the logits of {original}."
    if data["verdict"] == "not equal":
        return f"Not equal: {_what_differs(data, original)}.{_where(data)}"
    return f"{_capital(sentence(data['verdict'], original, parity['reason'], parity['assumed']))}."


def _what_differs(data: Entry, original: str) -> str:
    counted = [one for one in data["parity"]["logits"] if one["counts"]]
    if not counted and data["refusal"]:  # another network, or other tensors: nothing was run
        return str(data["refusal"]["headline"])
    if counted and all(one["passes"] for one in counted):
        return f"the logits are those of {original}, the network is not"
    return f"the logits differ from those of {original}"


def _where(data: Entry) -> str:
    """The first wrong layer, and what is not known of it."""
    wrong, doubt = data["first_wrong_layer"], data["parity"]["doubt"]
    beside = f"; {doubt}" if doubt else ""
    return f" {_capital(first_that_differs(doubt))} is {wrong}{beside}." if wrong else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def assumptions(data: Entry) -> list[Entry]:
    """The facts that a consistent verdict rests on."""
    return [one for one in data["source"]["facts"] if one["name"] in data["parity"]["assumed"]]


def refusal(data: Entry) -> list[str]:
    """Why the proof failed, as the terminal says it, less what the page says elsewhere."""
    if not data["refusal"]:
        return []
    said = data["parity"]["notes"]
    found = [one for one in data["refusal"]["findings"] if one not in said]
    return [data["refusal"]["headline"], *found]


def coverage(parity: Entry) -> list[str]:
    """What the verdict does not rest on, in words; nothing for a report of an older version."""
    judged, found = parity.get("judged"), []
    if judged and judged["not_alone"]:
        found.append(
            f"{judged['alone']} of {judged['running']} layers were judged alone; what the other "
            f"{judged['not_alone']} read is not held whole, only samples or nothing."
        )
    if judged and judged["not_at_all"]:
        found.append(f"Not judged by themselves: {some(judged['not_at_all'])}.")
    if judged and judged["unnamed"]:
        found.append(f"Layers of the record that no module stands for: {some(judged['unnamed'])}.")
    ties = parity.get("not_told_apart", ())
    return found + [f"Not told apart by this record: {tie}." for tie in ties]


def some(names: Sequence[str]) -> str:
    """The first few of many names."""
    more = [f"… {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return ", ".join([*(shortened(name) for name in names[:SHOWN]), *more])


def best_figure(data: Entry) -> Entry | None:
    """The worst comparison of the sharpest dtype: what the verdict's line is followed by."""
    counted = [one for one in data["parity"]["logits"] if one["counts"]]
    if not counted:
        return None
    sharpest = max(one["gate_dtype"] for one in counted)
    worst: Entry = max((one for one in counted if one["gate_dtype"] == sharpest), key=_badness)
    return worst


def _badness(comparison: Entry) -> float:
    relative = comparison["worst"]["relative"]
    return float("inf") if relative is None else float(relative)


def groups(comparisons: Sequence[Entry], unit: str) -> list[dict[str, Any]]:
    """A scatter of logits for each device and dtype."""
    found: dict[tuple[str, str], list[Entry]] = {}
    for one in comparisons:
        found.setdefault((one["device"], one["dtype"]), []).extend(one.get("pairs", ()))
    charts = [
        {"device": device, "dtype": dtype, "count": len(pairs), "chart": scatter(pairs, unit)}
        for (device, dtype), pairs in found.items()
    ]
    return [one for one in charts if one["chart"]]


LARGEST = 5


def top5(comparisons: Sequence[Entry]) -> list[dict[str, Any]]:
    """The five largest logits of each picture, side by side, as the first device and dtype gave
    them; pictures of a network with fewer than two logits have none."""
    found = []
    for one in comparisons:
        if (one["device"], one["dtype"]) != (comparisons[0]["device"], comparisons[0]["dtype"]):
            continue
        pairs = one.get("pairs", ())
        for picture in sorted({pair["picture"] for pair in pairs}):
            mine = [pair for pair in pairs if pair["picture"] == picture and _is_finite(pair)]
            rows = list(zip(_largest(mine, "expected"), _largest(mine, "actual"), strict=True))
            if len(rows) > 1:
                found.append({"shape": one["shape"], "picture": picture, "rows": rows})
    return found


def _is_finite(pair: Entry) -> bool:
    return pair["expected"] is not None and pair["actual"] is not None


def _largest(pairs: Sequence[Entry], key: str) -> list[Entry]:
    return sorted(pairs, key=lambda pair: (-pair[key], pair["index"]))[:LARGEST]
