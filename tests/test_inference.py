"""`resnet_pt.optimize`: the same logits, within float32 noise, from any architecture."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import converted, fixture
from networks import random_tensors
from torch import nn

import resnet_pt
from converter.facts.changes import map_norms
from converter.parity.comparing import torch_run
from resnet_pt import packed, resnet
from resnet_pt.layers import PaddedConv2d
from resnet_pt.packed import PackedBlock, PackedConv2d

KERAS = resnet((1, 2, 1, 1), 7, width=4, stride_on="1x1", bias=True, eps=1e-3, momentum=0.01)
SCALED = map_norms(KERAS, lambda norm: norm.replace(rescale=True))
FIXTURES = {
    name: fixture(name)
    for name in (
        "keras-2.0.9-tensorflow",  # 'same' stem, unpadded pool
        "keras-resnet-0.2.0-18",  # 'same' everywhere, no biases
        "keras-2.3.1-v2-50",  # pre-activation
        "keras-2.3.1-qubvel-18",  # pre-activation, and a norm of the picture
        "keras-2.10-nested-head",  # a norm in the head
        "keras-2.3.1-cifar-v1",
    )
}


def network(name):
    if name in FIXTURES:
        found, tensors = converted(FIXTURES[name])
        return torch_run.build(found.architecture, tensors)
    architecture = {"bias": KERAS, "Scale": SCALED}[name]
    return torch_run.build(architecture, random_tensors(architecture))


def pictures(model, batch=2):
    height, width = model.architecture.input_size or (70, 64)
    generator = np.random.default_rng(5)
    found = generator.uniform(-128, 128, (batch, 3, height, width)).astype(np.float32)
    return torch.from_numpy(found)


def furthest(found, expected):
    return float((found.double() - expected.double()).abs().max() / expected.abs().max())


@pytest.mark.parametrize("name", ["bias", "Scale", *FIXTURES])
def test_the_optimized_network_gives_the_same_logits(name):
    model = network(name)
    x = pictures(model)
    fast = resnet_pt.optimize(model)

    with torch.inference_mode():
        found = fast(x)
        expected = model.double()(x.double())

    assert furthest(found, expected) < 1e-5


@pytest.mark.parametrize("fault", ["bias", "weight"])
def test_a_convolution_that_is_folded_wrongly_would_be_noticed(fault, monkeypatch):
    model = network("bias")
    x = pictures(model)
    monkeypatch.setattr(packed, "possible", lambda: False)
    fast = resnet_pt.optimize(model)
    getattr(fast.layer2[1].conv2, fault).mul_(1.01)

    with torch.inference_mode():
        assert furthest(fast(x), model(x)) > 1e-5


def test_no_norm_is_left_behind_a_convolution_and_weights_are_channels_last(monkeypatch):
    monkeypatch.setattr(packed, "possible", lambda: False)
    fast = resnet_pt.optimize(network("Scale"))

    assert not [one for one in fast.modules() if isinstance(one, nn.BatchNorm2d)]
    assert fast.conv1.weight.is_contiguous(memory_format=torch.channels_last)
    assert not any(parameter.requires_grad for parameter in fast.parameters())


def test_norms_that_follow_no_convolution_stay():
    model = network("keras-2.3.1-qubvel-18")
    fast = resnet_pt.optimize(model)

    kept = [name for name, one in fast.named_modules() if isinstance(one, nn.BatchNorm2d)]
    assert "bn_data" in kept
    assert "layer2.0.bn1" in kept
    assert "norm" in kept
    assert not [name for name in kept if name.endswith("bn2")]
    assert any(isinstance(one, PaddedConv2d) for one in network("keras-2.0.9-tensorflow").modules())


def test_the_network_itself_is_left_as_it_was():
    model = network("bias")
    before = {
        name: tensor.clone() for name, tensor in model.state_dict().items() if "_ex" not in name
    }

    resnet_pt.optimize(model)

    assert all(torch.equal(model.state_dict()[name], tensor) for name, tensor in before.items())
    assert model.conv1.weight.is_contiguous()


@pytest.mark.parametrize("name", ["bias", "Scale", *FIXTURES])
def test_every_convolution_of_a_network_of_relus_is_packed(name):
    model = network(name)
    fast = resnet_pt.optimize(model)
    with torch.inference_mode():
        fast(pictures(model))

    convolutions = [one for one in fast.modules() if isinstance(one, PackedConv2d)]
    assert convolutions
    assert all(one.packed and one.packed[1].is_mkldnn for one in convolutions)
    assert not [one for one in fast.modules() if isinstance(one, nn.Conv2d)]


@pytest.mark.parametrize("name", ["bias", *FIXTURES])
def test_a_packed_network_is_unpacked_for_another_dtype_and_packed_again(name):
    model = network(name)
    x = pictures(model)
    fast = resnet_pt.optimize(model)

    with torch.inference_mode():
        first = fast(x)
        exact = fast.double()(x.double())
        again = fast.float()(x)

    assert exact.dtype == torch.float64
    assert furthest(first, exact) < 1e-5
    assert torch.equal(first, again)


@pytest.mark.parametrize("fault", ["relu", "sum", "bias"])
def test_a_packed_call_that_leaves_something_out_would_be_noticed(fault):
    model = network("bias")
    x = pictures(model)
    fast = resnet_pt.optimize(model)
    block = fast.layer2[1]
    if fault == "relu":
        block.last.relu = False
    elif fault == "sum":
        block.downsample.forward = torch.zeros_like
    else:
        block.convolutions[1].bias.mul_(1.01)

    with torch.inference_mode():
        assert furthest(fast(x), model(x)) > 1e-5


@pytest.mark.parametrize("activation", ["elu", "silu"])
def test_what_is_activated_by_another_function_is_folded_only(activation):
    architecture = replace(KERAS, activation=activation)
    model = torch_run.build(architecture, random_tensors(architecture))
    x = pictures(model)
    fast = resnet_pt.optimize(model)

    assert not [one for one in fast.modules() if isinstance(one, (PackedConv2d, PackedBlock))]
    with torch.inference_mode():
        assert furthest(fast(x), model.double()(x.double())) < 1e-5


def test_maps_of_any_size_batch_and_layout_are_taken():
    model = network("keras-resnet-0.2.0-18")
    fast = resnet_pt.optimize(model)
    channels_last = torch.channels_last

    with torch.inference_mode():
        for shape in ((1, 3, 64, 64), (3, 3, 71, 90), (5, 3, 224, 65)):
            x = torch.rand(shape, generator=torch.Generator().manual_seed(3)) * 250 - 120
            expected = model(x)
            assert furthest(fast(x), expected) < 1e-5
            assert furthest(fast(x.contiguous(memory_format=channels_last)), expected) < 1e-5
        assert fast(torch.zeros(0, 3, 64, 64)).shape == (0, *model(x).shape[1:])
        assert torch.equal(
            x, torch.rand(shape, generator=torch.Generator().manual_seed(3)) * 250 - 120
        )


@pytest.mark.parametrize("name", ["bias", "keras-2.3.1-v2-50"])
def test_gradients_of_the_picture_are_those_of_the_network(name):
    model = network(name)
    x, same = pictures(model).requires_grad_(), pictures(model).requires_grad_()

    resnet_pt.optimize(model)(x)[0, 3].backward()
    model(same)[0, 3].backward()

    assert furthest(x.grad, same.grad) < 1e-4


def test_a_packed_network_can_be_copied():
    model = network("bias")
    x = pictures(model)
    fast = resnet_pt.optimize(model)

    with torch.inference_mode():
        assert torch.equal(copy.deepcopy(fast)(x), fast(x))
        assert torch.equal(copy.deepcopy(fast)(x), fast(x))  # fast is packed by now


@pytest.fixture
def small_turns(monkeypatch):
    """At most two pictures at once, whatever the number of threads."""
    monkeypatch.setattr(packed, "PER_THREAD", 2 / torch.get_num_threads())


@pytest.mark.parametrize("batch", [2, 3, 7])
def test_a_large_batch_in_turns_gives_the_same_logits(batch, small_turns, monkeypatch):
    model = network("bias")
    x = pictures(model, batch)
    fast = resnet_pt.optimize(model)
    seen = []
    forward = PackedBlock.forward
    monkeypatch.setattr(
        PackedBlock, "forward", lambda self, x: seen.append(len(x)) or forward(self, x)
    )

    with torch.inference_mode():
        found = fast(x)

    assert {2: {2}, 3: {2, 1}, 7: {2, 1}}[batch] == set(seen)
    assert furthest(found, model(x).detach()) < 1e-5


@pytest.mark.parametrize("before", [False, True], ids=["behind", "before"])
def test_a_hook_sees_the_whole_batch(before, small_turns):
    model = network("bias")
    fast, seen = resnet_pt.optimize(model), []
    if before:
        fast.layer2.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    else:
        fast.layer2.register_forward_hook(lambda module, args, result: seen.append(len(result)))

    with torch.inference_mode():
        fast(pictures(model, 5))

    assert seen == [5]


def test_a_gradient_is_that_of_the_whole_batch(small_turns):
    model = network("bias")
    x = pictures(model, 5).requires_grad_()

    resnet_pt.optimize(model)(x)[:, 3].sum().backward()

    assert bool((x.grad.flatten(1).abs().amax(1) > 0).all())


def test_a_packed_network_takes_no_pictures_too():
    model = network("bias")

    with torch.inference_mode():
        assert resnet_pt.optimize(model)(pictures(model)[:0]).shape[0] == 0


def test_a_packed_network_saves_plain_tensors(tmp_path):
    fast = resnet_pt.optimize(network("bias"))
    torch.save(fast.state_dict(), tmp_path / "fast.pth")

    state = torch.load(tmp_path / "fast.pth", weights_only=True)

    del state["_extra_state"]
    assert {tensor.layout for tensor in state.values()} == {torch.strided}
    assert torch.equal(state["layer2.1.last.weight"], fast.layer2[1].last.weight)


def test_a_weight_that_is_changed_is_packed_anew():
    model = network("bias")
    x = pictures(model)
    fast = resnet_pt.optimize(model)

    with torch.no_grad():
        before = fast(x)
        fast.layer2[1].last.weight.mul_(1.01)
        assert furthest(fast(x), before) > 1e-5
        fast.load_state_dict(resnet_pt.optimize(model).state_dict())
        assert torch.equal(fast(x), before)


def test_one_picture_has_weights_of_its_own_and_several_share_theirs():
    model = network("keras-resnet-0.2.0-18")
    fast = resnet_pt.optimize(model)
    seen = []

    with torch.inference_mode():
        for shape in ((1, 3, 64, 64), (1, 3, 96, 64), (4, 3, 64, 64), (2, 3, 96, 80)):
            x = torch.rand(shape, generator=torch.Generator().manual_seed(3)) * 250 - 120
            assert furthest(fast(x), model(x)) < 1e-5
            seen.append(fast.conv1[0].packed)

    assert len({id(one) for one in seen}) == 3
    assert seen[2] is seen[3]
