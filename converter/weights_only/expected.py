"""A network as Keras lists its layers, with those that have no weights in their places.

Keras orders the layers of a model by decreasing depth, which is the longest way to an output; those
of one depth in the order in which it meets them from the output on, the first input of a sum first
(before 1.0.8 by name, which for known code is one input of the sums first, or the other). keras
1.0.8 to 2.3.1 `engine/topology.py`, `engine/network.py`; keras 3.15 `src/ops/function.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from resnet_pt.architecture import Architecture, Block, Conv, Norm, Shortcut

ACTIVATION, SUM, PAD, REGROUP = "activation", "sum", "padding", "regrouping"
MAX, AVERAGE = "max-pool", "average-pool"

Padded = Literal["none", "strided", "wide"]
"""Which convolutions of the blocks read a padding layer: none, the strided or all wide ones."""


@dataclass(frozen=True, slots=True)
class Place:
    """A layer in a list: `module` is the torch module that it fills, if it has weights; else its
    `kind` says what it does. An `optional` one may be a layer or not in one and the same network:
    what it does is then done by the layer behind it, or is another fact (the stem's pool)."""

    kind: str = ""
    module: str = ""
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Code:
    """What two programs may do differently and compute the same: which input of a sum is the first
    one, which convolutions in blocks are padded by a layer, and whether grouped ones are depthwise
    ones whose channels are then summed (transforms.Regroup)."""

    shortcut_first: bool
    padded: Padded
    is_regrouped: bool = False


class _Graph:
    """Places, each with those that it reads, in an order in which they can run."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self.inputs: list[tuple[int, ...]] = []

    def add(self, place: Place, *inputs: int) -> int:
        self.places.append(place)
        self.inputs.append(tuple(one for one in inputs if one >= 0))
        return len(self.places) - 1

    def chain(self, start: int, places: Sequence[Place]) -> int:
        """Places that each read the one before; the number of the last one."""
        for place in places:
            start = self.add(place, start)
        return start

    def listed(self) -> tuple[Place, ...]:
        """By decreasing depth, and, where that is one, as they are met from the end on."""
        depths = [0] * len(self.places)
        for number in reversed(range(len(self.places))):
            for source in self.inputs[number]:
                depths[source] = max(depths[source], depths[number] + 1)
        met: dict[int, int] = {}
        waiting = [len(self.places) - 1]
        while waiting:
            number = waiting.pop()
            if number not in met:
                met[number] = len(met)
                waiting += reversed(self.inputs[number])
        order = sorted(met, key=lambda number: (-depths[number], met[number]))
        return tuple(self.places[number] for number in order)


def keras_order(architecture: Architecture, code: Code) -> tuple[Place, ...]:
    """The places of a network from its stem's first convolution to the end of its last block, or
    to the activation behind its last norm. Those in front of it, and a head's, are not among
    them."""
    graph, stem = _Graph(), architecture.stem
    end = -1
    for number, (_, norm) in enumerate(stem.deep):
        end = graph.chain(end, [Place(module=f"conv1.{3 * number}")])
        end = graph.chain(end, [*_norm(f"conv1.{3 * number + 1}", norm), *_ACTIVATED, _MAY_PAD])
    end = graph.chain(end, [Place(module=stem.module), *_norm("bn1", stem.norm)])
    end = graph.chain(end, _ACTIVATED if stem.activation else [])
    end = graph.chain(end, [_MAY_PAD, Place(MAX, optional=True)] if stem.pool else [])
    for stage, blocks in enumerate(architecture.stages, start=1):
        for index, block in enumerate(blocks):
            end = _add_block(graph, end, block, f"layer{stage}.{index}", code)
    if architecture.norm:
        graph.chain(end, [*_norm("norm", architecture.norm), Place(ACTIVATION)])
    return graph.listed()


def _add_block(graph: _Graph, start: int, block: Block, name: str, code: Code) -> int:
    """A block's places, and the number of its last one."""
    main = first = start
    for number, (conv, norm) in enumerate(zip(block.convs, block.norms, strict=True), start=1):
        normed = _norm(f"{name}.bn{number}", norm)
        convolved = _conv(f"{name}.conv{number}", conv, code)
        if block.preactivation:
            main = graph.chain(main, [*normed, *_ACTIVATED] if norm else [])
            first = main if number == 1 else first
            main = graph.chain(main, convolved)
        else:
            is_last = number == len(block.convs)
            main = graph.chain(main, [*convolved, *normed, *([] if is_last else _ACTIVATED)])
    short = _add_shortcut(graph, start, first, block.shortcut, name)
    joined = (short, main) if code.shortcut_first else (main, short)
    end = graph.add(Place(SUM), *joined)
    return graph.chain(end, _ACTIVATED if block.activated and not block.preactivation else [])


_ACTIVATED = (Place(ACTIVATION),)
_MAY_PAD = Place(PAD, optional=True)
_REGROUPED = (Place(REGROUP),) * 3
"""Reshape, Lambda, Reshape: keras-applications 1.0.8 resnet_common.py, block3."""


def _add_shortcut(
    graph: _Graph, start: int, first: int, shortcut: Shortcut | None, name: str
) -> int:
    if shortcut is None:
        return start
    places = [Place(AVERAGE if shortcut.pool.mode == "avg" else MAX)] if shortcut.pool else []
    if shortcut.conv:
        places.append(Place(module=f"{name}.downsample.0"))
    places += _norm(f"{name}.downsample.1", shortcut.norm)
    return graph.chain(first if shortcut.source == "preactivation" else start, places)


def _conv(module: str, conv: Conv, code: Code) -> list[Place]:
    """A convolution, with what pads in front of it."""
    is_wide = conv.kernel != (1, 1)
    is_strided = conv.stride != (1, 1)
    pads = is_wide and (code.padded == "wide" or (code.padded == "strided" and is_strided))
    regrouped = _REGROUPED if code.is_regrouped and conv.groups > 1 else ()
    return [*([Place(PAD)] if pads else []), Place(module=module), *regrouped]


def _norm(module: str, norm: Norm | None) -> list[Place]:
    """A norm, with the Scale layer behind it, if it has one."""
    if norm is None:
        return []
    scale = [Place(module=f"{module}.scale")] if norm.rescale else []
    return [Place(module=module), *scale]
