"""A `.weights.h5` keeps no order of layers and numbers arrays: what it does not tell is said."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import h5py
from edits import assert_refused, edited, run
from helpers import FIXTURES, converted, facts


def weights(folder: Path) -> Path:
    """The weights alone of a nested base with a head, as Keras 3.15's `save_weights` lays them."""
    target = folder / "nested.weights.h5"
    with zipfile.ZipFile(FIXTURES / "keras-3.15-nested-head.keras") as archive:
        target.write_bytes(archive.read("model.weights.h5"))
    return target


def changed(folder: Path, change: Any) -> Path:
    return edited(weights(folder), folder, change, name="edited.weights.h5")


def every_layer(file: Any, change: Any) -> None:
    """Call `change(parent, key, vars)` for every layer's group, found by its `name`."""
    found: list[tuple[Any, str, Any]] = []

    def look(path: str, one: Any) -> None:
        if isinstance(one, h5py.Group) and path.endswith("/vars") and "name" in one.attrs:
            found.append((one.parent, path, one))

    file.visititems(look)
    for parent, path, one in found:
        change(parent, path, one)


def test_where_activations_stand_is_a_default(tmp_path):
    network, _ = converted(weights(tmp_path))
    fact = next(fact for fact in network.facts if fact.name == "activation")
    assert str(fact.evidence) == "default"
    assert "'conv1_relu', and this container keeps no order" in fact.reason
    assert facts(network)["amounts"][1] == "default"
    assert "norms" not in facts(network)


def test_a_norm_of_three_arrays_is_a_default(tmp_path):
    """The third may be gamma or beta."""

    def drop(parent: Any, path: str, one: Any) -> None:
        if str(one.attrs["name"]).endswith("_1_bn"):
            values = [one[str(number)][:] for number in (1, 2, 3)]
            for number in "0123":
                del one[number]
            for number, array in enumerate(values):
                one[str(number)] = array

    network, _ = converted(changed(tmp_path, lambda file: every_layer(file, drop)))
    assert facts(network)["norms"] == ("without gamma", "default")
    [reason] = [fact.reason for fact in network.facts if fact.name == "norms"]
    assert "whether gamma or beta is missing is not in the file" in reason


def test_an_activation_that_is_called_like_a_blocks_last_norm_is_refused(tmp_path):
    """Its sum has none then: `conv2_block1_3_relu` in the place of `conv2_block1_out`."""

    def rename(parent: Any, path: str, one: Any) -> None:
        name = str(one.attrs["name"])
        if name.endswith("_out"):
            one.attrs["name"] = f"{name.removesuffix('_out')}_3_relu"

    path = changed(tmp_path, lambda file: every_layer(file, rename))
    result = run(path, tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "in front of a block's sum" in result.stderr
    assert "'conv2_block1_3_relu'" in result.stderr


def removed(suffix: str) -> Any:
    def remove(parent: Any, path: str, one: Any) -> None:
        if str(one.attrs["name"]).endswith(suffix):
            del parent.parent[parent.name.rpartition("/")[2]]

    return lambda file: every_layer(file, remove)


def test_fewer_activations_are_not_said_to_be_a_cut(tmp_path):
    path = changed(tmp_path, removed("_2_relu"))
    result = run(path, tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "some have none, or the model was cut behind" in result.stderr


def test_a_head_with_a_pool_is_no_stem_with_one(tmp_path):
    """The stem's pool gives its place in the file to one that is called as the head's."""

    def rename(parent: Any, path: str, one: Any) -> None:
        if str(one.attrs["name"]) == "pool1_pool":
            pool = parent.parent.create_group("average_pooling2d/vars")
            pool.attrs["name"] = "avg_pool"

    def change(file: Any) -> None:
        every_layer(file, rename)
        removed("pool1_pool")(file)

    result = run(changed(tmp_path, change), tmp_path / "out.pth", "--no-parity")

    assert_refused(result, 5, tmp_path / "out.pth")
    assert "lists no pool for the stem of its network beside 'avg_pool'" in result.stderr
