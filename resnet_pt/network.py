"""ResNet as torchvision names it, built from an `Architecture`, readable top to bottom."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from torch import Tensor, nn

from resnet_pt.architecture import FORMAT, Architecture, Block
from resnet_pt.factory import resnet
from resnet_pt.lower import features_of, lower, lower_block
from resnet_pt.ops import Op, Scale
from resnet_pt.running import Container, Network, container


class ResidualBlock(Container):
    """Convolutions with norms between them, and a sum with the shortcut, as `described`.

    Input (N, C_in, H, W), output (N, C_out, H / stride, W / stride). `keras_name` is the name in
    Keras, where it was given.
    """

    described: Block
    relu: nn.Module
    downsample: nn.Module
    keras_name = ""


class Bottleneck(ResidualBlock):
    """1x1, 3x3, 1x1."""


class BasicBlock(ResidualBlock):
    """3x3, 3x3."""


class Head(Container):
    """The layers after the last block, by their Keras names."""


BLOCKS: dict[int, type[ResidualBlock]] = {2: BasicBlock, 3: Bottleneck}
NO_MAPS: Mapping[int, Tensor] = MappingProxyType({})


def residual_block(block: Block, activation: Op) -> ResidualBlock:
    """A block alone."""
    module = container(lower_block(block, activation), BLOCKS[len(block.convs)])
    assert isinstance(module, ResidualBlock)
    return _as_torchvision(module, block)


def _as_torchvision(module: ResidualBlock, block: Block) -> ResidualBlock:
    """With its modules in the order in which torchvision's print."""
    module.described = block
    for name in ("relu", "downsample"):
        if name in module._modules:
            module._modules[name] = module._modules.pop(name)
    return module


class ResNet(Network):
    """The network of an `Architecture`; torchvision's ResNet-50 without one.

    Input: float (N, C_in, H, W). Output: logits (N, classes); the feature map (N, C, H, W) or
    its pooled vector (N, C) for a headless network; a dict by Keras layer name for several
    outputs. `state_dict()` carries the architecture, and a strict `load_state_dict` refuses the
    weights of another one. `original_layers` names the layers of the original that modules stand
    for, `{module: layer}`, where the weights came with their names.
    """

    conv1: nn.Module
    maxpool: nn.Module
    fc: nn.Module

    def __init__(self, architecture: Architecture | None = None) -> None:
        described = architecture or resnet()
        blocks = {
            f"layer{number}.{index}": block
            for number, stage in enumerate(described.stages, start=1)
            for index, block in enumerate(stage)
        }
        kinds = {path: BLOCKS[len(block.convs)] for path, block in blocks.items()}
        super().__init__(lower(described), {**kinds, "head": Head})
        self.architecture = described
        self.original_layers: dict[str, str] = {}
        for path, block in blocks.items():
            module = self.get_submodule(path)
            assert isinstance(module, ResidualBlock)
            _as_torchvision(module, block)
        self._features = self._values.index(features_of(described))
        self._maps = {
            one.stage: self._values.index(value.value)
            for one, value in zip(described.outputs, self.program.outputs, strict=True)
            if one.stage
        }

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:  # type: ignore[override]
        return super().forward(x)  # type: ignore[no-any-return]

    def forward_features(self, x: Tensor, maps: dict[int, Tensor] | None = None) -> Tensor:
        """(N, C_in, H, W) → the map of the last block, (N, features, h, w). Those of earlier stages
        that the network returns too are put into `maps`, by number, from 1."""
        values: list[Any] = [x, *[None] * (len(self._values) - 1)]
        self._run(values, self._steps[: self._head])
        if maps is not None:
            maps.update((stage, values[place]) for stage, place in self._maps.items())
        return values[self._features]  # type: ignore[no-any-return]

    def forward_head(
        self, x: Tensor, maps: Mapping[int, Tensor] = NO_MAPS
    ) -> Tensor | dict[str, Tensor]:
        """The map of the last block, and those of earlier stages that are returned too → what
        `forward` returns. Raises KeyError where one of those is not given."""
        values: list[Any] = [None] * len(self._values)
        values[self._features] = x
        for stage, place in self._maps.items():
            values[place] = maps[stage]
        self._run(values, self._steps[self._head :])
        found = [values[place] for place in self._returned]
        return self.results(found[0] if len(found) == 1 else found)  # type: ignore[no-any-return]

    @property
    def _head(self) -> int:
        """The first step behind the map of the last block."""
        return 1 + next(n for n, step in enumerate(self._steps) if self._features in step.gives)

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
        scales = {  # an earlier version gave the Scale's layer to the norm in front of it
            layer.module.removesuffix(".scale"): layer.module
            for layer in self.program.layers
            if isinstance(layer.op, Scale)
        }
        given = description.get("layers", {})
        self.original_layers = {scales.get(name, name): layer for name, layer in given.items()}


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
