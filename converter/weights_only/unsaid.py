"""Weights only: what no name, no shape and no attribute tells, said where it matters."""

from __future__ import annotations

import itertools

from converter.facts.fact import Evidence, Fact
from converter.facts.reading import KERAS_RESNET_0_1
from converter.facts.table import BY_NAME, hidden
from converter.files.checkpoint import Checkpoint, Weight
from converter.weights_only.listing import Listing
from resnet_pt.architecture import Architecture
from resnet_pt.ops import Activation, Dense, Flatten


def gamma_fact(listing: Listing) -> tuple[Fact, ...]:
    """Which vector a norm of three arrays has, where a container numbers them."""
    weights = listing.checkpoint.of_layer()
    norms = [
        layer
        for module, layer in listing.match.modules.items()
        if module != "bn_data" and "moving_mean" in weights[layer] and "gamma" not in weights[layer]
    ]
    numbered = [
        one for one in norms if "beta" in weights[one] and _is_numbered(weights[one]["beta"])
    ]
    if not numbered:
        return ()
    reason = (
        f"{numbered[0]!r} has three arrays: whether gamma or beta is missing is not in the file"
    )
    return (Fact("norms", "without gamma", Evidence.DEFAULT, reason),)


def _is_numbered(weight: Weight) -> bool:
    return weight.spelling.isdigit()


def flatten_fact(checkpoint: Checkpoint, architecture: Architecture) -> tuple[Fact, ...]:
    """The order of a Flatten of more than one pixel, where the file does not tell it: of channels
    first, Keras wrote them first until 2.2 (keras 2.1.6 and 2.2.0 `layers/core.py`, Flatten), and
    its kernels since Keras 2 are the same."""
    is_flat = any(layer.op == Flatten("hwc") for layer in architecture.head)
    dense = [layer.op.in_features for layer in architecture.head if isinstance(layer.op, Dense)]
    version = checkpoint.version() or ()
    if not is_flat or dense[:1] == [architecture.features] or not (2,) <= version < (2, 2):
        return ()
    reason = (
        "weights do not record the model's data_format: of channels first, a Flatten before Keras "
        "2.2 wrote those first (--flatten)"
    )
    return (Fact("flatten", "channels-last", Evidence.DEFAULT, reason),)


def frozen_fact(listing: Listing) -> tuple[Fact, ...]:
    """By which statistics norms work, where the code may have taken the batch's."""
    if (
        listing.match.dialect.name != "keras-resnet"
        or KERAS_RESNET_0_1 not in listing.checkpoint.layers
    ):
        return ()
    reason = (
        f"the file lists {KERAS_RESNET_0_1!r}, of keras-resnet before 0.2, whose norms take the "
        "batch's in prediction too, unless they are frozen (freeze_bn)"
    )
    return (Fact("statistics", "the moving ones", Evidence.DEFAULT, reason),)


def precision_fact(checkpoint: Checkpoint) -> tuple[Fact, ...]:
    """That kernels are kept in half precision, where they are: a Keras that does computes so too,
    and what it predicted is that far from the logits of its weights."""
    found = {one.dtype for one in checkpoint.weights if one.parameter == "kernel"}
    half = sorted(found & {"float16", "bfloat16"})
    if not half:
        return ()
    reason = f"kernels are kept in {half[0]}: what was predicted in that is off by its rounding"
    return (Fact("precision", "float32", Evidence.DEFAULT, reason),)


def hidden_fact(architecture: Architecture) -> tuple[Fact, ...]:
    """The functions of a head that no name tells: behind hidden Dense layers, and those that a file
    lists by their class."""
    row = BY_NAME["head activation"]
    if row.why_not(architecture):
        return ()
    value = row.value(architecture)
    first = itertools.takewhile(lambda layer: not isinstance(layer.op, Dense), architecture.head)
    listed = [layer.name for layer in first if isinstance(layer.op, Activation)]
    said = [
        f"which function {name!r} is, is not in the file: {value} is assumed" for name in listed
    ]
    if len(hidden(architecture)) > len(listed):
        said.insert(
            0, f"weights do not record activations: {value} is assumed behind hidden Dense layers"
        )
    return (Fact(row.name, value, Evidence.DEFAULT, "; ".join(said)),)


def output_fact(architecture: Architecture) -> tuple[Fact, ...]:
    values = [output.activation for output in architecture.outputs]
    if not any(isinstance(layer.op, Dense) for layer in architecture.head):
        return ()
    reason = "weights do not record the last activation; the logits come before it"
    return (Fact("output", ", ".join(values), Evidence.DEFAULT, reason),)
