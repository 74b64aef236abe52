"""`--to`: what is written for other libraries, without these libraries.

With them, the same is run by `scripts/test_destinations`: tests/test_destination_libraries.py.
"""

from __future__ import annotations

import json
import os
import pickle
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from edits import assert_refused, run
from helpers import converted, fixture, record, weightless_removed, weights_only
from networks import random_tensors, weights_file
from safetensors.numpy import load_file
from torch import nn

import resnet_pt
from converter.conversion import convert
from converter.discover import modules, names
from converter.errors import ParityError, UsageError
from converter.facts.changes import map_norms, with_pool, with_stem
from converter.facts.pictures import only_usual
from converter.formats import delivery
from converter.formats.destination import About, short
from converter.formats.destinations import (
    _plain,
    detectron2,
    mmpretrain,
    pt2,
    timm,
    torchvision,
    transformers,
)
from converter.formats.plain import plain, plain_obstacles
from converter.mapping.export import ExportPlan, ExportStep, LessBias
from converter.mapping.transforms import Backwards
from converter.parity.original.recording import read_record
from resnet_pt import resnet
from resnet_pt.architecture import Dense, Dropout, Layer, Output, Pool
from resnet_pt.ops import Activation
from resnet_pt.tensors import tensors as shapes

KEYS = Path(__file__).parent / "keys"
KERAS = {"stride_on": "1x1", "bias": True, "eps": 1e-3, "momentum": 0.01}
RESNET_50 = resnet((3, 4, 6, 3), 1000, **KERAS)
WIDE = resnet((1, 1, 1, 1), 10, **KERAS)
"""The widths of a ResNet-50, which torchvision and timm are tied to, in as few blocks as can be."""
NARROW = fixture("keras-2.2.4-tensorflow")
EVERY = modules("converter.formats.destinations")
each = pytest.mark.parametrize("destination", EVERY, ids=short)


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wide")
    return weights_file(folder / "wide.h5", WIDE, random_tensors(WIDE))


def zeros(architecture):
    return {
        name: np.zeros(shape, np.float32 if shape else np.int64)
        for name, shape in shapes(architecture).items()
    }


# ---- the interface, and names


@each
def test_a_destination_has_all_that_its_package_says(destination):
    for name in ("SUMMARY", "SUFFIXES", "LIBRARY", "NEEDS"):
        assert hasattr(destination, name)
    for name in ("obstacles", "export", "files", "read", "load", "usage", "losses"):
        assert callable(getattr(destination, name))
    assert short(destination) in names("converter.formats.destinations")


@pytest.mark.parametrize("destination", [torchvision, timm, transformers, mmpretrain], ids=short)
def test_names_and_shapes_are_those_of_the_real_library(destination):
    listed = (KEYS / f"{short(destination)}.txt").read_text().splitlines()

    found = destination.export(RESNET_50).tensors(zeros(RESNET_50))

    ours = {f"{name} {'x'.join(map(str, array.shape))}" for name, array in found.items()}
    assert ours == {line.rstrip("\n") for line in listed}


