"""`resnet_pt.preprocess`, bit for bit against the Keras project's own functions."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import FIXTURES, converted, fixture
from PIL import Image

import resnet_pt
from resnet_pt import pictures, preprocessing
from resnet_pt.pictures import Preprocess, preprocess

SCRIPT = Path(__file__).parent.parent / "scripts" / "record_pictures.py"
FOLDER = FIXTURES / "pictures"
RECORD = FOLDER / "keras-3.15.1.npz"
PICTURES = sorted(path.name for path in FOLDER.iterdir() if path.suffix not in (".npz", ".md"))


def arrays(path):
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def recorded():
    """What Keras 3.15.1 with Pillow 12.0 gave."""
    return arrays(RECORD)


def ours(key):
    """What this project gives for a key of `scripts/record_pictures.py`, as (H, W, C)."""
    name, colours, interpolation, size, *mode = key.split("/")
    height, width = map(int, size.split("x"))
    transform = Preprocess(*(mode or ["raw"]), (height, width), interpolation, colours)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, on palettes with transparency
        return transform(FOLDER / name).numpy().transpose(1, 2, 0)


def differing(expected):
    """The keys whose arrays are not the same, to the last bit."""
    return [key for key, array in expected.items() if ours(key).tobytes() != array.tobytes()]


def test_every_picture_is_recorded_in_every_way(recorded):
    assert {key.split("/")[0] for key in recorded} == set(PICTURES)
    assert len(recorded) == len(PICTURES) * (3 * 6 + 3)


@pytest.mark.parametrize("name", PICTURES)
def test_it_gives_what_keras_recorded(name, recorded):
    assert differing({k: a for k, a in recorded.items() if k.split("/")[0] == name}) == []


@pytest.mark.slow
@pytest.mark.keras
def test_it_gives_what_keras_gives_now_at_other_sizes(tmp_path):
    command = [sys.executable, SCRIPT, FOLDER, tmp_path / "now.npz", "16x9", "33x50", "13x17"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    found = arrays(tmp_path / "now.npz")

    assert len(found) == 3 * len(PICTURES) * (3 * 6 + 3)
    assert differing(found) == []


# ---- each of these mistakes is seen


def keys(recorded, mode):
    return {key: array for key, array in recorded.items() if key.endswith(f"/{mode}")}


def scaled_otherwise(monkeypatch, mode, other):
    """Scale the pictures of a mode by a function of the pixels."""
    right = pictures.scaled
    wrong = {preprocessing.MODES[mode]: other}
    monkeypatch.setattr(
        pictures, "scaled", lambda pixels, how: wrong.get(how, lambda x: right(x, how))(pixels)
    )


def test_rgb_for_bgr_is_seen(recorded, monkeypatch):
    caffe = replace(preprocessing.MODES["caffe"], bgr=False)
    monkeypatch.setattr(pictures, "MODES", {**preprocessing.MODES, "caffe": caffe})

    assert "rgb.png/rgb/nearest/5x4/caffe" in differing(keys(recorded, "caffe"))


@pytest.mark.parametrize(
    ("mode", "change"),
    [
        ("caffe", {"mean": (123.68, 116.779, 103.939)}),
        ("caffe", {"mean": (103.939, 116.779, 123.681)}),
        ("torch", {"mean": (0.485, 0.456, 0.4061)}),
        ("torch", {"deviation": (0.225, 0.224, 0.229)}),
        ("tf", {"mean": (1.0001,)}),
        ("tf", {"divisor": 127.0}),
    ],
)
def test_another_mean_or_deviation_is_seen(mode, change, recorded, monkeypatch):
    other = replace(preprocessing.MODES[mode], **change)
    monkeypatch.setattr(pictures, "MODES", {**preprocessing.MODES, mode: other})

    assert differing(keys(recorded, mode))


MEANS = np.float32(preprocessing.MODES["torch"].mean)


@pytest.mark.parametrize(
    ("mode", "other"),
    [
        ("tf", lambda x: x * np.float32(1 / 127.5) - np.float32(1)),
        ("torch", lambda x: (x - 255 * MEANS) / np.float32(58)),
    ],
)
def test_another_order_of_operations_is_seen(mode, other, recorded, monkeypatch):
    scaled_otherwise(monkeypatch, mode, other)

    assert differing(keys(recorded, mode))


def test_the_tf_mode_of_keras_before_2_1_is_the_same(recorded, monkeypatch):
    """keras 2.0.9 had x / 255 - 0.5, times 2: twice the half of each number, to the last bit."""
    older = lambda x: (x / np.float32(255) - np.float32(0.5)) * np.float32(2)  # noqa: E731
    scaled_otherwise(monkeypatch, "tf", older)

    assert differing(keys(recorded, "tf")) == []


@pytest.mark.parametrize("other", ["bilinear", "bicubic", "hamming", "box", "lanczos"])
def test_another_interpolation_is_seen(other, recorded):
    nearest = recorded["rgb.png/rgb/nearest/5x4"]

    assert ours(f"rgb.png/rgb/{other}/5x4").tobytes() != nearest.tobytes()


def test_orientation_in_exif_is_ignored_as_keras_does():
    with Image.open(FOLDER / "turned_by_exif.png") as turned:
        assert turned.getexif()[0x0112] == 6
    assert Preprocess("raw")(FOLDER / "turned_by_exif.png").shape == (3, 10, 14)


# ---- as a transform


def test_it_is_a_transform_for_a_data_loader(tmp_path):
    class Folder(torch.utils.data.Dataset):
        transform = Preprocess("caffe", (8, 6))

        def __len__(self):
            return 3

        def __getitem__(self, index):
            return self.transform(FOLDER / "rgb.png")

    batch = next(iter(torch.utils.data.DataLoader(Folder(), batch_size=3)))

    assert batch.shape == (3, 3, 8, 6)
    assert batch.dtype == torch.float32
    assert batch[0].is_contiguous()
    assert pickle.loads(pickle.dumps(Folder.transform)) == Folder.transform


def test_a_picture_in_memory_is_as_good_as_its_path():
    transform = Preprocess("torch", (9, 9), "bicubic")

    with Image.open(FOLDER / "rgb.png") as image:
        assert torch.equal(transform(image), transform(str(FOLDER / "rgb.png")))


def test_the_picture_that_is_given_stays_as_it_was():
    with Image.open(FOLDER / "rgb.png") as image:
        before = image.tobytes()

        Preprocess("caffe")(image)

        assert image.tobytes() == before


@pytest.mark.slow
def test_the_architecture_says_mode_size_and_channels():
    network, _ = converted(fixture("keras-2.2.4-tensorflow"), preprocess="tf")
    found = resnet_pt.preprocess(replace(network.architecture, input_size=(48, 40)))

    assert found == Preprocess("tf", (48, 40), "nearest", "rgb")
    grey = network.architecture.stem.conv.replace(in_channels=1)
    stem = replace(network.architecture.stem, conv=grey)
    found = preprocess(replace(network.architecture, stem=stem), size=(8, 8))
    assert found.color_mode == "grayscale"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda a: preprocess(a, size=(8, 8)), "does not say what its project did"),
        (lambda a: preprocess(a, mode="tf"), "does not say how large its pictures are"),
        (lambda a: Preprocess("inception"), "known are caffe, tf, torch, unit, raw"),
        (lambda a: Preprocess("tf", (8, 8), "cubic"), "known are nearest, bilinear"),
        (lambda a: Preprocess("tf", (0, 8)), "at least 1"),
        (lambda a: Preprocess("caffe", color_mode="grayscale"), "a grey picture has one"),
    ],
)
def test_what_is_not_known_is_not_guessed(make, message):
    with pytest.raises(ValueError, match=message):
        make(resnet_pt.resnet())


@pytest.mark.parametrize("content", [b"", b"no picture", (FOLDER / "rgb.png").read_bytes()[:200]])
def test_what_is_no_picture_is_an_os_error(content, tmp_path):
    (tmp_path / "picture.png").write_bytes(content)

    with pytest.raises(OSError, match=r"image|picture|truncated"):
        Preprocess("raw")(tmp_path / "picture.png")
