"""What a project did to its pictures, and what its classes are called, in every place."""

from __future__ import annotations

import json
import sys
from typing import get_args

import numpy as np
import pytest
from click.testing import CliRunner
from helpers import FIXTURES, fixture

import resnet_pt
from converter.cli import convert_weights, predict
from converter.conversion import convert
from converter.errors import SourceError, UsageError
from converter.formats.destinations import detectron2, mmpretrain, transformers
from converter.options import Options
from converter.parity.original.keras_python import SCRIPT
from converter.parity.original.recording import read_record
from converter.weights_only import keras_hub
from resnet_pt import preprocessing
from resnet_pt.files import load_described
from resnet_pt.pictures import Preprocess, scaled
from resnet_pt.preprocessing import MODES, Mode

PICTURES = FIXTURES / "pictures"
SOURCE = fixture("keras-2.2.4-tensorflow")
RECORD = SOURCE.with_suffix(".npz")
PIXELS = np.random.default_rng(3).integers(0, 256, (5, 4, 3)).astype("float32")
each_mode = pytest.mark.parametrize("mode", MODES)


def test_the_modes_are_those_of_the_type():
    assert tuple(MODES) == get_args(Mode)


def test_a_unit_is_the_number_over_255_to_the_last_bit():
    expected = PIXELS / np.float32(255)

    np.testing.assert_array_equal(scaled(PIXELS.copy(), MODES["unit"]), expected)
    grey = Preprocess("unit", (8, 8), color_mode="grayscale")(PICTURES / "rgb.png")
    assert grey.shape == (1, 8, 8)
    assert 0 <= grey.min() < grey.max() <= 1


@each_mode
def test_the_script_that_makes_records_has_the_same_table(mode, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    monkeypatch.delitem(sys.modules, "record_keras", raising=False)
    import record_keras

    expected = scaled(PIXELS.copy(), MODES[mode])
    np.testing.assert_allclose(record_keras.preprocess(PIXELS.copy(), mode), expected, atol=1e-6)
    assert record_keras.parse(["m.h5", "r.npz", "--preprocess", mode]).preprocess == mode


@each_mode
def test_destinations_scale_as_the_project_did(mode):
    expected = scaled(PIXELS.copy(), MODES[mode])
    is_bgr = MODES[mode].bgr

    order, mean, deviation = detectron2.SCALING[mode]
    read = PIXELS[..., ::-1] if order == "BGR" else PIXELS
    np.testing.assert_allclose((read - mean) / deviation, expected, rtol=1e-5, atol=1e-5)

    openmm = mmpretrain.SCALING[mode]
    read = PIXELS if openmm["to_rgb"] else PIXELS[..., ::-1]
    np.testing.assert_allclose(
        (read - openmm["mean"]) / openmm["std"], expected, rtol=1e-5, atol=1e-5
    )

    processor = transformers.SCALING[mode]
    numbers = PIXELS * processor["rescale_factor"] if processor["do_rescale"] else PIXELS
    if processor["do_normalize"]:
        numbers = (numbers - processor["image_mean"]) / processor["image_std"]
    in_order = numbers[..., ::-1] if is_bgr else numbers  # its first convolution is turned round
    np.testing.assert_allclose(in_order, expected, rtol=1e-5, atol=1e-5)

    if not is_bgr:
        scale, offset = keras_hub.MODES[mode]
        np.testing.assert_allclose(PIXELS * scale + offset, expected, rtol=1e-5, atol=1e-5)


def test_the_numbers_of_a_mode_stand_in_one_table(monkeypatch):
    """Another mean would reach every destination: none has numbers of its own."""
    assert detectron2.MODES is mmpretrain.MODES is transformers.MODES is preprocessing.MODES
    assert keras_hub.preprocessing.MODES is preprocessing.MODES


@pytest.mark.slow
def test_a_unit_is_set_recorded_and_applied(tmp_path):
    path = tmp_path / "out.pth"
    convert(SOURCE, path, parity=False, preprocess="unit")

    assert resnet_pt.load(path).architecture.preprocessing == "unit"
    found = seen(path)
    assert found["preprocess"] == "unit"
    assert found["pictures"] != seen(path, "--preprocess", "raw")["pictures"]
    processor = transformers.processor(resnet_pt.load(path).architecture)
    assert (processor["do_rescale"], processor["do_normalize"]) == (True, False)


def test_a_mode_that_is_none_is_a_usage_error_from_python_too():
    with pytest.raises(UsageError, match="--preprocess zscore: known are caffe, tf, torch, unit"):
        Options(preprocess="zscore")


def ran(path, *arguments):
    given = [path, PICTURES / "rgb.png", "--size", 64, *arguments]
    return CliRunner().invoke(predict, [str(one) for one in given])


def seen(path, *arguments):
    result = ran(path, *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


# ---- what only a naming says is warned of, and what ends that


@pytest.mark.slow
def test_a_default_of_the_naming_is_warned_of_in_one_line(tmp_path):
    path = tmp_path / "out.pth"
    convert(SOURCE, path, parity=False)

    lines = [line for line in ran(path).stderr.splitlines() if line.startswith("warning")]

    assert lines == [
        "warning   'caffe' is what the code of this naming does to pictures, and may not be what "
        "this project did: --preprocess caffe, or another mode, says it"
    ]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["caffe", "unit"])
def test_the_option_that_the_warning_names_ends_it(mode, tmp_path):
    default, said = tmp_path / "default.pth", tmp_path / "said.pth"
    convert(SOURCE, default, parity=False)
    convert(SOURCE, said, parity=False, preprocess=mode)

    for result in (ran(default, "--preprocess", mode), ran(said)):
        assert result.exit_code == 0
        assert "warning" not in result.stderr


# ---- a record settles it


def record(path, **meta):
    """The fixture's record, with something else in its meta."""
    with np.load(RECORD) as file:
        arrays = {name: file[name] for name in file.files}
    said = {**json.loads(str(arrays["meta"])), **meta}
    np.savez(path, **{**arrays, "meta": np.array(json.dumps(said))})
    return path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("meta", "mode"),
    [
        ({"preprocess": "unit"}, "unit"),
        ({"preprocess": "raw"}, "raw"),
        ({"options": {"preprocess": "tf", "images": "photos"}}, "tf"),
        ({"options": {"preprocess": "raw", "images": "photos"}}, "raw"),
        ({"options": {"preprocess": "torch", "images": None}}, "torch"),
    ],
)
def test_a_record_settles_what_was_done_to_pictures(meta, mode, tmp_path):
    path = tmp_path / "out.pth"
    report = convert(SOURCE, path, against=record(tmp_path / "r.npz", **meta), device="cpu")

    (fact,) = [fact for fact in report.network.facts if fact.name == "preprocessing"]
    assert (fact.value, str(fact.evidence)) == (mode, "record")
    assert "warning" not in ran(path).stderr
    assert seen(path)["preprocess"] == mode


