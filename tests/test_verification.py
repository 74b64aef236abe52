"""`verify-weights`: a converted file against a record, or against the Keras file once more."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from helpers import FIXTURES, arrays_of, as_text, copy, fixture, record, set_weight, weights_only

import resnet_pt
from converter import verify
from converter.cli import verify_weights
from converter.conversion import convert
from converter.dataset.pictures import SUFFIXES
from converter.dataset.results import PictureResult, summarise
from converter.errors import ParityError, SourceError

PATH = fixture("keras-2.2.4-tensorflow")


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    path = tmp_path_factory.mktemp("converted") / "out.pth"
    convert(PATH, path, parity=False)
    return path


def run(*arguments):
    return CliRunner().invoke(verify_weights, [str(argument) for argument in arguments])


def changed(target, folder, name, change):
    """A converted file with another tensor in it, saved as training saves: without checksum."""
    state = torch.load(target, weights_only=True)
    state["_extra_state"].pop("sha256")
    state[name] = change(state[name])
    path = folder / "changed.pth"
    torch.save(state, path)
    return path


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_target_is_proven_by_a_record_alone(suffix, tmp_path):
    path = tmp_path / f"out{suffix}"
    convert(PATH, path, parity=False)

    report = verify(path, record(PATH), device="cpu")

    assert report.verdict == "equal"
    assert len(report.parity.layers) == 125
    assert report.parity.oracle == "record of Keras 2.2.4 on tensorflow"
    assert report.parity.notes == ()
    assert {fact.name: fact.value for fact in report.facts}["epsilon"] == "0.001"


def test_a_target_that_was_saved_again_is_not_said_to_be_of_another_file(target, tmp_path):
    """It does not say any more from which file it is."""
    path = tmp_path / "again.pth"
    resnet_pt.save(resnet_pt.load(target), path)

    report = verify(path, record(PATH), device="cpu")

    assert report.verdict == "equal"
    assert report.parity.notes == ()


def test_a_wrong_weight_is_found_by_a_record_and_named(target, tmp_path):
    path = changed(target, tmp_path, "layer2.1.conv2.weight", lambda w: w.flip(2, 3))
    report = tmp_path / "report.json"

    result = run(path, "--against", record(PATH), "--device", "cpu", "--report", report)

    assert result.exit_code == 1
    assert "the first layer that is known to differ is res3b_branch2b" in result.stderr
    assert "it looks as if its kernel is turned by 180°" in result.stderr
    written = json.loads(report.read_text())
    assert (written["verdict"], written["first_wrong_layer"]) == ("not equal", "res3b_branch2b")
    assert written["parity"]["diagnosis"] == "its kernel is turned by 180°"
    assert next(one for one in written["parity"]["layers"] if not one["passes"])["module"] == (
        "layer2.1.conv2"
    )


def test_a_target_is_proven_by_its_keras_file_bit_for_bit(target):
    report = verify(target, PATH, parity=False)

    assert report.proven_tensors == len(report.plan.steps) == 373
    assert report.parity.reason == "--no-parity"


@pytest.mark.keras
def test_against_a_keras_file_logits_are_compared_too(target):
    report = verify(target, PATH, device="cpu", require_parity=True)

    assert (report.verdict, report.parity.oracle) == ("equal", "Keras itself")
    assert all(one.own for one in report.parity.layers)


def test_the_least_wrong_bit_is_found_and_its_layer_named(target, tmp_path):
    def flip(tensor):
        bits = tensor.numpy().copy()
        bits.view(np.uint32).flat[5] ^= 1
        return torch.from_numpy(bits)

    path = changed(target, tmp_path, "layer3.2.bn2.running_mean", flip)

    with pytest.raises(ParityError, match=r"layer3.2.bn2.running_mean is not bn4c_branch2b/") as e:
        verify(path, PATH, parity=False)
    assert e.value.report.first_wrong_layer == "bn4c_branch2b"
    assert e.value.report.verdict == "not equal"


def test_a_constant_that_is_wrong_names_the_layer_of_its_module(tmp_path):
    source = fixture("keras-2.3.1-qubvel-18")  # its first norm has no gamma
    right = tmp_path / "right.pth"
    convert(source, right, parity=False)
    path = changed(right, tmp_path, "bn_data.weight", lambda gamma: gamma * 2)

    with pytest.raises(ParityError, match=r"bn_data.weight is not ") as e:
        verify(path, source, parity=False)
    assert e.value.report.first_wrong_layer == "bn_data"


def test_another_source_is_not_the_source(target, tmp_path):
    other = copy(PATH, tmp_path)
    kernel = np.zeros((1, 1, 16, 4), "f4")
    set_weight(other, "res2b_branch2a/res2b_branch2a/kernel:0", kernel)

    result = run(target, "--against", other)

    assert result.exit_code == 1
    assert "layer1.1.conv1.weight is not res2b_branch2a/kernel" in result.stderr


def test_another_network_is_told_field_by_field(target):
    with pytest.raises(ParityError) as error:
        verify(target, PATH, parity=False, bn_eps=1e-5, pool="valid")

    assert "stem.norm.eps: 0.001, in the file 1e-05" in error.value.findings
    assert "stem.pool.padding: 1, in the file 0" in error.value.findings
    assert error.value.report.verdict == "not equal"


def test_options_of_the_conversion_make_the_same_network(tmp_path):
    alone = weights_only(PATH, tmp_path)
    convert(alone, tmp_path / "out.pth", parity=False, bn_eps=1e-5)

    report = verify(tmp_path / "out.pth", alone, parity=False, bn_eps=1e-5)

    assert report.proven_tensors == 373


def test_a_record_that_hides_the_logits_proves_nothing(target, tmp_path):
    arrays = arrays_of(record(PATH))
    del arrays["logits"]
    arrays["output"] = np.eye(10, dtype=np.float32)[arrays["output"].argmax(1)]
    arrays["meta"] = np.array(json.dumps({"keras": "2.2.4"}))
    np.savez(tmp_path / "record.npz", **arrays)

    result = run(target, "--against", tmp_path / "record.npz")

    assert result.exit_code == 1
    assert "the logits were not compared" in result.stderr


def test_a_record_of_another_file_is_noted(target, tmp_path):
    arrays = arrays_of(record(PATH))
    meta = {**json.loads(str(arrays["meta"])), "sha256": "0" * 64}
    np.savez(tmp_path / "record.npz", **{**arrays, "meta": np.array(json.dumps(meta))})

    report = verify(target, tmp_path / "record.npz", device="cpu")

    assert report.parity.notes == (f"the record was made from another file (sha256 {'0' * 64})",)


@pytest.mark.parametrize("content", [b"", b"nothing", b"PK\x03\x04"])
def test_what_is_no_converted_file_is_code_3(content, tmp_path):
    path = tmp_path / "out.pth"
    path.write_bytes(content)

    assert run(path, "--against", PATH).exit_code == 3


def test_a_damaged_target_is_code_3(target, tmp_path):
    data = bytearray(target.read_bytes())
    data[len(data) // 2] ^= 0x10
    (tmp_path / "out.pth").write_bytes(data)

    with pytest.raises(SourceError, match=r"damaged|not a plain torch"):
        verify(tmp_path / "out.pth", PATH, parity=False)


def test_what_is_neither_a_record_nor_a_keras_file_is_code_3(target, tmp_path):
    assert run(target, "--against", target).exit_code == 3
    assert run(target, "--against", tmp_path / "none").exit_code == 3


def test_a_report_never_replaces_what_is_verified(target):
    before = target.read_bytes()

    assert run(target, "--against", PATH, "--report", target).exit_code != 0
    assert target.read_bytes() == before


@pytest.mark.slow
def test_a_record_that_no_network_fits_names_the_nearest(tmp_path):
    """Weights of unknown facts, and a record of a network whose one kernel is another."""
    path = fixture("keras-2.0.9-tensorflow")
    alone = weights_only(path, tmp_path)
    import h5py

    with h5py.File(alone, "a") as file:
        names = [as_text(name) for name in file.attrs["layer_names"]]
        file.attrs["layer_names"] = [n for n in names if len(file[n].attrs["weight_names"])]
        del file.attrs["keras_version"]
        kernel = file["res4b_branch2b/res4b_branch2b/kernel:0"]
        kernel[...] = kernel[...][::-1, ::-1]
    known = {"bn_eps": 1e-3, "pool": "valid", "stride_on": "1x1", "running_std": "variance"}

    with pytest.raises(ParityError) as error:
        convert(alone, tmp_path / "out.pth", against=record(path), device="cpu", **known)

    found = "\n".join(error.value.findings)
    trials = error.value.report.trials
    assert f"none of {len(trials)} networks that the file allows fits the record" in found
    assert "the nearest, stem 7x7/2, 'same' as in TensorFlow" in found
    assert "differs first at res4b_branch2b" in found
    assert "its kernel is turned by 180°" in found
    assert dict(trials[0].changes) == {"stem": "7x7/2, 'same' as in TensorFlow"}
    assert not any(trial.fits for trial in trials)


PICTURES = FIXTURES / "pictures"


@pytest.mark.slow
@pytest.mark.keras
def test_predictions_over_a_folder_are_compared_as_the_project_scaled_its_pictures(
    target, tmp_path
):
    report, state = tmp_path / "report.json", tmp_path / "done"
    options = ("--no-parity", "--images", PICTURES, "--state", state, "--report", report)

    result = run(target, "--against", PATH, *options)
    again = run(target, "--against", PATH, *options)

    assert result.exit_code == again.exit_code == 0, result.output
    found = json.loads(report.read_text())["dataset"]
    assert found["pictures"] == len([p for p in PICTURES.iterdir() if p.suffix in SUFFIXES])
    assert found["max_relative"] < 1e-5
    assert f"pictures  {found['pictures']} compared" in result.stderr


@pytest.mark.keras
def test_predictions_of_a_wrong_network_differ(target, tmp_path):
    wrong = changed(target, tmp_path, "fc.weight", lambda weight: weight.flip(0))

    result = run(wrong, "--against", record(PATH), "--images", PICTURES)

    assert result.exit_code != 0


def test_a_state_without_pictures_is_code_2(target, tmp_path):
    assert run(target, "--against", record(PATH), "--state", tmp_path).exit_code == 2


def test_a_network_that_cannot_run_on_the_records_input_is_code_1(target, tmp_path):
    state = torch.load(target, weights_only=True)
    state["_extra_state"].pop("sha256")
    block = state["_extra_state"]["architecture"]["stages"][1][1]
    block["convs"][1]["dilation"] = [2, 2]
    torch.save(state, tmp_path / "dilated.pth")

    result = run(tmp_path / "dilated.pth", "--against", record(PATH), "--device", "cpu")

    assert result.exit_code == 1
    assert "the first layer that is known to differ is res3b_branch2b" in result.stderr
    assert "it looks as if its dilation is (2, 2), the original's (1, 1)" in result.stderr
    assert "it cannot run on the original's input: The size of tensor a" in result.stderr


def test_a_tensor_in_bfloat16_is_not_the_sources(target, tmp_path):
    path = changed(target, tmp_path, "fc.weight", lambda weight: weight.bfloat16())

    with pytest.raises(ParityError, match=r"fc\.weight is bfloat16, not float32"):
        verify(path, PATH, parity=False)
    with pytest.raises(ParityError, match="its weights were rounded to bfloat16"):
        verify(path, record(PATH), device="cpu")


def test_a_record_of_other_classes_is_code_3(target):
    result = run(target, "--against", record(fixture("keras-2.10-head-flatten")))

    assert result.exit_code == 3
    assert "the record's logits are (2, 5), the network's (N, 10)" in result.stderr
    assert "it is a record of another model" in result.stderr


@pytest.mark.parametrize(
    ("pictures", "off", "code"), [(2, 1e-7, 0), (2, 1e-3, 1), (0, 0.0, 1)], ids=str
)
def test_pictures_that_are_not_proven_are_no_pass(
    pictures, off, code, target, tmp_path, monkeypatch
):
    """Predictions that differ, or a folder of which nothing could be read."""
    results = [PictureResult(index, off, off, off, 1, 1, True) for index in range(pictures)]
    found = summarise("logits", ["a.png", "b.png"], results, {} if pictures else {0: "no picture"})
    monkeypatch.setattr("converter.verification.verify_images", lambda *a, **k: found)
    report = tmp_path / "report.json"

    options = ("--device", "cpu", "--images", tmp_path, "--report", report)
    result = run(target, "--against", record(PATH), *options)

    assert result.exit_code == code
    assert json.loads(report.read_text())["verdict"] == ("not equal" if code else "equal")
