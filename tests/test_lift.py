"""Networks that are no residual ones: converted, proven by their records, and wrong when bent."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from helpers import FIXTURES, fixture, weights_only
from helpers_of_code import with_code

import resnet_pt
from converter.conversion import convert
from converter.errors import MismatchError, ParityError, UsageError
from converter.files.model_config import layer_name, model_layers
from converter.files.opening import open_source
from converter.identify import identify
from converter.mapping.plan import make_plan
from converter.mapping.transforms import DepthwiseKernel, Squeeze, kernel_to_torch
from converter.options import Options
from converter.parity import prove
from converter.parity.comparing.inputs import too_large_for
from converter.testing import assert_same_logits
from converter.verification import verify
from resnet_pt.general import General
from resnet_pt.ops import AxisNorm, Combine, Conv, Flatten, Norm
from resnet_pt.program import Input, Layer, Output, Program, from_dict, to_dict

NETWORKS = FIXTURES / "networks"
CASES = sorted(one.stem for one in NETWORKS.glob("*.h5"))


def converted(case: str, target: Path):
    return convert(NETWORKS / f"{case}.h5", target, against=NETWORKS / f"{case}.npz")


@pytest.mark.parametrize("case", CASES)
def test_it_gives_its_records_numbers(case, tmp_path):
    target = tmp_path / "out.pth"

    report = converted(case, target)

    assert report.verdict == "equal"
    assert report.network.lifted
    assert max(one.worst.relative for one in report.parity.comparisons) < 1e-5
    model = resnet_pt.load(target)
    assert isinstance(model, General)
    assert not model.training
    assert model.program == report.network.program


def test_it_is_verified_against_its_record_and_its_file(tmp_path):
    target, case = tmp_path / "out.pth", "shapes-k224"
    converted(case, target)

    by_record = verify(target, NETWORKS / f"{case}.npz", device="cpu")
    by_file = verify(target, NETWORKS / f"{case}.h5", parity=False)

    assert by_record.verdict == "equal"
    assert by_file.proven_tensors == len(by_file.plan.steps) > 0
    with pytest.raises(ParityError, match="is another network than the one in"):
        verify(target, NETWORKS / "pools-k315.h5", parity=False)


def test_a_tensor_that_changed_is_seen_by_the_file_and_by_the_record(tmp_path):
    target, case = tmp_path / "out.pth", "shapes-k224"
    converted(case, target)
    model = resnet_pt.load(target)
    with torch.no_grad():
        next(model.parameters()).flatten()[0] += 0.1
    resnet_pt.save(model, target, overwrite=True)

    with pytest.raises(ParityError, match="are not the source's"):
        verify(target, NETWORKS / f"{case}.h5", parity=False)
    with pytest.raises(ParityError, match="does not give the logits"):
        verify(target, NETWORKS / f"{case}.npz", device="cpu")
    with pytest.raises(AssertionError):
        assert_same_logits(resnet_pt.load(target), NETWORKS / f"{case}.npz")


@pytest.mark.parametrize("case", ["multiinput-k224", "twice-k315"])
def test_it_is_exported_with_all_of_its_inputs(case, tmp_path):
    source, target = NETWORKS / f"{case}.h5", tmp_path / "out.pt2"

    report = convert(source, target, to="pt2", against=NETWORKS / f"{case}.npz")

    assert report.delivery.comparisons
    assert report.delivery.passes
    convert(source, tmp_path / "out.pth", parity=False)
    model, exported = resnet_pt.load(tmp_path / "out.pth"), torch.export.load(target).module()
    batch = [torch.rand(5, *one.shape) for one in model.program.inputs]
    torch.testing.assert_close(exported(*batch), model(*batch))


def test_a_library_of_residual_networks_is_refused_with_what_can(tmp_path):
    with pytest.raises(MismatchError, match="torchvision cannot express this network") as refused:
        convert(NETWORKS / "twice-k315.h5", tmp_path / "out.pth", to="torchvision")

    assert refused.value.hints == (
        "these can: no --to (the self-describing layout), --to onnx, --to pt2, --to python",
    )


def test_a_shared_layer_is_one_module(tmp_path):
    converted("siamese-subtract-k224", tmp_path / "out.pth")

    model = resnet_pt.load(tmp_path / "out.pth")

    paths = [layer.module for layer in model.program.layers]
    twice = {path for path in paths if path and paths.count(path) == 2}
    assert any(layer.op.tensors() for layer in model.program.layers if layer.module in twice)
    assert len({*model.state_dict()}) == len(model.state_dict())


def test_several_inputs_are_given_in_order_or_by_name(tmp_path):
    converted("multiinput-k224", tmp_path / "out.safetensors")
    model = resnet_pt.load(tmp_path / "out.safetensors")
    picture, table = torch.rand(2, 3, 32, 32), torch.rand(2, 7)

    in_order, by_name = model(picture, table), model(table=table, picture=picture)

    assert [one.name for one in model.program.inputs] == ["picture", "table"]
    assert torch.equal(in_order, by_name)


def test_the_last_softmax_is_left_off_and_named(tmp_path):
    converted("merges-k224", tmp_path / "out.pth")

    model = resnet_pt.load(tmp_path / "out.pth")

    assert [one.activation for one in model.outputs] == ["softmax"]
    sums = model(torch.rand(3, 3, 32, 32)).sum(1)
    assert not torch.allclose(sums, torch.ones(3))


def test_it_is_copied_and_trained(tmp_path):
    converted("grouped-k210", tmp_path / "out.pth")
    model = copy.deepcopy(resnet_pt.load(tmp_path / "out.pth")).train()

    model(torch.rand(4, 3, 32, 32)).square().mean().backward()

    assert all(one.grad is not None for one in model.parameters() if one.requires_grad)


def test_what_was_trained_is_saved_and_loaded_again(tmp_path):
    converted("twice-k315", tmp_path / "out.pth")
    model = resnet_pt.load(tmp_path / "out.pth")
    with torch.no_grad():
        next(model.parameters()).add_(1.0)

    resnet_pt.save(model, tmp_path / "trained.safetensors")

    again = resnet_pt.load(tmp_path / "trained.safetensors")
    picture = torch.rand(1, *model.program.inputs[0].shape)
    torch.testing.assert_close(model(picture), again(picture))


def test_weights_of_another_network_are_refused(tmp_path):
    converted("ops-k315", tmp_path / "one.pth")
    model = resnet_pt.load(tmp_path / "one.pth")
    program = replace(model.program, outputs=(replace(model.outputs[0], activation="linear"),))

    with pytest.raises(ValueError, match="another network"):
        General(program).load_state_dict(model.state_dict())


@pytest.fixture
def unknown(tmp_path) -> Path:
    """A network whose Lambda layers have loops."""
    return with_code(NETWORKS / "cbam-lambda-k210.h5", tmp_path, "loops")


def test_all_layers_that_are_not_understood_are_named_at_once(unknown, tmp_path):
    with pytest.raises(MismatchError) as caught:
        convert(unknown, tmp_path / "out.pth", parity=False)

    named = [one for one in caught.value.findings if "(Lambda)" in one]
    assert len(named) == 2
    assert not (tmp_path / "out.pth").exists()


FUNCTION = {"class_name": "function", "config": "relu", "registered_name": "function"}


@pytest.mark.parametrize(
    ("layer", "settings"),
    [
        ({"class_name": "Custom>Conv2D"}, {}),
        ({"registered_name": "Custom>Conv2D", "module": None}, {}),
        ({"registered_name": "Conv2D", "module": "mine.layers"}, {}),
        ({}, {"activation": "Custom>relu"}),
        ({}, {"activation": {**FUNCTION, "config": "Custom>relu"}}),
        ({}, {"activation": {**FUNCTION, "module": "mine"}}),
    ],
)
def test_what_a_project_made_is_its_own_whatever_it_is_called(layer, settings, tmp_path):
    """As an `.h5` says it, and as Keras 3 does: each of them was taken for Keras'."""
    source = NETWORKS / "shapes-k224.h5"
    config = config_of(source)
    one = next(x for x in model_layers(config) if x["class_name"] == "Conv2D")
    one.update(layer)
    one["config"].update(settings)
    path = tmp_path / "source.h5"
    path.write_bytes(source.read_bytes())
    with h5py.File(path, "a") as file:
        file.attrs["model_config"] = json.dumps(config)

    with pytest.raises(MismatchError, match="of the project's own"):
        convert(path, tmp_path / "out.pth", parity=False)


