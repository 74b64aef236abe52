"""What a comparison does not rest on is said: it must not look like a proof."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from helpers import FIXTURES, arrays_of, converted, fixture, record, weights_only
from stand_ins import whole_recording

from converter import verify
from converter.cli import verify_weights
from converter.conversion import convert
from converter.errors import ParityError
from converter.parity.comparing.layers import compared
from converter.parity.comparing.outputs import fitting
from converter.parity.comparing.torch_run import build
from converter.parity.original.recording import read_record
from converter.parity.prove import compare, compare_model
from converter.parity.rivals import alike, rivals, with_ties
from converter.testing import assert_same_logits
from resnet_pt import load
from resnet_pt.architecture import Conv
from resnet_pt.layers import ACTIVATIONS, activation

PATH = fixture("keras-2.2.4-tensorflow")


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    path = tmp_path_factory.mktemp("converted") / "out.pth"
    convert(PATH, path, parity=False)
    return path


def edited(target, folder, change):
    """A converted file with another description, saved as training saves: without checksum."""
    state = torch.load(target, weights_only=True)
    state["_extra_state"].pop("sha256")
    change(state["_extra_state"])
    torch.save(state, folder / "edited.pth")
    return folder / "edited.pth"


def recorded(folder, change):
    """The record of the fixture with other arrays."""
    arrays = arrays_of(record(PATH))
    change(arrays)
    np.savez(folder / "record.npz", **arrays)
    return folder / "record.npz"


def run(*arguments):
    return CliRunner().invoke(verify_weights, [str(argument) for argument in arguments])


# ---- what is applied to the logits


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sigmoid", "linear"])
def test_another_output_activation_is_not_equal_and_named(name, target, tmp_path):
    def change(description):
        description["architecture"]["outputs"][0]["activation"] = name

    path = edited(target, tmp_path, change)
    report = tmp_path / "report.json"

    result = run(path, "--against", record(PATH), "--device", "cpu", "--report", report)

    assert result.exit_code == 1
    assert f"the activation behind fc1000 is {name}, the original's softmax" in result.stderr
    assert "does not give the logits" not in result.stderr
    written = json.loads(report.read_text())
    assert (written["verdict"], written["first_wrong_layer"]) == ("not equal", "fc1000")
    with pytest.raises(AssertionError, match=f"is {name}, the original's softmax"):
        assert_same_logits(load(path), record(PATH))


@pytest.mark.parametrize("name", sorted({*ACTIVATIONS, "softmax"} - {"swish"}))
def test_each_activation_is_told_from_all_others(name):
    logits = np.random.default_rng(3).normal(0, 8, (3, 10))
    output = activation(name)(torch.from_numpy(logits.copy())).numpy().astype(np.float32)

    assert fitting(logits, output) == (name,)


@pytest.mark.slow
def test_of_weights_alone_the_record_tells_the_output_activation(tmp_path):
    def sigmoid(arrays):
        arrays["output"] = 1 / (1 + np.exp(-arrays["logits"]))

    alone, against = weights_only(PATH, tmp_path), recorded(tmp_path, sigmoid)

    report = convert(alone, tmp_path / "out.pth", against=against, device="cpu")

    assert report.network.architecture.outputs[0].activation == "sigmoid"
    fact = next(fact for fact in report.facts if fact.name == "output")
    assert (fact.value, str(fact.evidence)) == ("sigmoid", "record")
    assert verify(tmp_path / "out.pth", against, device="cpu").verdict == "equal"
    again = verify(tmp_path / "out.pth", alone, parity=False, pool="zero", bn_eps=1e-3)
    assert again.warnings == (
        "fc1000: sigmoid behind its logits in TARGET; weights alone do not tell it (softmax is "
        "assumed), and it is not compared",
    )


@pytest.mark.slow
def test_a_whole_model_whose_record_has_another_output_activation_is_refused(tmp_path):
    against = recorded(tmp_path, lambda arrays: arrays.update(output=np.tanh(arrays["logits"])))

    with pytest.raises(ParityError, match="behind fc1000 is softmax, the original's tanh"):
        convert(PATH, tmp_path / "out.pth", against=against, device="cpu")


# ---- networks that the pictures do not tell apart


@pytest.mark.slow
def test_an_activation_that_no_picture_tells_from_another_is_named():
    """Every norm is scaled down so far that nothing reaches 6."""
    network, tensors = converted(PATH)
    small = {
        name: array * np.float32(1e-3) if is_norm(name, tensors) else array
        for name, array in tensors.items()
    }
    original = whole_recording(network, small)
    outputs = compared(network.structure)
    cut_off = replace(network.architecture, activation="relu6")

    found = {}
    for architecture in (network.architecture, cut_off):
        model = build(architecture, small)
        parity = compare_model(model, outputs, original, ("cpu",))
        assert parity.verdict == "equal"
        found[architecture.activation] = with_ties(parity, model, outputs, original).ties

    assert found["relu"] == ("activation relu6 in the place of relu",)
    assert found["relu6"] == ("activation relu in the place of relu6",)


def is_norm(name, tensors):
    module, _, vector = name.rpartition(".")
    return f"{module}.running_mean" in tensors and vector in ("weight", "bias")


@pytest.mark.slow
def test_ties_are_shown_when_a_record_is_verified(target, tmp_path):
    page = tmp_path / "report.html"

    result = run(target, "--against", record(PATH), "--device", "cpu", "--report", page)

    assert result.exit_code == 0
    report = verify(target, record(PATH), device="cpu")
    assert report.parity.ties == ()  # this record tells all of them apart
    tied = replace(report, parity=replace(report.parity, ties=("epsilon <1.001e-5>",)))
    from converter.cli.text import summary
    from converter.reports import format_of

    assert "not told apart by this record: epsilon <1.001e-5>" in summary(tied)
    rendered = format_of(page).render(tied.to_dict()).decode()
    assert "Not told apart by this record: epsilon &lt;1.001e-5&gt;." in rendered


@pytest.mark.slow
def test_the_zeros_around_a_map_that_is_never_negative_are_a_tie(tmp_path):
    path = FIXTURES / "keras-2.15-v2.keras"
    convert(path, tmp_path / "out.pth", parity=False)

    ties = verify(tmp_path / "out.pth", record(path), device="cpu").parity.ties

    assert ties == (
        "activation relu6 in the place of relu",
        "pool inf in the place of zero",
        "an activation behind the stem",
        *(
            f"layer{stage}: what is strided padded by (1, 0, 1, 0) in the place of 1"
            for stage in (1, 2, 3)
        ),
    )


@pytest.mark.parametrize("kernel", [2, 3, 5, 7])
@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("padding", [0, 1, 2, 3, "same", (0, 1, 0, 1), (2, 3, 2, 3)])
def test_paddings_that_are_alike_give_the_same_only_for_multiples_of_the_stride(
    kernel, stride, padding
):
    other = alike(kernel, stride, padding)
    if other == padding:
        return
    weight = torch.arange(1.0, kernel**2 + 1).reshape(1, 1, kernel, kernel)

    def result(size, how):
        layer = Conv(1, 1, (kernel, kernel), (stride, stride), how).module()
        layer.weight.data = weight
        with torch.no_grad():
            return layer(torch.arange(1.0, size**2 + 1).reshape(1, 1, size, size))

    same = result(4 * stride, padding), result(4 * stride, other)
    assert torch.equal(*same)
    sizes = [4 * stride + more for more in range(1, stride)]
    pairs = [(result(size, padding), result(size, other)) for size in sizes]
    assert any(a.shape != b.shape or not torch.equal(a, b) for a, b in pairs)


@pytest.mark.slow
def test_another_padding_of_a_stage_is_a_tie_at_an_even_size(tmp_path):
    """torch's padding of 1 reads one column more of an odd map only."""
    path = FIXTURES / "keras-hub-0.32-vd-26.weights.h5"
    convert(path, tmp_path / "out.pth", parity=False)
    right = load(tmp_path / "out.pth")

    ties = assert_same_logits(right, record(path)).ties

    assert any(one.startswith("layer2: what is strided padded by") for one in ties), ties


