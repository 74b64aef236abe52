"""Single layers of a graph: taken from the front of a chain, and placed in a module, each once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from converter.errors import MismatchError
from converter.files.shapes import Shapes
from converter.whole_model import ops as g
from converter.whole_model.graph import Graph, Node
from converter.whole_model.recognition.refusals import (
    CHANNELS_FIRST,
    ends_wrongly,
    unplaced,
)
from resnet_pt.architecture import (
    NON_NEGATIVE,
    Conv,
    Dropout,
    Norm,
    Padding,
    Pool,
)

OpType = TypeVar("OpType", bound=g.Op)


@dataclass
class Tokens:
    """A chain of layers, taken from the front; `last` is the one that was taken last."""

    nodes: list[Node]
    last: Node | None = None

    def take(self, kind: type[OpType]) -> tuple[Node, OpType] | None:
        """The next layer if it is of this kind."""
        if self.nodes and isinstance(self.nodes[0].op, kind):
            node = self.last = self.nodes.pop(0)
            return node, node.op  # type: ignore[return-value]
        return None

    def is_convolution(self) -> bool:
        """Whether a convolution comes next, with or without zeros around it."""
        return isinstance(self.behind_zeros(), g.Convolution)

    def is_front(self) -> bool:
        """Whether a convolution comes next, and another, with a norm or an activation between
        them, or neither: both are a deep stem's."""
        ops = [node.op for node in self.nodes if not isinstance(node.op, g.Pad | g.Scale)]
        places = [place for place, op in enumerate(ops) if isinstance(op, g.Convolution)][:2]
        between = ops[1 : places[1]] if places[:1] == [0] and places[1:] else [None] * 2
        return len(between) < 2 and all(
            isinstance(op, g.BatchNorm | g.Activation) for op in between
        )

    def behind_zeros(self) -> g.Op | None:
        """The next layer that is no padding."""
        ops = (node.op for node in self.nodes)
        return next((op for op in ops if not isinstance(op, g.Pad)), None)

    def refuse(self, place: str) -> MismatchError:
        """The error for a layer that has no place here, or for a chain that ends too early."""
        if self.nodes:
            return unplaced(self.nodes[0], place)
        if self.last is None or place == "the stem":
            return MismatchError(f"a convolution is missing: {place} has none")
        return ends_wrongly(self.last, place)