class Detectron2Conv(nn.Conv2d):
    """detectron2.layers.Conv2d: a convolution with its norm inside."""

    def __init__(self, channels, out, kernel, stride=1):
        super().__init__(channels, out, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(out)

    def forward(self, x):
        return self.norm(super().forward(x))


class Detectron2Block(nn.Module):
    """BottleneckBlock of detectron2 0.6, modeling/backbone/resnet.py, with `stride_in_1x1`."""

    def __init__(self, channels, middle, out, stride):
        super().__init__()
        self.shortcut = Detectron2Conv(channels, out, 1, stride) if channels != out else None
        self.conv1 = Detectron2Conv(channels, middle, 1, stride)
        self.conv2 = Detectron2Conv(middle, middle, 3)
        self.conv3 = Detectron2Conv(middle, out, 1)

    def forward(self, x):
        short = self.shortcut(x) if self.shortcut else x
        return (self.conv3(self.conv2(self.conv1(x).relu()).relu()) + short).relu()


class Detectron2ResNet(nn.Module):
    """BasicStem and ResNet of the same file."""

    def __init__(self, network):
        super().__init__()
        self.stem = nn.Module()
        self.stem.conv1 = Detectron2Conv(3, network.stem, 7, 2)
        channels = network.stem
        for stage, depth in enumerate(network.depths):
            blocks = []
            for index in range(depth):
                stride = 2 if stage and not index else 1
                middle, out = network.middle[stage], network.out[stage]
                blocks.append(Detectron2Block(channels, middle, out, stride))
                channels = out
            self.add_module(f"res{stage + 2}", nn.Sequential(*blocks))
        self.linear = nn.Linear(channels, network.classifier.out_features)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.stem.conv1(x).relu(), 3, 2, 1)
        for name in ("res2", "res3", "res4", "res5"):
            x = getattr(self, name)(x)
        return self.linear(x.mean((2, 3)))


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
def test_detectron2_s_network_loads_what_is_written_and_gives_the_same(suffix, tmp_path):
    """Its names, options and file formats, re-implemented from its source: it is in no package
    index, so the real one was not run."""
    target = tmp_path / f"out{suffix}"
    convert(NARROW, target, to="detectron2", parity=False)
    network, tensors = converted(NARROW)
    if suffix == ".pkl":
        assert b"numpy._core" not in target.read_bytes()
        checkpoint = pickle.loads(target.read_bytes(), encoding="latin1")
        state = {name: torch.from_numpy(array) for name, array in checkpoint["model"].items()}
    else:
        checkpoint = torch.load(target, weights_only=True)
        state = checkpoint["model"]
    model = Detectron2ResNet(plain(network.architecture))
    missing, unknown = model.load_state_dict(state, strict=False)

    assert {"model", "__author__", "matching_heuristics"} <= set(checkpoint)
    assert unknown == []
    assert all(name.endswith("num_batches_tracked") for name in missing)
    assert same(model, network.architecture, tensors)


def same(model, architecture, tensors):
    ours = delivery.runnable(architecture, tensors, "float64")
    pictures = np.random.default_rng(1).uniform(-128, 128, (2, 3, 70, 64)).astype(np.float32)
    with torch.inference_mode():
        found = model.eval()(torch.from_numpy(pictures)).numpy()
    expected = ours(pictures)[""]
    return np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


# ---- refusals


def changed(architecture, **fields):
    return replace(architecture, **fields)


