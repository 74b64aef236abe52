"""Single faults that a conversion of a general network can have.

Faults of tensors, and of the modules that have them, are those of residual networks (faults.py);
here are those of layers that only other networks have, and of layers without weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from faults import (
    BIASED,
    CONV,
    CONV3,
    DENSE,
    FAULTS,
    NORM,
    NORM_TWIN,
    SQUARE,
    TWIN,
    Conversion,
    Fault,
    Site,
    kernel,
    on_model,
    on_module,
)
from torch.nn import functional as F

from converter.parity.comparing import torch_run
from converter.parity.comparing.inputs import inputs_of_program
from converter.parity.comparing.layers import as_array, compared
from converter.parity.original.recording import Pass, Recording, Sample
from resnet_pt.ops import Activation, Add, Concatenate, Op, Pad, Pool, Upsample


@dataclass
class General(Conversion):
    """A general network that was converted rightly, to be broken; `architecture` is its program."""

    def names(self) -> dict[str, str]:
        layers = {one.module: one.original for one in self.network.program.layers}
        return {**layers, **compared(self.network.structure)}


SHARED = (CONV, CONV3, SQUARE, TWIN, BIASED, NORM, NORM_TWIN, DENSE)
"""Where faults of residual networks can be in any other."""

BETWEEN_INPUTS = ("two inputs swapped", "inputs shifted by one", "kernel's in and out swapped")
"""Faults that a depthwise kernel, with one input for each output, cannot have."""


def anywhere(fault: Fault) -> Fault:
    """The fault, where this network can have it."""

    def sites(one: Conversion) -> list[Site]:
        found = fault.sites(one)
        if fault.kind in BETWEEN_INPUTS:
            found = [site for site in found if kernel(one, site.module).shape[1] > 1]
        return found

    return Fault(fault.kind, sites, fault.make)


def of(kind: type[Op], fits: Callable[[Any], bool] = lambda op: True) -> Any:
    """The layers of an op that have a module."""

    def sites(one: Conversion) -> list[Site]:
        names = one.names()
        return [
            Site(layer.module, names[layer.module])
            for layer in one.network.program.layers
            if type(layer.op) is kind and fits(layer.op) and layer.module in names
        ]

    return sites


def instead(compute: Callable[..., Any]) -> Any:
    """`compute(usual, *values)` in the place of what a module gives."""

    def change(module: Any) -> None:
        usual = module.forward
        module.forward = lambda *values: compute(usual, *values)

    return on_module(change)


def first_layer(one: Conversion) -> list[Site]:
    """The layer that reads the network's input and shows what is wrong with it."""
    (given,) = one.network.program.inputs
    names = one.names()
    readers = [layer for layer in one.network.program.layers if given.name in layer.inputs]
    return [Site("", names[layer.module]) for layer in readers if layer.module in names][:1]


def fed(change: Callable[[Any], Any]) -> Any:
    return on_model(
        lambda model: model.register_forward_pre_hook(lambda module, args: (change(args[0]),))
    )


def moved(x: Any) -> Any:
    """A map moved by a pixel."""
    return x.roll(1, -1)


def coarser(usual: Any, x: Any) -> Any:
    """Linear between the elements, and not their repetition."""
    size = usual(x).shape[2:]
    return F.interpolate(x, size, mode="bilinear", align_corners=True)


ACTIVE = of(Activation, lambda op: op.name != "linear")
POOLS = of(Pool)

OTHERS = (
    Fault("activation missing", ACTIVE, instead(lambda usual, x: x)),
    Fault("leaky relu for the activation", ACTIVE, instead(lambda usual, x: F.leaky_relu(x, 0.01))),
    Fault("gelu for the activation", ACTIVE, instead(lambda usual, x: F.gelu(x))),
    Fault("activation bounded", ACTIVE, instead(lambda usual, x: usual(x).clamp(max=0.5))),
    Fault(
        "joined the other way round", of(Concatenate), instead(lambda usual, *v: usual(*v[::-1]))
    ),
    Fault(
        "one of the joined zero",
        of(Concatenate),
        instead(lambda usual, *v: usual(*v[:-1], v[-1] * 0)),
    ),
    Fault("one of the summed left out", of(Add), instead(lambda usual, *v: v[0])),
    Fault("summed subtracted", of(Add), instead(lambda usual, *v: v[0] - v[1])),
    Fault("sum halved", of(Add), instead(lambda usual, *v: usual(*v) / 2)),
    Fault("pool of the negative", POOLS, instead(lambda usual, x: -usual(-x))),
    Fault("pool moved by a pixel", POOLS, instead(lambda usual, x: usual(moved(x)))),
    Fault("pool's result mirrored", POOLS, instead(lambda usual, x: usual(x).flip(-1))),
    Fault("linear for nearest", of(Upsample), instead(coarser)),
    Fault("upsampled moved by a pixel", of(Upsample), instead(lambda usual, x: moved(usual(x)))),
    Fault("upsampled turned", of(Upsample), instead(lambda usual, x: usual(x).transpose(2, 3))),
    Fault(
        "zeros on the other side", of(Pad), instead(lambda usual, x: usual(x.flip(2, 3)).flip(2, 3))
    ),
    Fault("pictures / 255", first_layer, fed(lambda x: x / 255)),
    Fault("pictures less a mean", first_layer, fed(lambda x: x - 1)),
    Fault("pictures turned", first_layer, fed(lambda x: x.transpose(2, 3))),
)

GENERAL_FAULTS = (*(anywhere(one) for one in FAULTS if one.sites in SHARED), *OTHERS)


def recorded(network: Any, tensors: dict[str, np.ndarray]) -> Recording:
    """What the network itself computes, every layer whole: a stand-in for Keras."""
    model = torch_run.build(network.program, tensors)
    outputs = compared(network.structure)
    given = inputs_of_program(network.program)[0]
    seen: dict[str, Any] = {}

    def look(module: str, layer: str, inputs: Any, result: torch.Tensor) -> None:
        seen[layer] = as_array(result).copy()

    with torch_run.watched(model, outputs, outputs.values(), look):
        logits = torch_run.run(model, given, "float64", "cpu")
    layers = {name: Sample(None, one.ravel(), one.shape) for name, one in seen.items()}
    one = Pass(given[0], logits, layers, "float64")
    return Recording((one,), "a stand-in", {"kind": "logits"})
