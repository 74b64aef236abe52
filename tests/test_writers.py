"""Contract tests over every output format."""

from __future__ import annotations

import gc
import io
import json
import weakref
from itertools import permutations

import numpy as np
import pytest
import torch
from helpers import fixture
from safetensors.numpy import save_file

import resnet_pt
from converter.conversion import convert
from converter.discover import modules
from converter.errors import UsageError
from converter.files.checkpoint import TensorSpec
from converter.formats.delivery import writer_for
from resnet_pt.digest import digest
from resnet_pt.files import FileError

PATH = fixture("keras-2.3.1-qubvel-18")
WRITERS = modules("converter.formats.writers")
each = pytest.mark.parametrize("writer", WRITERS, ids=lambda module: module.SUFFIXES[0])

TENSORS = {
    "b.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4) - 7,
    "a.bias": np.array([np.float32(1e-45), np.float32(-0.0), np.float32(3.4e38)]),
    "a.num_batches_tracked": np.array(0, np.int64),
}
DESCRIPTION = {"format": 1, "facts": [{"name": "pool", "value": "3x3/2"}]}


def write(writer, file, tensors=TENSORS, description=DESCRIPTION, order=None):
    specs = {name: TensorSpec(array.shape, array.dtype.str) for name, array in tensors.items()}
    writer.write(file, specs, ((name, tensors[name]) for name in order or tensors), description)


@each
def test_what_is_written_is_read_bit_for_bit(writer, tmp_path):
    path = tmp_path / f"out{writer.SUFFIXES[0]}"
    with path.open("wb") as file:
        write(writer, file)

    tensors, description = writer.read(path)

    checksum = digest(DESCRIPTION, TENSORS.items())
    assert json.loads(json.dumps(description)) == {**DESCRIPTION, "sha256": checksum}
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert (tensors[name].dtype, tensors[name].shape) == (tensor.dtype, tensor.shape)
        assert tensors[name].tobytes() == tensor.tobytes()


@each
@pytest.mark.parametrize("order", list(permutations(TENSORS)), ids=" ".join)
def test_the_same_tensors_give_the_same_bytes_in_whatever_order_they_come(writer, order):
    one, other = io.BytesIO(), io.BytesIO()
    write(writer, one)
    write(writer, other, order=order)

    assert one.getvalue() == other.getvalue()


@pytest.mark.slow
def test_safetensors_are_written_and_read_one_at_a_time(tmp_path):
    """What is in memory grows with the largest tensor, not with the file."""
    writer = writer_for(tmp_path / "out.safetensors")
    alive: list[weakref.ref] = []
    names = [f"{number:03}.weight" for number in range(20)]

    def tensors():
        for number, name in enumerate(names):
            array = np.full((1000, 100), number, np.float32)
            alive.append(weakref.ref(array))
            yield name, array
            del array
            gc.collect()
            assert sum(one() is not None for one in alive) <= 1

    with (tmp_path / "out.safetensors").open("wb") as file:
        specs = {name: TensorSpec((1000, 100), "<f4") for name in names}
        writer.write(file, specs, tensors(), DESCRIPTION)
    stored, _ = writer.read(tmp_path / "out.safetensors")

    assert [float(stored[name][0, 0]) for name in names] == list(range(20))
    assert stored["000.weight"] is not stored["000.weight"]
    assert "_extra_state" not in stored


def test_a_suffix_means_one_format():
    suffixes = [suffix for writer in WRITERS for suffix in writer.SUFFIXES]

    assert len(set(suffixes)) == len(suffixes)
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in suffixes)


