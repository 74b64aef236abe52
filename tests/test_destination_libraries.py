"""`--to`, proven with the real libraries. Needs the extra `destinations`, and is deselected by
default: `scripts/test_destinations` runs it."""

from __future__ import annotations

import os
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from helpers import FIXTURES, converted, fixture
from networks import random_tensors, weights_file
from pages import DOCS, blocks, run, shims

import resnet_pt
from converter.cli import convert_weights
from converter.conversion import convert
from converter.discover import names
from converter.formats import delivery
from resnet_pt import resnet

pytestmark = [pytest.mark.destinations, pytest.mark.filterwarnings("default")]
"""Warnings are the libraries' own."""

ROOT = Path(__file__).parent.parent
KERAS = {"stride_on": "1x1", "bias": True, "eps": 1e-3, "momentum": 0.01}
NARROW = fixture("keras-2.2.4-tensorflow")


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A whole ResNet-50, weights only."""
    architecture = resnet((3, 4, 6, 3), 1000, **KERAS)
    path = tmp_path_factory.mktemp("full") / "resnet50.h5"
    return weights_file(path, architecture, random_tensors(architecture))


def proven(report, library):
    """Whether the real library ran what was written and gave the same; shown with `-rP`."""
    found = [one for one in report.delivery.comparisons if one.device.startswith(library)]
    for one in found:
        print(f"{one.device} {one.shape}: {one.worst.relative:.1e} of the largest logit")
    return bool(found) and all(one.worst.relative < 1e-5 for one in found)


@pytest.mark.parametrize("name", ["torchvision", "timm", "transformers", "mmpretrain"])
def test_the_lists_of_keys_are_those_of_the_installed_library(name):
    script = runpy.run_path(str(ROOT / "scripts" / "library_keys.py"))

    assert script["lines"](script[name]()) == (ROOT / "tests" / "keys" / f"{name}.txt").read_text()


@pytest.mark.parametrize(
    ("to", "suffix"),
    [
        ("torchvision", ".pth"),
        ("torchvision", ".safetensors"),
        ("timm", ".pth"),
        ("transformers", ""),
        ("mmpretrain", ".pth"),
        ("onnx", ".onnx"),
        ("pt2", ".pt2"),
    ],
)
def test_a_whole_resnet50_gives_the_same_logits_in_the_real_library(to, suffix, full, tmp_path):
    report = convert(full, tmp_path / f"out{suffix}", to=to, device="cpu")

    assert proven(report, {"onnx": "onnxruntime", "pt2": "torch"}.get(to, to))


@pytest.mark.parametrize("name", ["keras-2.3.1-conv_block-50", "kecam-1.4.1-aotnet50"])
@pytest.mark.parametrize(("to", "suffix"), [("transformers", ""), ("mmpretrain", ".pth")])
def test_fixtures_of_real_keras_versions_do(name, to, suffix, tmp_path):
    report = convert(fixture(name), tmp_path / f"out{suffix}", to=to, device="cpu")

    assert proven(report, to)


@pytest.mark.parametrize(
    "name",
    [
        "keras-2.0.9-tensorflow",  # 'same' stem, unpadded pool, a window in the head
        "keras-resnet-0.2.0-18",  # 'same' everywhere
        "keras-2.3.1-v2-50",  # pre-activation
        "keras-2.3.1-qubvel-18",  # pre-activation, and a norm of the picture
        "keras-2.10-nested-head",  # several layers in the head
        "keras-2.10-scale",  # Scale layers
        "keras-2.3.1-cifar-v1",
    ],
)
def test_any_network_can_be_said_in_onnx(name, tmp_path):
    report = convert(fixture(name), tmp_path / "out.onnx", to="onnx", device="cpu")

    assert proven(report, "onnxruntime")


@pytest.mark.parametrize("to", ["torchvision", "timm"])
def test_without_the_patch_the_library_predicts_something_else(to, full, tmp_path):
    target = tmp_path / "out.pth"
    report = convert(full, target, to=to, parity=False)
    network, tensors = converted(full)
    pictures = np.random.default_rng(1).uniform(-128, 128, (2, 3, 224, 224)).astype(np.float32)
    expected = delivery.runnable(network.architecture, tensors, "float64")(pictures)[""]

    def furthest(lines):
        """Run the lines that the summary shows, and compare."""
        names = {"torch": torch, "resnet_pt": resnet_pt, to: __import__(to)}
        if to == "torchvision":
            __import__("torchvision.models")
        exec("\n".join(lines), names)
        with torch.inference_mode():
            found = names["model"](torch.from_numpy(pictures)).numpy()
        return np.abs(found - expected).max() / np.abs(expected).max()

    usage = list(report.delivery.usage)
    assert any("patch" in line for line in usage)
    assert furthest(usage) < 1e-5
    assert furthest([line for line in usage if "patch" not in line]) > 1e-2


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch", "raw"])
def test_transformers_processor_and_network_give_keras_preprocessing_and_logits(mode, tmp_path):
    from transformers import AutoImageProcessor, ResNetForImageClassification

    target = tmp_path / "out"
    convert(NARROW, target, to="transformers", preprocess=mode, parity=False)
    picture = np.random.default_rng(1).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    network, tensors = converted(NARROW)
    scaled = keras_scaling(picture.astype(np.float64), mode)
    ready = np.ascontiguousarray(scaled.transpose(2, 0, 1)[None].astype(np.float32))
    expected = delivery.runnable(network.architecture, tensors, "float64")(ready)[""]

    processor = AutoImageProcessor.from_pretrained(target)
    model = ResNetForImageClassification.from_pretrained(target)
    with torch.inference_mode():
        found = model(**processor(picture, return_tensors="pt")).logits.numpy()

    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


def keras_scaling(picture, mode):
    """keras.applications.imagenet_utils.preprocess_input of Keras 3, for (H, W, RGB)."""
    if mode == "caffe":
        return picture[..., ::-1] - [103.939, 116.779, 123.68]
    if mode == "tf":
        return picture / 127.5 - 1
    if mode == "torch":
        return (picture / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return picture


def test_timm_s_own_loader_takes_the_file(full, tmp_path):
    import timm

    target = tmp_path / "out.safetensors"
    convert(full, target, to="timm", parity=False)

    model = timm.create_model("resnet50", checkpoint_path=os.fspath(target))

    expected = resnet_pt.load(own(full, tmp_path)).fc.bias
    assert torch.equal(model.fc.bias, expected)


def own(source, folder):
    convert(source, folder / "own.pth", parity=False)
    return folder / "own.pth"


def test_a_backbone_alone_takes_the_file_as_mmdet_gives_it(tmp_path):
    from mmpretrain.models import ResNet

    target = tmp_path / "out.pth"
    convert(NARROW, target, to="mmpretrain", parity=False)
    pretrained = {"type": "Pretrained", "checkpoint": str(target), "prefix": "backbone."}
    backbone = ResNet(50, stem_channels=4, base_channels=4, style="caffe", init_cfg=pretrained)

    backbone.init_weights()

    written = torch.load(target, weights_only=True)["state_dict"]
    for name, tensor in backbone.state_dict().items():
        assert torch.equal(tensor, written[f"backbone.{name}"]), name


def test_what_stands_on_their_page_runs(full, tmp_path):
    """Every block, one after the other: what one writes, the next one loads."""
    work = tmp_path / "work"
    work.mkdir()
    shutil.copyfile(full, work / "resnet50.h5")
    shutil.copyfile(FIXTURES / "pictures" / "rgb.png", work / "elephant.png")
    (work / "labels.txt").write_text("".join(f"class {index}\n" for index in range(1000)))
    told = [block for block in blocks(DOCS / "destinations.md") if block.runs]
    commands = [block.text for block in told if block.language == "sh"]

    assert {text.split("--to ")[1].split()[0] for text in commands} == set(
        names("converter.formats.destinations")
    )
    found = shims(tmp_path / "bin")
    for block in told:
        run(block, work, found)


def test_the_refusal_on_their_page_is_what_is_said(full, monkeypatch):
    monkeypatch.chdir(full.parent)
    command, *told = blocks(DOCS / "destinations.md")[0].text.splitlines()
    result = CliRunner().invoke(convert_weights, [*command.split()[2:], "--pool", "valid"])

    assert result.exit_code == 5
    assert result.stderr.splitlines() == told
