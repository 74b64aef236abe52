"""Which layer of a given configuration has which weights: what is paired, and what protects."""

from __future__ import annotations

import copy
import json

import h5py
import numpy as np
import pytest
from edits import assert_refused, run
from helpers import fixture, weights_only
from test_given_configuration import configuration, given, renamed

from converter.errors import MismatchError, UsageError
from converter.files.source import read_here


def conv(name, filters=4, **more):
    settings = {"name": name, "filters": filters, "kernel_size": [3, 3], "use_bias": False}
    return {"class_name": "Conv2D", "config": {**settings, **more}}


def norm(name, **more):
    return {"class_name": "BatchNormalization", "config": {"name": name, **more}}


def model(*layers, name="model_1"):
    return {"class_name": "Sequential", "config": {"name": name, "layers": list(layers)}}


KERNEL = {"kernel:0": (3, 3, 4, 4)}
NORM = {f"{one}:0": (4,) for one in ("gamma", "beta", "moving_mean", "moving_variance")}


def written(path, **groups):
    """A file of weights of `{layer: {weight's name: shape}}`; each array holds its own number."""
    number = 0
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array([name.encode() for name in groups])
        file.attrs["keras_version"] = "2.2.4"
        for name, weights in groups.items():
            group = file.create_group(name)
            names = [one if "/" in one else f"{name}/{one}" for one in weights]
            group.attrs["weight_names"] = np.array([one.encode() for one in names])
            for one, shape in zip(names, weights.values(), strict=True):
                group[one] = np.full(shape, number, "f4")
                number += 1
    return path


def paired(path, config, **options):
    """(how, `{layer/parameter: path in the file}`)."""
    with read_here(path, given(json.dumps(config), **options)) as checkpoint:
        return checkpoint.match, {str(one): one.path for one in checkpoint.weights}


def refused(path, config, **options):
    with (
        pytest.raises(MismatchError) as error,
        read_here(path, given(json.dumps(config), **options)),
    ):
        pass
    return error.value


def test_names_that_fit_decide(tmp_path):
    path = written(tmp_path / "w.h5", a=KERNEL, b=NORM)

    match, found = paired(path, model(conv("a"), norm("b")))

    assert match == "names"
    assert found["b/gamma"] == "b/b/gamma:0"


def test_another_session_counts_on_and_loads(tmp_path):
    path = written(
        tmp_path / "w.h5", conv2d_54=KERNEL, batch_normalization_54=NORM, conv2d_55=KERNEL
    )
    config = model(conv("conv2d"), norm("batch_normalization"), conv("conv2d_1"))

    match, found = paired(path, config)

    assert match == "order"
    assert found["conv2d/kernel"] == "conv2d_54/conv2d_54/kernel:0"
    assert found["conv2d_1/kernel"] == "conv2d_55/conv2d_55/kernel:0"


def test_names_that_overlap_by_chance_are_shifted_together(tmp_path):
    """A session whose second model begins where the first ends: half of the names are in both."""
    path = written(tmp_path / "w.h5", conv2d_2=KERNEL, conv2d_3=KERNEL, conv2d_4=KERNEL)

    match, found = paired(path, model(conv("conv2d_1"), conv("conv2d_2"), conv("conv2d_3")))

    assert match == "order"
    assert found["conv2d_2/kernel"] == "conv2d_3/conv2d_3/kernel:0"


def test_both_ways_that_differ_are_told(tmp_path):
    path = written(tmp_path / "w.h5", conv2d_1=KERNEL, conv2d_2=KERNEL)
    config = model(conv("conv2d_2"), conv("conv2d_1"))

    with read_here(path, given(json.dumps(config))) as checkpoint:
        assert checkpoint.match == "names"
        assert checkpoint.rivals == (
            "conv2d_1/conv2d_1/kernel:0 is of 'conv2d_1' by the names of the layers, and of "
            "'conv2d_2' by their order",
            "conv2d_2/conv2d_2/kernel:0 is of 'conv2d_2' by the names of the layers, and of "
            "'conv2d_1' by their order",
        )


@pytest.mark.parametrize(
    ("match", "first"), [("names", "conv2d_2/kernel"), ("order", "conv2d_1/kernel")]
)
def test_the_user_says_which(match, first, tmp_path):
    path = written(tmp_path / "w.h5", conv2d_2=KERNEL, conv2d_1=KERNEL)
    config = model(conv("conv2d_1"), conv("conv2d_2"))

    found, pairs = paired(path, config, match=match)

    assert found == match
    assert pairs[first] == "conv2d_2/conv2d_2/kernel:0"


