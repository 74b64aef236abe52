"""Small models of one layer each with random settings, made, saved and run by live Keras 3.

`python layer_models.py FOLDER SEED COUNT` writes `N.h5` and `N.npz` (`x`, `y`, in float64) for
each. It runs in a process of its own: TensorFlow and torch never share one.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path


def windows(draw, kernel=5):
    padding = draw.choice(["same", "valid"])
    stride = draw.choice([1, 1, 2, 3])
    dilation = draw.choice([1, 2]) if stride == 1 else 1
    size = [draw.randint(1, kernel), draw.randint(1, kernel)]
    return {"padding": padding, "strides": stride, "kernel_size": size}, dilation


def settings(name, draw):
    """Random settings of a layer class, as its constructor takes them."""
    window, dilation = windows(draw)
    bias, act = draw.random() < 0.5, draw.choice([None, "relu", "tanh", "hard_sigmoid", "gelu"])
    pool = {
        "pool_size": window["kernel_size"],
        "padding": window["padding"],
        "strides": draw.choice([None, 1, 2]),
    }
    table = {
        "Conv2D": {
            "filters": 4,
            **window,
            "dilation_rate": dilation,
            "use_bias": bias,
            "activation": act,
            "groups": draw.choice([1, 2]),
        },
        "DepthwiseConv2D": {
            **window,
            "depth_multiplier": draw.randint(1, 3),
            "use_bias": bias,
            "dilation_rate": dilation,
        },
        "SeparableConv2D": {
            "filters": 5,
            **window,
            "depth_multiplier": draw.randint(1, 2),
            "use_bias": bias,
            "activation": act,
        },
        "Conv2DTranspose": {"filters": 3, **window, "use_bias": bias, "activation": act},
        "MaxPooling2D": pool,
        "AveragePooling2D": pool,
        "GlobalAveragePooling2D": {"keepdims": draw.random() < 0.5},
        "GlobalMaxPooling2D": {"keepdims": draw.random() < 0.5},
        "UpSampling2D": {
            "size": [draw.randint(1, 3), draw.randint(1, 3)],
            "interpolation": draw.choice(["nearest", "bilinear"]),
        },
        "ZeroPadding2D": {
            "padding": [[draw.randint(0, 3), draw.randint(0, 3)], [draw.randint(0, 3), 1]]
        },
        "Cropping2D": {
            "cropping": [[draw.randint(0, 2), draw.randint(0, 2)], [draw.randint(0, 2), 1]]
        },
        "BatchNormalization": {
            "axis": draw.choice([-1, -1, 3]),
            "scale": bias,
            "center": draw.random() < 0.5,
            "epsilon": draw.choice([1e-3, 1e-5]),
        },
        "LayerNormalization": {
            "axis": draw.choice([-1, [1, 2, 3], [2, 3], 1]),
            "scale": True,
            "center": True,
        },
        "GroupNormalization": {"groups": draw.choice([1, 2, 4, -1])},
        "UnitNormalization": {"axis": draw.choice([-1, 1, [1, 2]])},
        "Dense": {"units": 5, "use_bias": bias, "activation": act},
        "ReLU": {
            "max_value": draw.choice([None, 6.0, 1.5]),
            "negative_slope": draw.choice([0.0, 0.1]),
            "threshold": draw.choice([0.0, 0.5]),
        },
        "LeakyReLU": {"negative_slope": 0.2},
        "ELU": {"alpha": draw.choice([1.0, 0.5])},
        "PReLU": {"shared_axes": draw.choice([None, [1, 2], [1]])},
        "Softmax": {"axis": draw.choice([-1, 1, 2, [1, 2]])},
        "Reshape": {"target_shape": draw.choice([[-1, 4], [4, -1], [7, 9, 4], [9, 28], [252]])},
        "Permute": {"dims": draw.choice([[2, 1, 3], [3, 1, 2], [1, 3, 2], [3, 2, 1]])},
        "Flatten": {},
        "Rescaling": {"scale": 0.5, "offset": -1.0},
        "Resizing": {
            "height": draw.randint(3, 20),
            "width": draw.randint(3, 20),
            "interpolation": draw.choice(["nearest", "bilinear"]),
        },
        "CenterCrop": {"height": draw.randint(2, 7), "width": draw.randint(2, 9)},
    }
    return table[name]


CLASSES = (
    *("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose", "MaxPooling2D"),
    *("AveragePooling2D", "GlobalAveragePooling2D", "GlobalMaxPooling2D", "UpSampling2D"),
    *("ZeroPadding2D", "Cropping2D", "BatchNormalization", "LayerNormalization"),
    *("GroupNormalization", "UnitNormalization", "Dense", "ReLU", "LeakyReLU", "ELU", "PReLU"),
    *("Softmax", "Reshape", "Permute", "Flatten", "Rescaling", "Resizing", "CenterCrop"),
)


def main(folder: Path, seed: int, count: int) -> None:
    import keras
    import numpy as np

    keras.config.set_floatx("float64")
    draw = random.Random(seed)
    numbers = np.random.default_rng(seed)
    made = {}
    for number in range(count):
        name = CLASSES[number % len(CLASSES)]
        chosen = settings(name, draw)
        try:
            x = keras.Input((7, 9, 4))
            y = getattr(keras.layers, name)(**chosen)(x)
            model = keras.Model(x, y)
            for weight in model.weights:
                low = 0.1 if "variance" in weight.path else -1
                weight.assign(numbers.uniform(low, 1, weight.shape).astype("f4"))
            given = numbers.uniform(-2, 2, (2, 7, 9, 4)).astype("f4")
            result = np.asarray(model(given.astype("f8"), training=False))
        except Exception as error:  # settings that Keras itself refuses
            made[number] = [name, chosen, f"{type(error).__name__}: {error}"[:100]]
            continue
        model.save(folder / f"{number}.keras")
        np.savez(folder / f"{number}.npz", x=given, y=result)
        made[number] = [name, chosen, ""]
    (folder / "made.json").write_text(json.dumps(made))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