NO_CLASSIFIER = changed(WIDE, head=(), outputs=(Output("map", ""),))
REFUSED = {
    "unpadded pool": (with_pool(WIDE, "valid"), "max-pool 3x3/2, unpadded"),
    "'same' pool": (with_pool(WIDE, "same"), "max-pool 3x3/2, 'same' as in TensorFlow"),
    "'same' stem": (with_stem(WIDE, "same"), "stem 7x7/2, 'same' as in TensorFlow"),
    "activation": (changed(WIDE, activation="elu"), "activation elu"),
    "head": (
        changed(WIDE, head=(*WIDE.head, Layer("act", Activation("elu"), ("fc",)))),
        "head of global_avg_pool, dense 10, elu",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize(
    "destination", [torchvision, timm, transformers, detectron2, mmpretrain], ids=short
)
def test_what_cannot_be_expressed_is_refused_with_its_reason(destination, name):
    architecture, reason = REFUSED[name]

    assert any(reason in one for one in destination.obstacles(architecture))


@pytest.mark.parametrize(
    ("destination", "architecture", "reason"),
    [
        (torchvision, resnet((1, 1, 1, 1), 10, width=4), "4 channels behind the stem"),
        (timm, resnet((1, 1, 1, 1), 10, width=4), "4 channels behind the stem"),
        (torchvision, NO_CLASSIFIER, "no classifier"),
        (transformers, NO_CLASSIFIER, "no classifier"),
        (torchvision, resnet((1, 1, 1), 10), "3 stages"),
        (torchvision, resnet((1, 1, 1, 1), 10, in_channels=1), "pictures of 1 channels"),
        (detectron2, WIDE, "blocks 1, 1, 1, 1"),
        (mmpretrain, WIDE, "blocks 1, 1, 1, 1"),
    ],
)
def test_what_only_one_library_cannot_do_is_refused_there(destination, architecture, reason):
    assert any(reason in one for one in destination.obstacles(architecture))


def test_a_network_that_every_library_can_build_has_no_obstacles():
    for destination in EVERY:
        assert destination.obstacles(RESNET_50) == []
    assert timm.obstacles(NO_CLASSIFIER) == []


def mixed_strides(architecture):
    first, *rest = architecture.stages[2]
    a, b, c = first.convs
    moved = replace(first, convs=(a.replace(stride=(1, 1)), b.replace(stride=(2, 2)), c))
    stages = (*architecture.stages[:2], (moved, *rest), architecture.stages[3])
    return replace(architecture, stages=stages)


def test_strides_that_differ_from_block_to_block_go_where_each_can_be_set():
    architecture = mixed_strides(RESNET_50)

    assert torchvision.obstacles(architecture) == []
    assert torchvision.patch(architecture) == {
        "layer2.0.conv1": 2,
        "layer2.0.conv2": 1,
        "layer4.0.conv1": 2,
        "layer4.0.conv2": 1,
    }
    for destination in (transformers, detectron2, mmpretrain):
        assert any("some bottlenecks" in one for one in destination.obstacles(architecture))


def test_pre_activation_is_refused_by_name():
    network, _ = converted(fixture("keras-2.3.1-v2-50"))

    assert any("pre-activation" in one for one in plain_obstacles(network.architecture))


@pytest.mark.slow
def test_a_refusal_names_the_destinations_that_can(tmp_path):
    target = tmp_path / "out.pth"

    result = run(fixture("keras-2.1.6-tensorflow"), target, "--to", "torchvision")

    assert_refused(result, 5, target)
    assert "torchvision cannot express this network" in result.stderr
    assert "max-pool 3x3/2, unpadded: only max-pool 3x3/2, padding 1 is there" in result.stderr
    assert (
        "these can: no --to (the self-describing layout), --to onnx, --to pt2, --to python"
        in result.stderr
    )


@pytest.mark.slow
def test_a_record_may_settle_on_a_network_that_can_be_expressed(tmp_path, monkeypatch):
    """Weights that do not say their Keras: the naming's default has an unpadded pool. That a
    record finds the padded one is proven elsewhere; here its answer is given."""
    alone = weights_only(NARROW, tmp_path)
    weightless_removed(alone)
    with h5py.File(alone, "a") as file:
        del file.attrs["keras_version"]
    settled, _ = converted(NARROW)
    monkeypatch.setattr("converter.conversion.settle", lambda *_: (settled, ()))

    assert_refused(run(alone, tmp_path / "out", "--to", "transformers"), 5, tmp_path / "out")
    report = convert(alone, tmp_path / "out", to="transformers", against=record(NARROW))

    assert report.verdict == "equal"
    assert report.delivery.comparisons[0].passes


@pytest.mark.slow
def test_a_dry_run_refuses_too(tmp_path):
    result = run(fixture("keras-2.1.6-tensorflow"), "--dry-run", "--to", "timm")

    assert_refused(result, 5, tmp_path / "out.pth")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["out.onnx", "--to", "mmpretrain"], "--to mmpretrain needs a TARGET that ends in .pth"),
        (["out.pth", "--to", "timm", "--labels", "a.txt"], "--to timm has no place for them"),
        (["out", "--to", "transformers", "--labels", "none.txt"], "none.txt cannot be read"),
    ],
)
def test_a_wrong_target_or_option_is_code_2(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    result = run(NARROW, *arguments, "--no-parity")

    assert result.exit_code == 2
    assert words in result.stderr
    assert os.listdir(tmp_path) == []


def test_an_unknown_destination_is_refused_from_python_too(tmp_path):
    with pytest.raises(UsageError, match=r"--to caffe: the destinations are detectron2, mmpret"):
        convert(NARROW, tmp_path / "out.pth", to="caffe")


# ---- torchvision and timm


@pytest.mark.slow
@pytest.mark.parametrize("to", ["torchvision", "timm"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_state_dict_has_the_library_s_names_and_nothing_else(to, suffix, wide, tmp_path):
    target = tmp_path / f"out{suffix}"

    result = run(wide, target, "--to", to, "--no-parity", "--report", tmp_path / "report.json")

    assert result.exit_code == 0, result.output
    state = torch.load(target, weights_only=True) if suffix == ".pth" else load_file(target)
    assert set(state) == set(shapes(resnet((1, 1, 1, 1), 10)))
    report = json.loads((tmp_path / "report.json").read_text())["destination"]
    assert report["name"] == to
    assert report["strides_to_set"]["layer3.0.conv1"] == 2
    assert any("epsilon 0.001" in one for one in report["not_kept"])
    assert any("momentum 0.01 (Keras' 0.99)" in one for one in report["not_kept"])
    assert "layer2.0.conv1.stride = 2, layer2.0.conv2.stride = 1" in result.stderr
    assert f"resnet_pt.patch_{to}(model, '{target}')" in result.stderr


@pytest.fixture(params=[".pth", ".safetensors", "our own .pth"])
def described(request, wide, tmp_path):
    target = tmp_path / f"out{request.param.replace('our own ', '')}"
    to = None if "own" in request.param else "torchvision"
    convert(wide, target, to=to, parity=False)
    return target


def plain_torchvision(depths=(1, 1, 1, 1)):
    """torchvision's network as far as it matters here: its modules' names, strides on the 3x3."""
    return resnet_pt.ResNet(resnet(depths, 10))


@pytest.mark.slow
def test_the_patch_makes_a_plain_network_give_the_same_logits(described, wide):
    model = plain_torchvision()
    model.load_state_dict(loadable(wide), strict=False)
    network, tensors = converted(wide)

    assert not same(model, network.architecture, tensors)
    patched = resnet_pt.patch_torchvision(model, described)
    assert patched is model
    assert same(model, network.architecture, tensors)
    assert same(resnet_pt.patch_timm(model, described), network.architecture, tensors)


def loadable(source):
    network, tensors = converted(source)
    theirs = torchvision.export(network.architecture).tensors(tensors)
    return OrderedDict((name, torch.from_numpy(array)) for name, array in theirs.items())


@pytest.mark.slow
def test_the_patch_refuses_a_model_of_another_depth(described):
    with pytest.raises(ValueError, match=r"of another network: the file has no convolution layer2"):
        resnet_pt.patch_torchvision(plain_torchvision((1, 2, 1, 1)), described)


@pytest.mark.slow
def test_the_patch_refuses_a_network_that_strides_cannot_make(tmp_path):
    target = tmp_path / "out.pth"
    convert(fixture("keras-2.1.6-tensorflow"), target, parity=False)
    model = resnet_pt.ResNet(resnet((3, 4, 6, 3), 10, width=4))

    with pytest.raises(ValueError, match=r"the model's maxpool is MaxPool2d.*padding=1"):
        resnet_pt.patch_torchvision(model, target)
    assert model.layer2[0].conv1.stride == (1, 1)


@pytest.mark.slow
def test_the_patch_refuses_a_file_that_says_nothing(tmp_path):
    torch.save(plain_torchvision().state_dict(), tmp_path / "alien.pth")
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "bare.pth")
    (tmp_path / "text.pth").write_text("nothing")

    resnet_pt.patch_torchvision(plain_torchvision(), tmp_path / "alien.pth")  # it describes itself
    for name in ("bare.pth", "text.pth"):
        with pytest.raises(ValueError, match=r"bare\.pth does not|text\.pth is neither"):
            resnet_pt.patch_torchvision(plain_torchvision(), tmp_path / name)


def test_a_classifier_without_a_bias_and_behind_dropout_gets_zeros():
    dropout = Layer("drop", Dropout(0.5), ("avgpool",))
    dense = Layer("fc", Dense(2048, 10, bias=False), ("drop",))
    architecture = replace(WIDE, head=(WIDE.head[0], dropout, dense))

    found = torchvision.export(architecture).tensors(random_tensors(architecture))

    assert found["fc.weight"].shape == (10, 2048)
    assert found["fc.bias"].tolist() == [0] * 10
    assert "dropout of 0.5 before the classifier" in torchvision.losses(architecture)


def test_what_is_not_kept_is_said():
    scaled = map_norms(WIDE, lambda norm: norm.replace(rescale=True, gamma=False))
    window = Layer("pool", Pool((7, 7), (7, 7), 0, mode="avg"), ("",))
    windowed = replace(scaled, head=(window, replace(WIDE.head[1], inputs=("pool",))))

    said = "\n".join([*torchvision.losses(windowed), *torchvision.export(windowed).losses])

    for words in ("no gamma or beta", "Scale layers", "the 7x7 pool"):
        assert words in said
    torch_s = resnet((1, 1, 1, 1))
    assert (torchvision.losses(torch_s), torchvision.export(torch_s).losses) == ([], ())


# ---- the report

SUFFIX = {"transformers": "", "onnx": ".onnx", "pt2": ".pt2"}


@pytest.mark.slow
@each
def test_the_report_lists_what_the_file_holds(destination, wide, tmp_path):
    """Every tensor of the file that was delivered by its name there and its shape, and every array
    of the source in one of them; a dry run says the same."""
    pytest.importorskip(destination.NEEDS[-1] if destination.NEEDS else "numpy")
    to = short(destination)
    source = NARROW if destination.obstacles(WIDE) else wide
    target = tmp_path / f"out{SUFFIX.get(to, '.pth')}"

    report = convert(source, target, to=to, parity=False)

    planned = convert(source, None, to=to, dry_run=True).to_dict()["mapping"]
    mapping = report.to_dict()["mapping"]
    held = destination.read(target, report.network.evident)
    arrays = {one["source"] for row in mapping for one in (row, *row["folded_in"])} - {None}
    dropped = {f"{name}" for name in report.delivery.dropped}
    counters = {name for name in shapes(report.network.architecture) if name.endswith("tracked")}
    assert planned == mapping
    assert {row["target"]: tuple(row["target_shape"]) for row in mapping} == {
        name: array.shape for name, array in held.items()
    }
    assert arrays == {weight.path for weight in report.checkpoint.weights}
    assert dropped == (counters if to in ("detectron2", "onnx") else set())


@pytest.mark.slow
def test_a_row_of_the_report_says_what_was_done_to_a_tensor(tmp_path):
    told = {"to": "transformers", "preprocess": "caffe"}
    report = convert(NARROW, tmp_path / "out", **told, parity=False).to_dict()

    rows = {row["target"]: row for row in report["mapping"]}
    first = rows["resnet.embedder.embedder.convolution.weight"]
    mean = rows["resnet.embedder.embedder.normalization.running_mean"]
    variance = rows["resnet.embedder.embedder.normalization.running_var"]
    bias = first["source"].replace("kernel", "bias")
    assert first["transform"] == "HWIO → OIHW, input channels in reverse"
    assert (first["source_shape"], first["target_shape"]) == ([7, 7, 3, 4], [4, 3, 7, 7])
    assert mean["transform"] == "less the bias of the convolution"
    assert mean["source"].endswith("moving_mean:0")
    assert [one["source"] for one in mean["folded_in"]] == [bias]
    assert variance["transform"] == "plus epsilon 0.001, less 1e-05"
    assert variance["folded_in"] == []


def test_a_tensor_that_goes_nowhere_is_an_error():
    with pytest.raises(ValueError, match=r"go nowhere, or come from nowhere: fc\.bias"):
        ExportPlan((), ours=("fc.bias",))
    with pytest.raises(ValueError, match=r"come from nowhere: fc\.bias"):
        ExportPlan((ExportStep("classifier.bias", "fc.bias", (3,)),), ours=())


# ---- the proof


@pytest.mark.parametrize(
    ("step", "tensors"),
    [
        (ExportStep("b", "a", (2, 3)), {"a": (2, 3)}),
        (ExportStep("b", "a", (2, 3, 5, 5), None, (Backwards(),)), {"a": (2, 3, 5, 5)}),
        (ExportStep("b", "a", (4,), LessBias("a", "c"), ()), {"a": (4,), "c": (4,)}),
    ],
    ids=["renamed", "turned", "folded"],
)
def test_a_step_has_an_inverse_or_says_its_loss(step, tensors):
    rng = np.random.default_rng(5)
    ours = {name: rng.normal(size=shape).astype("float32") for name, shape in tensors.items()}

    delivered = step.apply(ours)

    assert delivered.shape == step.shape
    if step.fold is None:
        assert step.undo(delivered).tobytes() == ours["a"].tobytes()
    else:
        assert "biases of convolutions" in step.fold.loss
        assert step.undo(delivered).tobytes() == step.fold.apply(ours).tobytes()


@pytest.mark.slow
def test_the_folded_network_is_compared_where_the_library_is_missing(wide, tmp_path, monkeypatch):
    monkeypatch.setattr(delivery, "is_installed", lambda library: library == "torch")

    monkeypatch.setattr("converter.parity.prove.is_installed", lambda: False)

    report = convert(wide, tmp_path / "out.pth", to="torchvision", device="cpu")

    delivered = report.delivery
    assert delivered.library == ""
    assert delivered.reason == "not compared with torchvision: not installed"
    assert {one.device for one in delivered.comparisons} == {"the folded network"}
    assert [one.shape for one in delivered.comparisons] == [(3, 3, 224, 224), (1, 3, 256, 240)]
    assert all(one.worst.relative < 1e-6 for one in delivered.comparisons)


def broken(*_):
    """What a torchvision of another torch does when it is imported."""
    raise RuntimeError("operator torchvision::nms does not exist")


def test_a_broken_installation_is_a_reason_and_no_traceback(tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision, "LIBRARY", "torch")
    monkeypatch.setattr(delivery.importlib, "import_module", broken)

    assert delivery._library(torchvision, tmp_path, WIDE) == (
        "",
        None,
        "not compared with torch: it cannot be imported: operator torchvision::nms does not exist",
    )


@pytest.mark.slow
def test_a_library_that_cannot_load_what_was_written_refuses_it(tmp_path, monkeypatch):
    monkeypatch.setattr("converter.parity.prove.is_installed", lambda: False)
    monkeypatch.setattr(transformers, "LIBRARY", "torch")
    monkeypatch.setattr(transformers, "load", broken)

    result = run(NARROW, tmp_path / "out", "--to", "transformers", "--device", "cpu")

    assert_refused(result, 1, tmp_path / "out")
    assert "torch does not load what was written\n  operator torchvision::nms" in result.stderr


@pytest.mark.slow
def test_require_parity_needs_the_library(tmp_path, monkeypatch):
    monkeypatch.setattr(delivery, "is_installed", lambda library: library == "torch")
    monkeypatch.setattr("converter.parity.prove.is_installed", lambda: False)
    monkeypatch.setattr("converter.conversion.refuse_unproven", lambda *_: None)  # Keras' part

    result = run(
        *(NARROW, tmp_path / "out", "--to", "transformers"),
        *("--device", "cpu", "--require-parity"),
    )

    assert_refused(result, 1, tmp_path / "out")
    assert "not compared with transformers: not installed" in result.stderr


@pytest.mark.slow
def test_a_tensor_that_is_not_what_source_gives_is_not_published(tmp_path, monkeypatch):
    def wrong(path, architecture):
        found = torch.load(path, weights_only=True)["state_dict"]
        found["backbone.bn1.running_var"][1] += 1e-7
        return {name: tensor.numpy() for name, tensor in found.items()}

    monkeypatch.setattr(mmpretrain, "read", wrong)
    target = tmp_path / "out.pth"

    result = run(NARROW, target, "--to", "mmpretrain", "--no-parity")

    assert_refused(result, 1, target)
    assert "backbone.bn1.running_var is not what SOURCE gives" in result.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_a_library_that_computes_something_else_is_not_published(tmp_path, monkeypatch):
    def turned(path, architecture):
        run_it = delivery.runnable(architecture, converted(NARROW)[1], "float32")
        return lambda pictures: run_it(np.ascontiguousarray(pictures[:, ::-1]))

    monkeypatch.setattr(transformers, "LIBRARY", "torch")
    monkeypatch.setattr(transformers, "load", turned)
    monkeypatch.setattr("converter.parity.prove.is_installed", lambda: False)

    with pytest.raises(ParityError, match="transformers does not give the logits") as caught:
        convert(NARROW, tmp_path / "out", to="transformers", device="cpu")

    assert caught.value.report.verdict == "not equal"
    assert os.listdir(tmp_path) == []


# ---- transformers: a directory


def read_json(path):
    return json.loads(path.read_text())


@pytest.mark.slow
def test_a_directory_has_its_configuration_labels_processor_and_weights(tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"class {number}\n" for number in range(10)))
    target = tmp_path / "out"

    result = run(
        *(NARROW, target, "--to", "transformers", "--no-parity"),
        *("--preprocess", "caffe", "--labels", labels),
    )

    assert result.exit_code == 0, result.output
    assert sorted(os.listdir(target)) == [
        "config.json",
        "model.safetensors",
        "preprocessor_config.json",
    ]
    config = read_json(target / "config.json")
    assert config["downsample_in_bottleneck"] is True
    assert config["hidden_sizes"] == [16, 32, 64, 128]
    assert config["id2label"]["3"] == "class 3"
    processor = read_json(target / "preprocessor_config.json")
    assert processor["image_mean"] == [123.68, 116.779, 103.939]
    assert processor["size"] == {"height": 224, "width": 224}
    _, tensors = converted(NARROW)
    first = load_file(target / "model.safetensors")["resnet.embedder.embedder.convolution.weight"]
    assert first[:, ::-1].tobytes() == tensors["conv1.weight"].tobytes()
    assert "the order of channels: the first convolution is turned round" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("is_usual", [True, False], ids=["a default", "unknown"])
def test_what_was_done_to_pictures_is_not_made_up(is_usual, tmp_path, monkeypatch):
    if not is_usual:
        monkeypatch.setattr("converter.identify.naming_of", lambda *given: None)

    report = convert(NARROW, tmp_path / "out", to="transformers", parity=False)

    assert sorted(os.listdir(tmp_path / "out")) == ["config.json", "model.safetensors"]
    (said,) = [one for one in report.delivery.losses if "preprocessor_config.json" in one]
    why = only_usual("caffe") if is_usual else "nothing says what was done to them: --preprocess"
    assert "no preprocessor_config.json: the network reads what the Keras model read; " in said
    assert why in said
    assert not any("AutoImageProcessor" in line for line in report.delivery.usage)
    assert read_json(tmp_path / "out" / "config.json")["id2label"]["9"] == "LABEL_9"


def delivered_logits(folder, pictures):
    """Of the network whose tensors lie in a directory for transformers, run as one of ours."""
    architecture = transformers.equivalent(converted(NARROW)[0].architecture)
    ours = dict(_plain.unrolled(transformers.TABLE, architecture))
    theirs = {theirs: ours for ours, theirs in ours.items()}
    tensors = {
        f"{theirs[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": array
        for name, array in load_file(folder / "model.safetensors").items()
    }
    return delivery.runnable(architecture, tensors, "float64")(pictures)[""]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "channels"),
    [({}, 1), ({"preprocess": "caffe"}, -1), ({"preprocess": "torch"}, 1)],
    ids=["a default", "caffe", "torch"],
)
def test_only_what_is_known_of_pictures_turns_a_network_round(options, channels, tmp_path):
    """The original's own input gives its logits; its channels in RGB, where the user says that
    they were BGR. The other way round they are off by more than any gate."""
    convert(NARROW, tmp_path / "out", to="transformers", parity=False, **options)
    known = read_record(record(NARROW)).passes[0]
    pictures = np.ascontiguousarray(known.input.transpose(0, 3, 1, 2)[:, ::channels])
    turned = np.ascontiguousarray(pictures[:, ::-1])
    (expected,) = known.logits.values()

    def error(pictures):
        found = delivered_logits(tmp_path / "out", pictures)
        return np.abs(found - expected).max() / np.abs(expected).max()

    assert error(pictures) < 1e-5
    assert error(turned) > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("to", ["detectron2", "mmpretrain"])