def test_no_rival_is_the_network_itself():
    network, _ = converted(PATH)
    found = dict(rivals(network.architecture))

    assert network.architecture not in found.values()
    assert len(set(found.values())) == len(found) > 15


@pytest.mark.slow
def test_a_pair_of_edits_that_cancel_out_is_not_equal(target, tmp_path):
    """Twice the norm, half the kernel that reads it: the logits are the same to the last bit."""
    state = torch.load(target, weights_only=True)
    state["_extra_state"].pop("sha256")
    for name, factor in {
        "layer2.1.bn1.weight": 2,
        "layer2.1.bn1.bias": 2,
        "layer2.1.conv2.weight": 0.5,
    }.items():
        state[name] = state[name] * factor
    torch.save(state, tmp_path / "cancelling.pth")

    with pytest.raises(ParityError) as error:
        verify(tmp_path / "cancelling.pth", record(PATH), device="cpu")

    assert error.value.report.parity.logits_agree
    assert error.value.report.first_wrong_layer == "bn3b_branch2a"
    assert "gives the logits of, and is not the same as, record of Keras 2.2.4" in str(error.value)


# ---- layers that are not judged


@pytest.mark.slow
def test_how_many_layers_are_judged_and_how_is_said(target, tmp_path):
    def of_blocks(arrays):
        for name in [n for n in arrays if n.startswith(("layer/res2", "layer/conv1"))]:
            del arrays[name]

    against = recorded(tmp_path, of_blocks)
    report = tmp_path / "report.json"

    result = run(target, "--against", against, "--device", "cpu", "--report", report)

    assert result.exit_code == 0
    assert "114 not alone: what they read is not held whole" in result.stderr
    assert "11 not at all, the original's side does not hold them: conv1, res2a" in result.stderr
    assert "50 layers of the record stand for no module here: " in result.stderr
    judged = json.loads(report.read_text())["parity"]["judged"]
    assert (judged["running"], judged["alone"], judged["not_alone"]) == (114, 0, 114)
    assert "res2c_branch2b" in judged["not_at_all"]


