"""Originals that need no Keras: what a converted network itself computes."""

from __future__ import annotations

import numpy as np
from helpers import FIXTURES

from converter.parity import torch_run
from converter.parity.layers import as_array, compared
from converter.parity.recording import Pass, Recording, Sample


def whole_recording(network, tensors, dtype="float64", keep=lambda layer: True):
    """What the network itself computes, every layer whole: a stand-in for Keras."""
    model = torch_run.build(network.architecture, tensors)
    outputs = compared(network.structure)
    picture = np.load(FIXTURES / "keras-2.3.1-conv_block-50.npz")["input"][:1, :64, :64]
    seen = {}

    def look(module, layer, inputs, result):
        seen[layer] = as_array(result)

    with torch_run.watched(model, outputs, outputs.values(), look):
        logits = torch_run.run(model, picture, dtype, "cpu")
    layers = {k: Sample(None, v.ravel(), v.shape) for k, v in seen.items() if keep(k)}
    return Recording((Pass(picture, logits, layers, dtype),), "a stand-in", {"kind": "logits"})
