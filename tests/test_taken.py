"""What a size that a file claims would take is known before anything runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from helpers import FIXTURES, fixture, opened
from torch import nn

import resnet_pt
from converter import verification
from converter.cli import predict
from converter.dataset.run import Original, compare_images
from converter.errors import UnsafeError
from converter.parity import prove
from converter.parity.comparing.inputs import inputs, is_too_large
from converter.parity.comparing.sizes import NoSizeError, maps, prediction_bytes, proof_bytes
from converter.parity.original.oracle import KerasChild
from converter.parity.original.recording import Pass, Recording
from resnet_pt.network import ResNet

PICTURES = FIXTURES / "pictures"
FIXTURE = fixture("keras-2.2.4-tensorflow")


def network(**changes):
    return replace(resnet_pt.resnet((1, 1), classes=3, width=8), **changes)


def padded(**changes):
    """A network whose own size is small, and whose padding is not."""
    plain = network(**changes)
    conv = plain.stem.conv.replace(padding=4096)
    return replace(plain, stem=replace(plain.stem, conv=conv))


def save(path, architecture):
    torch.save(ResNet(architecture).eval().state_dict(), path)
    return path


@pytest.mark.parametrize(
    "name", ["keras-2.2.4-tensorflow", "keras-2.3.1-v2-50", "kecam-1.4.1-resnet-d"]
)
def test_the_maps_are_those_of_the_network(name):
    with opened(fixture(name)) as (_, found):
        architecture = found.architecture
    seen = []

    def look(module, inputs, result):
        if isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
            seen.append(result.numel())

    with torch.device("meta"):
        model = ResNet(architecture).eval()
        for module in model.modules():
            module.register_forward_hook(look)
        model(torch.empty(1, 3, 96, 128))
    counted = list(maps(architecture, (96, 128)))

    assert sorted(counted[2::2]) == sorted(seen)
    assert proof_bytes(architecture, (96, 128)) >= 8 * sum(seen)
    assert prediction_bytes(architecture, (96, 128)) >= 16 * max(seen)


@pytest.mark.parametrize("architecture", [network(input_size=(9000, 9000)), padded()])
def test_a_proof_is_bounded_before_it_runs(architecture, monkeypatch):
    """Where a smaller picture fits, it is compared with that."""
    if architecture.input_size:
        assert is_too_large(architecture, (9000, 9000))
        assert {one.shape[1:3] for one in inputs(architecture, None)} == {(224, 224), (256, 240)}
    with pytest.raises(NoSizeError, match=r"would take [\d.]+ GB of maps, over 4.3 GB"):
        inputs(architecture, architecture.input_size)


def test_keras_is_not_asked_for_what_it_would_take(monkeypatch):
    """The bundled definition takes any size, and it is said why it was asked."""
    asked = []
    monkeypatch.setattr(prove, "ask", lambda *arguments: asked.append(arguments))
    with opened(FIXTURE) as (checkpoint, found):
        large = replace(found.architecture, input_size=(9000, 9000))
        found = replace(found, structure=replace(found.structure, architecture=large))
        prove.ask_keras(KerasChild(), checkpoint, found, print)

    ((_, oracle, _, _, pictures),) = asked
    assert oracle.kind == "build"
    assert "a picture of 9000x9000 would take" in oracle.reason
    assert max(one.nbytes for one in pictures) < 2**20


def test_a_record_does_not_make_a_network_run_that_is_too_large():
    architecture = padded()
    picture = torch.zeros(1, 64, 64, 3).numpy()
    recording = Recording((Pass(picture, {"": torch.zeros(1, 3).numpy()}),), "record")

    parity = verification.compare_recording(ResNet(architecture), {}, recording, "cpu", "")

    assert parity.verdict == "not compared"
    assert "a picture of 64x64 would take" in parity.reason


def test_predict_refuses_what_a_file_claims(tmp_path):
    path = save(tmp_path / "out.pth", network(input_size=(9000, 9000), preprocessing="tf"))

    claimed = CliRunner().invoke(predict, [str(path), str(PICTURES)])
    stated = CliRunner().invoke(predict, [str(path), str(PICTURES / "rgb.png"), "--size", "64"])

    assert claimed.exit_code == 4
    assert "pictures of 9000x9000 would take" in claimed.stderr
    assert stated.exit_code == 0


@pytest.mark.parametrize(("side", "is_hinted"), [(9000, True), (20_000, False)])
def test_a_hint_does_not_lead_to_another_refusal(side, is_hinted, tmp_path):
    path = save(tmp_path / "out.pth", network(input_size=(side, side), preprocessing="tf"))

    refused = CliRunner().invoke(predict, [str(path), str(PICTURES / "rgb.png")])

    assert refused.exit_code == 4
    assert (f"--size {side}x{side} says that so much is there" in refused.stderr) == is_hinted


def test_fewer_pictures_at_a_time_where_they_are_large(tmp_path, monkeypatch):
    batches = []
    path = save(tmp_path / "out.pth", network(input_size=(64, 64), preprocessing="tf"))
    one = prediction_bytes(network(), (64, 64))
    monkeypatch.setattr("converter.parity.comparing.sizes.CLAIMED_LIMIT", 3 * one)
    forward = ResNet.forward
    monkeypatch.setattr(
        ResNet, "forward", lambda self, x: batches.append(len(x)) or forward(self, x)
    )

    names = ["rgb.png", "grey.png", "alpha.png", "palette.png"]
    result = CliRunner().invoke(predict, [str(path), *(str(PICTURES / name) for name in names)])

    assert result.exit_code == 0, result.stderr
    assert batches[-2:] == [3, 1]


def test_a_data_set_is_not_read_in_a_size_that_takes_too_much(tmp_path):
    path = save(tmp_path / "out.pth", network(input_size=(9000, 9000)))

    with pytest.raises(UnsafeError, match="a picture of 9000x9000 would take"):
        compare_images(
            path,
            PICTURES,
            Original(tmp_path / "none.h5", is_record=False),
            transform=lambda x: x,
            transform_name="raw",
            group=None,
            progress=print,
        )
