"""keras-hub's own classes: what the config.json beside the weights says of them is taken."""

from __future__ import annotations

import io
import json
import zipfile

import h5py
import numpy as np
import pytest
from edits import assert_refused, replaced, run
from helpers import FIXTURES, facts, opened

from resnet_pt.ops import Dropout, GlobalPool

PATH = FIXTURES / "keras-hub-0.32-18.keras"
CONFIG, WEIGHTS = "config.json", "model.weights.h5"
BASE = "layers/res_net_backbone/layers"


def members():
    with zipfile.ZipFile(PATH) as file:
        return {name: file.read(name) for name in file.namelist()}


def classifier(config):
    return config["config"]


def backbone(config):
    return config["config"]["backbone"]["config"]


def saved(folder, change=None, weights=None, edit=None):
    """A copy of the classifier after `change` of its configuration, with other `weights` or after
    an `edit` of them."""
    content = members()
    config = json.loads(content[CONFIG])
    if change:
        config = change(config) or config
    content[CONFIG] = json.dumps(config).encode()
    inner = io.BytesIO(weights.read_bytes() if weights else content[WEIGHTS])
    if edit:
        with h5py.File(inner, "a") as file:
            edit(file)
    content[WEIGHTS] = inner.getvalue()
    target = folder / "model.keras"
    with zipfile.ZipFile(target, "w") as file:
        for name, data in content.items():
            file.writestr(name, data)
    return target


def setting(part, **values):
    return lambda config: part(config).update(values)


def read(path):
    with opened(path) as (_, network):
        return network.architecture, facts(network)


def strides(architecture):
    return [stage[0].stride for stage in architecture.stages]


def refusal(path, folder):
    result = run(path, folder / "o.pth", "--no-parity")
    assert_refused(result, 5, folder / "o.pth")
    return result.stderr


def max_pooled(file):
    file.move("layers/global_average_pooling2d", "layers/global_max_pooling2d")


def listed(file, *names):
    for name in names:
        file.create_group(f"{BASE}/{name}/vars").attrs["name"] = name


# ---- what is taken


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (None, "linear"),
        ("sigmoid", "sigmoid"),
        ("softmax", "softmax"),
        ({"module": "builtins", "class_name": "function", "config": "softmax"}, "softmax"),
    ],
)
def test_the_last_activation_is_the_one_in_the_configuration(written, name, tmp_path):
    """It was said that weights do not record it, and 'linear' for all of them."""
    architecture, told = read(saved(tmp_path, setting(classifier, activation=written)))

    assert [one.activation for one in architecture.outputs] == [name]
    assert told["output"] == (name, "model_config")


def test_the_strides_of_the_stages_are_those_in_the_configuration(tmp_path):
    """1 2 2 2 was shown as a default: another network."""
    plain, _ = read(PATH)
    change = setting(backbone, stackwise_num_strides=[1, 2, 1, 3])

    architecture, told = read(saved(tmp_path, change))

    assert strides(plain) == [1, 2, 2, 2]
    assert strides(architecture) == [1, 2, 1, 3]
    assert [stage[0].shortcut.conv.stride for stage in architecture.stages[1:]] == [
        (2, 2),
        (1, 1),
        (3, 3),
    ]
    assert told["stride"][0].startswith("stem 2, pool 2, stages 1 2 1 3")
    assert told["stride"][1] == "model_config"


def test_pool_and_dropout_are_those_in_the_configuration(tmp_path):
    change = setting(classifier, pooling="max", dropout=0.3)

    architecture, told = read(saved(tmp_path, change, edit=max_pooled))

    assert [one.op for one in architecture.head[:2]] == [GlobalPool("max"), Dropout(0.3)]
    assert told["head"] == ("global_max_pool, dropout, dense 5", "model_config")


def test_the_size_of_the_pictures_is_the_one_in_the_configuration(tmp_path):
    for shape, size in (
        ([80, 96, 3], (80, 96)),
        ([3, 80, 96], (80, 96)),
        ([None, None, 3], None),
        ([80, None, 3], None),
    ):
        architecture, _ = read(saved(tmp_path, setting(backbone, image_shape=shape)))
        assert architecture.input_size == size


