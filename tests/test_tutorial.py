"""The tutorial's functions: its network, built once, trains and takes its own Keras weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from helpers import converted, fixture, record, weights_only
from torch import nn

import resnet_pt
from converter.conversion import convert
from converter.parity.original.recording import read_record
from resnet_pt import ResNet50, conv_block, identity_block
from resnet_pt.architecture import Architecture
from resnet_pt.network import ResNet
from resnet_pt.tutorial import architecture, map_size

SOURCE = fixture("keras-2.10-tutorial")
TORCHVISION = Path(__file__).parent / "data" / "torchvision-0.29.1-resnet50.txt"


def test_the_blocks_are_modules_whose_layers_are_made_once():
    block = conv_block(64, 3, [64, 64, 256], stage=2, block="a", strides=(1, 1))
    before = dict(block.named_parameters())
    result = block(torch.zeros(2, 64, 9, 9))

    assert result.shape == (2, 256, 9, 9)
    assert dict(block.named_parameters()).keys() == before.keys()
    assert all(block.get_parameter(name) is one for name, one in before.items())
    assert block.keras_name == "2a_conv_block"


def test_an_identity_block_keeps_the_shape():
    block = identity_block(256, 3, [64, 64, 256], stage=2, block="b")

    assert block(torch.zeros(1, 256, 7, 7)).shape == (1, 256, 7, 7)
    assert not hasattr(block, "downsample")
    assert block.keras_name == "2b_identity_block"


def test_a_conv_block_strides_by_2_on_the_first_convolution():
    block = conv_block(16, 3, (8, 8, 32), stage=3, block="a")

    assert block(torch.zeros(1, 16, 9, 9)).shape == (1, 32, 5, 5)
    assert block.conv1.stride == (2, 2)
    assert block.conv2.stride == (1, 1)


@pytest.mark.parametrize("kernel", [1, 5, 4, (3, 5)])
def test_any_kernel_is_padded_as_same(kernel):
    assert identity_block(8, kernel, (4, 4, 8), 2, "b")(torch.zeros(1, 8, 6, 6)).shape[2:] == (6, 6)


def test_an_identity_block_that_could_not_add_is_refused():
    with pytest.raises(ValueError, match=r"64 channels.*256.*conv_block changes"):
        identity_block(64, 3, [64, 64, 256], stage=2, block="a")


def test_the_network_is_made_of_these_blocks():
    """Keys and shapes of the blocks, one after the other, are the network's."""
    model, filters = ResNet50(num_classes=2), [64, 64, 256]
    first = conv_block(64, 3, filters, 2, "a", strides=(1, 1))
    second = identity_block(256, 3, filters, 2, "b")

    for block, mine in ((first, model.layer1[0]), (second, model.layer1[1])):
        mine.load_state_dict(block.state_dict())
        assert str(mine) == str(block)


def test_its_tree_is_torchvisions():
    """Names and classes, one a line; only the average pool is the tutorial's own, over 7x7."""
    names = [
        f"{name or '.'} {type(module).__name__}" for name, module in ResNet50().named_modules()
    ]
    expected = TORCHVISION.read_text().splitlines()

    different = [
        (mine, theirs) for mine, theirs in zip(names, expected, strict=True) if mine != theirs
    ]
    assert different == [("avgpool AvgPool2d", "avgpool AdaptiveAvgPool2d")]


def narrow(source, tmp_path, **options):
    convert(source, tmp_path / "out.pth", parity=False, **options)
    return resnet_pt.load(tmp_path / "out.pth")


@pytest.mark.parametrize("alone", [False, True], ids=["whole model", "weights only"])
def test_it_is_the_network_that_load_gives(alone, tmp_path):
    """The fixture is the tutorial's own code with every width divided by 16, and 4 classes."""
    source = weights_only(SOURCE, tmp_path) if alone else SOURCE
    loaded = narrow(source, tmp_path)
    mine = ResNet(architecture(num_classes=4, width=4))
    state = torch.load(tmp_path / "out.pth", weights_only=True)
    mine.load_state_dict(state)

    assert list(mine.state_dict()) == list(loaded.state_dict())
    assert str(mine) == str(loaded)
    record_ = read_record(record(SOURCE))
    one = record_.passes[0]
    picture = torch.from_numpy(one.input.transpose(0, 3, 1, 2).copy())
    with torch.inference_mode():
        assert torch.equal(mine.eval()(picture), loaded(picture))


