"""The published schema says what is in a report, and real reports are what it says."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from edits import edited
from helpers import RECORDED, fixture, record, weights_only
from stand_ins import original_not_asked

from converter.conversion import convert
from converter.errors import ParityError
from converter.reports import format_of, schema
from resnet_pt.architecture import Architecture

SCHEMA = schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
PATH = fixture("keras-2.2.4-tensorflow")

Report = dict[str, Any]


def reported(source, target, **options) -> Report:
    """The report of a conversion, of a refused one too, after a way through JSON."""
    try:
        report = convert(source, target, device="cpu", **options)
    except ParityError as error:
        report = error.report
    return json.loads(json.dumps(report.to_dict(), allow_nan=False))


def one_bias_nan(file):
    file["model_weights/fc1000/fc1000/bias:0"][0] = np.nan


def consistent(folder) -> Report:
    with original_not_asked(record(PATH)):
        return reported(weights_only(PATH, folder), folder / "out.pth")


CASES: dict[str, Callable[[Any], Report]] = {
    "equal": lambda folder: reported(PATH, folder / "out.pth", against=record(PATH)),
    "consistent": consistent,
    "not equal": lambda folder: reported(
        PATH, folder / "out.pth", against=record(PATH), stem="same"
    ),
    "not finite": lambda folder: reported(
        edited(PATH, folder, one_bias_nan),
        folder / "out.pth",
        against=record(PATH),
        allow=("not-finite",),
    ),
    "not compared": lambda folder: reported(PATH, folder / "out.pth", parity=False),
    "transformers": lambda folder: reported(PATH, folder / "out", to="transformers", parity=False),
    "detectron2": lambda folder: reported(PATH, folder / "out.pkl", to="detectron2", parity=False),
    "dry run": lambda folder: reported(PATH, None, dry_run=True),
    "trials": lambda folder: reported(
        weights_only(PATH, folder), folder / "out.pth", against=record(PATH)
    ),
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    return {name: make(tmp_path_factory.mktemp("case")) for name, make in CASES.items()}


def test_the_schema_is_one_whatever_formats_were_used_before():
    format_of(Path("report.json"))

    assert schema() == SCHEMA
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_report_is_what_the_schema_says(case, reports):
    assert [f"{e.json_path}: {e.message}" for e in VALIDATOR.iter_errors(reports[case])] == []


def test_the_cases_are_what_they_are_called(reports):
    for case in ("equal", "consistent", "not equal", "not compared"):
        assert reports[case]["verdict"] == case
    assert reports["trials"]["verdict"] == "equal"
    assert len(reports["trials"]["candidates"]) > 4
    assert reports["trials"]["candidates"][0]["fits"]
    assert reports["not finite"]["parity"]["logits"][0]["worst"]["relative"] is None
    assert reports["dry run"]["target"] == {"path": "", "sha256": ""}
    assert reports["not equal"]["target"]["sha256"] == ""
    assert reports["not equal"]["refusal"]["headline"]
    assert "epsilon" in reports["consistent"]["parity"]["assumed"]


@pytest.mark.slow
@pytest.mark.parametrize("path", RECORDED[::6], ids=lambda path: path.stem)
def test_reports_of_other_networks_are_what_the_schema_says(path, tmp_path):
    VALIDATOR.validate(reported(path, tmp_path / "out.pth", against=record(path)))


def test_the_architecture_in_a_report_builds_the_network(reports):
    data = reports["equal"]["architecture"]

    assert Architecture.from_dict(data).to_dict() == data


# ---- every field is described


def undescribed(value: Any, rule: Any, path: str = "$") -> Iterator[str]:
    """Paths of a report that the schema allows and does not name."""
    named = properties(rule)
    if isinstance(value, dict):
        for key, one in value.items():
            if key in named:
                yield from undescribed(one, named[key], f"{path}.{key}")
            elif "additionalProperties" not in rule and named:
                yield f"{path}.{key}"
    elif isinstance(value, list) and "items" in rule:
        for number, one in enumerate(value):
            yield from undescribed(one, rule["items"], f"{path}[{number}]")


def properties(rule: Any) -> dict[str, Any]:
    """What a rule names, in itself and in the rules that it is made of."""
    found = dict(rule.get("properties", {}))
    for one in (*rule.get("allOf", ()), *rule.get("oneOf", ())):
        found |= properties(one)
    return found


def resolved(rule: Any) -> Any:
    """A rule with what it refers to in the place of the references."""
    if isinstance(rule, dict) and "$ref" in rule:
        rest = {key: value for key, value in rule.items() if key != "$ref"}
        return {**resolved(SCHEMA["$defs"][rule["$ref"].rpartition("/")[2]]), **rest}
    if isinstance(rule, dict):
        return {key: resolved(value) for key, value in rule.items()}
    return [resolved(one) for one in rule] if isinstance(rule, list) else rule


def described() -> Any:
    """The fields of a report; those of its architecture are described by `Architecture`."""
    return {"properties": {**resolved(SCHEMA["properties"]), "architecture": {}}}


@pytest.mark.parametrize("case", CASES)
def test_every_field_is_described(case, reports):
    assert list(undescribed(reports[case], described())) == []


def test_a_field_that_is_not_described_is_found(reports):
    report = copy.deepcopy(reports["equal"])
    report["mood"] = "good"
    report["parity"]["layers"][3]["colour"] = "blue"
    report["source"]["facts"][0]["weight"] = 2

    assert sorted(undescribed(report, described())) == [
        "$.mood",
        "$.parity.layers[3].colour",
        "$.source.facts[0].weight",
    ]


# ---- the schema refuses


def required_fields() -> list[tuple[str, ...]]:
    found = [(name,) for name in SCHEMA["required"]]
    for name, entry in (
        ("source", ()),
        ("target", ()),
        ("parity", ()),
        ("fact", ("source", "facts", 0)),
        ("step", ("mapping", 0)),
        ("comparison", ("parity", "logits", 0)),
        ("difference", ("parity", "layers", 0)),
        ("pair", ("parity", "logits", 0, "pairs", 0)),
        ("candidate", ("candidates", 0)),
    ):
        rule = SCHEMA["properties"][name] if name == "target" else SCHEMA["$defs"][name]
        found += [(*(entry or (name,)), field) for field in rule["required"]]
    return found


@pytest.mark.parametrize("path", required_fields(), ids=lambda path: ".".join(map(str, path)))
def test_a_report_without_one_of_its_fields_is_refused(path, reports):
    report = copy.deepcopy(reports["trials"])
    *parents, last = path
    there = report
    for key in parents:
        there = there[key]

    del there[last]

    assert not VALIDATOR.is_valid(report)


def put(*path, to):
    def change(report):
        *parents, last = path
        for key in parents:
            report = report[key]
        report[last] = to

    return change


WRONG = {
    "another format": put("format", to=1),
    "a verdict that is none": put("verdict", to="fine"),
    "equal, but a layer is wrong": put("first_wrong_layer", to="conv1"),
    "equal, but nothing was compared": put("parity", "logits", to=[]),
    "equal, but a comparison failed": put("parity", "logits", 0, "passes", to=False),
    "not compared, but there are logits": put("verdict", to="not compared"),
    "equal, but it rests on something": put("parity", "assumed", to=["epsilon"]),
    "equal, but nobody asked the original": put("parity", "is_original", to=False),
    "equal, but to nothing": put("parity", "oracle", to=""),
    "a refusal without words": put("refusal", to={}),
    "a hash that is none": put("source", "sha256", to="abc"),
    "a negative error": put("parity", "layers", 0, "relative", to=-1e-9),
    "an error in words": put("parity", "layers", 0, "absolute", to="small"),
    "evidence that is none": put("source", "facts", 0, "evidence", to="hearsay"),
    "an own error that is a number": put("parity", "layers", 0, "own", to=1e-16),
    "a date in words": put("created", to="yesterday"),
}


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_what_cannot_be_is_refused(wrong, reports):
    report = copy.deepcopy(reports["trials"])

    WRONG[wrong](report)

    assert not VALIDATOR.is_valid(report)


CONSISTENT = {
    "a layer is wrong": put("first_wrong_layer", to="conv1"),
    "nothing was compared": put("parity", "logits", to=[]),
    "a comparison failed": put("parity", "logits", 0, "passes", to=False),
    "nothing says why the original was not asked": put("parity", "reason", to=""),
}


@pytest.mark.parametrize("wrong", CONSISTENT, ids=str)
def test_what_cannot_be_consistent_is_refused(wrong, reports):
    report = copy.deepcopy(reports["consistent"])
    assert VALIDATOR.is_valid(report)

    CONSISTENT[wrong](report)

    assert not VALIDATOR.is_valid(report)


def test_what_is_measured_besides_is_allowed(reports):
    report = copy.deepcopy(reports["equal"])
    layer = report["parity"]["layers"][0]
    layer.update(own={**layer}, noise=1e-16, own_gate=1e-12)
    report["parity"].update(noise={"float64": 1e-16}, diagnosis="its kernel is flipped")
    report["parity"]["logits"][0]["top5"] = 0.5
    report["candidates"][0]["differs"] = "conv1"

    VALIDATOR.validate(report)
