"""`predict` for networks of any kind: what is written is what Keras' `model.predict` gave."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from helpers import FIXTURES, opened
from PIL import Image

import resnet_pt
from converter.cli import convert_weights, predict
from converter.cli.examples import gathered
from converter.cli.prediction import base_names
from converter.conversion import convert
from converter.errors import UsageError
from converter.files.npz import read_arrays, write_arrays
from converter.parity.original.recording import read_record
from converter.whole_model.configuration import scales
from resnet_pt.maps import Picturing, pictures, picturing
from resnet_pt.ops import Activation, Crop, Linear, Softmax
from resnet_pt.predict import last
from resnet_pt.program import Input, Layer, Output, Program

NETWORKS = FIXTURES / "networks"
PICTURE = FIXTURES / "pictures" / "rgb.png"
CONVERTED = [
    *("autoencoder-nested-k315", "ecg-class-k315", "lenet-k122-theano-th", "multiinput-k224"),
    *("multioutput-k210", "pools-k315", "siamese-subtract-k224"),
]


def run(*arguments):
    return CliRunner().invoke(predict, [str(argument) for argument in arguments])


def told(result):
    """`{fact: (value, where it comes from)}`."""
    lines = [re.split("  +", line) for line in result.stderr.splitlines()]
    return {line[0]: tuple(line[1:]) for line in lines if len(line) == 3}


def arrays_in(path):
    return read_arrays(path, lambda name: True)


def recorded(name, folder):
    """(a file with the inputs of a record by their names, what came out by name), with the channels
    of maps last, whatever the model's own format is."""
    inputs, outputs = names_of(name)
    one = read_record(NETWORKS / f"{name}.npz").passes[0]
    path = folder / "inputs.npz"
    with path.open("wb") as file:
        write_arrays(file, dict(zip(inputs, one.inputs, strict=True)))
    given = one.outputs or one.logits
    return path, {key or outputs[0]: value for key, value in given.items()}


def names_of(name):
    """The names of a network's inputs, and of its outputs."""
    with opened(NETWORKS / f"{name}.h5") as (_, network):
        program = network.program
    return [one.name for one in program.inputs], [one.name for one in program.outputs]


# ---- against what Keras computed


@pytest.mark.parametrize("name", CONVERTED)
def test_what_is_written_is_what_keras_gave(name, target, tmp_path):
    path, expected = recorded(name, tmp_path)

    result = run(target(name), path, "--out", tmp_path / "out.npz")

    assert result.exit_code == 0, result.stderr
    found = arrays_in(tmp_path / "out.npz")
    assert found.pop("__examples__")[0] == f"{path}[0]"
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key].shape == values.shape
        assert np.abs(found[key] - values).max() <= 1e-5 * np.abs(values).max()


def test_another_network_would_be_seen(target, tmp_path):
    model = resnet_pt.load(target("multioutput-k210"))
    with torch.no_grad():
        next(model.parameters()).mul_(1.001)
    resnet_pt.save(model, tmp_path / "other.pth")
    path, expected = recorded("multioutput-k210", tmp_path)

    run(tmp_path / "other.pth", path, "--out", tmp_path / "out.npz")

    found = arrays_in(tmp_path / "out.npz")
    assert any(
        np.abs(found[key] - values).max() > 1e-5 * np.abs(values).max()
        for key, values in expected.items()
    )


def test_a_record_is_read_as_it_is(target, tmp_path):
    record = NETWORKS / "multiinput-k224.npz"

    result = run(target("multiinput-k224"), record, "--out", tmp_path / "out.npz")

    assert result.exit_code == 0, result.stderr
    expected = read_record(record).passes[0].logits[""]
    np.testing.assert_allclose(arrays_in(tmp_path / "out.npz")["price"], expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 5), (2, 4, 5), (2, 5, 3, 3), (2, 5, 2, 2, 2)], ids=str)
def test_a_softmax_is_over_keras_last_axis(shape):
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    axis = 1 if len(shape) != 3 else 2

    assert torch.allclose(last(values, "softmax").sum(axis), torch.ones(()))


# ---- what is given