def test_words_of_another_keras_are_noted(tmp_path):
    path = written(tmp_path / "w.h5", a=KERNEL)
    config = {**model(conv("a")), "keras_version": "2.3.1", "backend": "tensorflow"}

    with read_here(path, given(json.dumps(config))) as checkpoint:
        assert checkpoint.notes == ("Keras 2.2.4 wrote the weights, Keras 2.3.1 the configuration",)
        assert (checkpoint.keras_version, checkpoint.backend) == ("2.2.4", "tensorflow")


# ---- what contradicts an order of equal shapes


def test_a_name_that_somebody_gave_contradicts(tmp_path):
    path = written(tmp_path / "w.h5", stem=KERNEL, res2a=KERNEL, other=KERNEL)

    error = refused(path, model(conv("res2a"), conv("stem"), conv("last")))

    assert error.findings == (
        "'stem' of the file stands where the configuration has 'res2a'",
        "'res2a' of the file stands where the configuration has 'stem'",
    )
    assert "--match order" in error.hints[0]
    assert paired(path, model(conv("res2a"), conv("stem"), conv("last")), match="order")


def test_layers_that_were_not_made_in_the_same_order_contradict(tmp_path):
    """Two branches of one shape, listed in another order than on the other side."""
    path = written(tmp_path / "w.h5", conv2d_11=KERNEL, conv2d_13=KERNEL, conv2d_12=KERNEL)

    error = refused(path, model(conv("conv2d_1"), conv("conv2d_2"), conv("conv2d_3")))

    assert error.findings == (
        "'conv2d_13' was made after 'conv2d_12' in the file, and 'conv2d_2' before 'conv2d_3' in "
        "the configuration",
    )


def test_layers_that_are_listed_alike_on_both_sides_do_not(tmp_path):
    path = written(tmp_path / "w.h5", conv2d_11=KERNEL, conv2d_13=KERNEL, conv2d_12=KERNEL)

    assert paired(path, model(conv("conv2d_1"), conv("conv2d_3"), conv("conv2d_2")))[0] == "order"


def test_one_layer_of_the_file_is_not_two(tmp_path):
    inside = {"x/kernel:0": (3, 3, 4, 4), "y/kernel:0": (3, 3, 4, 4)}
    path = written(tmp_path / "w.h5", base={**inside, **{f"x/{key}": NORM[key] for key in NORM}})
    config = model(model(conv("a"), conv("b"), norm("c"), name="inner"))
    config["config"]["layers"][0]["config"]["layers"][2]["config"]["trainable"] = False

    error = refused(path, config)

    assert error.findings == (
        "'x' is one layer in the file, and would be 'a' and 'c' of the configuration",
    )


# ---- nested models


def test_a_nested_models_arrays_stand_with_the_trained_ones_first(tmp_path):
    trained = {"p/kernel:0": (3, 3, 4, 4), "q/gamma:0": (4,), "q/beta:0": (4,)}
    others = {"q/moving_mean:0": (4,), "q/moving_variance:0": (4,)}
    more = {"r/kernel:0": (3, 3, 4, 4)}
    path = written(tmp_path / "w.h5", base={**trained, **more, **others})
    inner = model(conv("a"), norm("b"), conv("c"), name="inner")

    match, found = paired(path, model(inner))

    assert match == "order"
    assert found["b/moving_mean"] == "base/q/moving_mean:0"
    assert found["c/kernel"] == "base/r/kernel:0"


def test_a_frozen_ones_stand_layer_by_layer(tmp_path):
    weights = {"p/kernel:0": (3, 3, 4, 4), **{f"q/{key}": NORM[key] for key in NORM}}
    path = written(tmp_path / "w.h5", base={**weights, "r/kernel:0": (3, 3, 4, 4)})
    frozen = {"trainable": False}
    inner = model(conv("a", **frozen), norm("b", **frozen), conv("c", **frozen), name="inner")

    assert paired(path, model(inner))[1]["c/kernel"] == "base/r/kernel:0"
    thawed = model(conv("a"), norm("b"), conv("c"), name="inner")
    assert refused(path, model(thawed)).findings == (
        "'inner' has kernel, gamma, beta, kernel, moving_mean, moving_variance by the "
        "configuration, 'base' of the file kernel, gamma, beta, moving_mean, moving_variance, "
        "kernel",
    )


# ---- what does not fit


def test_every_misfit_is_listed(tmp_path):
    narrow = {"kernel:0": (3, 3, 4, 2)}
    path = written(tmp_path / "w.h5", a=narrow, b={"gamma:0": (4,)}, extra=KERNEL)

    error = refused(path, model(conv("a"), norm("b"), conv("c")))

    assert error.exit_code == 5
    assert "by the names of the layers" in error.headline
    assert set(error.findings) == {
        "a/kernel is (3, 3, ?, 4) by the configuration, and a/a/kernel:0 is (3, 3, 4, 2)",
        "'b' has no beta in the file",
        "'b' has no moving_mean in the file",
        "'b' has no moving_variance in the file",
        "Conv2D 'c' is in the configuration, and not in the file",
        "the file has a layer 'extra' (kernel (3, 3, 4, 4)), and the configuration has none",
    }


