"""ResNet as torchvision names it, built from an `Architecture`, readable top to bottom."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from resnet_pt import layers
from resnet_pt.architecture import FORMAT, Architecture, Block, Front, HeadLayer, Shortcut, Stem
from resnet_pt.factory import resnet
from resnet_pt.tensors import module_name


class ResidualBlock(nn.Module):
    """Convolutions with norms between them, and a sum with the shortcut.

    Input (N, C_in, H, W), output (N, C_out, H / stride, W / stride). `keras_name` is the name in
    Keras, where it was given.
    """

    keras_name = ""

    def __init__(self, block: Block, activation: str, slope: float = 0.0) -> None:
        super().__init__()
        self.preactivation = block.preactivation
        self.activates = block.activated and not block.preactivation
        self.convolutions = len(block.convs)
        self.shortcut_source = block.shortcut.source if block.shortcut else "input"
        for number, (conv, norm) in enumerate(zip(block.convs, block.norms, strict=True), start=1):
            pair: list[tuple[str, nn.Module]] = [(f"conv{number}", layers.convolution(conv))]
            if norm:
                after = 0 if block.preactivation else 1
                pair.insert(after, (f"bn{number}", layers.normalisation(norm)))
            for name, module in pair:
                self.add_module(name, module)
        self.relu = layers.activation(activation, slope)
        if block.shortcut:
            self.downsample = _shortcut(block.shortcut)

    def forward(self, x: Tensor) -> Tensor:
        return self._before(x) if self.preactivation else self._after(x)

    def _after(self, x: Tensor) -> Tensor:
        y = x
        for number in range(1, self.convolutions + 1):
            y = self._norm(number, getattr(self, f"conv{number}")(y))
            if number < self.convolutions:
                y = self.relu(y)
        y = y + self._short(x)
        return self.relu(y) if self.activates else y

    def _before(self, x: Tensor) -> Tensor:
        first = y = self._activated(1, x)
        for number in range(1, self.convolutions + 1):
            y = y if number == 1 else self._activated(number, y)
            y = getattr(self, f"conv{number}")(y)
        return y + self._short(first if self.shortcut_source == "preactivation" else x)

    def _activated(self, number: int, x: Tensor) -> Tensor:
        if number == 1 and not hasattr(self, "bn1"):
            return x  # the stem's own activation came just before
        return self.relu(self._norm(number, x))  # type: ignore[no-any-return]

    def _norm(self, number: int, x: Tensor) -> Tensor:
        norm = getattr(self, f"bn{number}", None)
        return x if norm is None else norm(x)

    def _short(self, x: Tensor) -> Tensor:
        downsample = getattr(self, "downsample", None)
        return x if downsample is None else downsample(x)


class Bottleneck(ResidualBlock):
    """1x1, 3x3, 1x1."""


class BasicBlock(ResidualBlock):
    """3x3, 3x3."""


BLOCKS: dict[int, type[ResidualBlock]] = {2: BasicBlock, 3: Bottleneck}


def _front(front: tuple[Front, ...]) -> nn.Sequential:
    """Three modules each: a convolution, its norm and its activation, or what does nothing."""
    modules: list[nn.Module] = []
    for one in front:
        norm = layers.normalisation(one.norm) if one.norm else nn.Identity()
        modules += [layers.convolution(one.conv), norm, layers.activation(one.activation)]
    return nn.Sequential(*modules)


def _stem(stem: Stem, activation: str, slope: float) -> nn.Module:
    """One convolution, or a deep stem: convolution, norm and activation, up to the last."""
    modules: list[nn.Module] = []
    for conv, norm in stem.deep:
        modules += [layers.convolution(conv), layers.normalisation(norm)]
        modules.append(layers.activation(activation, slope))
    last = layers.convolution(stem.conv)
    return nn.Sequential(*modules, last) if modules else last


def _shortcut(shortcut: Shortcut) -> nn.Sequential:
    modules: list[tuple[str, nn.Module]] = []
    if shortcut.pool:
        modules.append(("pool", layers.pooling(shortcut.pool)))
    if shortcut.conv:
        modules.append(("0", layers.convolution(shortcut.conv)))
    if shortcut.norm:
        modules.append(("1", layers.normalisation(shortcut.norm)))
    return nn.Sequential(OrderedDict(modules))


NO_MAPS: Mapping[int, Tensor] = MappingProxyType({})


class Head(nn.ModuleDict):
    """The layers after the last block, by their Keras names; each reads the one it names."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.sources = {
            module_name(one.name): tuple(module_name(source) for source in one.sources)
            for one in architecture.head
        }
        self.results = {
            one.name: (one.stage, module_name(one.layer)) for one in architecture.outputs
        }
        maps = architecture.maps
        for layer in architecture.head:
            self[module_name(layer.name)] = _head_module(layer, layer.source not in maps)

    def forward(
        self, x: Tensor, maps: Mapping[int, Tensor] = NO_MAPS
    ) -> Tensor | dict[str, Tensor]:
        """The outputs, from the map of the last block and those of earlier stages, by number."""
        values = {"": x}
        for name, module in self.items():
            values[name] = module(*(values[source] for source in self.sources[name]))
        results = {
            name: maps[stage] if stage else values[layer]
            for name, (stage, layer) in self.results.items()
        }
        return next(iter(results.values())) if len(results) == 1 else results


