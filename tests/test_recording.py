"""Records: what is in one, and what is refused before it is compared with anything."""

from __future__ import annotations

import json

import numpy as np
import pytest
from edits import assert_refused, run
from helpers import arrays_of, converted, fixture, record
from stand_ins import whole_recording

from converter import verify
from converter.conversion import convert
from converter.errors import ConvertError, ParityError, SourceError
from converter.parity.original.old_keras.record_keras import generated, recipe
from converter.parity.original.recording import read_record

PATH = fixture("keras-2.2.4-tensorflow")


def changed(folder, change):
    """The record of the fixture after `change` of its arrays."""
    arrays = arrays_of(record(PATH))
    change(arrays)
    path = folder / "record.npz"
    np.savez(path, **arrays)
    return path


def with_meta(**values):
    def change(arrays):
        meta = {**json.loads(str(arrays["meta"])), **values}
        arrays["meta"] = np.array(json.dumps(meta))

    return change


def put(name, value):
    return lambda arrays: arrays.update({name: value})


def ending(arrays, end):
    return [name for name in arrays if name.endswith(end)]


def test_a_record_says_what_made_it_and_what_came_out():
    found = read_record(record(PATH))
    with np.load(record(PATH)) as file:
        logits = file["logits"]

    assert found.oracle == "record of Keras 2.2.4 on tensorflow"
    assert np.array_equal(found.passes[0].input, arrays_of(record(PATH))["input"])
    assert np.array_equal(found.passes[0].logits[""], logits)
    assert found.passes[0].dtype == "float32"


def seeded(pictures, **values):
    """A change that keeps how the input is made in the place of the input."""

    def change(arrays):
        del arrays["input"]
        with_meta(generated_input={**recipe(pictures), **values})(arrays)

    return change


@pytest.mark.parametrize("count", [1, 2])  # noise, and a smooth picture behind it
def test_an_input_kept_as_its_seed_is_made_again_to_the_last_bit(count, tmp_path):
    pictures = generated(count, 96, 112, 3)

    def change(arrays):
        for name in ("output", "logits"):
            arrays[name] = np.repeat(arrays[name], count, axis=0)
        seeded(pictures)(arrays)

    found = read_record(changed(tmp_path, change)).passes[0].input

    assert found.dtype == np.float32
    assert found.tobytes() == pictures.tobytes()
    assert np.array_equal(found, np.round(found))


