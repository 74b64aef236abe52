"""`.keras` archives: only the members needed, by name, in bounds, and never on disk."""

from __future__ import annotations

import io
import json
import zipfile

import h5py
import numpy as np
import pytest
from edits import assert_refused, names_removed, run
from helpers import FIXTURES, converted, facts, head_words, opened

PATH = FIXTURES / "keras-3.15-nested-head.keras"
WEIGHTS = "model.weights.h5"


def members(path=PATH):
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def archive(target, content, *, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(target, "w", method) as file:
        for name, data in content if isinstance(content, list) else content.items():
            file.writestr(name, data)
    return target


def reweighted(target, change):
    """The archive after `change` of its open weights file."""
    content = members()
    inner = io.BytesIO(content[WEIGHTS])
    with h5py.File(inner, "a") as file:
        change(file)
    return archive(target, {**content, WEIGHTS: inner.getvalue()})


@pytest.mark.slow
def test_it_is_the_same_network_as_its_hdf5_file():
    with opened(PATH) as (checkpoint, network), opened(FIXTURES / f"{PATH.stem}.h5") as (_, other):
        assert checkpoint.keras_version == "3.15.1"
        assert network.architecture == other.architecture
        assert dict(network.structure.layers) == dict(other.structure.layers)
    _, tensors = converted(PATH)
    _, expected = converted(FIXTURES / f"{PATH.stem}.h5")
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, expected[name], err_msg=name)


def test_its_weights_alone_are_the_same_network(tmp_path):
    """Nothing tells the order of Dense layers and norms but their widths."""
    alone = tmp_path / "alone.weights.h5"
    alone.write_bytes(members()[WEIGHTS])
    whole, expected = converted(PATH)

    network, tensors = converted(alone)

    assert head_words(network) == head_words(whole)
    assert facts(network)["head"][1] == "default"  # the activation is not in the weights
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, expected[name], err_msg=name)


@pytest.mark.slow
def test_a_norm_that_could_stand_in_two_places_is_refused(tmp_path):
    alone = tmp_path / "alone.weights.h5"
    alone.write_bytes(members()[WEIGHTS])
    with h5py.File(alone, "a") as file:
        dense = file["layers/dense_1/vars"]
        width = file["layers/dense/vars/0"].shape[1]
        del dense["0"], dense["1"]
        dense["0"], dense["1"] = np.eye(width, dtype="f4"), np.zeros(width, "f4")

    result = run(alone, tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "may stand behind dense or behind dense_1" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.zip", "model.h5", "model"])
def test_it_is_told_by_its_content(name, tmp_path):
    source = archive(tmp_path / name, members())

    assert run(source, tmp_path / "out.pth", "--no-parity").exit_code == 0


def test_names_come_from_the_configuration_where_the_weights_have_none(tmp_path):
    """Keras before 3.6 named no groups."""

    source = reweighted(tmp_path / "old.keras", names_removed)

    with opened(PATH) as (_, expected), opened(source) as (checkpoint, network):
        assert checkpoint.is_named
        assert dict(network.structure.layers) == dict(expected.structure.layers)


@pytest.mark.slow
def test_names_that_contradict_the_configuration_are_refused(tmp_path):
    def rename(file):
        file["layers/dense/vars"].attrs["name"] = "dense_1"

    source = reweighted(tmp_path / "odd.keras", rename)
    result = run(source, tmp_path / "out.pth")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "config.json calls a layer 'dense'" in result.stderr


@pytest.mark.slow
def test_a_layer_that_the_weights_lack_is_refused(tmp_path):
    def drop(file):
        del file["layers/dense_1"]

    result = run(reweighted(tmp_path / "odd.keras", drop), tmp_path / "out.pth")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "2 layers of the class 'dense'" in result.stderr


@pytest.mark.slow
def test_a_packed_archive_is_read(tmp_path):
    source = archive(tmp_path / "packed.keras", members(), method=zipfile.ZIP_DEFLATED)

    assert run(source, tmp_path / "out.pth", "--no-parity").exit_code == 0


@pytest.mark.slow
def test_a_member_that_leads_out_of_the_archive_is_refused(tmp_path):
    for number, name in enumerate(["../../evil.h5", "/etc/passwd", "a\\..\\..\\b"]):
        source = archive(tmp_path / f"{number}.keras", {**members(), name: b"x"})
        result = run(source, tmp_path / "out.pth")

        assert_refused(result, 4, tmp_path / "out.pth")
        assert "leads out of it" in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.keras", "1.keras", "2.keras"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name_are_refused(tmp_path):
    content = [*members().items(), ("config.json", b"{}")]
    source = archive(tmp_path / "twice.keras", content)

    assert_refused(run(source, tmp_path / "out.pth"), 4, tmp_path / "out.pth")


@pytest.mark.slow
def test_a_member_that_unpacks_into_much_more_is_refused(tmp_path):
    content = {**members(), "model.weights.h5": b"\0" * 300_000_000}
    source = archive(tmp_path / "bomb.keras", content, method=zipfile.ZIP_DEFLATED)

    result = run(source, tmp_path / "out.pth")

    assert_refused(result, 4, tmp_path / "out.pth")
    assert "unpacks from" in result.stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [("config.json", b"{"), ("config.json", b"\xff\xfe"), ("metadata.json", b"[")],
)
def test_a_configuration_that_is_no_json_is_code_3(name, content, tmp_path):
    source = archive(tmp_path / "odd.keras", {**members(), name: content})

    assert_refused(run(source, tmp_path / "out.pth"), 3, tmp_path / "out.pth")


