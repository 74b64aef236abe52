"""`lower`: an `Architecture` → the `Program` that computes it, with torchvision's module paths."""

from __future__ import annotations

from resnet_pt.architecture import Architecture, Block, Shortcut, Stem
from resnet_pt.ops import (
    Activation,
    Add,
    Channels,
    Flatten,
    GlobalPool,
    LeakyReLU,
    Norm,
    Op,
    Rescaling,
    Scale,
)
from resnet_pt.program import Input, Layer, Output, Program, module_name

PICTURE = "picture"
"""The value that a network reads."""

FEATURES = "features"
"""The map of the last block behind the last norm of a pre-activation network."""


def lower(architecture: Architecture) -> Program:
    """The layers of a network in the order in which they run.

    A value has the path of the module that gives it, a block's own path for its sum or the
    activation behind it. The head's layers are modules of `head`, by their Keras names, or
    torchvision's `avgpool` and `fc`.
    """
    build = _Builder(activation_of(architecture))
    maps = build.body(architecture)
    build.head(architecture, maps[-1])
    outputs = tuple(
        Output(
            one.name,
            maps[one.stage - 1] if one.stage else _value(one.layer, maps[-1]),
            one.activation,
        )
        for one in architecture.outputs
    )
    return _program(architecture.in_channels, build, outputs)


def lower_block(block: Block, activation: Op) -> Program:
    """A residual block alone, with the paths that its modules have within it."""
    build = _Builder(activation)
    value = build.block(block, PICTURE, "")
    return _program(block.convs[0].in_channels, build, (Output("", value),))


def _program(channels: int, build: _Builder, outputs: tuple[Output, ...]) -> Program:
    return Program((Input(PICTURE, (channels, None, None)),), tuple(build.layers), outputs)


def features_of(architecture: Architecture) -> str:
    """The value that the head reads."""
    last = architecture.stages[-1]
    return FEATURES if architecture.norm else f"layer{len(architecture.stages)}.{len(last) - 1}"


def activation_of(architecture: Architecture) -> Op:
    """The activation between the layers."""
    if architecture.activation == "leaky_relu":
        return LeakyReLU(architecture.slope)
    return Activation(architecture.activation)