def test_no_default_is_told_to_a_library_s_users(to, tmp_path):
    """Means and deviations in what is to be copied, or in the checkpoint."""
    usual = convert(NARROW, tmp_path / "usual.pth", to=to, parity=False)
    said = convert(NARROW, tmp_path / "said.pth", to=to, parity=False, preprocess="caffe")

    assert "103.939" not in "".join(usual.delivery.usage)
    assert "103.939" in "".join(said.delivery.usage)
    assert "103.939" not in json.dumps(checkpoint_of(tmp_path / "usual.pth"))

    assert any("--preprocess caffe, or another mode" in one for one in usual.delivery.losses)
    assert not any("--preprocess" in one for one in said.delivery.losses)


def checkpoint_of(path):
    """All but the tensors."""
    found = torch.load(path, weights_only=True)
    return {name: one for name, one in found.items() if name not in ("model", "state_dict")}


@pytest.mark.slow
def test_labels_of_another_number_are_refused(tmp_path):
    (tmp_path / "labels.txt").write_text("one\ntwo\n")

    with pytest.raises(UsageError, match=r"--labels has 2 names, the network 10 classes"):
        convert(
            *(NARROW, tmp_path / "out"),
            to="transformers",
            labels=tmp_path / "labels.txt",
            parity=False,
        )
    assert os.listdir(tmp_path) == ["labels.txt"]