def test_a_policy_of_half_precision_is_said(tmp_path):
    policy = {"module": "keras", "class_name": "DTypePolicy", "config": {"name": "mixed_float16"}}

    _, told = read(saved(tmp_path, setting(backbone, dtype=policy)))

    assert told["precision"] == ("float32", "model_config")
    assert "precision" not in read(PATH)[1]


def test_blocks_that_pool_need_no_deep_stem(tmp_path):
    """The names are those of blocks that do not; the pools are listed without a place."""
    change = setting(backbone, block_type="basic_block_vd", stackwise_num_strides=[1, 2, 3, 1])

    def edit(file):
        listed(file, "average_pooling2d", "average_pooling2d_1")

    architecture, _ = read(saved(tmp_path, change, edit=edit))

    pools = [stage[0].shortcut and stage[0].shortcut.pool for stage in architecture.stages]
    assert [pool and (pool.kernel, pool.stride, pool.padding, pool.mode) for pool in pools] == [
        None,
        ((2, 2), (2, 2), "same", "avg"),
        ((2, 2), (3, 3), "same", "avg"),
        None,
    ]
    assert architecture.stages[1][0].shortcut.conv.stride == (1, 1)


def test_a_deep_stem_is_no_sign_of_blocks_that_pool(tmp_path):
    def change(config):
        settings = {"input_conv_filters": [32, 32, 64], "input_conv_kernel_sizes": [3, 3, 3]}
        backbone(config).update(settings, block_type="bottleneck_block")

    def edit(file):
        for name in [name for name in file[BASE] if name.startswith("average_pooling2d")]:
            del file[BASE][name]

    weights = FIXTURES / "keras-hub-0.32-vd-26.weights.h5"
    architecture, _ = read(saved(tmp_path, change, weights, edit))

    assert [stage[0].shortcut.pool for stage in architecture.stages] == [None] * 4
    assert [stage[0].shortcut.conv.stride for stage in architecture.stages[1:]] == [(2, 2)] * 3


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("26", {"block_type": "bottleneck_block"}),
        ("v2-26", {"block_type": "bottleneck_block", "use_pre_activation": True}),
        (
            "vd-26",
            {
                "block_type": "bottleneck_block_vd",
                "input_conv_filters": [32, 32, 64],
                "input_conv_kernel_sizes": [3, 3, 3],
            },
        ),
    ],
)
def test_the_network_of_the_weights_alone_is_the_same(name, values, tmp_path):
    """Their records prove the networks that their weights are read as."""
    weights = FIXTURES / f"keras-hub-0.32-{name}.weights.h5"
    change = setting(backbone, image_shape=[None, None, 3], **values)

    architecture, told = read(saved(tmp_path, change, weights))

    alone, _ = read(weights)
    assert architecture.stages == alone.stages
    assert architecture.stem == alone.stem
    assert architecture.norm == alone.norm
    assert architecture.outputs == alone.outputs
    assert told["stride"][1] == told["head"][1] == told["output"][1] == "model_config"


def test_an_even_window_of_the_stem_is_padded_by_less_than_its_half(tmp_path):
    def edit(file):
        kernel = f"{BASE}/conv2d/vars/0"
        replaced(file, kernel, np.ones((4, 4, *file[kernel].shape[2:]), "f4"))

    change = setting(backbone, input_conv_kernel_sizes=[4])
    architecture, told = read(saved(tmp_path, change, edit=edit))

    assert architecture.stem.conv.padding == 1
    assert told["stem"][0] == "4x4/2, padding 1"


def test_a_backbone_alone_is_read_the_same_way(tmp_path):
    def change(config):
        backbone(config).update(stackwise_num_strides=[2, 2, 1, 1], block_type="bottleneck_block")
        return config["config"]["backbone"]

    def alone(file):
        for name in ("dense", "dropout", "global_average_pooling2d", "input_layer"):
            del file["layers"][name]
        file.move(BASE, "inner")
        del file["layers"]
        file.move("inner", "layers")

    weights = FIXTURES / "keras-hub-0.32-26.weights.h5"
    architecture, told = read(saved(tmp_path, change, weights, alone))

    assert strides(architecture) == [2, 2, 1, 1]
    assert architecture.head == ()
    assert told["stride"][1] == "model_config"


