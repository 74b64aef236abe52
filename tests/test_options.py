"""Options that no network can have are usage errors, not files that nobody can load."""

from __future__ import annotations

from pathlib import Path

import pytest
from edits import assert_refused, run
from helpers import facts, fixture, opened, weights_only

import resnet_pt
from converter.errors import UsageError
from converter.formats.delivery import label_names
from converter.options import Options

PATH = fixture("keras-2.10-functional-head")


@pytest.mark.parametrize(
    "options",
    [
        ("--bn-eps", "nan"),
        ("--bn-eps", "inf"),
        ("--bn-eps", "-1"),
        ("--head-activation", "nonsense"),
        ("--head-activation", "leaky_relu"),
    ],
    ids=" ".join,
)
def test_a_value_that_no_network_has_is_code_2(options, tmp_path):
    source = weights_only(PATH, tmp_path)

    result = run(source, tmp_path / "out.pth", "--no-parity", *options)

    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == 2
    assert not (tmp_path / "out.pth").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        ("--bn-eps", "0"),
        ("--head-activation", "tanh"),
        ("--pool", "same"),
        ("--stem", "same"),
        ("--stride-on", "3x3"),
        ("--theano-kernels",),
        ("--preprocess", "raw"),
    ],
    ids=" ".join,
)
def test_whatever_is_set_gives_a_file_that_loads(options, tmp_path):
    source = weights_only(PATH, tmp_path)

    result = run(source, tmp_path / "out.safetensors", "--no-parity", *options)

    assert result.exit_code == 0, result.output
    assert "set by the user" in result.stderr
    assert resnet_pt.load(tmp_path / "out.safetensors").architecture.classes is not None


def test_a_pool_is_not_added_to_a_network_that_has_none(tmp_path):
    source = fixture("keras-2.3.1-cifar-v1")

    result = run(source, tmp_path / "out.pth", "--no-parity", "--pool", "zero")

    assert_refused(result, 2, tmp_path / "out.pth")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "fact"),
    [
        ("keras-2.2.4-tensorflow", {"running_std": "std"}, "running_std"),
        ("keras-2.2.4-tensorflow", {"head_activation": "tanh"}, "head"),
    ],
    ids=["running_std of Keras 2", "no hidden layer"],
)
def test_an_option_without_effect_is_not_shown_as_if_it_had_one(name, options, fact):
    """Either it sets something, or it is not said to."""
    with opened(fixture(name)) as (_, before), opened(fixture(name), **options) as (_, after):
        changed = (after.architecture, after.variance) != (before.architecture, before.variance)
        shown = facts(after).get(fact, ("", ""))[1] == "set by the user"

    assert changed == shown


@pytest.mark.slow
def test_an_activation_for_hidden_layers_that_are_not_there_is_told_to_change_nothing(tmp_path):
    source, target = fixture("keras-2.2.4-tensorflow"), tmp_path / "out.pth"

    result = run(source, target, "--no-parity", "--head-activation", "tanh")

    assert result.exit_code == 0
    assert "no hidden Dense layer: --head-activation changes nothing" in result.stderr


def test_an_activation_that_is_the_default_is_settled_all_the_same(tmp_path):
    source = weights_only(fixture("keras-2.10-functional-head"), tmp_path)

    with opened(source) as (_, before), opened(source, head_activation="relu") as (_, after):
        assert after.architecture == before.architecture
        assert facts(before)["head activation"][1] == "default"
        assert facts(after)["head activation"][1] == "set by the user"


def test_how_pictures_were_prepared_does_not_change_who_is_asked():
    """--preprocess is recorded and no part of the network: Keras can still load the file."""
    from converter.parity.original.oracle import choose_oracle

    with opened(fixture("keras-2.2.4-tensorflow"), preprocess="tf") as (checkpoint, network):
        assert facts(network)["preprocessing"] == ("tf", "set by the user")
        assert choose_oracle(checkpoint, network).kind == "load"


def test_help_names_every_option_of_the_contract():
    result = run("--help")

    for option in (
        *("--force", "--dry-run", "--device", "--no-parity", "--require-parity", "--against"),
        *("--report", "--expect-sha256", "--bn-eps", "--pool", "--stem", "--stride-on"),
        *("--theano-kernels", "--no-theano-kernels", "--running-std", "--head-activation"),
        "--preprocess",
    ):
        assert option in result.stdout


def test_paths_may_be_given_as_text():
    assert Options(against="record.npz") == Options(against=Path("record.npz"))
    assert Options(keras_python="python3.6").keras_python == Path("python3.6")
    assert Options(to="transformers", labels="a.txt").labels == Path("a.txt")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--no-parity", "--against", "r.npz"), "--no-parity compares no logits"),
        (("--no-parity", "--keras-python", "python3.6"), "--no-parity compares no logits"),
        (("--no-parity", "--require-parity"), "--no-parity compares no logits"),
        (("--expect-sha256", "abc"), "a SHA-256 has 64 hex digits"),
        (("--network", "foo"), "--network foo: known are auto-main-first"),
        (("--network", "raghakot"), "is a whole model, whose configuration says"),
        (("--no-parity", "--device", "mps"), "--device mps: torch finds no such device"),
    ],
)
def test_options_that_do_nothing_or_contradict_are_refused(options, words, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)

    result = run(fixture("keras-2.2.4-tensorflow"), tmp_path / "out.pth", *options)

    assert_refused(result, 2, tmp_path / "out.pth")
    assert words in result.stderr


@pytest.mark.slow
def test_a_dry_run_looks_at_the_target_too(tmp_path):
    target = tmp_path / "out.onnx"

    result = run(fixture("keras-2.2.4-tensorflow"), target, "--dry-run")

    assert_refused(result, 2, target)
    assert "needs a suffix that says its format" in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.npz", None, "none.npz is not a record: No such file or directory\n"),
        ("model.h5", b"\x89HDF\r\n\x1a\n", "model.h5 is not a record: it is no .npz\n"),
    ],
)
def test_what_is_no_record_is_said_to_be_none(name, content, words, tmp_path):
    if content:
        (tmp_path / name).write_bytes(content)

    result = run(PATH, tmp_path / "out.pth", "--against", tmp_path / name)

    assert_refused(result, 3, tmp_path / "out.pth")
    assert words in result.stderr
    assert "allow_pickle" not in result.stderr


def test_labels_that_are_no_text_are_said_to_be_that(tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_bytes(b"\x89PNG\xff")

    with pytest.raises(UsageError, match="cannot be read: it is no text in UTF-8"):
        label_names(labels)
