"""What the layers that have no weights say about a weights-only file, by their names.

Most of them are part of every ResNet (activations, sums, padding, pools) or do nothing at
inference. Some compute what is written nowhere in such a file: of those before the network only
what comes out of them can be converted, the others make it another network.
"""

from __future__ import annotations

from collections.abc import Sequence

from converter.auto_names import auto_name
from converter.checkpoint import Checkpoint

PICTURE = frozenset(["rescaling", "normalization", "resizing", "center_crop"])
"""Classes that people set in front of a network, and hardly anywhere else."""

COMPUTES = PICTURE | frozenset(
    [
        *("lambda", "tf_op_lambda", "slicing_op_lambda", "get_item", "stack", "cast"),
        *("true_divide", "divide", "multiply", "subtract", "average", "maximum", "minimum"),
        *("concatenate", "dot", "reshape", "permute", "repeat_vector"),
        *("leaky_re_lu", "leakyrelu", "elu", "thresholded_re_lu", "thresholdedrelu"),
        *("unit_normalization", "cropping2d", "up_sampling2d", "upsampling2d"),
        *("random_crop", "auto_contrast"),  # they act at inference too
    ]
)
"""Classes whose settings weights do not tell: Keras' names, as layers are named after them."""

HARMLESS = frozenset(
    [
        *("input", "input_layer", "activation", "re_lu", "softmax", "add", "merge", "identity"),
        *("zero_padding2d", "max_pooling2d", "average_pooling2d", "flatten"),
        *("global_average_pooling2d", "global_max_pooling2d"),
        *("dropout", "alpha_dropout", "spatial_dropout2d", "gaussian_noise", "gaussian_dropout"),
        *("activity_regularization", "random_flip", "random_rotation", "random_zoom"),
        *("random_translation", "random_contrast", "random_brightness"),
    ]
)
"""Classes that a network is made of, or that do nothing at inference."""


def before(checkpoint: Checkpoint) -> tuple[str, ...]:
    """The layers that work on pictures, where the container does not keep the order of layers."""
    return tuple(layer for layer, one in checkpoint.kinds.items() if one in PICTURE)


def unreadable(checkpoint: Checkpoint, in_front: Sequence[str]) -> tuple[str, ...]:
    """The layers that compute what the file does not say, less those that stand `in_front` of
    the network. Where the container tells classes, one that is not known is among them."""
    if checkpoint.kinds:
        known = HARMLESS | PICTURE
        return tuple(layer for layer, one in checkpoint.kinds.items() if one not in known)
    weighted = {weight.group for weight in checkpoint.weights}
    return tuple(
        layer
        for layer in checkpoint.layers
        if layer not in weighted and layer not in in_front and _computes(layer)
    )


def _computes(layer: str) -> bool:
    return auto_name(layer) in COMPUTES or layer.startswith(("tf.", "lambda_"))
