"""The text of a configuration from a stranger: what is read, and what is refused before it is."""

from __future__ import annotations

import io
import json
import sys
import zipfile

import numpy as np
import pytest

from converter.errors import MismatchError, SourceError, UnsafeError
from converter.files.configuration_text import MAX_BYTES, MAX_DEPTH, MAX_LAYERS, MAX_VALUES, parse
from converter.files.isolation.reader import open_configuration

DENSE = {"class_name": "Dense", "config": {"name": "dense_1", "units": 3}}
MODEL = {"class_name": "Sequential", "config": {"name": "s", "layers": [DENSE]}}


def refused(kind, text):
    with pytest.raises(kind) as error:
        parse(text if isinstance(text, bytes) else text.encode())
    return error.value


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (json.dumps(MODEL), MODEL),
        ("\ufeff  " + json.dumps(MODEL), MODEL),
        (json.dumps(json.dumps(MODEL)), MODEL),  # json.dump(model.to_json(), file)
        (json.dumps(MODEL["config"]), MODEL),  # json.dump(model.get_config(), file)
        (json.dumps([DENSE]), {"class_name": "Sequential", "config": [DENSE]}),
        (
            json.dumps({"layers": [], "input_layers": [], "name": "m"}),
            {"class_name": "Model", "config": {"layers": [], "input_layers": [], "name": "m"}},
        ),
    ],
    ids=["to_json", "with a mark", "twice", "get_config", "of Keras 1", "functional"],
)
def test_what_people_write_is_read(written, read):
    assert parse(written.encode()) == read


YAML = """
backend: tensorflow
class_name: Sequential
config:
- class_name: Conv2D
  config:
    kernel_size: &id001 !!python/tuple [3, 3]
    strides: *id001
    batch_input_shape: !!python/tuple
    - null
    - 28
    use_bias: true
    epsilon: 0.001
    name: 'yes'
keras_version: 2.2.4
"""


def test_yaml_is_the_same_as_json():
    assert parse(YAML.encode()) == {
        "backend": "tensorflow",
        "class_name": "Sequential",
        "config": [
            {
                "class_name": "Conv2D",
                "config": {
                    "kernel_size": [3, 3],
                    "strides": [3, 3],
                    "batch_input_shape": [None, 28],
                    "use_bias": True,
                    "epsilon": 0.001,
                    "name": "yes",
                },
            }
        ],
        "keras_version": "2.2.4",
    }


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("!!python/object/apply:os.system ['touch /tmp/x']", "!!python/object/apply:os.system"),
        ("!!python/name:os.system", "!!python/name:os.system"),
        ("!!python/module:os", "!!python/module:os"),
        ("!!python/unicode relu", "!!python/unicode"),
        ("!!binary aGk=", "!!binary"),
        ("!!set {a, b}", "!!set"),
        ("!mine 3", "!mine"),
    ],
)
def test_a_tag_that_makes_an_object_is_refused_by_its_name(tag, words):
    error = refused(UnsafeError, f"class_name: Sequential\nconfig: {tag}\n")

    assert words in error.headline
    assert "to_json()" in error.hints[0]


def test_numpys_objects_are_refused_for_what_they_are():
    tag = "!!python/object/apply:numpy.core.multiarray.scalar [1, 2]"

    error = refused(UnsafeError, f"class_name: Sequential\nconfig: {{rate: {tag}}}\n")

    assert error.headline.startswith("the YAML holds an object of numpy")


def nested(depth):
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    "text",
    [
        '{"class_name": "Sequential", "config": ' + nested(MAX_DEPTH + 1) + "}",
        '{"class_name": "Sequential", "config": ' + nested(100_000) + "}",
        "class_name: Sequential\nconfig: " + nested(MAX_DEPTH + 1),
        "class_name: Sequential\nconfig: " + nested(900),
        "a: &a [[[[[[[[[[1]]]]]]]]]]\n"
        + "".join(
            f"b{n}: &b{n} [{'[' * 9}*{f'b{n - 1}' if n else 'a'}{']' * 9}]\n" for n in range(12)
        )
        + "class_name: Sequential\nconfig: *b11\n",
    ],
    ids=["JSON", "JSON beyond Python's", "YAML", "YAML almost beyond libyaml's", "by aliases"],
)
def test_depth_is_limited(text):
    assert "nested deeper than" in refused(UnsafeError, text).headline