def test_pictures_and_arrays_are_one_thing(target, tmp_path):
    array = np.asarray(Image.open(PICTURE).convert("L").resize((32, 32), 0), "f4")[..., None]
    np.save(tmp_path / "one.npy", array / 255)
    np.save(tmp_path / "two.npy", np.stack([array, array]) / 255)
    network = target("autoencoder-nested-k315")

    run(network, PICTURE, "--preprocess", "unit", "--out", tmp_path / "picture.npz")
    run(network, *(tmp_path / f"{n}.npy" for n in ("one", "two")), "--out", tmp_path / "arrays.npz")

    arrays = arrays_in(tmp_path / "arrays.npz")
    assert list(arrays["__examples__"]) == [
        f"{tmp_path / 'one.npy'}[0]",
        *(f"{tmp_path / 'two.npy'}[{number}]" for number in (0, 1)),
    ]
    picture = arrays_in(tmp_path / "picture.npz")["decoder"]
    for row in arrays["decoder"]:
        np.testing.assert_allclose(row, picture[0], atol=1e-6)


def test_several_inputs_are_given_by_name(target, tmp_path):
    Image.open(PICTURE).rotate(90).save(tmp_path / "turned.png")
    network = target("siamese-subtract-k224")

    def score(left, right):
        out = tmp_path / "out.npz"
        given = (f"right={right}", f"left={left}")  # in any order
        result = run(network, *given, "--preprocess", "unit", "--out", out, "--force")
        assert result.exit_code == 0, result.stderr
        return arrays_in(out)["same"]

    model = resnet_pt.load(network)
    read = resnet_pt.Preprocess("unit", (32, 32), color_mode="grayscale")
    pair = {"left": read(PICTURE)[None], "right": read(tmp_path / "turned.png")[None]}
    with torch.no_grad():
        expected = model(**pair).sigmoid().numpy()

    np.testing.assert_allclose(score(PICTURE, tmp_path / "turned.png"), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["PICTURE"], "the network has 2 inputs"),
        (["left=PICTURE"], "nothing is given for input 'right'"),
        (["left=PICTURE", "right=PICTURES"], "and there are 1 of left, "),
        (["up=PICTURE", "right=PICTURE"], "the network has 2 inputs"),
    ],
)
def test_inputs_that_do_not_go_together(given, message, target):
    places = {"PICTURES": str(PICTURE.parent), "PICTURE": str(PICTURE)}
    for name, place in places.items():
        given = [one.replace(f"={name}", f"={place}") if "=" in one else place for one in given]
    result = run(target("siamese-subtract-k224"), *given, "--preprocess", "unit")

    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 1, 32, 32), "f4"), "the network reads (N, 32, 32, 1)"),
        (np.zeros((32, 32), "f4"), "the network reads (N, 32, 32, 1)"),
        (np.array(["a"]), "and no numbers"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(array, message, target, tmp_path):
    np.save(tmp_path / "x.npy", array)
    result = run(target("autoencoder-nested-k315"), tmp_path / "x.npy")

    assert result.exit_code == 2
    assert message in result.stderr


def test_an_array_of_objects_is_not_run(target, tmp_path):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}]), allow_pickle=True)

    result = run(target("autoencoder-nested-k315"), tmp_path / "x.npy")

    assert result.exit_code == 3
    assert "no numbers or text of the usual kinds" in result.stderr


def test_an_archive_without_the_input_says_what_it_has(target, tmp_path):
    np.savez(tmp_path / "x.npz", a=np.zeros(3), b=np.zeros(3))
    result = run(target("autoencoder-nested-k315"), tmp_path / "x.npz")

    assert result.exit_code == 2
    assert "has no array 'input_layer_2': it has 'a', 'b'" in result.stderr


# ---- pictures


def test_what_nothing_says_of_pictures_has_to_be_said(target, tmp_path):
    result = run(target("autoencoder-nested-k315"), PICTURE)

    assert result.exit_code == 2
    assert "does not say what its project did to its pictures" in result.stderr


def test_a_conversion_can_say_it(tmp_path):
    source, path = NETWORKS / "autoencoder-nested-k315.h5", tmp_path / "out.pth"
    convert(source, path, parity=False, preprocess="unit")

    result = run(path, PICTURE)

    assert result.exit_code == 0, result.stderr
    assert told(result)["preprocess"] == ("unit", "TARGET (set by the user)")


