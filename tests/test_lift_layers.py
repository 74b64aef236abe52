"""Each layer class with random settings, against live Keras 3 in float64."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from converter.errors import MismatchError
from converter.files.opening import open_source
from converter.identify import identify
from converter.mapping.plan import make_plan
from converter.options import Options
from resnet_pt.general import General

ROUNDS = 3
ALLOWED = 1e-12
IN_FLOAT32 = {"Resizing": 1e-6, "UpSampling2D": 1e-6, "LeakyReLU": 1e-8, "ReLU": 1e-8}
"""Layers of which TensorFlow computes something in float32 whatever they are told: tf.image.resize
all of it, a leaky relu its slope."""
GELU = 1e-7
"""Of gelu it is the divisor, the root of 2."""


@pytest.mark.keras
@pytest.mark.parametrize("seed", [2016])
def test_each_layer_gives_what_keras_gives(seed, tmp_path):
    from layer_models import CLASSES

    script = Path(__file__).with_name("layer_models.py")
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "KERAS_BACKEND": "tensorflow"}
    count = str(ROUNDS * len(CLASSES))
    command = [sys.executable, str(script), str(tmp_path), str(seed), count]
    subprocess.run(command, env={**os.environ, **quiet}, check=True, capture_output=True)
    made = json.loads((tmp_path / "made.json").read_text())

    wrong, compared = [], set()
    for number, (name, chosen, refused) in made.items():
        if refused:
            continue
        try:
            apart = difference(tmp_path / f"{number}.keras", tmp_path / f"{number}.npz")
        except MismatchError as error:
            wrong.append((name, chosen, str(error)))
            continue
        compared.add(name)
        allowed = GELU if chosen.get("activation") == "gelu" else IN_FLOAT32.get(name, ALLOWED)
        if not apart <= allowed:
            wrong.append((name, chosen, apart))

    assert wrong == []
    assert compared == set(CLASSES)


def difference(file: Path, record: Path) -> float:
    """How far the converted layer is from Keras', relative to the largest number."""
    with open_source(file, Options()) as checkpoint:
        network = identify(checkpoint, Options())
        tensors = dict(make_plan(checkpoint, network).tensors(checkpoint))
    model = General(network.program).eval()
    state = {name: torch.from_numpy(np.array(one)) for name, one in tensors.items()}
    model.load_state_dict({**state, "_extra_state": model.get_extra_state()})
    known = np.load(record)
    with torch.inference_mode():
        found = model.double()(torch.from_numpy(known["x"]).double().movedim(-1, 1))
    (output,) = model.outputs
    if output.activation == "softmax":
        found = found.softmax(2 if found.dim() == 3 else 1)
    found = found.movedim(1, -1) if found.dim() >= 4 else found
    if tuple(found.shape) != known["y"].shape:
        return float("inf")
    return float(np.abs(found.numpy() - known["y"]).max() / np.abs(known["y"]).max())
