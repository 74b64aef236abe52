"""The helper for other projects' tests, and that it fails when it has to."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from helpers import arrays_of, fixture, record
from torch import nn
from torch.nn.utils import parametrizations, prune

import resnet_pt
from converter.conversion import convert
from converter.errors import SourceError
from converter.testing import assert_same_logits

PATH = fixture("keras-2.2.4-tensorflow")


@pytest.fixture(scope="module", params=[".pth", ".safetensors"])
def target(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("converted") / f"out{request.param}"
    convert(PATH, path, parity=False)
    return path


@pytest.mark.slow
def test_a_converted_network_passes_and_stays_as_it_is(target):
    model = resnet_pt.load(target)
    before = {name: value.clone() for name, value in model.named_parameters()}

    parity = assert_same_logits(model, record(PATH))

    assert parity.verdict == "equal"
    assert len(parity.layers) == 125
    assert all(torch.equal(before[name], value) for name, value in model.named_parameters())
    assert {value.dtype for value in model.parameters()} == {torch.float32}


def test_a_wrong_layer_is_named_with_what_it_looks_like(target):
    model = resnet_pt.load(target)
    with torch.no_grad():
        model.layer3[2].bn1.weight.copy_(model.layer3[2].bn1.weight.roll(1))

    with pytest.raises(AssertionError) as error:
        assert_same_logits(model, str(record(PATH)))

    message = str(error.value)
    assert "does not give the logits of record of Keras 2.2.4 on tensorflow" in message
    assert "the first layer that is known to differ is bn4c_branch2a at [" in message
    assert "(module layer3.2.bn1)" in message
    assert "it looks as if its gamma is shifted by one" in message


def test_a_network_left_in_training_mode_fails(target):
    model = resnet_pt.load(target).train()

    with pytest.raises(AssertionError, match="it runs in training mode"):
        assert_same_logits(model, record(PATH))
    assert model.training


@pytest.mark.slow
def test_a_state_dict_carries_the_names_of_the_original(target, tmp_path):
    model = resnet_pt.load(target)
    torch.save(model.state_dict(), tmp_path / "again.pth")
    again = resnet_pt.ResNet(model.architecture).eval()
    again.load_state_dict(torch.load(tmp_path / "again.pth", weights_only=True))
    with torch.no_grad():
        again.conv1.weight.copy_(again.conv1.weight.flip(1))

    with pytest.raises(AssertionError, match="the first layer that differs is conv1 "):
        assert_same_logits(again, record(PATH))


def test_any_other_network_is_compared_by_its_logits(target):
    class Wrapped(nn.Module):
        def __init__(self, model):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model(x)

    model = Wrapped(resnet_pt.load(target))
    assert assert_same_logits(model, record(PATH)).layers == ()
    with torch.no_grad():
        model.model.fc.bias += 1e-3

    with pytest.raises(AssertionError, match=r"wraps another \(model\) that knows"):
        assert_same_logits(model, record(PATH))


def test_what_hides_logits_is_no_pass(target, tmp_path):
    arrays = arrays_of(record(PATH))
    del arrays["logits"], arrays["meta"]
    arrays["output"] = np.eye(10, dtype=np.float32)[arrays["output"].argmax(1)]
    np.savez(tmp_path / "record.npz", **arrays)

    with pytest.raises(AssertionError, match="the record holds no logits"):
        assert_same_logits(resnet_pt.load(target), tmp_path / "record.npz")
    with pytest.raises(SourceError, match="is not a record"):
        assert_same_logits(resnet_pt.load(target), target)


def test_what_came_out_of_softmax_is_compared_as_logits(target, tmp_path):
    arrays = arrays_of(record(PATH))
    del arrays["logits"], arrays["meta"]
    np.savez(tmp_path / "record.npz", **arrays)
    model = resnet_pt.load(target)

    assert assert_same_logits(model, tmp_path / "record.npz").verdict == "equal"
    with torch.no_grad():
        model.fc.bias[int(arrays["output"][0].argmin())] += 1e-2

    with pytest.raises(AssertionError, match="logits"):
        assert_same_logits(model, tmp_path / "record.npz")


def test_what_is_no_network_of_this_record_fails_with_a_message(target):
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    class Named(nn.Module):
        architecture = "resnet50"  # as other projects use the word

        def __init__(self):
            super().__init__()
            self.model = resnet_pt.load(target)

        def forward(self, x):
            return self.model(x)

    other = resnet_pt.with_classes(resnet_pt.load(target), 3)

    with pytest.raises(AssertionError, match="it returns tuple, not a tensor"):
        assert_same_logits(Pair(), record(PATH))
    with pytest.raises(AssertionError, match=r"logits are \(1, 10\), the network's \(N, 3\)"):
        assert_same_logits(other, record(PATH))
    assert assert_same_logits(Named(), record(PATH)).verdict == "equal"


def test_modules_that_are_gone_or_named_twice_are_no_crash(target):
    shorter, doubled = resnet_pt.load(target), resnet_pt.load(target)
    shorter.layer2 = nn.Identity()
    names = doubled.original_layers
    doubled.original_layers = {**names, "bn1": names["conv1"]}

    with pytest.raises(AssertionError, match="it cannot run on the original's input"):
        assert_same_logits(shorter, record(PATH))
    with pytest.raises(AssertionError, match="has conv1 at several modules"):
        assert_same_logits(doubled, record(PATH))


@pytest.mark.slow
@pytest.mark.parametrize("change", [nn.Module.double, nn.Module.train], ids=["double", "train"])
def test_a_network_is_given_back_as_it_came(change, target):
    model = change(resnet_pt.load(target))
    before = {name: value.clone() for name, value in model.state_dict().items() if name[0] != "_"}
    modes = [module.training for module in model.modules()]

    with pytest.raises(AssertionError) if model.training else nullcontext():
        assert_same_logits(model, record(PATH))

    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(after[name].dtype == value.dtype for name, value in before.items())
    assert [module.training for module in model.modules()] == modes
    assert not any(module._forward_hooks for module in model.modules())


def test_an_optimized_network_passes_and_a_wrong_fold_does_not(target):
    """Folded layers are no layers of the original by themselves; blocks and logits are."""
    fast = resnet_pt.optimize(resnet_pt.load(target))

    assert assert_same_logits(fast, record(PATH)).verdict == "equal"

    with torch.no_grad():
        fast.layer3[1].convolutions[1].bias[0] += 1e-2
    with pytest.raises(AssertionError, match=r"layer3\.1"):
        assert_same_logits(fast, record(PATH))


def rewrapped(model, how):
    """An equal network whose tensors are not where its architecture has them."""
    if how == "DataParallel":
        return nn.DataParallel(model)
    if how == "compiled":
        return torch.compile(model, backend="eager")
    if how == "weight_norm":
        parametrizations.weight_norm(model.fc)
    if how == "a Dropout before fc":
        model.fc = nn.Sequential(nn.Dropout(), model.fc).eval()
    if how == "frozen":
        model.requires_grad_(False)
    return model


@pytest.mark.slow
@pytest.mark.parametrize(
    "how", ["compiled", "weight_norm", "a Dropout before fc", "frozen", "DataParallel"]
)
def test_an_equal_network_passes_however_it_is_wrapped(how, target):
    model = rewrapped(resnet_pt.load(target), how)

    assert assert_same_logits(model, record(PATH)).verdict == "equal"
    with torch.no_grad():
        next(p for name, p in model.named_parameters() if name.endswith("bn1.bias")).add_(0.01)
    named = r"the first layer that (is known to differ|differs) is"
    with pytest.raises(AssertionError, match=named):
        assert_same_logits(model, record(PATH))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_network_of_half_the_precision_is_told_to_be(dtype, target):
    model = resnet_pt.load(target).to(dtype)

    with pytest.raises(AssertionError, match=f"its weights are {str(dtype)[6:]}: that alone"):
        assert_same_logits(model, record(PATH))


def test_what_is_no_module_is_a_type_error(target):
    with pytest.raises(TypeError, match="takes a torch module, not "):
        assert_same_logits(target, record(PATH))


def test_a_network_that_cannot_be_copied_fails_with_what_to_do(target):
    model = resnet_pt.load(target)
    prune.identity(model.conv1, "weight")

    with pytest.raises(AssertionError, match=r"cannot be copied(.|\n)*prune.remove"):
        assert_same_logits(model, record(PATH))


class Tuple(nn.Module):
    """A network whose layers are right, and whose result is no tensor."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.original_layers = {f"model.{k}": v for k, v in model.original_layers.items()}

    def forward(self, x):
        return self.model(x), x


def test_a_network_that_breaks_off_blames_none_of_its_right_layers(tmp_path):
    """Two depths of rounding in float32 are above the least gate there: 3.9e-6 in a layer that
    is right, held against a record of samples."""
    source = fixture("keras-3.0.5-conv_block")
    convert(source, tmp_path / "out.pth", parity=False)

    with pytest.raises(AssertionError, match="it returns tuple") as refusal:
        assert_same_logits(Tuple(resnet_pt.load(tmp_path / "out.pth")), record(source))
    assert "the first layer that" not in str(refusal.value)

    shrunk = resnet_pt.load(tmp_path / "out.pth")
    shrunk.layer4[0].conv2.padding = (0, 0)
    with pytest.raises(AssertionError, match="it cannot run on the original's input") as refusal:
        assert_same_logits(shrunk, record(source))
    assert "differs is conv4" not in str(refusal.value)
    assert "differ is conv4" not in str(refusal.value)
