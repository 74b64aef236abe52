"""resnet_pt: torchvision's names, its own description, and a careful `load`."""

from __future__ import annotations

import json

import pytest
import torch
from helpers import RECORDED, converted, fixture
from safetensors.torch import load_file
from torch import nn

import resnet_pt
from converter.conversion import convert
from resnet_pt import Architecture, ResNet, resnet
from resnet_pt.architecture import FORMAT
from resnet_pt.files import FileError
from resnet_pt.tensors import tensors

PATH = fixture("keras-2.3.1-conv_block-50")

TORCHVISION = """\
ResNet(
  (conv1): Conv2d(3, 64, kernel_size=(7, 7), stride=(2, 2), padding=(3, 3), bias=False)
  (bn1): BatchNorm2d(64)
  (relu): ReLU(inplace=True)
  (maxpool): MaxPool2d(kernel_size=3, stride=2, padding=1, dilation=1, ceil_mode=False)
  (layer1): Sequential(
    (0): Bottleneck(
      (conv1): Conv2d(64, 64, kernel_size=(1, 1), stride=(1, 1), bias=False)
      (bn1): BatchNorm2d(64)
      (conv2): Conv2d(64, 64, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
      (bn2): BatchNorm2d(64)
      (conv3): Conv2d(64, 256, kernel_size=(1, 1), stride=(1, 1), bias=False)
      (bn3): BatchNorm2d(256)
      (relu): ReLU(inplace=True)
      (downsample): Sequential(
        (0): Conv2d(64, 256, kernel_size=(1, 1), stride=(1, 1), bias=False)
        (1): BatchNorm2d(256)
      )
    )
"""
"""The start of `print(torchvision.models.resnet50())`, without the arguments of its norms, which
differ between versions of torch."""

LAYER2_FIRST = """\
  (layer2): Sequential(
    (0): Bottleneck(
      (conv1): Conv2d(256, 128, kernel_size=(1, 1), stride=(1, 1), bias=False)
      (bn1): BatchNorm2d(128)
      (conv2): Conv2d(128, 128, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1), bias=False)
"""

ENDING = """\
  (avgpool): AdaptiveAvgPool2d(output_size=(1, 1))
  (fc): Linear(in_features=2048, out_features=1000, bias=True)
)"""


def printed(model: nn.Module) -> str:
    lines = str(model).splitlines()
    return "\n".join(
        f"{line.partition(',')[0]})" if "BatchNorm2d(" in line else line for line in lines
    )


def test_the_default_network_prints_as_torchvisions_resnet50():
    tree = printed(ResNet())

    assert tree.startswith(TORCHVISION)
    assert LAYER2_FIRST in tree
    assert tree.endswith(ENDING)
    assert sum(parameter.numel() for parameter in ResNet().parameters()) == 25_557_032


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_the_list_of_tensors_is_the_state_dict(path):
    architecture = converted(path)[0].architecture

    state = ResNet(architecture).state_dict()
    state.pop("_extra_state")

    assert list(tensors(architecture).items()) == [(k, tuple(v.shape)) for k, v in state.items()]


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_an_architecture_survives_json(path):
    architecture = converted(path)[0].architecture

    assert Architecture.from_dict(json.loads(json.dumps(architecture.to_dict()))) == architecture


def test_a_description_of_an_earlier_version_lacks_fields_and_is_read():
    architecture = resnet()
    data = architecture.to_dict()
    for layer in data["head"]:
        del layer["module"]
    del data["stem"]["rescaling"]

    assert Architecture.from_dict(data) == architecture
    model = ResNet(architecture)
    state = {"format": FORMAT, "architecture": data}
    model.set_extra_state(state)
    data["head"][-1]["op"]["out_features"] = 7
    with pytest.raises(ValueError, match="another architecture"):
        model.set_extra_state(state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda d: d.pop("stem"), "stem", id="a field missing"),
        pytest.param(lambda d: d.update(rotation=1), "does not know", id="a field unknown"),
        pytest.param(lambda d: d["stem"]["conv"].update(stride=[2]), "stride", id="a wrong type"),
    ],
)
def test_what_is_no_architecture_is_refused(change, message):
    data = resnet().to_dict()
    change(data)

    with pytest.raises(ValueError, match=message):
        Architecture.from_dict(data)


