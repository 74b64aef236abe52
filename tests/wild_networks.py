"""Residual networks that no table knows, as weights alone: how each is read.

`networks()` draws one: its order of norm, activation and sum, its strides, paddings, stem, head and
names. Keras makes it (tests/wild_keras.py). A file of its weights is refused, or becomes the
network that it was; or every fact in which the result is another one is shown as a default.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from helpers import word
from hypothesis import strategies as st

from converter.errors import ConvertError
from converter.facts import changes
from converter.files.source import read_here
from converter.identify import identify
from converter.mapping.plan import make_plan
from converter.network import Network
from converter.options import Options
from converter.parity.comparing import torch_run
from resnet_pt.architecture import Architecture, Conv, Padding, Pool

NEAR = 1e-4
"""Of the largest logit: float32 on both sides; a wrong fact is orders of magnitude beyond."""

POST = {"before": "", "between": "na", "behind": "n", "after": "a"}
PRE = {"before": "na", "between": "na", "behind": "", "after": ""}
KNOWN = (POST, PRE)
"""Norms and activations in front of a block's first convolution, between two, behind the last one,
and behind the sum: 'na' is a norm with an activation behind it."""

TOKENS = st.sampled_from(["", "n", "a", "na", "an", "naa"])
LAYERS = st.sampled_from(["scale", "square", "dropout", "activation", "leaky"])
PLACES = st.sampled_from(["map", "vector"])
NAMES = st.sampled_from(["", "l2_norm", "my_layer", "drop_1", "relu_9", "avg_pool_2"])

CIFAR = {
    "naming": "auto",
    "channels": 3,
    "window": 3,
    "stem_stride": 1,
    "stem_padding": "same",
    "behind": "na",
    "pool": "none",
    "pool_window": 3,
    "pool_stride": 2,
    "pool_padding": "valid",
    "bottleneck": False,
    "depths": [2, 1, 1],
    "strides": [1, 2, 2],
    "strided_block": 0,
    "stride_on": 0,
    "padding": "same",
    "dilation": 1,
    "gaps": POST,
    "first_before": True,
    "shortcut_reads": "input",
    "shortcut_norm": False,
    "shortcut_window": 1,
    "block_first": False,
    "sum": "layer",
    "activation": "relu",
    "relu_class": False,
    "ending": "",
    "eps": 1e-3,
    "bias": True,
    "pooling": "average",
    "hidden": [],
    "hidden_activation": "relu",
    "output": "softmax",
    "extra": ["", "", ""],
}
BRANCHES = {
    **CIFAR,
    "naming": "res-branch",
    "window": 7,
    "stem_stride": 2,
    "stem_padding": "pad",
    "pool": "max",
    "bottleneck": True,
    "depths": [2, 2],
    "strides": [1, 2],
    "shortcut_norm": True,
    "block_first": True,
}
BLOCKS = {
    **BRANCHES,
    "naming": "conv-block",
    "pool_padding": "zero",
    "block_first": False,
    "eps": 1.001e-5,
}
BEFORE = {**CIFAR, "bottleneck": True, "gaps": PRE, "first_before": False, "ending": "na"}
BASES = (BRANCHES, BLOCKS, CIFAR, BEFORE, {**BRANCHES, "naming": "auto"})
"""Networks of a kind that is known, from which others are made by changing some of it."""

CHANGES: Mapping[str, st.SearchStrategy[Any]] = {
    "naming": st.sampled_from(["auto", "res-branch", "conv-block"]),
    "channels": st.just(1),
    "window": st.sampled_from([3, 5, 7]),
    "stem_stride": st.sampled_from([1, 2]),
    "stem_padding": st.sampled_from(["same", "pad", "valid"]),
    "behind": st.sampled_from(["na", "n", "", "a"]),
    "pool": st.sampled_from(["none", "max", "average"]),
    "pool_window": st.sampled_from([2, 3]),
    "pool_stride": st.sampled_from([1, 2]),
    "pool_padding": st.sampled_from(["valid", "same", "zero"]),
    "bottleneck": st.booleans(),
    "depths": st.lists(st.integers(1, 2), min_size=1, max_size=3),
    "strides": st.lists(st.integers(1, 2), min_size=1, max_size=3),
    "strided_block": st.just(1),
    "stride_on": st.just(1),
    "padding": st.just("pad"),
    "dilation": st.just(2),
    "gaps": st.sampled_from(KNOWN)
    | st.fixed_dictionaries(
        {"before": TOKENS, "between": TOKENS, "behind": TOKENS, "after": TOKENS}
    ),
    "first_before": st.just(True),
    "shortcut_reads": st.just("activated"),
    "shortcut_norm": st.booleans(),
    "shortcut_window": st.just(3),
    "block_first": st.booleans(),
    "sum": st.just("operator"),
    "activation": st.sampled_from(["elu", "tanh", "sigmoid"]),
    "relu_class": st.just(True),
    "ending": st.sampled_from(["", "na", "a"]),
    "eps": st.sampled_from([1e-3, 1e-5, 1.001e-5, 2e-5]),
    "bias": st.booleans(),
    "pooling": st.sampled_from(["average", "maximum", "flatten"]),
    "hidden": st.just([6]),
    "hidden_activation": st.just("tanh"),
    "output": st.sampled_from(["sigmoid", "linear"]),
    "extra": st.tuples(LAYERS, PLACES, NAMES),
}


@st.composite
def networks(draw: st.DrawFn) -> dict[str, Any]:
    """A residual network as tests/wild_keras.py reads it: one of a known kind with up to five
    changes, so that what fails shrinks to the one that is at fault."""
    base = draw(st.sampled_from(BASES))
    names = draw(st.lists(st.sampled_from(sorted(CHANGES)), unique=True, max_size=5))
    return shaped({**base, **{name: draw(CHANGES[name]) for name in names}})


def shaped(network: Mapping[str, Any]) -> dict[str, Any]:
    """A network with a width and a stride for each of its stages."""
    stages = len(network["depths"])
    return {
        **network,
        "strides": [*network["strides"], 2, 2][:stages],
        "widths": [4 * 2**stage for stage in range(stages)],
        "classes": 5,
    }


@contextmanager
def keras(folder: Path, python: str = sys.executable) -> Iterator[Any]:
    """A function that has Keras make a network: `{"files": {container: path}, "record": path}`, or
    `{"impossible": reason}` for one that cannot be."""
    script = Path(__file__).with_name("wild_keras.py")
    log = folder / "keras.log"
    with log.open("w") as told:
        process = subprocess.Popen(
            [python, str(script), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=told,
            text=True,
        )
    assert process.stdin is not None
    assert process.stdout is not None

    def made(network: dict[str, Any]) -> dict[str, Any]:
        process.stdin.write(json.dumps(network) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        assert answer, log.read_text()[-2000:]
        return json.loads(answer)

    try:
        yield made
    finally:
        process.kill()
        process.communicate()


@dataclass(frozen=True)
class Outcome:
    """How one file was read. `assumed` are the facts that are shown as defaults, `wrong` those in
    which the result is not the network that was made."""

    refused: str = ""
    error: float = 0.0
    assumed: frozenset[str] = frozenset()
    wrong: frozenset[str] = frozenset()
    network: Network | None = None

    @property
    def is_right(self) -> bool:
        return not self.refused and self.error <= NEAR

    @property
    def hidden(self) -> frozenset[str]:
        """Wrong facts that are not shown to be assumed."""
        return frozenset() if self.refused else self.wrong - self.assumed


def judged(made: dict[str, Any], path: Path, record: Path) -> Outcome:
    """A file of weights as it is read, held against the network that they are of."""
    with np.load(record) as file:
        pictures, logits = file["input"], file["logits"]
    try:
        with read_here(path) as checkpoint:
            network = identify(checkpoint, Options())
            tensors = dict(make_plan(checkpoint, network).tensors(checkpoint))
    except ConvertError as error:
        return Outcome(refused=error.headline)
    error = off(network, tensors, pictures, logits)
    assumed = frozenset(fact.name for fact in network.facts if fact.is_default)
    wrong = set(differing(made, network)) if error > NEAR else set()
    if error > NEAR and not wrong:
        wrong.add("network")  # none of the facts that are compared by name: the order of layers
    if network.architecture.outputs[0].activation != made["output"]:
        wrong.add("output")
    return Outcome("", error, assumed, frozenset(wrong), network)


def off(network: Network, tensors: dict[str, Any], pictures: Any, logits: Any) -> float:
    """How far the logits are from the original's, relative to the largest; infinite where the
    network cannot run on its own pictures."""
    model = torch_run.build(network.architecture, tensors)
    try:
        found = next(iter(torch_run.run(model, pictures, "float32", "cpu").values()))
    except torch_run.CannotRunError:
        return float("inf")
    if found.shape != logits.shape:
        return float("inf")
    return float(np.abs(found - logits).max() / np.abs(logits).max())


def differing(made: dict[str, Any], network: Network) -> Iterator[str]:
    """The facts in which a network is another one than the one that was made, by the names that
    they have on screen."""
    one = network.architecture
    stem, blocks = one.stem, [block for stage in one.stages for block in stage]
    if {norm.eps for norm in changes.norms(one)} - {made["eps"]}:
        yield "epsilon"
    if stem.conv.stride[0] != made["stem_stride"]:
        yield "stride"
    if stem.conv.padding != amount(made["stem_padding"], stem.conv):
        yield "stem"
    yield from of_pool(made, stem.pool)
    if [[block.stride for block in stage] for stage in one.stages] != strides(made):
        yield "stride"
    if any(block.convs[place(made)].stride[0] != block.stride for block in blocks):
        yield "stride"
    inner = [conv for block in blocks for conv in block.convs if conv.kernel[0] > 1]
    padded = [conv for conv in inner if conv.padding != amount(made["padding"], conv)]
    yield from ("padding" if conv.stride[0] > 1 else "amounts" for conv in padded)
    if any(conv.dilation[0] != dilation(made, conv) for conv in inner):
        yield "amounts"
    if one.activation != made["activation"]:
        yield "activation"
    if not is_order(made, one):
        yield "network"
    if reads(one) - {made["shortcut_reads"] if made["gaps"] == PRE else "input"}:
        yield "shortcuts"
    yield from of_head(made, one)


def place(made: dict[str, Any]) -> int:
    """Which convolution of a block strides."""
    return made["stride_on"] if made["bottleneck"] else made["stride_on"] % 2


def amount(how: str, conv: Conv) -> Padding:
    """The padding of an odd window: 'same' is an even one where it moves by one."""
    if how == "valid":
        return 0
    uneven = how == "same" and conv.stride[0] > 1
    return "same" if uneven else conv.dilation[0] * (conv.kernel[0] // 2)


def dilation(made: dict[str, Any], conv: Conv) -> int:
    return made["dilation"] if conv.stride[0] == 1 else 1


def of_pool(made: dict[str, Any], pool: Pool | None) -> Iterator[str]:
    if pool is None or made["pool"] == "none":
        if (pool is None) != (made["pool"] == "none"):
            yield "pool"
        return
    if {"avg": "average"}.get(pool.mode, pool.mode) != made["pool"]:
        yield "amounts"
    if pool.kernel[0] != made["pool_window"]:
        yield "amounts"
    if pool.stride[0] != made["pool_stride"]:
        yield "stride"
    if pool.padding != {"valid": 0, "zero": 1, "same": "same"}[made["pool_padding"]]:
        yield "pool"


def strides(made: dict[str, Any]) -> list[list[int]]:
    """By how much each block of each stage shrinks its map."""
    found = []
    for depth, stride in zip(made["depths"], made["strides"], strict=True):
        strided = made["strided_block"] % depth
        found.append([stride if number == strided else 1 for number in range(depth)])
    return found


def is_order(made: dict[str, Any], one: Architecture) -> bool:
    """Whether norms, activations and sums stand where they stood."""
    blocks = [block for stage in one.stages for block in stage]
    is_pre = made["gaps"] == PRE
    if made["gaps"] not in KNOWN or any(block.preactivation != is_pre for block in blocks):
        return False
    behind = ("n" if one.stem.norm else "") + ("a" if one.stem.activation else "")
    activated = all(block.activated for block in blocks)
    return behind == made["behind"] and activated and ending(one) == made["ending"]


def reads(one: Architecture) -> set[str]:
    """Where the convolutions of shortcuts read."""
    shortcuts = [block.shortcut for stage in one.stages for block in stage if block.shortcut]
    words = {"preactivation": "activated"}
    return {words.get(one.source, one.source) for one in shortcuts if one.conv}


def ending(one: Architecture) -> str:
    """Norm and activation behind the last block; what is no part of the network is of its head."""
    ops = [word(layer) for layer in one.head[:2]]
    return "na" if one.norm or ops == ["norm", "activation"] else ""


def of_head(made: dict[str, Any], one: Architecture) -> Iterator[str]:
    kinds = {"average": "global_avg_pool", "maximum": "global_max_pool", "flatten": "flatten_hwc"}
    found = [layer for layer in one.head if word(layer) != "dropout"]
    if word(found[0]) == "norm":
        found = found[2:]
    if word(found[0]) != kinds[made["pooling"]]:
        yield "head"
    if made["extra"][0] not in ("", "dropout"):
        yield "taken for"
    functions = [layer.op.name for layer in found if word(layer) == "activation"]
    if functions != [made["hidden_activation"]] * len(made["hidden"]):
        yield "head activation"
