"""Networks with tensors that are far from trivial, and the Keras files that hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from converter.weights_only.dialects.res_branch import DIALECT
from converter.weights_only.expected import Code, keras_order
from resnet_pt.architecture import Architecture
from resnet_pt.ops import Conv, Norm, Tensor
from resnet_pt.program import Layer
from resnet_pt.tensors import parts


def random_tensors(architecture: Architecture, seed: int = 0) -> dict[str, np.ndarray]:
    """float32 tensors by name, for pictures from -128 to 128. One channel in ten is almost still
    behind its convolution, so that its variance is tiny and epsilon counts."""
    generator = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}
    convolution = ""
    for part in parts(architecture):
        for tensor in part.op.tensors():
            found[f"{part.module}.{tensor.name}"] = _values(generator, tensor)
        if isinstance(part.op, Conv):
            convolution = part.module
        elif isinstance(part.op, Norm):
            variance, kernel = found[f"{part.module}.running_var"], found[f"{convolution}.weight"]
            still = generator.random(variance.shape) < 0.1
            variance[still], kernel[still] = 1e-4, kernel[still] / 100
            variance *= 5000 if part.module == "bn1" else 1
    return found


def _values(generator: np.random.Generator, tensor: Tensor) -> np.ndarray:
    if tensor.name == "num_batches_tracked":
        return np.zeros((), np.int64)
    if tensor.name == "running_var":
        values = generator.uniform(0.5, 1.5, tensor.shape)
    elif tensor.name == "weight" and len(tensor.shape) > 1:
        values = generator.normal(0, np.prod(tensor.shape[1:]) ** -0.5, tensor.shape)
    else:
        values = generator.normal(0.7 if tensor.name == "weight" else 0, 0.2, tensor.shape)
    return values.astype(np.float32)


def weights_file(path: Path, architecture: Architecture, tensors: dict[str, Any]) -> Path:
    """The weights-only file that Keras 2.2.4 would have written, in the naming `res-branch`."""
    layers = {module: name for name, module in DIALECT.modules().items()} | {"fc": "fc1000"}
    modules = [one.module for one in keras_order(architecture, Code(False, "none")) if one.module]

    def place(part: Layer) -> int:
        return modules.index(part.module) if part.module in modules else len(modules)

    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = b"2.2.4"
        file.attrs["backend"] = b"tensorflow"
        names = ["input_1", "conv1_pad"]
        for part in sorted(parts(architecture), key=place):
            layer = layers[part.module]
            names += ["avg_pool", layer] if part.module == "fc" else [layer]
            names += ["pool1_pad", "pool1"] if part.module == "bn1" else []
            group = file.create_group(layer)
            weights = []
            for tensor in part.op.tensors():
                if tensor.parameter:
                    values = tensors[f"{part.module}.{tensor.name}"]
                    if values.ndim > 1:
                        values = values.transpose((2, 3, 1, 0) if values.ndim == 4 else (1, 0))
                    weights.append(f"{layer}/{tensor.parameter}:0")
                    group[weights[-1]] = values
            group.attrs["weight_names"] = [name.encode() for name in weights]
        file.attrs["layer_names"] = [name.encode() for name in names]
        for name in ("input_1", "conv1_pad", "pool1_pad", "pool1", "avg_pool"):
            file.create_group(name).attrs["weight_names"] = np.array([], "S1")
    return path
