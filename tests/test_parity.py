"""The proof has to fail when one thing is wrong: each test of parity has its anti-test here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import converted, fixture, opened, pictures_of, record

from converter.conversion import convert
from converter.errors import ParityError, SourceError
from converter.facts import changes
from converter.mapping.plan import make_plan
from converter.parity.comparing.compare import difference
from converter.parity.original.recording import read_record
from converter.parity.prove import compare, prove_tensors

PATH = fixture("keras-2.2.4-tensorflow")


@pytest.fixture(scope="module")
def right():
    return converted(PATH)


@pytest.fixture(scope="module")
def recording():
    return read_record(record(PATH))


def verdict(network, tensors, recording):
    parity = compare(network, tensors, recording, ("cpu",))
    return parity.verdict, parity.first_wrong_layer


def changed(tensors, **new):
    return {**tensors, **{name.replace("__", "."): value for name, value in new.items()}}


def swapped(tensors, one, other):
    return {**tensors, one: tensors[other], other: tensors[one]}


def test_the_right_conversion_is_equal(right, recording):
    assert verdict(*right, recording) == ("equal", None)


TENSOR_FAULTS = {
    "gamma and beta swapped": (
        lambda t: swapped(t, "layer2.0.bn1.weight", "layer2.0.bn1.bias"),
        "bn3a_branch2a",
    ),
    "mean and variance swapped": (
        lambda t: {
            **t,
            "layer3.1.bn2.running_mean": t["layer3.1.bn2.running_var"],
            "layer3.1.bn2.running_var": np.abs(t["layer3.1.bn2.running_mean"]),
        },
        "bn4b_branch2b",
    ),
    "3x3 kernel flipped": (
        lambda t: changed(
            t, layer1__1__conv2__weight=t["layer1.1.conv2.weight"][..., ::-1, ::-1].copy()
        ),
        "res2b_branch2b",
    ),
    "3x3 kernel's height and width swapped": (
        lambda t: changed(
            t, layer4__2__conv2__weight=t["layer4.2.conv2.weight"].swapaxes(2, 3).copy()
        ),
        "res5c_branch2b",
    ),
    "3x3 kernel's in and out swapped": (
        lambda t: changed(
            t, layer1__0__conv2__weight=t["layer1.0.conv2.weight"].swapaxes(0, 1).copy()
        ),
        "res2a_branch2b",
    ),
    "shortcut and last convolution swapped": (
        lambda t: swapped(t, "layer1.0.conv3.weight", "layer1.0.downsample.0.weight"),
        "res2a_branch2c",
    ),
    "convolution bias dropped": (
        lambda t: changed(t, layer3__5__conv3__bias=np.zeros_like(t["layer3.5.conv3.bias"])),
        "res4f_branch2c",
    ),
    "input channels reversed": (
        lambda t: changed(t, conv1__weight=t["conv1.weight"][:, ::-1].copy()),
        "conv1",
    ),
    "classifier off by one class": (
        lambda t: changed(t, fc__bias=np.roll(t["fc.bias"], 1)),
        "fc1000",
    ),
}


@pytest.mark.parametrize("fault", TENSOR_FAULTS, ids=str)
def test_a_wrong_tensor_is_not_equal_and_its_layer_is_named(fault, right, recording):
    break_it, layer = TENSOR_FAULTS[fault]
    network, tensors = right

    assert verdict(network, break_it(tensors), recording) == ("not equal", layer)


def stride_of_one_block_moved(architecture):
    first, *rest = architecture.stages[1]
    a, b, c = first.convs
    moved = replace(first, convs=(a.replace(stride=(1, 1)), b.replace(stride=(2, 2)), c))
    stages = (architecture.stages[0], (moved, *rest), *architecture.stages[2:])
    return replace(architecture, stages=stages)


FACT_FAULTS = {
    "epsilon": (lambda a: changes.with_eps(a, 1e-5), "bn_conv1"),
    "stem": (lambda a: changes.with_stem(a, "same"), "conv1"),
    "pool unpadded": (lambda a: changes.with_pool(a, "valid"), "max_pooling2d_1"),
    "pool 'same'": (lambda a: changes.with_pool(a, "same"), "max_pooling2d_1"),
    "stride of one block": (stride_of_one_block_moved, "res3a_branch2a"),
}


@pytest.mark.parametrize("fault", FACT_FAULTS, ids=str)
def test_a_wrong_fact_is_not_equal_and_its_layer_is_named(fault, right, recording):
    change, layer = FACT_FAULTS[fault]
    network, tensors = right
    structure = replace(network.structure, architecture=change(network.architecture))

    assert verdict(replace(network, structure=structure), tensors, recording) == (
        "not equal",
        layer,
    )


@pytest.mark.slow
def test_a_failed_proof_writes_nothing_and_names_the_layer(tmp_path):
    with pytest.raises(
        ParityError, match="the first layer that is known to differ is bn_conv1"
    ) as error:
        convert(PATH, tmp_path / "out.pth", against=record(PATH), bn_eps=1e-5, device="cpu")

    assert error.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_every_bit_of_every_tensor_is_proven(right):
    _, tensors = right
    with opened(PATH) as (checkpoint, network):
        plan = make_plan(checkpoint, network)

        assert prove_tensors(plan, checkpoint, tensors) == len(tensors)

        flipped = tensors["layer3.2.conv2.weight"].copy()
        flipped.view(np.uint32).flat[7] ^= 1
        faults = {
            "layer3.2.conv2.weight is not res4c_branch2b/kernel": changed(
                tensors, layer3__2__conv2__weight=flipped
            ),
            "bn1.weight is not bn_conv1/gamma": swapped(tensors, "bn1.weight", "bn1.bias"),
            "fc.bias is in only one": {k: v for k, v in tensors.items() if k != "fc.bias"},
            "extra is in only one": {**tensors, "extra": np.zeros(1)},
        }
        for message, broken in faults.items():
            with pytest.raises(ParityError, match=message):
                prove_tensors(plan, checkpoint, broken)


@pytest.mark.parametrize(
    ("actual", "relative"),
    [
        pytest.param([0.0, 1.0, -4.0], 0.0, id="the same"),
        pytest.param([0.0, 1.0, -3.0], 0.25, id="apart"),
        pytest.param([0.0, np.nan, -4.0], np.inf, id="nan"),
        pytest.param([0.0, np.inf, -4.0], np.inf, id="inf"),
        pytest.param([0.0, 1.0], np.inf, id="another shape"),
    ],
)
def test_difference_is_the_worst_element_relative_to_the_largest(actual, relative):
    found = difference("logits", np.array(actual), np.array([0.0, 1.0, -4.0]))

    assert found.relative == relative


def test_nan_on_both_sides_is_not_equal():
    nan = np.array([np.nan, 1.0])

    found = difference("logits", nan, nan)

    assert (found.absolute, found.relative) == (np.inf, np.inf)


@pytest.mark.slow
def test_a_record_decides_what_the_file_leaves_open(tmp_path):
    """Weights without layer names around them, run by a Keras whose stem padded as 'same'."""
    from helpers import weightless_removed, weights_only

    path = fixture("keras-2.0.9-tensorflow")
    alone = weights_only(path, tmp_path)
    weightless_removed(alone)
    import h5py

    with h5py.File(alone, "a") as file:
        del file.attrs["keras_version"]

    report = convert(alone, tmp_path / "out.pth", against=record(path), device="cpu")

    stem = next(fact for fact in report.facts if fact.name == "stem")
    assert (stem.value, str(stem.evidence)) == ("7x7/2, 'same' as in TensorFlow", "record")
    assert report.trials[0].changes == {"stem": "7x7/2, 'same' as in TensorFlow"}
    assert sum(trial.fits for trial in report.trials) == 1


@pytest.mark.slow
def test_candidates_that_a_record_cannot_tell_apart_are_shown(tmp_path):
    """Without a tiny variance, epsilon 1e-5 and 1.001e-5 give the same float32 logits."""
    import h5py
    from helpers import weights_only

    path = fixture("keras-2.3.1-conv_block-50")
    alone = weights_only(path, tmp_path)
    with h5py.File(alone, "a") as file:

        def widen(name, found):
            if name.endswith("moving_variance:0"):
                found[...] = np.maximum(found[...], 0.5)

        file.visititems(widen)
    network, tensors = converted(alone)
    own = tmp_path / "own.npz"
    from converter.parity.comparing import torch_run

    picture = pictures_of(record(path))[:1]
    model = torch_run.build(network.architecture, tensors)
    np.savez(own, input=picture, logits=torch_run.run(model, picture, "float64", "cpu")[""])

    report = convert(alone, tmp_path / "out.pth", against=own, device="cpu")

    ties = [dict(trial.changes) for trial in report.trials if trial.fits]
    assert ties[0] == {}
    assert {"epsilon": "1e-05"} in ties


@pytest.mark.parametrize("content", [b"", b"no record", b"PK\x03\x04broken"])
def test_what_is_no_record_is_refused(content, tmp_path):
    path = tmp_path / "record.npz"
    path.write_bytes(content)

    with pytest.raises(SourceError, match="is not a record"):
        read_record(path)


@pytest.mark.parametrize(
    ("name", "removed", "shape", "features"),
    [
        ("keras-2.2.4-tensorflow", ["avg_pool", "fc1000"], (128, 7, 7), "activation_49"),
        ("keras-2.1.6-tensorflow", ["flatten_1", "fc1000"], (64, 1, 1), "avg_pool"),
    ],
    ids=["the map", "an average pool that stayed (Keras up to 2.2.0)"],
)
def test_a_headless_file_gives_what_its_keras_gave(name, removed, shape, features, tmp_path):
    """`include_top=False`: the same file without its last layers, against their inputs."""
    import h5py
    import torch
    from helpers import as_text, weights_only

    import resnet_pt

    alone = weights_only(fixture(name), tmp_path)
    with h5py.File(alone, "a") as file:
        layers = [as_text(layer) for layer in file.attrs["layer_names"]]
        file.attrs["layer_names"] = [layer for layer in layers if layer not in removed]
    convert(alone, tmp_path / "out.pth", parity=False)
    recorded = read_record(record(fixture(name)))

    picture = torch.from_numpy(recorded.passes[0].input).permute(0, 3, 1, 2)
    with torch.no_grad():
        result = resnet_pt.load(tmp_path / "out.pth")(picture)

    sample = recorded.passes[0].layers[features]
    values = result.permute(0, 2, 3, 1).numpy().ravel()[sample.index]
    assert result.shape == (len(picture), *shape)
    assert difference(features, values, sample.value).relative < 1e-5


def test_on_a_gpu_reduced_precision_is_reported_and_never_judged(right, recording, monkeypatch):
    """A stand-in: 'cuda' runs on the CPU here, and its shorter mantissas are played by noise."""
    import torch

    from converter.parity import prove
    from converter.parity.comparing import torch_run

    run, autocast = torch_run.run, torch.autocast
    seen = []

    def played(model, picture, dtype, device):
        tf32 = torch.backends.cuda.matmul.allow_tf32
        bfloat16 = torch.is_autocast_enabled("cpu")
        seen.append((device, dtype, tf32, bfloat16))
        with autocast("cpu", enabled=False):
            result = run(model, picture, dtype, "cpu")
        off = 1e-3 * tf32 + 1e-2 * bfloat16
        arrays = {name: value * (1 + off) for name, value in result.items()}
        return torch_run.Results(arrays, result.sums)

    monkeypatch.setattr(torch_run, "run", played)
    monkeypatch.setattr(torch, "autocast", lambda device, *a, **k: autocast("cpu", *a, **k))
    parity = prove.compare(*right, recording, ("cpu", "cuda"))

    reported = {one.dtype: one for one in parity.comparisons if not one.counts}
    assert parity.verdict == "equal"
    assert {one[1:] for one in seen if one[0] == "cuda"} == {
        ("float64", False, False),
        ("float32", False, False),
        ("float32", True, False),
        ("float32", False, True),
    }
    assert not any(tf32 or bfloat16 for device, _, tf32, bfloat16 in seen if device == "cpu")
    assert list(reported) == ["float32 (TF32)", "bfloat16"]
    assert 1e-4 < reported["float32 (TF32)"].worst.relative < 5e-3
    assert reported["bfloat16"].worst.relative > 5e-3
    assert [one.top1 for one in reported.values()] == [1.0, 1.0]


def test_a_failed_proof_does_not_blame_tf32():
    from converter.conversion import not_equal
    from converter.parity.prove import Comparison, Parity

    far = difference("logits", np.array([1.0]), np.array([2.0]))
    failed = Comparison("cpu", "float32", "float32", (1, 8, 8, 3), far, 0.0)
    reported = replace(failed, device="cuda", dtype="float32 (TF32)", counts=False)

    message = str(not_equal(Parity("not equal", "Keras", comparisons=(failed, reported))))

    assert "float32 on cpu" in message
    assert "TF32" not in message


def test_what_is_not_finite_is_infinitely_far_and_no_warning():
    wild = np.array([np.inf, np.nan, 1e300, 1.0])

    found = difference("logits", wild, np.array([np.inf, 0.0, -1e300, 1.0]))

    assert (found.absolute, found.relative) == (np.inf, np.inf)
