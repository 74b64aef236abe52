"""`predict`: what a converted network sees in pictures is what Keras saw."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from helpers import FIXTURES, fixture
from PIL import Image

import resnet_pt
from converter.cli import predict
from converter.conversion import convert
from resnet_pt.architecture import Dense, Flatten, GlobalPool, Layer, Output
from resnet_pt.labels import Label, imagenet, read_labels
from resnet_pt.network import ResNet
from resnet_pt.predict import find_pictures, last

PICTURES = FIXTURES / "pictures"
SOURCE = fixture("keras-2.2.4-tensorflow")
SIZE = ("--size", 64)


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    path = tmp_path_factory.mktemp("target") / "out.pth"
    convert(SOURCE, path, parity=False, preprocess="caffe")
    return path


def run(*arguments):
    return CliRunner().invoke(predict, [str(argument) for argument in arguments])


def answers(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def save(path, **changes):
    """A small network with another head, as a file."""
    torch.manual_seed(0)
    model = ResNet(replace(resnet_pt.resnet((1, 1), classes=1, width=4), **changes)).eval()
    torch.save(model.state_dict(), path)
    return path


def head(activation, *names, classes=1):
    """A pool and a Dense layer for each of `names`, one of them an output each."""
    dense = [Layer(name, Dense(32, classes), ("pool",)) for name in names]
    return {
        "head": (Layer("pool", GlobalPool("avg"), ("",)), *dense),
        "outputs": tuple(Output(name, name, activation) for name in names),
        "preprocessing": "tf",
        "input_size": (32, 32),
    }


# ---- against Keras

KERAS = """
import sys, numpy as np, keras
from keras.src.applications.imagenet_utils import preprocess_input
source, target, interpolation, *pictures = sys.argv[1:]
model = keras.models.load_model(source, compile=False)
images = [keras.utils.load_img(p, target_size=(224, 224), interpolation=interpolation)
          for p in pictures]
