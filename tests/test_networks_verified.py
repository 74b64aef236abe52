"""Networks of any kind, proven again: `verify-weights`, its reports, and the helper for tests of a
project's own."""

from __future__ import annotations

import json

import jsonschema
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from helpers import FIXTURES
from PIL import Image

import resnet_pt
from converter.cli import verify_weights
from converter.errors import UsageError
from converter.reports import schema
from converter.testing import assert_same_logits
from converter.verification import verify_images

VALIDATOR = jsonschema.Draft202012Validator(schema())
NETWORKS = FIXTURES / "networks"
SEVERAL = ["multiinput-k224", "multioutput-k210", "siamese-subtract-k224"]
"""Several inputs, several outputs with a map among them, and a shared model."""

every_network = pytest.mark.parametrize("name", [*SEVERAL, "autoencoder-nested-k315"])


def record(name):
    return NETWORKS / f"{name}.npz"


def spoiled(path):
    """The network with another kernel, as its training might have left it."""
    model = resnet_pt.load(path)
    kernel = next(one for one in model.parameters() if one.dim() > 1)
    with torch.no_grad():
        kernel.mul_(1.01)
    return model


def verify(path, against, *more):
    arguments = [path, "--against", against, "--device", "cpu", *more]
    return CliRunner().invoke(verify_weights, [str(one) for one in arguments])


@every_network
def test_a_record_proves_it_with_a_report_of_either_kind(name, target, tmp_path):
    for suffix in (".json", ".html"):
        result = verify(target(name), record(name), "--report", tmp_path / f"report{suffix}")
        assert result.exit_code == 0, result.stderr

    written = json.loads((tmp_path / "report.json").read_text())
    VALIDATOR.validate(written)
    outputs = {one["worst"]["name"] for one in written["parity"]["logits"]}
    assert written["verdict"] == "equal"
    assert len(outputs) == len(resnet_pt.load(target(name)).outputs)
    assert (
        "Equal: the converted network gives the logits of the record"
        in (tmp_path / "report.html").read_text()
    )


@every_network
def test_a_wrong_kernel_is_found_and_reported(name, target, tmp_path):
    resnet_pt.save(spoiled(target(name)), tmp_path / "out.pth")

    for suffix in (".json", ".html"):
        report = tmp_path / f"report{suffix}"
        result = verify(tmp_path / "out.pth", record(name), "--report", report)
        assert result.exit_code == 1, result.stderr

    written = json.loads((tmp_path / "report.json").read_text())
    assert written["verdict"] == "not equal"
    assert written["first_wrong_layer"]
    assert "Not equal: the logits differ" in (tmp_path / "report.html").read_text()


@every_network
def test_its_keras_file_proves_every_tensor(name, target, tmp_path):
    source = NETWORKS / f"{name}.h5"
    resnet_pt.save(spoiled(target(name)), tmp_path / "out.pth")

    right = verify(target(name), source, "--no-parity")
    wrong = verify(tmp_path / "out.pth", source, "--no-parity")

    assert (right.exit_code, wrong.exit_code) == (0, 1)
    assert "is proven by its tensors" in right.stderr
    assert "are not the source's" in wrong.stderr


@every_network
def test_a_project_can_hold_it_against_the_record(name, target):
    model = resnet_pt.load(target(name))

    parity = assert_same_logits(model, record(name))

    assert parity.verdict == "equal"
    assert {one.dtype for one in parity.comparisons} == {"float64", "float32"}


@every_network
def test_a_project_is_told_of_a_wrong_layer(name, target):
    with pytest.raises(AssertionError, match=r"the first layer that .*differs? is .*\(module "):
        assert_same_logits(spoiled(target(name)), record(name))


FIRST = "the first layer that is known to differ is subtract_1 .* and 3 more: not recorded"
"""A record of Keras 2.2.4 holds nothing of the six layers that are called two times."""


def test_inputs_in_another_order_are_not_the_same(target, tmp_path):
    """Both have one shape: only their names, or their order, tell them apart."""
    with np.load(record("siamese-subtract-k224")) as file:
        arrays = dict(file)
    left, right = (arrays[f"input/{name}"] for name in ("left", "right"))
    arrays |= {"input/left": right, "input/right": left}
    np.savez(tmp_path / "turned.npz", **arrays)
    model = resnet_pt.load(target("siamese-subtract-k224"))

    with pytest.raises(AssertionError, match=FIRST):
        assert_same_logits(model, tmp_path / "turned.npz")


def test_a_record_without_one_of_the_outputs_is_of_another_model(target, tmp_path):
    with np.load(record("multioutput-k210")) as file:
        arrays = {name: one for name, one in file.items() if name != "output/box"}
    np.savez(tmp_path / "less.npz", **arrays)

    result = verify(target("multioutput-k210"), tmp_path / "less.npz")

    assert result.exit_code == 3
    assert "it is a record of another model" in result.stderr


# ---- a folder of pictures


@pytest.fixture(scope="module")
def of_pictures(tmp_path_factory):
    """(a folder of three pictures, a function that records what a network gives for them)."""
    folder = tmp_path_factory.mktemp("pictures")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    for number, one in enumerate(pixels):
        Image.fromarray(one).save(folder / f"{number}.png")

    def recorded(path, record):
        model, pictures = resnet_pt.load(path), pixels.astype(np.float32) / 255
        with torch.no_grad():
            logits = model(torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy())).numpy()
        meta = np.array(json.dumps({"preprocess": "unit"}))
        np.savez(record, input=pictures, output=logits, logits=logits, meta=meta)
        return record

    return folder, recorded


def test_the_predictions_for_a_folder_are_compared(target, of_pictures, tmp_path):
    folder, recorded = of_pictures
    against = recorded(target("nested-k315"), tmp_path / "record.npz")

    found = verify_images(target("nested-k315"), against, folder, device="cpu")

    assert (found.pictures, found.same_top1, found.passes) == (3, 3, True)


def test_another_networks_predictions_are_others(target, of_pictures, tmp_path):
    folder, recorded = of_pictures
    resnet_pt.save(spoiled(target("nested-k315")), tmp_path / "other.pth")
    against = recorded(tmp_path / "other.pth", tmp_path / "record.npz")

    assert not verify_images(target("nested-k315"), against, folder, device="cpu").passes


@pytest.mark.parametrize("name", ["multioutput-k210", "siamese-subtract-k224"])
def test_what_reads_or_gives_more_than_one_is_refused(name, target, of_pictures):
    with pytest.raises(UsageError, match="networks that read one picture and give one vector"):
        verify_images(target(name), NETWORKS / f"{name}.h5", of_pictures[0], device="cpu")


def test_no_bundled_definition_is_there_to_be_asked(target, of_pictures):
    with pytest.raises(UsageError, match="its own Keras has to be asked"):
        verify_images(
            target("nested-k315"), NETWORKS / "nested-k315.h5", of_pictures[0], device="cpu"
        )