@pytest.mark.parametrize("meta", [{}, {"options": {"preprocess": "raw", "images": None}}])
def test_a_record_of_generated_pictures_says_nothing_of_them(meta, tmp_path):
    found = read_record(record(tmp_path / "r.npz", **meta))

    assert found.preprocess is None


@pytest.mark.slow
def test_an_option_beats_the_record(tmp_path):
    told = record(tmp_path / "r.npz", preprocess="unit")
    report = convert(SOURCE, tmp_path / "out.pth", against=told, preprocess="torch", device="cpu")

    (fact,) = [fact for fact in report.network.facts if fact.name == "preprocessing"]
    assert (fact.value, str(fact.evidence)) == ("torch", "set by the user")


@pytest.mark.parametrize("mode", ["zscore", 3, ["caffe"]])
def test_a_record_with_a_mode_that_is_none_is_refused(mode, tmp_path):
    with pytest.raises(SourceError, match=r"`meta` has a preprocess .*: known are caffe, tf"):
        read_record(record(tmp_path / "r.npz", preprocess=mode))


# ---- names of classes, in our own layout too


def labels(folder, count=10, name="labels.txt"):
    path = folder / name
    names = [f"class {number}" for number in range(count)]
    path.write_text(json.dumps(names) if name.endswith(".json") else "\n".join(names))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", ["labels.txt", "labels.json"])
def test_the_names_of_classes_go_into_our_own_layout(suffix, name, tmp_path):
    path = tmp_path / f"out{suffix}"
    given = [SOURCE, path, "--no-parity", "--labels", labels(tmp_path, name=name)]

    result = CliRunner().invoke(convert_weights, [str(one) for one in given])

    assert result.exit_code == 0, result.stderr
    assert load_described(path)[1]["labels"] == [f"class {number}" for number in range(10)]
    (picture,) = seen(path)["pictures"]
    (scores,) = picture["outputs"].values()
    assert all(score["label"] == f"class {score['index']}" for score in scores)
    facts = [line.split() for line in ran(path).stderr.splitlines()]
    assert ["labels", "10", "TARGET"] in facts


def test_names_that_are_not_as_many_as_the_classes_are_refused(tmp_path):
    given = labels(tmp_path, 3)

    with pytest.raises(UsageError, match="--labels: 3 labels for the 10 classes of 'fc1000'"):
        convert(SOURCE, tmp_path / "out.pth", parity=False, labels=given)
    assert [one.name for one in tmp_path.iterdir()] == ["labels.txt"]


def test_a_network_without_classes_has_no_names_for_them(tmp_path):
    with pytest.raises(UsageError, match="the network has no classes: it gives features"):
        convert(
            fixture("mask-rcnn"),
            tmp_path / "out.pth",
            parity=False,
            labels=labels(tmp_path),
        )
