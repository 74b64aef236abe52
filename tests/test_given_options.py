"""--config, --match, --build and a record's own configuration, as a user meets them."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner
from edits import assert_refused, run
from helpers import arrays_of, fixture, opened, record, weights_only
from test_given_configuration import configuration, renamed
from test_keras_python import stand_in
from test_report_schema import schema

import resnet_pt.files
from converter.cli import inspect_weights, verify_weights
from converter.conversion import convert
from converter.errors import MismatchError, UsageError
from converter.options import Options
from converter.reports import html
from converter.verification import verify

PATH = fixture("keras-2.2.4-tensorflow")


@pytest.fixture
def alone(tmp_path):
    return weights_only(PATH, tmp_path)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "model.json"
    path.write_text(configuration(PATH))
    return path


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def inspected(*arguments):
    result = CliRunner().invoke(inspect_weights, [str(one) for one in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


# ---- said in facts, report and TARGET


@pytest.mark.slow
def test_the_configuration_is_said_with_its_sha256(alone, config, tmp_path):
    report = convert(alone, tmp_path / "out.pth", config=config, parity=False)

    data = report.to_dict()
    jsonschema.Draft202012Validator(schema()).validate(data)
    assert data["source"]["configuration"] == {
        "option": "--config",
        "origin": str(config),
        "sha256": digest(config),
        "match": "names",
    }
    assert resnet_pt.files.read(tmp_path / "out.pth")[1]["config_sha256"] == digest(config)
    rows = {fact["name"]: fact for fact in data["source"]["facts"]}
    assert rows["configuration"]["evidence"] == "set by the user"
    assert f"--config {config}" in rows["configuration"]["reason"]
    assert rows["weights"]["value"] == "by the names of the layers"
    assert rows["epsilon"]["evidence"] == "model_config"
    assert b"by the names of the layers" in html.render(data)


@pytest.mark.slow
def test_a_file_that_was_given_none_says_none(alone, tmp_path):
    report = convert(alone, tmp_path / "out.pth", parity=False)

    assert report.to_dict()["source"]["configuration"] is None
    assert "config_sha256" not in resnet_pt.files.read(tmp_path / "out.pth")[1]


@pytest.mark.slow
def test_another_sessions_names_have_a_row_of_their_own(alone, config):
    renamed(alone)

    result = inspected(alone, "--config", config)

    assert result.exit_code == 0, result.output
    row = next(line for line in result.stdout.splitlines() if line.startswith("weights "))
    assert "by the order of the layers" in row
    assert "one after the other, as Keras' load_weights takes them" in row


@pytest.mark.parametrize("command", [inspect_weights, verify_weights])
def test_every_command_takes_it(command):
    assert "--config FILE" in CliRunner().invoke(command, ["--help"]).stdout


@pytest.mark.slow
def test_verification_takes_it_too(alone, config, tmp_path):
    convert(PATH, tmp_path / "out.pth", parity=False)

    report = verify(tmp_path / "out.pth", alone, config=config, parity=False)

    assert report.proven_tensors == len(report.plan.steps)
    assert report.checkpoint.given.sha256 == digest(config)


@pytest.mark.slow
def test_another_whole_model_gives_its_configuration(alone, tmp_path):
    report = convert(alone, tmp_path / "out.pth", config=str(PATH), parity=False)

    with opened(PATH) as (_, network):
        assert report.network.structure == network.structure


# ---- what is no configuration, and what needs none


def test_weights_as_configuration_are_told_for_what_they_are(alone):
    result = inspected(alone, "--config", alone)

    assert result.exit_code == 3
    assert f"{alone} holds weights, and no configuration" in result.stderr


@pytest.mark.parametrize("name", ["model.json", "model.yaml"])
def test_a_configuration_as_source_is_told_for_what_it_is(name, config, tmp_path):
    source = tmp_path / name
    if name == "model.yaml":
        source.write_text("backend: tensorflow\nclass_name: Sequential\nconfig: []\n")

    result = inspected(source)

    assert result.exit_code == 3
    assert "the configuration of a Keras model" in result.stderr
    assert "--config" in result.stderr


def test_a_whole_model_needs_none(config, tmp_path):
    result = run(PATH, tmp_path / "out.pth", "--config", config)

    assert result.exit_code == 2
    assert "is a whole model, whose own configuration says" in result.stderr


@pytest.mark.parametrize(
    "options",
    [
        {"config": Path("model.json"), "build": "a:b"},
        {"match": "order"},
        {"code": Path("src"), "config": Path("model.json")},
    ],
    ids=str,
)
def test_options_that_do_not_go_together(options):
    with pytest.raises(UsageError):
        Options(**options)


def test_a_json_of_another_depth_lists_what_is_missing(tmp_path):
    path = tmp_path / "model.json"
    path.write_text(configuration(fixture("keras-2.1.6-tensorflow")))
    shallow = weights_only(fixture("keras-1.2.2-tensorflow"), tmp_path)

    result = run(shallow, tmp_path / "out.pth", "--config", path)

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "is in the configuration, and not in the file" in result.stderr


def test_how_to_match_needs_something_to_match(alone, tmp_path):
    with pytest.raises(UsageError, match="no configuration is given"):
        convert(alone, tmp_path / "out.pth", against=record(PATH), match="order")


def test_a_record_is_verified_without_one(config, tmp_path):
    convert(PATH, tmp_path / "out.pth", parity=False)

    with pytest.raises(UsageError, match="PATH is a record"):
        verify(tmp_path / "out.pth", record(PATH), config=config)


# ---- hints


def test_weights_alone_say_how_to_get_it(alone):
    result = inspected(alone)

    assert "open('model.json', 'w').write(model.to_json())" in result.stdout
    assert "beside it" not in result.stdout


def test_one_that_lies_beside_is_named_and_not_taken(alone, config):
    (config.parent / "other.json").write_text("{}")

    result = inspected(alone)

    assert "beside it model.json may be that of its model" in result.stdout
    assert "configuration  given" not in result.stdout


def test_a_whole_model_is_told_nothing_of_it():
    assert "to_json" not in inspected(PATH).stdout


def test_a_refusal_that_it_would_help_says_so(config, tmp_path):
    """Two Dense layers that read the same: what joins them is not in a file of weights."""
    from converter.files.checkpoint import Checkpoint
    from converter.files.opening import pointing

    checkpoint = Checkpoint(PATH, "x", (), (), lambda _: iter(()), beside=("model.json",))
    with pytest.raises(MismatchError) as error, pointing(checkpoint):
        raise MismatchError("it is not said", hints=[checkpoint.advice])
    assert error.value.hints[-1] == checkpoint.told_beside
    with pytest.raises(MismatchError) as other, pointing(checkpoint):
        raise MismatchError("no ResNet", hints=["nothing helps"])
    assert other.value.hints == ("nothing helps",)


# ---- a record that has it


def with_configuration(folder, text):
    path = folder / "record.npz"
    np.savez(path, **{**arrays_of(record(PATH)), "config": np.array(text)})
    return path


@pytest.mark.slow
def test_a_record_gives_architecture_and_proof(alone, tmp_path):
    path = with_configuration(tmp_path, configuration(PATH))

    report = convert(alone, tmp_path / "out.pth", against=path, device="cpu")

    assert report.verdict == "equal"
    rows = {fact.name: fact for fact in report.facts}
    assert str(rows["configuration"].evidence) == "record"
    assert str(rows["pool"].evidence) == "model_config"
    assert {name for one in report.trials for name in one.changes} <= {"flipped"}
    with opened(PATH) as (_, network):
        assert report.network.structure.layers == network.structure.layers
    assert report.checkpoint.given.sha256 == digest(path)


@pytest.mark.slow
def test_a_record_of_another_model_is_refused_by_its_configuration(alone, tmp_path):
    path = with_configuration(tmp_path, configuration(fixture("keras-2.10-scale")))

    with pytest.raises(MismatchError, match="do not fit --against"):
        convert(alone, tmp_path / "out.pth", against=path)


@pytest.mark.slow
def test_a_whole_model_is_compared_with_a_record_that_has_it(tmp_path):
    path = with_configuration(tmp_path, configuration(PATH))

    assert convert(PATH, tmp_path / "out.pth", against=path, device="cpu").verdict == "equal"


# ---- --build


def building(folder, body):
    """A folder with the module `project`, whose function `make` is this."""
    (folder / "code").mkdir()
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    (folder / "code" / "project.py").write_text(f"def make(name, classes=2):\n{lines}\n")
    return folder / "code"


class_of_text = """
class Model:
    def to_json(self):
        return open(name).read()
