"""Whether the parts of an architecture fit each other: a network that could not run is found
before anything is written, or read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from resnet_pt.architecture import (
    ACTIVATIONS,
    BETWEEN_LAYERS,
    MAX_HEAD,
    Architecture,
    Block,
    Conv,
    Factor,
    HeadLayer,
    Norm,
    Pool,
    Stem,
)
from resnet_pt.program import module_name

POOLS = ("global_avg_pool", "global_max_pool", "avg_pool", "max_pool")

MAX_WINDOW = 4096
"""Of a window's size, stride, dilation and padding: beyond any picture that a network is run on."""
MAX_CHANNELS = 2**24
"""Of a map, and of the numbers that a Dense layer reads or gives."""
MAX_PICTURE_CHANNELS = 4096
MAX_SIDE = 2**16
"""Of the pictures that a network is made for."""
MAX_FLOAT = 3.4e38
"""The largest number in float32."""

Problems = Iterator[str]


def problems(architecture: Architecture) -> list[str]:
    """What does not fit, each with the module that it is about; [] for a network that can run."""
    return list(_network(architecture))


def _network(architecture: Architecture) -> Problems:
    if max(len(architecture.head), len(architecture.outputs)) > MAX_HEAD:
        yield f"the head has more than {MAX_HEAD} layers or outputs"
        return
    stem = architecture.stem
    if architecture.activation not in BETWEEN_LAYERS:
        yield f"activation {short(architecture.activation)} is not known"
    yield from _float("leaky_relu", "slope", architecture.slope)
    yield from _size("the picture", architecture.input_size or (1, 1), 1, MAX_SIDE)
    channels = stem.in_channels
    yield from _picture(stem)
    yield from _norm("bn_data", stem.data_norm, channels)
    for number, one in enumerate(stem.front):
        yield from _conv(f"front.{3 * number}", one.conv, channels)
        channels = one.conv.out_channels
        yield from _norm(f"front.{3 * number + 1}", one.norm, channels)
        if one.activation not in ACTIVATIONS:
            yield f"front.{3 * number + 2}: activation {short(one.activation)} is not known"
    for number, (conv, norm) in enumerate(stem.deep):
        yield from _conv(f"conv1.{3 * number}", conv, channels)
        yield from _norm(f"conv1.{3 * number + 1}", norm, conv.out_channels)
        channels = conv.out_channels
    yield from _conv(stem.module, stem.conv, channels)
    channels = stem.conv.out_channels
    yield from _norm("bn1", stem.norm, channels)
    yield from _pool("maxpool", stem.pool)
    if not architecture.stages or not all(architecture.stages):
        yield "a network has at least one stage, and a stage at least one block"
        return
    for number, stage in enumerate(architecture.stages, start=1):
        for index, block in enumerate(stage):
            yield from _block(f"layer{number}.{index}", block, channels)
            channels = block.out_channels if block.convs else channels
    yield from _norm("norm", architecture.norm, channels)
    yield from _head(architecture, channels)


def _picture(stem: Stem) -> Problems:
    """What is done to the picture has to give as many channels as are read of it."""
    channels = stem.in_channels
    if stem.channels and len(stem.channels) != channels:
        name = "front.0" if stem.front else "conv1"
        yield f"channels {stem.channels} are read, and {name} wants {channels}"
    yield from _size("channels of the picture", stem.channels, 0, MAX_PICTURE_CHANNELS - 1)
    yield from _size("channels of the picture", (channels,), 1, MAX_PICTURE_CHANNELS)
    yield from _rescaling("rescaling", stem.rescaling)
    for factor in stem.rescaling or ():
        if isinstance(factor, tuple) and len(factor) != channels:
            yield f"rescaling has {len(factor)} numbers for {channels} channels"


