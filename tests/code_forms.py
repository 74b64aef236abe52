"""Functions of Lambda layers with what Keras' backend and TensorFlow themselves compute of them.

Run as a process of its own: `python code_forms.py OUT.npz`. The code of each is written as Keras
writes it, with its inputs and what it gave, in float64.
"""

from __future__ import annotations

import base64
import json
import marshal
import sys
from typing import Any

Form = tuple[str, tuple[tuple[int, ...], ...]]

MAP, ODD, VECTOR, WIDE = (4, 6, 4), (5, 3, 2), (7,), (4, 6, 8)
PAIR = (MAP, MAP)

FORMS: tuple[Form, ...] = (
    *((f"K.{name}(x)", (MAP,)) for name in ("abs", "square", "exp", "sqrt", "sigmoid", "tanh")),
    *((f"K.{name}(x)", (MAP,)) for name in ("softplus", "softsign", "softmax", "elu", "relu")),
    ("K.log(K.abs(x) + 1)", (MAP,)),
    ("K.relu(x, 0.125, 1.5)", (MAP,)),
    ("K.relu(x, alpha=0.25)", (MAP,)),
    ("K.relu(x, max_value=6.)", (MAP,)),
    ("K.elu(x, 0.5)", (MAP,)),
    ("K.softmax(x, axis=1)", (VECTOR,)),
    *((f"K.{name}(x, axis=3, keepdims=True)", (MAP,)) for name in ("sum", "mean", "max", "min")),
    ("K.mean(x, axis=[1, 2])", (MAP,)),
    ("K.sum(x, axis=-1)", (MAP,)),
    ("K.pow(x, 2)", (MAP,)),
    ("K.clip(x, -0.5, 0.75)", (MAP,)),
    ("K.maximum(x, 0.25)", (MAP,)),
    ("K.minimum(0.25, x)", (MAP,)),
    ("K.maximum(x[0], x[1])", PAIR),
    ("K.concatenate([x[0], x[1]], axis=1)", PAIR),
    ("K.concatenate(x)", PAIR),
    ("K.stack([x[0], x[1]], axis=2)", PAIR),
    ("K.expand_dims(x)", (VECTOR,)),
    ("K.expand_dims(x, 1)", (MAP,)),
    ("K.squeeze(x, 1)", ((1, 6, 4),)),
    ("K.squeeze(x, axis=-1)", ((5, 6, 1),)),
    ("K.reverse(x, 1)", (MAP,)),
    ("K.reverse(x, axes=[2, 3])", (MAP,)),
    ("K.permute_dimensions(x, (0, 3, 1, 2))", (MAP,)),
    ("K.reshape(x, (-1, 24, 4))", (MAP,)),
    ("K.batch_flatten(x)", (MAP,)),
    ("K.l2_normalize(x, axis=-1)", (MAP,)),
    ("K.l2_normalize(x, 1)", (VECTOR,)),
    ("K.cast(x, 'float64')", (MAP,)),
    ("K.stop_gradient(x)", (MAP,)),
    ("K.resize_images(x, 2, 3, 'channels_last')", (MAP,)),
    ("K.hard_sigmoid(x)", (MAP,)),
    *(
        (f"tf.{name}(x)", (MAP,))
        for name in ("abs", "square", "exp", "negative", "sigmoid", "tanh")
    ),
    *((f"tf.math.{name}(x)", (MAP,)) for name in ("abs", "square", "exp", "negative", "sigmoid")),
    *((f"tf.math.{name}(x)", (MAP,)) for name in ("tanh", "softplus")),
    ("tf.sqrt(tf.math.sqrt(x * x + 1))", (MAP,)),
    ("tf.math.log(x * x + 1)", (MAP,)),
    ("tf.compat.v1.log(x * x + 1)", (MAP,)),
    *((f"tf.nn.{name}(x)", (MAP,)) for name in ("sigmoid", "tanh", "relu", "relu6", "elu", "selu")),
    *((f"tf.nn.{name}(x)", (MAP,)) for name in ("softplus", "softsign", "swish", "silu")),
    ("tf.nn.leaky_relu(x)", (MAP,)),
    ("tf.nn.leaky_relu(x, alpha=0.125)", (MAP,)),
    ("tf.nn.softmax(x)", (MAP,)),
    ("tf.nn.softmax(x, axis=1)", (VECTOR,)),
    *((f"tf.{name}(x[0], x[1])", PAIR) for name in ("add", "subtract", "multiply", "divide")),
    *((f"tf.math.{name}(x[0], x[1])", PAIR) for name in ("add", "subtract", "multiply", "divide")),
    *((f"tf.{name}(x[0], x[1])", PAIR) for name in ("maximum", "minimum")),
    *((f"tf.math.{name}(x, 0.5)", (MAP,)) for name in ("maximum", "minimum")),
    ("tf.subtract(1.0, x)", (MAP,)),
    ("tf.pow(x, 2) + tf.math.pow(x, 2)", (MAP,)),
    *((f"tf.reduce_{name}(x, axis=[1, 2])", (MAP,)) for name in ("sum", "mean", "max", "min")),
    *((f"tf.math.reduce_{name}(x, 3, True)", (MAP,)) for name in ("sum", "mean", "max", "min")),
    ("tf.compat.v1.reduce_mean(x, axis=3, keep_dims=True)", (MAP,)),
    ("tf.clip_by_value(x, 0.0, 1.0)", (MAP,)),
    ("tf.concat(x, axis=-1)", PAIR),
    ("tf.concat([x[0], x[1]], 1)", PAIR),
    ("tf.stack([x[0], x[1]], axis=1)", PAIR),
    ("tf.expand_dims(x, axis=3)", (MAP,)),
    ("tf.squeeze(x, [1, 2])", ((1, 1, 4),)),
    ("tf.reverse(x, axis=[3])", (MAP,)),
    ("tf.transpose(x, [0, 2, 1, 3])", (MAP,)),
    ("tf.transpose(x, perm=(0, 3, 2, 1))", (MAP,)),
    ("tf.reshape(x, [-1, 4, 24])", (MAP,)),
    ("tf.pad(x, [[0, 0], [1, 2], [0, 3], [0, 0]])", (MAP,)),
    ("tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], 'CONSTANT')", (MAP,)),
    ("tf.identity(tf.stop_gradient(x))", (MAP,)),
    ("tf.cast(x, 'float64')", (MAP,)),
    ("tf.nn.l2_normalize(x, axis=3)", (MAP,)),
    ("tf.math.l2_normalize(x, -1, epsilon=1e-12)", (MAP,)),
    ("tf.linalg.l2_normalize(x, axis=[1, 2])", (MAP,)),
    ("tf.compat.v1.nn.l2_normalize(x, dim=1)", (VECTOR,)),
    ("tf.nn.depth_to_space(x, 2)", (WIDE,)),
    ("tf.compat.v1.depth_to_space(x, block_size=2)", (WIDE,)),
    ("tf.nn.space_to_depth(x, 2)", (MAP,)),
    ("tf.compat.v1.space_to_depth(x, 2)", (MAP,)),
    ("tf.nn.space_to_depth(x, 2, data_format='NHWC')", ((6, 4, 3),)),
    ("tf.image.resize(x, (7, 11))", (MAP,)),
    ("tf.image.resize(x, [9, 4], method='nearest')", (MAP,)),
    ("tf.image.resize(x, (8, 9), tf.image.ResizeMethod.NEAREST_NEIGHBOR)", (ODD,)),
    ("tf.compat.v1.image.resize_bilinear(x, (7, 11))", (MAP,)),
    ("tf.compat.v1.image.resize_bilinear(x, [3, 4])", (ODD,)),
    ("tf.compat.v1.image.resize_bilinear(x, (7, 11), align_corners=True)", (MAP,)),
    ("tf.compat.v1.image.resize_nearest_neighbor(x, (7, 11))", (MAP,)),
    ("tf.compat.v1.image.resize_nearest_neighbor(x, (3, 5))", (ODD,)),
    ("tf.compat.v1.image.resize_images(x, (10, 7))", (MAP,)),
    ("tf.compat.v1.image.resize_images(x, (10, 7), method=1)", (MAP,)),
    ("tf.compat.v1.image.resize(x, (10, 7))", (MAP,)),
    ("x[0] + x[1] * 0.3", PAIR),
    ("K.abs(x[0] - x[1])", (VECTOR, VECTOR)),
    ("x / 127.5 - 1", (MAP,)),
    ("2 / (x * x + 1)", (MAP,)),
    ("x ** 2", (MAP,)),
    ("x ** 0.5", ((3, 4, 2),)),
    ("(x * x + 1) ** 0.5", (MAP,)),
    ("-x", (MAP,)),
    ("x[..., ::-1]", (MAP,)),
    ("x[:, ::-1]", (MAP,)),
    ("x[:, :, ::-1, :]", (MAP,)),
    ("x[:, None]", (VECTOR,)),
    ("x[..., None]", (MAP,)),
    ("x[..., tf.newaxis]", (ODD,)),
    ("x[:, tf.newaxis, :, 1]", (MAP,)),
    ("x[:, 1:-1, ::2, 1:3]", (MAP,)),
    ("x[:, 0]", (MAP,)),
    ("x[:, :, -1]", (MAP,)),
    ("x[..., 0]", (MAP,)),
    ("x * K.sigmoid(x)", (MAP,)),
    ("x * tf.nn.tanh(tf.nn.softplus(x))", (MAP,)),
    (
        "K.sqrt(K.maximum(K.sum(K.square(x[0] - x[1]), axis=1, keepdims=True), K.epsilon()))",
        (VECTOR, VECTOR),
    ),
    ("(x - [1.0, 2.0, 3.0, 4.0]) / [0.5, 0.25, 2.0, 4.0]", (MAP,)),
)


def main(target: str) -> None:
    import keras.src.legacy.backend as K
    import numpy as np
    import tensorflow as tf
    from keras.config import epsilon

    K.epsilon = epsilon
    chance = np.random.default_rng(11)
    arrays: dict[str, Any] = {}
    codes: dict[str, str] = {}
    for number, (text, shapes) in enumerate(FORMS):
        values = [chance.normal(0, 2, (2, *shape)) for shape in shapes]
        if text == "x ** 0.5":
            values = [abs(one) for one in values]
        function = eval(f"lambda x: {text}", {"K": K, "tf": tf})
        given = [tf.constant(one) for one in values]
        found = function(given[0] if len(given) == 1 else given)
        codes[text] = base64.b64encode(marshal.dumps(function.__code__)).decode()
        arrays[f"{number}/gives"] = found.numpy()
        for place, one in enumerate(values):
            arrays[f"{number}/reads/{place}"] = one
    np.savez(target, codes=np.array(json.dumps(codes)), **arrays)


if __name__ == "__main__":
    main(sys.argv[1])
