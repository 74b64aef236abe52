"""`--to python`: source in torch alone, and what holds it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import converted
from layer_graphs import read_here
from networks import random_tensors
from test_older_graphs import REFUSED, unpacked

from converter.conversion import convert
from converter.errors import ConvertError, ParityError
from converter.formats.delivery import runnable
from converter.formats.destination import About, obstacles
from converter.formats.destinations import python
from converter.identify import identify
from converter.options import Options
from converter.parity.comparing.inputs import fitting_shapes
from converter.source import expressions, flat, page, prove
from resnet_pt import ops, resnet
from resnet_pt.general import General
from resnet_pt.ops.protocol import Op
from resnet_pt.ops.recurrent import RELU, SIGMOID, TANH
from resnet_pt.program import Input, Layer, Output, Program, problems

ROOT = Path(__file__).parent.parent
NETWORKS = ROOT / "fixtures" / "networks"
FEW = ("multioutput-k210", "unet-upsample-k224")
HARD = ops.HardSigmoid(0.2)

MAP, VECTOR, STEPS, VOLUME = (4, 7, 6), (5,), (6, 4), (2, 5, 6, 4)
LAYERS = {
    "conv": (ops.Conv(4, 6, (3, 3), (1, 1), 1), MAP),
    "conv uneven": (ops.Conv(4, 6, (3, 2), (1, 2), (0, 1, 1, 0), bias=True), MAP),
    "conv same": (ops.Conv(4, 6, (3, 2), (2, 2), "same", groups=2), MAP),
    "conv same, stride 1": (ops.Conv(4, 6, (3, 5), (1, 1), "same", dilation=(1, 1)), MAP),
    "conv same, stride 1, uneven": (ops.Conv(4, 6, (2, 4), (1, 1), "same"), MAP),
    "conv of steps": (ops.ConvNd(4, 3, (3,), (2,), "same", (1,), bias=True), STEPS),
    "causal": (ops.ConvNd(4, 3, (3,), (1,), ((4, 0),), (2,)), STEPS),
    "conv of volumes": (ops.ConvNd(2, 3, (2, 3, 1), (1, 1, 2), "same", (1, 1, 1)), VOLUME),
    "transposed": (
        ops.ConvTranspose(4, 3, (3, 3), (2, 2), ((0, 1), (0, 1)), (1, 1), bias=True),
        MAP,
    ),
    "transposed, torch's": (
        ops.ConvTranspose(4, 3, (3, 2), (2, 2), ((1, 0), (0, 0)), (1, 1), bias=True),
        MAP,
    ),
    "transposed, longer": (
        ops.ConvTranspose(4, 3, (1, 1), (2, 2), ((0, -1), (0, -1)), (1, 1), bias=True),
        MAP,
    ),
    "transposed steps": (ops.ConvTranspose(4, 2, (4,), (2,), ((1, 1),), (1,)), STEPS),
    "max": (ops.Pool((3, 3), (2, 2), 1), MAP),
    "max same": (ops.Pool((3, 2), (2, 2), "same"), MAP),
    "max of zeros": (ops.Pool((3, 3), (2, 2), 1, "zero"), MAP),
    "mean same": (ops.Pool((3, 3), (2, 2), "same", mode="avg"), MAP),
    "mean same, stride 1": (ops.Pool((3, 3), (1, 1), "same", mode="avg"), MAP),
    "mean": (ops.Pool((2, 3), (2, 2), 0, mode="avg"), MAP),
    "mean of steps": (ops.PoolNd((3,), (2,), "same", "avg"), STEPS),
    "max of volumes": (ops.PoolNd((2, 2, 2), (2, 2, 2), "same", "max"), VOLUME),
    "norm": (ops.Norm(4, 1e-3, 0.01), MAP),
    "norm of vectors": (ops.Norm(5, 1e-3, 0.01, gamma=False, beta=False), VECTOR),
    "standardized": (ops.Norm.standardizing(4), MAP),
    "norm of steps": (ops.AxisNorm(1, 4), STEPS),
    "norm of volumes": (ops.AxisNorm(0, 2), VOLUME),
    "layer norm": (ops.LayerNorm((1,), (4,), 1e-3), STEPS),
    "layer norm of maps": (ops.LayerNorm((0,), (4,), 1e-3, beta=False), MAP),
    "rms": (ops.LayerNorm((1,), (4,), 1e-3, beta=False, rms=True), STEPS),
    "group norm": (ops.GroupNorm(2, 4, 1e-3), MAP),
    "group norm of steps": (ops.GroupNorm(2, 4, 1e-3, 1, gamma=False), STEPS),
    "unit norm": (ops.UnitNorm((0, 2)), MAP),
    "dense": (ops.Dense(5, 3, False), VECTOR),
    "rms about zero": (
        ops.LayerNorm((1,), (4,), 1e-3, beta=False, rms=True, about_zero=True),
        STEPS,
    ),
    "rows of a table": (ops.Embedding(9, 3), (5,)),
    "rows of a table second": (ops.Embedding(9, 3, second=True), (5, 4)),
    "einsum": (ops.EinsumDense("abc", "cde", "adeb", (4, 2, 3), (3, 1)), STEPS),
    "attention": (ops.Attention(4, weight=True), STEPS, STEPS),
    "attention of sums": (ops.Attention(4, True, True, True), STEPS, STEPS, STEPS),
    "attention of heads": (
        ops.MultiHead((4, 4, 4), 2, 3, 5, 6, causal=True),
        *(STEPS,) * 3,
    ),
    "dense of steps": (ops.DenseLast(4, 3), STEPS),
    "dense of maps": (ops.DenseLast(4, 3, second=True), MAP),
    "scale": (ops.Scale(4), MAP),
    "prelu": (ops.PReLU(5), VECTOR),
    "prelu of maps": (ops.SharedPReLU((4, 1, 1)), MAP),
    "weighted": (ops.Weighted((4, 1, 1)), MAP),
    "lstm": (ops.LSTM(4, 3, sequences=True), STEPS),
    "lstm backwards": (ops.LSTM(4, 3, backwards=True), STEPS),
    "lstm hard": (ops.LSTM(4, 3, activation=TANH, recurrent=HARD), STEPS),
    "gru": (ops.GRU(4, 3), STEPS),
    "gru before": (ops.GRU(4, 3, reset_after=False, recurrent=SIGMOID), STEPS),
    "gru after, hard": (ops.GRU(4, 3, sequences=True, recurrent=HARD), STEPS),
    "rnn": (ops.SimpleRNN(4, 3, activation=RELU), STEPS),
    "rnn of others": (ops.SimpleRNN(4, 3, bias=False, activation=ops.ELU(0.5)), STEPS),
    "channels": (ops.Channels((2, 1, 0)), MAP),
    "rescaling": (ops.Rescaling(2.0, -1.0), MAP),
    "rescaling each": (ops.Rescaling((1.0, 2.0, 3.0, 4.0), 0.5), MAP),
    "linear": (ops.Linear((1.0, 2.0, 3.0, 4.0), (0.5,), 1), STEPS),
    "clipped": (ops.Clipped(6.0, 0.1, 0.5), VECTOR),
    "clipped above": (ops.Clipped(0.5), VECTOR),
    "clamp": (ops.Clamp(-0.5, None), VECTOR),
    "elu": (ops.ELU(0.5), VECTOR),
    "thresholded": (ops.Thresholded(0.25), VECTOR),
    "leaky": (ops.LeakyReLU(0.3), VECTOR),
    "hard sigmoid": (HARD, VECTOR),
    "hard swish": (ops.HardSigmoid(1 / 6, times_input=True), VECTOR),
    "hard swish of Keras 2": (ops.HardSigmoid(0.2, times_input=True), VECTOR),
    "softmax": (ops.Softmax((0, 2)), MAP),
    "log softmax": (ops.Softmax((1,), log=True), STEPS),
    "greatest": (ops.Reduce("max", (1, 2), True), MAP),
    "mean over": (ops.Reduce("mean", (1,)), STEPS),
    "global": (ops.GlobalPool("avg"), MAP),
    "global max": (ops.GlobalPool("max", True), MAP),
    "flatten": (ops.Flatten("hwc"), MAP),
    "flatten as it lies": (ops.Flatten("chw"), MAP),
    "reshape": (ops.Reshape((6, -1), read_last=True), MAP),
    "reshape to a map": (ops.Reshape((3, 2, 4), given_last=True), STEPS),
    "permute": (ops.Permute((2, 0, 1)), MAP),
    "repeat": (ops.RepeatVector(3), VECTOR),
    "pick": (ops.Pick(1, -2), MAP),
    "slice": (ops.Slice(1, 1, -1, 2), MAP),
    "reverse": (ops.Reverse((0, 2)), MAP),
    "depth to space": (ops.DepthToSpace(2), MAP),
    "space to depth": (ops.SpaceToDepth(2), (3, 4, 6)),
    "pad": (ops.Pad(((0, 0), (1, 2), (0, 3)), -1.5), MAP),
    "pad nothing": (ops.Pad(((0, 0), (0, 0), (0, 0))), MAP),
    "crop nothing": (ops.Crop(((0, 0), (0, 0), (0, 0))), MAP),
    "crop": (ops.Crop(((0, 0), (1, 2), (0, 3))), MAP),
    "upsample": (ops.Upsample((2, 3)), MAP),
    "upsample of steps": (ops.Upsample((2,)), STEPS),
    "bilinear": (ops.Upsample((2, 2), "bilinear"), MAP),
    "old bilinear": (ops.Upsample((2, 2), "corner"), MAP),
    **{f"resize {mode}": (ops.Resize((9, 5), mode), MAP) for mode in ("nearest", "bilinear")},
    **{f"resize {mode}": (ops.Resize((9, 5), mode), MAP) for mode in ("floor", "aligned")},
    "resize corner": (ops.Resize((9, 5), "corner"), MAP),
    "add": (ops.Add(), MAP, MAP, MAP),
    "concat": (ops.Concat(), VECTOR, VECTOR),
    "concatenate": (ops.Concatenate(0), MAP, MAP),
    "dot": (ops.Dot((1, 1), True), STEPS, STEPS),
    **{
        how: (ops.Combine(how), MAP, MAP, MAP)
        for how in ("subtract", "multiply", "divide", "average", "maximum", "minimum")
    },
    **{f"activation {name}": (ops.Activation(name), VECTOR) for name in expressions.ACTIVATIONS},
    **{f"function {name}": (ops.Elementwise(name), VECTOR) for name in expressions.FUNCTIONS},
}


def program(op, *shapes, name="layer", output=""):
    inputs = tuple(Input(f"in_{number}", shape) for number, shape in enumerate(shapes))
    layer = Layer(name, op, tuple(one.name for one in inputs), name, name)
    made = Program(inputs, (layer,), (Output(output, name),))
    assert problems(made) == []
    return made


def built(source):
    """The class of a written source, in this process."""
    text = page.model(source[0], source[1], "A network")
    assert text.isascii()
    names = {"__name__": "model", "__file__": "model.py"}
    exec(compile(text, "model.py", "exec"), names)
    return names[flat.CLASS]()


def pair(one, seed=0):
    """(our network, the written one), both of the same weights, in float64."""
    torch.manual_seed(seed)
    ours = General(one).double().eval()
    for tensor in (*ours.parameters(), *ours.buffers()):
        if tensor.is_floating_point():
            tensor.data.uniform_(0.1, 1.0)
    source = flat.flat(one)
    theirs = built((one, source)).double().eval()
    state = ours.state_dict()
    theirs.load_state_dict(
        {
            f"{source.modules[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": tensor.clone()
            for name, tensor in state.items()
            if name != "_extra_state"
        }
    )
    return ours, theirs


def batch(one, seed=0, count=3):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.rand((count, *shape), generator=generator, dtype=torch.float64) * 2 - 0.9
        for shape in fitting_shapes(one).values()
    ]


def assert_the_same(one):
    """The written source of a program and our network of it, with the same weights."""
    ours, theirs = pair(one)
    with torch.no_grad():
        expected, found = (model(*batch(one)) for model in (ours, theirs))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_as_source_gives_the_same(name):
    op, *shapes = LAYERS[name]
    assert_the_same(program(op, *shapes))


def kinds(base=Op):
    for one in base.__subclasses__():
        yield from kinds(one) if one.__subclasses__() else [one]


def test_every_kind_is_written_and_tried_or_refused_by_name():
    tried = {type(op) for op, *_ in LAYERS.values()}
    known = {one for one in kinds() if one.__module__.startswith("resnet_pt.")}

    assert expressions.WRITTEN.keys() == known - {ops.Supplied}
    assert known - tried == {ops.Supplied, ops.Dropout}


def test_all_that_cannot_be_written_is_said_at_once():
    negative = ops.ConvTranspose(4, 3, (1, 1), (3, 3), ((-1, -1), (-1, -1)), (1, 1))
    supplied = ops.Supplied("Gate", "layers.py", "0" * 64, "{}", (), ((3, 21, 18),), (3, 21, 18))
    layers = (
        Layer("up", negative, ("in",), "up", "up"),
        Layer("gate", supplied, ("up",), "gate", "gate"),
    )
    one = Program((Input("in", (4, 7, 6)),), layers, (Output("", "gate"),))

    assert obstacles(python, one) == [
        "layer 'up' is a transposed convolution with zeros behind what it gives",
        "layer 'gate' is a Gate of layers.py, which is not written as source",
    ]


# ---- names


HOSTILE = [
    *("class", "None", "print", "self", "torch", "nn", "x", "F", "pad_same", "Network", "EPS"),
    *(
        "a b",
        "a-b",
        "a_b",
        '"""\nraise SystemExit(1)',
        "'); import os #",
        "\\",
        "1st",
        "_",
        "à",
        "а",
    ),
    *("forward", "load", "check", "Path", "\u202e", "weight", "train", "{}", "{0}", "\0"),
]