class _Builder:
    """Collects layers; each method adds some behind a value, and gives the name of the last."""

    def __init__(self, activation: Op) -> None:
        self.activation = activation
        self.layers: list[Layer] = []

    def add(self, name: str, op: Op, *inputs: str, module: str | None = None) -> str:
        """A layer; its module has its own name if no other is given."""
        self.layers.append(Layer(name, op, inputs, name if module is None else module))
        return name

    def body(self, architecture: Architecture) -> list[str]:
        """Everything in front of the head: the maps of the stages, the last one as the head reads
        it."""
        value, maps = self.stem(architecture.stem), []
        for number, stage in enumerate(architecture.stages, start=1):
            for index, block in enumerate(stage):
                value = self.block(block, value, f"layer{number}.{index}")
            maps.append(value)
        if architecture.norm:
            value = self.norm(architecture.norm, value, "norm")
            maps[-1] = self.activated(value, FEATURES, "relu")
        return maps

    def stem(self, stem: Stem) -> str:
        value = PICTURE
        if stem.channels:
            value = self.add("channels", Channels(stem.channels), value)
        if stem.rescaling:
            value = self.add("rescaling", Rescaling(*stem.rescaling), value)
        value = self.norm(stem.data_norm, value, "bn_data")
        for number, one in enumerate(stem.front):
            value = self.add(f"front.{3 * number}", one.conv, value)
            value = self.norm(one.norm, value, f"front.{3 * number + 1}")
            value = self.add(f"front.{3 * number + 2}", Activation(one.activation), value)
        for number, (conv, norm) in enumerate(stem.deep):
            value = self.add(f"conv1.{3 * number}", conv, value)
            value = self.norm(norm, value, f"conv1.{3 * number + 1}")
            value = self.activated(value, f"conv1.{3 * number + 2}")
        value = self.add(stem.module, stem.conv, value)
        value = self.norm(stem.norm, value, "bn1")
        value = self.activated(value, "relu") if stem.activation else value
        return self.add("maxpool", stem.pool, value) if stem.pool else value

    def block(self, block: Block, value: str, path: str) -> str:
        """A block; what it gives has its own path for a name."""
        prefix = f"{path}." if path else ""
        convolved = self.preactivated if block.preactivation else self.postactivated
        first, long = convolved(block, value, prefix)
        shared = block.shortcut is not None and block.shortcut.source == "preactivation"
        short = self.shortcut(block.shortcut, first if shared else value, f"{prefix}downsample")
        activates = block.activated and not block.preactivation
        name = f"{prefix}sum" if activates or not path else path
        total = self.add(name, Add(), long, short, module=prefix)
        return self.activated(total, path or "relu", f"{prefix}relu") if activates else total

    def postactivated(self, block: Block, value: str, prefix: str) -> tuple[str, str]:
        """(what the block reads, what its convolutions make of it)."""
        first = value
        for number, (conv, norm) in enumerate(zip(block.convs, block.norms, strict=True), start=1):
            if number > 1:
                value = self.activated(value, f"{prefix}relu{number - 1}", f"{prefix}relu")
            value = self.add(f"{prefix}conv{number}", conv, value)
            value = self.norm(norm, value, f"{prefix}bn{number}")
        return first, value

    def preactivated(self, block: Block, value: str, prefix: str) -> tuple[str, str]:
        """(what the first convolution reads, what the last one gives). A first norm that is missing
        means that the input was activated already."""
        first = ""
        for number, (conv, norm) in enumerate(zip(block.convs, block.norms, strict=True), start=1):
            if number > 1 or norm:
                value = self.norm(norm, value, f"{prefix}bn{number}")
                value = self.activated(value, f"{prefix}relu{number}", f"{prefix}relu")
            first = first or value
            value = self.add(f"{prefix}conv{number}", conv, value)
        return first, value

    def shortcut(self, shortcut: Shortcut | None, value: str, path: str) -> str:
        if shortcut and shortcut.pool:
            value = self.add(f"{path}.pool", shortcut.pool, value)
        if shortcut and shortcut.conv:
            value = self.add(f"{path}.0", shortcut.conv, value)
        return self.norm(shortcut.norm, value, f"{path}.1") if shortcut else value

    def norm(self, norm: Norm | None, value: str, path: str) -> str:
        """A norm, if there is one, and the Scale behind it."""
        if norm is None:
            return value
        value = self.add(path, norm.replace(rescale=False), value)
        return self.add(f"{path}.scale", Scale(norm.channels), value) if norm.rescale else value

    def activated(self, value: str, name: str, module: str | None = None) -> str:
        """The activation between the layers; those of a block are one module."""
        return self.add(name, self.activation, value, module=module)

    def head(self, architecture: Architecture, features: str) -> None:
        if architecture.is_plain_head:
            self.plain_head(architecture.head[0], architecture.head[-1], features)
            return
        for layer in architecture.head:
            inputs = tuple(_value(name, features) for name in layer.inputs)
            module = f"head.{module_name(layer.name)}"
            name = _value(layer.name, features)
            self.layers.append(Layer(name, layer.op, inputs, module, layer.name))

    def plain_head(self, pool: Layer, dense: Layer, features: str) -> None:
        """torchvision's: a pool down to one pixel, its channels as a vector, and `fc`."""
        op = pool.op.replace(keepdims=True) if isinstance(pool.op, GlobalPool) else pool.op
        name, last = _value(pool.name, features), _value(dense.name, features)
        self.layers += [
            Layer(name, op, (features,), "avgpool", pool.name),
            Layer("flat", Flatten("chw"), (name,)),
            Layer(last, dense.op, ("flat",), "fc", dense.name),
        ]


def _value(layer: str, features: str) -> str:
    """The value that a layer of the head gives; of '' the map of the last block."""
    return f"head.{layer}" if layer else features
