"""Write the bytecode of functions that Lambda layers have, as Keras writes it, by any Python:

    for version in 2.7 3.6 3.13; do python$version scripts/make_bytecode.py fixtures/bytecode; done

One JSON file a Python: `{name: [code in base64, defaults, closure]}`, by keras 2.3.1
`utils/generic_utils.py`, func_dump. `tests/test_bytecode.py` says what each of them is.
"""

from __future__ import print_function

import base64
import json
import marshal
import os
import sys

# The names that the code refers to need not be there: nothing here is run.


def euclidean(vects):
    x, y = vects
    sum_square = K.sum(K.square(x - y), axis=1, keepdims=True)  # noqa: F821
    return K.sqrt(K.maximum(sum_square, K.epsilon()))  # noqa: F821


def shuffle(t, r=2):
    import tensorflow as tf

    n = tf.nn if hasattr(tf.nn, "depth_to_space") else tf
    return n.depth_to_space(t, r)


def imported(t):
    import tensorflow as tf

    return tf.nn.depth_to_space(t, 2)


def imported_from(t):
    from keras import backend as K

    return K.l2_normalize(t, axis=-1)


def imported_within(t):
    import keras.backend as K

    return K.abs(t)


def in_place(x):
    """A function with a docstring."""
    x /= 127.5
    x -= 1.0
    return x


def normed(x, mean=(0.485, 0.456, 0.406), std=0.2):
    return (x - mean) / std


def around(scale):
    return lambda x: x * scale


def around_two(low, high):
    return lambda x: K.clip(x, low, high)  # noqa: F821


def branches(x):
    if K.ndim(x) == 4:  # noqa: F821
        return x
    return x * 2


def loops(x):
    return [one * 2 for one in x]


def any_number(*values):
    return values[0]


def doubled_without_end(x):
    x = x + x
    x = x + x
    x = x + x
    x = x + x
    x = x + x
    x = x + x
    x = x + x
    x = x + x
    x = x + x
    x = x + x
    return x


FUNCTIONS = {
    "identity": lambda x: x,
    "scaled": lambda x: x / 255.0,
    "scaled_and_shifted": lambda x: x / 127.5 - 1.0,
    "squared": lambda x: x**2,
    "from_one": lambda x: 1 - x,
    "negative": lambda x: -x,
    "mean": lambda t: K.mean(t, axis=3, keepdims=True),  # noqa: F821
    "difference": lambda t: K.abs(t[0] - t[1]),  # noqa: F821
    "residual": lambda inputs, scale: inputs[0] + inputs[1] * scale,
    "reversed": lambda x: x[..., ::-1],
    "part": lambda x: x[:, 1:-1, ::2, :],
    "halves": lambda x: x[:, :4],
    "first": lambda x: x[:2],
    "new_axis": lambda x: x[:, None],
    "several_axes": lambda x: K.sum(x, axis=[1, 2]),  # noqa: F821
    "listed": lambda x: x - [103.939, 116.779, 123.68, 1.0],
    "swish": lambda x: x * K.sigmoid(x),  # noqa: F821
    "method": lambda x: x.get_shape(),
    "resized": lambda x: tf.image.resize(x, (24, 24), method="bilinear"),  # noqa: F821
    "joined": lambda x: K.concatenate([x[0], x[1]], axis=-1),  # noqa: F821
    "large": lambda x: x * 12345678901 + 1e-07,
    "floor": lambda x: x // 2,
    "deep": lambda x: tf.keras.backend.expand_dims(tf.nn.relu6(x), -1),  # noqa: F821
    "conditional": lambda x: x if K.ndim(x) else -x,  # noqa: F821
    "a function within": lambda x: (lambda y: y)(x),
    "complex": lambda x: x * 2j,
    "closure": around(0.5),
    "two_closures": around_two(0.0, 6.0),
}
for one in (
    euclidean,
    shuffle,
    imported,
    imported_from,
    imported_within,
    in_place,
    normed,
    branches,
    loops,
    any_number,
    doubled_without_end,
):
    FUNCTIONS[one.__name__] = one


def dumped(function):
    """What Keras' func_dump gives."""
    code = base64.encodebytes if hasattr(base64, "encodebytes") else base64.encodestring
    cells = function.__closure__
    return [
        code(marshal.dumps(function.__code__)).decode("ascii"),
        function.__defaults__,
        [one.cell_contents for one in cells] if cells else None,
    ]


def main(folder):
    version = "%d.%d" % sys.version_info[:2]
    found = {name: dumped(FUNCTIONS[name]) for name in sorted(FUNCTIONS)}
    with open(os.path.join(folder, "python-%s.json" % version), "w") as file:
        json.dump(found, file, indent=1, sort_keys=True, separators=(",", ": "))
        file.write("\n")
    print(version, len(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
