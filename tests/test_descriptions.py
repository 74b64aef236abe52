"""Converted files whose networks cannot be, and those that are made to exhaust who loads them."""

from __future__ import annotations

import json
import math
import struct
import time
import zipfile
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from helpers import FIXTURES

import resnet_pt
from converter.cli import predict, verify_weights
from resnet_pt.architecture import MAX_HEAD, MAX_PARTS
from resnet_pt.files import FileError, load
from resnet_pt.network import ResNet

HUGE = 10**21
POOL = {"kernel": [3, 3], "stride": [2, 2], "padding": 1}


def described(path: Path, change: object) -> Path:
    """A small network's file after `change` of its description, which has no checksum then."""
    torch.manual_seed(0)
    model = ResNet(resnet_pt.resnet((1, 1), classes=3, width=4)).eval()
    state = model.state_dict()
    change(state["_extra_state"])  # type: ignore[operator]
    torch.save(state, path)
    return path


def within(*place: str | int, value: object) -> object:
    """A change of what stands at a place in the architecture."""

    def change(description: dict[str, object]) -> None:
        one = description["architecture"]
        for key in place[:-1]:
            one = one[key]  # type: ignore[index]
        one[place[-1]] = value  # type: ignore[index]

    return change


CONV, NORM, BLOCK = ("stem", "conv"), ("stem", "norm"), ("stages", 1, 0)


CANNOT_BE = {
    "stride, huge": within(*CONV, "stride", value=[HUGE, HUGE]),
    "stride of a block": within(*BLOCK, "convs", 1, "stride", value=[4097, 2]),
    "stride, a fraction": within(*CONV, "stride", value=[2.5, 2]),
    "stride, a truth": within(*CONV, "stride", value=[True, True]),
    "stride, none": within(*CONV, "stride", value=[0, 2]),
    "padding, huge": within(*CONV, "padding", value=3 * 10**8),
    "padding of a side, huge": within(*CONV, "padding", value=[0, 0, HUGE, 0]),
    "padding, negative": within(*CONV, "padding", value=[0, 0, -1, 0]),
    "dilation, huge": within(*CONV, "dilation", value=[HUGE, 1]),
    "kernel, huge": within(*CONV, "kernel", value=[HUGE, 7]),
    "groups, none": within(*CONV, "groups", value=0),
    "groups, a truth": within(*CONV, "groups", value=True),
    "channels, huge": within(*CONV, "out_channels", value=HUGE),
    "channels read, huge": within("stem", "channels", value=[0, 1, 10**9]),
    "channels read, negative": within("stem", "channels", value=[0, 1, -1]),
    "epsilon, endless": within(*NORM, "eps", value=math.inf),
    "epsilon of 401 digits": within(*NORM, "eps", value=10**400),
    "epsilon beyond float32": within(*NORM, "eps", value=1e300),
    "epsilon, negative": within(*NORM, "eps", value=-1e-5),
    "epsilon, a truth": within(*NORM, "eps", value=True),
    "momentum, no number": within(*NORM, "momentum", value=math.nan),
    "norm, negative": within(*NORM, "channels", value=-4),
    "pool, huge": within("stem", "pool", value={**POOL, "kernel": [HUGE, 3]}),
    "pool, padded by more than torch does": within("stem", "pool", value={**POOL, "padding": 2}),
    "pool, padded by a lot": within("stem", "pool", value={**POOL, "padding": 3 * 10**8}),
    "pool, padding negative": within("stem", "pool", value={**POOL, "padding": -1}),
    "picture, negative": within("input_size", value=[-64, 64]),
    "picture, huge": within("input_size", value=[2**17, 64]),
    "picture, a truth": within("input_size", value=[True, True]),
    "rescaling, endless": within("stem", "rescaling", value=[math.inf, 0.0]),
    "rescaling of a channel": within("stem", "rescaling", value=[[1.0, 1.0, 1e300], 0.0]),
    "slope, endless": within("slope", value=-math.inf),
    "activation": within("activation", value="__import__"),
    "activation of an output": within("outputs", 0, "activation", value="__import__"),
    "activation of an output that has a slope": within(
        "outputs", 0, "activation", value="leaky_relu"
    ),
    "dense, huge": within("head", 1, "out_features", value=HUGE),
    "dense, negative": within("head", 1, "in_features", value=-1),
    "dropout": within("head", 0, value={"name": "d", "kind": "dropout", "rate": 1.5}),
}