def _block(name: str, block: Block, channels: int) -> Problems:
    if len(block.convs) not in (2, 3) or len(block.norms) != len(block.convs):
        yield f"{name} has {len(block.convs)} convolutions and {len(block.norms)} places for norms"
        return
    inside = channels
    for number, (conv, norm) in enumerate(zip(block.convs, block.norms, strict=True), start=1):
        yield from _conv(f"{name}.conv{number}", conv, inside)
        normed = inside if block.preactivation else conv.out_channels
        yield from _norm(f"{name}.bn{number}", norm, normed)
        inside = conv.out_channels
    short, strides = channels, (1, 1)
    if block.shortcut:
        projection, pool = block.shortcut.conv, block.shortcut.pool
        yield from _pool(f"{name}.downsample.pool", pool)
        if projection:
            yield from _conv(f"{name}.downsample.0", projection, channels)
            short, strides = projection.out_channels, projection.stride
        if pool:
            strides = (strides[0] * pool.stride[0], strides[1] * pool.stride[1])
        yield from _norm(f"{name}.downsample.1", block.shortcut.norm, short)
    if short != inside:
        yield f"{name} adds {inside} channels to a shortcut of {short}"
    total = tuple(math.prod(conv.stride[axis] for conv in block.convs) for axis in (0, 1))
    if total != tuple(strides):
        yield f"{name} strides by {total}, and its shortcut by {tuple(strides)}"


def _conv(name: str, conv: Conv, channels: int) -> Problems:
    numbers = (conv.in_channels, conv.out_channels, conv.groups)
    wrong = [
        *_size(name, numbers, 1, MAX_CHANNELS),
        *_size(name, (*conv.kernel, *conv.stride, *conv.dilation), 1, MAX_WINDOW),
    ]
    yield from wrong
    if not wrong and (conv.in_channels % conv.groups or conv.out_channels % conv.groups):
        yield f"{name} has {conv.groups} groups that do not divide its channels"
    if conv.in_channels != channels:
        yield f"{name} reads {shown(conv.in_channels)} channels, and {shown(channels)} come"
    yield from _size(name, _numbers(conv.padding), 0, MAX_WINDOW)


def _size(name: str, numbers: Sequence[int], least: int, most: int) -> Problems:
    """Numbers of a shape or a window that are out of range; the first one is named."""
    for number in numbers:
        if not least <= number <= most:
            what = "is not positive" if number < 1 == least else f"is not from {least} to {most}"
            yield f"{name} has a size that {what}: {shown(number)}"
            return


def shown(number: int) -> str:
    """A whole number of any length, for a message."""
    return str(number) if abs(number) < 10**12 else "a number of more than 12 digits"


def short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def _numbers(padding: object) -> tuple[int, ...]:
    """Those of a padding; none of 'same'."""
    if isinstance(padding, tuple):
        return padding
    return (padding,) if isinstance(padding, int) else ()


def _float(name: str, what: str, value: float) -> Problems:
    if not math.isfinite(value) or abs(value) > MAX_FLOAT:
        yield f"{name} has {what} {value}: it is no finite number of float32"


def _rescaling(name: str, rescaling: tuple[Factor, Factor] | None) -> Problems:
    for what, factor in zip(("scale", "offset"), rescaling or (), strict=False):
        for value in factor if isinstance(factor, tuple) else (factor,):
            yield from _float(name, what, value)


def _norm(name: str, norm: Norm | None, channels: int) -> Problems:
    if norm is None:
        return
    yield from _size(name, (norm.channels,), 1, MAX_CHANNELS)
    if norm.channels != channels:
        yield f"{name} normalises {shown(norm.channels)} channels, and {shown(channels)} come"
    if norm.eps < 0:
        yield f"{name} has an epsilon of {norm.eps}"
    yield from _float(name, "an epsilon of", norm.eps)
    yield from _float(name, "a momentum of", norm.momentum)


def _pool(name: str, pool: Pool | None) -> Problems:
    if pool is None:
        return
    wrong = list(_size(name, (*pool.kernel, *pool.stride), 1, MAX_WINDOW))
    wrong += _size(name, _numbers(pool.padding), 0, MAX_WINDOW)
    yield from wrong
    is_torchs = pool.mode == "max" and pool.fill == "-inf" and isinstance(pool.padding, int)
    if not wrong and is_torchs and 2 * _numbers(pool.padding)[0] > min(pool.kernel):
        yield f"{name} pads by {pool.padding}: more than half of its window"


