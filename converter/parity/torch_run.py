"""The converted network's side: its logits and samples of its layers, on any device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from converter.checkpoint import Array
from converter.parity.recording import Sample
from resnet_pt.architecture import Architecture
from resnet_pt.network import ResNet


def build(architecture: Architecture, tensors: Mapping[str, Array]) -> ResNet:
    """The network with these tensors, in eval mode, in float32 on the CPU."""
    with torch.device("meta"):
        model = ResNet(architecture)
    state: dict[str, Any] = {name: torch.from_numpy(array) for name, array in tensors.items()}
    state["_extra_state"] = model.get_extra_state()
    model.load_state_dict(state, assign=True)
    return model.eval()


@contextmanager
def arithmetic(exact: bool) -> Iterator[None]:
    """Without TF32 if `exact` (its 10-bit mantissa would hide an error, and look like one)."""
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = not exact
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn


def run_nchw(model: nn.Module, pictures: Array, dtype: str) -> dict[str, Array]:
    """What the network returns for a batch (N, C, H, W) on the CPU, by output name."""
    kind = getattr(torch, dtype)
    with torch.inference_mode():
        result = model.to("cpu", kind)(torch.from_numpy(pictures).to(kind))
    found = result if isinstance(result, dict) else {"": result}
    return {name: tensor.numpy() for name, tensor in found.items()}


def run(model: nn.Module, picture: Array, dtype: str, device: str) -> dict[str, Array]:
    """Logits by output name ('' for the only one) for a batch (N, H, W, C); maps too are NHWC."""
    model = model.to(device, getattr(torch, dtype))
    x = torch.from_numpy(np.ascontiguousarray(picture.transpose(0, 3, 1, 2)))
    with torch.inference_mode():
        result = model(x.to(device, getattr(torch, dtype)))
    found = result if isinstance(result, dict) else {"": result}
    return {name: channels_last(tensor) for name, tensor in found.items()}


def channels_last(tensor: torch.Tensor) -> Array:
    """A map as (N, H, W, C), a vector as it is, on the CPU."""
    moved = tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor
    return moved.contiguous().cpu().numpy()


@contextmanager
def sampled(
    model: nn.Module, outputs: Mapping[str, str], wanted: Mapping[str, Sample]
) -> Iterator[dict[str, Array]]:
    """While the context lasts, every module in `outputs` ({module: Keras layer}) whose layer is
    `wanted` leaves its values at the layer's sampled positions, in the order of running."""
    found: dict[str, Array] = {}
    handles = []
    for module, layer in outputs.items():
        if layer in wanted:
            target = model.get_submodule(module)
            hook = partial(_keep, found, layer, wanted[layer].index)
            handles.append(target.register_forward_hook(hook))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _keep(
    found: dict[str, Array], layer: str, index: Array, module: nn.Module, args: Any, result: Any
) -> None:
    """Copy at once: an activation in place would change the values."""
    flat = channels_last(result.detach()).ravel()
    there = index < flat.size  # a map of another size is different, not an error
    found[layer] = np.where(there, flat[np.where(there, index, 0)], np.nan)
