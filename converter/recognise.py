"""A graph → the residual network that it is, whatever its layers are called.

A residual network is read from its sums: each Add closes a block, the two ways into it part at
one tensor, and what lies before that tensor belongs to the block before (its activation), to
this one (a shared pre-activation), or to the stem. Every layer of the graph has to find its
place; one that does not is named in the refusal.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from converter import graph as g
from converter.arithmetic import Channels, Rescaling, Reverse, Stack, Value, plus, times
from converter.errors import MismatchError
from converter.families import ONLY_RESNETS, WITH_SUMS, family
from converter.graph import Graph, Node
from converter.structure import NORMALIZATION_EPS, Shapes, Structure
from resnet_pt.architecture import (
    ACTIVATIONS,
    BETWEEN_LAYERS,
    NON_NEGATIVE,
    Architecture,
    Block,
    Conv,
    Front,
    HeadKind,
    HeadLayer,
    Norm,
    Output,
    Padding,
    Pool,
    Shortcut,
    Stem,
)
from resnet_pt.tensors import head_prefix

OpType = TypeVar("OpType", bound=g.Op)


def recognise(graph: Graph, shapes: Shapes, theano: bool = False) -> Structure:
    """The network in a graph; `theano` says that its 'same' padding was Theano's.

    Raises MismatchError for a graph that is no residual network of a known kind.
    """
    try:
        return _Recogniser(graph, shapes, theano).run()
    except MismatchError as error:
        another = family((node.layer for node in graph.nodes), WITH_SUMS)
        if another is None:
            raise
        found = [f"it looks like {another}", error.headline]
        raise MismatchError("the model is not a ResNet", found, [ONLY_RESNETS]) from error


@dataclass
class Tokens:
    """A chain of layers, taken from the front."""

    nodes: list[Node]

    def take(self, kind: type[OpType]) -> tuple[Node, OpType] | None:
        """The next layer if it is of this kind."""
        if self.nodes and isinstance(self.nodes[0].op, kind):
            node = self.nodes.pop(0)
            return node, node.op  # type: ignore[return-value]
        return None

    def is_convolution(self) -> bool:
        """Whether a convolution comes next, with or without zeros around it."""
        return isinstance(self.behind_zeros(), g.Convolution)

    def begins_with_two_convolutions(self) -> bool:
        """Whether nothing but an activation stands between the next convolution and another."""
        ops = [node.op for node in self.nodes if not isinstance(node.op, g.Pad)]
        between = ops[1:2] if ops[2:] and isinstance(ops[1], g.Activation) else []
        pair = (*ops[:1], *ops[1 + len(between) : 2 + len(between)])
        return len(pair) == 2 and all(isinstance(op, g.Convolution) for op in pair)

    def behind_zeros(self) -> g.Op | None:
        """The next layer that is no padding."""
        ops = (node.op for node in self.nodes)
        return next((op for op in ops if not isinstance(op, g.Pad)), None)

    def refuse(self, place: str) -> MismatchError:
        """The error for a layer that has no place here."""
        node = self.nodes[0]
        return unplaced(node, place)


def unplaced(node: Node, place: str) -> MismatchError:
    op = node.op
    if isinstance(op, g.PReLU):
        op = g.Unknown("PReLU", "its slopes are weights, and such layers are read in a head alone")
    if isinstance(op, g.Unknown):
        return MismatchError(
            f"layer {node.layer!r} ({op.class_name}) cannot be carried over: {op.reason}",
            [f"it stands in {place}"],
            [INSTEAD.get(place, "only networks of residual blocks as published can be converted")],
        )
    return MismatchError(
        f"layer {node.layer!r} ({g.class_name(op)}) does not belong in {place} of a ResNet",
        hints=[WHOLE_BLOCKS if place == "the head" else SHOWN_BY],
    )


def unactivated(add: str) -> MismatchError:
    """The error for a sum of two norms that nothing activates: a model that is cut there."""
    return MismatchError(
        f"no activation reads {add!r} alone, and a block that ends in a norm has one behind its "
        "sum",
        hints=[WHOLE_BLOCKS],
    )


def gated(node: Node, pool: str) -> MismatchError:
    """The error for a map that is joined with what a pool of it gives, within a block."""
    return MismatchError(
        f"{node.layer!r} joins a map with what comes out of {pool!r}, within a block: a network of "
        "squeeze-and-excitation blocks (SE-ResNet), or of attention",
        hints=[ONLY_RESNETS],
    )


CUT = "end the model before it (keras.Model(model.input, layer.output)), convert that, and do the"
INSTEAD = {
    "the stem": "save the model that begins behind it, and do its work before the network",
    "the head": f"{CUT} rest in PyTorch",
}
"""What to do about a layer that cannot be carried over, by the place where it stands."""

CHANNELS_FIRST = "it works on axes 1 and 2, and channels come first"
OVER_WIDTH = "it works on the last axis of a map, whose channels come first"
NOT_THE_SAME = "it is none of those that torch is known to compute as Keras does"
SHOWN_BY = "`inspect-weights FILE` shows what is in the file"
WHOLE_BLOCKS = (
    "end the model behind a whole block, which is its sum and the activation of that "
    "(keras.Model(model.input, layer.output)), convert that, and do the rest in PyTorch"
)


WHOLE_STAGES = "save a model that ends in one head, or in the maps of whole stages: "


@dataclass
class _Recogniser:
    graph: Graph
    shapes: Shapes
    theano: bool
    layers: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)
    placed: set[str] = field(default_factory=set)
    activations: dict[g.Activation, Node] = field(default_factory=dict)
    summed: list[str] = field(default_factory=list)
    cut: Node | None = None
    vectors: set[str] = field(default_factory=set)
    """The layers of the head that are global pools, or read nothing else."""
    maps: set[str] = field(default_factory=lambda: {""})
    """Those that give a map."""
    features: int = 0
    """Channels of the last block's map."""

    def __post_init__(self) -> None:
        self.nodes = self.graph.by_id()
        in_body = self.in_body()
        self.skipped = {
            node.id: node.inputs[0]
            for node in self.graph.nodes
            if isinstance(node.op, g.Identity)
            or node.op == g.Activation("linear")
            or (isinstance(node.op, g.Dropout) and node.id in in_body)
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

    def run(self) -> Structure:
        sums = [node for node in self.graph.nodes if isinstance(node.op, g.Add)]
        if not sums:
            self.check_known()
            raise MismatchError(
                "the model has no residual sums: it is not a ResNet",
                [f"it looks like {describe(self.graph)}"],
                [ONLY_RESNETS],
            )
        self.check_sums(sums)
        self.cut = self.cut_at(sums)
        splits = [self.split(add) for add in sums]
        stem, leftover = self.stem(splits[0].before)
        blocks = [self.block(0, splits[0], leftover)]
        for number, split in enumerate(splits[1:], start=1):
            blocks.append(self.block(number, split, Tokens(self.own(sums[number - 1], split))))
        stages = self.stages(blocks)
        self.name_blocks(stages, sums)
        norm, head, outputs = self.tail(sums, stages)
        activation = self.network_activation()
        architecture = Architecture(
            stem=stem,
            stages=stages,
            norm=norm,
            head=head,
            outputs=outputs,
            activation=activation.name,
            slope=activation.slope,
            input_size=self.input_size(),
        )
        self.check_all_placed()
        return Structure(
            architecture=architecture,
            layers=self.named(architecture),
            outputs=self.outputs,
            assumed=tuple(self.summed),
            channels_first=self.graph.channels_first,
        )

    def check_known(self) -> None:
        """Refuse a model whose network may be in a layer that is not known, or joined by one."""
        for node in self.graph.nodes:
            if isinstance(node.op, g.Unknown) and node.op.class_name in g.JOINS:
                raise unplaced(node, "the place of a sum")
            if isinstance(node.op, g.Unknown) and node.op.class_name not in (
                "Lambda",
                "TFOpLambda",
            ):
                raise MismatchError(
                    f"layer {node.layer!r} is of a class of its own, {node.op.class_name!r}: what "
                    "it computes is in its code, and not in the model_config",
                    hints=["if it is the ResNet, convert the weights alone: model.save_weights"],
                )

    # ---- splitting the graph at its sums

    def check_sums(self, sums: Sequence[Node]) -> None:
        """Refuse a sum behind a global pool, Flatten or Dense layer: it closes no block."""
        in_head: dict[str, str] = {}
        gates: list[MismatchError] = []
        for node in self.graph.nodes:
            before = [in_head[source] for source in self.sources(node) if source in in_head]
            if before and node in sums and gates:
                raise gates[0]
            if before and node in sums:
                raise MismatchError(
                    f"{node.layer!r} adds what comes out of {before[0]!r}: sums within a head, and "
                    "blocks that pool or have Dense layers, cannot be carried over",
                    hints=[f"in a head, {CUT} rest in PyTorch"],
                )
            if len(node.inputs) > len(before) > 0 and isinstance(node.op, g.Unknown):
                gates.append(gated(node, before[0]))
            if before or isinstance(node.op, HEAD_BEGINS):
                in_head[node.id] = before[0] if before else node.layer

    def chain(self, id: str) -> list[Node]:
        """The layers that lead to a tensor, back to the last sum or input (included), in order."""
        found: list[Node] = []
        while True:
            node = self.nodes[id]
            found.append(node)
            if isinstance(node.op, g.Input | g.Add) or not node.inputs:
                return found[::-1]
            if len(node.inputs) != 1:
                raise unplaced(node, "a block")
            id = self.resolve(node.inputs[0])

    def split(self, add: Node) -> Split:
        if not add.inputs:
            raise MismatchError(
                f"the model_config does not say what {add.layer!r} adds: Keras loses the graph of "
                "a model whose layers were given other names",
                hints=["convert the weights alone: model.save_weights"],
            )
        if len(add.inputs) != 2:
            raise MismatchError(f"{add.layer!r} adds {len(add.inputs)} tensors; a block adds two")
        one, other = (self.chain(source) for source in self.sources(add))
        shared = 0
        while shared < min(len(one), len(other)) and one[shared] is other[shared]:
            shared += 1
        if not shared:
            raise MismatchError(
                f"the two ways into {add.layer!r} start at different layers, {one[0].layer!r} and "
                f"{other[0].layer!r}: it closes no residual block (a feature pyramid, a decoder "
                "or an ensemble has such sums)",
                hints=[WHOLE_BLOCKS],
            )
        before, ways = one[:shared], [one[shared:], other[shared:]]
        for node in (*ways[0], *ways[1]):
            # A Lambda may be the sum of a grouped convolution, which is read with its layers.
            if isinstance(node.op, g.Unknown) and node.op.class_name != "Lambda":
                raise unplaced(node, f"the block that {add.layer!r} closes")
        ways.sort(key=lambda way: sum(isinstance(n.op, g.Convolution) for n in way))
        return Split(add, before, short=ways[0], long=ways[1])

    def own(self, previous: Node, split: Split) -> list[Node]:
        """What lies between the previous sum and the parting of the ways."""
        start, *rest = split.before
        if start is not previous:
            raise MismatchError(f"{split.add.layer!r} does not follow {previous.layer!r}")
        if not self.is_activated(previous):
            return rest
        tokens = Tokens(rest)
        self.act(tokens)
        return tokens.nodes

    def is_activated(self, add: Node) -> bool:
        """Whether a sum is activated before anything reads it: a block as of 2015."""
        readers = self.readers.get(add.id, [])
        return len(readers) == 1 and isinstance(readers[0].op, g.Activation)

    def cut_at(self, sums: Sequence[Node]) -> Node | None:
        """The last sum, if nothing activates it and something does the one before it: a model of
        2015's blocks that was cut there."""
        is_cut = len(sums) > 1 and self.is_activated(sums[-2]) and not self.is_activated(sums[-1])
        return sums[-1] if is_cut else None

    # ---- the parts

    def stem(self, nodes: Sequence[Node]) -> tuple[Stem, Tokens]:
        tokens = Tokens(list(nodes))
        source = tokens.take(g.Input)
        if source is None:
            raise tokens.refuse("the stem")
        self.placed.add(source[0].id)
        channels, rescaling = self.picture(tokens, source[1].shape)
        data_norm = self.normalization(tokens) or self.norm(tokens, "bn_data")
        front = self.front(tokens)
        deep: list[tuple[Conv, Norm]] = []
        conv, norm, activated = self.stem_conv(tokens, 0)
        while norm and activated and tokens.is_convolution():
            deep.append((conv, norm))
            conv, norm, activated = self.stem_conv(tokens, len(deep))
        self.rename_stem(len(deep))
        pool = self.pool(tokens, activated and self.is_positive(), "maxpool")
        stem = Stem(conv, norm, activated, pool, data_norm, channels, rescaling, tuple(deep), front)
        return stem, tokens

    def front(self, tokens: Tokens) -> tuple[Front, ...]:
        """The convolutions before the stem's own: no norm comes between them and the next one."""
        found: list[Front] = []
        while tokens.begins_with_two_convolutions():
            number = 2 * len(found)
            conv = self.conv(tokens, f"front.{number}", "the stem")
            found.append(Front(conv, self.front_activation(tokens, f"front.{number + 1}")))
        return tuple(found)

    def front_activation(self, tokens: Tokens, module: str) -> str:
        taken = tokens.take(g.Activation)
        if taken is None:
            return "linear"
        node, op = taken
        over_width = op.name == "softmax" and self.graph.channels_first
        if op.name not in ACTIVATIONS or over_width:
            reason = OVER_WIDTH if over_width else NOT_THE_SAME
            raise unplaced(replace(node, op=g.Unknown(op.name, reason)), "the stem")
        self.forget_inner(node)
        self.outputs[module] = node.layer
        self.placed.add(node.id)
        return op.name

    def stem_conv(self, tokens: Tokens, number: int) -> tuple[Conv, Norm | None, bool]:
        """A convolution of the stem, with the norm and activation behind it."""
        conv = self.conv(tokens, f"conv1.{3 * number}", "the stem")
        return conv, self.norm(tokens, f"conv1.{3 * number + 1}"), self.act(tokens)

    def rename_stem(self, deep: int) -> None:
        """The last norm of the stem is `bn1`, and an only convolution `conv1`."""
        names = {f"conv1.{3 * deep + 1}": "bn1"} | ({} if deep else {"conv1.0": "conv1"})
        for table in (self.layers, self.outputs):
            for old, new in names.items():
                for suffix in ("", ".scale"):
                    if old + suffix in table:
                        table[new + suffix] = table.pop(old + suffix)

    def picture(
        self, tokens: Tokens, shape: tuple[int | None, ...]
    ) -> tuple[tuple[int, ...], tuple[Value, Value] | None]:
        """(channels, rescaling) of everything that is done to the picture, as one of each."""
        channels: tuple[int, ...] = ()
        rescaling: tuple[Value, Value] | None = None
        while tokens.nodes and isinstance(tokens.nodes[0].op, PICTURE):
            node = tokens.nodes.pop(0)
            self.placed.add(node.id)
            if isinstance(node.op, Rescaling):
                scale, offset = rescaling or (1.0, 0.0)
                rescaling = _then(node, scale, offset)
                continue
            picks = self.picks(node, channels, shape)
            channels = tuple((channels or range(max(picks) + 1))[number] for number in picks)
            if rescaling:
                scale, offset = (_picked(one, picks) for one in rescaling)
                rescaling = scale, offset
        return channels, rescaling

    def picks(
        self, node: Node, channels: tuple[int, ...], shape: tuple[int | None, ...]
    ) -> tuple[int, ...]:
        """The numbers of the channels that a node takes of those that it gets."""
        count = len(channels) or (shape[-1] if len(shape) == 4 else None)
        if count is None or self.graph.channels_first:
            why = "the number of channels is not said" if count is None else "channels come first"
            raise unplaced(replace(node, op=g.Unknown(g.class_name(node.op), why)), "the stem")
        if isinstance(node.op, Reverse):
            return tuple(range(count))[::-1]
        assert isinstance(node.op, Channels)
        chosen = [range(count) if one is None else (one % count,) for one in node.op.picks]
        return tuple(number for some in chosen for number in some)

    def normalization(self, tokens: Tokens) -> Norm | None:
        """Keras' Normalization, as a norm without gamma and beta."""
        found = tokens.take(g.Normalization)
        if found is None:
            return None
        node, op = found
        if op.axis not in self.channel_axes:
            reason = f"it normalises axis {op.axis}"
            raise unplaced(replace(node, op=g.Unknown("Normalization", reason)), "the stem")
        self.place("bn_data", node)
        return Norm(
            self.shapes.vector(node.layer), NORMALIZATION_EPS, 0.01, gamma=False, beta=False
        )

    def block(self, number: int, split: Split, shared: Tokens) -> Block:
        """Block `number` of the network, with module names `@number.…` until stages are known."""
        name = f"@{number}"
        self.placed.add(split.add.id)
        for reader in self.readers.get(split.add.id, []):
            if isinstance(reader.op, g.Unknown):
                raise unplaced(reader, f"the place behind {split.add.layer!r}")
        activated = self.is_activated(split.add)
        preactivation = not activated and split.add is not self.cut
        has_shared = bool(shared.nodes)
        if has_shared and not preactivation and not number and is_convolved(shared.nodes):
            raise MismatchError(
                "a layer stands between the input and the network's own stem: "
                f"{next(iter(self.layers.values()))!r}",
                hints=[INSTEAD["the stem"]],
            )
        if has_shared and not preactivation:
            raise shared.refuse(f"the start of the block that {split.add.layer!r} closes")
        long = Tokens([*shared.nodes, *split.long])
        parse = self.before if preactivation else self.after
        convs, norms = parse(long, name, split.add.layer)
        is_raw = preactivation and not has_shared
        shortcut = self.shortcut(Tokens(list(split.short)), name, split, has_shared, is_raw)
        if len(convs) not in (2, 3):
            raise MismatchError(
                f"the block that {split.add.layer!r} closes has {len(convs)} convolutions; "
                "a basic block has 2, a bottleneck 3"
            )
        activated |= preactivation
        return Block(tuple(convs), tuple(norms), shortcut, preactivation, activated)

    def after(self, tokens: Tokens, name: str, where: str) -> tuple[list[Conv], list[Norm | None]]:
        convs: list[Conv] = []
        norms: list[Norm | None] = []
        place = f"the block that {where!r} closes"
        while tokens.nodes:
            if convs and not self.act(tokens):
                raise tokens.refuse(place)
            number = len(convs) + 1
            convs.append(self.conv(tokens, f"{name}.conv{number}", place))
            norms.append(self.norm(tokens, f"{name}.bn{number}"))
        return convs, norms

    def before(self, tokens: Tokens, name: str, where: str) -> tuple[list[Conv], list[Norm | None]]:
        convs: list[Conv] = []
        norms: list[Norm | None] = []
        place = f"the block that {where!r} closes"
        while tokens.nodes:
            number = len(convs) + 1
            norms.append(self.norm(tokens, f"{name}.bn{number}"))
            activated = self.act(tokens)
            if activated != (norms[-1] is not None) and (activated or number > 1):
                raise unplaced(tokens.nodes[0], place) if tokens.nodes else unactivated(where)
            convs.append(self.conv(tokens, f"{name}.conv{number}", place))
        return convs, norms

    def shortcut(
        self, tokens: Tokens, name: str, split: Split, has_shared: bool, is_raw: bool
    ) -> Shortcut | None:
        """What `is_raw` was not activated: it can be negative."""
        if not tokens.nodes:
            return None if not has_shared else Shortcut(source="preactivation")
        pool = self.pool(tokens, not is_raw and self.is_positive(), f"{name}.downsample.pool")
        place = f"the shortcut into {split.add.layer!r}"
        conv = None
        if tokens.nodes:
            conv = self.conv(tokens, f"{name}.downsample.0", place)
        norm = self.norm(tokens, f"{name}.downsample.1")
        if tokens.nodes:
            raise tokens.refuse(place)
        return Shortcut(conv, norm, pool, "preactivation" if has_shared else "input")

    # ---- single layers

    def conv(self, tokens: Tokens, module: str, place: str) -> Conv:
        zeros = self.pads(tokens)
        found = tokens.take(g.Convolution)
        if found is None:
            raise (
                tokens.refuse(place)
                if tokens.nodes
                else MismatchError(f"a convolution is missing at the end of {place}")
            )
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

    def network_activation(self) -> g.Activation:
        found = list(self.activations.items())
        if len(found) > 1:
            names = [f"leaky_relu {one.slope:g}" if one.slope else one.name for one, _ in found]
            raise MismatchError(
                f"the network mixes activations: {', '.join(names)}",
                [
                    f"{name}: first in {node.layer!r}"
                    for name, (_, node) in zip(names, found, strict=True)
                ],
            )
        for one, node in found:
            if one.name not in BETWEEN_LAYERS:
                raise MismatchError(
                    f"activation {one.name!r} of {node.layer!r} cannot be carried over: "
                    f"{NOT_THE_SAME}"
                )
            if one.name == "softmax" and self.graph.channels_first:
                raise unplaced(replace(node, op=g.Unknown("Softmax", OVER_WIDTH)), "a block")
        return found[0][0] if found else g.Activation("relu")

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
            tokens.nodes.pop(0)
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

    # ---- from a list of blocks to stages with names

    def stages(self, blocks: Sequence[Block]) -> tuple[tuple[Block, ...], ...]:
        """A new stage starts with a projection, and where the number of channels changes."""
        stages: list[list[Block]] = []
        for block in blocks:
            projected = block.shortcut is not None and block.shortcut.conv is not None
            if not stages or projected or block.out_channels != stages[-1][-1].out_channels:
                stages.append([])
            stages[-1].append(block)
        return tuple(tuple(stage) for stage in stages)

    def name_blocks(self, stages: Sequence[Sequence[Block]], sums: Sequence[Node]) -> None:
        names = [f"layer{s}.{i}" for s, stage in enumerate(stages, 1) for i in range(len(stage))]
        renamed = {f"@{number}": name for number, name in enumerate(names)}
        for table in (self.layers, self.outputs):
            for module in [key for key in table if key.startswith("@")]:
                block, _, rest = module.partition(".")
                table[f"{renamed[block]}.{rest}"] = table.pop(module)
        for name, add in zip(names, sums, strict=True):
            last = self.readers[add.id][0] if self.is_activated(add) else add
            self.outputs[name] = last.layer

    # ---- after the last block

    def tail(
        self, sums: Sequence[Node], stages: Sequence[Sequence[Block]]
    ) -> tuple[Norm | None, tuple[HeadLayer, ...], tuple[Output, ...]]:
        last, norm = sums[-1], None
        features = last
        if self.is_activated(last):
            features = self.readers[last.id][0]
            self.act(Tokens([features]))
        elif is_activated_norm(self.line(last)):
            tokens = Tokens(self.line(last))
            norm = self.norm(tokens, "norm")
            features = tokens.nodes[0]
            self.act(tokens)
        self.features = stages[-1][-1].out_channels
        head = self.head(features)
        if len(set(self.graph.outputs)) != len(self.graph.outputs) or not self.graph.outputs:
            raise MismatchError("the model has no output, or lists one twice")
        maps = self.stage_maps(sums, stages)
        outputs = tuple(self.output(id, features, head, maps) for id in self.graph.outputs)
        used = {output.layer for output in outputs}
        for layer in reversed(head):  # a final softmax leads to no output
            used |= set(layer.sources) if layer.name in used else set()
        return norm, tuple(layer for layer in head if layer.name in used), outputs

    def line(self, node: Node) -> list[Node]:
        """The layers after a node, for as long as each has one reader."""
        found: list[Node] = []
        while len(self.readers.get(node.id, [])) == 1:
            node = self.readers[node.id][0]
            found.append(node)
        return found

    def head(self, features: Node) -> tuple[HeadLayer, ...]:
        """Every layer after the features, each with the one it reads."""
        names = {features.id: ""}
        found: list[HeadLayer] = []
        for node in self.graph.nodes:
            sources = [names[source] for source in self.sources(node) if source in names]
            if not sources or node.id in self.placed or node.id in self.skipped:
                continue
            if isinstance(node.op, Channels) and set(node.op.picks) == {None}:
                layer = self.joined(node, sources * len(node.op.picks))
            elif len(node.inputs) == 1:
                built_in = node.id.endswith("/activation")
                name = f"{node.layer}_activation" if built_in else node.layer
                layer = self.head_layer(node, name, sources[0])
            else:
                layer = self.joined(node, sources)
            if layer.source in self.maps and not layer.ends_maps:
                self.maps.add(layer.name)
            if layer.kind.startswith("global") or self.vectors.issuperset(layer.sources):
                self.vectors.add(layer.name)
            names[node.id] = layer.name
            found.append(layer)
            self.placed.add(node.id)
        return tuple(found)

    def joined(self, node: Node, sources: Sequence[str]) -> HeadLayer:
        """Vectors side by side, as of an average and a maximum over the map."""
        all_in_head = len(sources) >= len(node.inputs) and self.vectors.issuperset(sources)
        is_joined = isinstance(node.op, Channels) or (
            isinstance(node.op, Stack) and not node.op.is_new
        )
        if not is_joined or not all_in_head:
            reason = "it joins several layers, and not the vectors of global pools alone"
            raise unplaced(replace(node, op=g.Unknown(g.class_name(node.op), reason)), "the head")
        return HeadLayer(node.layer, "concat", sources[0], joined=tuple(sources[1:]))

    def head_layer(self, node: Node, name: str, source: str) -> HeadLayer:
        op = node.op
        if isinstance(op, g.Dense) and source in self.maps:
            reason = "it reads a map, pixel by pixel: a pool or a Flatten has to come before"
            raise unplaced(replace(node, op=g.Unknown("Dense", reason)), "the head")
        if isinstance(op, g.Dense):
            inputs, outputs = self.shapes.dense(node.layer)
            if op.units != outputs:
                raise MismatchError(
                    f"{node.layer}/kernel has {outputs} units, but model_config says {op.units}"
                )
            self.place(f"head:{name}", node)
            return HeadLayer(name, "dense", source, inputs, outputs, op.bias)
        if isinstance(op, g.Convolution) and not op.depthwise:
            if source in self.vectors:
                reason = "it reads a vector, which it takes for a map of one pixel"
                raise unplaced(replace(node, op=g.Unknown("Conv2D", reason)), "the head")
            conv = self.conv(Tokens([node]), f"head:{name}", "the head")
            return HeadLayer(name, "conv", source, conv=conv)
        if isinstance(op, g.BatchNorm):
            norm = self.norm(Tokens([node]), f"head:{name}")
            return HeadLayer(name, "norm", source, norm=norm)
        if isinstance(op, g.Pooling):
            kind: HeadKind = "avg_pool" if op.mode == "avg" else "max_pool"
            return HeadLayer(name, kind, source, pool=self.pool(Tokens([node]), positive=True))
        if isinstance(op, g.GlobalPooling) and op.is_last and self.graph.channels_first:
            op = g.Unknown({"avg": "Mean", "max": "Maximum"}[op.mode], CHANNELS_FIRST)
        if isinstance(op, g.GlobalPooling):
            kind = "global_avg_pool" if op.mode == "avg" else "global_max_pool"
            return HeadLayer(name, kind, source)
        if isinstance(op, g.Flatten):
            as_stored = self.graph.channels_first and not op.channels_last
            return HeadLayer(name, "flatten_chw" if as_stored else "flatten_hwc", source)
        if isinstance(op, g.Reshape) and op.target == (self.features,) and source in self.vectors:
            return HeadLayer(name, "flatten_hwc", source)  # `tf.reshape(x, [-1, C])` of a vector
        if isinstance(op, g.Reshape) and len(op.target) == 1:
            op = g.Unknown("Reshape", "of a map, a given width may set pixels beside pictures")
        if isinstance(op, g.Dropout):
            return HeadLayer(name, "dropout", source, rate=op.rate)
        if isinstance(op, g.Activation) and op.name == "leaky_relu":
            self.forget_inner(node)
            self.outputs[f"head:{name}"] = node.layer
            return HeadLayer(name, "leaky_relu", source, slope=op.slope)
        if isinstance(op, g.PReLU):
            return self.prelu(node, name, source)
        if isinstance(op, Rescaling):
            return HeadLayer(name, "rescaling", source, rescaling=(op.scale, op.offset))
        if isinstance(op, g.Activation) and op.name in ACTIVATIONS:
            if op.name == "softmax" and source in self.maps and self.graph.channels_first:
                raise unplaced(replace(node, op=g.Unknown("Softmax", OVER_WIDTH)), "the head")
            self.forget_inner(node)
            self.outputs[f"head:{name}"] = node.layer
            return HeadLayer(name, "activation", source, activation=op.name)
        if isinstance(op, g.Activation):
            op = g.Unknown(f"activation {op.name!r}", NOT_THE_SAME)
        raise unplaced(replace(node, op=op), "the head")

    def stage_maps(self, sums: Sequence[Node], stages: Sequence[Sequence[Block]]) -> dict[str, int]:
        """`{what gives the map of a stage before the last: its number}`."""
        ends = itertools.accumulate(len(stage) for stage in stages[:-1])
        adds = [sums[end - 1] for end in ends]
        ids = [self.readers[add.id][0].id if self.is_activated(add) else add.id for add in adds]
        return {id: number for number, id in enumerate(ids, start=1)}

    def prelu(self, node: Node, name: str, source: str) -> HeadLayer:
        slopes = self.shapes.slopes(node.layer)
        if slopes is None:
            reason = (
                "its slopes are for the pixels of a map; only those of a vector are carried over"
            )
            raise unplaced(replace(node, op=g.Unknown("PReLU", reason)), "the head")
        self.place(f"head:{name}", node)
        return HeadLayer(name, "prelu", source, slopes)

    def output(
        self, id: str, features: Node, head: Sequence[HeadLayer], maps: Mapping[str, int]
    ) -> Output:
        """What the model returns, less the activation that ends it."""
        node = self.nodes[self.resolve(id)]
        if node is features:
            return Output(node.layer, "")
        if node.id in maps:
            return Output(node.layer, "", stage=maps[node.id])
        by_name = {layer.name: layer for layer in head}
        name = f"{node.layer}_activation" if node.id.endswith("/activation") else node.layer
        if name not in by_name:
            ends = (*(self.nodes[id] for id in maps), features)
            raise MismatchError(
                f"the model's output {node.layer!r} is neither computed from its last block, nor "
                "the map of a whole stage",
                hints=[WHOLE_STAGES + ", ".join(repr(end.layer) for end in ends)],
            )
        layer = by_name[name]
        kinds = {one.kind for one in head}
        is_pooled = "conv" in kinds and layer.name in self.vectors
        if layer.kind == "activation" and ("dense" in kinds or is_pooled):
            del self.outputs[f"head:{name}"]
            return Output(node.layer, layer.source, layer.activation)
        return Output(node.layer, name)

    def named(self, architecture: Architecture) -> dict[str, str]:
        """`layers`, with the head's modules under their torch names."""
        modules = {f"head:{one.name}": head_prefix(architecture, one) for one in architecture.head}
        for table in (self.layers, self.outputs):
            for key in [key for key in table if key.startswith("head:")]:
                table[modules[key]] = table.pop(key)
        return dict(self.layers)

    def input_size(self) -> tuple[int, int] | None:
        """(height, width) where the model fixes it."""
        for node in self.graph.nodes:
            if isinstance(node.op, g.Input) and len(node.op.shape) == 4:
                shape = node.op.shape[2:] if self.graph.channels_first else node.op.shape[1:3]
                if shape[0] is not None and shape[1] is not None:
                    return shape[0], shape[1]
        return None

    def check_all_placed(self) -> None:
        for node in self.graph.nodes:
            if node.id not in self.placed and node.id not in self.skipped:
                raise unplaced(node, "any part")


@dataclass(frozen=True)
class Split:
    """A block: what comes before its ways part, and the two ways, up to the sum."""

    add: Node
    before: list[Node]
    short: list[Node]
    long: list[Node]


def is_convolved(nodes: Sequence[Node]) -> bool:
    return any(isinstance(node.op, g.Convolution) for node in nodes)


def is_activated_norm(nodes: Sequence[Node]) -> bool:
    """Whether a norm and an activation come next; a norm without one belongs to the head, in a
    model that ends between the two."""
    ops = [node.op for node in nodes if not isinstance(node.op, g.Scale)][:2]
    return len(ops) == 2 and isinstance(ops[0], g.BatchNorm) and isinstance(ops[1], g.Activation)


HEAD_BEGINS = (g.GlobalPooling, g.Flatten, g.Dense)
"""What no block that is known has (squeeze-and-excitation blocks do)."""

PICTURE = (Rescaling, Reverse, Channels)
"""What can be done to a picture before the network."""


def _then(node: Node, scale: Value, offset: Value) -> tuple[Value, Value]:
    """A scale and an offset, with those of a further node behind."""
    op = node.op
    assert isinstance(op, Rescaling)
    try:
        return times(scale, op.scale), plus(times(offset, op.scale), op.offset)
    except ValueError:
        reason = "it has another number of channels than what comes before it"
        raise unplaced(replace(node, op=g.Unknown("Rescaling", reason)), "the stem") from None


def _picked(factor: Value, picks: Sequence[int]) -> Value:
    return tuple(factor[number] for number in picks) if isinstance(factor, tuple) else factor


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


def describe(graph: Graph) -> str:
    """One line on a network that is not a ResNet."""
    counts: dict[str, int] = {}
    for node in graph.nodes:
        name = type(node.op).__name__
        counts[name] = counts.get(name, 0) + 1
    convs, dense = counts.get("Convolution", 0), counts.get("Dense", 0)
    known = {(13, 3): "VGG16", (16, 3): "VGG19", (5, 3): "AlexNet"}.get((convs, dense))
    known = known or family(node.layer for node in graph.nodes)
    return known or f"a plain network of {convs} convolutions and {dense} Dense layers"