@pytest.mark.slow
def test_a_directory_is_replaced_only_with_force_and_only_if_nothing_else_is_in_it(tmp_path):
    target = tmp_path / "out"
    arguments = (NARROW, target, "--to", "transformers", "--no-parity")
    assert run(*arguments).exit_code == 0
    (target / "config.json").write_text("old")

    assert run(*arguments).exit_code == 7
    assert (target / "config.json").read_text() == "old"
    assert run(*arguments, "--force").exit_code == 0
    assert read_json(target / "config.json")["model_type"] == "resnet"
    (target / "thesis.tex").write_text("mine")
    refused = run(*arguments, "--force")
    assert refused.exit_code == 7
    assert "holds other files, and is not replaced\n  thesis.tex" in refused.stderr
    assert (target / "thesis.tex").read_text() == "mine"
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.slow
@pytest.mark.parametrize("to", ["mmpretrain", "transformers"])
def test_a_target_of_the_other_kind_is_code_7_even_with_force(to, tmp_path):
    target = tmp_path / "out.pth"
    if to == "transformers":
        target.write_text("a file")
    else:
        target.mkdir()

    result = run(NARROW, target, "--to", to, "--no-parity", "--force")

    assert result.exit_code == 7
    assert os.listdir(tmp_path) == ["out.pth"]