@pytest.mark.slow
def test_a_target_does_not_choose_what_it_is_compared_with(target, tmp_path):
    path = edited(target, tmp_path, lambda description: description.update(layers={}))
    result = run(path, "--against", record(PATH), "--device", "cpu")
    assert result.exit_code == 1
    assert "does not say of each module which layer of the original it is" in result.stderr
    assert "conv1 has no layer" in result.stderr

    path = edited(target, tmp_path, lambda description: description["layers"].pop("layer3.1.conv2"))
    with pytest.raises(ParityError, match=r"layer3\.1\.conv2 has no layer"):
        verify(path, record(PATH), device="cpu")

    def twice(description):
        description["layers"]["layer3.1.conv2"] = description["layers"]["layer3.1.conv3"]

    with pytest.raises(ParityError, match="res4b_branch2c stands at several modules"):
        verify(edited(target, tmp_path, twice), record(PATH), device="cpu")

    path = edited(target, tmp_path, lambda description: description["layers"].update({"no.x": "y"}))
    with pytest.raises(ParityError, match=r"there is no module no\.x"):
        verify(path, record(PATH), device="cpu")


@pytest.mark.slow
def test_a_layer_by_a_name_that_the_record_lacks_is_said(target, tmp_path):
    def renamed(description):
        description["layers"]["layer3.1.conv2"] = "another"

    parity = verify(edited(target, tmp_path, renamed), record(PATH), device="cpu").parity

    assert parity.unjudged == ("another",)
    assert "res4b_branch2b" in parity.unnamed


@pytest.mark.slow
def test_another_preprocessing_is_said(target, tmp_path):
    path = edited(
        target, tmp_path, lambda description: description["architecture"].update(preprocessing="tf")
    )

    report = verify(path, PATH, parity=False)

    assert report.warnings == (
        "preprocessing: tf in TARGET, caffe in the file; it is no part of the network and is not "
        "compared",
    )


# ---- no layer is named that was not touched


def two_pictures(network, tensors):
    """An original known whole on its first picture, and by its logits on the second: the first
    shows nothing of an activation behind the stem, and the second does."""
    one = whole_recording(network, tensors)
    first = one.passes[0]
    flat = np.full_like(first.input, 0.0)
    model = build(network.architecture, tensors)
    from converter.parity.comparing import torch_run

    outputs = compared(network.structure)
    seen = {}

    def look(module, layer, inputs, result):
        from converter.parity.comparing.layers import as_array

        seen[layer] = as_array(result)

    with torch_run.watched(model, outputs, outputs.values(), look):
        torch_run.run(model, flat, "float64", "cpu")
    both = np.concatenate([flat, first.input])
    logits = torch_run.run(model, both, "float64", "cpu")
    from converter.parity.original.recording import Sample

    layers = {layer: Sample(None, v.ravel(), v.shape) for layer, v in seen.items()}
    return replace(one, passes=(replace(first, input=both, logits=logits, layers=layers),))


