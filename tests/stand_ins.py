"""Originals that need no Keras: what a converted network itself computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from helpers import FIXTURES, pictures_of

from converter.parity.comparing import torch_run
from converter.parity.comparing.layers import as_array, compared
from converter.parity.original.recording import Pass, Recording, Sample, read_record


def whole_recording(network, tensors, dtype="float64", keep=lambda layer: True):
    """What the network itself computes, every layer whole: a stand-in for Keras."""
    model = torch_run.build(network.architecture, tensors)
    outputs = compared(network.structure)
    picture = pictures_of(FIXTURES / "keras-2.2.4-tensorflow.npz")[:1, :64, :64]
    seen = {}

    def look(module, layer, inputs, result):
        seen[layer] = as_array(result)

    with torch_run.watched(model, outputs, outputs.values(), look):
        logits = torch_run.run(model, picture, dtype, "cpu")
    layers = {k: Sample(None, v.ravel(), v.shape) for k, v in seen.items() if keep(k)}
    return Recording((Pass(picture, logits, layers, dtype),), "a stand-in", {"kind": "logits"})


@contextmanager
def original_not_asked(path: Path) -> Iterator[None]:
    """Conversions in which a definition built from our own reading answers in Keras' place, with
    what the original's record at `path` has: Keras need not be here."""
    meta = {"kind": "logits", "reason": "the file holds weights only"}
    own = replace(read_record(path), is_original=False, oracle="our own definition", meta=meta)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("converter.conversion.will_ask_keras", lambda *_: False)
        patch.setattr("converter.parity.prove.is_installed", lambda: True)
        patch.setattr("converter.parity.prove.ask_keras", lambda *_: own)
        yield
