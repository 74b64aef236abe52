"""What the layers that have no weights do in a weights-only file, by their names.

Keras names a layer after its class, and most people after what it does. A name that says neither
is told by the layer's place, or by nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

from converter.files.auto_names import auto_name
from converter.files.checkpoint import Checkpoint
from converter.weights_only.dialect import Dialect
from converter.weights_only.expected import ACTIVATION, AVERAGE, MAX, PAD, REGROUP, SUM

PICTURE = frozenset(["rescaling", "normalization", "resizing", "center_crop"])
"""Classes that people set in front of a network, and hardly anywhere else."""

COMPUTES = PICTURE | frozenset(
    [
        *("lambda", "tf_op_lambda", "slicing_op_lambda", "get_item", "stack", "cast"),
        *("true_divide", "divide", "multiply", "subtract", "average", "maximum", "minimum"),
        *("concatenate", "dot", "permute", "repeat_vector"),
        *("leaky_re_lu", "leakyrelu", "elu", "thresholded_re_lu", "thresholdedrelu"),
        *("unit_normalization", "cropping2d", "up_sampling2d", "upsampling2d"),
        *("random_crop", "auto_contrast"),  # they act at inference too
    ]
)
"""Classes whose settings weights do not tell: Keras' names, as layers are named after them."""

NOTHING = "nothing"
POOLED, FLAT = "global pool", "flatten"

CLASSES: Mapping[str, str] = {
    **dict.fromkeys(["activation", "re_lu", "relu", "softmax"], ACTIVATION),
    **dict.fromkeys(["add", "merge", "tf.__operators__.add", "tf.math.add"], SUM),
    **dict.fromkeys(["zero_padding2d", "zeropadding2d"], PAD),
    **dict.fromkeys(["max_pooling2d", "maxpooling2d"], MAX),
    **dict.fromkeys(["average_pooling2d", "averagepooling2d"], AVERAGE),
    **dict.fromkeys(["global_average_pooling2d", "globalaveragepooling2d"], POOLED),
    **dict.fromkeys(["global_max_pooling2d", "globalmaxpooling2d"], POOLED),
    "flatten": FLAT,
    "reshape": REGROUP,
    **dict.fromkeys(["input", "input_layer", "identity", "activity_regularization"], NOTHING),
    **dict.fromkeys(["dropout", "alpha_dropout", "spatial_dropout2d"], NOTHING),
    **dict.fromkeys(["spatialdropout2d", "alphadropout", "gaussiandropout"], NOTHING),
    **dict.fromkeys(["gaussian_noise", "gaussian_dropout", "gaussiannoise"], NOTHING),
    **dict.fromkeys(["random_flip", "random_rotation", "random_zoom"], NOTHING),
    **dict.fromkeys(["random_translation", "random_contrast", "random_brightness"], NOTHING),
}
"""Classes as layers are named after them, Keras 1's with their words run together; 'nothing' is
what they do at inference."""

OTHER_FUNCTIONS = frozenset(
    [
        *("gelu", "swish", "silu", "elu", "selu", "celu", "mish", "tanh", "sigmoid", "softplus"),
        *("leaky", "leakyrelu", "lrelu", "prelu", "hard", "hardswish"),
    ]
)
"""Words of a layer's name that say another function than relu."""

PARTS: tuple[tuple[str, frozenset[str]], ...] = (
    ("pad", frozenset([PAD])),
    ("drop", frozenset([NOTHING])),
    ("avg", frozenset([AVERAGE, POOLED])),
    ("average", frozenset([AVERAGE, POOLED])),
    ("max", frozenset([MAX, POOLED])),
    ("pool", frozenset([MAX, AVERAGE, POOLED])),
    ("relu", frozenset([ACTIVATION])),
)
"""What a part of a name says, the first that it has: `pool1_pad`, `padding2a_branch2b`."""

WORDS: Mapping[str, str] = {
    **dict.fromkeys(["act", "activation", "nonlinearity", *OTHER_FUNCTIONS], ACTIVATION),
    **dict.fromkeys(["add", "sum", "addition", "merge", "plus"], SUM),
    "gap": POOLED,
    **dict.fromkeys(["flat", "flatten", "flattened"], FLAT),
}
"""What a word of a name says."""

UNTOLD = frozenset([ACTIVATION, SUM, PAD, MAX, AVERAGE])
"""What a layer within a network may be whose name says nothing."""


def words(layer: str) -> set[str]:
    """`Conv1_ReLU2` → conv1, relu."""
    parts = layer.lower().replace("/", "_").replace("-", "_").replace(".", "_").split("_")
    return {one.rstrip("0123456789") or one for one in parts}


def kinds(checkpoint: Checkpoint, dialect: Dialect, layer: str) -> frozenset[str]:
    """What a layer without weights can be; () for one whose class says that it computes what no
    weights tell."""
    auto = checkpoint.kinds.get(layer, auto_name(layer))
    if auto in CLASSES:
        return frozenset([CLASSES[auto]])
    named = dialect.weightless().get(layer)
    if named:
        return frozenset([named])
    if auto in COMPUTES or layer.startswith(("tf.", "lambda_", "tf_op_layer")):
        return frozenset()
    for part, found in PARTS:
        if part in layer.lower():
            return found
    return frozenset(WORDS[word] for word in words(layer) & WORDS.keys()) or UNTOLD


def is_said_to_do_nothing(layer: str, kind: frozenset[str]) -> bool:
    """Whether a layer does nothing by a name that is not Keras' own: `drop_1`."""
    return kind == {NOTHING} and auto_name(layer) not in CLASSES


def unknown(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The layers of classes that compute what no weights tell, or are not known, where the
    container tells classes."""
    harmless = {one for one, kind in CLASSES.items() if kind != REGROUP} | PICTURE
    return tuple(layer for layer, one in checkpoint.kinds.items() if one not in harmless)
