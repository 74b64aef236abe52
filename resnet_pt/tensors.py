"""The tensors of a network, from its `Architecture` alone: names, shapes, and their Keras names.

The names are torchvision's. A test holds this list against the `state_dict` that
`resnet_pt.ResNet` really has; it exists apart so that planning a conversion needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from resnet_pt.architecture import Architecture, Block, Conv, HeadLayer, Norm, Shape


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a module. `parameter` is Keras' name for it ('' where Keras has none); one that
    the original lacks is not `required` and holds `constant`."""

    name: str
    shape: Shape
    parameter: str = ""
    required: bool = True
    constant: float = 0.0


@dataclass(frozen=True, slots=True)
class Part:
    """A module with tensors: `module` is its path in the network, `eps` a norm's epsilon."""

    module: str
    kind: Literal["conv", "norm", "scale", "dense", "prelu"]
    targets: tuple[Tensor, ...]
    eps: float = 0.0


def tensors(architecture: Architecture) -> dict[str, Shape]:
    """`{name: shape}` in the order of the network's `state_dict`; a counter has shape ()."""
    return {
        f"{part.module}.{target.name}": target.shape
        for part in parts(architecture)
        for target in part.targets
    }


def head_prefix(architecture: Architecture, layer: HeadLayer) -> str:
    """The module that a head layer becomes: torchvision's `fc`, or `head.<name>`."""
    return "fc" if architecture.is_plain_head else f"head.{module_name(layer.name)}"


RESERVED = frozenset(
    [
        *("T_destination", "add_module", "apply", "bfloat16", "buffers", "call_super_init"),
        *("children", "clear", "compile", "cpu", "cuda", "double", "dump_patches", "eval"),
        *("extra_repr", "float", "forward", "get_buffer", "get_extra_state", "get_parameter"),
        *("get_submodule", "half", "ipu", "items", "keys", "load_state_dict", "modules", "mtia"),
        *("named_buffers", "named_children", "named_modules", "named_parameters", "parameters"),
        *("pop", "register_backward_hook", "register_buffer", "register_forward_hook"),
        *("register_forward_pre_hook", "register_full_backward_hook"),
        *("register_full_backward_pre_hook", "register_load_state_dict_post_hook"),
        *("register_load_state_dict_pre_hook", "register_module", "register_parameter"),
        *("register_state_dict_post_hook", "register_state_dict_pre_hook", "requires_grad_"),
        *("results", "set_extra_state", "set_submodule", "share_memory", "sources", "state_dict"),
        *("to", "to_empty", "train", "training", "type", "update", "values", "xpu", "zero_grad"),
    ]
)
"""Names that a torch module has itself, which no layer in it can have (torch 2.13)."""


def module_name(layer: str) -> str:
    """A Keras layer's name as a module's: torch reserves the dot and its own names, files like no
    slash."""
    name = layer.replace(".", "_").replace("/", "_")
    return f"{name}_layer" if name in RESERVED or name.startswith("_") else name


def parts(architecture: Architecture) -> Iterator[Part]:
    """Every module that has tensors, in the order of the network."""
    stem = architecture.stem
    if stem.data_norm:
        yield from _norm("bn_data", stem.data_norm)
    for number, one in enumerate(stem.front):
        yield _conv(f"front.{3 * number}", one.conv)
        if one.norm:
            yield from _norm(f"front.{3 * number + 1}", one.norm)
    for number, (conv, norm) in enumerate(stem.deep):
        yield _conv(f"conv1.{3 * number}", conv)
        yield from _norm(f"conv1.{3 * number + 1}", norm)
    yield _conv(stem.module, stem.conv)
    if stem.norm:
        yield from _norm("bn1", stem.norm)
    for number, stage in enumerate(architecture.stages, start=1):
        for index, block in enumerate(stage):
            yield from _block(f"layer{number}.{index}", block)
    if architecture.norm:
        yield from _norm("norm", architecture.norm)
    for layer in architecture.head:
        yield from _head(head_prefix(architecture, layer), layer)


def _block(prefix: str, block: Block) -> Iterator[Part]:
    for number, (conv, norm) in enumerate(zip(block.convs, block.norms, strict=True), start=1):
        normed = list(_norm(f"{prefix}.bn{number}", norm)) if norm else []
        convolved = [_conv(f"{prefix}.conv{number}", conv)]
        yield from (normed + convolved if block.preactivation else convolved + normed)
    if block.shortcut and block.shortcut.conv:
        yield _conv(f"{prefix}.downsample.0", block.shortcut.conv)
    if block.shortcut and block.shortcut.norm:
        yield from _norm(f"{prefix}.downsample.1", block.shortcut.norm)


def _conv(module: str, conv: Conv) -> Part:
    shape = (conv.out_channels, conv.in_channels // conv.groups, *conv.kernel)
    bias = (Tensor("bias", (conv.out_channels,), "bias"),) if conv.bias else ()
    return Part(module, "conv", (Tensor("weight", shape, "kernel"), *bias))


def _norm(module: str, norm: Norm) -> Iterator[Part]:
    shape = (norm.channels,)
    yield Part(
        module,
        "norm",
        (
            Tensor("weight", shape, "gamma", norm.gamma, constant=1.0),
            Tensor("bias", shape, "beta", norm.beta, constant=0.0),
            Tensor("running_mean", shape, "moving_mean"),
            Tensor("running_var", shape, "moving_variance"),
            Tensor("num_batches_tracked", (), "", required=False),
        ),
        norm.eps,
    )
    if norm.rescale:
        targets = (Tensor("weight", shape, "gamma"), Tensor("bias", shape, "beta"))
        yield Part(f"{module}.scale", "scale", targets)


def _head(module: str, layer: HeadLayer) -> Iterator[Part]:
    if layer.kind == "dense":
        weight = Tensor("weight", (layer.out_features, layer.in_features), "kernel")
        bias = (Tensor("bias", (layer.out_features,), "bias"),) if layer.bias else ()
        yield Part(module, "dense", (weight, *bias))
    if layer.conv:
        yield _conv(module, layer.conv)
    if layer.kind == "prelu":
        yield Part(module, "prelu", (Tensor("weight", (layer.in_features,), "alpha"),))
    if layer.kind == "norm":
        assert layer.norm is not None
        yield from _norm(module, layer.norm)
