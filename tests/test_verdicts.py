"""What was compared with nothing but our own reading of a file is called equal nowhere."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner, Result
from edits import run
from helpers import arrays_of, converted, copy, fixture, opened, record, weights_only
from stand_ins import original_not_asked
from test_report_page import Page

import resnet_pt
from converter import verification
from converter.cli import verify_weights
from converter.cli.text import dataset_lines, outcome_line, parity_lines, totals_line
from converter.conversion import convert, how_to_ask
from converter.dataset.results import PictureResult, summarise
from converter.dataset.run import Original
from converter.errors import ParityError
from converter.facts.fact import OUTSIDE, Evidence, Fact
from converter.folder import Outcome
from converter.options import Options
from converter.parity.comparing.verdict import VERDICTS, sentence
from converter.parity.original.oracle import KerasChild
from converter.parity.original.recording import read_record
from converter.parity.prove import Parity, prove_logits
from converter.reports import html
from converter.testing import assert_same_logits
from resnet_pt.files import Description, load_described

OLD = fixture("keras-1.1.2-theano-tf")
"""Its epsilon is 1e-5, the default of its Keras; its weights alone do not say so, and 1e-3 is
assumed: what they predict is 60 % off."""

WHOLE = fixture("keras-2.2.4-tensorflow")
ALONE = "the file holds weights only"


def is_called_equal(text: str) -> bool:
    return bool(re.search(r"\bequal\b", text.replace("not proven equal", "").lower()))


def verify(*arguments: object) -> Result:
    return CliRunner().invoke(verify_weights, [str(argument) for argument in arguments])


# ---- a wrong default, by every way out


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> Mapping[str, str]:
    """`{where: what is said}` of weights alone whose epsilon is assumed, and assumed wrongly."""
    folder = tmp_path_factory.mktemp("wrong")
    source, target = weights_only(OLD, folder), folder / "out.pth"
    report, page, again = (folder / name for name in ("one.json", "page.html", "again.json"))
    device = ("--device", "cpu")

    single = run(source, target, *device, "--report", report)
    verified = verify(target, "--against", source, *device, "--report", again)
    folders = run(source.parent, folder / "outs", *device)
    required = run(source, folder / "required.pth", *device, "--require-parity", "--report", page)

    assert [one.exit_code for one in (single, verified, folders)] == [0, 0, 0]
    with pytest.raises(AssertionError) as refusal:
        assert_same_logits(resnet_pt.load(target), record(OLD))
    return {
        "terminal": single.stderr,
        "json": report.read_text(),
        "page": Page(html.render(json.loads(report.read_text()))).text,
        "verified": verified.stderr,
        "verified, json": again.read_text(),
        "folder": folders.stderr,
        "required": required.stderr,
        "required, written": ", ".join(one.name for one in folder.glob("required*")),
        "required, page": Page(page.read_bytes()).text,
        "tested": str(refusal.value),
    }


@pytest.mark.slow
@pytest.mark.keras
def test_a_wrong_default_is_called_equal_nowhere(told):
    assert [where for where, text in told.items() if is_called_equal(text)] == []


@pytest.mark.keras
def test_what_it_rests_on_is_in_the_sentence(told):
    rests = "consistent: rests on network, epsilon, "
    for where in ("terminal", "verified", "folder", "page"):
        assert rests in told[where].replace("Consistent", "consistent"), where
        assert f"the original was not asked: {ALONE}" in told[where], where
    assert "preprocessing" not in told["terminal"].partition(rests)[2].splitlines()[0]
    for where in ("json", "verified, json"):
        report = json.loads(told[where])
        assert report["verdict"] == "consistent"
        assert "epsilon" in report["parity"]["assumed"]
        assert report["parity"]["reason"] == ALONE
    assert "is proven by its tensors; its logits are consistent" in told["verified"]
    assert told["folder"].splitlines()[-1] == "1 file: 1 consistent"
    assert "the network does not give the logits of record of Keras 1.1.2" in told["tested"]


@pytest.mark.keras
def test_it_is_not_enough_where_equal_is_required(told):
    said = f"consistent, and not proven equal: the original was not asked: {ALONE}"

    assert told["required, written"] == ""
    assert f"Error: the logits are {said}\n  rests on network, epsilon" in told["required"]
    for hint in ("--against RECORD.npz takes it", "--keras-python PATH", "--build or --config"):
        assert hint in told["required"]
    assert "the whole model" not in told["required"]  # of Keras 1: no Keras here would load it
    assert said in told["required, page"]
    assert "not written" in told["required, page"]


# ---- whether the original was asked


@pytest.fixture
def recording():
    return read_record(record(WHOLE))


def proven(source, recording, **options) -> Parity:
    """The proof of a file against a recording."""
    network, tensors = converted(source, **options)
    settings = Options(device="cpu", **options)
    with opened(source) as (checkpoint, _):
        return prove_logits(checkpoint, network, tensors, settings, print, recording, KerasChild())


def test_the_recording_says_whether_the_original_was_asked(recording, tmp_path):
    source = weights_only(WHOLE, tmp_path)
    own = replace(recording, is_original=False, meta={"kind": "logits", "reason": ALONE})

    asked, not_asked = proven(source, recording), proven(source, own)

    assert (asked.verdict, asked.assumed) == ("equal", ())
    assert not_asked.verdict == "consistent"
    assert {"epsilon", "stride", "activation"} <= set(not_asked.assumed)
    assert asked.comparisons == not_asked.comparisons


def test_a_difference_is_no_less_where_the_original_was_not_asked(recording):
    parity = proven(WHOLE, replace(recording, is_original=False), stem="same")

    assert (parity.verdict, parity.assumed) == ("not equal", ())


def test_what_is_done_to_pictures_is_no_part_of_the_network():
    told = [Fact(name, "", Evidence.DEFAULT, "") for name in ("epsilon", *OUTSIDE)]

    assert [fact.name for fact in told if fact.is_assumed] == ["epsilon"]
    assert not replace(told[0], evidence=Evidence.SHAPES).is_assumed


def test_what_would_ask_the_original_is_only_what_can(tmp_path):
    """No hint may lead to another refusal."""
    for source, loadable in ((weights_only(WHOLE, tmp_path), True), (WHOLE, False)):
        with opened(source) as (checkpoint, network):
            hints = " ".join(how_to_ask(checkpoint, network))
            theano = " ".join(how_to_ask(checkpoint, replace(network, theano=True)))
        assert ("--config model.json" in hints) == loadable
        assert ("with --build" in hints) == loadable
        assert "--config model.json" not in theano


# ---- in words


def test_each_verdict_has_its_sentence():
    said = {
        verdict: sentence(verdict, "Keras itself", "why", ["pool", "network"])
        for verdict in VERDICTS
    }

    assert said == {
        "equal": "equal to Keras itself (why)",
        "consistent": "consistent: rests on pool, network; the original was not asked: why",
        "not equal": "not equal to Keras itself (why)",
        "not compared": "not compared: why",
    }
    assert sentence("consistent", "", "why", []) == (
        "consistent: nothing is assumed; the original was not asked: why"
    )
    assert sentence("equal", "Keras itself", "", []) == "equal to Keras itself"


def test_the_totals_of_a_folder_tell_them_apart():
    verdicts = ["refused", "consistent", "equal", "not equal", "consistent", "not compared"]

    assert totals_line(verdicts) == (
        "6 files: 1 equal, 2 consistent, 1 not equal, 1 not compared, 1 refused"
    )


def test_a_file_that_differs_is_counted_as_that(tmp_path):
    path = copy(WHOLE, tmp_path)
    with pytest.raises(ParityError) as error:
        convert(path, tmp_path / "x.pth", against=record(WHOLE), stem="same", device="cpu")

    assert Outcome(path, tmp_path / "x.pth", error=error.value).verdict == "not equal"
    assert Outcome(path, tmp_path / "x.pth", error=ParityError("broken off")).verdict == "refused"


def test_predictions_say_whose_they_were_compared_with():
    found = summarise("logits", ["a.png"], [PictureResult(0, 0.0, 0.0, 0.0, 1, 1, True)], {})
    asked = [
        replace(found, oracle=one.oracle, is_original=one.is_original)
        for one in (
            Original(WHOLE, is_record=True),
            Original(WHOLE, is_record=False, python="python2", recorder=Path("record_keras.py")),
            Original(WHOLE, is_record=False),
        )
    ]

    said = [dataset_lines(one) for one in asked]

    assert [lines[0] for lines in said] == [
        "pictures  1 compared with a record",
        "pictures  1 compared with Keras, run by python2",
        "pictures  1 compared with the bundled Keras definition, built from the same reading; the "
        "original was not asked",
    ]
    assert ["original" in lines[3] for lines in said] == [True, True, False]


# ---- the file that is written


def test_the_file_records_which_facts_are_assumed(tmp_path):
    source = weights_only(WHOLE, tmp_path)

    report = convert(source, tmp_path / "out.pth", parity=False)

    facts = load_described(tmp_path / "out.pth")[1]["facts"]
    assert [one["name"] for one in facts if one["assumed"]] == list(report.network.assumed)
    assert "preprocessing" in [one["name"] for one in facts if one["evidence"] == "default"]


def test_a_file_that_does_not_say_it_is_read():
    """As an older version wrote it."""
    told = {"facts": [{"name": "pool", "value": "none", "evidence": "default"}]}

    assert not msgspec.convert(told, Description).facts[0].assumed


# ---- a proof that failed


@pytest.fixture(scope="module")
def failed(tmp_path_factory) -> ParityError:
    """Against a record that holds a few of the layers."""
    folder = tmp_path_factory.mktemp("failed")
    arrays = arrays_of(record(WHOLE))
    some = {name: arrays[name] for name in arrays if not name.startswith("layer/")}
    some |= {name: arrays[name] for name in arrays if name.startswith("layer/res5")}
    np.savez(folder / "some.npz", **some)
    with pytest.raises(ParityError) as error:
        convert(*(WHOLE, folder / "out.pth"), against=folder / "some.npz", bn_eps=0.1, device="cpu")
    return error.value


def test_its_page_says_what_the_terminal_says(failed):
    report = failed.report
    data = report.to_dict()
    text = Page(html.render(data)).text

    assert report.parity.doubt.startswith("or it is before it, in ")
    assert failed.findings[0].startswith("the first layer that is known to differ is ")
    for line in (failed.headline, *failed.findings):
        assert " ".join(line.split()) in text
    wrong = data["first_wrong_layer"]
    assert f"The first layer that is known to differ is {wrong}; {report.parity.doubt}." in text
    assert f"The first that is known to differ is {wrong}." in text
    assert "first that differs" not in text
    assert data["refusal"]["findings"] == list(failed.findings)
    assert data["parity"]["doubt"] == report.parity.doubt


def test_its_page_has_no_hash_of_what_was_not_written(failed):
    data = failed.report.to_dict()

    assert data["target"]["sha256"] == ""
    assert data["target"]["path"].endswith("out.pth")
    assert "out.pth not written" in Page(html.render(data)).text


def test_a_layer_that_was_not_judged_alone_has_no_own_error(failed):
    layers = {one["name"]: one["own"] for one in failed.report.to_dict()["parity"]["layers"]}
    doubted = [one.name for one in failed.report.parity.layers if not one.is_alone]

    assert doubted
    assert all(layers[name] is None for name in doubted)


def test_a_network_that_is_another_is_not_said_to_give_other_logits(tmp_path):
    convert(WHOLE, tmp_path / "out.pth", parity=False)
    with pytest.raises(ParityError) as error:
        verification.verify(tmp_path / "out.pth", WHOLE, stem="same", parity=False)

    text = Page(html.render(error.value.report.to_dict())).text
    assert f"Not equal: {error.value.headline}." in text
    assert "the logits differ" not in text
    assert error.value.findings[0] in text


def test_the_page_lists_what_is_assumed_twice(tmp_path):
    """Under the verdict, and where it is signed."""
    source = weights_only(WHOLE, tmp_path)

    with original_not_asked(record(WHOLE)):
        report = convert(source, tmp_path / "out.pth", device="cpu")

    page = Page(html.render(report.to_dict()))
    epsilon = next(fact for fact in report.facts if fact.name == "epsilon")
    assert report.verdict == "consistent"
    assert "verdict consistent" in [one.get("class") for one in page.named("h1")]
    assert page.text.count(f"epsilon {epsilon.value}: {epsilon.reason}") == 2
    assert page.text.count("Consistent: rests on network, epsilon") == 2
    assert not is_called_equal(page.text)
    assert "  they are those of our own definition, built" in "\n".join(parity_lines(report.parity))
    line = outcome_line(Outcome(source, tmp_path / "out.pth", report))
    assert line.endswith(f"{report.parity}")
