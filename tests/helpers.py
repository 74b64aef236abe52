"""What several tests need: fixtures by name, and files derived from them."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

from converter.files.checkpoint import Checkpoint
from converter.files.source import read_here
from converter.identify import identify
from converter.mapping.plan import make_plan
from converter.network import Network
from converter.options import Options
from converter.parity.original.recording import read_record
from resnet_pt.ops import Activation
from resnet_pt.program import Layer

FIXTURES = Path(__file__).parent.parent / "fixtures"
needs_tf_keras = pytest.mark.skipif(
    importlib.util.find_spec("tf_keras") is None, reason="tf-keras is not installed"
)
CONTAINERS = (".weights.h5", ".weights.json", ".keras", ".h5")


def fixture(name: str) -> Path:
    return FIXTURES / f"{name}.h5"


def record(path: Path) -> Path:
    """What its own Keras computed: `X.npz` beside `X.h5`, `X.keras`, `X.weights.h5`, ..."""
    suffix = next(suffix for suffix in CONTAINERS if path.name.endswith(suffix))
    return path.with_name(path.name.removesuffix(suffix) + ".npz")


def pictures_of(path: Path) -> np.ndarray:
    """The input of a record, whether it holds it or says how to make it again."""
    return read_record(path).passes[0].input


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a record, its input among them in any case."""
    with np.load(path) as file:
        arrays = dict(file)
    meta = json.loads(str(arrays["meta"]))
    if meta.pop("generated_input", None):
        arrays |= {"input": pictures_of(path), "meta": np.array(json.dumps(meta))}
    return arrays


def word(layer: Layer) -> str:
    """What a head's layer is, in a word."""
    is_activation = isinstance(layer.op, Activation)
    return "activation" if is_activation else layer.op.words().split()[0]


def head_words(network: Network) -> list[str]:
    """The layers of a network's head, each in a word."""
    return [word(one) for one in network.architecture.head]


def is_legacy(path: Path) -> bool:
    """Whether `load_weights` before Keras 3's containers reads it: layers listed by name."""
    if not h5py.is_hdf5(path):
        return False
    with h5py.File(path) as file:
        return is_listed(file.get("model_weights", file).attrs)


def is_listed(attributes: h5py.AttributeManager) -> bool:
    return "layer_names" in attributes or "layer_names0" in attributes


RECORDED = sorted(
    path for path in FIXTURES.iterdir() if path.name.endswith(CONTAINERS) and record(path).exists()
)
"""Every fixture with what its own Keras computed, whatever container it is in."""

LEGACY = [path for path in RECORDED if is_legacy(path)]
"""Those in HDF5 with `layer_names`."""


def is_whole_model(path: Path) -> bool:
    """Whether it is legacy HDF5 of a whole model, not of weights only."""
    with h5py.File(path) as file:
        return "model_weights" in file


def weights_only(path: Path, folder: Path) -> Path:
    """The weights-only file of a whole model: what `save_weights` writes is the content of
    `model_weights`."""
    target = folder / f"{path.stem}_weights.h5"
    with h5py.File(path) as source, h5py.File(target, "w") as file:
        for name in source["model_weights"]:
            source.copy(f"model_weights/{name}", file)
        for name, value in source["model_weights"].attrs.items():
            file.attrs[name] = value
    return target


def copy(path: Path, folder: Path, name: str = "source.h5") -> Path:
    target = folder / name
    shutil.copyfile(path, target)
    target.chmod(0o644)
    return target


def weightless_removed(path: Path) -> None:
    """Make a file list only the layers that have weights."""
    with h5py.File(path, "a") as file:
        names = [as_text(name) for name in file.attrs["layer_names"]]
        file.attrs["layer_names"] = [n for n in names if len(file[n].attrs["weight_names"])]


def as_text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name


def set_weight(path: Path, weight: str, values: object) -> None:
    """Overwrite one array of a whole model's file."""
    with h5py.File(path, "a") as file:
        file[f"model_weights/{weight}"][...] = values


@contextmanager
def opened(path: Path, **options: object) -> Iterator[tuple[Checkpoint, Network]]:
    """A file, read in this process: quicker than in one of its own (tests/test_isolation.py)."""
    with read_here(path) as checkpoint:
        yield checkpoint, identify(checkpoint, Options(**options))  # type: ignore[arg-type]


def converted(path: Path, **options: object) -> tuple[Network, dict[str, np.ndarray]]:
    """(network, tensors) of a file, without writing anything."""
    with opened(path, **options) as (checkpoint, network):
        return network, dict(make_plan(checkpoint, network).tensors(checkpoint))


def facts(network: Network) -> dict[str, tuple[str, str]]:
    """`{fact: (value, evidence)}`."""
    return {fact.name: (fact.value, str(fact.evidence)) for fact in network.facts}