def _head(architecture: Architecture, features: int) -> Problems:
    """Widths are known as long as a map is not flattened: its pixels are not."""
    widths: dict[str, int | None] = {"": features}
    maps = architecture.maps
    modules: dict[str, str] = {}
    for layer in architecture.head:
        unknown = [source for source in layer.sources if source not in widths]
        if unknown:
            yield (
                f"head layer {short(layer.name)} reads {short(unknown[0])}, which does not come "
                "before it"
            )
            return
        other = modules.setdefault(module_name(layer.name), layer.name)
        if other != layer.name or layer.name in widths:
            yield f"head layers {short(other)} and {short(layer.name)} would be one module"
        yield from _head_layer(layer, widths[layer.source])
        if maps & set(layer.sources) and layer.kind in ("dense", "prelu", "concat"):
            yield f"head layer {short(layer.name)} reads a map: a pool or Flatten has to be before"
        if layer.kind == "conv" and layer.source not in maps:
            yield f"head layer {short(layer.name)} reads a vector, and wants a map"
        if layer.kind in POOLS and layer.source not in maps:
            yield f"head layer {short(layer.name)} pools a vector"
        if (layer.kind == "concat") != bool(layer.joined):
            yield f"head layer {short(layer.name)} joins {len(layer.sources)} layers"
        widths[layer.name] = _width(layer, [widths[source] for source in layer.sources])
    missing = [one.layer for one in architecture.outputs if one.layer not in widths]
    stages = [one.stage for one in architecture.outputs]
    if any(not 0 <= stage < len(architecture.stages) for stage in stages):
        yield f"outputs are of the stages {stages}, and there are {len(architecture.stages)}"
    if stages and all(stages):
        yield "no output is of the last block"
    if any(one.stage and one.layer for one in architecture.outputs):
        yield "an output is of a stage and of a layer of the head"
    if missing or not architecture.outputs:
        yield f"outputs {missing} are no layers of the head" if missing else "there is no output"
    for one in architecture.outputs:
        if one.activation not in ACTIVATIONS:
            yield f"output {short(one.name)}: activation {short(one.activation)} is not known"
    if len({one.name for one in architecture.outputs}) != len(architecture.outputs):
        yield "two outputs have one name"


def _head_layer(layer: HeadLayer, width: int | None) -> Problems:
    name = f"head layer {short(layer.name)}"
    if layer.kind == "dense":
        yield from _size(name, (layer.in_features, layer.out_features), 1, MAX_CHANNELS)
        if width is not None and layer.in_features != width:
            yield f"{name} reads {shown(layer.in_features)} numbers, and {shown(width)} come"
    if layer.kind == "conv" and layer.conv is None:
        yield f"{name} lacks its convolution"
    elif layer.conv:
        yield from _conv(name, layer.conv, layer.conv.in_channels if width is None else width)
    if layer.kind == "prelu":
        yield from _size(name, (layer.in_features,), 1, MAX_CHANNELS)
        if width not in (None, layer.in_features):
            yield f"{name} has {shown(layer.in_features)} slopes, and {width} numbers come"
    if layer.kind == "norm" and layer.norm is None:
        yield f"{name} lacks its norm"
    elif layer.norm:
        yield from _norm(name, layer.norm, layer.norm.channels if width is None else width)
    if layer.kind in ("avg_pool", "max_pool"):
        yield from _pool(name, layer.pool or Pool((0, 0)))
    if layer.kind == "activation" and layer.activation not in ACTIVATIONS:
        yield f"{name}: activation {short(layer.activation)} is not known"
    if layer.kind == "rescaling" and layer.rescaling is None:
        yield f"{name} lacks its scale"
    yield from _rescaling(name, layer.rescaling)
    yield from _float(name, "a slope of", layer.slope)
    if not 0 <= layer.rate <= 1:
        yield f"{name} drops a share of {layer.rate}"


def _width(layer: HeadLayer, widths: Sequence[int | None]) -> int | None:
    if layer.kind == "dense":
        return layer.out_features
    if layer.conv:
        return layer.conv.out_channels
    known = [width for width in widths if width is not None]
    return None if layer.kind.startswith("flatten") or len(known) < len(widths) else sum(known)