def test_options_of_residual_networks_are_refused(tmp_path):
    with pytest.raises(UsageError, match="--bn-eps"):
        convert(NETWORKS / "ops-k315.h5", tmp_path / "out.pth", bn_eps=1e-5)


@pytest.mark.parametrize(
    "data", [{"inputs": []}, {"inputs": [], "layers": [], "outputs": [], "x": 1}]
)
def test_what_is_no_program_is_not_read(data):
    with pytest.raises(ValueError, match=r"required|does not know"):
        from_dict(data)


def test_a_program_is_data(tmp_path):
    with open_source(NETWORKS / "grouped-k210.h5", Options()) as checkpoint:
        program = identify(checkpoint, Options()).program

    assert from_dict(to_dict(program)) == program


# ---- what is bent is found


def _order(layer):
    return layer.op.replace(order="chw") if isinstance(layer.op, Flatten) else None


def _epsilon(layer):
    return layer.op.replace(eps=0.1) if isinstance(layer.op, Norm | AxisNorm) else None


def _factor(layer):
    return layer.op.replace(how="add") if isinstance(layer.op, Combine) else None


BENT = [
    ("grouped-k210", _order),
    ("grouped-k210", _epsilon),
    ("tfops-k210", _factor),
    ("merges-k224", _factor),
    ("ecg-class-k315", _epsilon),
]