def hostile():
    """A chain of layers of such names, each of which is read twice."""
    layers, last = [], "in`|"
    for number, name in enumerate(HOSTILE):
        module = f"{number}.{name}".replace(".", "_") or "_"
        layers.append(Layer(name, ops.Norm(3), (last,), module, name))
        layers.append(Layer(f"{name}+", ops.Add(), (name, name)))
        last = f"{name}+"
    outputs = (Output('"""', last), Output("\n#", HOSTILE[0]), Output("'", "in`|"))
    return Program((Input("in`|", (3, 4, 4)),), tuple(layers), outputs)


def test_names_of_a_stranger_are_words_and_nothing_else():
    one = hostile()
    ours, theirs = pair(one)

    with torch.no_grad():
        expected, found = (model(*batch(one)) for model in (ours, theirs))

    assert list(found) == ['"""', "\n#", "'"]
    torch.testing.assert_close(found, expected)
    text = page.readme(one, flat.flat(one), {})
    assert text.isascii()
    assert sum(line.startswith("|") for line in text.splitlines()) == len(HOSTILE) + 2


# ---- whole networks


@pytest.mark.parametrize("path", sorted(NETWORKS.glob("*.h5")), ids=lambda path: path.stem)
def test_a_network_of_the_fixtures_as_source_gives_the_same(path):
    network, _ = converted(path)
    assert python.obstacles(network.program) == []
    assert_the_same(network.program)


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_small_graphs_of_older_kerases_as_source_give_the_same(name, tmp_path):
    tried = 0
    for made in unpacked(name, tmp_path):
        with suppress(ConvertError), read_here(Path(made["file"])) as checkpoint:
            one = identify(checkpoint, Options()).program
            assert python.obstacles(one) == []
            assert_the_same(one)
            tried += 1
    assert tried > 50