return Model()
"""


@pytest.mark.slow
def test_the_users_own_code_gives_the_configuration(alone, config, tmp_path):
    code = building(tmp_path, class_of_text)
    build = f"project:make({str(config)!r}, classes=5)"

    report = convert(alone, tmp_path / "out.pth", build=build, code=code, parity=False)

    given = report.checkpoint.given
    assert (given.option, given.origin, given.sha256) == ("--build", build, digest(config))
    assert report.network.architecture.classes


def test_errors_of_that_code_are_its_own(alone, tmp_path):
    code = building(tmp_path, "raise ValueError(f'no network of {classes} classes')")

    result = run(
        alone, tmp_path / "out.pth", "--build", "project:make('x', classes=3)", "--code", code
    )

    assert_refused(result, 2, tmp_path / "out.pth")
    assert (
        "the code of project:make('x', classes=3) ended with an error of its own" in result.stderr
    )
    assert "ValueError: no network of 3 classes" in result.stderr
    assert "record_keras" not in result.stderr


@pytest.mark.parametrize(
    ("build", "words"),
    [
        ("project:make(open('x'))", "each a literal"),
        ("project:make(*[1])", "each a literal"),
        ("project:make(1)(2)", "each a literal"),
        ("project:absent(1)", "project has no absent"),
        ("absent:make(1)", "cannot import absent"),
        ("project:make('x')", "gives a int, and no Keras model"),
    ],
)
def test_what_is_no_call_with_literals_is_refused(build, words, alone, tmp_path):
    code = building(tmp_path, "return 3")

    with pytest.raises(UsageError) as error:
        convert(alone, tmp_path / "out.pth", build=build, code=code, parity=False)

    assert words in str(error.value)


@pytest.mark.slow
def test_only_its_text_comes_back(alone, config, tmp_path):
    """What the code prints, and leaves in the process, stays there."""
    code = building(tmp_path, "print('{}' * 100)\n" + class_of_text)

    report = convert(
        alone, tmp_path / "out.pth", build=f"project:make({str(config)!r})", code=code, parity=False
    )

    assert report.checkpoint.given.sha256 == digest(config)
    assert "project" not in sys.modules


@pytest.mark.slow
def test_another_interpreter_builds_it_too(alone, config, tmp_path):
    python = stand_in(
        tmp_path,
        f"""