@pytest.fixture(scope="module", params=[".pth", ".safetensors"])
def written(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / f"out{request.param}"
    convert(PATH, path, parity=False)
    return path


def state_of(path):
    if path.suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, weights_only=True)


@pytest.mark.slow
def test_load_needs_nothing_but_the_path(written):
    model = resnet_pt.load(written)

    assert not model.training
    assert model.architecture == converted(PATH)[0].architecture
    assert model(torch.zeros(2, 3, 224, 224)).shape == (2, 10)


@pytest.mark.slow
def test_a_pth_is_plain(tmp_path):
    path = tmp_path / "out.pth"
    convert(PATH, path, parity=False)
    state = torch.load(path, weights_only=True)
    described = state.pop("_extra_state")

    assert torch.serialization.get_unsafe_globals_in_checkpoint(path) == []
    assert described["architecture"] == converted(PATH)[0].architecture.to_dict()
    assert all(t.is_contiguous() and t.device.type == "cpu" for t in state.values())
    assert {t.dtype for n, t in state.items() if "num_batches" not in n} == {torch.float32}
    assert {"conv1.weight", "conv1.bias", "layer2.0.downsample.1.running_var", "fc.bias"} <= set(
        state
    )


def test_a_strict_load_into_other_strides_fails(written):
    architecture = converted(PATH)[0].architecture
    from converter.facts.strides import with_stride_on

    other = ResNet(with_stride_on(architecture, "3x3"))

    with pytest.raises((RuntimeError, ValueError), match=r"another architecture|size mismatch"):
        other.load_state_dict(state_of(written))


def test_a_strict_load_into_a_network_that_does_not_know_the_description_fails(written):
    class Plain(nn.Module):
        """A network with the same tensors, as torchvision's is one."""

        def __init__(self):
            super().__init__()
            for name, module in resnet_pt.load(written).named_children():
                self.add_module(name, module)

    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "_extra_state"'):
        Plain().load_state_dict(state_of(written))


def test_a_network_that_was_trained_on_loads_again(written, tmp_path):
    model = resnet_pt.load(written)
    with torch.no_grad():
        model.fc.bias += 1
    torch.save(model.state_dict(), tmp_path / "tuned.pth")

    again = resnet_pt.load(tmp_path / "tuned.pth")

    assert torch.equal(again.fc.bias, model.fc.bias)


def test_a_flipped_bit_is_found(written, tmp_path):
    data = bytearray(written.read_bytes())
    needle = resnet_pt.load(written).layer3[2].conv2.weight.detach().numpy().tobytes()
    data[data.index(needle) + 100] ^= 1
    damaged = tmp_path / written.name
    damaged.write_bytes(data)

    with pytest.raises(FileError, match="damaged"):
        resnet_pt.load(damaged)


def test_a_file_cut_off_is_refused(written, tmp_path):
    cut = tmp_path / written.name
    cut.write_bytes(written.read_bytes()[:-1000])

    with pytest.raises(FileError):
        resnet_pt.load(cut)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda s: s.pop("fc.bias"), "missing fc.bias", id="missing"),
        pytest.param(lambda s: s.update(more=torch.zeros(1)), "unknown 'more'", id="unknown"),
        pytest.param(
            lambda s: s.update({"fc.bias": torch.zeros(9)}),
            r"fc.bias is \(9,\), not \(10,\)",
            id="shape",
        ),
        pytest.param(
            lambda s: s.pop("_extra_state"), "does not describe its network", id="foreign"
        ),
    ],
)
def test_a_pth_that_does_not_hold_its_network_is_refused(change, message, tmp_path):
    path = tmp_path / "out.pth"
    convert(PATH, path, parity=False)
    state = torch.load(path, weights_only=True)
    change(state)
    torch.save(state, path)

    with pytest.raises(FileError, match=message):
        resnet_pt.load(path)


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "notes.pth"
    path.write_text("not a network, but a note about one")

    with pytest.raises(FileError, match=r"neither a \.pth nor a \.safetensors"):
        resnet_pt.load(path)
