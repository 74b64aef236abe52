"""The converted network's side: its logits and its layers, on any device."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from converter.files.checkpoint import Array
from converter.parity.comparing.compare import as_array
from converter.parity.comparing.rounding import Sums, watched_sums
from resnet_pt.architecture import Architecture
from resnet_pt.files import built
from resnet_pt.general import General
from resnet_pt.network import ResNet
from resnet_pt.program import Program


def build(network: Architecture | Program, tensors: Mapping[str, Array]) -> ResNet | General:
    """The network with these tensors, in eval mode, in float32 on the CPU."""
    with torch.device("meta"):
        model = built(network)
    state: dict[str, Any] = {name: torch.from_numpy(array) for name, array in tensors.items()}
    state["_extra_state"] = model.get_extra_state()
    model.load_state_dict(state, assign=True)
    return model.eval()


@contextmanager
def arithmetic(reduced: str = "", device: str = "cpu") -> Iterator[None]:
    """Exact arithmetic; or `reduced`, as it may be in production: 'TF32', or 'bfloat16' by
    autocast. TF32's 10-bit mantissa would hide an error, and look like one."""
    matmul, cudnn = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = reduced == "TF32"
    try:
        with torch.autocast(device, torch.bfloat16, enabled=reduced == "bfloat16"):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = matmul, cudnn


def run_nchw(model: nn.Module, batch: Sequence[Array], dtype: str) -> Results:
    """What the network returns on the CPU, by output name, for an array for each input, (N, C, H,
    W) of maps."""
    kind = getattr(torch, dtype)
    with torch.inference_mode(), watched_sums(model) as sums:
        result = model.to("cpu", kind)(*(torch.from_numpy(one).to(kind) for one in batch))
    found = result if isinstance(result, dict) else {"": result}
    arrays = {name: tensor.numpy() for name, tensor in found.items()}
    return Results(arrays, {name: sums(tensor) for name, tensor in found.items()})


class Results(dict[str, Array]):
    """What a network returns, by output name, and the `sums` behind it."""

    def __init__(self, arrays: Mapping[str, Array], sums: Mapping[str, Sums]) -> None:
        super().__init__(arrays)
        self.sums = dict(sums)


Given = Array | Sequence[Array]
"""A batch (N, H, W, C), or one for each input of a network."""


def run(model: nn.Module, picture: Given, dtype: str, device: str) -> Results:
    """Logits by output name ('' for the only one) for a batch (N, H, W, C); maps too are NHWC."""
    return _run(model, picture, dtype, device, torch.contiguous_format)


def run_reordered(model: nn.Module, picture: Given, dtype: str) -> Results:
    """The same on the CPU with its sums in another order (torch's channels_last kernels): what
    differs is rounding."""
    return _run(model, picture, dtype, "cpu", torch.channels_last)


class CannotRunError(RuntimeError):
    """A network that cannot take a picture: maps of two sizes meet, or none is left to pool."""


@contextmanager
def _can_run() -> Iterator[None]:
    """MemoryError and what is wrong with a device stay what they are."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, IndexError) as error:
        raise CannotRunError(str(error).partition("\n")[0]) from error


def _run(
    model: nn.Module, picture: Given, dtype: str, device: str, memory: torch.memory_format
) -> Results:
    model = model.to(device, getattr(torch, dtype))
    given = [picture] if isinstance(picture, np.ndarray) else picture
    read = [_as_read(one, dtype, device, memory) for one in given]
    with torch.inference_mode(), _can_run(), watched_sums(model) as sums:
        result = model(*read)
    found = result if isinstance(result, dict) else {"": result}
    strange = [type(one).__name__ for one in found.values() if not isinstance(one, torch.Tensor)]
    if strange:
        raise CannotRunError(f"it returns {strange[0]}, not a tensor or a dict of tensors")
    arrays = {name: as_array(tensor) for name, tensor in found.items()}
    return Results(arrays, {name: sums(tensor) for name, tensor in found.items()})


def _as_read(array: Array, dtype: str, device: str, memory: torch.memory_format) -> torch.Tensor:
    """A map with its channels second, anything else as it lies in Keras."""
    moved = np.moveaxis(array, -1, 1) if array.ndim >= 4 else array
    x = torch.from_numpy(np.ascontiguousarray(moved)).to(device, getattr(torch, dtype))
    return x.contiguous(memory_format=memory) if x.dim() == 4 else x


Look = Callable[[str, str, Any, torch.Tensor], torch.Tensor | None]
"""`look(module, layer, inputs, result)`: what it returns, if anything, replaces the result."""


@contextmanager
def watched(
    model: nn.Module, outputs: Mapping[str, str], wanted: Collection[str], look: Look | None
) -> Iterator[None]:
    """While the context lasts, every module in `outputs` ({module: Keras layer}) whose layer is
    `wanted` shows its inputs and its result as it runs, before an activation in place changes
    them."""
    handles = []
    for module, layer in outputs.items():
        if look and layer in wanted:
            hook = partial(_show, look, module, layer)
            handles.append(model.get_submodule(module).register_forward_hook(hook))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _show(look: Look, name: str, layer: str, module: nn.Module, args: Any, result: Any) -> Any:
    return look(name, layer, args, result)