@pytest.mark.parametrize(("case", "bend"), BENT)
def test_a_network_that_is_bent_is_not_equal(case, bend, tmp_path, monkeypatch):
    def bent(program: Program) -> Program:
        layers = tuple(replace(layer, op=bend(layer) or layer.op) for layer in program.layers)
        assert layers != program.layers
        return replace(program, layers=layers)

    original = prove.compare

    def compare(network, tensors, recording, where):
        structure = replace(network.structure, program=bent(network.program))
        return original(replace(network, structure=structure), tensors, recording, where)

    monkeypatch.setattr(prove, "compare", compare)
    with pytest.raises(ParityError):
        converted(case, tmp_path / "out.pth")
    assert not (tmp_path / "out.pth").exists()


@pytest.mark.parametrize(
    ("transform", "shape"),
    [
        (DepthwiseKernel(2, 3), (3, 2, 5, 3)),
        (DepthwiseKernel(1, 2), (4, 6, 2)),
        (Squeeze(1), (7, 1, 3, 4)),
        (kernel_to_torch(3), (2, 3, 4, 5, 6)),
    ],
)
def test_a_transform_is_undone_to_the_bit(transform, shape):
    array = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)

    there = transform.apply(array)

    assert there.shape == transform.shape(shape)
    assert np.array_equal(transform.inverse().apply(there), array)


def test_every_weight_of_the_file_is_accounted_for():
    with open_source(NETWORKS / "nested-k315.h5", Options()) as checkpoint:
        plan = make_plan(checkpoint, identify(checkpoint, Options()))
        used = {step.source for step in plan.mapped}

        assert used | set(plan.left_out) == set(checkpoint.weights)


@pytest.mark.keras
@pytest.mark.parametrize("names", [["multiply"], ["activation_2", "multiply"], ["conv2d_1"]])
def test_a_part_of_a_model_is_proven_by_keras_though_the_whole_is_refused(names, unknown, tmp_path):
    target = tmp_path / "out.pth"

    report = convert(unknown, target, outputs=names)

    assert report.verdict == "equal"
    assert report.parity.is_original
    model = resnet_pt.load(target)
    assert [one.name for one in model.outputs] == names
    assert verify(target, unknown, outputs=names, parity=False).proven_tensors