def test_a_classifier_around_another_network_tells_its_head_alone(tmp_path):
    """keras-hub's ImageClassifier takes any model as its backbone."""

    def change(config):
        config["registered_name"] = "keras_hub>ImageClassifier"
        classifier(config).update(activation="sigmoid")
        classifier(config)["backbone"] = {"class_name": "Functional", "config": {"layers": []}}

    _, told = read(saved(tmp_path, change))

    assert told["output"] == ("sigmoid", "model_config")
    assert told["stride"][1] == "default"


def test_a_class_of_another_package_is_read_by_its_weights(tmp_path):
    def change(config):
        config["registered_name"] = "project>ResNetImageClassifier"
        classifier(config).update(activation="sigmoid")

    architecture, told = read(saved(tmp_path, change))

    assert architecture == read(FIXTURES / "keras-hub-0.32-18.weights.h5")[0]
    assert told["output"] == ("linear", "default")
    assert told["stride"][1] == "default"


# ---- what is refused


@pytest.mark.parametrize(
    ("part", "values", "words"),
    [
        (classifier, {"activation": "project>mine"}, "'activation' in config.json is 'project>min"),
        (classifier, {"activation": {"class_name": "Softmax"}}, "expected were elu, "),
        (classifier, {"pooling": "max"}, "the weights hold a head of global_avg_pool, dropout"),
        (classifier, {"pooling": "sum"}, "'pooling' in config.json is 'sum', and expected were"),
        (classifier, {"pooling": {"a": []}}, "is {'a': []}, and expected were avg, max"),
        (classifier, {"dropout": 2}, "'dropout' in config.json is 2, and expected were numbers"),
        (classifier, {"num_classes": 6}, "'num_classes' is 6 in it, and the weights hold 5"),
        (classifier, {"top": True}, "'top': True"),
        (backbone, {"include_rescaling": True}, "'include_rescaling': True"),
        (backbone, {"stackwise_num_strides": [1, 2]}, "expected were whole numbers above 0, 4 of"),
        (backbone, {"stackwise_num_strides": None}, "expected were whole numbers above 0, 4 of"),
        (backbone, {"stackwise_num_strides": [1, 2, True, 2]}, "expected were whole numbers"),
        (backbone, {"stackwise_num_strides": [2, 2, 2, 2]}, "no projection that strides in stage"),
        (backbone, {"stackwise_num_blocks": [2, 2, 2, 1]}, "weights hold [2, 2, 2, 2]"),
        (backbone, {"stackwise_num_filters": [64]}, "expected were whole numbers above 0, 4 of"),
        (backbone, {"input_conv_filters": []}, "expected were whole numbers above 0, 1 of"),
        (backbone, {"input_conv_kernel_sizes": [5]}, "is [5] in it, and the weights hold [7]"),
        (backbone, {"block_type": "bottleneck_block"}, "weights hold blocks of 2 convolutions"),
        (backbone, {"block_type": "se_block"}, "expected were basic_block, "),
        (backbone, {"block_type": [True, True]}, "is [True, True], and expected were basic_block"),
        (backbone, {"use_pre_activation": True}, "is True in it, and the weights hold False"),
        (backbone, {"use_pre_activation": 0}, "expected were true and false"),
        (backbone, {"image_shape": [80, 96, 4]}, "the weights hold a stem of 3 channels"),
        (backbone, {"image_shape": 3}, "expected were a height, a width and the channels"),
        (backbone, {"dtype": {"class_name": "DTypePolicyMap"}}, "DTypePolicy, one for all layers"),
    ],
)
def test_what_is_not_of_these_weights_is_refused_by_name(part, values, words, tmp_path):
    assert words in refusal(saved(tmp_path, setting(part, **values)), tmp_path)


