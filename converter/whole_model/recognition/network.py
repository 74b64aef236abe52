"""A graph → the residual network that it is, whatever its layers are called.

A residual network is read from its sums: each Add closes a block, the two ways into it part at
one tensor, and what lies before that tensor belongs to the block before (its activation), to
this one (a shared pre-activation), or to the stem. Every layer of the graph has to find its
place; one that does not is named in the refusal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from converter.errors import MismatchError
from converter.files.shapes import Shapes
from converter.network import Structure
from converter.whole_model import ops as g
from converter.whole_model.graph import Graph, Node, check_reused
from converter.whole_model.layer_classes import JOINS
from converter.whole_model.recognition.head import HeadReader
from converter.whole_model.recognition.placing import Tokens
from converter.whole_model.recognition.refusals import (
    CUT,
    INSTEAD,
    NOT_THE_SAME,
    OVER_WIDTH,
    WHOLE_BLOCKS,
    gated,
    unactivated,
    unplaced,
)
from converter.whole_model.recognition.stem import StemReader
from resnet_pt.architecture import (
    BETWEEN_LAYERS,
    Architecture,
    Block,
    Conv,
    Layer,
    Norm,
    Output,
    Shortcut,
)
from resnet_pt.tensors import head_modules


def recognise(graph: Graph, shapes: Shapes, theano: bool = False) -> Structure:
    """The network in a graph; `theano` says that its 'same' padding was Theano's.

    Raises MismatchError for a graph that is no residual network of a known kind.
    """
    check_reused(graph)
    return _Recogniser(graph, shapes, theano).run()


@dataclass
class _Recogniser(StemReader, HeadReader):
    cut: Node | None = None
    unread: list[str] = field(default_factory=list)
    """Layers with weights that lead to no output."""

    def run(self) -> Structure:
        sums = [node for node in self.graph.nodes if isinstance(node.op, g.Add)]
        if not sums:
            self.check_known()
            raise MismatchError("the model has no residual sums: it is not a ResNet")
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
            unread=tuple(self.unread),
        )

    def check_known(self) -> None:
        """Refuse a model whose network may be in a layer that is not known, or joined by one."""
        unknown = [
            (node, node.op)
            for node in self.graph.nodes
            if isinstance(node.op, g.Unknown) and node.op.class_name not in CODE
        ]
        for node, op in unknown:
            if op.class_name in JOINS:
                raise unplaced(node, "the place of a sum")
        for node, op in unknown:
            if op.is_custom:
                raise MismatchError(
                    f"layer {node.layer!r} is of a class of its own, {op.class_name!r}: what it "
                    "computes is in its code, and not in the model_config",
                    hints=[NAMES_ALONE],
                )
        if unknown:
            node, op = unknown[0]
            raise MismatchError(
                "the model has no residual sums: it is not a ResNet",
                [f"layer {node.layer!r} ({op.class_name}): {op.reason}"],
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
                hints=[NAMES_ALONE],
            )
        if len(add.inputs) == 1:
            reason = "it adds a constant that is neither a number nor one for each of the channels"
            raise unplaced(replace(add, op=g.Unknown("Add", f"{reason}, last")), "the network")
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
                # Behind a sum: before the first one there is no whole block to end behind.
                hints=[WHOLE_BLOCKS] * any(isinstance(way[0].op, g.Add) for way in (one, other)),
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

    def cut_at(self, sums: Sequence[Node]) -> Node | None:
        """The last sum, if nothing activates it and something does the one before it: a model of
        2015's blocks that was cut there."""
        is_cut = len(sums) > 1 and self.is_activated(sums[-2]) and not self.is_activated(sums[-1])
        return sums[-1] if is_cut else None

    # ---- blocks

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
    ) -> tuple[Norm | None, tuple[Layer, ...], tuple[Output, ...]]:
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
            used |= set(layer.inputs) if layer.name in used else set()
        self.leave_out(layer.name for layer in head if layer.name not in used)
        return norm, tuple(layer for layer in head if layer.name in used), outputs

    def leave_out(self, names: Iterable[str]) -> None:
        """Forget layers of the head that lead to no output, as of a nested model one of whose
        outputs nothing reads."""
        for name in names:
            self.outputs.pop(f"head:{name}", None)
            layer = self.layers.pop(f"head:{name}", None)
            self.unread += [layer] if layer else []

    def line(self, node: Node) -> list[Node]:
        """The layers after a node, for as long as each has one reader."""
        found: list[Node] = []
        while len(self.readers.get(node.id, [])) == 1:
            node = self.readers[node.id][0]
            found.append(node)
        return found

    def named(self, architecture: Architecture) -> dict[str, str]:
        """`layers`, with the head's modules under their torch names."""
        modules = {f"head:{name}": one for name, one in head_modules(architecture).items()}
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


NAMES_ALONE = (
    "if it is the ResNet, and the names of its layers are known, its weights alone are read by "
    "them: model.save_weights"
)
CODE = ("Lambda", "TFOpLambda", "TensorFlowOpLayer")
"""Classes whose layers run a function of the project's own, beside the network or in it."""

HEAD_BEGINS = (g.GlobalPooling, g.Flatten, g.Dense)
"""What no block that is known has (squeeze-and-excitation blocks do)."""
