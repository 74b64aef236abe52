"""From the picture to the first block: what is done to the picture, and the stem."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from converter.whole_model import ops as g
from converter.whole_model.arithmetic import Channels, Reverse, plus, times
from converter.whole_model.graph import Node
from converter.whole_model.recognition.placing import Placing, Tokens
from converter.whole_model.recognition.refusals import (
    NOT_THE_SAME,
    OVER_WIDTH,
    unplaced,
)
from resnet_pt.architecture import (
    ACTIVATIONS,
    Conv,
    Front,
    Norm,
    Stem,
)
from resnet_pt.ops import Factor, Rescaling


@dataclass
class StemReader(Placing):
    """Reads the layers before the first block."""

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
        """The convolutions before the stem's own, less those of a deep stem, behind which a norm
        and an activation stand."""
        found: list[Front] = []
        while tokens.is_front():
            number = 3 * len(found)
            conv = self.conv(tokens, f"front.{number}", "the stem")
            norm = self.norm(tokens, f"front.{number + 1}")
            activation = self.front_activation(tokens, f"front.{number + 2}")
            found.append(Front(conv, activation, norm))
        return tuple(found)

    def front_activation(self, tokens: Tokens, module: str) -> str:
        taken = tokens.take(g.Activation)
        if taken is None:
            return "linear"
        node, op = taken
        over_width = op.name == "softmax" and self.graph.channels_first
        if op.name not in ACTIVATIONS or over_width:
            reason = OVER_WIDTH if over_width else NOT_THE_SAME
            if op.name == "leaky_relu":
                reason = "in front of a stem, functions without a slope are read alone"
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
    ) -> tuple[tuple[int, ...], tuple[Factor, Factor] | None]:
        """(channels, rescaling) of everything that is done to the picture, as one of each."""
        channels: tuple[int, ...] = ()
        rescaling: tuple[Factor, Factor] | None = None
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
        if isinstance(node.op, g.Repeat):
            return tuple(number for number in range(count) for _ in range(node.op.times))
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
        return Norm.standardizing(self.shapes.vector(node.layer))


PICTURE = (Rescaling, Reverse, g.Repeat, Channels)
"""What can be done to a picture before the network."""


def _then(node: Node, scale: Factor, offset: Factor) -> tuple[Factor, Factor]:
    """A scale and an offset, with those of a further node behind."""
    op = node.op
    assert isinstance(op, Rescaling)
    try:
        return times(scale, op.scale), plus(times(offset, op.scale), op.offset)
    except ValueError:
        reason = "it has another number of channels than what comes before it"
        raise unplaced(replace(node, op=g.Unknown("Rescaling", reason)), "the stem") from None


def _picked(factor: Factor, picks: Sequence[int]) -> Factor:
    return tuple(factor[number] for number in picks) if isinstance(factor, tuple) else factor