def test_another_depth_in_another_session_is_counted(tmp_path):
    path = written(tmp_path / "w.h5", conv2d_7=KERNEL, conv2d_8=KERNEL)

    error = refused(path, model(*(conv(f"conv2d_{number}") for number in range(1, 6))))

    assert error.findings[:2] == (
        "the configuration has 5 layers with weights, and the file 2",
        "'conv2d_1' is in the configuration alone",
    )


def test_a_layer_of_an_unknown_class_has_a_place_by_name_alone(tmp_path):
    custom = {"class_name": "Mine", "config": {"name": "mine"}}
    config = model(conv("a"), custom)

    assert paired(written(tmp_path / "w.h5", a=KERNEL, mine={"w:0": (7,)}), config)[0] == "names"
    error = refused(written(tmp_path / "v.h5", x=KERNEL, y={"w:0": (7,)}), config)
    assert error.findings == ("'mine' (Mine): whether it has weights is not known",)


def test_a_whole_model_has_its_own_configuration():
    path = fixture("raghakot-basic")

    with (
        pytest.raises(UsageError, match="is a whole model"),
        read_here(path, given(configuration(path))),
    ):
        pass


# ---- anti-tests: a wrong pair is found


PATH = fixture("keras-2.3.1-auto-named")


def swapped_names(config, one, other):
    """The configuration with the names of two layers exchanged, wherever they stand."""
    words = json.dumps(config)
    for old, new in ((one, "\0"), (other, one), ("\0", other)):
        words = words.replace(json.dumps(old), json.dumps(new))
    return json.loads(words)


def twins(config, path):
    """Two convolutions of one shape, by their names."""
    shapes = {}
    with h5py.File(path) as file:
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "Conv2D":
                name = layer["config"]["name"]
                shape = file[f"{name}/{name}/kernel:0"].shape
                if shape in shapes and shape[0] == 3:
                    return shapes[shape], name
                shapes[shape] = name
    raise AssertionError("no two convolutions of one shape")


@pytest.fixture
def alone(tmp_path):
    return weights_only(PATH, tmp_path)


def config_file(folder, config):
    path = folder / "model.json"
    path.write_text(json.dumps(config))
    return path


@pytest.mark.slow
def test_names_and_order_that_differ_are_refused_until_one_is_said(alone, tmp_path):
    config = json.loads(configuration(PATH))
    one, other = twins(config, alone)
    given_file = config_file(tmp_path, swapped_names(config, one, other))

    result = run(alone, tmp_path / "out.pth", "--no-parity", "--config", given_file)

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "--match order is what Keras' own load_weights does" in result.stderr
    assert f"of '{other}' by their order" in result.stderr
    said = run(
        alone, tmp_path / "out.pth", "--no-parity", "--config", given_file, "--match", "order"
    )
    assert said.exit_code == 0, said.output
    assert "--match order" in said.stderr


@pytest.mark.slow
@pytest.mark.keras
def test_two_layers_of_one_shape_swapped_in_the_list_are_found_by_keras(alone, tmp_path):
    """Keras orders layers by the graph, whatever the order in which they are listed."""
    config = json.loads(configuration(PATH))
    one, other = twins(config, alone)
    renamed(alone)
    layers = config["config"]["layers"]
    places = [[layer["name"] for layer in layers].index(name) for name in (one, other)]
    listed = copy.copy(layers)
    listed[places[0]], listed[places[1]] = layers[places[1]], layers[places[0]]
    config["config"]["layers"] = listed

    result = run(
        alone, tmp_path / "out.pth", "--device", "cpu", "--config", config_file(tmp_path, config)
    )

    assert_refused(result, 1, tmp_path / "out.pth")
    assert "does not give the logits of Keras itself" in result.stderr


@pytest.mark.slow
def test_a_wrong_pair_that_no_name_tells_is_found_by_a_record(alone, tmp_path):
    config = json.loads(configuration(PATH))
    swapped = swapped_names(config, *twins(config, alone))
    arguments = ["--device", "cpu", "--against", PATH.with_suffix(".npz"), "--match", "names"]

    wrong = run(alone, tmp_path / "out.pth", *arguments, "--config", config_file(tmp_path, swapped))
    assert_refused(wrong, 1, tmp_path / "out.pth")
    assert "does not give the logits of record of Keras 2.3.1" in wrong.stderr

    right = run(alone, tmp_path / "out.pth", *arguments, "--config", config_file(tmp_path, config))
    assert right.exit_code == 0, right.output