@pytest.fixture(scope="module", params=FEW)
def folder(request, tmp_path_factory):
    source = NETWORKS / f"{request.param}.h5"
    target = tmp_path_factory.mktemp("source") / "mine"
    report = convert(source, target, to="python", against=source.with_suffix(".npz"), device="cpu")
    assert report.verdict == "equal"
    assert report.delivery.library.startswith("torch")
    assert report.delivery.comparisons
    return target


def test_a_folder_holds_source_weights_a_check_and_a_page(folder):
    names = {one.name for one in folder.iterdir()}

    assert names == {"model.py", "weights.safetensors", "check.npz", "README.md"}
    text = (folder / "model.py").read_text()
    assert "resnet_pt" not in text
    assert "keras" not in text.replace("Keras", "")
    assert str(folder.parent) not in text


def checked(folder):
    run = [sys.executable, "-I", "-B", str(folder / "model.py")]
    return subprocess.run(run, capture_output=True, text=True, cwd=folder.parent)


def test_the_source_repeats_its_check_and_notices_a_change(folder, tmp_path):
    changed = tmp_path / "changed"
    changed.mkdir()
    for one in folder.iterdir():
        (changed / one.name).write_bytes(one.read_bytes())
    text = (changed / "model.py").read_text()
    (changed / "model.py").write_text(text.replace("F.relu(", "F.silu("))

    assert "the stored outputs, within" in checked(folder).stdout
    assert "not the stored outputs" in checked(changed).stderr


