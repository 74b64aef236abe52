"""A small network and small pictures, so that a training takes seconds."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import resnet_pt
from resnet_pt.network import ResNet
from resnet_pt.transfer import keras_initialised

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """A converted network of 3 classes; its epsilon and momentum are Keras'."""
    torch.manual_seed(1)
    architecture = resnet_pt.resnet((1, 1), 3, width=8, bias=True, eps=1e-3, momentum=0.01)
    model = ResNet(replace(architecture, preprocessing="tf", input_size=(24, 24)))
    keras_initialised(model)
    path = tmp_path_factory.mktemp("start") / "out.pth"
    resnet_pt.save(model, path)
    return path


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """30 pictures of stripes: across in `lying`, down in `standing`."""
    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for name, turn in (("lying", False), ("standing", True)):
        (folder / name).mkdir()
        for number in range(30):
            wave = 128 + 80 * np.sin(np.arange(24) * random.uniform(0.8, 1.2) + number)
            pixels = np.broadcast_to(wave[:, None, None], (24, 24, 3))
            pixels = pixels.swapaxes(0, 1) if turn else pixels
            noisy = np.clip(pixels + random.normal(0, 30, pixels.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(folder / name / f"{number:02}.png")
    return folder


def command(*arguments):
    return [sys.executable, "-m", "finetuning.cli", *map(str, arguments)]


def environment():
    path = os.pathsep.join([str(ROOT), str(ROOT / "scripts"), os.environ.get("PYTHONPATH", "")])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def finetune(*arguments):
    """The command in a process of its own, on the CPU."""
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
        timeout=900,
    )
