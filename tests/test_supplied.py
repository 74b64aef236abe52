"""Layers by code of the user's own (`--layers`): what is proven of them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from edits import layer, reconfigured, run
from helpers import FIXTURES

import resnet_pt
from converter.cli import predict
from converter.conversion import convert
from converter.errors import MismatchError, ParityError, UsageError
from converter.files.checkpoint import Weight
from converter.parity.original.recording import read_record
from converter.verification import verify
from converter.whole_model.graph import Node
from converter.whole_model.ops import Unknown
from converter.whole_model.supplied import arrays_of
from resnet_pt.files import FileError

NETWORKS = FIXTURES / "networks"
CASE = "multiinput-k224"
RECORD = NETWORKS / f"{CASE}.npz"

OWN = """
import torch
from torch import nn


class Own(nn.Module):
    arrays = {"weight": "kernel", "bias": "bias"}

    def __init__(self, *, shapes, units, activation):
        super().__init__()
        assert tuple(shapes["kernel"])[1] == units and activation == "relu"
        self.weight = nn.Parameter(torch.empty(shapes["kernel"]))
        self.bias = nn.Parameter(torch.empty(shapes["bias"]))
        self.zero = torch.zeros(units)

    def forward(self, x):
        return torch.maximum(x @ self.weight + self.bias, self.zero.to(x.dtype))


def join(x, y, *, axis):
    return torch.cat([x, y], axis)


LAYERS = {"mine>Own": Own, "concatenate_1": join}
"""


def made_foreign(config) -> None:
    """Two Dense layers and a Concatenate become classes of a project's own."""
    for name in ("dense_1", "dense_3"):
        layer(config, name)["class_name"] = "mine>Own"
    layer(config, "concatenate_1")["class_name"] = "mine>Join"


@pytest.fixture
def source(tmp_path) -> Path:
    return reconfigured(NETWORKS / f"{CASE}.h5", tmp_path, made_foreign)


def file(folder: Path, text: str = OWN) -> Path:
    path = folder / "mine.py"
    path.write_text(text)
    return path


def test_code_of_the_users_own_is_proven_by_a_record(source, tmp_path):
    target, layers = tmp_path / "out.pth", file(tmp_path)

    report = convert(source, target, layers=layers, against=RECORD)

    assert report.verdict == "equal"
    (fact,) = (one for one in report.network.facts if one.name == "supplied")
    assert fact.value == "3 layers by mine.py"
    for name in ("dense_1", "dense_3", "concatenate_1"):
        assert name in fact.reason
    assert "mine.py" in str(report.to_dict())
    model = resnet_pt.load(target, layers=layers)
    assert type(model.dense_1).__name__ == "Own"
    assert verify(target, RECORD, layers=layers).verdict == "equal"
    assert verify(target, source, layers=layers).parity.verdict == "not compared"


@pytest.mark.parametrize(
    ("right", "wrong", "blamed"),
    [("+ self.bias", "- self.bias", "dense_1"), ("[x, y]", "[y, x]", "concatenate_1")],
)
def test_code_that_computes_something_else_is_found(right, wrong, blamed, source, tmp_path):
    layers = file(tmp_path, OWN.replace(right, wrong))

    with pytest.raises(ParityError) as refused:
        convert(source, tmp_path / "out.pth", layers=layers, against=RECORD)

    assert blamed in refused.value.findings[0]


def test_without_a_record_it_is_unproven(source, tmp_path):
    report = convert(source, tmp_path / "out.pth", layers=file(tmp_path))

    assert report.verdict == "not compared"
    assert "'concatenate_1', 'dense_1'" in report.parity.reason or (
        "'dense_1', 'concatenate_1'" in report.parity.reason
    )
    assert "--against" in report.parity.reason


def test_predict_takes_it_too(source, tmp_path):
    layers, target = file(tmp_path, OWN + "# for predict\n"), tmp_path / "out.pth"
    convert(source, target, layers=layers, parity=False)
    given = [str(target), str(RECORD), "--out", str(tmp_path / "out.npz")]

    resnet_pt.supplied._KNOWN.clear()
    without = CliRunner().invoke(predict, given)
    done = CliRunner().invoke(predict, [*given, "--layers", str(layers)])

    assert (without.exit_code, done.exit_code) == (3, 0), done.stderr
    assert "hint: --layers FILE.py gives it" in without.stderr
    expected = read_record(RECORD).passes[0].logits[""]
    with np.load(tmp_path / "out.npz") as found:
        np.testing.assert_allclose(found["price"], expected, atol=1e-5)