def test_a_refusal_says_where_the_network_can_be_ended(unknown, tmp_path):
    with pytest.raises(MismatchError) as refused:
        convert(unknown, tmp_path / "out.pth", parity=False)

    hint, own = refused.value.hints
    assert hint.startswith("--outputs 'multiply' ends the network before")
    assert own.startswith("--layers FILE.py")
    convert(unknown, tmp_path / "out.pth", outputs=["multiply"], parity=False)


def test_a_part_that_is_a_residual_network_keeps_its_names(tmp_path):
    report = convert(fixture("keras-2.2.4-tensorflow"), tmp_path / "out.pth", **STAGE)

    assert not report.network.lifted
    assert [stage[0].convs[0].in_channels for stage in report.network.architecture.stages]
    assert len(report.network.architecture.stages) == 1
    assert {one.layer for one in report.network.left_out} >= {"fc1000", "res3a_branch2a"}


STAGE = {"outputs": ["activation_10"], "parity": False}


@pytest.mark.parametrize(
    ("source", "names", "words"),
    [
        (
            NETWORKS / "cbam-lambda-k210.h5",
            ["multiplied"],
            "--outputs multiplied: the model has no such layer",
        ),
        (NETWORKS / "lenet-k122-theano-th.h5", ["a", "b"], "the model has no such layer"),
    ],
)
def test_an_output_that_is_not_there_is_refused_with_what_is(source, names, words, tmp_path):
    with pytest.raises(UsageError, match=words) as refused:
        convert(source, tmp_path / "out.pth", outputs=names, parity=False)

    assert refused.value.hints


def test_weights_alone_have_no_outputs_to_choose(tmp_path):
    alone = weights_only(fixture("keras-2.2.4-tensorflow"), tmp_path)

    with pytest.raises(UsageError, match="holds weights alone, and not which layer"):
        convert(alone, tmp_path / "out.pth", outputs=["x"], parity=False)


def test_a_sequential_model_is_ended_at_one_layer(tmp_path):
    source = NETWORKS / "lenet-k122-theano-th.h5"
    layers = [layer_name(one) for one in model_layers(config_of(source))]

    report = convert(source, tmp_path / "out.pth", outputs=[layers[2]], parity=False)

    assert [one.name for one in report.network.program.outputs] == [layers[2]]
    with pytest.raises(UsageError, match="a Sequential model ends in one layer"):
        convert(source, tmp_path / "out.pth", outputs=layers[:2], parity=False, force=True)


def config_of(source: Path):
    with h5py.File(source) as file:
        return json.loads(file.attrs["model_config"])


def test_no_array_of_a_file_becomes_two_tensors():
    """Of two nested models with layers of one name, one of which is not in the file."""
    with open_source(NETWORKS / "shapes-k224.h5", Options()) as checkpoint:
        network = identify(checkpoint, Options())
        lifted = network.lifted
        convs = [name for name in lifted.sources if name.endswith(".bias")]
        twice = {**lifted.sources, convs[0]: lifted.sources[convs[1]]}
        network = replace(network, structure=replace(lifted, sources=twice))

        with pytest.raises(MismatchError, match="do not fit") as refused:
            make_plan(checkpoint, network)

    assert f"would become both {convs[0]} and {convs[1]}" in str(refused.value.findings)


def test_a_record_of_larger_inputs_than_a_proof_has_memory_for_is_not_run():
    wide = Layer("wide", Conv(3, 256, (3, 3), (1, 1), 1), ("x",), "wide", "wide")
    program = Program((Input("x", (3, None, None)),), (wide,), (Output("wide", "wide"),))

    assert too_large_for(program, [np.zeros((1, 64, 64, 3), np.float32)]) == ""
    empty = np.broadcast_to(np.float32(0), (1, 4096, 4096, 3))
    assert "GB of maps" in too_large_for(program, [empty])


def test_one_output_may_be_given_as_text():
    assert Options(outputs="multiply").outputs == ("multiply",)
