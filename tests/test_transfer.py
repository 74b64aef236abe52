"""New classes on an old body, frozen parts, and saving what was trained."""

from __future__ import annotations

import os

import pytest
import torch
from click.testing import CliRunner
from helpers import FIXTURES, fixture

import resnet_pt
from converter.cli import predict
from converter.conversion import convert
from resnet_pt.files import FileError
from resnet_pt.network import ResNet
from resnet_pt.transfer import freeze, parameter_groups, sections, train_unfrozen, with_classes

FORMATS = pytest.mark.parametrize("suffix", [".pth", ".safetensors"])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("target") / "out.pth"
    convert(fixture("keras-2.2.4-tensorflow"), path, parity=False, preprocess="caffe")
    return resnet_pt.load(path)


@pytest.fixture(scope="module")
def pictures():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_new_classes_leave_the_body_as_it_is(model, pictures):
    new = with_classes(model, 7)

    assert new.architecture.classes == 7
    assert torch.equal(new.forward_features(pictures), model.forward_features(pictures))
    assert new(pictures).shape == (2, 7)
    assert model(pictures).shape == (2, 10)
    assert not new.training


def test_a_new_head_starts_as_keras_starts_it(model):
    new = with_classes(model, 500)
    bound = (6 / (new.fc.in_features + 500)) ** 0.5

    assert not new.fc.bias.any()
    assert bound * 0.99 < new.fc.weight.abs().max() <= bound


@pytest.mark.parametrize(
    "name", ["keras-2.3.1-v2-50", "keras-2.10-nested-head", "keras-2.10-tutorial"]
)
def test_any_body_takes_new_classes(name, tmp_path, pictures):
    convert(fixture(name), tmp_path / "out.pth", parity=False)
    new = with_classes(resnet_pt.load(tmp_path / "out.pth"), 3)

    assert new(pictures).shape == (2, 3)
    assert [part for part, _ in sections(new)] == [
        "stem",
        "layer1",
        "layer2",
        "layer3",
        "layer4",
        "head",
    ]


def steps(model, pictures, count=3):
    optimiser = torch.optim.SGD(parameter_groups(model, 0.1, 0.5), momentum=0.9)
    for _ in range(count):
        train_unfrozen(model)
        loss = torch.nn.functional.cross_entropy(model(pictures), torch.tensor([0, 1]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def changed(before, after):
    return {
        name.split(".")[0]
        for name, tensor in before.items()
        if not torch.equal(tensor, after[name])
    }


def tensors(model):
    return {n: t.clone() for n, t in model.state_dict().items() if n != "_extra_state"}


def test_what_is_frozen_keeps_every_number_its_statistics_too(model, pictures):
    new = with_classes(model, 2)
    freeze(new, "layer2")
    before = tensors(new)
    steps(new, pictures)

    assert changed(before, tensors(new)) == {"layer3", "layer4", "fc"}


def test_without_train_unfrozen_the_statistics_would_move(model, pictures):
    new = with_classes(model, 2)
    freeze(new, "layer2")
    before = tensors(new)
    new.train()(pictures)

    assert "bn1" in changed(before, tensors(new))


def test_what_is_not_frozen_trains(model, pictures):
    new = with_classes(model, 2)
    before = tensors(new)
    steps(new, pictures)

    assert changed(before, tensors(new)) == {
        "conv1",
        "bn1",
        "layer1",
        "layer2",
        "layer3",
        "layer4",
        "fc",
    }


def test_the_rate_falls_from_the_head_down(model):
    groups = list(parameter_groups(with_classes(model, 2), 0.1, 0.5))

    assert [group["name"] for group in groups] == [
        "head",
        "layer4",
        "layer3",
        "layer2",
        "layer1",
        "stem",
    ]
    assert [group["lr"] for group in groups] == [0.1 * 0.5**n for n in range(6)]
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))


def test_a_part_that_is_not_there_cannot_be_frozen(model):
    with pytest.raises(ValueError, match="no 'layer9' to freeze; known are stem, layer1"):
        freeze(with_classes(model, 2), "layer9")


# ---- saving


@FORMATS
def test_what_is_saved_is_loaded_again(suffix, model, tmp_path, pictures):
    new = with_classes(model, 3)
    steps(new, pictures)
    resnet_pt.save(new, tmp_path / f"new{suffix}")
    again = resnet_pt.load(tmp_path / f"new{suffix}")

    assert again.architecture == new.architecture
    assert torch.equal(again(pictures), new.eval()(pictures))
    assert os.listdir(tmp_path) == [f"new{suffix}"]


def test_half_precision_is_saved_as_float32(model, tmp_path):
    half = with_classes(model, 3).half()
    resnet_pt.save(half, tmp_path / "half.pth")

    assert resnet_pt.load(tmp_path / "half.pth").fc.weight.dtype == torch.float32


def test_what_is_damaged_on_its_way_is_not_put_in_place(model, tmp_path, monkeypatch):
    def write(file, state, description):
        damaged = state["conv1.weight"].clone()
        damaged.view(-1)[0] += 1e-3
        torch.save({**state, "conv1.weight": damaged, "_extra_state": description}, file)

    monkeypatch.setitem(resnet_pt.files.WRITERS, ".pth", write)

    with pytest.raises(FileError, match="damaged"):
        resnet_pt.save(model, tmp_path / "model.pth")
    assert os.listdir(tmp_path) == []


def test_a_flipped_bit_is_found(model, tmp_path):
    resnet_pt.save(model, tmp_path / "model.safetensors")
    content = bytearray((tmp_path / "model.safetensors").read_bytes())
    content[-5] ^= 1
    (tmp_path / "model.safetensors").write_bytes(content)

    with pytest.raises(FileError, match="damaged"):
        resnet_pt.load(tmp_path / "model.safetensors")


def test_a_file_that_is_there_stays_unless_it_may_go(model, tmp_path):
    (tmp_path / "model.pth").write_text("precious")

    with pytest.raises(FileExistsError):
        resnet_pt.save(model, tmp_path / "model.pth")
    assert (tmp_path / "model.pth").read_text() == "precious"
    resnet_pt.save(model, tmp_path / "model.pth", overwrite=True)
    assert resnet_pt.load(tmp_path / "model.pth").architecture == model.architecture


def test_a_head_that_was_replaced_by_hand_is_refused(model, tmp_path):
    new = ResNet(model.architecture)
    new.fc = torch.nn.Linear(128, 5)

    with pytest.raises(ValueError, match=r"fc\.weight is \(5, 128\).*with_classes"):
        resnet_pt.save(new, tmp_path / "new.pth")
    assert os.listdir(tmp_path) == []


def test_a_suffix_says_the_format(model, tmp_path):
    with pytest.raises(ValueError, match="suffix"):
        resnet_pt.save(model, tmp_path / "model.onnx")


def test_a_write_that_fails_leaves_nothing(model, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("resnet_pt.files.os.fsync", full)

    with pytest.raises(OSError, match="No space left"):
        resnet_pt.save(model, tmp_path / "model.pth")
    assert os.listdir(tmp_path) == []


@FORMATS
def test_labels_travel_with_the_weights(suffix, model, tmp_path):
    path = tmp_path / f"new{suffix}"
    resnet_pt.save(with_classes(model, 2), path, labels=["cat", "wild dog"])
    picture = str(FIXTURES / "pictures" / "rgb.png")
    result = CliRunner().invoke(predict, [str(path), picture])

    assert result.exit_code == 0, result.stderr
    assert "wild dog" in result.stdout
    assert "labels      2                 TARGET" in result.stderr