@pytest.mark.slow
@pytest.mark.parametrize(
    "config",
    [
        {"class_name": "Functional", "config": {"layers": 5}},
        {"class_name": "Functional", "config": {"layers": [{"class_name": None}]}},
        {"class_name": "Functional", "config": {"layers": [[]]}},
        {"class_name": "Functional"},
    ],
)
def test_a_configuration_that_keras_does_not_write_is_refused(config, tmp_path):
    source = archive(
        tmp_path / "odd.keras", {**members(), "config.json": json.dumps(config).encode()}
    )

    result = run(source, tmp_path / "out.pth")

    assert result.exit_code in {3, 5}
    assert isinstance(result.exception, SystemExit)
    assert not (tmp_path / "out.pth").exists()


def test_an_archive_without_weights_is_code_3(tmp_path):
    content = {name: data for name, data in members().items() if name != WEIGHTS}

    result = run(archive(tmp_path / "empty.keras", content), tmp_path / "out.pth")

    assert_refused(result, 3, tmp_path / "out.pth")
    assert "without model.weights.h5" in result.stderr


@pytest.mark.parametrize(
    ("name", "asked", "words"),
    [
        ("frozen.pb", "frozen.pb", "it looks like a graph of TensorFlow"),
        ("model.tflite", "model.tflite", "it looks like a model of TensorFlow Lite"),
        ("ck.data-00000-of-00001", "ck.data-00000-of-00001", "it looks like a checkpoint of"),
        ("ck.index", "ck", "hint: it is a checkpoint of TensorFlow"),
    ],
)
def test_what_tensorflow_keeps_otherwise_is_named_and_what_to_do(name, asked, words, tmp_path):
    (tmp_path / name).write_bytes(b"\x08\x01 something of its own")

    result = run(tmp_path / asked, tmp_path / "out.pth")

    assert_refused(result, 3, tmp_path / "out.pth")
    assert words in result.stderr
    assert "load it in TensorFlow, and save it as HDF5" in result.stderr


def test_a_name_as_long_as_can_be_has_no_traceback(tmp_path):
    """With `.index` behind it, it is longer than names may be."""
    result = run(tmp_path / ("x" * 253), tmp_path / "out.pth")

    assert_refused(result, 3, tmp_path / "out.pth")
    assert "cannot be read: No such file" in result.stderr


def test_another_zip_is_named_for_what_it_is(tmp_path):
    result = run(archive(tmp_path / "a.h5", {"archive/data.pkl": b"x"}), tmp_path / "out.pth")

    assert_refused(result, 3, tmp_path / "out.pth")
    assert "looks like a zip archive" in result.stderr


@pytest.mark.slow
def test_a_cut_off_archive_is_code_3(tmp_path):
    content = PATH.read_bytes()
    for number, size in enumerate([60, len(content) // 2, len(content) - 1]):
        source = tmp_path / f"{number}.keras"
        source.write_bytes(content[:size])

        assert_refused(run(source, tmp_path / "out.pth"), 3, tmp_path / "out.pth")


def test_a_link_inside_the_weights_is_refused(tmp_path):
    def link(file):
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = h5py.ExternalLink("/etc/passwd", "x")

    result = run(reweighted(tmp_path / "link.keras", link), tmp_path / "out.pth")

    assert_refused(result, 4, tmp_path / "out.pth")
    assert "link to elsewhere" in result.stderr


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("name", [WEIGHTS, "config.json", "metadata.json", "assets/words.txt"])
def test_a_member_that_is_not_what_its_checksum_was_made_of_is_refused(name, method, tmp_path):
    """The least fault, and HDF5 would have read another number: one bit of one weight."""
    source = archive(
        tmp_path / "a.keras", {**members(), "assets/words.txt": b"w" * 99}, method=method
    )
    with zipfile.ZipFile(source) as file:
        info = file.getinfo(name)
    content = bytearray(source.read_bytes())
    start = info.header_offset + 30 + len(name)
    content[start + info.compress_size * 3 // 4] ^= 1
    source.write_bytes(content)

    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 3, tmp_path / "out.pth")
    assert f"{name!r} cannot be read" in result.stderr
