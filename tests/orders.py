"""Small residual networks whose norms, activations and sums stand in every order, made by Keras.

`python orders.py FOLDER` writes each of `NETWORKS` into FOLDER as Keras' legacy HDF5, and what it
gives for some pictures beside it. It runs in a process of its own, since Keras must not share one
with torch.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

BLOCKS = (
    "post",
    "post-dropout",
    "pre",
    "pre-projection-shared",
    "pre-shared",
    "relu-before-sum",
    "no-relu-behind-sum",
    "norm-behind-sum",
    "relu-first",
    "no-relu",
    "two-relus",
    "relu-before-norm",
    "operators",
)
NETWORKS = (
    *(f"{block}_{stem}_auto" for block in BLOCKS for stem in ("imagenet", "cifar")),
    *(f"{block}_imagenet_res" for block in BLOCKS),
    *(f"{block}_imagenet_invented" for block in ("post", "no-relu", "two-relus", "operators")),
)
"""The order of a block's layers, the stem, and whether layers have names: Keras' own, those of
keras-applications' first ResNet, or, for the weightless ones, such as say nothing."""


class Program:
    """A network as a program of layers, with names or without."""

    def __init__(self, naming: str) -> None:
        from keras import layers

        self.layers = layers
        self.naming = naming
        self.count = 0
        self.stage, self.block, self.number = 1, "a", ""

    def name(self, res: str, invented: str) -> dict[str, str]:
        self.count += 1
        if self.naming == "res":
            return {"name": res} if res else {}
        return {"name": f"{invented}_{self.count}x"} if self.naming == "invented" else {}

    @property
    def place(self) -> str:
        return f"{self.stage}{self.block}_branch{self.number}"

    def conv(self, x: Any, width: int, size: int, stride: int = 1, padding: str = "same") -> Any:
        res = "conv1" if self.stage == 1 else f"res{self.place}"
        name = {"name": res} if self.naming != "auto" else {}
        return self.layers.Conv2D(width, size, strides=stride, padding=padding, **name)(x)

    def norm(self, x: Any) -> Any:
        res = "bn_conv1" if self.stage == 1 else f"bn{self.place}"
        name = {"name": res} if self.naming != "auto" else {}
        return self.layers.BatchNormalization(**name)(x)

    def relu(self, x: Any) -> Any:
        return self.layers.Activation("relu", **self.name("", "step"))(x)

    def add(self, x: Any, y: Any) -> Any:
        return self.layers.Add(**self.name("", "join"))([x, y])

    def drop(self, x: Any) -> Any:
        return self.layers.Dropout(0.3)(x)

    def at(self, number: str) -> Program:
        self.number = number
        return self


Block = Callable[[Program, Any, int, int, bool], Any]


def block(kind: str, p: Program, x: Any, width: int, stride: int, projected: bool) -> Any:
    """One block of two convolutions."""
    from keras import ops

    is_pre = kind.startswith("pre") or kind == "relu-first"
    y = first = x
    if kind.startswith("pre"):
        y = first = p.relu(p.at("2a").norm(x))
    if kind == "relu-first":
        y = first = p.relu(x)
    y = p.at("2a").conv(y, width, 3, stride)
    y = p.at("2b").norm(y) if kind.startswith("pre") else middle(kind, p.at("2a"), y)
    y = p.relu(y) if is_pre else y
    y = p.drop(y) if kind == "post-dropout" else y
    y = p.at("2b").conv(y, width, 3)
    if not kind.startswith("pre") and kind != "norm-behind-sum":
        y = p.relu(y) if kind == "relu-before-norm" else y
        y = p.at("2b").norm(y)
        y = p.relu(y) if kind == "relu-before-sum" else y
    short = first if kind == "pre-shared" else x
    if projected:
        short = first if kind in ("pre-shared", "pre-projection-shared") else x
        short = p.at("1").conv(short, width, 1, stride)
        if not kind.startswith("pre") and kind != "norm-behind-sum":
            short = p.norm(short)
    if kind == "operators":
        return ops.relu(y + short)
    y = p.add(y, short)
    if kind == "norm-behind-sum":
        y = p.at("2b").norm(y)
    return y if is_pre or kind in ("no-relu-behind-sum", "no-relu") else p.relu(y)


def middle(kind: str, p: Program, y: Any) -> Any:
    """Between a block's convolutions."""
    from keras import ops

    if kind == "relu-before-norm":
        return p.norm(p.relu(y))
    y = p.norm(y)
    if kind in ("no-relu", "relu-first"):
        return y
    if kind == "operators":
        return ops.relu(y)
    y = p.relu(y)
    return p.relu(y) if kind == "two-relus" else y


def model(kind: str, stem: str, naming: str) -> Any:
    import keras
    from keras import layers, ops

    p = Program(naming)
    inputs = keras.Input((32, 32, 3) if stem == "cifar" else (64, 64, 3))
    x: Any = inputs
    if stem == "imagenet":
        x = layers.ZeroPadding2D(3)(x)
        x = p.conv(x, 4, 7, 2, "valid")
    else:
        x = p.conv(x, 4, 3)
    is_plain = kind.startswith("pre")
    x = x if is_plain else p.norm(x)
    if kind != "relu-first" and not is_plain:
        x = ops.relu(x) if kind == "operators" else p.relu(x)
    x = layers.MaxPooling2D(3, 2)(x) if stem == "imagenet" else x
    for number, width in enumerate((6, 10), start=2):
        for index in range(2):
            p.stage, p.block = number, "ab"[index]
            x = block(kind, p, x, width, 2 if number > 2 and index == 0 else 1, index == 0)
    if kind.startswith("pre"):
        p.stage, p.block, p.number = 6, "a", "2a"
        x = p.relu(p.norm(x))
    if kind == "relu-first":
        x = p.relu(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(5)(x))


def write(folder: Path) -> None:
    import keras
    import numpy as np

    generator = np.random.default_rng(4)
    for name in NETWORKS:
        kind, stem, naming = name.split("_")
        keras.utils.clear_session()
        built = model(kind, stem, naming)
        for variable in built.weights:
            values = generator.normal(0, 1, variable.shape)
            if len(variable.shape) > 1:
                values *= np.prod(variable.shape[:-1]) ** -0.5
            is_positive = variable.path.endswith(("variance", "gamma"))
            variable.assign(np.abs(values) + 0.3 if is_positive else values)
        pictures = generator.normal(0, 1, (2, *built.input_shape[1:])).astype("float32")
        given = built.predict(pictures, verbose=0)
        built.save(folder / f"{name}.h5")
        np.savez(folder / f"{name}.npz", pictures=pictures, given=given)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
