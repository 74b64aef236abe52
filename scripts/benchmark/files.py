"""The models that are converted, made here: `python -m benchmark.files KIND PATH`.

Keras makes each in a process of its own, with weights that it drew; they are kept in the folder of
the benchmark and not made again.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

KINDS = ("resnet50", "resnet101", "resnet152", "wide", "mobilenetv2", "unet")
"""`wide` is a ResNet-50 of 4.4 times the width: a file of 2 GB."""


def model_file(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.h5"
    if not path.is_file():
        draft = folder / f"{kind}-draft.h5"
        subprocess.run([sys.executable, "-m", "benchmark.files", kind, str(draft)], check=True)
        draft.replace(path)
    return path


def make(kind: str, path: str) -> None:
    import keras
    from legacy_resnet50 import fill, resnet50

    from benchmark.by_hand import keras_unet

    if kind == "unet":
        keras_unet().save(path)
        return
    if kind == "mobilenetv2":
        keras.applications.MobileNetV2(weights=None).save(path)
        return
    if kind in ("resnet101", "resnet152"):
        network = getattr(keras.applications, kind.replace("resnet", "ResNet"))
        network(weights=None).save(path)
        return
    model = resnet50(width=284 if kind == "wide" else 64)
    if kind == "resnet50":
        fill(model)
    model.save(path)


def picture_folder(folder: Path, count: int) -> Path:
    """`count` pictures of 224x224, the same ones every time."""
    import numpy as np
    from PIL import Image

    found = folder / f"pictures-{count}"
    found.mkdir(exist_ok=True)
    generator = np.random.default_rng(2016)
    for number in range(count):
        coarse = generator.integers(0, 255, (14, 14, 3), dtype=np.uint8)
        picture = Image.fromarray(coarse).resize((224, 224), Image.Resampling.BILINEAR)
        picture.save(found / f"{number:05}.png")
    return found


def proof_inputs(folder: Path) -> Path:
    """The inputs that the proof of logits predicts for a network fixed to 224x224."""
    import numpy as np

    import resnet_pt
    from converter.parity.comparing.inputs import inputs

    path = folder / "inputs.npz"
    pictures = inputs(resnet_pt.resnet(), (224, 224))
    np.savez(path, *pictures)
    return path


if __name__ == "__main__":
    make(*sys.argv[1:])
