"""Small random graphs of layers, held against live Keras 3: the layer campaign.

`drawn(seed, number)` gives a graph as plain JSON: its inputs' shapes, its nodes (a layer with its
settings, an operator, a layer or model called again, a nested model), and which values each may
read. tests/graph_keras.py makes it, saves it and computes it in float64; `judged` converts the file
and compares. What is wrong is shrunk to the smallest graph that still is.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from converter.errors import ConvertError
from converter.files.source import read_here
from converter.identify import identify
from converter.mapping.plan import make_plan
from converter.network import Network
from converter.options import Options
from converter.whole_model.keras_layers.operators import KERAS_3
from converter.whole_model.lift import liftings
from resnet_pt.general import General

Graph = dict[str, Any]
Draw = random.Random

ALLOWED = 1e-12
"""Of the largest number of an output."""

LEAST = 1e-2
"""An output whose largest number is less is what is left of larger ones: rounding."""

IN_FLOAT32 = 1e-5
"""The same of a graph with an op that TensorFlow computes in float32 whatever it is told."""

OLD = frozenset(
    [
        *("AtrousConvolution1D", "AtrousConvolution2D", "Convolution1D", "Convolution2D"),
        *("Convolution2DTranspose", "Convolution3D", "Deconvolution2D", "Merge"),
        *("SeparableConvolution1D", "SeparableConvolution2D", "TimeDistributedDense"),
        *("BatchNormalizationV1", "BatchNormalizationV2", "SyncBatchNormalization", "Abs"),
        "Lambda",
    ]
)
"""Classes that Keras 3 does not write, and code, whose forms `test_lambdas.py` holds."""

ACTIVATIONS = (
    *("relu", "relu6", "elu", "selu", "gelu", "silu", "swish", "sigmoid", "tanh", "softplus"),
    *("softsign", "softmax", "exponential", "linear", "hard_sigmoid", "hard_silu", "hard_swish"),
    *("leaky_relu", "log_softmax", "celu", "log_sigmoid", "mish", "hard_tanh", "hard_shrink"),
    *("soft_shrink", "tanh_shrink", "squareplus", "sparse_plus", "sparse_sigmoid"),
)

RANKS = (1, 2, 3, 4)


# ---- settings


def activation(draw: Draw) -> Any:
    """What a layer applies itself: nothing, a name, or a layer."""
    if draw.random() < 0.55:
        return None
    if draw.random() < 0.1:
        return draw.choice(
            [
                {"do": "LeakyReLU", "with": {"negative_slope": 0.25}},
                {"do": "ReLU", "with": {"max_value": 1.5}},
                {"do": "ELU", "with": {"alpha": 0.5}},
            ]
        )
    return draw.choice(ACTIVATIONS)


def some(draw: Draw, numbers: list[Any], axes: int) -> Any:
    """One number for all axes, or one for each."""
    if draw.random() < 0.5:
        return draw.choice(numbers)
    return [draw.choice(numbers) for _ in range(axes)]


def windowed(draw: Draw, axes: int, equal: bool = False) -> dict[str, Any]:
    """The window of a convolution; TensorFlow wants one stride for both axes of a depthwise one."""
    found: dict[str, Any] = {"kernel_size": some(draw, [1, 2, 3, 4], axes)}
    found["padding"] = draw.choice(["same", "same", "valid", *(["causal"] * (axes == 1))])
    stride = draw.choice([1, 1, 1, 2, 3]) if equal else some(draw, [1, 1, 1, 2, 3], axes)
    if draw.random() < 0.25 and not equal:
        found["dilation_rate"] = some(draw, [1, 2, 3], axes)
    elif stride != 1:
        found["strides"] = stride
    return found


def layer_bias(draw: Draw) -> dict[str, Any]:
    return {"use_bias": draw.random() < 0.6, "activation": activation(draw)}


def convolution(axes: int) -> Callable[[Draw], dict[str, Any]]:
    def settings(draw: Draw) -> dict[str, Any]:
        found = {"filters": draw.choice([4, 4, 4, 2, 6]), **windowed(draw, axes)}
        if draw.random() < 0.25:
            found["groups"] = 2
        return {**found, **layer_bias(draw)}

    return settings


def depthwise(axes: int) -> Callable[[Draw], dict[str, Any]]:
    def settings(draw: Draw) -> dict[str, Any]:
        found = {"depth_multiplier": draw.choice([1, 1, 2, 3]), **windowed(draw, axes, True)}
        if found["padding"] == "causal":
            found["padding"] = "same"
        if draw.random() < 0.2 and "strides" not in found:
            found["dilation_rate"] = 2
        return {**found, **layer_bias(draw)}

    return settings


def separable(axes: int) -> Callable[[Draw], dict[str, Any]]:
    return lambda draw: {"filters": draw.choice([4, 4, 5]), **depthwise(axes)(draw)}


def transposed(axes: int) -> Callable[[Draw], dict[str, Any]]:
    def settings(draw: Draw) -> dict[str, Any]:
        found = {"filters": draw.choice([4, 4, 3]), **windowed(draw, axes)}
        if found["padding"] == "causal":
            found["padding"] = "valid"
        if "strides" in found and draw.random() < 0.3:
            found["output_padding"] = draw.choice([0, 1])
        return {**found, **layer_bias(draw)}

    return settings


def data_format(draw: Draw, axes: int) -> dict[str, Any]:
    """Some layers say which axis has the channels."""
    said = draw.choice([None] * 6 + ["channels_last", "channels_first"])
    return {"data_format": said} if said and axes > 1 else {}


def pool(axes: int) -> Callable[[Draw], dict[str, Any]]:
    def settings(draw: Draw) -> dict[str, Any]:
        found: dict[str, Any] = {"pool_size": some(draw, [1, 2, 3], axes)}
        if draw.random() < 0.6:
            found["strides"] = some(draw, [1, 1, 2, 3], axes)
        return {**found, "padding": draw.choice(["same", "valid"]), **data_format(draw, axes)}

    return settings


def global_pool(axes: int) -> Callable[[Draw], dict[str, Any]]:
    return lambda draw: {"keepdims": draw.random() < 0.5, **data_format(draw, axes)}


def amounts(draw: Draw, axes: int) -> Any:
    """(before, after) of each axis, in any of the ways to write them."""
    if axes == 1:
        return draw.choice([1, 2, [1, 2], [0, 1], [2, 0]])
    way = draw.randint(0, 2)
    if way == 0:
        return draw.choice([1, 2])
    if way == 1:
        return [draw.randint(0, 2) for _ in range(axes)]
    return [[draw.randint(0, 2), draw.randint(0, 1)] for _ in range(axes)]


def zero_padding(axes: int) -> Callable[[Draw], dict[str, Any]]:
    return lambda draw: {"padding": amounts(draw, axes), **data_format(draw, axes)}


def cropping(axes: int) -> Callable[[Draw], dict[str, Any]]:
    return lambda draw: {"cropping": amounts(draw, axes), **data_format(draw, axes)}


def upsampling(axes: int) -> Callable[[Draw], dict[str, Any]]:
    def settings(draw: Draw) -> dict[str, Any]:
        found = {"size": draw.choice([1, 2, 3]) if axes == 1 else some(draw, [1, 2, 3], axes)}
        if axes == 2 and draw.random() < 0.2:
            found["interpolation"] = draw.choice(["bilinear", "bicubic"])
        return {**found, **data_format(draw, axes)}

    return settings


def an_axis(draw: Draw, rank: int) -> int:
    return draw.choice([-1, -1, *range(1, rank + 1), *range(-rank, 0)])


def several_axes(draw: Draw, rank: int) -> Any:
    if draw.random() < 0.6:
        return an_axis(draw, rank)
    axes = draw.sample(range(1, rank + 1), draw.randint(1, rank))
    return [axis - rank - 1 if draw.random() < 0.3 else axis for axis in axes]


def batch_norm(draw: Draw, rank: int) -> dict[str, Any]:
    return {
        "axis": an_axis(draw, rank),
        "scale": draw.random() < 0.7,
        "center": draw.random() < 0.7,
        "epsilon": draw.choice([1e-3, 1e-5, 0.1]),
        "momentum": draw.choice([0.99, 0.9]),
    }


def layer_norm(draw: Draw, rank: int) -> dict[str, Any]:
    return {
        "axis": several_axes(draw, rank),
        "scale": draw.random() < 0.7,
        "center": draw.random() < 0.7,
        "epsilon": draw.choice([1e-3, 1e-2]),
        "rms_scaling": draw.random() < 0.15,
    }


def rms_norm(draw: Draw, rank: int) -> dict[str, Any]:
    last = draw.choice([-1, [-1], list(range(1, rank + 1)), list(range(-min(rank, 2), 0))])
    axis = last if draw.random() < 0.8 else several_axes(draw, rank)
    return {"axis": axis, "epsilon": draw.choice([1e-6, 1e-3, 0.1])}


def spectral_norm(draw: Draw, rank: int) -> dict[str, Any]:
    inner = [{"do": "Dense", "with": dense(draw, rank)}]
    if rank > 1:
        inner.append({"do": f"Conv{rank - 1}D", "with": convolution(rank - 1)(draw)})
    return {"layer": draw.choice(inner), "power_iterations": draw.choice([1, 2])}


def group_norm(draw: Draw, rank: int) -> dict[str, Any]:
    return {
        "groups": draw.choice([1, 2, 4, -1]),
        "axis": draw.choice([-1, -1, -1, an_axis(draw, rank)]),
        "scale": draw.random() < 0.7,
        "center": draw.random() < 0.7,
        "epsilon": draw.choice([1e-3, 1e-2]),
    }


def normalization(draw: Draw, rank: int) -> dict[str, Any]:
    axis = draw.choice([-1, -1, -1, None, an_axis(draw, rank)])
    if draw.random() < 0.4 and axis is not None:
        return {"axis": axis}
    found: dict[str, Any] = {"axis": axis, "invert": draw.random() < 0.15}
    is_list = axis is not None and draw.random() < 0.7
    mean, variance = draw.choice([0.5, -0.25]), draw.choice([2.0, 0.25])
    found["mean"] = [mean, 0.125, -0.75, 0.5] if is_list else mean
    found["variance"] = [variance, 1.5, 0.75, 0.375] if is_list else variance
    return found


def prelu(draw: Draw, rank: int) -> dict[str, Any]:
    shared = draw.choice([None, list(range(1, rank)) or None, [draw.randint(1, rank)]])
    return {"shared_axes": shared}


def relu(draw: Draw, rank: int) -> dict[str, Any]:
    return {
        "max_value": draw.choice([None, None, 6.0, 1.5, 0.5]),
        "negative_slope": draw.choice([0.0, 0.0, 0.125]),
        "threshold": draw.choice([0.0, 0.0, 0.5, 1.0, -0.5]),
    }


def permute(draw: Draw, rank: int) -> dict[str, Any]:
    return {"dims": draw.sample(range(1, rank + 1), rank)}


def rescaling(draw: Draw, rank: int) -> dict[str, Any]:
    scale = draw.choice([0.5, 2, [0.5, -1.0, 2.0, 0.25]])
    return {"scale": scale, "offset": draw.choice([0.0, -1.0, 0.5])}


def resizing(draw: Draw, rank: int) -> dict[str, Any]:
    ways = ["nearest", "nearest", "bilinear", "bicubic"]
    found: dict[str, Any] = {"height": draw.randint(2, 12), "width": draw.randint(2, 12)}
    found["interpolation"] = draw.choice(ways)
    if draw.random() < 0.1:
        found[draw.choice(["crop_to_aspect_ratio", "pad_to_aspect_ratio"])] = True
    return {**found, **data_format(draw, 2)}


def center_crop(draw: Draw, rank: int) -> dict[str, Any]:
    found = {"height": draw.randint(2, 6), "width": draw.randint(2, 7)}
    return {**found, **data_format(draw, 2)}


def time_distributed(draw: Draw, rank: int) -> dict[str, Any]:
    inner = [
        {"do": "Dense", "with": {"units": 4, **layer_bias(draw)}},
        {"do": "Activation", "with": {"activation": draw.choice(ACTIVATIONS)}},
        {"do": "Dropout", "with": {"rate": 0.3}},
        {"do": "Flatten", "with": {}},
    ]
    if rank == 3:
        inner.append({"do": "Conv1D", "with": {"filters": 4, "kernel_size": 3}})
    if rank == 4:
        inner.append({"do": "Conv2D", "with": {"filters": 4, "kernel_size": 3}})
    return {"layer": draw.choice(inner)}


@dataclass(frozen=True)
class Kind:
    """A class of layers or an operator: the ranks that it reads, its settings, and the rank that it
    gives (None: the same). A `count` above 1 joins values of one rank, or of `mixed` ones."""

    ranks: tuple[int, ...]
    settings: Callable[[Draw, int], dict[str, Any]]
    gives: int | None = None
    count: tuple[int, int] = (1, 1)
    mixed: bool = False
    often: int = 1


def nothing(draw: Draw, rank: int) -> dict[str, Any]:
    return {}


def plain(settings: Callable[[Draw], dict[str, Any]]) -> Callable[[Draw, int], dict[str, Any]]:
    """Settings that do not depend on the rank."""
    return lambda draw, rank: settings(draw)


def fixed(**settings: Any) -> Callable[[Draw, int], dict[str, Any]]:
    return lambda draw, rank: dict(settings)


def _windows() -> dict[str, Kind]:
    found: dict[str, Kind] = {}
    for axes in (1, 2, 3):
        rank = (axes + 1,)
        found[f"Conv{axes}D"] = Kind(rank, plain(convolution(axes)), often=4)
        found[f"Conv{axes}DTranspose"] = Kind(rank, plain(transposed(axes)), often=2)
        for mode in ("Max", "Average"):
            found[f"{mode}Pooling{axes}D"] = Kind(rank, plain(pool(axes)))
            found[f"Global{mode}Pooling{axes}D"] = Kind(rank, plain(global_pool(axes)), 1)
        found[f"ZeroPadding{axes}D"] = Kind(rank, plain(zero_padding(axes)))
        found[f"Cropping{axes}D"] = Kind(rank, plain(cropping(axes)))
        found[f"UpSampling{axes}D"] = Kind(rank, plain(upsampling(axes)))
        found[f"SpatialDropout{axes}D"] = Kind(rank, fixed(rate=0.3))
        if axes < 3:
            found[f"DepthwiseConv{axes}D"] = Kind(rank, plain(depthwise(axes)), often=2)
            found[f"SeparableConv{axes}D"] = Kind(rank, plain(separable(axes)), often=2)
    return found


AUGMENTING: dict[str, dict[str, Any]] = {
    "RandomFlip": {},
    "RandomRotation": {"factor": 0.2},
    "RandomZoom": {"height_factor": 0.2},
    "RandomTranslation": {"height_factor": 0.2, "width_factor": 0.2},
    "RandomContrast": {"factor": 0.3},
    "RandomBrightness": {"factor": 0.3},
    "AugMix": {},
    "CutMix": {},
    "MixUp": {},
    "RandAugment": {},
    "RandomColorDegeneration": {"factor": 0.3},
    "RandomColorJitter": {"brightness_factor": 0.3},
    "RandomElasticTransform": {},
    "RandomErasing": {},
    "RandomGaussianBlur": {},
    "RandomGrayscale": {},
    "RandomHeight": {"factor": 0.3},
    "RandomWidth": {"factor": 0.3},
    "RandomHue": {"factor": 0.3},
    "RandomInvert": {},
    "RandomPerspective": {},
    "RandomPosterization": {"factor": 4},
    "RandomSaturation": {"factor": 0.3},
    "RandomSharpness": {"factor": 0.3},
    "RandomShear": {"x_factor": 0.2, "y_factor": 0.2},
}
"""What Keras 3 has for pictures that acts in training alone, with settings that it needs."""


def dense(draw: Draw, rank: int) -> dict[str, Any]:
    return {"units": draw.choice([4, 4, 4, 3, 5]), **layer_bias(draw)}


def einsum_dense(draw: Draw, rank: int) -> dict[str, Any]:
    """Equations of as many axes, with dots for some of them, on either side."""
    forms = {
        1: [("ab,bc->ac", [3], "c"), ("...b,bc->...c", [3], "c"), ("ab,bcd->acd", [2, 3], "cd")],
        2: [
            *(("abc,cd->abd", [None, 3], "d"), ("...c,cd->...d", [3], "d")),
            *(("abc,cde->abde", [None, 2, 3], "de"), ("abc,bd->adc", [3, None], "d")),
            *(
                ("ab...,bc->ac...", [3], "c"),
                ("abc,bcd->ad", [2], "d"),
                ("acb,bd->acd", [None, 2], ""),
            ),
        ],
        3: [
            *(("...x,xy->...y", [3], "y"), ("abc...,cd->abd...", [None, 3], "d")),
            *(("abcd,cde->abe", [None, 3], "e"), ("abcd,de->aebc", [3, None, None], "e")),
        ],
        4: [("...ab,abc->...c", [3], "c"), ("...b,bcd->...cd", [2, 3], "d")],
    }
    equation, shape, bias = draw.choice(forms[rank])
    found = {"equation": equation, "output_shape": shape, "activation": activation(draw)}
    return {**found, "bias_axes": bias} if bias and draw.random() < 0.7 else found


AT_EACH_STEP = tuple(name for name in ACTIVATIONS if name not in ("softmax", "log_softmax"))
"""What a recurrent layer may apply."""


def recurrent(draw: Draw, rank: int) -> dict[str, Any]:
    """A plain one has no activation of its gates."""
    found: dict[str, Any] = {"units": draw.choice([4, 4, 3, 5])}
    if draw.random() < 0.4:
        found["activation"] = draw.choice(AT_EACH_STEP)
    for name, chance in (("return_sequences", 0.6), ("go_backwards", 0.3), ("unroll", 0.1)):
        found[name] = draw.random() < chance
    found["use_bias"] = draw.random() < 0.7
    found["dropout"] = draw.choice([0.0, 0.3])
    return found


def gated(draw: Draw, rank: int) -> dict[str, Any]:
    found = recurrent(draw, rank)
    if draw.random() < 0.4:
        found["recurrent_activation"] = draw.choice(["hard_sigmoid", "tanh", "relu6", "softsign"])
    return found


def embedding(draw: Draw, rank: int) -> dict[str, Any]:
    return {"input_dim": draw.choice([6, 9]), "output_dim": draw.choice([4, 3])}


def bidirectional(draw: Draw, rank: int) -> dict[str, Any]:
    do = draw.choice(["LSTM", "GRU", "SimpleRNN"])
    settings = gated(draw, rank) if do != "SimpleRNN" else recurrent(draw, rank)
    found = {
        "layer": {"do": do, "with": settings},
        "merge_mode": draw.choice(["concat", "concat", "sum", "mul", "ave"]),
    }
    if draw.random() < 0.3:
        back = {"go_backwards": not settings["go_backwards"], "use_bias": draw.random() < 0.5}
        found["backward_layer"] = {"do": do, "with": {**settings, **back}}
    return found


LAYERS: dict[str, Kind] = {
    **_windows(),
    "Dense": Kind(RANKS, dense, often=4),
    "EinsumDense": Kind(RANKS, einsum_dense, often=2),
    "Activation": Kind(RANKS, lambda draw, rank: {"activation": draw.choice(ACTIVATIONS)}, often=3),
    "ReLU": Kind(RANKS, relu),
    "LeakyReLU": Kind(RANKS, lambda draw, rank: {"negative_slope": draw.choice([0.25, 0.125])}),
    "ELU": Kind(RANKS, lambda draw, rank: {"alpha": draw.choice([1.0, 0.5])}),
    "ThresholdedReLU": Kind(RANKS, lambda draw, rank: {"theta": draw.choice([1.0, 0.3])}),
    "Softmax": Kind(RANKS, lambda draw, rank: {"axis": several_axes(draw, rank)}),
    "PReLU": Kind(RANKS, prelu),
    "BatchNormalization": Kind(RANKS, batch_norm, often=3),
    "LayerNormalization": Kind(RANKS, layer_norm, often=2),
    "GroupNormalization": Kind(RANKS, group_norm, often=2),
    "UnitNormalization": Kind(RANKS, lambda draw, rank: {"axis": several_axes(draw, rank)}),
    "RMSNormalization": Kind(RANKS, rms_norm, often=2),
    "SpectralNormalization": Kind(RANKS, spectral_norm),
    "Rescaling": Kind(RANKS, rescaling),
    "Normalization": Kind(RANKS, normalization, often=2),
    "LayerScale": Kind(RANKS, fixed(init_values=0.5)),
    "Flatten": Kind(RANKS, nothing, 1),
    "Permute": Kind(RANKS, permute, often=2),
    "RepeatVector": Kind((1,), lambda draw, rank: {"n": draw.randint(1, 5)}, 2),
    "Embedding": Kind((1,), embedding, 2, often=2),
    "LSTM": Kind((2,), gated, often=3),
    "GRU": Kind(
        (2,), lambda draw, rank: {**gated(draw, rank), "reset_after": draw.random() < 0.5}, often=2
    ),
    "SimpleRNN": Kind((2,), recurrent),
    "Bidirectional": Kind((2,), bidirectional, often=3),
    "TimeDistributed": Kind((2, 3, 4), time_distributed, often=2),
    "Dropout": Kind(RANKS, fixed(rate=0.3)),
    "GaussianNoise": Kind(RANKS, fixed(stddev=0.3)),
    "GaussianDropout": Kind(RANKS, fixed(rate=0.3)),
    "AlphaDropout": Kind(RANKS, fixed(rate=0.3)),
    "ActivityRegularization": Kind(RANKS, fixed(l2=0.1)),
    "Identity": Kind(RANKS, nothing),
    "Resizing": Kind((3,), resizing),
    "CenterCrop": Kind((3,), center_crop),
    **{name: Kind((3,), fixed(**settings)) for name, settings in AUGMENTING.items()},
}


def attention(draw: Draw, rank: int) -> dict[str, Any]:
    return {"use_scale": draw.random() < 0.6, "dropout": draw.choice([0.0, 0.3])} | called(draw)


def called(draw: Draw) -> dict[str, Any]:
    """What is passed with the values that it reads."""
    return {"call": {"use_causal_mask": True}} if draw.random() < 0.4 else {}


def multi_head(draw: Draw, rank: int) -> dict[str, Any]:
    """`order` names what it reads, some by place and some by keyword, as a call may write them.
    The root of a `key_dim` is a number of float32, in which TensorFlow takes it."""
    found = {"num_heads": draw.choice([1, 2, 3]), "key_dim": draw.choice([1, 4])}
    found["use_bias"] = draw.random() < 0.7
    for key, sizes in (("value_dim", [2, 5]), ("output_shape", [3, 4]), ("dropout", [0.3])):
        if draw.random() < 0.3:
            found[key] = draw.choice(sizes)
    orders = [["", ""], ["", "value"], ["value", "query"], ["query", "value"]]
    return found | {"order": draw.choice(orders)} | called(draw)


def multi_head_of_three(draw: Draw, rank: int) -> dict[str, Any]:
    orders = [["", "", ""], ["key", "value", "query"], ["", "key", "value"], ["", "", "key"]]
    return multi_head(draw, rank) | {"order": draw.choice(orders)}


RESHAPE = ("Reshape", "reshape")
"""What gives any rank: that of the shape that is picked once its numbers are known."""

JOINS: dict[str, Kind] = {
    **{
        name: Kind(RANKS, nothing, count=(2, 3), mixed=True)
        for name in ("Add", "Multiply", "Average", "Maximum", "Minimum")
    },
    "Subtract": Kind(RANKS, nothing, count=(2, 2), mixed=True),
    "CustomScaleLayer": Kind(RANKS, fixed(scale=0.25), count=(2, 2)),
    "Concatenate": Kind(
        RANKS, lambda draw, rank: {"axis": an_axis(draw, rank)}, count=(2, 3), often=3
    ),
    "Attention": Kind((2,), attention, count=(2, 3), often=2),
    "AdditiveAttention": Kind((2,), attention, count=(2, 3)),
    "MultiHeadAttention": Kind((2,), multi_head, count=(2, 2), often=2),
    "MultiHeadAttention of three": Kind((2,), multi_head_of_three, count=(3, 3)),
    "Dot": Kind(
        RANKS,
        lambda draw, rank: {
            "axes": draw.choice([an_axis(draw, rank), [an_axis(draw, rank), an_axis(draw, rank)]]),
            "normalize": draw.random() < 0.4,
        },
        count=(2, 2),
        mixed=True,
        often=2,
    ),
    **{
        name: Kind(RANKS, nothing, count=(2, 2), mixed=True)
        for name in ("x + y", "x - y", "x * y", "x / y", "maximum", "minimum")
    },
    "concatenate": Kind(RANKS, lambda draw, rank: {"axis": an_axis(draw, rank)}, count=(2, 3)),
    "stack": Kind((1, 2, 3), lambda draw, rank: {"axis": an_axis(draw, rank)}, count=(2, 2)),
}


def with_constant(draw: Draw, rank: int) -> dict[str, Any]:
    c = draw.choice([2, 0.5, -1.5, [0.5, -1.0, 2.0, 0.25]])
    return {"c": c, "per": "last"} if isinstance(c, list) else {"c": c}


def reduced(draw: Draw, rank: int) -> dict[str, Any]:
    return {"axis": several_axes(draw, rank), "keepdims": draw.random() < 0.5}


def key(draw: Draw, rank: int) -> dict[str, Any]:
    """What stands in the brackets of `x[...]`."""

    def part() -> Any:
        return draw.choice([[None], [1, None], [0, 2], [None, -1], [None, None, 2], [None, None]])

    if draw.random() < 0.3:
        return {"key": ["...", draw.choice([part(), part(), 0, -1])]}
    spec = [[None, None], *(part() for _ in range(draw.randint(1, rank)))]
    if draw.random() < 0.2:
        spec[-1] = draw.choice([0, 1, -1])
    return {"key": spec}


def padded(draw: Draw, rank: int) -> dict[str, Any]:
    widths = [[0, 0], *([draw.randint(0, 2), draw.randint(0, 1)] for _ in range(rank))]
    mode = draw.choice(["constant", "constant", "constant", "reflect"])
    found: dict[str, Any] = {"pad_width": widths, "mode": mode}
    if mode == "constant" and draw.random() < 0.3:
        found["constant_values"] = 0.5
    return found


def transposing(draw: Draw, rank: int) -> dict[str, Any]:
    return {"axes": [0, *draw.sample(range(1, rank + 1), rank)]}


def resized(draw: Draw, rank: int) -> dict[str, Any]:
    ways = ["nearest", "bilinear"]
    size = [draw.randint(2, 9), draw.randint(2, 9)]
    return {"size": size, "interpolation": draw.choice(ways)}


NUMBER_BY_NUMBER = (
    *("relu", "relu6", "elu", "selu", "silu", "sigmoid", "softplus", "softsign", "tanh", "exp"),
    *("abs", "square", "sqrt", "-x", "negative", "log", "hard_sigmoid", "hard_silu", "leaky_relu"),
    *("absolute", "stop_gradient", "x ** 2", "root"),
)

OPERATORS: dict[str, Kind] = {
    **{name: Kind(RANKS, nothing) for name in NUMBER_BY_NUMBER},
    **{
        name: Kind(RANKS, with_constant)
        for name in (
            *("x + c", "c + x", "x - c", "c - x", "x * c", "c * x", "x / c", "c / x", "max c"),
            *("min c", "add c", "multiply c", "subtract c", "true_divide c", "divide c"),
        )
    },
    "cast": Kind(RANKS, lambda draw, rank: {"to": draw.choice(["float32", "int32", "float16"])}),
    "clip": Kind(RANKS, lambda draw, rank: {"x_min": -0.5, "x_max": draw.choice([0.75, 1])}),
    "gelu": Kind(RANKS, lambda draw, rank: {"approximate": draw.random() < 0.5}),
    "softmax": Kind(RANKS, lambda draw, rank: {"axis": an_axis(draw, rank)}),
    **{name: Kind(RANKS, reduced) for name in ("mean", "max", "amax", "min", "sum")},
    "x[...]": Kind(RANKS, key, often=3),
    "pad": Kind(RANKS, padded),
    "transpose": Kind(RANKS, transposing, often=2),
    "resize": Kind((3,), resized),
}

FLOAT32 = (
    *("Resizing", "resize", "bilinear", "bicubic", "MaxPooling3D", "AveragePooling3D"),
    *("gelu", "leaky_relu", "selu", "celu", "float32"),
)
"""What TensorFlow computes in float32 whatever it is told: all of tf.image.resize. Numbers that it
takes in float32 (a slope, a mean that is given) are drawn such that they are the same in it. Of a
gelu it is the root of 2, of others a number that their name stands for."""

ALL = {**LAYERS, **JOINS, **OPERATORS}

NAMES = (*ALL, *RESHAPE)


# ---- graphs


def drawn(seed: int, number: int) -> Graph:
    """The graph of that number: every fourth is one layer or operator alone, in their turn."""
    if number % 4 == 0:
        return alone(NAMES[number // 4 % len(NAMES)], seed, number)
    return random_graph(Draw(f"{seed}/{number}"), number)


def random_graph(draw: Draw, seed: int) -> Graph:
    """A graph of one to eight layers and operators; `seed` draws its weights and inputs."""
    shapes: list[list[int]] = []
    for _ in range(draw.choice([1, 1, 1, 2, 2, 3])):
        shapes.append(list(draw.choice(SHAPES if not shapes else [*SHAPES, *shapes * 4])))
    graph = _nodes(draw, [len(shape) for shape in shapes], draw.randint(1, 8), nests=True)
    return {
        "inputs": shapes,
        **graph,
        "all": draw.random() < 0.6,
        "names": draw.random() < 0.2,
        "sequential": draw.random() < 0.4,
        "unknown": draw.random() < 0.2,
        "channels_first": draw.random() < 0.1,
        "ending": draw.choice([".keras", ".h5"]),
        "seed": seed,
        "ids": [place for place, shape in enumerate(shapes) if len(shape) <= 2 and _is_ids(draw)],
    }


def _is_ids(draw: Draw) -> bool:
    """Whether an input is of whole numbers, which an Embedding may read."""
    return draw.random() < 0.3


def alone(name: str, seed: int, number: int = 0) -> Graph:
    """A graph of one layer or operator with random settings; what joins reads two inputs."""
    draw = Draw(f"{seed}/{number}/{name}")
    if name in RESHAPE:
        kind = Kind(RANKS, lambda draw, rank: {"pick": draw.randrange(10_000)})
    else:
        kind = ALL[name]
    shape = draw.choice([one for one in SHAPES if len(one) in kind.ranks])
    node = {"do": name, "with": kind.settings(draw, len(shape)), "reads": [0]}
    inputs = [shape]
    if kind.count[1] > 1:
        count = max(kind.count[0], 2)
        inputs = [shape] * count
        node |= {"reads": list(range(count)), "count": count}
    return {
        "inputs": inputs,
        "nodes": [node],
        "outputs": [len(inputs)],
        "unknown": draw.random() < 0.2,
        "channels_first": draw.random() < 0.1,
        "ending": draw.choice([".keras", ".h5"]),
        "seed": number,
        "ids": [0] if name == "Embedding" else [],
    }


SHAPES = ([4], [6], [5, 4], [7, 4], [6, 7, 4], [5, 5, 4], [8, 6, 3], [4, 5, 3, 4], [3, 4, 4, 2])


def _nodes(draw: Draw, ranks: list[int], count: int, nests: bool) -> Graph:
    """Nodes that read values of these ranks, and each other; the last is an output."""
    ranks, nodes = list(ranks), []
    for _ in range(count):
        node, rank = _node(draw, ranks, nodes, nests)
        nodes.append(node)
        ranks.append(rank)
    if draw.random() < 0.3:  # a head with what an output leaves off
        node = {"do": "Activation", "with": {"activation": draw.choice(["softmax", "sigmoid"])}}
        nodes.append({**node, "reads": [len(ranks) - 1]})
        ranks.append(ranks[-1])
    return {"nodes": nodes, "outputs": [len(ranks) - 1]}


def _node(draw: Draw, ranks: list[int], nodes: list[Any], nests: bool) -> tuple[Any, int]:
    first = len(ranks) - len(nodes)
    way = draw.random()
    newest = _newest(draw, ranks)
    rank = ranks[newest[0]]
    if way < 0.08 and nodes:
        again = draw.randrange(first, len(ranks))
        before = nodes[again - first]
        like = {key: before[key] for key in ("count", "take") if key in before}
        return {"again": again, "reads": newest, **like}, ranks[again]
    if way < 0.16 and nests:
        count = draw.choice([1, 1, 2]) if len(ranks) > 1 else 1
        some_ranks = [ranks[one] for one in newest[:count]]
        model = _nodes(draw, some_ranks, draw.randint(1, 4), nests=draw.random() < 0.15)
        model["all"], model["sequential"] = draw.random() < 0.4, draw.random() < 0.4
        model["names"] = draw.random() < 0.2
        take = draw.choice([0, 0, 1, 2])
        return {"model": model, "reads": newest, "count": count, "take": take}, rank
    if way < 0.24:
        name = draw.choice(RESHAPE)
        return {"do": name, "with": {"pick": draw.randrange(10_000)}, "reads": newest}, (
            draw.choice(RANKS)
        )
    table = JOINS if way < 0.44 and len(ranks) > 1 else OPERATORS if way > 0.78 else LAYERS
    fitting = [name for name, kind in table.items() if rank in kind.ranks]
    name = draw.choices(fitting, [table[one].often for one in fitting])[0]
    kind = table[name]
    node = {"do": name, "with": kind.settings(draw, rank), "reads": newest}
    if kind.count[1] > 1:
        node["count"] = draw.randint(*kind.count)
        if not kind.mixed or draw.random() < 0.7:
            node["reads"] = [one for one in newest if ranks[one] == rank]
    return node, kind.gives or rank


def _newest(draw: Draw, ranks: list[int]) -> list[int]:
    """All values, most often the newest first."""
    order = list(range(len(ranks)))
    order.sort(key=lambda one: -one * draw.choice([1, 1, 1, 0.3]) + draw.random())
    return order


# ---- what Keras makes of them


@contextmanager
def keras(folder: Path, python: str = "") -> Iterator[Callable[[Graph], Graph]]:
    """A function that has Keras make a graph: that of today, or the older one of a `python`."""
    script = Path(__file__).with_name("graph_keras_2.py" if python else "graph_keras.py")
    log = folder / "keras.log"
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "KERAS_BACKEND": "tensorflow"}
    with log.open("w") as told:
        process = subprocess.Popen(
            [python or sys.executable, str(script), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=told,
            text=True,
            env={**os.environ, **quiet},
        )
    assert process.stdin is not None
    assert process.stdout is not None

    def made(graph: Graph) -> Graph:
        process.stdin.write(json.dumps(graph) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        assert answer, log.read_text()[-2000:]
        return json.loads(answer)

    try:
        yield made
    finally:
        process.kill()
        process.communicate()


# ---- what the converter makes of them


@dataclass(frozen=True)
class Outcome:
    """`reasons` are those of a refusal, `wrong` says what is: both empty where all is equal."""

    wrong: str = ""
    reasons: tuple[str, ...] = ()


def judged(made: Graph) -> Outcome:
    """What the converter makes of a file, held against what Keras computed."""
    try:
        with read_here(Path(made["file"])) as checkpoint:
            network = identify(checkpoint, Options())
            tensors = dict(make_plan(checkpoint, network).tensors(checkpoint))
    except ConvertError as error:
        return Outcome(reasons=reasons(error))
    except Exception as error:
        return Outcome(f"{type(error).__name__}: {error}"[:300])
    try:
        return Outcome(compared(made, network, tensors))
    except Exception as error:
        return Outcome(f"it does not run: {type(error).__name__}: {error}"[:300])


def compared(made: Graph, network: Network, tensors: dict[str, Any]) -> str:
    """What is wrong with the outputs; '' for nothing."""
    model = General(network.program).eval()
    state = {name: torch.from_numpy(np.array(one)) for name, one in tensors.items()}
    model.load_state_dict({**state, "_extra_state": model.get_extra_state()})
    known = np.load(made["record"])
    first = bool(network.lifted and network.lifted.channels_first)
    given = []
    for place, one in enumerate(network.program.inputs):  # older Kerases leave out what is not read
        _, named, number = one.name.rpartition("given_")
        x = torch.from_numpy(known[f"x{number if named else place}"]).double()
        given.append(x if first or x.dim() < 4 else x.movedim(-1, 1))
    with torch.inference_mode():
        single = _values(model(*(one.float() for one in given)))
        values = _values(model.double()(*given))
    names = sorted(one for one in known.files if one.startswith("y"))  # Keras sorts a dict's
    if len(values) != len(names):
        return f"it gives {len(values)} outputs, and not {len(names)}"
    is_single = made.get("float32") or is_float32(made["graph"])
    for name, output, value, rounded in zip(names, model.outputs, values, single, strict=True):
        allowed = IN_FLOAT32 if is_single else ALLOWED
        if made.get("float32"):  # it computed so from the first layer on
            noise = float((value - rounded).abs().max() / max(float(value.abs().max()), LEAST))
            allowed += 4 * noise
        problem = apart(value, output.activation, known[name], first, allowed)
        if problem:
            return f"output {name[1:]}: {problem}"
    return ""


def _values(found: Any) -> list[Any]:
    return list(found.values()) if isinstance(found, dict) else [found]


def apart(value: Any, activation: str, known: Any, first: bool, allowed: float) -> str:
    """How an output is not what Keras gave. Maps of a channels-first network lie as in Keras, but
    where a layer of it put channels last."""
    shown = []
    for moves in (False, True) if first else (True,):
        one = value.movedim(1, -1) if moves and value.dim() >= 4 else value
        if activation == "softmax":
            one = one.softmax(-1)
        if activation == "sigmoid":
            one = one.sigmoid()
        if tuple(one.shape) != known.shape:
            shown.append(f"the shape {tuple(one.shape)}, and not {known.shape}")
            continue
        error = float(np.abs(one.numpy() - known).max() / max(float(np.abs(known).max()), LEAST))
        if error <= allowed:
            return ""
        shown.append(f"apart by {error:.1e}")
    return " or ".join(shown)


def is_float32(graph: Any) -> bool:
    """Whether a node of a graph computes in float32."""
    if isinstance(graph, dict):
        return any(map(is_float32, graph.values()))
    if isinstance(graph, list):
        return any(map(is_float32, graph))
    return graph in FLOAT32


def reasons(error: ConvertError) -> tuple[str, ...]:
    """Why each layer is refused, without its name: `'name' (Class): reason`."""
    found = []
    for finding in error.findings or (error.headline,):
        _, _, rest = finding.partition("' ")
        found.append(rest if finding.startswith("'") and rest.startswith("(") else finding)
    return tuple(found)


# ---- shrinking


def shrunk(graph: Graph, still_wrong: Callable[[Graph], bool], tries: int = 200) -> Graph:
    """The smallest graph, by leaving out, that is still wrong."""
    left = tries
    better = True
    while better and left > 0:
        better = False
        for smaller in smaller_ones(graph):
            left -= 1
            if still_wrong(smaller):
                graph, better = smaller, True
                break
            if left <= 0:
                break
    return graph


def smaller_ones(graph: Graph) -> Iterator[Graph]:
    """The graph less a node, an output, an input, or a setting."""
    first = len(graph["inputs"]) if "inputs" in graph else graph["first"]
    for place in reversed(range(len(graph["nodes"]))):
        if len(graph["nodes"]) > 1:
            yield without_node(graph, place, first)
    for key in ("all", "names", "unknown", "channels_first"):
        if graph.get(key):
            yield {**graph, key: False}
    if len(graph["outputs"]) > 1:
        for place in range(len(graph["outputs"])):
            outputs = graph["outputs"]
            yield {**graph, "all": False, "outputs": [*outputs[:place], *outputs[place + 1 :]]}
    for place, node in enumerate(graph["nodes"]):
        for simpler in simpler_nodes(node):
            nodes = [*graph["nodes"][:place], simpler, *graph["nodes"][place + 1 :]]
            yield {**graph, "nodes": nodes}
    for place in range(first):
        if "inputs" in graph and first > 1 and not _reads(graph, place):
            yield without_input(graph, place)


def _reads(graph: Graph, number: int) -> bool:
    return any(number in node["reads"] for node in graph["nodes"])


def without_node(graph: Graph, place: int, first: int) -> Graph:
    """Whoever read the node reads what it read."""
    gone = first + place
    instead = graph["nodes"][place]["reads"][0]

    def new(number: int) -> int:
        number = instead if number == gone else number
        return number - 1 if number > gone else number

    nodes = []
    for other, node in enumerate(graph["nodes"]):
        if other == place:
            continue
        changed = {**node, "reads": [new(one) for one in node["reads"]]}
        if "again" in node:
            changed["again"] = new(node["again"])
        nodes.append(changed)
    return {**graph, "nodes": nodes, "outputs": list({new(one): 0 for one in graph["outputs"]})}


def without_input(graph: Graph, place: int) -> Graph:
    def new(number: int) -> int:
        return number - 1 if number > place else number

    nodes = [
        {
            **node,
            "reads": [new(one) for one in node["reads"]],
            **({"again": new(node["again"])} if "again" in node else {}),
        }
        for node in graph["nodes"]
    ]
    inputs = [*graph["inputs"][:place], *graph["inputs"][place + 1 :]]
    return {
        **graph,
        "inputs": inputs,
        "ids": [new(one) for one in graph.get("ids", ()) if one != place],
        "nodes": nodes,
        "outputs": [new(one) for one in graph["outputs"]],
    }


NEEDED = frozenset(
    [
        *("filters", "units", "kernel_size", "n", "dims", "target_shape", "newshape", "axes"),
        *("key", "pad_width", "height", "width", "size", "layer", "scale", "c", "per", "rate"),
        *(
            "num_heads",
            "key_dim",
            "equation",
            "output_shape",
            "order",
            "stddev",
            "init_values",
            "factor",
            "mean",
            "variance",
        ),
    ]
)
"""Settings without which there is no layer."""


def simpler_nodes(node: Any) -> Iterator[Any]:
    for key in node.get("with", {}):
        if key not in NEEDED:
            left = {name: one for name, one in node["with"].items() if name != key}
            yield {**node, "with": left}
    if "model" in node:
        count = node.get("count", 1)
        for smaller in smaller_ones({**node["model"], "first": count}):
            yield {**node, "model": smaller}


# ---- the campaign


@dataclass
class Campaign:
    """Counts of what came of every graph; the failures, each shrunk."""

    make: Callable[[Graph], Graph]
    shrinks: bool = True
    counts: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    equal: Counter[str] = field(default_factory=Counter)
    impossible: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def hear(self, graph: Graph) -> None:
        made = self.make(graph)
        if "impossible" in made:
            self.counts["impossible"] += 1
            self.impossible[made["impossible"][:120]] += 1
            return
        self.counts["nodes"] += len(made["graph"]["nodes"])
        names = made["classes"]
        outcome = judged(made)
        if outcome.wrong:
            self.counts["wrong"] += 1
            self.failures.append(self.failure(made["graph"], outcome))
        elif outcome.reasons:
            self.counts["refused"] += 1
            self.refusals.update(set(outcome.reasons))
        else:
            self.counts["equal"] += 1
            self.equal.update(names)

    def failure(self, graph: Graph, outcome: Outcome) -> str:
        """In words, with the smallest graph: what `FOUND` of tests/test_lift_layers.py lists."""
        if not self.shrinks:
            return f"{outcome.wrong}\n    {json.dumps(graph)}"
        last = outcome.wrong

        def still_wrong(smaller: Graph) -> bool:
            nonlocal last
            made = self.make(smaller)
            wrong = "" if "impossible" in made else judged(made).wrong
            last = wrong or last
            return bool(wrong)

        smallest = shrunk(graph, still_wrong)
        return f"{last}\n    {json.dumps(smallest)}"


def wanted() -> set[str]:
    """Every class of layers and operators that is understood and that Keras 3 writes."""
    return (set(liftings()) | set(KERAS_3)) - OLD
