"""What was written, run by itself: a fresh interpreter without this package or Keras."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from converter.errors import ParityError
from converter.files.checkpoint import Array

BANNED = ("converter", "resnet_pt", "keras", "tf_keras", "tensorflow")

CHILD = """
import importlib.util, sys
from pathlib import Path

folder, given, found, dtype, banned = Path(sys.argv[1]), *sys.argv[2:]
for name in banned.split(","):
    sys.modules[name] = None
spec = importlib.util.spec_from_file_location("model", folder / "model.py")
model = importlib.util.module_from_spec(spec)
spec.loader.exec_module(model)

import numpy as np
import torch

network = model.load().to(getattr(torch, dtype))
stored = np.load(given)
count = len(stored.files)
given = [torch.from_numpy(stored[f"input_{i}"]).to(getattr(torch, dtype)) for i in range(count)]
with torch.inference_mode():
    result = network(*given)
named = result if isinstance(result, dict) else {"": result}
np.savez(found, *[one.numpy() for one in named.values()], names=np.array(list(named)))
model.check()
"""

MINUTES = 30
"""That the other interpreter may take."""


def run(folder: Path, batch: tuple[Array, ...], dtype: str = "float32") -> dict[str, Array]:
    """What the network of a folder gives for a batch, by output; it repeats its own check too.
    Raises ParityError where it does not run, with what the interpreter said."""
    with tempfile.TemporaryDirectory() as place:
        given, found = Path(place) / "given.npz", Path(place) / "found.npz"
        np.savez(given, **{f"input_{n}": one for n, one in enumerate(batch)})  # type: ignore[arg-type]
        where = [str(folder), str(given), str(found), dtype, ",".join(BANNED)]
        try:
            done = subprocess.run(
                [sys.executable, "-I", "-B", "-c", CHILD, *where],
                cwd=place,
                capture_output=True,
                text=True,
                timeout=60 * MINUTES,
            )
        except subprocess.TimeoutExpired as error:
            words = [f"it is not done after {MINUTES} minutes"]
            raise ParityError("the written source does not run by itself", words) from error
        if done.returncode:
            said = done.stderr.strip().splitlines()[-6:]
            raise ParityError("the written source does not run by itself", said)
        with np.load(found) as stored:
            names = [str(name) for name in stored["names"]]
            return {name: stored[f"arr_{n}"] for n, name in enumerate(names)}
