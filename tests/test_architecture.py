"""An architecture as data: what it says of itself, and what it refuses to become."""

from __future__ import annotations

import pytest

from resnet_pt import Architecture, resnet
from resnet_pt.architecture import Dense, Dropout, GlobalPool, Layer, Output
from resnet_pt.check import problems
from resnet_pt.program import module_name
from resnet_pt.tensors import head_modules, tensors

# torchvision's ResNet-50, counted from He et al. 2015: 53 convolutions without bias, 53 norms, fc.
PARAMETERS_OF_RESNET_50 = 25_557_032
TENSORS_OF_RESNET_50 = 53 + 53 * 5 + 2


def size(shape):
    total = 1
    for length in shape:
        total *= length
    return total


def test_the_default_is_resnet_50():
    found = tensors(resnet())
    trained = [
        shape for name, shape in found.items() if "running" not in name and "num_" not in name
    ]

    assert len(found) == TENSORS_OF_RESNET_50
    assert sum(map(size, trained)) == PARAMETERS_OF_RESNET_50


def test_the_tensors_of_the_first_block_that_strides():
    found = {
        name.removeprefix("layer2.0."): shape
        for name, shape in tensors(resnet()).items()
        if name.startswith("layer2.0.") and "bn" not in name
    }

    assert found == {
        "conv1.weight": (128, 256, 1, 1),
        "conv2.weight": (128, 128, 3, 3),
        "conv3.weight": (512, 128, 1, 1),
        "downsample.0.weight": (512, 256, 1, 1),
        "downsample.1.weight": (512,),
        "downsample.1.bias": (512,),
        "downsample.1.running_mean": (512,),
        "downsample.1.running_var": (512,),
        "downsample.1.num_batches_tracked": (),
    }


@pytest.mark.parametrize(
    ("where", "strides"),
    [("1x1", [(2, 2), (1, 1), (1, 1)]), ("3x3", [(1, 1), (2, 2), (1, 1)])],
)
def test_the_stride_is_where_it_is_said_to_be(where, strides):
    architecture = resnet(stride_on=where)

    assert [conv.stride for conv in architecture.stages[1][0].convs] == strides
    assert architecture.stages[1][0].shortcut.conv.stride == (2, 2)
    assert architecture.stages[1][0].stride == 2
    assert architecture.stages[0][0].stride == 1
    assert architecture.stages[0][0].shortcut.conv.stride == (1, 1)


def test_what_it_says_of_itself():
    architecture = resnet((2, 3), classes=7, width=8, in_channels=1)

    assert architecture.depths == (2, 3)
    assert architecture.classes == 7
    assert architecture.in_channels == 1
    assert architecture.features == 8 * 2 * 4
    assert architecture.is_plain_head


def headed(*layers, outputs):
    from dataclasses import replace

    return replace(resnet(), head=layers, outputs=outputs)


POOL = Layer("pool", GlobalPool("avg"), ("",))
DENSE = Layer("fc", Dense(2048, 5), ("pool",))


@pytest.mark.parametrize(
    ("architecture", "plain", "classes"),
    [
        pytest.param(headed(POOL, DENSE, outputs=(Output("o", "fc"),)), True, 5, id="plain"),
        pytest.param(headed(POOL, outputs=(Output("o", "pool"),)), False, None, id="pooled"),
        pytest.param(headed(outputs=(Output("o", ""),)), False, None, id="headless"),
        pytest.param(
            headed(
                POOL,
                Layer("drop", Dropout(0.5), ("pool",)),
                Layer("fc", Dense(2048, 5, bias=False), ("drop",)),
                outputs=(Output("o", "fc"),),
            ),
            False,
            5,
            id="dropout",
        ),
        pytest.param(
            headed(
                POOL,
                DENSE,
                Layer("other", Dense(2048, 3, bias=False), ("pool",)),
                outputs=(Output("a", "fc"), Output("b", "other")),
            ),
            False,
            None,
            id="two outputs",
        ),
        pytest.param(
            headed(
                POOL,
                DENSE,
                Layer("drop", Dropout(0.5), ("fc",)),
                outputs=(Output("o", "drop"),),
            ),
            False,
            5,
            id="dropout last",
        ),
    ],
)
def test_a_head_is_torchvisions_or_has_names_of_its_own(architecture, plain, classes):
    assert architecture.is_plain_head == plain
    assert architecture.classes == classes
    own = {layer.name: f"head.{layer.name}" for layer in architecture.head}
    assert head_modules(architecture) == ({"pool": "avgpool", "fc": "fc"} if plain else own)


def test_it_becomes_json_and_comes_back():
    architecture = resnet((1, 1), 3, stride_on="1x1", bias=True, eps=1.001e-5)

    assert Architecture.from_dict(architecture.to_dict()) == architecture
    assert architecture.to_dict()["stem"]["norm"]["eps"] == 1.001e-5


@pytest.mark.parametrize(
    "path",
    [
        ("stem", "conv"),
        ("stem",),
        ("stages", 0, 0),
        ("stages", 1, 0, "shortcut", "norm"),
        ("head", 1),
        ("outputs", 0),
    ],
    ids=lambda path: ".".join(map(str, path)),
)
def test_a_field_that_is_not_known_is_refused_wherever_it_is(path):
    data = resnet().to_dict()
    inner = data
    for key in path:
        inner = inner[key]
    inner["rotated"] = True

    with pytest.raises(ValueError, match="does not know"):
        Architecture.from_dict(data)


@pytest.mark.parametrize("data", [None, 3, [], {}, {"stem": None}, "resnet50"])
def test_what_is_no_description_is_refused(data):
    with pytest.raises(ValueError, match=r"Expected|missing"):
        Architecture.from_dict(data)


def test_two_layers_that_would_become_one_module_are_refused():
    """torch reserves the dot and files like no slash, so `a.b` and `a/b` are one name."""
    layers = (
        POOL,
        Layer("a.b", Dense(2048, 5), ("pool",)),
        Layer("a/b", Dense(2048, 3), ("pool",)),
    )
    architecture = headed(*layers, outputs=(Output("a.b", "a.b"), Output("a/b", "a/b")))

    assert problems(architecture) == ["layer 'a.b' and layer 'a/b' would be one module"]


def test_a_layer_name_becomes_a_module_name():
    assert module_name("conv1/7x7_s2") == "conv1_7x7_s2"
    assert module_name("block.0") == "block_0"