def _head_module(layer: HeadLayer, flat: bool) -> nn.Module:
    if layer.kind == "global_avg_pool":
        return nn.Sequential(nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(1))
    if layer.kind == "global_max_pool":
        return nn.Sequential(layers.GlobalMaxPool2d(), nn.Flatten(1))
    if layer.kind in ("avg_pool", "max_pool"):
        assert layer.pool is not None
        return layers.pooling(layer.pool)
    if layer.kind == "dense":
        return nn.Linear(layer.in_features, layer.out_features, bias=layer.bias)
    if layer.kind == "conv":
        assert layer.conv is not None
        return layers.convolution(layer.conv)
    if layer.kind == "norm":
        assert layer.norm is not None
        return layers.normalisation(layer.norm, flat)
    if layer.kind == "rescaling":
        assert layer.rescaling is not None
        return layers.Rescaling(*layer.rescaling)
    if layer.kind == "leaky_relu":
        return nn.LeakyReLU(layer.slope)
    if layer.kind == "prelu":
        return nn.PReLU(layer.in_features)
    if layer.kind == "activation":
        return layers.activation(layer.activation)
    if layer.kind == "dropout":
        return nn.Dropout(layer.rate)
    if layer.kind == "concat":
        return layers.Concat()
    return layers.FlattenHWC() if layer.kind == "flatten_hwc" else nn.Flatten(1)