def every_layer():
    """All of `LAYERS` in one network, each with inputs and an output of its own."""
    inputs, layers = [], []
    for number, (op, *shapes) in enumerate(LAYERS.values()):
        read = [Input(f"in_{number}_{place}", shape) for place, shape in enumerate(shapes)]
        name = f"layer_{number}"
        layers.append(Layer(name, op, tuple(one.name for one in read), name))
        inputs += read
    outputs = (Output(layer.name, layer.name) for layer in layers)
    return Program(tuple(inputs), tuple(layers), tuple(outputs))


@pytest.mark.slow
def test_ruff_and_mypy_find_nothing_in_what_is_written(tmp_path):
    one = every_layer()
    (tmp_path / "model.py").write_text(page.model(one, flat.flat(one), "A network"))
    for command in (  # the defaults, whatever pyproject.toml says
        ["ruff", "check", "--isolated", "--no-cache"],
        ["mypy", "--config-file=", "--follow-imports=silent", f"--cache-dir={tmp_path}"],
    ):
        run = [sys.executable, "-m", *command, "model.py"]
        done = subprocess.run(run, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stdout


def test_the_page_and_the_readme_show_what_is_written():
    network, _ = converted(NETWORKS / f"{FEW[0]}.h5")
    text = page.model(network.program, flat.flat(network.program, python.ABOUT), python.ABOUT)
    readme = (ROOT / "README.md").read_text()
    start, shown = readme.partition("    def forward(self, image: Tensor)")[1:]

    assert text in (ROOT / "docs" / "source.md").read_text()
    assert start + shown.partition("```")[0] in text


def test_it_trains_as_our_network_does():
    layers = (
        Layer("conv", ops.Conv(3, 6, (3, 3), (2, 2), "same"), ("in",), "conv"),
        Layer("norm", ops.Norm(6, 1e-3, 0.01, gamma=False), ("conv",), "norm"),
        Layer("relu", ops.Activation("relu"), ("norm",), "relu"),
        Layer("pool", ops.GlobalPool("avg"), ("relu",), "pool"),
        Layer("dense", ops.Dense(6, 4), ("pool",), "dense"),
    )
    one = Program((Input("in", (3, 9, 9)),), layers, (Output("", "dense"),))
    ours, theirs = pair(one)
    for model in (ours.train(), theirs.train()):
        steps = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        for seed in range(4):
            steps.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(*batch(one, seed, 4)), torch.arange(4))
            loss.backward()
            steps.step()

    expected = {n: p for n, p in ours.state_dict().items() if n != "_extra_state"}
    found = theirs.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor)
    assert [p.requires_grad for p in theirs.parameters()] == [
        p.requires_grad for p in ours.parameters()
    ]