def test_a_network_that_scales_its_pictures_itself_is_given_them_as_they_are(tmp_path):
    convert(NETWORKS / "preprocess-k315.h5", tmp_path / "out.pth", parity=False)
    found, said = (
        run(tmp_path / "out.pth", PICTURE, *more, "--json")
        for more in ((), ("--preprocess", "raw"))
    )

    assert found.exit_code == 0, found.stderr
    assert told(found)["preprocess"] == ("raw", "TARGET (model_config)")
    assert json.loads(found.stdout)["pictures"] == json.loads(said.stdout)["pictures"]


@pytest.mark.parametrize(
    ("ops", "is_one"),
    [
        ([Linear((1 / 255,), (0.0,))], True),
        ([Crop(((0, 0), (1, 1), (1, 1))), Linear((1 / 255,), (0.0,))], True),
        ([Crop(((0, 0), (1, 1), (1, 1))), Activation("relu")], False),
        ([Activation("relu"), Linear((1 / 255,), (0.0,))], False),
    ],
)
def test_a_scale_of_its_own_is_one_that_reads_the_pictures(ops, is_one):
    layers = [
        Layer(str(number), op, (str(number - 1) if number else "in",), str(number), "x")
        for number, op in enumerate(ops)
    ]
    outputs = (Output("out", layers[-1].name),)

    assert scales(Program((Input("in", (1, 8, 8)),), tuple(layers), outputs)) == is_one


def test_a_vector_is_no_picture(target):
    arguments = (f"picture={PICTURE}", f"table={PICTURE}", "--preprocess", "unit")
    result = run(target("multiinput-k224"), *arguments)

    assert result.exit_code == 5
    assert "'table' is no map: a picture is none of its inputs" in result.stderr


def test_options_of_pictures_are_for_pictures(target, tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((32, 32, 1), "f4"))
    result = run(target("autoencoder-nested-k315"), tmp_path / "x.npy", "--preprocess", "unit")

    assert result.exit_code == 2


def test_the_classes_of_a_general_network_are_named(tmp_path):
    (tmp_path / "names.txt").write_text("one\ntwo\nthree\nfour\n")
    source, path = NETWORKS / "pools-k315.h5", tmp_path / "out.pth"
    options = ("--no-parity", "--labels", str(tmp_path / "names.txt"))
    assert CliRunner().invoke(convert_weights, [str(source), str(path), *options]).exit_code == 0

    result = run(path, NETWORKS / "pools-k315.npz", "--top", 1)

    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[1].split()[1] in ("one", "two", "three", "four")


# ---- maps as pictures


def a_map(activation, channels=1, op=None):
    """A program whose output is a map."""
    layers = (Layer("x", op or Activation("relu"), ("in",), "x", "x"),)
    return Program((Input("in", (channels, 4, 4)),), layers, (Output("out", "x", activation),))


def test_a_mask_is_written_as_its_numbers(target, tmp_path):
    path, expected = recorded("multioutput-k210", tmp_path)

    result = run(target("multioutput-k210"), path, "--maps", tmp_path / "maps")

    assert result.exit_code == 0, result.stderr
    names = sorted(one.name for one in (tmp_path / "maps").iterdir())
    assert names == [f"inputs_{n}-mask.png" for n in range(len(expected["mask"]))]
    seen = np.asarray(Image.open(tmp_path / "maps" / names[0]), "f4") / 255
    assert np.abs(seen - expected["mask"][0, ..., 0]).max() <= 0.5 / 255 + 1e-5


def test_classes_of_pixels_are_a_picture_of_their_numbers():
    (how,) = picturing(a_map("softmax", 5))
    value = np.random.default_rng(0).random((4, 4, 5), dtype=np.float32)
    ((suffix, image),) = pictures(value, how)

    assert (suffix, image.mode, how.by_class) == ("", "P", True)
    assert (np.asarray(image) == value.argmax(-1)).all()
    assert image.getpalette()[:9] == [0, 0, 0, 128, 0, 0, 0, 128, 0]


@pytest.mark.parametrize(
    ("program", "given", "range"),
    [
        (a_map("sigmoid"), None, (0.0, 1.0)),
        (a_map("linear", op=Activation("tanh")), None, (-1.0, 1.0)),
        (a_map("linear"), (0.0, 255.0), (0.0, 255.0)),
        (a_map("sigmoid"), (0.0, 255.0), (0.0, 1.0)),
        (a_map("linear"), None, None),
        (a_map("linear", op=Softmax((1,))), None, None),
        (a_map("linear", 5), (0.0, 1.0), None),
    ],
)
def test_numbers_become_grey_only_where_it_is_known_how(program, given, range):
    (how,) = picturing(program, given)

    assert how.range == range
    assert bool(how.reason) == (range is None)