def test_layers_of_another_naming_are_refused(tmp_path):
    path = saved(tmp_path, weights=FIXTURES / "keras-cv-0.9.0.weights.h5")

    assert "and the layers in the weights are those of keras-cv" in refusal(path, tmp_path)


def test_a_backbone_with_a_head_is_refused(tmp_path):
    path = saved(tmp_path, lambda config: config["config"]["backbone"])

    assert "and the weights hold a head too" in refusal(path, tmp_path)


# ---- a preprocessor beside the network


TORCH = {
    "scale": [1 / 255 / deviation for deviation in (0.229, 0.224, 0.225)],
    "offset": [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225],
}
TF = {"scale": 1 / 127.5, "offset": -1}


def of_class(name, settings):
    return {"class_name": name, "registered_name": f"keras_hub>{name}", "config": settings}


def preprocessor(**settings):
    """As keras-hub 0.32 writes it."""
    converter = of_class("ResNetImageConverter", {"image_size": [64, 96], **settings})
    return of_class("ResNetImageClassifierPreprocessor", {"image_converter": converter})


def beside(file):
    """The groups of that preprocessor."""
    for group in ("", "/image_converter", "/image_converter/resizing"):
        file.create_group(f"preprocessor{group}/vars")


def with_preprocessor(folder, written, edit=beside):
    return saved(folder, setting(classifier, preprocessor=written), edit=edit)


def rows(path, name):
    with opened(path) as (_, network):
        return [(one.reason, str(one.evidence)) for one in network.facts if one.name == name]


def test_the_network_behind_a_preprocessor_is_converted_and_that_is_said(tmp_path):
    """As from_preset makes it. It was refused for a part that is no part of the network."""
    path = with_preprocessor(tmp_path, preprocessor(scale=1 / 255, offset=[-1, -0.5, 0]))
    plain, _ = read(PATH)

    with opened(path) as (checkpoint, network):
        assert checkpoint.has_preprocessor
        assert network.architecture.preprocessing is None
        assert network.architecture.stages == plain.stages
        assert network.architecture.head == plain.head
        assert not network.left_out
    assert rows(path, "preprocessing") == []
    assert rows(path, "input") == [
        (
            "the file's preprocessor works on pictures before the network, and is no part of it; "
            "config.json: image size 64x96; scale 0.00392157; offset -1, -0.5, 0",
            "model_config",
        )
    ]
    assert run(path, tmp_path / "o.pth", "--no-parity").exit_code == 0


@pytest.mark.parametrize(
    ("settings", "mode"),
    [
        (TORCH, "torch"),
        (TF, "tf"),
        ({"scale": None, "offset": None}, "raw"),
        ({**TF, "offset": -0.9}, None),
        ({**TF, "scale": "a"}, None),
        ({**TF, "scale": []}, None),
    ],
)
def test_what_a_preprocessor_does_is_a_mode_where_there_is_one(settings, mode, tmp_path):
    path = with_preprocessor(tmp_path, preprocessor(**settings))

    architecture, told = read(path)

    assert architecture.preprocessing == mode
    assert told.get("preprocessing") == (mode and (mode, "model_config"))


def test_an_option_beats_what_the_preprocessor_does(tmp_path):
    path = with_preprocessor(tmp_path, preprocessor(**TF))

    with opened(path, preprocess="caffe") as (_, network):
        assert network.architecture.preprocessing == "caffe"
        assert facts(network)["preprocessing"] == ("caffe", "set by the user")


def test_a_preprocessor_without_a_converter_does_nothing(tmp_path):
    written = of_class("ResNetImageClassifierPreprocessor", {})
    path = with_preprocessor(tmp_path, written, lambda file: file.create_group("preprocessor/vars"))

    assert rows(path, "input")[0][0].endswith("config.json: no image size; scale none; offset none")
    assert read(path)[0].preprocessing == "raw"


