"""The functions that the code of a Lambda layer may call, by their names: Keras' backend and
TensorFlow.

A global name is nowhere in the code: `K` is taken for `keras.backend` and `tf` for `tensorflow`,
which is an assumption, and shown as one.

Sources: keras 1.2.2 and 2.3.1 `backend/tensorflow_backend.py`, tf.keras 2.10 `backend.py`;
TensorFlow 1.15's and 2.10's public names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ROOTS: Mapping[str, str] = {
    "K": "keras.backend",
    "backend": "keras.backend",
    "keras": "keras",
    "tf": "tensorflow",
    "tensorflow": "tensorflow",
}
"""What global names are taken for."""

SAME: tuple[tuple[str, str], ...] = (
    ("tensorflow.compat.v1.", "tensorflow.v1."),
    ("tensorflow.compat.v2.", "tensorflow.v2."),
    ("tensorflow.python.keras.", "keras."),
    ("tensorflow.v1.keras.", "keras."),
    ("tensorflow.keras.", "keras."),
    ("keras.backend.tensorflow_backend.", "keras.backend."),
)
"""Modules by the names that they have elsewhere."""

CONSTANTS: Mapping[str, Any] = {
    "tensorflow.float32": "float32",
    "tensorflow.newaxis": None,
    "tensorflow.image.ResizeMethod.BILINEAR": "bilinear",
    "tensorflow.image.ResizeMethod.NEAREST_NEIGHBOR": "nearest",
    "tensorflow.v1.image.ResizeMethod.BILINEAR": "bilinear",
    "tensorflow.v1.image.ResizeMethod.NEAREST_NEIGHBOR": "nearest",
}


EPSILON = "keras.backend.epsilon"
"""A function without arguments: 1e-7, unless the project set another."""

LISTS = ("tensors", "values")
"""Arguments that are lists of tensors; all others are one."""


@dataclass(frozen=True, slots=True)
class Known:
    """A function by `operator`, the name of what it is in the tables of operators. `takes` are the
    names of its arguments, in their order, each as that operator calls it; the first `values` of
    them may be tensors. `also` are other names that an argument has by keyword, `default` what is
    said to the operator where the call does not, `only` what an argument has to be."""

    operator: str
    takes: tuple[str, ...] = ("x",)
    values: int = 1
    also: Mapping[str, str] = field(default_factory=dict)
    default: Mapping[str, Any] = field(default_factory=dict)
    only: Mapping[str, Any] = field(default_factory=dict)


def _one(operator: str, first: str = "x") -> Known:
    return Known(operator, (first,))


def _two(operator: str) -> Known:
    return Known(operator, ("x", "y"), values=2)


def _axes(operator: str, first: str = "x") -> Known:
    return Known(operator, (first, "axis", "keepdims"), also={"keep_dims": "keepdims"})


KERAS_BACKEND: Mapping[str, Known] = {
    **{name: _one(f"math.{name}") for name in ("abs", "square", "exp", "log")},
    "sqrt": _one("root"),
    **{name: _one(f"nn.{name}") for name in ("sigmoid", "tanh", "softplus", "softsign")},
    "hard_sigmoid": _one("hard_sigmoid"),
    "relu": Known(
        "keras_relu",
        ("x", "negative_slope", "max_value", "threshold"),
        also={"alpha": "negative_slope"},
    ),
    "elu": Known("nn.elu", ("x", "alpha")),
    "softmax": Known("nn.softmax", ("x", "axis"), default={"axis": -1}),
    **{name: _axes(f"math.reduce_{name}") for name in ("sum", "mean", "max", "min")},
    "pow": Known("math.pow", ("x", "y"), also={"a": "y"}),
    "clip": Known(
        "clip_by_value",
        ("x", "clip_value_min", "clip_value_max"),
        also={"min_value": "clip_value_min", "max_value": "clip_value_max"},
    ),
    "maximum": _two("math.maximum"),
    "minimum": _two("math.minimum"),
    "concatenate": Known("concat", ("tensors", "axis"), default={"axis": -1}),
    "stack": Known("stack", ("tensors", "axis"), also={"x": "tensors"}, default={"axis": 0}),
    "expand_dims": Known("expand_dims", ("x", "axis"), also={"dim": "axis"}, default={"axis": -1}),
    "squeeze": Known("squeeze", ("x", "axis")),
    "reverse": Known("reverse", ("x", "axis"), also={"axes": "axis"}),
    "permute_dimensions": Known("compat.v1.transpose", ("x", "perm"), also={"pattern": "perm"}),
    "reshape": Known("reshape", ("x", "shape")),
    "batch_flatten": _one("batch_flatten"),
    "l2_normalize": Known("math.l2_normalize", ("x", "axis")),
    "cast": Known("cast", ("x", "dtype")),
    "identity": _one("identity"),
    "stop_gradient": _one("stop_gradient", "variables"),
    "resize_images": Known(
        "repeated",
        ("x", "height_factor", "width_factor", "data_format", "interpolation"),
        also={"dim_ordering": "data_format"},
    ),
}

RESIZED = Known("image.resize", ("images", "size", "method", "preserve_aspect_ratio", "antialias"))
OLD_RESIZED = Known(
    "old_resize", ("images", "size", "method", "align_corners", "preserve_aspect_ratio")
)


def _moved(operator: str) -> Known:
    """Of channels and pixels; `data_format` comes after the name of the operation."""
    return Known(
        operator,
        ("input", "block_size", "name", "data_format"),
        only={"data_format": "NHWC"},
    )


_REDUCED = {
    f"reduce_{name}": Known(
        f"math.reduce_{name}",
        ("input_tensor", "axis", "keepdims", "name"),
        also={"keep_dims": "keepdims", "reduction_indices": "axis"},
    )
    for name in ("sum", "mean", "max", "min")
}
_NORMALIZED = Known("math.l2_normalize", ("x", "axis", "epsilon", "name"), also={"dim": "axis"})
_ARITHMETIC = {
    name: _two(f"math.{name}")
    for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum")
}

TENSORFLOW: Mapping[str, Known] = {
    **{name: _one(f"math.{name}") for name in ("abs", "square", "sqrt", "exp", "negative")},
    **{
        f"math.{name}": _one(f"math.{name}")
        for name in (
            "abs",
            "square",
            "sqrt",
            "exp",
            "negative",
            "log",
            "sigmoid",
            "tanh",
            "softplus",
        )
    },
    "log": _one("math.log"),
    "sigmoid": _one("nn.sigmoid"),
    "tanh": _one("nn.tanh"),
    **{f"nn.{name}": _one(f"nn.{name}") for name in ("sigmoid", "tanh")},
    **{
        f"nn.{name}": _one(f"nn.{name}", "features")
        for name in ("relu", "relu6", "elu", "selu", "softplus", "softsign", "silu")
    },
    "nn.swish": _one("nn.silu", "features"),
    "nn.leaky_relu": Known("nn.leaky_relu", ("features", "alpha")),
    "nn.softmax": Known(
        "nn.softmax", ("logits", "axis"), also={"dim": "axis"}, default={"axis": -1}
    ),
    **_ARITHMETIC,
    **{f"math.{name}": known for name, known in _ARITHMETIC.items()},
    "pow": Known("math.pow", ("x", "y")),
    "math.pow": Known("math.pow", ("x", "y")),
    **_REDUCED,
    **{f"math.{name}": known for name, known in _REDUCED.items()},
    "clip_by_value": Known("clip_by_value", ("t", "clip_value_min", "clip_value_max")),
    "concat": Known("concat", ("values", "axis")),
    "stack": Known("stack", ("values", "axis"), default={"axis": 0}),
    "expand_dims": Known("expand_dims", ("input", "axis"), also={"dim": "axis"}),
    "squeeze": Known("squeeze", ("input", "axis"), also={"squeeze_dims": "axis"}),
    "reverse": Known("reverse", ("tensor", "axis")),
    "transpose": Known("compat.v1.transpose", ("a", "perm")),
    "reshape": Known("reshape", ("tensor", "shape")),
    "pad": Known("compat.v1.pad", ("tensor", "paddings", "mode")),
    "identity": _one("identity", "input"),
    "stop_gradient": _one("stop_gradient", "input"),
    "cast": Known("cast", ("x", "dtype")),
    **{f"{place}.l2_normalize": _NORMALIZED for place in ("nn", "math", "linalg")},
    "depth_to_space": _moved("nn.depth_to_space"),
    "nn.depth_to_space": _moved("nn.depth_to_space"),
    "space_to_depth": _moved("nn.space_to_depth"),
    "nn.space_to_depth": _moved("nn.space_to_depth"),
    "image.resize": RESIZED,
    "image.resize_images": OLD_RESIZED,
    "image.resize_bilinear": Known(
        "old_resize", ("images", "size", "align_corners"), default={"method": "bilinear"}
    ),
    "image.resize_nearest_neighbor": Known(
        "old_resize", ("images", "size", "align_corners"), default={"method": "nearest"}
    ),
}

OF_TENSORFLOW_1 = frozenset(
    [
        "image.resize",
        "image.resize_images",
        "image.resize_bilinear",
        "image.resize_nearest_neighbor",
    ]
)
"""Names in `tensorflow.compat.v1` that mean something else there, or that are only there."""

FUNCTIONS: Mapping[str, Known] = {
    **{f"keras.backend.{name}": known for name, known in KERAS_BACKEND.items()},
    **{f"tensorflow.{name}": known for name, known in TENSORFLOW.items()},
    **{f"tensorflow.v1.{name}": known for name, known in TENSORFLOW.items()},
    "tensorflow.v1.image.resize": OLD_RESIZED,
}


def full_name(path: str, assumed: bool) -> str:
    """The name of a function or constant, with that of its module: '' where its first part is a
    global name that is taken for nothing."""
    first, _, rest = path.partition(".")
    root = ROOTS.get(first, "") if assumed else first
    name = f"{root}.{rest}" if root and rest else ""
    for other, own in SAME:
        if name.startswith(other):
            name = own + name.removeprefix(other)
    return name