@dataclass
class Placing:
    """The graph, and what was placed so far: the layers and the outputs of modules, the nodes, the
    activations between layers, and the Lambda layers that are taken for sums."""

    graph: Graph
    shapes: Shapes
    theano: bool
    layers: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    placed: set[str] = field(default_factory=set)
    activations: dict[g.Activation, Node] = field(default_factory=dict)
    summed: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.nodes = self.graph.by_id()
        in_body = self.in_body()
        self.skipped = {
            node.id: node.inputs[0]
            for node in self.graph.nodes
            if isinstance(node.op, g.Identity)
            or node.op == g.Activation("linear")
            or (isinstance(node.op, Dropout) and node.id in in_body)
        }
        self.readers: dict[str, list[Node]] = {}
        for node in self.graph.nodes:
            if node.id not in self.skipped:
                for source in self.sources(node):
                    self.readers.setdefault(source, []).append(node)

    def in_body(self) -> set[str]:
        """Every tensor that leads to the last sum. A Dropout there does nothing at inference."""
        waiting = [node.id for node in self.graph.nodes if isinstance(node.op, g.Add)][-1:]
        found: set[str] = set()
        while waiting:
            id = waiting.pop()
            if id not in found:
                found.add(id)
                waiting += self.nodes[id].inputs
        return found

    def sources(self, node: Node) -> tuple[str, ...]:
        return tuple(self.resolve(source) for source in node.inputs)

    def resolve(self, id: str) -> str:
        """The tensor that an identity passes on."""
        while id in self.skipped:
            id = self.skipped[id]
        return id

    def is_activated(self, add: Node) -> bool:
        """Whether a sum is activated before anything reads it: a block as of 2015."""
        readers = self.readers.get(add.id, [])
        return len(readers) == 1 and isinstance(readers[0].op, g.Activation)

    # ---- single layers

    def conv(self, tokens: Tokens, module: str, place: str) -> Conv:
        zeros = self.pads(tokens)
        found = tokens.take(g.Convolution)
        if found is None:
            raise tokens.refuse(place)
        node, op = found
        height, width, inputs, outputs = self.shapes.kernel(node.layer)
        if op.depthwise:
            op, outputs = self.grouped(tokens, node, op, inputs, outputs), inputs
            inputs //= op.groups
        if (height, width) != op.kernel:
            raise MismatchError(
                f"{node.layer}/kernel is {height}x{width}, but model_config says "
                f"{op.kernel[0]}x{op.kernel[1]}"
            )
        if op.filters not in (0, outputs):
            raise MismatchError(
                f"{node.layer}/kernel has {outputs} filters, but model_config says {op.filters}"
            )
        self.place(module, node)
        return Conv(
            in_channels=inputs * op.groups,
            out_channels=outputs,
            kernel=op.kernel,
            stride=op.stride,
            padding=padding(node, op, zeros, self.theano),
            groups=op.groups,
            bias=op.bias,
            dilation=op.dilation,
        )

    def grouped(
        self, tokens: Tokens, node: Node, op: g.Convolution, filters: int, multiplier: int
    ) -> g.Convolution:
        """The grouped convolution that keras-applications 1.0.8 writes as DepthwiseConv2D,
        Reshape, a Lambda and Reshape (`resnet_common.py`, block3).

        What the Lambda computes is code, and not looked at: it is taken for the sum that stands
        there because its name and the layers around it are that code's, to the letter.
        """
        nodes, groups = tokens.nodes[:3], filters // multiplier
        expected = node.layer.removesuffix("_conv") + "_reduce"
        first, code, last = (one.op for one in nodes) if len(nodes) == 3 else (None, None, None)
        if not (
            isinstance(first, g.Reshape)
            and first.target[-3:] == (groups, multiplier, multiplier)
            and isinstance(code, g.Unknown)
            and code.class_name == "Lambda"
            and nodes[1].layer == expected
            and isinstance(last, g.Reshape)
            and last.target[-1] == filters
        ):
            raise unplaced(
                replace(node, op=g.Unknown("DepthwiseConv2D", "no ResNet has one by itself")),
                "the network",
            )
        self.placed |= {one.id for one in nodes}
        self.summed.append(nodes[1].layer)
        del tokens.nodes[:3]
        return replace(op, groups=groups)

    def norm(self, tokens: Tokens, module: str) -> Norm | None:
        found = tokens.take(g.BatchNorm)
        if found is None:
            return None
        node, op = found
        if op.axis not in ((-1, 1, 3) if module.startswith("head:") else self.channel_axes):
            raise unplaced(
                replace(node, op=g.Unknown("BatchNormalization", f"it normalises axis {op.axis}")),
                "the network",
            )
        self.place(module, node)
        scale = tokens.take(g.Scale)
        if scale:
            self.place(f"{module}.scale", scale[0])
            self.outputs[module] = scale[0].layer
        return Norm(
            channels=self.shapes.vector(node.layer),
            eps=op.eps,
            momentum=round(1 - op.momentum, 12),
            gamma=op.gamma,
            beta=op.beta,
            rescale=scale is not None,
        )

    @property
    def channel_axes(self) -> tuple[int, ...]:
        return (1, -3) if self.graph.channels_first else (3, -1)

    def act(self, tokens: Tokens) -> bool:
        found = tokens.take(g.Activation)
        if found is None:
            return False
        self.placed.add(found[0].id)
        self.activations.setdefault(found[1], found[0])
        self.forget_inner(found[0])
        return True

    def is_positive(self) -> bool:
        """Whether what is activated is never below zero."""
        return {one.name for one in self.activations} <= NON_NEGATIVE

    def forget_inner(self, activation: Node) -> None:
        """A layer with an activation of its own shows only what comes out of that."""
        if activation.id.endswith("/activation"):
            for module in [key for key, one in self.outputs.items() if one == activation.layer]:
                del self.outputs[module]

    def pool(self, tokens: Tokens, positive: bool, module: str = "") -> Pool | None:
        if not isinstance(tokens.behind_zeros(), g.Pooling):
            return None
        first, zeros, lowest = tokens.nodes[0], self.pads(tokens), self.pads(tokens, -math.inf)
        sides = lowest if any(lowest) else zeros
        found = tokens.take(g.Pooling)
        if found is None or (any(zeros) and any(lowest)):
            mixed = g.Unknown("Pad", "zeros and -inf are set around one pool")
            raise unplaced(replace(first, op=mixed), "the network")
        node, op = found
        if module:
            self.outputs[module] = node.layer
        self.placed.add(node.id)
        if any(sides) and op.mode == "avg":
            raise unplaced(first, "front of an average pool")
        amount = padding(node, op, sides, self.theano)
        within = max(sides) < min(op.kernel)  # every window reaches the map
        fill: Any = "zero" if any(zeros) and not (positive and within) else "-inf"
        return Pool(op.kernel, op.stride, amount, fill, op.mode)

    def pads(self, tokens: Tokens, value: float = 0.0) -> g.Sides:
        """How many zeros, or others of a value, are set around what comes next: by one layer, or
        by several in a row."""
        left = right = top = bottom = 0
        while tokens.nodes and isinstance(tokens.nodes[0].op, g.Pad):
            node, op = tokens.nodes[0], tokens.nodes[0].op
            if op.value != value:
                break
            tokens.last = tokens.nodes.pop(0)
            if op.is_last and self.graph.channels_first:
                raise unplaced(replace(node, op=g.Unknown("Pad", CHANNELS_FIRST)), "the network")
            self.placed.add(node.id)
            left, right = left + op.sides[0], right + op.sides[1]
            top, bottom = top + op.sides[2], bottom + op.sides[3]
        return left, right, top, bottom

    def place(self, module: str, node: Node) -> None:
        other = next((key for key, layer in self.layers.items() if layer == node.layer), None)
        if other is not None:
            raise MismatchError(
                f"layer {node.layer!r} is used twice (as {other} and {module}): shared weights "
                "cannot be carried over"
            )
        self.layers[module] = node.layer
        self.outputs[module] = node.layer
        self.placed.add(node.id)


def padding(node: Node, op: g.Convolution | g.Pooling, sides: g.Sides, theano: bool) -> Padding:
    """Zeros around a layer's input, in the plainest form that says the same.

    'same' with stride 1 and an odd window is a fixed number on all sides; Theano's 'same' always
    is: half the window (keras 1.2.2 and 2.x `backend/theano_backend.py`, border_mode 'half').
    """
    dilation = op.dilation if isinstance(op, g.Convolution) else (1, 1)
    reach = tuple(d * (k - 1) + 1 for k, d in zip(op.kernel, dilation, strict=True))
    if op.padding == "same" and reach != (1, 1):
        odd = all(size % 2 for size in reach)
        if not theano and not (op.stride == (1, 1) and odd):
            if any(sides):
                raise unplaced(node, "a place behind zero padding, with 'same' padding of its own")
            return "same"
        rows, columns = (size // 2 for size in reach)
        sides = (sides[0] + columns, sides[1] + columns, sides[2] + rows, sides[3] + rows)
    elif op.padding not in ("same", "valid"):
        raise unplaced(node, f"a place with padding {op.padding!r}")
    return sides[0] if len(set(sides)) == 1 else sides