def test_a_preprocessor_of_another_class_is_said_to_be_unread(tmp_path):
    """keras-hub takes any layer or function for one; a function has no group."""
    for written, edit in (
        ({"class_name": "Rescaling", "config": {}}, lambda file: file.create_group("preprocessor")),
        ({"class_name": "function", "config": "mine"}, None),
    ):
        path = with_preprocessor(tmp_path, written, edit)
        ((reason, evidence),) = rows(path, "input")

        assert f"it is of the class {written['class_name']}, and what it does is not" in reason
        assert evidence == "default"
        assert read(path)[0].preprocessing is None


def test_weights_alone_say_that_there_is_a_preprocessor(tmp_path):
    path = tmp_path / "model.weights.h5"
    path.write_bytes((FIXTURES / "keras-hub-0.32-18.weights.h5").read_bytes())
    with h5py.File(path, "a") as file:
        beside(file)

    ((reason, evidence),) = rows(path, "input")

    assert "and is no part of it; what it does is not in the weights" in reason
    assert evidence == "default"
    assert read(path)[0] == read(FIXTURES / "keras-hub-0.32-18.weights.h5")[0]


@pytest.mark.parametrize("name", ["preprocessor/dense", "tail"])
def test_other_parts_are_refused_as_before(name, tmp_path):
    path = tmp_path / "model.weights.h5"
    path.write_bytes((FIXTURES / "keras-hub-0.32-18.weights.h5").read_bytes())
    with h5py.File(path, "a") as file:
        beside(file)
        file.create_group(f"{name}/vars")

    assert f"a part: {name.split('/')[0]}" in refusal(path, tmp_path)


def test_a_preprocessor_with_weights_is_refused(tmp_path):
    """A Normalization, say: nothing tells where its numbers belong."""

    def edit(file):
        file["preprocessor/vars/0"] = np.ones(3, "f4")

    assert "a part: preprocessor" in refusal(
        with_preprocessor(tmp_path, {"class_name": "Normalization"}, edit), tmp_path
    )


def test_a_preprocessor_of_another_class_of_model_is_refused(tmp_path):
    def change(config):
        config["registered_name"] = "project>ResNetImageClassifier"

    assert "a part: preprocessor" in refusal(saved(tmp_path, change, edit=beside), tmp_path)


def test_a_preprocessor_beside_another_network_is_refused_in_weights_alone(tmp_path):
    path = tmp_path / "model.weights.h5"
    path.write_bytes((FIXTURES / "keras-cv-0.9.0.weights.h5").read_bytes())
    with h5py.File(path, "a") as file:
        beside(file)

    assert "a part: preprocessor" in refusal(path, tmp_path)


# ---- weights alone: which stages stride


def weights_alone(folder, edit, name="26"):
    path = folder / "model.weights.h5"
    path.write_bytes((FIXTURES / f"keras-hub-0.32-{name}.weights.h5").read_bytes())
    with h5py.File(path, "a") as file:
        edit({file[BASE][one]["vars"].attrs["name"]: one for one in file[BASE]}, file[BASE])
    return path


def renamed(old, new):
    def edit(groups, file):
        file[groups[old]]["vars"].attrs["name"] = new

    return edit


def test_a_stage_strides_where_a_padding_is_listed_for_it(tmp_path):
    """The layer is there for a stride alone; the third stage was said to stride without one."""
    path = weights_alone(tmp_path, renamed("stack2_block0_2_pad", "stack0_block0_2_pad"))

    architecture, told = read(path)

    assert strides(architecture) == [2, 2, 1, 2]
    assert told["stride"][0].startswith("stem 2, pool 2, stages 2 2 1 2")
    assert told["stride"][1] == "default"  # by how much is not in the name


def test_a_padding_for_a_stride_without_a_projection_is_refused(tmp_path):
    path = weights_alone(tmp_path, renamed("stack2_block0_1_pad", "stack0_block0_1_pad"), "18")

    assert "in stage 1, which has no projection" in refusal(path, tmp_path)


def test_where_no_paddings_are_listed_the_strides_are_the_codes(tmp_path):
    def edit(groups, file):
        for name, group in groups.items():
            if name.endswith("_pad"):
                del file[group]

    assert strides(read(weights_alone(tmp_path, edit))[0]) == [1, 2, 2, 2]