def test_its_file_is_needed_to_load_and_is_the_very_one(source, tmp_path):
    target = tmp_path / "out.pth"
    layers = file(tmp_path, OWN + "# of this test alone\n")
    convert(source, target, layers=layers, parity=False)
    state = resnet_pt.load(target, layers=layers).state_dict()
    other = tmp_path / "other.py"
    other.write_text(OWN.replace("units)", "units + 0)"))

    with pytest.raises(FileError, match=r"other 'mine\.py' than .* is now"):
        resnet_pt.load(target, layers=other)

    resnet_pt.supplied._KNOWN.clear()
    with pytest.raises(FileError, match=r"load\(path, layers='mine\.py'\)"):
        resnet_pt.load(target)
    again = resnet_pt.load(target, layers=layers)
    assert all(
        torch.equal(one, state[name])
        for name, one in again.state_dict().items()
        if one is not None and name != "_extra_state"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"entry": "Other"}, "has no layer 'Other'"), ({"settings": "["}, "settings that are none")],
)
def test_a_file_that_names_another_layer_is_refused(changes, words, source, tmp_path):
    target, layers = tmp_path / "out.pth", file(tmp_path)
    convert(source, target, layers=layers, parity=False)
    state = torch.load(target, weights_only=True)
    description = state["_extra_state"]
    for one in description["program"]["layers"]:
        if one["op"]["op"] == "supplied":
            one["op"] |= changes
    del description["sha256"]  # as one would who changes it by hand
    torch.save(state, target)

    with pytest.raises(FileError, match=words):
        resnet_pt.load(target, layers=layers)


def test_it_trains_and_is_saved_again(source, tmp_path):
    layers, again = file(tmp_path), tmp_path / "again.safetensors"
    convert(source, tmp_path / "out.pth", layers=layers, parity=False)
    model = resnet_pt.load(tmp_path / "out.pth", layers=layers)
    given = [torch.rand(2, *one.shape) for one in model.program.inputs]
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = model.dense_1.weight.detach().clone()
    model.train()(*given).square().sum().backward()
    optimizer.step()
    assert not torch.equal(model.dense_1.weight, before)

    resnet_pt.save(model, again)

    loaded = resnet_pt.load(again, layers=layers)
    assert torch.equal(loaded.dense_1.weight, model.dense_1.weight)


def test_a_refusal_prints_the_file_to_fill_in(source, tmp_path):
    with pytest.raises(MismatchError) as refused:
        convert(source, tmp_path / "out.pth")

    text = refused.value.text
    assert len(refused.value.findings) == 3
    assert text in str(refused.value)
    assert run(source, tmp_path / "out.pth").stderr.endswith(f"{text}\n")
    module: dict[str, object] = {}
    exec(compile(text, "stub.py", "exec"), module)
    assert set(module["LAYERS"]) == {"mine>Own", "mine>Join"}
    assert module["Own"].arrays == {"kernel": "kernel", "bias": "bias"}
    with pytest.raises(UsageError, match="cannot be layer") as unfilled:
        convert(source, tmp_path / "out.pth", layers=file(tmp_path, text))
    assert "NotImplementedError" in unfilled.value.findings[0]
    assert "mine.py, line " in unfilled.value.findings[0]