def test_a_residual_network_goes_the_same_way(tmp_path):
    described = resnet((1, 1), 5, width=8)
    ours = random_tensors(described)
    theirs = python.export(described).tensors(ours)
    for name, content in python.files(described, theirs, About({})).items():
        (tmp_path / name).write_bytes(content)

    found = python.load(tmp_path, described)(np.ones((2, 3, 64, 64), np.float32))[""]

    expected = runnable(described, ours, "float64")(np.ones((2, 3, 64, 64), np.float32))[""]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


# ---- what would be wrong


MUTANTS = {
    ops.Norm: lambda op, site: expressions._norm(op.replace(eps=op.eps * 1.5), site),
    ops.GlobalPool: lambda op, site: f"{site.x}.amax((2, 3))",
    ops.Conv: lambda op, site: f"self.gone({site.x})",
}


@pytest.mark.parametrize("kind", MUTANTS, ids=lambda kind: kind.__name__)
def test_a_wrong_emission_is_noticed_and_nothing_is_put_in_place(kind, tmp_path, monkeypatch):
    monkeypatch.setitem(expressions.WRITTEN, kind, MUTANTS[kind])
    source = NETWORKS / "multioutput-k210.h5"

    with pytest.raises(ParityError):
        convert(source, tmp_path / "mine", to="python", parity=False)

    assert list(tmp_path.iterdir()) == []


def test_source_that_imports_what_is_not_there_is_a_failure(tmp_path):
    (tmp_path / "model.py").write_text("import resnet_pt\n")

    with pytest.raises(ParityError, match="does not run by itself"):
        prove.run(tmp_path, (np.zeros((1, 3), np.float32),))