@pytest.mark.parametrize(
    ("channels", "found"),
    [
        (1, {"": "L"}),
        (3, {"": "RGB"}),
        (2, {"-0": "L", "-1": "L"}),
        (4, dict.fromkeys(["-0", "-1", "-2", "-3"], "L")),
    ],
)
def test_a_picture_for_each_number_of_channels(channels, found):
    value = np.full((4, 4, channels), 0.5, np.float32)
    made = dict(pictures(value, Picturing("out", (0.0, 1.0))))

    assert {suffix: image.mode for suffix, image in made.items()} == found
    assert {np.asarray(image).max() for image in made.values()} == {128}


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    """A network whose output is a map behind a norm, of 8 channels, and one of a linear map."""
    path = tmp_path_factory.mktemp("features") / "out.pth"
    convert(NETWORKS / "multioutput-k210.h5", path, parity=False, outputs=["conv2d"])
    return path


def test_maps_that_cannot_be_pictures_are_refused_before_anything_runs(features, tmp_path):
    result = run(features, NETWORKS / "multioutput-k210.npz", "--maps", tmp_path / "maps")

    assert result.exit_code == 2
    assert "no output can be written as pictures" in result.stderr
    assert "channels" in result.stderr
    assert not (tmp_path / "maps").exists()


def test_features_are_written_and_told_in_numbers(features, tmp_path):
    record = NETWORKS / "multioutput-k210.npz"
    result = run(features, record, "--out", tmp_path / "out.npz")

    values = arrays_in(tmp_path / "out.npz")["conv2d"]
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[0].split() == [
        "input",
        "shape",
        "smallest",
        "largest",
        "mean",
    ]
    row = result.stdout.splitlines()[1].split()
    assert row[1] == "x".join(map(str, values.shape[1:]))
    assert float(row[3]) == pytest.approx(values[0].max(), rel=1e-3)


# ---- what is there is not replaced


def test_nothing_is_replaced_without_being_told_to(target, tmp_path):
    record, network = NETWORKS / "multioutput-k210.npz", target("multioutput-k210")
    arguments = (network, record, "--out", tmp_path / "out.npz", "--maps", tmp_path / "maps")
    assert run(*arguments).exit_code == 0
    before = (tmp_path / "out.npz").read_bytes()

    again = run(*arguments)
    (tmp_path / "out.npz").unlink()
    maps = run(*arguments)
    forced = run(*arguments, "--force")

    assert (again.exit_code, maps.exit_code, forced.exit_code) == (7, 7, 0)
    assert "mask.png is there already" in maps.stderr
    assert not again.stdout
    assert (tmp_path / "out.npz").read_bytes() == before


def test_an_input_is_never_replaced(target, tmp_path):
    path, _ = recorded("multioutput-k210", tmp_path)
    result = run(target("multioutput-k210"), path, "--out", path, "--force")

    assert result.exit_code == 7
    assert f"{path} is one of the inputs" in result.stderr


def test_an_array_of_another_suffix_is_refused(target, tmp_path):
    record = NETWORKS / "multioutput-k210.npz"
    result = run(target("multioutput-k210"), record, "--out", tmp_path / "out.h5")

    assert result.exit_code == 2
    assert "needs the suffix .npz" in result.stderr


def test_outputs_of_several_sizes_are_no_array():
    with pytest.raises(UsageError, match=r"'a' is \(2,\) and \(3,\), which is no one array"):
        gathered([{"a": np.zeros(2)}, {"a": np.zeros(3)}])


def test_every_example_has_a_file_of_its_own():
    names = base_names(["a/x.png", "b/x.png", "y.npy[0]", "y.npy[1]", "l.png + r.png"])

    assert names == ["x", "x_2", "y_0", "y_1", "l"]


def test_an_output_may_have_any_name(tmp_path):
    with (tmp_path / "x.npz").open("wb") as file:
        write_arrays(file, {"file": np.arange(3), "block/conv": np.ones(2)})

    with np.load(tmp_path / "x.npz") as found:
        assert {name: found[name].tolist() for name in found} == {
            "file": [0, 1, 2],
            "block/conv": [1.0, 1.0],
        }
