"""Records: what is in one, and what is refused before it is compared with anything."""

from __future__ import annotations

import json

import numpy as np
import pytest
from edits import assert_refused, run
from helpers import fixture, record

from converter.conversion import convert
from converter.parity.recording import read_record

PATH = fixture("keras-2.2.4-tensorflow")


def changed(folder, change):
    """The record of the fixture after `change` of its arrays."""
    with np.load(record(PATH)) as file:
        arrays = {name: file[name] for name in file.files}
    change(arrays)
    path = folder / "record.npz"
    np.savez(path, **arrays)
    return path


def with_meta(**values):
    def change(arrays):
        meta = {**json.loads(str(arrays["meta"])), **values}
        arrays["meta"] = np.array(json.dumps(meta))

    return change


def ending(arrays, end):
    return [name for name in arrays if name.endswith(end)]


def test_a_record_says_what_made_it_and_what_came_out():
    found = read_record(record(PATH))
    with np.load(record(PATH)) as file:
        logits, picture = file["logits"], file["input"]

    assert found.oracle == "record of Keras 2.2.4 on tensorflow"
    assert np.array_equal(found.passes[0].input, picture)
    assert np.array_equal(found.passes[0].logits[""], logits)
    assert found.passes[0].dtype == "float32"


def test_a_whole_activation_and_a_sample_of_it_are_read_alike(tmp_path):
    whole = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    index = np.array([3, 17])
    path = changed(
        tmp_path,
        lambda arrays: arrays.update(
            {
                "layer/whole": whole,
                "layer/sampled/index": index,
                "layer/sampled/value": whole.ravel()[index],
            }
        ),
    )

    layers = read_record(path).passes[0].layers

    assert np.array_equal(layers["whole"].value[index], layers["sampled"].value)


def test_a_record_without_meta_is_a_record(tmp_path):
    path = changed(tmp_path, lambda arrays: arrays.pop("meta"))

    report = convert(PATH, tmp_path / "out.pth", against=path, device="cpu")

    assert report.verdict == "equal"


def test_a_record_of_softmax_outputs_alone_is_not_taken_for_logits(tmp_path):
    """`output` is what the model returned; `logits` are there 'where they exist'."""
    path = changed(tmp_path, lambda arrays: arrays.pop("logits"))

    report = convert(PATH, tmp_path / "out.pth", against=path, device="cpu")

    assert report.verdict in {"equal", "not compared"}


def test_a_record_of_another_file_is_used_with_a_warning(tmp_path):
    path = changed(tmp_path, with_meta(sha256="0" * 64))

    result = run(PATH, tmp_path / "out.pth", "--against", path, "--device", "cpu")

    assert result.exit_code == 0, result.output
    assert "sha256" in result.stderr


BROKEN = {
    "meta that is no JSON": lambda a: a.update(meta=np.array("nope")),
    "meta that is a list": lambda a: a.update(meta=np.array("[1]")),
    "a dtype that is not compared": with_meta(dtype="float16"),
    "values without their places": lambda a: [a.pop(name) for name in ending(a, "/index")],
    "places before the first element": lambda a: a.update(
        {name: a[name] - 10**9 for name in ending(a, "/index")}
    ),
    "places that are no whole numbers": lambda a: a.update(
        {name: a[name].astype("f4") for name in ending(a, "/index")}
    ),
    "places behind the last element": lambda a: a.update(
        {name: a[name] + 10**9 for name in ending(a, "/index")}
    ),
    "fewer values than places": lambda a: a.update(
        {name: a[name][:-1] for name in ending(a, "/value")}
    ),
    "an input that is no batch of pictures": lambda a: a.update(input=a["input"][0]),
    "an input of other channels": lambda a: a.update(input=a["input"][..., :1]),
    "no picture in the batch": lambda a: a.update(input=a["input"][:0], logits=a["logits"][:0]),
    "logits that are text": lambda a: a.update(logits=np.array(["a", "b"])),
}


@pytest.mark.parametrize("fault", BROKEN, ids=str)
def test_a_broken_record_is_refused_as_one(fault, tmp_path):
    path = changed(tmp_path, BROKEN[fault])

    result = run(PATH, tmp_path / "out.pth", "--against", path, "--device", "cpu")

    assert_refused(result, 3, tmp_path / "out.pth")
    assert "record" in result.stderr