@pytest.mark.parametrize("change", CANNOT_BE.values(), ids=CANNOT_BE)
def test_a_network_that_cannot_be_is_refused_before_it_is_made(change, tmp_path):
    path = described(tmp_path / "out.pth", change)

    with pytest.raises(FileError, match=r"cannot be|not readable") as error:
        load(path)
    assert len(str(error.value)) < 1500


def test_what_is_refused_is_the_change(tmp_path):
    """The anti-test: without one the file loads."""
    assert load(described(tmp_path / "out.pth", lambda description: None))


@pytest.mark.parametrize("command", [predict, verify_weights])
def test_the_commands_say_so(command, tmp_path):
    path = described(tmp_path / "out.pth", CANNOT_BE["stride, huge"])
    record = FIXTURES / "keras-2.2.4-tensorflow.npz"
    more = [str(FIXTURES / "pictures")] if command is predict else ["--against", str(record)]

    result = CliRunner().invoke(command, [str(path), *more])

    assert result.exit_code == 3
    assert "conv1 has a size that is not from 1 to 4096" in result.stderr


def many_heads(description):
    one = {"kind": "activation", "source": "avgpool", "activation": "relu"}
    head = [{"name": f"l{number}", **one} for number in range(50_000)]
    description["architecture"]["head"] += head


def many_blocks(description):
    """300,000 of them, which a pickle says in 3 bytes each: they are one object."""
    description["architecture"]["stages"] = [description["architecture"]["stages"][0] * 300_000]


def laughs(description):
    """Lists in lists, ten billion of them in a few hundred bytes."""
    one = ["x"]
    for _ in range(10):
        one = [one] * 10
    description["architecture"]["stages"] = one


def few_too_many_heads(description):
    layer = {"kind": "flatten_chw", "source": "avgpool"}
    description["architecture"]["head"] += [{"name": f"l{n}", **layer} for n in range(MAX_HEAD)]


@pytest.mark.slow
@pytest.mark.parametrize("change", [many_heads, many_blocks, laughs, few_too_many_heads])
def test_a_description_is_read_in_proportion_to_the_file(change, tmp_path):
    path = described(tmp_path / "out.pth", change)
    began = time.process_time()

    with pytest.raises(FileError, match=f"more than ({MAX_PARTS:,} parts|{MAX_HEAD} layers)"):
        load(path)

    assert time.process_time() - began < 2 + path.stat().st_size / 2**20


@pytest.mark.slow
def test_a_long_pickle_is_refused_before_it_is_run(tmp_path):
    path = tmp_path / "out.pth"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("out/data.pkl", b"\x80\x02(" + b"}" * 3_000_000 + b"l.")
        archive.writestr("out/version", b"3")

    with pytest.raises(FileError, match="its pickle is too long"):
        load(path)


def test_a_long_list_of_members_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "out.pth"
    entry = b"PK\x01\x02" + bytes(24) + struct.pack("<HHH", 1, 0, 0) + bytes(12) + b"x"
    entries = entry * 200_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(entries), 30, 0)
    path.write_bytes(b"PK\x03\x04" + bytes(26) + entries + end)

    with pytest.raises(FileError, match="its list of members is too long"):
        load(path)


def test_a_long_description_in_safetensors_is_refused(tmp_path):
    size = 17 * 2**20
    header = {"_extra_state": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}
    text = json.dumps(header).encode()
    path = tmp_path / "out.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"[" * size)

    with pytest.raises(FileError, match="in more than 16,777,216 bytes"):
        load(path)


def test_the_error_is_one_that_a_caller_can_name():
    assert resnet_pt.FileError is FileError
    assert issubclass(resnet_pt.FileError, ValueError)
