"""What a network is, as plain frozen data: everything but the numbers in its tensors.

An `Architecture` is the one description that travels with converted weights. It needs neither
torch nor Keras, becomes JSON and comes back equal, and names every tensor of the network that
`resnet_pt.ResNet` builds from it.

The defaults are torchvision's ResNet-50 (stride on the 3x3, no convolution bias, epsilon 1e-5);
what a Keras file says differently is stated field by field, never assumed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from resnet_pt.ops import Conv as Conv
from resnet_pt.ops import Dense as Dense
from resnet_pt.ops import Dropout as Dropout
from resnet_pt.ops import Factor as Factor
from resnet_pt.ops import Flatten as Flatten
from resnet_pt.ops import GlobalPool as GlobalPool
from resnet_pt.ops import Norm as Norm
from resnet_pt.ops import Padding as Padding
from resnet_pt.ops import Pool as Pool
from resnet_pt.ops.activation import ACTIVATIONS as ACTIVATIONS
from resnet_pt.ops.activation import NON_NEGATIVE as NON_NEGATIVE
from resnet_pt.ops.protocol import holds
from resnet_pt.program import FORMAT as FORMAT
from resnet_pt.program import Layer as Layer
from resnet_pt.program import known_shapes
from resnet_pt.upgrade import upgraded


@dataclass(frozen=True, slots=True)
class Shortcut:
    """The short way round a block: a pool, then a convolution, then a norm, each optional.

    `source` is the block's input, or, in a pre-activation block, that input after its first
    norm and activation.
    """

    conv: Conv | None = None
    norm: Norm | None = None
    pool: Pool | None = None
    source: Literal["input", "preactivation"] = "input"


@dataclass(frozen=True, slots=True)
class Block:
    """A residual block.

    Without `preactivation`, norm i follows convolution i and an activation follows the sum
    (He et al. 2015). With it, norm i and an activation come before convolution i and the sum is
    the output (He et al. 2016); a missing first norm means that the input was activated already.
    `activated` is False for a block of 2015 whose sum is the output: the last one of a model that
    was cut there.
    """

    convs: tuple[Conv, ...]
    norms: tuple[Norm | None, ...]
    shortcut: Shortcut | None = None
    preactivation: bool = False
    activated: bool = True

    @property
    def out_channels(self) -> int:
        return self.convs[-1].out_channels

    @property
    def stride(self) -> int:
        """By how much the block shrinks its map."""
        total = 1
        for conv in self.convs:
            total *= conv.stride[0]
        return total


@dataclass(frozen=True, slots=True)
class Front:
    """A convolution in front of a network's own stem, as of grey pictures for a network of three
    channels, with a norm behind it, if there is one, and an activation."""

    conv: Conv
    activation: str = "linear"
    norm: Norm | None = None


@dataclass(frozen=True, slots=True)
class Stem:
    """From the picture to the first block. What a network does to the picture itself comes first:
    `channels` are the numbers of the input's channels in the order in which they are read ((2, 1,
    0) makes BGR of RGB, (0, 0, 0) a colour picture of a grey one; () leaves them), `rescaling` is
    a scale and an offset, each one number or one for each channel, `data_norm` a norm (MXNet's
    `bn_data`, Keras' Normalization). `front` are the convolutions that come next.

    `deep` are the convolutions before the last one, `conv`, each with its norm and an activation
    behind: ResNet-D's three 3x3 in place of one 7x7.
    """

    conv: Conv
    norm: Norm | None
    activation: bool = True
    pool: Pool | None = Pool()  # noqa: RUF009  it is frozen
    data_norm: Norm | None = None
    channels: tuple[int, ...] = ()
    rescaling: tuple[Factor, Factor] | None = None
    deep: tuple[tuple[Conv, Norm], ...] = ()
    front: tuple[Front, ...] = ()

    @property
    def module(self) -> str:
        """The module of `conv`: `conv1`, or its last member (timm's names of a deep stem)."""
        return f"conv1.{3 * len(self.deep)}" if self.deep else "conv1"

    @property
    def first(self) -> Conv:
        """Its own first convolution."""
        return self.deep[0][0] if self.deep else self.conv

    @property
    def in_channels(self) -> int:
        """The channels of the picture, as the first convolution reads it."""
        return self.front[0].conv.in_channels if self.front else self.first.in_channels


BETWEEN_LAYERS = ACTIVATIONS | {"leaky_relu"}
"""Those that can stand between the layers: leaky_relu has a slope beside its name."""

MAX_HEAD = 500
"""Layers of a head, and outputs."""


@dataclass(frozen=True, slots=True)
class Output:
    """An output of the Keras model: `layer` of the head computes its logits ('': it is the map of
    the last block, or of the last one of `stage`, from 1, if that is not 0), `activation`
    (softmax, sigmoid, linear …) is what Keras applied to them last, and what this network leaves
    out."""

    name: str
    layer: str
    activation: str = "linear"
    stage: int = 0


@dataclass(frozen=True, slots=True)
class Architecture:
    """A whole residual network. `norm` is the last norm of a pre-activation network.

    `head` are the layers after the last block, by their names in Keras; '' is the map of the last
    block, as a layer reads it. Their modules are left to `lower`.

    `activation` is the one used between the layers, with `slope` below zero if it is leaky_relu.
    `input_size` is (height, width) where the original fixed it. `preprocessing` says what the
    original project did to its pictures ('caffe', 'tf', 'torch', 'raw'), where that is known: it
    is not part of `forward`.
    """

    stem: Stem
    stages: tuple[tuple[Block, ...], ...]
    norm: Norm | None = None
    head: tuple[Layer, ...] = ()
    outputs: tuple[Output, ...] = ()
    activation: str = "relu"
    slope: float = 0.0
    input_size: tuple[int, int] | None = None
    preprocessing: str | None = None

    @property
    def in_channels(self) -> int:
        read = self.stem.channels
        return max(read) + 1 if read else self.stem.in_channels

    @property
    def features(self) -> int:
        """Channels of the map that the last block gives."""
        return self.stages[-1][-1].out_channels

    @property
    def depths(self) -> tuple[int, ...]:
        return tuple(len(stage) for stage in self.stages)

    @property
    def classes(self) -> int | None:
        """Number of logits of the only output, or None without one (headless, several)."""
        return self.logits(self.outputs[0]) if len(self.outputs) == 1 else None

    def logits(self, output: Output) -> int | None:
        """Number of logits of an output, or None for a map or for features. A convolution's map
        is logits where a global pool follows it."""
        by_name = {layer.name: layer for layer in self.head}
        layer, is_pooled = by_name.get(output.layer), False
        while layer and (layer.op.elementwise or isinstance(layer.op, GlobalPool)):
            is_pooled |= isinstance(layer.op, GlobalPool)
            layer = by_name.get(layer.inputs[0])
        if layer and isinstance(layer.op, Conv) and is_pooled:
            return layer.op.out_channels
        return layer.op.out_features if layer and isinstance(layer.op, Dense) else None

    @property
    def maps(self) -> frozenset[str]:
        """The head's layers that give a map, and '' for the features."""
        shapes = known_shapes(self.head, {"": (self.features, None, None)})
        return frozenset(name for name, shape in shapes.items() if shape and len(shape) == 3)

    @property
    def classifier(self) -> Layer | None:
        """The one Dense layer of a head that takes the mean of the map and classifies, whatever
        flattens and drops between; None for another head, or none."""
        kept = [one for one in self.head if not isinstance(one.op, Dropout | Flatten)]
        if len(self.outputs) != 1 or not self.is_chain or len(kept) != 2:
            return None
        pool, dense = (one.op for one in kept)
        averages = isinstance(pool, GlobalPool | Pool) and pool.mode == "avg"
        reads = isinstance(dense, Dense) and dense.in_features == self.features
        return kept[1] if averages and reads else None

    @property
    def is_plain_head(self) -> bool:
        """Whether the head is torchvision's `avgpool` and `fc`: a pool down to one pixel, a
        Flatten where there was one, and one Dense layer."""
        if not self.head or self.classifier is not self.head[-1]:
            return False
        pool, *flat = (one.op for one in self.head[:-1])  # a map is not read as a vector
        is_vector = isinstance(pool, GlobalPool) or bool(flat)
        return is_vector and all(isinstance(op, Flatten) for op in flat)

    @property
    def is_chain(self) -> bool:
        """Whether each head layer reads the one before it."""
        names = ["", *(layer.name for layer in self.head)]
        return [layer.inputs for layer in self.head] == [(name,) for name in names[:-1]]

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts, lists, strings and numbers: what goes into a file."""
        return json.loads(msgspec.json.encode(self))  # type: ignore[no-any-return]

    @classmethod
    def from_dict(cls, data: Any) -> Architecture:
        """The inverse of `to_dict`. A field that is missing, as in a file of an earlier version,
        has its default.

        Raises ValueError, naming the field, for data that is not such a description, and for one
        with a field that this version does not know (ignoring it could change the network).
        """
        check_parts(data)
        data = upgraded(data)
        architecture = msgspec.convert(data, cls)
        if not holds(architecture.to_dict(), data):
            raise ValueError("the architecture holds fields that this version does not know")
        return architecture


MAX_PARTS = 200_000
"""Numbers, texts, lists and tables of a description; a ResNet-152 has 4,000."""


def check_parts(data: Any) -> None:
    """ValueError for data of too many parts. What stands at several places of a pickle, or under an
    alias of a YAML, is one object, and counts each time: it would be made anew each time."""
    left, waiting = MAX_PARTS, [data]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            waiting.extend(one.values())
        elif isinstance(one, list | tuple):
            waiting.extend(one)
        left -= 1
        if left < len(waiting):
            raise ValueError(f"it has more than {MAX_PARTS:,} parts")
