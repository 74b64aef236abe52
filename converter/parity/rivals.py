"""What a recording cannot tell from a network: others that take the same tensors and give the same.

An activation that is cut off at 6 shows only where something is above 6; an epsilon only where a
variance is small. An equal verdict names what the original's pictures did not reach.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from converter.facts.strides import KERAS
from converter.facts.table import TABLE, changed, other_activations, single_changes, text
from converter.files.checkpoint import Array
from converter.parity.comparing.compare import GATES, LAYER_GATES, as_array, difference
from converter.parity.comparing.layers import description
from converter.parity.comparing.rounding import share
from converter.parity.original.recording import Pass, Recording
from converter.parity.prove import Parity, compare_model
from resnet_pt.architecture import Architecture, Block, Conv, Layer, Padding, Pool
from resnet_pt.ops import Activation
from resnet_pt.tensors import tensors as expected

if TYPE_CHECKING:
    from resnet_pt.network import ResNet

FAR = 10
"""How many times what is allowed a rival's first logits are off, to be told apart without more."""


def with_ties(
    parity: Parity, model: ResNet, outputs: Mapping[str, str], recording: Recording
) -> Parity:
    """With the other networks that the recording cannot tell from `model`, if they agree."""
    if not parity.agrees or not isinstance(getattr(model, "architecture", None), Architecture):
        return parity
    found = ties(model, outputs, recording)
    return replace(parity, ties=(*parity.ties, *found))


def ties(model: Any, outputs: Mapping[str, str], recording: Recording) -> tuple[str, ...]:
    """In words, every rival of an equal `model` that the recording finds equal too; () for a
    network whose modules are not its architecture's (`optimize`): its tensors fit no rival."""
    from converter.parity.comparing import torch_run

    if not isinstance(description(model), Architecture):
        return ()
    state = model.float().cpu().state_dict()
    tensors = {name: one.numpy() for name, one in state.items() if hasattr(one, "numpy")}
    if {name: one.shape for name, one in tensors.items()} != expected(model.architecture):
        return ()
    found = []
    for words, architecture in rivals(model.architecture):
        rival = torch_run.build(architecture, tensors)
        there = dict(rival.named_modules())  # a rival may have no pool
        named = {module: layer for module, layer in outputs.items() if module in there}
        if _may_tie(rival, named, recording.passes[0]):
            parity = compare_model(rival, named, recording, ("cpu",))
            found += [words] if parity.agrees else []
    return tuple(found)


def rivals(architecture: Architecture) -> Iterator[tuple[str, Architecture]]:
    """(what is other, the network) for each fact that names and shapes of tensors leave open."""
    seen = [architecture]
    for words, other in _rivals(architecture):
        if other not in seen:
            seen.append(other)
            yield words, other


def _rivals(architecture: Architecture) -> Iterator[tuple[str, Architecture]]:
    for row in TABLE:
        for changes in single_changes(architecture, KERAS, row.name):
            now = text(row.read(architecture)) if row.read else ""
            words = ", ".join(f"{name} {text(value)}" for name, value in changes.items())
            yield f"{words} in the place of {now}", changed(architecture, changes, KERAS)
    stem = architecture.stem
    words = "no activation behind the stem" if stem.activation else "an activation behind the stem"
    yield words, replace(architecture, stem=replace(stem, activation=not stem.activation))
    for number, layer in enumerate(architecture.head):
        if isinstance(layer.op, Activation):
            for name in other_activations(layer.op.name):
                words = f"{name} in the place of {layer.op.name} in {layer.name}"
                yield words, _with_head(architecture, number, replace(layer, op=Activation(name)))
    for number, blocks in enumerate(architecture.stages):
        otherwise = tuple(map(_padded_otherwise, blocks))
        stages = (*architecture.stages[:number], otherwise, *architecture.stages[number + 1 :])
        words = f"layer{number + 1}: what is strided padded by {_padding(otherwise)}"
        yield f"{words} in the place of {_padding(blocks)}", replace(architecture, stages=stages)


def _padded_otherwise(block: Block) -> Block:
    """A block with each strided window padded in another way, where there is one."""
    convs = tuple(
        conv.replace(padding=alike(conv.kernel[0], conv.stride[0], conv.padding))
        for conv in block.convs
    )
    shortcut = block.shortcut
    if shortcut and shortcut.pool:
        pool = shortcut.pool
        pool = pool.replace(padding=alike(pool.kernel[0], pool.stride[0], pool.padding))
        shortcut = replace(shortcut, pool=pool)
    return replace(block, convs=convs, shortcut=shortcut)


def _padding(blocks: Sequence[Block]) -> str:
    """The paddings of the strided windows that have any."""
    windows: list[Conv | Pool] = [conv for block in blocks for conv in block.convs]
    windows += [b.shortcut.pool for b in blocks if b.shortcut and b.shortcut.pool]
    found = [str(one.padding) for one in windows if one.stride[0] > 1 and one.kernel[0] > 1]
    return " and ".join(dict.fromkeys(found))


def alike(kernel: int, stride: int, padding: Padding) -> Padding:
    """Another padding with which a strided window reads the same of every map whose size is a
    multiple of the stride, and other numbers of other maps; the same one if there is none."""
    if stride == 1:
        return padding
    total = max(0, kernel - stride)
    low, high = total // 2, total - total // 2
    if padding == "same":
        return (low, high, low, high) if total else 0
    if padding == (low, high, low, high) or (padding == 0 and total == 0 and kernel > 1):
        return "same"
    if not isinstance(padding, int) or 2 * padding >= kernel:
        return padding
    unread = min(padding, (2 * padding - kernel) % stride)
    return (padding, padding - unread, padding, padding - unread) if unread else padding


def _with_head(architecture: Architecture, number: int, layer: Layer) -> Architecture:
    head = (*architecture.head[:number], layer, *architecture.head[number + 1 :])
    return replace(architecture, head=head)


class _ApartError(Exception):
    """A layer has shown the rival to be another network: the rest need not run."""


def _may_tie(rival: Any, outputs: Mapping[str, str], one: Pass) -> bool:
    """Whether no layer and no logit is so far off that the comparison is sure to find it."""
    from converter.parity.comparing import torch_run

    def look(module: str, layer: str, inputs: Any, result: Any) -> None:
        actual, sample = as_array(result), one.layers[layer]
        apart = difference(layer, sample.of(actual), sample.value)
        scale = max(float(np.abs(actual).max(initial=0.0)), float(np.abs(sample.value).max()))
        if apart.absolute > LAYER_GATES["float32"] * scale:
            raise _ApartError

    try:
        with torch_run.watched(rival, outputs, one.layers, look):
            results = torch_run.run(rival, one.input, "float32", "cpu")
    except (_ApartError, torch_run.CannotRunError):
        return False
    nothing: Array = np.zeros(0)
    return all(
        difference(name, results.get(name, nothing), expected).relative
        <= FAR * max(GATES["float32"], share(results.sums.get(name), expected, "float32"))
        for name, expected in one.logits.items()
    )
