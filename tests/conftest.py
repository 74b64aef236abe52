"""What holds for all tests."""

from __future__ import annotations

import os

# TensorFlow has convolutions of maps (N, C, H, W) on a CPU in oneDNN alone, which it leaves out on
# some processors: tests make and record such models by Keras in processes of their own.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
