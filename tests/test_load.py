"""`resnet_pt.load` on files that were damaged, or made to harm: nothing is run, nothing loads."""

from __future__ import annotations

import collections
import json
import os
import pickle
import re
import struct
import zipfile

import pytest
import torch
from helpers import fixture
from safetensors.torch import load_file, save_file

import resnet_pt
from converter.conversion import convert
from resnet_pt.files import FileError

PATH = fixture("keras-2.3.1-qubvel-18")
SUFFIXES = (".pth", ".safetensors")
either = pytest.mark.parametrize("suffix", SUFFIXES)


@pytest.fixture(scope="module")
def right(tmp_path_factory):
    """`{suffix: path}` of a converted network in each format."""
    folder = tmp_path_factory.mktemp("right")
    paths = {suffix: folder / f"right{suffix}" for suffix in SUFFIXES}
    for path in paths.values():
        convert(PATH, path, parity=False)
    return paths


@either
@pytest.mark.parametrize("at", [0.05, 0.3, 0.5, 0.7, 0.95])
def test_a_flipped_bit_is_found(suffix, at, right, tmp_path):
    content = bytearray(right[suffix].read_bytes())
    content[int(len(content) * at)] ^= 1
    path = tmp_path / f"flipped{suffix}"
    path.write_bytes(content)

    with pytest.raises(FileError):
        resnet_pt.load(path)


def test_a_flipped_bit_is_found_in_what_was_trained_and_saved_again(right, tmp_path):
    path = tmp_path / "again.pth"
    torch.save(resnet_pt.load(right[".pth"]).state_dict(), path)
    resnet_pt.load(path)
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda one: one.file_size)
    content = bytearray(path.read_bytes())
    content[largest.header_offset + 1000] ^= 1
    path.write_bytes(content)

    with pytest.raises(FileError, match="is damaged: again/data/"):
        resnet_pt.load(path)


@either
@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.999])
def test_a_file_that_was_cut_off_is_refused(suffix, part, right, tmp_path):
    content = right[suffix].read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(content[: int(len(content) * part)])

    with pytest.raises(FileError):
        resnet_pt.load(path)


def test_junk_behind_safetensors_is_refused(right, tmp_path):
    """A second file could hide there; behind an archive the checksum rules."""
    path = tmp_path / "junk.safetensors"
    path.write_bytes(right[".safetensors"].read_bytes() + b"junk" * 100)

    with pytest.raises(FileError):
        resnet_pt.load(path)


@pytest.mark.parametrize("kind", ["directory", "pipe", "device"])
def test_what_is_no_file_is_refused_at_once(kind, tmp_path):
    path = tmp_path / "out.pth"
    if kind == "directory":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")

    with pytest.raises(FileError, match="is no file"):
        resnet_pt.load(path)


class Calls:
    """Unpickled, calls `function`."""

    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


