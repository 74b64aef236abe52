"""What people would use instead, as small programs: `python -m benchmark.others WAY ARGUMENT…`.

Each does what it is named for and nothing else; what it needs is imported where it is needed, so
that every way pays for its own imports alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def plain_pth(source: str, target: str) -> None:
    """Read with h5py, transpose, `torch.save`, fsync. Nothing is checked, nothing is named."""
    import torch

    state = {name: torch.from_numpy(array) for name, array in _transposed(source).items()}
    with open(target, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())


def plain_safetensors(source: str, target: str) -> None:
    """The same without torch."""
    from safetensors.numpy import save_file

    save_file(_transposed(source), target)
    with open(target, "rb") as file:
        os.fsync(file.fileno())


def _transposed(source: str) -> dict[str, Any]:
    import h5py
    import numpy as np

    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            array = item[()]
            axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(array.ndim)
            if "depthwise_kernel" in name:
                axes = (2, 3, 0, 1)
            found[name] = np.ascontiguousarray(array.transpose(axes) if axes else array)

    with h5py.File(source) as file:
        file.get("model_weights", file).visititems(visit)
    return found


def keras_torch(source: str) -> None:
    """Keras 3 on its torch backend loads the file: the network in torch, inside of Keras."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras

    keras.models.load_model(source, compile=False)


def onnx(source: str, target: str) -> None:
    """tf2onnx, and onnx2torch behind it in a process of its own: TensorFlow and torch in one can
    crash."""
    import keras
    import tensorflow as tf
    import tf2onnx

    model = keras.models.load_model(source, compile=False)
    shape = (None, *model.input_shape[1:])
    signature = [tf.TensorSpec(shape, tf.float32, name="pictures")]
    function = tf.function(lambda x: model(x, training=False), input_signature=signature)
    program, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=13)
    between = Path(target).with_suffix(".onnx")
    between.write_bytes(program.SerializeToString())
    command = [sys.executable, "-m", "benchmark.others", "onnx-torch", str(between), target]
    subprocess.run(command, check=True)


def onnx_torch(source: str, target: str) -> None:
    import onnx2torch
    import torch

    torch.save(onnx2torch.convert(source).state_dict(), target)


def keras_predict(source: str, inputs: str) -> None:
    """Keras alone: load the model and predict the inputs that the proof predicts."""
    import keras
    import numpy as np

    model = keras.models.load_model(source, compile=False)
    for picture in np.load(inputs).values():
        model.predict(picture, verbose=0)


def forward(source: str, converted: str, folder: str) -> None:
    """The forward passes of both networks for a folder of pictures, Keras' in its own process."""
    keras = [sys.executable, "-m", "benchmark.others", "forward-keras", source, folder]
    subprocess.run(keras, check=True)
    import torch

    import resnet_pt

    model = resnet_pt.load(converted)
    with torch.inference_mode():
        for pictures in _batches(folder):
            model(torch.from_numpy(pictures).permute(0, 3, 1, 2))


def forward_keras(source: str, folder: str) -> None:
    import keras

    model = keras.models.load_model(source, compile=False)
    for pictures in _batches(folder):
        model.predict_on_batch(pictures)


def _batches(folder: str, size: int = 32) -> Any:
    import numpy as np
    from PIL import Image

    paths = sorted(Path(folder).iterdir())
    for start in range(0, len(paths), size):
        chosen = [Image.open(path).convert("RGB") for path in paths[start : start + size]]
        yield np.stack([np.asarray(one, np.float32) for one in chosen])


WAYS: dict[str, Callable[..., None]] = {
    "plain-pth": plain_pth,
    "plain-safetensors": plain_safetensors,
    "keras-torch": keras_torch,
    "onnx": onnx,
    "onnx-torch": onnx_torch,
    "keras-predict": keras_predict,
    "forward": forward,
    "forward-keras": forward_keras,
}

if __name__ == "__main__":
    WAYS[sys.argv[1]](*sys.argv[2:])
