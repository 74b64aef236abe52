"""What holds for all tests."""

from __future__ import annotations

import os

import pytest
from helpers import FIXTURES

from converter.conversion import convert

# TensorFlow has convolutions of maps (N, C, H, W) on a CPU in oneDNN alone, which it leaves out on
# some processors: tests make and record such models by Keras in processes of their own.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    """A function from a network's name to its converted file."""
    folder, done = tmp_path_factory.mktemp("targets"), {}

    def find(name):
        if name not in done:
            done[name] = folder / f"{name}.pth"
            convert(FIXTURES / "networks" / f"{name}.h5", done[name], parity=False)
        return done[name]

    return find
