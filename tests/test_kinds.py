"""Numbers of a configuration are held to their kind and range, whatever file it stands in."""

from __future__ import annotations

import json
import math

import pytest
from edits import assert_refused, layer, reconfigured, run
from helpers import fixture, opened
from test_archive import archive, members

from converter.errors import SourceError
from converter.files.kinds import SettingError, truth, whole
from converter.whole_model.graph import parse_graph
from converter.whole_model.ranges import number

KERAS_2 = fixture("keras-2.2.4-tensorflow")
KERAS_1 = fixture("keras-1.2.2-tensorflow")


@pytest.mark.parametrize("value", [2.5, True, "2", None, [2], 10**21, 0, -1, math.nan, math.inf])
def test_what_is_no_whole_number_of_the_range(value):
    with pytest.raises(SettingError, match=r"strides is .*, no whole number from 1 to 9"):
        whole(value, "strides", 1, 9)


def test_what_is_one():
    assert [whole(value, "strides", 1, 9) for value in (1, 9, 2.0)] == [1, 9, 2]
    assert [number(value, "epsilon") for value in (0, 1e-3, -2)] == [0.0, 1e-3, -2.0]
    assert [truth(value, "bias") for value in (True, False, 0, 1, None)] == [1, 0, 0, 1, 0]


@pytest.mark.parametrize("value", [True, "1e-3", 10**4000, math.nan, math.inf, 1e300, None])
def test_what_is_no_number(value):
    with pytest.raises(SettingError, match=r"epsilon is .*, no finite number of float32") as error:
        number(value, "epsilon")
    assert len(str(error.value)) < 100


@pytest.mark.parametrize("value", ["false", 2, 0.0, [], "yes"])
def test_what_is_neither_true_nor_false(value):
    with pytest.raises(SettingError, match=r"bias is .*, neither true nor false"):
        truth(value, "bias")


CANNOT_BE = [
    ("conv1", "strides", [2.5, 2]),
    ("conv1", "strides", [True, True]),
    ("conv1", "strides", 10**21),
    ("conv1", "strides", [2, 2, 2]),
    ("conv1", "kernel_size", [7.9, 7]),
    ("conv1", "dilation_rate", [0, 1]),
    ("conv1", "filters", 4.5),
    ("conv1", "use_bias", "false"),
    ("bn_conv1", "epsilon", 10**4000),
    ("bn_conv1", "epsilon", True),
    ("bn_conv1", "epsilon", math.nan),
    ("bn_conv1", "momentum", "0.99"),
    ("bn_conv1", "axis", 3.5),
    ("bn_conv1", "scale", 2),
    ("conv1_pad", "padding", 3 * 10**8),
    ("conv1_pad", "padding", [[3, 3.5], [3, 3]]),
    ("conv1_pad", "padding", [[-1, 3], [3, 3]]),
    ("max_pooling2d_1", "pool_size", [3, 10**9]),
    ("max_pooling2d_1", "strides", [True, 2]),
    ("fc1000", "units", -10),
    ("fc1000", "units", 10.5),
    ("input_1", "batch_input_shape", [None, -64, 64, 3]),
    ("input_1", "batch_input_shape", [None, 64.5, 64, 3]),
]


@pytest.mark.parametrize(("name", "setting", "value"), CANNOT_BE, ids=str)
def test_a_setting_that_cannot_be_is_refused_with_its_layer(name, setting, value):
    with opened(KERAS_2) as (checkpoint, _):
        config = json.loads(json.dumps(checkpoint.config))
    inner = layer(config, name)["config"]
    assert setting in inner
    inner[setting] = value

    with pytest.raises(SourceError) as error:
        parse_graph(config)

    assert error.value.exit_code == 3
    (finding,) = error.value.findings
    assert finding.startswith(f"layer {name!r}: ")
    assert "Error" not in finding


@pytest.mark.parametrize("setting", ["nb_row", "nb_filter"])
def test_the_settings_of_keras_1_too(setting):
    with opened(KERAS_1) as (checkpoint, _):
        config = json.loads(json.dumps(checkpoint.config))
    layer(config, "conv1")["config"][setting] = 7.5

    with pytest.raises(SourceError, match="model_config is not one that Keras writes"):
        parse_graph(config)


def test_a_file_with_a_fraction_of_a_stride_is_refused(tmp_path):
    def change(config):
        layer(config, "conv1")["config"]["strides"] = [2.5, 2]

    source = reconfigured(KERAS_2, tmp_path, change)
    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 3, tmp_path / "out.pth")
    assert "layer 'conv1': strides is 2.5, no whole number from 1 to 4096" in result.stderr


@pytest.mark.parametrize("version", ["9" * 5000, "2.\u00b2.1", "x" * 100_000, "2.2.4" + "4" * 9000])
def test_a_version_of_thousands_of_digits_is_no_version(version, tmp_path):
    metadata = json.dumps({"keras_version": version}).encode()
    source = archive(tmp_path / "a.keras", {**members(), "metadata.json": metadata})

    result = run(source, tmp_path / "out.pth", "--no-parity")

    assert result.exit_code == 0, result.stderr
    assert max(map(len, result.stderr.splitlines())) < 500
