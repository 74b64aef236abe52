"""The layers after the last block, and what the model returns."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from converter.errors import MismatchError
from converter.whole_model import ops as g
from converter.whole_model.arithmetic import Channels, Rescaling, Stack
from converter.whole_model.graph import Node
from converter.whole_model.recognition.placing import Placing, Tokens
from converter.whole_model.recognition.refusals import (
    CHANNELS_FIRST,
    NOT_THE_SAME,
    OVER_WIDTH,
    WHOLE_STAGES,
    unplaced,
)
from resnet_pt.architecture import (
    ACTIVATIONS,
    Block,
    HeadKind,
    HeadLayer,
    Output,
)


@dataclass
class HeadReader(Placing):
    """Reads the head."""

    vectors: set[str] = field(default_factory=set)
    """The layers of the head that are global pools, or read nothing else."""
    maps: set[str] = field(default_factory=lambda: {""})
    """Those that give a map."""
    features: int = 0
    """Channels of the last block's map."""

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

    def stage_maps(self, sums: Sequence[Node], stages: Sequence[Sequence[Block]]) -> dict[str, int]:
        """`{what gives the map of a stage before the last: its number}`."""
        ends = itertools.accumulate(len(stage) for stage in stages[:-1])
        adds = [sums[end - 1] for end in ends]
        ids = [self.readers[add.id][0].id if self.is_activated(add) else add.id for add in adds]
        return {id: number for number, id in enumerate(ids, start=1)}
