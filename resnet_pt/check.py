"""Whether the parts of an architecture fit each other: a network that could not run is found
before anything is written, or read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from resnet_pt.architecture import (
    ACTIVATIONS,
    BETWEEN_LAYERS,
    Architecture,
    Block,
    Conv,
    HeadLayer,
    Norm,
    Pool,
    Stem,
)
from resnet_pt.tensors import module_name

POOLS = ("global_avg_pool", "global_max_pool", "avg_pool", "max_pool")

Problems = Iterator[str]


def problems(architecture: Architecture) -> list[str]:
    """What does not fit, each with the module that it is about; [] for a network that can run."""
    return list(_network(architecture))


def _network(architecture: Architecture) -> Problems:
    stem = architecture.stem
    if architecture.activation not in BETWEEN_LAYERS:
        yield f"activation {architecture.activation!r} is not known"
    if not math.isfinite(architecture.slope):
        yield f"leaky_relu has a slope of {architecture.slope}"
    channels = stem.in_channels
    yield from _picture(stem)
    yield from _norm("bn_data", stem.data_norm, channels)
    for number, one in enumerate(stem.front):
        yield from _conv(f"front.{3 * number}", one.conv, channels)
        channels = one.conv.out_channels
        yield from _norm(f"front.{3 * number + 1}", one.norm, channels)
        if one.activation not in ACTIVATIONS:
            yield f"front.{3 * number + 2}: activation {one.activation!r} is not known"
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
    if stem.channels and (len(stem.channels) != channels or min(stem.channels) < 0):
        name = "front.0" if stem.front else "conv1"
        yield f"channels {stem.channels} are read, and {name} wants {channels}"
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
    if min(*numbers, *conv.kernel, *conv.stride, *conv.dilation) < 1:
        yield f"{name} has a size that is not positive"
    elif conv.in_channels % conv.groups or conv.out_channels % conv.groups:
        yield f"{name} has {conv.groups} groups that do not divide its channels"
    if conv.in_channels != channels:
        yield f"{name} reads {conv.in_channels} channels, and {channels} come"
    if isinstance(conv.padding, int | tuple) and min(_numbers(conv.padding)) < 0:
        yield f"{name} has a padding below 0"


def _numbers(padding: int | tuple[int, ...]) -> tuple[int, ...]:
    return (padding,) if isinstance(padding, int) else padding


def _norm(name: str, norm: Norm | None, channels: int) -> Problems:
    if norm is None:
        return
    if norm.channels != channels:
        yield f"{name} normalises {norm.channels} channels, and {channels} come"
    if not math.isfinite(norm.eps) or norm.eps < 0:
        yield f"{name} has an epsilon of {norm.eps}"
    if not math.isfinite(norm.momentum):
        yield f"{name} has a momentum of {norm.momentum}"


def _pool(name: str, pool: Pool | None) -> Problems:
    if pool and min(*pool.kernel, *pool.stride) < 1:
        yield f"{name} has a size that is not positive"


def _head(architecture: Architecture, features: int) -> Problems:
    """Widths are known as long as a map is not flattened: its pixels are not."""
    widths: dict[str, int | None] = {"": features}
    maps = architecture.maps
    modules: dict[str, str] = {}
    for layer in architecture.head:
        unknown = [source for source in layer.sources if source not in widths]
        if unknown:
            yield f"head layer {layer.name!r} reads {unknown[0]!r}, which does not come before it"
            return
        other = modules.setdefault(module_name(layer.name), layer.name)
        if other != layer.name or layer.name in widths:
            yield f"head layers {other!r} and {layer.name!r} would be one module"
        yield from _head_layer(layer, widths[layer.source])
        if maps & set(layer.sources) and layer.kind in ("dense", "prelu", "concat"):
            yield f"head layer {layer.name!r} reads a map: a pool or Flatten has to come before"
        if layer.kind == "conv" and layer.source not in maps:
            yield f"head layer {layer.name!r} reads a vector, and wants a map"
        if layer.kind in POOLS and layer.source not in maps:
            yield f"head layer {layer.name!r} pools a vector"
        if (layer.kind == "concat") != bool(layer.joined):
            yield f"head layer {layer.name!r} joins {len(layer.sources)} layers"
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
    if len({one.name for one in architecture.outputs}) != len(architecture.outputs):
        yield "two outputs have one name"


def _head_layer(layer: HeadLayer, width: int | None) -> Problems:
    if layer.kind == "dense":
        if min(layer.in_features, layer.out_features) < 1:
            yield f"head layer {layer.name!r} has a size that is not positive"
        elif width is not None and layer.in_features != width:
            yield f"head layer {layer.name!r} reads {layer.in_features} numbers, and {width} come"
    if layer.kind == "conv" and layer.conv is None:
        yield f"head layer {layer.name!r} lacks its convolution"
    elif layer.conv:
        yield from _conv(
            f"head layer {layer.name!r}",
            layer.conv,
            layer.conv.in_channels if width is None else width,
        )
    if layer.kind == "prelu" and width not in (None, layer.in_features):
        yield f"head layer {layer.name!r} has {layer.in_features} slopes, and {width} numbers come"
    if layer.kind == "norm":
        if layer.norm is None:
            yield f"head layer {layer.name!r} lacks its norm"
        else:
            wanted = layer.norm.channels if width is None else width
            yield from _norm(f"head layer {layer.name!r}", layer.norm, wanted)
    if layer.kind in ("avg_pool", "max_pool"):
        yield from _pool(f"head layer {layer.name!r}", layer.pool or Pool((0, 0)))
    if layer.kind == "activation" and layer.activation not in ACTIVATIONS:
        yield f"head layer {layer.name!r}: activation {layer.activation!r} is not known"
    if layer.kind == "rescaling" and layer.rescaling is None:
        yield f"head layer {layer.name!r} lacks its scale"


def _width(layer: HeadLayer, widths: Sequence[int | None]) -> int | None:
    if layer.kind == "dense":
        return layer.out_features
    if layer.conv:
        return layer.conv.out_channels
    known = [width for width in widths if width is not None]
    return None if layer.kind.startswith("flatten") or len(known) < len(widths) else sum(known)
