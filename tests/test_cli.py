"""The commands: exit codes, messages, and what must not be imported."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys

import click
import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from helpers import copy, fixture, record, weights_only

from converter.cli import convert_weights, inspect_weights, predict, verify_weights

PATH = fixture("keras-2.2.4-tensorflow")


def run(*arguments, command=convert_weights):
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.mark.slow
def test_it_converts_and_says_what_it_did(tmp_path):
    result = run(PATH, tmp_path / "out.pth", "--no-parity")

    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    for line in (
        "container Keras 2 HDF5, whole model",
        "naming    res-branch",
        "mapped    320 of 320 weights to 373 tensors (53 constants)",
        "proven    373 tensors read back, bit for bit",
        "logits    not compared: --no-parity",
    ):
        assert line in result.stderr


@pytest.mark.slow
def test_hdf5_that_is_not_keras_is_code_3(tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["measurements"] = np.ones(3)

    result = run(tmp_path / "data.h5", tmp_path / "out.pth")

    assert result.exit_code == 3
    assert result.stderr == (
        f"Error: {tmp_path}/data.h5 is HDF5, but not a Keras weights or model file\n"
        "  it holds: measurements\n"
        "hint: save it with model.save_weights or model.save\n"
    )


@pytest.mark.slow
def test_weights_that_do_not_fit_are_code_5_all_at_once(tmp_path):
    alone = weights_only(PATH, tmp_path)
    with h5py.File(alone, "a") as file:
        for layer in ("bn2a_branch2a", "bn3a_branch2a"):
            del file[f"{layer}/{layer}/beta:0"]
            file[f"{layer}/{layer}/beta:0"] = np.zeros(3, "f4")

    result = run(alone, tmp_path / "out.pth")

    assert result.exit_code == 5
    assert f"the weights of {alone} do not fit the network" in result.stderr
    assert "bn2a_branch2a/beta (3,) becomes (3,), but layer1.0.bn1.bias is" in result.stderr
    assert "bn3a_branch2a/beta (3,) becomes (3,), but layer2.0.bn1.bias is" in result.stderr


@pytest.mark.slow
def test_a_target_that_is_there_is_code_7_and_stays(tmp_path):
    target = tmp_path / "out.pth"
    target.write_text("precious")

    result = run(PATH, target, "--no-parity")

    assert result.exit_code == 7
    assert result.stderr == f"Error: {target} is there already\nhint: replace it with --force\n"
    assert target.read_text() == "precious"


@pytest.mark.parametrize(
    "arguments", [(), (PATH,), (PATH, "out.onnx"), (PATH, "out.pth", "--nope")]
)
def test_usage_is_code_2(arguments):
    assert run(*arguments).exit_code == 2


@pytest.mark.slow
def test_a_failed_proof_is_code_1(tmp_path):
    options = ("--against", record(PATH), "--pool", "valid", "--device", "cpu")

    result = run(PATH, tmp_path / "out.pth", *options, "--report", tmp_path / "report.json")

    report = json.loads((tmp_path / "report.json").read_text())
    assert result.exit_code == 1
    assert "the first layer that is known to differ is max_pooling2d_1" in result.stderr
    assert os.listdir(tmp_path) == ["report.json"]
    assert (report["verdict"], report["first_wrong_layer"]) == ("not equal", "max_pooling2d_1")


@pytest.mark.slow
def test_another_file_than_expected_is_code_3(tmp_path):
    right = hashlib.sha256(PATH.read_bytes()).hexdigest()

    wrong = run(PATH, tmp_path / "out.pth", "--no-parity", "--expect-sha256", "0" * 64)

    assert wrong.exit_code == 3
    assert f"sha256 found    {right}" in wrong.stderr
    assert run(PATH, tmp_path / "out.pth", "--no-parity", "--expect-sha256", right).exit_code == 0


@pytest.mark.slow
def test_a_dry_run_lists_every_tensor_and_reads_no_array(tmp_path, monkeypatch):
    def never(*arguments):
        raise AssertionError("an array was read")

    monkeypatch.setattr("converter.files.isolation.reader.Reader.arrays", never)

    result = run(PATH, tmp_path / "out.pth", "--dry-run")

    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert len(lines) == 1 + 373
    row = next(line for line in lines if line.startswith("res3a_branch2b/kernel "))
    assert row.split("  ")[0] == "res3a_branch2b/kernel"
    assert "HWIO → OIHW" in row
    assert "layer2.0.conv2.weight" in row
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_the_report_has_everything(tmp_path):
    options = ("--report", tmp_path / "report.json", "--against", record(PATH), "--device", "cpu")

    assert run(PATH, tmp_path / "out.pth", *options).exit_code == 0

    report = json.loads((tmp_path / "report.json").read_text())
    assert report["verdict"] == "equal"
    assert report["first_wrong_layer"] is None
    assert report["source"]["sha256"] == hashlib.sha256(PATH.read_bytes()).hexdigest()
    assert (
        report["target"]["sha256"]
        == hashlib.sha256((tmp_path / "out.pth").read_bytes()).hexdigest()
    )
    assert len([row for row in report["mapping"] if row["source"]]) == 320
    assert {row["dtype"] for row in report["parity"]["logits"]} == {"float32", "float64"}
    assert len(report["parity"]["layers"]) > 100


@pytest.mark.slow
def test_without_keras_tensors_are_proven_and_logits_not_compared(tmp_path, monkeypatch):
    monkeypatch.setattr("converter.parity.prove.is_installed", lambda: False)

    result = run(PATH, tmp_path / "out.pth")
    required = run(PATH, tmp_path / "required.pth", "--require-parity")

    assert result.exit_code == 0
    assert "proven    373 tensors" in result.stderr
    assert "not compared: Keras is not installed; `pip install" in result.stderr
    assert required.exit_code == 1
    assert os.listdir(tmp_path) == ["out.pth"]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_same_file_gives_the_same_bytes_whatever_it_is_called(suffix, tmp_path):
    other = copy(PATH, tmp_path, "another name.hdf5")
    for source, target in ((PATH, "a"), (other, "a_longer_name")):
        assert run(source, tmp_path / f"{target}{suffix}", "--no-parity").exit_code == 0

    one, same = (tmp_path / f"{name}{suffix}" for name in ("a", "a_longer_name"))
    assert one.read_bytes() == same.read_bytes()


@pytest.mark.slow
def test_inspect_tells_the_network_as_text_and_as_json():
    text = run(PATH, command=inspect_weights)
    data = json.loads(run(PATH, "--json", command=inspect_weights).stdout)

    assert text.exit_code == 0
    assert "naming    res-branch" in text.stdout
    assert data["keras_version"] == "2.2.4"
    assert data["depths"] == [3, 4, 6, 3]
    assert data["classes"] == 10
    assert {"name", "value", "evidence", "reason"} == set(data["facts"][0])


HEAVY = """
import sys
heavy = {'torch', 'tensorflow', 'keras'} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "call",
    [
        "inspect_weights([{path!r}], standalone_mode=False)",
        "convert_weights(['--help'], standalone_mode=False)",
        "convert_weights([{path!r}, '--dry-run'], standalone_mode=False)",
        "convert_weights([{path!r}, {target!r}, '--no-parity'], standalone_mode=False)",
    ],
    ids=["inspect", "help", "dry run", "safetensors"],
)
def test_what_needs_no_torch_does_not_import_it(call, tmp_path):
    call = call.format(path=str(PATH), target=str(tmp_path / "out.safetensors"))
    code = f"""
from converter.cli import convert_weights, inspect_weights
try:
    {call}
except SystemExit as done:
    assert not done.code, done.code
{HEAVY}
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_no_traceback_reaches_the_user(tmp_path):
    command = [sys.executable, "-m", "converter.cli", str(tmp_path / "none.h5"), "out.pth"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    assert done.returncode == 3
    assert done.stderr == f"Error: {tmp_path}/none.h5 cannot be read: No such file or directory\n"


@pytest.mark.slow
def test_sigterm_leaves_nothing_behind(tmp_path):
    code = f"""
import os, signal
import converter.formats.delivery as delivery
from converter.cli import convert_weights
delivery.prove_tensors = lambda *_: os.kill(os.getpid(), signal.SIGTERM)
convert_weights([{str(PATH)!r}, {str(tmp_path / "out.safetensors")!r}, "--no-parity"])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 128 + signal.SIGTERM, done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("command", [convert_weights, inspect_weights, predict, verify_weights])
def test_what_may_not_be_read_has_the_exit_code_of_its_reader(command):
    """Were click to look first, it would be 2, and for every picture at once."""
    paths = [option.type for option in command.params if isinstance(option.type, click.Path)]

    assert paths
    assert not any(path.readable for path in paths)