if "--config-only" in sys.argv:
    assert sys.argv[4:] == ["--config-only", "--build", "a:b(3)"], sys.argv
    shutil.copy({str(config)!r}, sys.argv[3])
else:
    shutil.copy({str(record(PATH))!r}, sys.argv[3])""",
    )

    report = convert(alone, tmp_path / "out.pth", build="a:b(3)", keras_python=python, device="cpu")

    assert report.verdict == "equal"
    assert report.checkpoint.given.option == "--build"
    assert {name for one in report.trials for name in one.changes} <= {"flipped"}


@pytest.mark.slow
def test_another_interpreter_runs_a_given_configuration(alone, config, tmp_path):
    python = stand_in(
        tmp_path,
        f"""
place = sys.argv.index("--config")
assert json.load(open(sys.argv[place + 1]))["class_name"] == "Model"
shutil.copy({str(record(PATH))!r}, sys.argv[3])""",
    )

    report = convert(alone, tmp_path / "out.pth", config=config, keras_python=python, device="cpu")

    assert report.verdict == "equal"


@pytest.mark.slow
@pytest.mark.keras
def test_keras_builds_it_and_is_asked(tmp_path):
    """A model of another Keras than the file's: its words are this Keras', its weights the old
    one's."""
    source = weights_only(PATH, tmp_path)
    code = building(tmp_path, "import keras\nreturn keras.models.load_model(name, compile=False)")

    report = convert(
        source,
        tmp_path / "out.pth",
        build=f"project:make({str(PATH)!r})",
        code=code,
        device="cpu",
    )

    assert report.verdict == "equal"
    assert report.parity.oracle == "Keras itself"
    assert "module" in report.checkpoint.given.config