batch = np.stack([keras.utils.img_to_array(image) for image in images])
np.save(target, model.predict(preprocess_input(batch, mode="caffe"), verbose=0))
"""


@pytest.fixture(scope="module", params=["nearest", "bicubic"])
def seen_by_keras(request, tmp_path_factory):
    """(interpolation, pictures, the probabilities that Keras gives)."""
    folder = tmp_path_factory.mktemp("keras")
    pictures = [PICTURES / name for name in ("rgb.png", "grey_alpha.png", "cmyk.jpg")]
    arguments = [SOURCE, folder / "found.npy", request.param, *pictures]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-W", "ignore", "-c", KERAS, *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return request.param, pictures, np.load(folder / "found.npy")


def probabilities(found):
    """(pictures, classes) of a `--json --top 10`."""
    rows = [
        sorted(one["outputs"]["fc1000"], key=lambda row: row["index"]) for one in found["pictures"]
    ]
    return np.array([[score["value"] for score in row] for row in rows], np.float32)


@pytest.mark.keras
def test_it_gives_the_probabilities_of_keras(target, seen_by_keras):
    interpolation, pictures, expected = seen_by_keras
    found = answers(target, *pictures, "--top", 10, "--interpolation", interpolation)

    np.testing.assert_allclose(probabilities(found), expected, atol=1e-5)


@pytest.mark.keras
@pytest.mark.parametrize(
    "mistake", [("--preprocess", "tf"), ("--preprocess", "raw"), ("--interpolation", "lanczos")]
)
def test_another_preprocessing_would_be_seen(mistake, target, seen_by_keras):
    _, pictures, expected = seen_by_keras
    found = answers(target, *pictures, "--top", 10, *mistake)

    assert abs(probabilities(found) - expected).max() > 1e-3


# ---- the command


def test_a_table_for_people(target):
    result = run(target, PICTURES / "rgb.png", "--top", 2, *SIZE)

    assert result.exit_code == 0
    header, first, second = result.stdout.splitlines()
    assert header.split() == ["picture", "class", "value"]
    assert float(first.split()[-1]) >= float(second.split()[-1])
    told = [line.split() for line in result.stderr.splitlines()]
    assert ["preprocess", "caffe", "TARGET", "(set", "by", "the", "user)"] in told
    assert ["size", "64x64,", "nearest", "--size"] in told


def test_a_folder_is_read_in_order_whatever_the_batch(target):
    one = answers(target, PICTURES, "--batch", 1, *SIZE)
    many = answers(target, PICTURES, "--batch", 5, *SIZE)

    names = [os.path.basename(picture["path"]) for picture in one["pictures"]]
    assert names == sorted(p.name for p in PICTURES.iterdir() if p.suffix not in (".md", ".npz"))
    for a, b in zip(one["pictures"], many["pictures"], strict=True):
        values = [[row["value"] for row in x["outputs"]["fc1000"]] for x in (a, b)]
        np.testing.assert_allclose(*values, atol=1e-5)


def test_a_folder_is_searched_below_and_other_files_are_left(tmp_path):
    (tmp_path / "cats").mkdir()
    for name in ("b.png", "cats/a.JPEG", "notes.txt"):
        (tmp_path / name).touch()

    found = find_pictures([tmp_path, tmp_path / "named.txt"])

    assert [str(p.relative_to(tmp_path)) for p in found] == ["b.png", "cats/a.JPEG", "named.txt"]


def test_beside_pictures_no_folder_film_or_document_is_taken_for_one(tmp_path):
    (tmp_path / "folder.png").mkdir()
    for name in ("a.png", "catalogue.pdf", "film.mpg", "old_model.h5"):
        (tmp_path / name).touch()

    assert find_pictures([tmp_path]) == [tmp_path / "a.png"]


def test_a_folder_that_cannot_be_listed_is_named_and_stops_nothing(target, tmp_path, monkeypatch):
    (tmp_path / "closed").mkdir()
    Image.new("RGB", (9, 9), "red").save(tmp_path / "a.png")
    scandir = os.scandir

    def closed(path):
        if os.fspath(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    result = run(target, tmp_path, "--json", *SIZE)

    pictures = json.loads(result.stdout)["pictures"]
    assert result.exit_code == 3
    assert [os.path.basename(one["path"]) for one in pictures] == ["a.png", "closed"]
    assert f"Error: {tmp_path / 'closed'} is not read: " in result.stderr


def test_one_that_may_not_be_read_stops_nothing_either(target, tmp_path, monkeypatch):
    """The command line does not refuse them all before the first is opened."""
    Image.new("RGB", (9, 9), "red").save(tmp_path / "a.png")
    monkeypatch.setattr(os, "access", lambda *given, **options: False)

    assert run(target, tmp_path / "a.png", *SIZE).exit_code == 0


def test_a_picture_that_cannot_be_read_is_named_and_stops_nothing(target, tmp_path):
    (tmp_path / "b.png").write_bytes(b"no picture")
    (tmp_path / "c.png").write_bytes((PICTURES / "rgb.png").read_bytes()[:300])
    for name in ("a.png", "d.png"):
        Image.new("RGB", (9, 9), "red").save(tmp_path / name)

    result = run(target, tmp_path, tmp_path / "missing.png", "--json", *SIZE)

    pictures = json.loads(result.stdout)["pictures"]
    assert result.exit_code == 3
    assert ["outputs" in one for one in pictures] == [True, False, False, True, False]
    for name in ("b.png", "c.png", "missing.png"):
        assert f"Error: {tmp_path / name} is not read: " in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((PICTURES / "README.md", PICTURES), 3, "neither a .pth nor a .safetensors"),
        ((SOURCE, PICTURES), 3, "predict takes a file that convert-weights wrote"),
        (("missing.pth", PICTURES), 3, "missing.pth cannot be read: No such file"),
        (("TARGET",), 2, "Missing argument"),
        (("TARGET", "EMPTY"), 3, "no pictures in"),
        (("TARGET", PICTURES, "--size", "0"), 2, "at least 1"),
        (("TARGET", PICTURES, "--size", "bigger"), 2, "neither N nor HxW"),
        (("TARGET", PICTURES, "--labels", PICTURES / "README.md"), 2, "labels for the 10 classes"),
        (("TARGET", PICTURES, "--labels", "none.txt"), 2, "--labels none.txt cannot be read"),
    ],
)
def test_refusals(arguments, code, message, target, tmp_path):
    places = {"TARGET": target, "EMPTY": tmp_path}
    result = run(*(places.get(one, one) for one in arguments))

    assert result.exit_code == code
    assert message in result.stderr
    assert result.stdout == ""


@pytest.mark.slow
def test_what_the_file_does_not_say_has_to_be_said(tmp_path, monkeypatch):
    monkeypatch.setattr("converter.identify.naming_of", lambda *given: None)  # names of its own
    convert(SOURCE, tmp_path / "out.pth", parity=False)
    result = run(tmp_path / "out.pth", PICTURES, *SIZE)

    assert result.exit_code == 2
    assert "does not say what its project did to its pictures" in result.stderr
    assert "--preprocess sets the mode" in result.stderr


def test_a_size_that_the_network_cannot_read_is_refused(tmp_path):
    layers = (
        Layer("flat", Flatten("hwc"), ("",)),
        Layer("fc", Dense(32 * 16, 3), ("flat",)),
    )
    outputs = (Output("fc", "fc", "softmax"),)
    path = save(tmp_path / "flat.pth", head=layers, outputs=outputs, preprocessing="tf")

    assert run(path, PICTURES, "--size", 32).exit_code == 0
    result = run(path, PICTURES, "--size", 48)
    assert result.exit_code == 2
    assert "the network cannot read pictures of 48x48" in result.stderr


def test_channels_that_no_picture_has_are_refused(tmp_path):
    stem = resnet_pt.resnet((1, 1), classes=1, width=4).stem
    five = replace(stem, conv=stem.conv.replace(in_channels=5))
    path = save(tmp_path / "five.pth", stem=five, **head("softmax", "fc", classes=2))
    result = run(path, PICTURES)

    assert result.exit_code == 5
    assert result.stderr == "Error: no picture has 5 channels\n"


def test_without_classes_it_is_told_in_numbers(tmp_path):
    pool = Layer("pool", GlobalPool("avg"), ("",))
    outputs = (Output("pool", "pool"),)
    path = save(tmp_path / "f.pth", head=(pool,), outputs=outputs, preprocessing="tf")
    result = run(path, PICTURES / "rgb.png")
    labels = run(path, PICTURES / "rgb.png", "--labels", PICTURES / "README.md")

    assert result.exit_code == 0
    assert result.stdout.split()[:5] == ["input", "shape", "smallest", "largest", "mean"]
    assert (labels.exit_code, labels.stdout) == (2, "")
    assert "the network has no classes" in labels.stderr


def test_every_output_has_its_own_answers(tmp_path):
    path = save(tmp_path / "two.pth", **head("sigmoid", "colour", "shape", classes=4))
    found = answers(path, PICTURES / "rgb.png", "--top", 3)

    assert {name: len(rows) for name, rows in found["pictures"][0]["outputs"].items()} == {
        "colour": 3,
        "shape": 3,
    }
    assert found["activations"] == {"colour": "sigmoid", "shape": "sigmoid"}
    assert "shape" in run(path, PICTURES / "rgb.png").stdout


def test_one_sigmoid_says_both_of_two_classes(tmp_path):
    path = save(tmp_path / "binary.pth", **head("sigmoid", "is_dog"))
    (tmp_path / "classes.json").write_text('{"cat": 0, "dog": 1}')
    alone = answers(path, PICTURES / "rgb.png")
    both = answers(path, PICTURES / "rgb.png", "--labels", tmp_path / "classes.json")

    (only,) = alone["pictures"][0]["outputs"]["is_dog"]
    values = {r["label"]: r["value"] for r in both["pictures"][0]["outputs"]["is_dog"]}
    assert values["dog"] == only["value"]
    assert values["cat"] == pytest.approx(1 - only["value"])


def test_the_last_activation_is_the_files():
    logits = torch.tensor([[1.0, 3.0]])

    assert torch.equal(last(logits, "softmax"), logits.softmax(1))
    assert torch.equal(last(logits, "sigmoid"), logits.sigmoid())
    assert torch.equal(last(logits, "linear"), logits)


def test_help_needs_no_torch():
    code = """