class ResNet(nn.Module):
    """The network of an `Architecture`; torchvision's ResNet-50 without one.

    Input: float (N, C_in, H, W). Output: logits (N, classes); the feature map (N, C, H, W) or
    its pooled vector (N, C) for a headless network; a dict by Keras layer name for several
    outputs. `state_dict()` carries the architecture, and a strict `load_state_dict` refuses the
    weights of another one. `original_layers` names the layers of the original that modules stand
    for, `{module: layer}`, where the weights came with their names.
    """

    def __init__(self, architecture: Architecture | None = None) -> None:
        super().__init__()
        self.architecture = architecture or resnet()
        self.original_layers: dict[str, str] = {}
        stem = self.architecture.stem
        activation, slope = self.architecture.activation, self.architecture.slope
        if stem.channels:
            self.channels = layers.Channels(stem.channels)
        if stem.rescaling:
            self.rescaling = layers.Rescaling(*stem.rescaling)
        if stem.data_norm:
            self.bn_data = layers.normalisation(stem.data_norm)
        if stem.front:
            self.front = _front(stem.front)
        self.conv1 = _stem(stem, activation, slope)
        if stem.norm:
            self.bn1 = layers.normalisation(stem.norm)
        self.relu = layers.activation(activation, slope)
        self.stem_activation = stem.activation
        if stem.pool:
            self.maxpool = layers.pooling(stem.pool)
        for number, stage in enumerate(self.architecture.stages, start=1):
            self.add_module(f"layer{number}", self._stage(stage))
        if self.architecture.norm:
            self.norm = layers.normalisation(self.architecture.norm)
        self._add_head()

    def _stage(self, stage: tuple[Block, ...]) -> nn.Sequential:
        activation = (self.architecture.activation, self.architecture.slope)
        return nn.Sequential(*(BLOCKS[len(block.convs)](block, *activation) for block in stage))

    def _add_head(self) -> None:
        if not self.architecture.is_plain_head:
            self.head = Head(self.architecture)
            return
        pool, dense = self.architecture.head[0], self.architecture.head[-1]
        whole = pool.kind == "global_avg_pool"
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1)) if whole else _head_module(pool, flat=False)
        self.fc = _head_module(dense, flat=True)

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        maps: dict[int, Tensor] = {}
        return self.forward_head(self.forward_features(x, maps), maps)

    def forward_features(self, x: Tensor, maps: dict[int, Tensor] | None = None) -> Tensor:
        """(N, C_in, H, W) → the map of the last block, (N, features, h, w). Those of earlier stages
        that the network returns too are put into `maps`, by number, from 1."""
        wanted = {output.stage for output in self.architecture.outputs}
        for name in ("channels", "rescaling", "bn_data", "front", "conv1", "bn1"):
            module = getattr(self, name, None)
            x = x if module is None else module(x)
        x = self.relu(x) if self.stem_activation else x
        x = self.maxpool(x) if hasattr(self, "maxpool") else x
        for number in range(1, len(self.architecture.stages) + 1):
            x = getattr(self, f"layer{number}")(x)
            if maps is not None and number in wanted:
                maps[number] = x
        return self.relu(self.norm(x)) if hasattr(self, "norm") else x

    def forward_head(
        self, x: Tensor, maps: Mapping[int, Tensor] = NO_MAPS
    ) -> Tensor | dict[str, Tensor]:
        """The map of the last block, and those of earlier stages that are returned too → what
        `forward` returns. Raises KeyError where one of those is not given."""
        if not hasattr(self, "fc"):
            return self.head(x, maps)  # type: ignore[no-any-return]
        return self.fc(self.avgpool(x).flatten(1))  # type: ignore[no-any-return]

    def get_extra_state(self) -> dict[str, Any]:
        """What describes the tensors, kept beside them as `_extra_state`."""
        state = {"format": FORMAT, "architecture": self.architecture.to_dict()}
        return {**state, "layers": self.original_layers} if self.original_layers else state

    def set_extra_state(self, state: dict[str, Any] | Tensor) -> None:
        """Refuse weights that were made for another network."""
        description = described(state)
        if _computed(description.get("architecture")) != _computed(self.architecture):
            raise ValueError(
                "these weights belong to another architecture; build the network from theirs: "
                "resnet_pt.load(path), or ResNet(Architecture.from_dict(state['architecture']))"
            )
        self.original_layers = dict(description.get("layers", {}))


def _computed(architecture: Any) -> Architecture | None:
    """Without what is known of the pictures: it describes them, and changes no number. None for
    what is no architecture."""
    try:
        is_read = isinstance(architecture, Architecture)
        found: Architecture = architecture if is_read else Architecture.from_dict(architecture)
    except ValueError:
        return None
    return replace(found, input_size=None, preprocessing=None)


def described(state: dict[str, Any] | Tensor) -> dict[str, Any]:
    """The description in an `_extra_state`: a dict, or, from safetensors, the bytes of its JSON."""
    if isinstance(state, Tensor):
        state = json.loads(state.cpu().numpy().tobytes())
    if not isinstance(state, dict):
        raise ValueError("_extra_state holds no description of a network")
    return state