# ---- torch.export


@pytest.mark.slow
def test_pt2_takes_batches_and_sizes_that_it_was_not_traced_with(tmp_path):
    """'same' padding is another amount for another size: it has to be traced, not kept."""
    architecture = with_pool(with_stem(resnet((1,), 10, width=4), "same"), "same")
    tensors = random_tensors(architecture)
    (tmp_path / "out.pt2").write_bytes(pt2.files(architecture, tensors, About({}))[""])
    ours = delivery.runnable(architecture, tensors, "float32")
    theirs = pt2.load(tmp_path / "out.pt2", architecture)

    for shape in ((1, 3, 97, 64), (3, 3, 66, 80)):
        pictures = np.random.default_rng(1).normal(size=shape).astype(np.float32)
        assert np.array_equal(theirs(pictures)[""], ours(pictures)[""])


@pytest.mark.slow
def test_pt2_takes_pre_activation_and_a_head_that_fixes_the_size(tmp_path):
    source, target = fixture("keras-2.3.1-cifar-v2"), tmp_path / "out.pt2"

    report = convert(source, target, to="pt2", parity=False)

    network, tensors = converted(source)
    pictures = np.random.default_rng(1).normal(size=(5, 3, 32, 32)).astype(np.float32)
    found = pt2.load(target, network.architecture)(pictures)
    assert report.proven_tensors == len(tensors)
    assert report.delivery.losses == (
        "other sizes than 32x32: the head is tied to the size of the map",
    )
    ours = delivery.runnable(network.architecture, tensors, "float32")
    assert np.array_equal(found[""], ours(pictures)[""])


@pytest.mark.slow
def test_pt2_gives_several_outputs_by_name(tmp_path):
    narrow = resnet((1, 1, 1, 1), 10, width=4)
    second = Layer("other", Dense(narrow.features, 3), ("avgpool",))
    outputs = (*narrow.outputs, Output("other", "other", "sigmoid"))
    architecture = replace(narrow, head=(*narrow.head, second), outputs=outputs)
    tensors = random_tensors(architecture)
    content = pt2.files(architecture, tensors, About({}))[""]
    (tmp_path / "out.pt2").write_bytes(content)
    pictures = np.zeros((2, 3, 64, 64), np.float32)

    found = pt2.load(tmp_path / "out.pt2", architecture)(pictures)

    assert {name: array.shape for name, array in found.items()} == {"fc": (2, 10), "other": (2, 3)}