def test_depth_beyond_libyamls_own_limit_is_refused():
    refused((SourceError, UnsafeError), "class_name: Sequential\nconfig: " + nested(100_000))


def test_what_is_just_as_deep_as_allowed_is_read():
    text = '{"class_name": "Sequential", "config": ' + nested(MAX_DEPTH - 1) + "}"

    assert parse(text.encode())["class_name"] == "Sequential"


def test_aliases_that_multiply_are_counted_before_they_are_made():
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]

    error = refused(UnsafeError, "\n".join([*lines, "class_name: Sequential", "config: *a11"]))

    assert error.headline == (
        f"the configuration has more than {MAX_VALUES:,} values, aliases counted"
    )


def test_an_alias_within_itself_is_refused():
    error = refused(UnsafeError, "class_name: Sequential\nconfig: &a [*a]")

    assert error.headline == "the alias *a is within what it stands for"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"class_name": "Sequential", "config": [' + "1," * MAX_VALUES + "1]}", "values"),
        (json.dumps({"layers": [DENSE] * (MAX_LAYERS + 1)}), f"more than {MAX_LAYERS:,} layers"),
        (" " * (MAX_BYTES + 1), f"{MAX_BYTES + 1:,} bytes"),
    ],
    ids=["values", "layers", "bytes"],
)
def test_size_is_limited(text, words):
    assert words in refused(UnsafeError, text).headline


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"\x00\xff\xfe", "it is no text in UTF-8"),
        ("{", "not valid JSON"),
        ("", "it is no configuration of a Keras model"),
        ("hello", "it is no configuration of a Keras model"),
        ("a: b: c", "neither JSON nor YAML"),
        ('{"weight_map": {}}', "a list of shards of weights"),
        ('{"a": 1, "b": 2}', "it is no configuration of a Keras model"),
        ("class_name: Sequential\nconfig: 2018-01-01", "holds a date"),
        ("class_name: Sequential\nconfig: {1: 2}", "a key that is no text"),
        ('{"class_name": "S", "config": ' + "9" * 5000 + "}", "not valid JSON"),
    ],
)
def test_what_is_no_configuration_is_refused(text, words):
    assert words in str(refused(SourceError, text))


@pytest.mark.parametrize(
    "value",
    [
        {"name": "Sequential", "layers": [{"name": "Dense", "output_dim": 3}]},
        {"name": "Graph", "nodes": {}},
    ],
)
def test_keras_0_is_told_from_others(value):
    error = refused(MismatchError, json.dumps(value))

    assert "of Keras 0" in error.headline


# ---- files, in the reader's own process


def test_a_file_of_200_mb_is_not_read(tmp_path):
    path = tmp_path / "model.json"
    with path.open("wb") as file:
        file.truncate(200 * 2**20)

    with pytest.raises(UnsafeError, match="209,715,200 bytes"):
        open_configuration(path)


@pytest.mark.parametrize("name", ["model.yaml", "a_json_without_suffix"])
def test_a_file_is_read_by_its_content(name, tmp_path):
    path = tmp_path / name
    path.write_text(YAML)

    assert open_configuration(path)["keras_version"] == "2.2.4"


def test_a_record_has_it(tmp_path):
    path = tmp_path / "record.npz"
    np.savez_compressed(path, config=np.array(json.dumps(MODEL)), input=np.zeros(3))

    assert open_configuration(path) == MODEL


@pytest.mark.slow
def test_a_record_that_unpacks_without_end_is_refused(tmp_path):
    path = tmp_path / "record.npz"
    content = io.BytesIO()
    np.save(content, np.zeros(1))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.npy", content.getvalue() + bytes(5 * MAX_BYTES))

    with pytest.raises(UnsafeError, match="a configuration of 83,886"):
        open_configuration(path)


def test_pyyaml_is_not_imported_for_json(monkeypatch):
    monkeypatch.delitem(sys.modules, "yaml", raising=False)

    parse(json.dumps(MODEL).encode())

    assert "yaml" not in sys.modules