def test_the_whole_model_has_the_same_architecture_to_the_letter():
    network, _ = converted(SOURCE)

    assert replace(network.architecture, preprocessing=None) == architecture(num_classes=4, width=4)


@pytest.mark.parametrize("option", [{"bn_eps": 1e-5}, {"pool": "zero"}, {"stride_on": "3x3"}])
def test_another_network_of_the_same_shapes_is_refused(option, tmp_path):
    narrow(SOURCE, tmp_path, **option)
    mine = ResNet(architecture(num_classes=4, width=4))

    with pytest.raises((ValueError, RuntimeError), match="another architecture"):
        mine.load_state_dict(torch.load(tmp_path / "out.pth", weights_only=True))


def full_size(folder):
    """The weights-only file of the tutorial's network at full size, of small numbers."""
    widths = {}
    with h5py.File(SOURCE) as file:
        for layer in file["model_weights"].attrs["layer_names"]:
            group = file["model_weights"][layer]
            widths[layer] = {n: group[n].shape for n in group.attrs["weight_names"]}
    path = folder / "full.h5"
    with h5py.File(path, "w") as file:
        for name, value in h5py.File(SOURCE)["model_weights"].attrs.items():
            file.attrs[name] = value
        for layer, weights in widths.items():
            group = file.create_group(layer)
            group.attrs["weight_names"] = list(weights)
            for name, shape in weights.items():
                wide = tuple(n if n in (1, 3, 7) else n * 16 for n in shape)
                wide = (*wide[:-1], 1000) if shape[-1] == 4 and "fc1000" in name else wide
                group.create_dataset(name, data=np.full(wide, 1e-3, "f4"), compression=1)
    return path


def test_a_file_of_full_size_loads_strictly(tmp_path):
    odd = ("constant-kernel", "identical-kernels")  # every number is the same
    convert(full_size(tmp_path), tmp_path / "out.pth", parity=False, allow=odd)
    model = ResNet50()

    assert not any(
        bool(keys)
        for keys in model.load_state_dict(torch.load(tmp_path / "out.pth", weights_only=True))
    )
    assert sum(p.numel() for p in model.parameters()) == 25_583_592
    assert model(torch.zeros(1, 3, 224, 224)).shape == (1, 1000)


def test_it_trains():
    """What the tutorial's own port could not do: blocks made inside the forward pass had no
    parameters that an optimiser could find."""
    torch.manual_seed(0)
    model = ResNet(architecture((224, 224, 3), 2, width=4))
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    pictures = torch.randn(4, 3, 224, 224)
    pictures[2:] += 1
    classes = torch.tensor([0, 0, 1, 1])
    losses = []
    for _ in range(8):
        loss = nn.functional.cross_entropy(model(pictures), classes)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())

    assert losses[-1] < losses[0] / 4


@pytest.mark.parametrize("size", [197, 224, 225, 250, 448])
def test_the_last_map_is_as_large_as_it_says(size):
    model = ResNet(architecture((size, 224, 3), 3, width=2)).eval()

    features = model.forward_features(torch.zeros(1, 3, size, 224))
    assert list(features.shape[2:]) == map_size(size, 224)
    assert model(torch.zeros(1, 3, size, 224)).shape == (1, 3)


def test_pictures_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match="from 197 pixels on"):
        ResNet50((196, 224, 3))
    assert isinstance(architecture((224, 224, 1)), Architecture)


def test_a_summary_has_shapes_and_parameters():
    table = resnet_pt.summary(ResNet50())

    assert table.total_params == 25_583_592
    assert "[1, 64, 112, 112]" in str(table)
    assert "[1, 64, 55, 55]" in str(table)
    assert resnet_pt.summary(nn.ReLU(), (1, 2)).total_params == 0
    with pytest.raises(ValueError, match="give input_size"):
        resnet_pt.summary(nn.ReLU())
