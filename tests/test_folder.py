"""A folder in, a folder out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from edits import assert_refused, edited, run
from helpers import copy, fixture

from converter.conversion import convert
from converter.errors import SourceError
from converter.folder import convert_folder, keras_files
from resnet_pt import load

PATH = fixture("keras-2.2.4-tensorflow")


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "models"
    made.mkdir()
    copy(PATH, made, "good.h5")
    copy(PATH, made, "without_suffix")
    (made / "cut.h5").write_bytes(PATH.read_bytes()[:5000])
    (made / "notes.txt").write_text("not a model")
    return made


def test_the_line_of_a_file_says_what_was_found_first(tmp_path):
    def spoil(file):
        file["model_weights/bn_conv1/bn_conv1/moving_variance:0"][0] = np.nan

    edited(PATH, tmp_path, spoil)

    result = run(tmp_path, tmp_path / "out", "--no-parity")

    assert result.exit_code == 6
    assert "refused (6)" in result.stderr
    assert "bn_conv1/moving_variance" in result.stderr


@pytest.mark.slow
def test_every_file_has_its_line_and_the_worst_code_counts(folder, tmp_path):
    result = run(folder, tmp_path / "out", "--no-parity")

    assert result.exit_code == 3
    *lines, totals = result.stderr.splitlines()
    assert totals == "3 files: 2 not compared, 1 refused"
    assert [line.split(":")[0].split(" ")[0] for line in lines] == [
        "cut.h5",
        "good.h5",
        "without_suffix",
    ]
    assert "refused (3)" in lines[0]
    assert "not compared" in lines[1]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "good.pth",
        "without_suffix.pth",
    ]


@pytest.mark.slow
def test_the_files_are_what_they_would_be_one_by_one(folder, tmp_path):
    alone = convert(folder / "good.h5", tmp_path / "alone.pth", parity=False)

    outcomes = {
        one.source.name: one for one in convert_folder(folder, tmp_path / "out", parity=False)
    }

    assert outcomes["good.h5"].report.target_sha256 == alone.target_sha256
    assert load(outcomes["good.h5"].target).architecture == alone.network.architecture


@pytest.mark.slow
def test_two_files_of_one_stem_do_not_share_a_target(tmp_path):
    made = tmp_path / "models"
    made.mkdir()
    copy(PATH, made, "a.h5")
    copy(PATH, made, "a.hdf5")

    outcomes = list(convert_folder(made, tmp_path / "out", parity=False))

    assert [one.target.name for one in outcomes] == ["a.h5.pth", "a.hdf5.pth"]


@pytest.mark.slow
def test_folders_in_it_are_named_and_not_entered(tmp_path):
    for name in ("2019", "2020"):
        (tmp_path / "models" / name).mkdir(parents=True)
    copy(PATH, tmp_path / "models" / "2020", "inner.h5")

    result = run(tmp_path / "models", tmp_path / "out", "--no-parity")
    assert_refused(result, 3, tmp_path / "out")
    assert "folders in it hold some: 2020" in result.stderr

    copy(PATH, tmp_path / "models", "outer.h5")
    result = run(tmp_path / "models", tmp_path / "out", "--no-parity")
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-1] == "not entered, and hold Keras files: 2020"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["outer.pth"]


def test_shards_count_as_their_list(tmp_path):
    (tmp_path / "x.weights.json").write_text(
        json.dumps({"weight_map": {"/layers/conv2d/vars": ["x_00000.weights.h5"]}})
    )
    (tmp_path / "x_00000.weights.h5").write_bytes(b"")

    assert [path.name for path in keras_files(tmp_path)] == ["x.weights.json"]


def test_a_folder_that_cannot_be_listed_is_refused(folder, tmp_path, monkeypatch):
    def closed(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(type(folder), "iterdir", closed)
    result = run(folder, tmp_path / "out")

    assert result.exit_code == 3
    assert result.stderr == f"Error: {folder} cannot be read: Permission denied\n"


def test_a_folder_without_models_is_refused(tmp_path):
    with pytest.raises(SourceError, match="holds no Keras files"):
        list(convert_folder(tmp_path, tmp_path / "out"))
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(SourceError, match="TensorFlow's SavedModel: load it in TensorFlow"):
        list(convert_folder(tmp_path, tmp_path / "out"))


@pytest.mark.parametrize(
    "options", [["--dry-run"], ["--report", "r.json"], ["--expect-sha256", "0" * 64]]
)
def test_options_of_one_file_are_refused(options, folder, tmp_path):
    result = run(folder, tmp_path / "out", *options)

    assert result.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_a_folder_needs_a_folder(folder, tmp_path):
    assert run(folder).exit_code == 2
    assert_refused(run(folder, tmp_path / "out.pth"), 2, tmp_path / "out.pth")
    (tmp_path / "file").write_text("")
    assert run(folder, tmp_path / "file").exit_code == 7
