"""The layers after the last block, and what the model returns."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from converter.errors import MismatchError
from converter.whole_model import ops as g
from converter.whole_model.arithmetic import Channels, Stack
from converter.whole_model.graph import Node
from converter.whole_model.recognition.placing import Placing, Tokens
from converter.whole_model.recognition.refusals import (
    CHANNELS_FIRST,
    NOT_THE_SAME,
    OVER_WIDTH,
    WHOLE_STAGES,
    unplaced,
)
from resnet_pt.architecture import Block, Output
from resnet_pt.ops import (
    Activation,
    Concat,
    Conv,
    Dense,
    Flatten,
    GlobalPool,
    LeakyReLU,
    Op,
    PReLU,
    Shape,
)
from resnet_pt.ops.activation import ACTIVATIONS
from resnet_pt.program import Layer, known_shapes


@dataclass
class HeadReader(Placing):
    """Reads the head."""

    vectors: set[str] = field(default_factory=set)
    """The layers of the head that are global pools, or read nothing else."""
    maps: set[str] = field(default_factory=lambda: {""})
    """Those that give a map."""
    features: int = 0
    """Channels of the last block's map."""

    def head(self, features: Node) -> tuple[Layer, ...]:
        """Every layer after the features, each with the one it reads."""
        names = {features.id: ""}
        shapes: dict[str, Shape] = {"": (self.features, None, None)}
        found: list[Layer] = []
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
            shape = known_shapes([layer], shapes)[layer.name]
            shapes[layer.name] = shape or (None,)
            if len(shapes[layer.name]) == 3:
                self.maps.add(layer.name)
            if isinstance(layer.op, GlobalPool) or self.vectors.issuperset(layer.inputs):
                self.vectors.add(layer.name)
            names[node.id] = layer.name
            found.append(layer)
            self.placed.add(node.id)
        return tuple(found)

    def joined(self, node: Node, sources: Sequence[str]) -> Layer:
        """Vectors side by side, as of an average and a maximum over the map."""
        all_in_head = len(sources) >= len(node.inputs) and self.vectors.issuperset(sources)
        is_joined = isinstance(node.op, Channels) or (
            isinstance(node.op, Stack) and not node.op.is_new
        )
        if not is_joined or not all_in_head:
            reason = "it joins several layers, and not the vectors of global pools alone"
            raise unplaced(replace(node, op=g.Unknown(g.class_name(node.op), reason)), "the head")
        return Layer(node.layer, Concat(), tuple(sources))

    def head_layer(self, node: Node, name: str, source: str) -> Layer:
        return Layer(name, self.head_op(node, name, source), (source,))

    def head_op(self, node: Node, name: str, source: str) -> Op:
        """What a layer of the head that reads one value computes."""
        op = node.op
        if isinstance(op, g.Dense):
            return self.dense(node, name, source)
        if isinstance(op, g.Convolution) and not op.depthwise:
            if source in self.vectors:
                raise self.refused(
                    node, "Conv2D", "it reads a vector, which it takes for a map of one pixel"
                )
            return self.conv(Tokens([node]), f"head:{name}", "the head")
        if isinstance(op, g.BatchNorm):
            norm = self.norm(Tokens([node]), f"head:{name}")
            assert norm is not None
            return norm
        if isinstance(op, g.Pooling):
            pool = self.pool(Tokens([node]), positive=True)
            assert pool is not None
            return pool
        if isinstance(op, g.GlobalPooling):
            if op.is_last and self.graph.channels_first:
                raise self.refused(node, {"avg": "Mean", "max": "Maximum"}[op.mode], CHANNELS_FIRST)
            return GlobalPool(op.mode)
        if isinstance(op, g.Flatten):
            as_stored = self.graph.channels_first and not op.channels_last
            return Flatten("chw" if as_stored else "hwc")
        if isinstance(op, g.Reshape) and len(op.target) == 1:
            if op.target == (self.features,) and source in self.vectors:
                return Flatten("hwc")  # `tf.reshape(x, [-1, C])` of a vector
            reason = "of a map, a given width may set pixels beside pictures"
            raise self.refused(node, "Reshape", reason)
        if isinstance(op, g.Activation):
            return self.activation(node, op, name, source)
        if isinstance(op, g.PReLU):
            return self.prelu(node, name)
        if isinstance(op, Op):
            return op
        raise unplaced(node, "the head")

    def refused(self, node: Node, class_name: str, reason: str) -> MismatchError:
        return unplaced(replace(node, op=g.Unknown(class_name, reason)), "the head")

    def dense(self, node: Node, name: str, source: str) -> Dense:
        op = node.op
        assert isinstance(op, g.Dense)
        if source in self.maps:
            reason = "it reads a map, pixel by pixel: a pool or a Flatten has to come before"
            raise self.refused(node, "Dense", reason)
        inputs, outputs = self.shapes.dense(node.layer)
        if op.units != outputs:
            raise MismatchError(
                f"{node.layer}/kernel has {outputs} units, but model_config says {op.units}"
            )
        self.place(f"head:{name}", node)
        return Dense(inputs, outputs, op.bias)

    def activation(self, node: Node, op: g.Activation, name: str, source: str) -> Op:
        is_leaky = op.name == "leaky_relu"
        if not is_leaky and op.name not in ACTIVATIONS:
            raise self.refused(node, f"activation {op.name!r}", NOT_THE_SAME)
        if op.name == "softmax" and source in self.maps and self.graph.channels_first:
            raise self.refused(node, "Softmax", OVER_WIDTH)
        self.forget_inner(node)
        self.outputs[f"head:{name}"] = node.layer
        return LeakyReLU(op.slope) if is_leaky else Activation(op.name)

    def prelu(self, node: Node, name: str) -> PReLU:
        slopes = self.shapes.slopes(node.layer)
        if slopes is None:
            reason = (
                "its slopes are for the pixels of a map; only those of a vector are carried over"
            )
            raise self.refused(node, "PReLU", reason)
        self.place(f"head:{name}", node)
        return PReLU(slopes)

    def output(
        self, id: str, features: Node, head: Sequence[Layer], maps: Mapping[str, int]
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
        has_dense, has_conv = (any(isinstance(x.op, kind) for x in head) for kind in (Dense, Conv))
        has_logits = has_dense or (has_conv and layer.name in self.vectors)
        if isinstance(layer.op, Activation) and has_logits:
            del self.outputs[f"head:{name}"]
            return Output(node.layer, layer.inputs[0], layer.op.name)
        return Output(node.layer, name)

    def stage_maps(self, sums: Sequence[Node], stages: Sequence[Sequence[Block]]) -> dict[str, int]:
        """`{what gives the map of a stage before the last: its number}`."""
        ends = itertools.accumulate(len(stage) for stage in stages[:-1])
        adds = [sums[end - 1] for end in ends]
        ids = [self.readers[add.id][0].id if self.is_activated(add) else add.id for add in adds]
        return {id: number for number, id in enumerate(ids, start=1)}