def repacked(source, path, change, **options):
    """The archive again, after `change(members)` of its `{name: content}`."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_an_archive_that_was_repacked_as_it_is_loads(right, tmp_path):
    """The anti-test: what the refusals below change is what they are refused for."""
    resnet_pt.load(repacked(right[".pth"], tmp_path / "same.pth", lambda members: None))


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    "what",
    [
        pytest.param(Calls(os.system, "touch ran"), id="a command"),
        pytest.param(Calls(eval, "open('ran', 'w')"), id="an expression"),
        pytest.param(Calls(open, "ran", "w"), id="a file"),
        pytest.param(Calls(torch.load, "ran"), id="torch itself"),
        pytest.param(Calls(torch.sparse_coo_tensor, (1,)), id="a sparse tensor"),
        pytest.param(collections.Counter("ab"), id="another class"),
    ],
)
def test_a_pickle_that_asks_for_anything_else_is_refused(
    what, protocol, right, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)

    def swap(members):
        members["archive/data.pkl"] = pickle.dumps({"conv1.weight": what}, protocol)

    path = repacked(right[".pth"], tmp_path / "evil.pth", swap)

    with pytest.raises(FileError, match="its pickle asks for"):
        resnet_pt.load(path)
    assert not (tmp_path / "ran").exists()


def test_a_bare_pickle_is_refused(tmp_path):
    path = tmp_path / "old.pth"
    path.write_bytes(pickle.dumps(Calls(os.system, "true")))

    with pytest.raises(FileError, match="is neither a"):
        resnet_pt.load(path)


def test_a_compressed_archive_is_refused(right, tmp_path):
    """A thousand to one is what deflate can do."""

    def enlarge(members):
        members["archive/data/0"] = bytes(2**26)

    options = {"compression": zipfile.ZIP_DEFLATED}
    path = repacked(right[".pth"], tmp_path / "bomb.pth", enlarge, **options)

    assert path.stat().st_size < 2**24
    with pytest.raises(FileError, match="it is compressed"):
        resnet_pt.load(path)


def test_two_members_of_one_name_are_refused(right, tmp_path):
    path = repacked(right[".pth"], tmp_path / "twice.pth", lambda members: None)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("archive/data.pkl", b"")

    with pytest.raises(FileError, match="two members of one name"):
        resnet_pt.load(path)


def test_an_archive_without_a_pickle_is_refused(right, tmp_path):
    path = repacked(
        right[".pth"], tmp_path / "none.pth", lambda members: members.pop("archive/data.pkl")
    )

    with pytest.raises(FileError, match=r"no data.pkl"):
        resnet_pt.load(path)


def resaved(right, path, change, checked=False):
    state = torch.load(right[".pth"], weights_only=True)
    if not checked:
        state["_extra_state"].pop("sha256")
    change(state)
    torch.save(state, path)
    return path


@pytest.mark.parametrize("checked", [True, False], ids=["with its checksum", "without"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("conv0.weight", None) or s.pop("conv1.weight"), "missing conv1.weight"),
        (lambda s: s.update(extra=torch.ones(1)), "unknown 'extra'"),
        (lambda s: s.update({7: torch.ones(1)}), "unknown 7"),
        (lambda s: s.update({"bn1.weight": torch.ones(5)}), r"bn1.weight is \(5,\), not"),
        (lambda s: s.update({"bn1.weight": 3.0}), "bn1.weight is no plain tensor"),
        (lambda s: s.update({"bn1.weight": None}), "bn1.weight is no plain tensor"),
        (lambda s: s.update({"bn1.weight": s["bn1.weight"].long()}), "is torch.int64, not"),
        (
            lambda s: s.update({"conv1.weight": torch.zeros(1).expand(s["conv1.weight"].shape)}),
            "conv1.weight has fewer numbers than its shape",
        ),
    ],
)
def test_a_state_that_is_not_the_network_s_is_refused(change, message, checked, right, tmp_path):
    path = resaved(right, tmp_path / "other.pth", change, checked)

    with pytest.raises(FileError, match=message):
        resnet_pt.load(path)


@pytest.mark.parametrize(
    "tensor", [torch.ones(8).to_sparse(), torch.ones(8).to(torch.float8_e4m3fn)], ids=str
)
def test_a_tensor_of_another_kind_is_refused(tensor, right, tmp_path):
    path = resaved(right, tmp_path / "odd.pth", lambda s: s.update({"bn1.weight": tensor}))

    with pytest.raises(FileError):
        resnet_pt.load(path)


@pytest.mark.parametrize(
    ("described", "message"),
    [
        ({"layers": "conv1"}, "Expected `object`, got `str` - at `$.layers`"),
        ({"layers": {"conv1": []}}, "Expected `str`, got `array` - at `$.layers[...]`"),
        ({"facts": 5}, "Expected `array`, got `int` - at `$.facts`"),
        ({"facts": [{"x": 1}]}, "missing required field `name` - at `$.facts[0]`"),
        ({"labels": [1]}, "Expected `str`, got `int` - at `$.labels[0]`"),
        ({"sha256": 7}, "Expected `str`, got `int` - at `$.sha256`"),
    ],
    ids=str,
)
def test_a_description_of_another_kind_is_refused(described, message, right, tmp_path):
    path = resaved(
        right, tmp_path / "odd.pth", lambda state: state["_extra_state"].update(described)
    )

    with pytest.raises(FileError, match=re.escape(message)):
        resnet_pt.load(path)


def test_a_network_in_bfloat16_that_was_saved_again_loads(right, tmp_path):
    path = tmp_path / "bfloat16.pth"
    torch.save(resnet_pt.load(right[".pth"]).bfloat16().state_dict(), path)

    assert resnet_pt.load(path).conv1.weight.dtype == torch.bfloat16


def test_bfloat16_under_the_checksum_of_float32_is_damage(right, tmp_path):
    def narrow(state):
        state.update({"bn1.weight": state["bn1.weight"].bfloat16()})

    with pytest.raises(FileError, match="is damaged"):
        resnet_pt.load(resaved(right, tmp_path / "narrow.pth", narrow, checked=True))


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"[" * 100_000, b"\xff\xfe", b'{"format": 1}', b'{"format": NaN}'],
    ids=["empty", "cut off", "a list", "deep", "no UTF-8", "no architecture", "NaN"],
)
def test_safetensors_with_another_description_are_refused(text, right, tmp_path):
    state = load_file(right[".safetensors"])
    state["_extra_state"] = torch.tensor(list(text), dtype=torch.uint8)
    path = tmp_path / "other.safetensors"
    save_file(state, path)

    with pytest.raises(FileError):
        resnet_pt.load(path)


@pytest.mark.parametrize(
    "header",
    [
        b"{ ",
        b"[" * 1000,
        json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 8]}}).encode(),
        json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}).encode(),
        json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 2**60]}}).encode(),
    ],
)
def test_safetensors_whose_header_lies_are_refused(header, tmp_path):
    path = tmp_path / "lies.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))

    with pytest.raises(FileError, match="is not a safetensors file"):
        resnet_pt.load(path)