def test_a_suffix_that_means_nothing_is_refused_with_those_that_do(tmp_path):
    with pytest.raises(UsageError) as error:
        writer_for(tmp_path / "out.onnx")

    assert str(error.value) == (
        f"TARGET {tmp_path}/out.onnx needs a suffix that says its format: .pth, .pt, .safetensors"
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("both")
    for suffix in (".pth", ".safetensors"):
        convert(PATH, folder / f"out{suffix}", parity=False)
    return folder


def test_both_formats_hold_the_same_network(both):
    one, other = (resnet_pt.load(both / f"out{suffix}") for suffix in (".pth", ".safetensors"))

    assert one.architecture == other.architecture
    states = [
        {name: value for name, value in model.state_dict().items() if name != "_extra_state"}
        for model in (one, other)
    ]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_vector_that_keras_did_not_have_is_not_trained(both):
    """`bn_data` has no gamma: ones that must stay ones."""
    model = resnet_pt.load(both / "out.pth")

    assert not model.bn_data.weight.requires_grad
    assert torch.equal(model.bn_data.weight, torch.ones(3))
    assert model.bn_data.bias.requires_grad
    assert model.conv1.weight.requires_grad


def test_safetensors_of_somebody_else_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"conv1.weight": np.ones((4, 3, 7, 7), np.float32)}, path)

    with pytest.raises(FileError, match="does not describe its network"):
        resnet_pt.load(path)


def test_a_pth_of_somebody_else_is_refused(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"conv1.weight": torch.ones(4, 3, 7, 7)}, path)

    with pytest.raises(FileError, match="does not describe its network"):
        resnet_pt.load(path)


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("code ran",))

    path = tmp_path / "evil.pth"
    torch.save({"conv1.weight": Evil()}, path)

    with pytest.raises(FileError, match="is not a plain torch state_dict"):
        resnet_pt.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda d: d.update(format=3), "a format that this version", id="format"),
        pytest.param(lambda d: d.pop("architecture"), "not readable", id="no architecture"),
        pytest.param(
            lambda d: d["architecture"].update(rotated=True), "not readable", id="a field unknown"
        ),
        pytest.param(
            lambda d: d["architecture"].update(activation="made_up"),
            None,
            id="an activation that torch has not",
        ),
        pytest.param(lambda d: d["architecture"].update(stages=[]), None, id="no stages"),
        pytest.param(
            lambda d: d["architecture"]["head"][0].update(source="nobody"),
            None,
            id="a head that reads nobody",
        ),
    ],
)
@pytest.mark.parametrize("checked", [True, False], ids=["with its checksum", "without"])
def test_a_description_that_was_changed_is_refused(change, message, checked, both, tmp_path):
    state = torch.load(both / "out.pth", weights_only=True)
    change(state["_extra_state"])
    if not checked:
        state["_extra_state"].pop("sha256")
    path = tmp_path / "out.pth"
    torch.save(state, path)

    with pytest.raises(FileError, match=message):
        resnet_pt.load(path)


def test_a_stride_that_was_changed_is_damage(both, tmp_path):
    state = torch.load(both / "out.pth", weights_only=True)
    state["_extra_state"]["architecture"]["stem"]["conv"]["stride"] = [1, 1]
    torch.save(state, tmp_path / "out.pth")

    with pytest.raises(FileError, match="damaged"):
        resnet_pt.load(tmp_path / "out.pth")


def test_a_network_in_half_precision_that_was_saved_again_loads(both, tmp_path):
    model = resnet_pt.load(both / "out.pth").half()
    torch.save(model.state_dict(), tmp_path / "half.pth")

    again = resnet_pt.load(tmp_path / "half.pth")

    assert torch.equal(again.conv1.weight, model.conv1.weight)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        resnet_pt.load(tmp_path / "none.pth")


def test_safetensors_are_the_very_bytes_that_the_library_writes(tmp_path):
    from safetensors.numpy import save

    from converter.formats.writers import safetensors

    description = {"format": "x", "é": [1, 2.5]}
    tensors = {
        "é.weight": np.arange(12, dtype=np.float32).reshape(3, 4).T,
        "b.num_batches_tracked": np.array(3),
        "a": np.zeros((0, 2), np.float32),
        "c.bias": np.ones(5, np.float32),
    }
    with (tmp_path / "x").open("wb") as file:
        write(safetensors, file, tensors, description)

    sealed = {**description, "sha256": digest(description, tensors.items())}
    text = np.frombuffer(json.dumps(sealed, sort_keys=True).encode(), np.uint8)
    plain = {name: np.ascontiguousarray(one) for name, one in tensors.items()}
    plain["b.num_batches_tracked"] = tensors["b.num_batches_tracked"]
    assert (tmp_path / "x").read_bytes() == save({**plain, "_extra_state": text})