import sys
from converter.cli import predict
try:
    predict(["--help"], standalone_mode=False)
finally:
    assert not {"torch", "PIL", "numpy"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# ---- labels


def test_imagenets_classes():
    labels = imagenet()

    assert len(labels) == len({label.synset for label in labels}) == 1000
    assert [label.synset for label in labels] == sorted(label.synset for label in labels)
    assert labels[0] == Label("tench", "n01440764")
    assert labels[285] == Label("Egyptian_cat", "n02124075")
    assert labels[386] == Label("African_elephant", "n02504458")
    assert labels[999] == Label("toilet_tissue", "n15075141")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.txt", "cat\nwild dog\n\n"),
        ("l.txt", "\ufeffcat\r\nwild dog"),
        ("l.json", '["cat", "wild dog"]'),
        ("l.json", '{"1": "wild dog", "0": "cat"}'),
        ("l.json", '{"wild dog": 1, "cat": 0}'),
        ("l.json", '{"0": ["", "cat"], "1": ["", "wild dog"]}'),
    ],
)
def test_labels_as_projects_keep_them(name, content, tmp_path):
    (tmp_path / name).write_text(content, encoding="utf-8")

    assert read_labels(tmp_path / name) == (Label("cat"), Label("wild dog"))


@pytest.mark.parametrize("content", ['{"1": "a", "2": "b"}', "[1, 2]", "7", "{", '{"a": "b"}'])
def test_what_is_no_table_of_labels_is_a_value_error(content, tmp_path):
    (tmp_path / "l.json").write_text(content)

    with pytest.raises(ValueError, match=r"numbered|label|Expecting|invalid"):
        read_labels(tmp_path / "l.json")


def test_a_network_of_1000_classes_has_imagenets_names(tmp_path):
    architecture = head("softmax", "fc", classes=1000)
    path = save(tmp_path / "thousand.pth", **architecture)
    result = run(path, PICTURES / "rgb.png")

    best = result.stdout.splitlines()[1].split()[-2]
    assert best in {label.name for label in imagenet()}
    assert "ImageNet's, as there are 1000" in result.stderr


def test_a_label_of_100_kb_is_shown_short(tmp_path):
    path = save(tmp_path / "out.pth", **head("softmax", "fc", classes=2))
    labels = tmp_path / "labels.txt"
    labels.write_text("a" * 100_000 + "\nb\n")

    result = run(path, PICTURES / "rgb.png", "--labels", labels)

    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) < 500