@pytest.mark.slow
def test_a_fault_that_only_a_later_picture_shows_blames_no_layer_that_was_not_touched():
    network, tensors = converted(PATH)
    tensors = {**tensors, "bn1.bias": np.abs(tensors["bn1.bias"]) + np.float32(1)}
    zero = (tensors["bn1.running_mean"] - tensors.get("conv1.bias", 0)).astype(np.float32)
    tensors["bn1.running_mean"] = tensors["bn1.running_mean"] - zero  # bn1 of a flat picture: beta
    original = two_pictures(network, tensors)
    stem = replace(network.architecture.stem, activation=False)
    structure = replace(network.structure, architecture=replace(network.architecture, stem=stem))

    parity = compare(replace(network, structure=structure), tensors, original, ("cpu",))

    assert parity.verdict == "not equal"
    assert all(one.own_passes for one in parity.layers)
    assert parity.first_wrong_layer is None
    assert "no layer is named" in parity.notes[0]


@pytest.mark.slow
def test_a_layer_that_is_not_recorded_may_be_at_fault(target, tmp_path):
    """Of the blocks' ends alone, the first one that differs is not the only suspect."""
    state = torch.load(target, weights_only=True)
    state["_extra_state"].pop("sha256")
    state["layer1.1.conv2.weight"] = state["layer1.1.conv2.weight"].flip(3)
    torch.save(state, tmp_path / "wrong.pth")

    def ends(arrays):
        for name in [n for n in arrays if n.startswith(("layer/res", "layer/bn"))]:
            del arrays[name]

    with pytest.raises(ParityError) as error:
        verify(tmp_path / "wrong.pth", recorded(tmp_path, ends), device="cpu")

    found = error.value.findings[0]
    assert "or it is before it, in res2b_branch2a, bn2b_branch2a, res2b_branch2b and" in found


def test_a_sampled_record_is_read_as_what_it_is():
    samples = read_record(record(PATH))

    assert samples.hidden == frozenset()
    assert samples.passes[0].outputs[""].shape == samples.passes[0].logits[""].shape


@pytest.mark.slow
def test_a_name_is_shown_as_text_whatever_is_in_it(target, tmp_path):
    """In a file and a record of a stranger: control characters, markup, ten thousand letters."""
    evil = "\x1b[31m<script>alert(1)</script>" + "x" * 10_000

    def renamed(description):
        description["layers"]["layer3.1.conv2"] = evil

    def rename(arrays):
        for part in ("index", "value"):
            arrays[f"layer/{evil}/{part}"] = arrays.pop(f"layer/res4b_branch2b/{part}")
        arrays["meta"] = np.array(json.dumps({"keras": evil, "sha256": evil}))
        arrays[f"layer/{evil}more"] = np.ones((1, 3), "f4")

    page = tmp_path / "report.html"
    options = ("--against", recorded(tmp_path, rename), "--device", "cpu", "--report", page)
    right = run(edited(target, tmp_path, renamed), *options)
    state = torch.load(tmp_path / "edited.pth", weights_only=True)
    state["layer3.1.conv2.weight"] *= 2
    torch.save(state, tmp_path / "wrong.pth")
    wrong = run(tmp_path / "wrong.pth", *options)

    assert (right.exit_code, wrong.exit_code) == (0, 1)
    assert "the first layer that is known to differ is \\x1b[31m<script>" in wrong.stderr
    assert "\x1b" not in right.stderr + wrong.stderr + page.read_text()
    assert "<script>alert" not in page.read_text()
    with pytest.raises(AssertionError) as error:
        assert_same_logits(load(tmp_path / "wrong.pth"), tmp_path / "record.npz")
    assert "\x1b" not in str(error.value)
    assert max(map(len, str(error.value).splitlines())) < 700