def test_the_file_to_fill_in_holds_no_code_of_a_strangers(tmp_path):
    hostile = 'X"""\nimport os; os.system("true") #\\'

    def change(config) -> None:
        made_foreign(config)
        layer(config, "dense_1")["class_name"] = hostile
        layer(config, "dense_1")["config"]["units"] = hostile

    source = reconfigured(NETWORKS / f"{CASE}.h5", tmp_path, change)
    with pytest.raises(MismatchError) as refused:
        convert(source, tmp_path / "out.pth")

    code = compile(refused.value.text, "stub.py", "exec")
    assert "os" not in code.co_names
    module: dict[str, object] = {}
    exec(code, module)
    assert hostile in module["LAYERS"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace('"bias": "bias"', '"bias": "b"'), "'bias' wants an array 'b'"),
        (
            lambda text: text.replace('"bias": "bias"', '"bias": "b"'),
            "array 'bias' is taken by none",
        ),
        (lambda text: text.replace('empty(shapes["kernel"])', "empty(3, 3)"), "'weight' is (3, 3)"),
        (lambda text: text.replace("units, activation", "width, activation"), "it wants 'width'"),
        (lambda text: text.replace("*, shapes, units", "units, *, shapes"), "behind a star"),
        (lambda text: text.replace("torch.cat([x, y], axis)", "(x, y)"), "it gives tuple"),
        (lambda text: text.replace("torch.cat([x, y], axis)", "x.sum(0)"), "the batch comes first"),
        (lambda text: text.replace("torch.cat([x, y], axis)", "x @ y"), "line 21: RuntimeError"),
        (
            lambda text: text.replace('{"mine>Own": Own', '{"mine>Own": torch.relu'),
            "a function takes none",
        ),
    ],
)
def test_what_does_not_fit_is_said_with_its_layer(change, words, source, tmp_path):
    with pytest.raises(UsageError) as refused:
        convert(source, tmp_path / "out.pth", layers=file(tmp_path, change(OWN)))

    assert words in str(refused.value)
    assert "mine.py" in str(refused.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("LAYERS = {}", "has no LAYERS"),
        ("LAYERS = {'a': 3}", "LAYERS['a'] is no function"),
        ("1 / 0", "line 1: ZeroDivisionError"),
        ("def (", "line 1: SyntaxError"),
        (OWN.replace('{"mine', '{"table": join, "price": join, "mine'), "which needs no code"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(text, words, source, tmp_path):
    with pytest.raises(UsageError) as refused:
        convert(source, tmp_path / "out.pth", layers=file(tmp_path, text))

    assert words in str(refused.value)


def test_a_layer_whose_second_value_is_read_is_refused(tmp_path):
    def change(config) -> None:
        layer(config, "dense_1")["class_name"] = "mine>Own"
        layer(config, "concatenate_1")["inbound_nodes"][0][0][2] = 1

    source = reconfigured(NETWORKS / f"{CASE}.h5", tmp_path, change)
    with pytest.raises(MismatchError, match="it gives several values"):
        convert(source, tmp_path / "out.pth", layers=file(tmp_path))


def test_a_layer_within_a_model_and_of_any_size_is_served(tmp_path):
    """The tanh of nested-k315's trunk, which reads a map of any size here."""
    case = "nested-k315"

    def change(config) -> None:
        config["config"]["layers"][0]["config"]["batch_shape"][1:3] = [None, None]
        (trunk,) = (one for one in config["config"]["layers"] if one["config"]["name"] == "trunk")
        trunk["config"]["layers"][0]["config"]["batch_shape"][1:3] = [None, None]
        foreign = layer(trunk, "activation_1")
        foreign.update(class_name="Swing", module="mine", registered_name="mine>Swing")
        foreign["config"] = {"name": "activation_1", "activation": foreign["config"]["activation"]}

    source = reconfigured(NETWORKS / f"{case}.h5", tmp_path, change)
    layers = file(tmp_path, "import torch\nLAYERS = {'mine>Swing': torch.relu}\n")
    with pytest.raises(MismatchError, match="Swing"):
        convert(source, tmp_path / "out.pth")

    report = convert(source, tmp_path / "out.pth", layers=layers, against=NETWORKS / f"{case}.npz")

    assert report.verdict == "equal"
    (supplied,) = (one.op for one in report.network.program.layers if one.op.words()[:4] == "mine")
    assert supplied.gives[1:] == (None, None)


def test_arrays_of_a_layer_within_a_layer_are_named_by_their_place():
    node = Node("own", "own", (), Unknown("Own", ""), ("x",))
    numbered = [
        Weight("own", "own", "variable 0", "own/vars/0", (2,)),
        Weight("dense", "dense", "variable 0", "own/d/vars/0", (2, 3)),
        Weight("dense", "dense", "variable 0", "owner/d/vars/0", (2, 3)),
    ]
    assert [*arrays_of(node, numbered)] == ["0", "d/0"]
    named = [
        Weight("own", "own", "kernel", "own/own/W:0", (2,)),
        Weight("own", "dense", "kernel", "own/own/dense/kernel:0", (2, 3)),
    ]
    assert [*arrays_of(node, named)] == ["W", "dense/kernel"]


def test_it_is_written_for_others(source, tmp_path):
    report = convert(source, tmp_path / "out.pt2", layers=file(tmp_path), against=RECORD, to="pt2")

    assert report.verdict == "equal"
    assert all(one.passes for one in report.delivery.comparisons)