PICTURE = np.zeros((1, 8, 8, 3), "f4")  # which no seed makes
MISMADE = {
    "another sha256": (seeded(PICTURE), "has another sha256 than what was recorded"),
    "an unknown generator": (seeded(PICTURE, generator="photos"), "known are noise-and-waves"),
    "a generator that is a list": (seeded(PICTURE, generator=[]), "known are noise-and-waves"),
    "a seed below zero": (seeded(PICTURE, seed=-1), "has the seed -1"),
    "a seed that is no whole number": (seeded(PICTURE, seed=True), "has the seed True"),
    "a picture without a channel": (seeded(PICTURE, shape=[1, 8, 8, 0]), "has the shape"),
    "no four lengths": (seeded(PICTURE, shape=[8, 8, 3]), "has the shape"),
    "pictures that fill the memory": (seeded(PICTURE, shape=[999, 999, 999, 9]), "would be 35,89"),
    "something more": (seeded(PICTURE, more=1), "is not generator, seed, shape and sha256"),
    "an input too": (with_meta(generated_input=recipe(PICTURE)), "which ran?"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", MISMADE)
def test_an_input_that_cannot_be_made_again_is_refused(case, tmp_path):
    change, words = MISMADE[case]

    result = run(PATH, tmp_path / "out.pth", "--against", changed(tmp_path, change))

    assert_refused(result, 3, tmp_path / "out.pth")
    assert words in result.stderr


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


@pytest.mark.slow
def test_a_record_without_meta_is_a_record(tmp_path):
    path = changed(tmp_path, lambda arrays: arrays.pop("meta"))

    report = convert(PATH, tmp_path / "out.pth", against=path, device="cpu")

    assert report.verdict == "equal"


@pytest.mark.slow
def test_a_record_of_softmax_outputs_alone_is_not_taken_for_logits(tmp_path):
    """`output` is what the model returned; `logits` are there 'where they exist'."""
    path = changed(tmp_path, lambda arrays: arrays.pop("logits"))

    report = convert(PATH, tmp_path / "out.pth", against=path, device="cpu")

    assert report.verdict in {"equal", "not compared"}


@pytest.mark.slow
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
    "places without their values": lambda a: [a.pop(name) for name in ending(a, "/value")[:1]],
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


@pytest.mark.slow
@pytest.mark.parametrize("fault", BROKEN, ids=str)
def test_a_broken_record_is_refused_as_one(fault, tmp_path):
    path = changed(tmp_path, BROKEN[fault])

    result = run(PATH, tmp_path / "out.pth", "--against", path, "--device", "cpu")

    assert_refused(result, 3, tmp_path / "out.pth")
    assert "record" in result.stderr


def whole_record(folder, change=lambda arrays: None, name="keras-2.2.4-tensorflow"):
    """A record with every layer whole, as --whole makes it, of another fixture perhaps."""
    one = whole_recording(*converted(fixture(name)), "float32").passes[0]
    arrays = {"input": one.input.astype("f4"), "logits": one.logits[""].astype("f4")}
    arrays.update({f"layer/{n}": s.value.reshape(s.shape) for n, s in one.layers.items()})
    change(arrays)
    np.savez(folder / "whole.npz", **arrays)
    return folder / "whole.npz"


SHAPES = {
    "channels": lambda v: np.concatenate([v, v], -1),
    "size": lambda v: v[:, :1] if v.ndim == 4 else v,
    "vector": lambda v: v.mean((1, 2)) if v.ndim == 4 else v[:, :3],
    "flat": lambda v: v.reshape(1, -1)[:, :-1],
    "order": lambda v: np.moveaxis(v, -1, 1),
}


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    path = tmp_path_factory.mktemp("converted") / "out.pth"
    convert(PATH, path, parity=False)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("how", SHAPES)
@pytest.mark.parametrize("which", ["layer/", "layer/res3b_branch2b"], ids=["all", "one"])
def test_layers_of_other_shapes_are_a_refusal_and_no_traceback(how, which, target, tmp_path):
    def change(arrays):
        arrays["logits"] = arrays["logits"] * np.float32(2)
        for name in [name for name in arrays if name.startswith(which)]:
            arrays[name] = SHAPES[how](arrays[name])

    against = whole_record(tmp_path, change)

    with pytest.raises(ConvertError) as error:
        verify(target, against, device="cpu")
    assert error.value.exit_code in (1, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["keras-2.3.1-v2-50", "keras-2.3.1-qubvel-18"])
def test_a_whole_record_of_another_network_is_a_refusal(name, target, tmp_path):
    with pytest.raises(ParityError, match="does not give the logits"):
        verify(target, whole_record(tmp_path, name=name), device="cpu")


CANNOT_BE = {
    "NaN in a layer": (put("layer/conv1", np.full((1, 2, 2, 3), np.nan, "f4")), "holds NaN"),
    "NaN in the logits": (put("logits", np.full((1, 10), np.nan, "f4")), "holds NaN"),
    "an infinite input": (put("input", np.full((1, 64, 64, 3), np.inf, "f4")), "holds NaN or inf"),
    "no pictures": (put("input", np.zeros((0, 64, 64, 3), "f4")), "not pictures"),
    "no samples": (
        [put("layer/a/index", np.zeros(0, "i8")), put("layer/a/value", np.zeros(0, "f4"))],
        "has",
    ),
    "logits unlike the output": (put("logits", np.zeros((1, 9), "f4")), "`logits`"),
    "two outputs more": (
        [put("output/a", np.zeros((1, 9), "f4")), put("output/b", np.zeros((1, 9), "f4"))],
        "outputs are '', 'a', 'b'",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CANNOT_BE)
def test_a_record_that_cannot_be_is_refused(case, tmp_path):
    changes, words = CANNOT_BE[case]

    def change(arrays):
        for one in changes if isinstance(changes, list) else [changes]:
            one(arrays)

    result = run(PATH, tmp_path / "out.pth", "--against", changed(tmp_path, change))

    assert_refused(result, 3, tmp_path / "out.pth")
    assert words in result.stderr


@pytest.mark.slow
def test_a_record_that_is_cut_off_is_called_a_record(target, tmp_path):
    data = record(PATH).read_bytes()
    (tmp_path / "cut.npz").write_bytes(data[: len(data) // 2])

    with pytest.raises(SourceError, match=r"cut\.npz is not a record"):
        verify(target, tmp_path / "cut.npz")


def test_of_two_outputs_the_one_without_logits_is_compared_as_it_came_out(tmp_path):
    """Logits of one, the map of another: neither goes unseen."""
    scores, maps = np.zeros((1, 10), "f4"), np.zeros((1, 2, 2, 3), "f4")

    def change(arrays):
        del arrays["output"], arrays["logits"]
        arrays.update({"output/a": scores, "logits/a": scores, "output/b": maps})

    found = read_record(changed(tmp_path, change))

    assert found.passes[0].logits.keys() == {"a", "b"}
    assert found.hidden == {"b"}
    assert found.passes[0].outputs.keys() == {"a"}


@pytest.mark.slow
def test_a_record_of_zeros_is_not_equal_and_no_warning(tmp_path):
    path = changed(tmp_path, lambda arrays: arrays.update(logits=np.zeros_like(arrays["logits"])))

    with pytest.raises(ParityError):
        convert(PATH, tmp_path / "out.pth", against=path, device="cpu")
