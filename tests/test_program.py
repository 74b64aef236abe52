"""A network as data that can run: programs, what cannot be one, and the torch network of one."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from dataclasses import replace

import msgspec
import pytest
import torch
from helpers import RECORDED, converted
from torch import nn

from resnet_pt import ResNet, architecture, resnet
from resnet_pt.architecture import Front
from resnet_pt.lower import lower
from resnet_pt.ops import Activation, Add, Concat, Conv, Dense, Flatten, GlobalPool, Norm, Pool
from resnet_pt.program import RESERVED, Input, Layer, Output, Program, normed, problems
from resnet_pt.running import Container, Network

PICTURE = Input("x", (3, None, None))


def program(*layers, outputs=("y",), inputs=(PICTURE,)):
    return Program(inputs, layers, tuple(Output(one, one) for one in outputs))


def conv(name, source, module="", channels=(3, 3), **settings):
    return Layer(name, Conv(*channels, (3, 3), padding=1, **settings), (source,), module or name)


def relu(name, source, module=""):
    return Layer(name, Activation("relu"), (source,), module or name)


BRANCHES = program(
    conv("a", "x"),
    relu("left", "a"),
    conv("right", "a"),
    Layer("y", Add(), ("left", "right"), "sum"),
)
TWICE = program(conv("a", "x", "shared"), conv("b", "a", "shared"), relu("y", "b"))
TWO = program(
    Layer("p", GlobalPool("avg"), ("x",), "pool"),
    Layer("both", Concat(), ("p", "z"), "joined"),
    Layer("y", Dense(8, 2), ("both",), "head.dense"),
    outputs=("y", "p"),
    inputs=(PICTURE, Input("z", (5,))),
)
NESTED = program(
    conv("s", "x", "encoder.stem"),
    conv("a", "s", "encoder.block.conv1"),
    relu("r", "a", "encoder.block.relu"),
    conv("b", "r", "encoder.block.conv2"),
    Layer("sum", Add(), ("b", "s"), "encoder.block."),
    relu("t", "sum", "encoder.block.relu"),
    conv("d", "t", "decoder.0"),
    relu("e", "d", "decoder.1"),
    Layer("y", Add(), ("e", "s"), "skip"),
)
ENTERED_AGAIN = program(conv("a", "x", "m.conv"), relu("b", "a"), conv("y", "b", "m.other"))
PROGRAMS = {
    "branches": BRANCHES,
    "twice": TWICE,
    "two inputs": TWO,
    "nested": NESTED,
    "entered again": ENTERED_AGAIN,
}
every = pytest.mark.parametrize("one", PROGRAMS.values(), ids=PROGRAMS)


def given(one, batch=2):
    torch.manual_seed(7)
    return [torch.randn(batch, *(9 if n is None else n for n in i.shape)) for i in one.inputs]


def by_hand(one, model, *inputs):
    """Every value, layer after layer, each computed from copies."""
    values = dict(zip([i.name for i in one.inputs], inputs, strict=True))
    for layer in one.layers:
        read = [values[name].clone() for name in layer.inputs]
        named = layer.module.rpartition(".")[2]
        call = model.get_submodule(layer.module) if named else layer.op.compute
        values[layer.name] = call(*read)
    return values


@every
def test_a_network_runs_its_program(one):
    model = Network(one).eval()
    inputs = given(one)

    with torch.inference_mode():
        found, expected = model(*inputs), by_hand(one, model, *inputs)

    found = found if isinstance(found, dict) else {one.outputs[0].name: found}
    assert list(found) == [output.name for output in one.outputs]
    for output in one.outputs:
        assert torch.equal(found[output.name], expected[output.value])


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_the_program_of_an_architecture_can_be_and_survives_json(path):
    found = lower(converted(path)[0].architecture)

    assert problems(found) == []
    assert msgspec.json.decode(msgspec.json.encode(found), type=Program) == found


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_shapes_are_those_that_torch_computes(path):
    """Of every module that is called once, at an odd size."""
    architecture = converted(path)[0].architecture
    one = lower(architecture)
    height, width = architecture.input_size or (225, 257)
    expected = one.shapes({one.inputs[0].name: (architecture.in_channels, height, width)})
    with torch.device("meta"):
        model, found = ResNet(architecture).eval(), {}
        for module in {layer.module for layer in one.layers if not layer.module.endswith(".")}:
            if module:
                model.get_submodule(module).register_forward_hook(
                    lambda _, args, result, module=module: found.update({module: result.shape[1:]})
                )
        model(torch.empty(1, architecture.in_channels, height, width))

    last = {layer.module: layer.name for layer in one.layers}
    assert {m: tuple(shape) for m, shape in found.items()} == {m: expected[last[m]] for m in found}
    assert len(found) > len(architecture.stages)


@every
def test_it_is_copied_pickled_and_trained(one):
    model = Network(one)
    inputs = given(one)
    twin = pickle.loads(pickle.dumps(copy.deepcopy(model)))
    assert twin.state_dict().keys() == model.state_dict().keys()

    results = twin(*inputs)
    total = sum(r.sum() for r in (results.values() if isinstance(results, dict) else [results]))
    total.backward()

    assert all(parameter.grad is not None for parameter in twin.parameters())
    assert all(parameter.grad is None for parameter in model.parameters())


@every
def test_torch_exports_it(one):
    model = Network(one).eval()
    inputs = tuple(given(one))

    exported = torch.export.export(model, inputs)

    found, expected = exported.module()(*inputs), model(*inputs)
    pairs = zip(found.values(), expected.values(), strict=True) if len(one.outputs) > 1 else ()
    for ours, theirs in pairs or [(found, expected)]:
        torch.testing.assert_close(ours, theirs)


def test_inputs_are_given_by_name_too():
    model = Network(TWO).eval()
    x, z = given(TWO)

    assert torch.equal(model(z=z, x=x)["y"], model(x, z)["y"])


def test_what_shares_a_module_shares_its_weights():
    model = Network(TWICE)

    assert list(model.state_dict()) == ["shared.weight"]
    assert [name for name, _ in model.named_children()] == ["shared", "y"]


def test_layers_that_stand_together_are_a_module_of_their_own():
    model = Network(NESTED).eval()

    assert isinstance(model.encoder.block, Container)
    assert isinstance(model.decoder, nn.Sequential)
    seen = []
    model.encoder.block.register_forward_hook(lambda module, args, result: seen.append(result))
    values = by_hand(NESTED, model, *given(NESTED))
    model(*given(NESTED))
    assert torch.equal(seen[0], values["t"])


def test_what_was_put_in_the_place_of_a_module_runs():
    model = Network(NESTED).eval()
    model.encoder.block.relu = nn.Tanh()

    values = by_hand(NESTED, model, *given(NESTED))

    assert torch.equal(model(*given(NESTED)), values["y"])


@pytest.mark.parametrize(
    ("one", "module", "in_place"),
    [
        (BRANCHES, "left", False),  # the sum reads the convolution's result behind it
        (TWICE, "y", True),
        (program(conv("a", "x"), relu("y", "a"), outputs=("y", "a")), "y", False),
        (program(relu("y", "x")), "y", False),  # the caller's own tensor
        (
            program(
                conv("a", "x"),
                Layer("flat", Flatten("chw"), ("a",), "flat"),  # a view of the map
                relu("r", "flat"),
                Layer("p", GlobalPool("avg"), ("a",), "p"),
                outputs=("r", "p"),
            ),
            "r",
            False,
        ),
        (
            program(conv("a", "x"), relu("b", "a", "r"), conv("c", "b"), relu("y", "b", "r")),
            "r",  # one call of two may not
            False,
        ),
    ],
)
def test_a_relu_works_in_place_where_nobody_else_reads_it(one, module, in_place):
    assert Network(one).get_submodule(module).inplace == in_place


@pytest.mark.slow
def test_a_value_is_let_go_of_behind_its_last_reader():
    model = Network(program(conv("a", "x"), conv("b", "a"), conv("c", "b"), conv("y", "c"))).eval()
    alive = []

    def note(module, args, result):
        gc.collect()
        alive.append([made() is not None for made in refs])
        refs.append(weakref.ref(result))

    refs: list[weakref.ref[torch.Tensor]] = []
    for child in model.children():
        child.register_forward_hook(note)
    with torch.inference_mode():
        model(*given(BRANCHES))

    assert alive == [[], [True], [False, True], [False, False, True]]


MISTAKES = {
    "a value that is not there": (
        program(conv("y", "z")),
        "y reads 'z', which does not come before it",
    ),
    "out of order": (
        program(conv("y", "b"), conv("b", "x")),
        "y reads 'b', which does not come before it",
    ),
    "two of one name": (program(conv("y", "x"), conv("y", "x")), "2 values are called 'y'"),
    "channels": (program(conv("y", "x", channels=(4, 4))), "y reads 4 channels, and 3 come"),
    "no such output": (program(conv("a", "x")), "outputs ['y'] are no layers"),
    "no output": (program(conv("a", "x"), outputs=()), "there is no output"),
    "no input": (program(inputs=(), outputs=()), "there is no input"),
    "one module": (
        program(conv("a", "x", "m"), relu("y", "a", "m")),
        "a and y would be one module",
    ),
    "weights nowhere": (
        program(Layer("y", Conv(3, 3, (1, 1)), ("x",), "block.")),
        "y has weights, and no module",
    ),
    "a sum of one": (program(Layer("y", Add(), ("x",), "")), "y joins 1 layers, and wants 2"),
    "ranks": (
        program(Layer("p", GlobalPool("avg"), ("x",), "p"), Layer("y", Add(), ("x", "p"))),
        "y adds values of different ranks",
    ),
    "a setting": (program(conv("y", "x", groups=2)), "y has 2 groups that do not divide"),
    "a pool of a vector": (
        program(Layer("p", GlobalPool("avg"), ("x",), "p"), Layer("y", Pool(), ("p",), "y")),
        "y pools a vector",
    ),
}


@pytest.mark.parametrize(("one", "words"), MISTAKES.values(), ids=MISTAKES)
def test_what_cannot_be_is_said(one, words):
    assert words in "; ".join(problems(one))


def test_all_that_cannot_be_is_said_at_once():
    one = program(conv("a", "x", channels=(4, 5)), Layer("y", Norm(6), ("a",), "y"))

    assert problems(one) == [
        "a reads 4 channels, and 3 come",
        "y normalises 6 channels, and 5 come",
    ]


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_in_order_is_not_refused(name):
    assert problems(PROGRAMS[name]) == []


def test_an_original_is_named():
    layer = replace(conv("y", "x", channels=(4, 4)), original="block5_conv1")

    assert problems(program(layer)) == ["layer 'block5_conv1' reads 4 channels, and 3 come"]


def test_a_network_of_torchvisions_shape_has_its_modules():
    """Blocks are classes of their own, and run as modules."""
    model = ResNet(resnet((1, 1), 3, width=4)).eval()

    assert type(model.layer1).__name__ == "Sequential"
    assert type(model.layer1[0]).__name__ == "Bottleneck"
    x = torch.randn(1, 3, 33, 33)
    features = model.layer2(model.layer1(model.maxpool(model.relu(model.bn1(model.conv1(x))))))
    assert torch.equal(model.fc(model.avgpool(features).flatten(1)), model(x))
    assert torch.equal(model.forward_head(model.forward_features(x)), model(x))


def test_every_convolution_is_known_with_its_norm():
    """Those of a front and of a deep stem too, which a walk by hand left out."""
    plain = resnet((1, 1), 3, width=4)
    small = Conv(4, 4, (3, 3), padding=1)
    stem = replace(
        plain.stem,
        front=(Front(Conv(1, 3, (1, 1)), "relu", Norm(3)),),
        deep=((Conv(3, 4, (3, 3), padding=1), Norm(4, rescale=True)),),
        conv=small,
    )

    found = list(normed(lower(replace(plain, stem=stem))))

    assert [one.norm.module for one in found[:3]] == ["front.1", "conv1.1", "bn1"]
    assert [one.conv.module for one in found[:3]] == ["front.0", "conv1.0", "conv1.3"]
    assert [one.scale.module if one.scale else "" for one in found[:3]] == ["", "conv1.1.scale", ""]
    assert len(found) == 3 + 2 * 4


OWN = sorted(
    name
    for name in {*dir(nn.Sequential()), *vars(Container), *dir(ResNet(resnet((1, 1), 3, width=4)))}
    if not name.startswith("_") and name not in RESERVED
)
"""Names of attributes that some container has, beside those that no layer can have."""


@pytest.mark.parametrize("is_chain", [True, False])
@pytest.mark.parametrize("name", OWN)
def test_a_layer_of_the_head_may_be_called_like_a_containers_attribute(name, is_chain):
    """A project's Dense may be called `steps`, `run`, `append`: its tensors have that name."""
    network = resnet((1, 1), 3, width=4)
    features = network.features
    head = [
        Layer("pool", GlobalPool("avg"), ("",)),
        Layer(name, Dense(features, 5), ("pool",)),
        Layer("last", Dense(5, 2), (name,)),
    ]
    if not is_chain:
        head += [Layer("side", Dense(5, 2), (name,)), Layer("both", Concat(), ("side", "last"))]
    outputs = (architecture.Output(head[-1].name, head[-1].name),)
    model = ResNet(replace(network, head=tuple(head), outputs=outputs)).eval()

    assert f"head.{name}.weight" in model.state_dict()
    assert model.head[name].out_features == 5
    assert model(torch.zeros(1, 3, 33, 33)).shape == (1, 2 if is_chain else 4)
