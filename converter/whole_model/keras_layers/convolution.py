"""Convolutions: plain, depthwise, separable and transposed, over one to three axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converter.mapping.transforms import (
    DepthwiseKernel,
    Flip,
    Squeeze,
    Transform,
    kernel_to_torch,
)
from converter.whole_model.keras_layers.activation import activated
from converter.whole_model.keras_layers.call import (
    Call,
    From,
    Lifting,
    NotLiftedError,
    Value,
    depth,
)
from converter.whole_model.ranges import channels, padding
from resnet_pt.ops import Conv, ConvNd, ConvTranspose, Op
from resnet_pt.ops.sides import Around

BIAS = {"bias": From("bias")}
DEPTHWISE = "depthwise_kernel"
"""In Keras 3 a DepthwiseConv's array may be called `kernel`: the plan knows both."""


def _kernel_size(call: Call, axes: int) -> tuple[int, ...]:
    config = call.config
    if "kernel_size" in config:
        return call.numbers(config["kernel_size"], axes, "kernel_size")
    keys = {1: ("filter_length",), 2: ("nb_row", "nb_col")}.get(
        axes, ("kernel_dim1", "kernel_dim2", "kernel_dim3")
    )
    return call.numbers([call.first(key) for key in keys], axes, keys[0])


def _strides(call: Call, axes: int) -> tuple[int, ...]:
    return call.numbers(call.first("strides", "subsample", "subsample_length"), axes, "strides")


def _dilation(call: Call, axes: int) -> tuple[int, ...]:
    config = call.config
    return call.numbers(
        config.get("dilation_rate", config.get("atrous_rate", 1)), axes, "dilation_rate"
    )


def _padding(call: Call) -> str:
    return str(call.first("padding", "border_mode"))


def around(
    call: Call, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Around:
    """Zeros around a map. 'same' with stride 1 and an odd window is a fixed number on both sides;
    Theano's 'same' always is: half the window before, and what is left of it behind (keras 1.2.2
    and 2.0.9 `theano_backend.py`, border_mode 'half', `_postprocess_conv2d_output`)."""
    mode, reach = _padding(call), [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    if mode == "valid":
        return ((0, 0),) * len(reach)
    if mode == "causal" and len(reach) == 1:
        return ((reach[0] - 1, 0),)
    if mode != "same":
        raise NotLiftedError(f"its padding is {mode!r}")
    is_fixed = all(size % 2 for size in reach) and all(one == 1 for one in stride)
    if call.era.theano or is_fixed:
        return tuple((size // 2, (size - 1) // 2) for size in reach)
    if len(reach) == 3 and any(s > size + 1 for s, size in zip(stride, reach, strict=True)):
        raise NotLiftedError(STEPS_OVER)
    return "same"


STEPS_OVER = (
    "its stride goes beyond its window by 2 or more, padded 'same': what comes out depends on the "
    "machine, since TensorFlow's own convolution of volumes (Eigen's; all but oneDNN's float32) "
    "then starts behind the first voxel"
)
"""Seen with tensorflow 2.21: float64 starts at voxel -(pad // 2) of a pad that is negative."""


def _two(kernel: Sequence[int]) -> tuple[int, int]:
    height, width = kernel
    return height, width


def convolution_op(
    inputs: int,
    outputs: int,
    kernel: Sequence[int],
    stride: Sequence[int],
    sides: Around,
    dilation: Sequence[int],
    groups: int,
    bias: bool,
) -> Op:
    """The op that a ResNet has too where there are two axes."""
    if len(kernel) != 2:
        settings = (tuple(kernel), tuple(stride), sides, tuple(dilation))
        return ConvNd(inputs, outputs, *settings, groups, bias)
    pads: Any = sides
    if sides != "same":
        rows, columns = sides
        even = rows == columns and rows[0] == rows[1]
        pads = rows[0] if even else (*columns, *rows)
    return Conv(inputs, outputs, _two(kernel), _two(stride), pads, groups, bias, _two(dilation))


def kernel_transforms(call: Call, axes: int) -> tuple[Transform, ...]:
    """From Keras' (*window, in, out) to torch's (out, in, *window).

    Keras 1 stored channels-first kernels of maps as (out, in, *window), and one of a sequence with
    an axis of length 1; Theano's are turned by 180 degrees.
    """
    first = call.era.major == 1 and not call.is_last() and axes > 1
    flips = call.era.theano
    if first:
        return (Flip(tuple(range(2, axes + 2))),) if flips else ()
    found: tuple[Transform, ...] = ()
    if call.era.major == 1 and axes == 1:
        found = (Squeeze(1),)
    if flips:
        found = (*found, Flip(tuple(range(axes))))
    return (*found, kernel_to_torch(axes))


def _plain(axes: int) -> Lifting:
    def lift(call: Call) -> Value:
        value = call.map(axes)
        kernel, stride, dilation = (one(call, axes) for one in (_kernel_size, _strides, _dilation))
        bias = call.flag("use_bias", "bias", default=True)
        op = convolution_op(
            depth(value),
            channels(call.first("filters", "nb_filter"), "filters"),
            kernel,
            stride,
            around(call, kernel, stride, dilation),
            dilation,
            channels(call.config.get("groups", 1), "groups"),
            bias,
        )
        weights = {"weight": From("kernel", kernel_transforms(call, axes)), **BIAS}
        return activated(call, call.add(op, value, weights=weights))

    return lift


def _multiplier(call: Call) -> int:
    return channels(call.config.get("depth_multiplier", 1), "depth_multiplier")


def _depthwise_of(call: Call, value: Value, axes: int, bias: bool) -> tuple[Op, int]:
    kernel, stride, dilation = (one(call, axes) for one in (_kernel_size, _strides, _dilation))
    if call.era.theano:
        raise NotLiftedError("how Theano computes it is not known")
    inputs = depth(value)
    outputs = inputs * _multiplier(call)
    sides = around(call, kernel, stride, dilation)
    return convolution_op(inputs, outputs, kernel, stride, sides, dilation, inputs, bias), outputs


def _depthwise(axes: int) -> Lifting:
    def lift(call: Call) -> Value:
        value = call.map(axes)
        op, _ = _depthwise_of(call, value, axes, call.flag("use_bias", "bias", default=True))
        weights = {
            "weight": From(DEPTHWISE, (DepthwiseKernel(axes, _multiplier(call)),)),
            **BIAS,
        }
        return activated(call, call.add(op, value, weights=weights))

    return lift


def _separable(axes: int) -> Lifting:
    def lift(call: Call) -> Value:
        value = call.map(axes)
        op, middle = _depthwise_of(call, value, axes, bias=False)
        kernel = {"weight": From(DEPTHWISE, (DepthwiseKernel(axes, _multiplier(call)),))}
        between = call.add(op, value, part=".depthwise", weights=kernel)
        ones, bias = (1,) * axes, call.flag("use_bias", "bias", default=True)
        outputs = channels(call.first("filters", "nb_filter"), "filters")
        point = convolution_op(middle, outputs, ones, ones, ((0, 0),) * axes, ones, 1, bias)
        weights = {"weight": From("pointwise_kernel", (kernel_to_torch(axes),)), **BIAS}
        return activated(call, call.add(point, between, part=".pointwise", weights=weights))

    return lift


def _transposed(axes: int) -> Lifting:
    def lift(call: Call) -> Value:
        if call.era.major < 2 or call.era.theano:
            raise NotLiftedError("how Keras 1, or Theano, computes it is not known")
        value = call.map(axes)
        kernel, stride, dilation = (one(call, axes) for one in (_kernel_size, _strides, _dilation))
        given = call.config.get("output_padding")
        extra = None if given is None else call.numbers(given, axes, "output_padding", padding)
        cuts = tuple(
            _cut(call, *one, None if extra is None else extra[axis])
            for axis, one in enumerate(zip(kernel, stride, dilation, strict=True))
        )
        op = ConvTranspose(
            depth(value),
            channels(call.first("filters", "nb_filter"), "filters"),
            kernel,
            stride,
            cuts,
            dilation,
            bias=call.flag("use_bias", default=True),
        )
        weights = {"weight": From("kernel", (kernel_to_torch(axes),)), **BIAS}
        return activated(call, call.add(op, value, weights=weights))

    return lift


def _cut(call: Call, kernel: int, stride: int, dilation: int, extra: int | None) -> tuple[int, int]:
    """What TensorFlow leaves off an axis of the whole result, (side - 1) * stride + reach.

    It is the gradient of a convolution that pads as that says: of an output of known length n for
    'same' (side = ceil(n / stride)) it is (side - 1) * stride + reach - n in all, half of
    it, rounded down, before. Length: keras 2.15 `conv_utils.deconv_output_length`, 3.15
    `backend/common/backend_utils.py`, compute_conv_transpose_output_length.
    """
    mode, reach = _padding(call), dilation * (kernel - 1) + 1
    if extra is not None and extra >= stride:
        raise NotLiftedError(f"its output_padding {extra} is not less than its stride {stride}")
    if mode == "valid":  # nothing is cut, and zeros are added where the stride leaps further
        more = max(stride - reach, 0) if extra is None else extra
        return 0, -more
    if mode != "same":
        raise NotLiftedError(f"its padding is {mode!r}")
    # n = side * stride, or (side - 1) * stride + reach - 2 * (reach // 2) + extra
    total = reach - stride if extra is None else 2 * (reach // 2) - extra
    pads = max(total, 0)
    before = pads // 2
    return before, total - before


LAYERS: dict[str, Lifting] = {
    "Conv1D": _plain(1),
    "Convolution1D": _plain(1),
    "AtrousConvolution1D": _plain(1),
    "Conv2D": _plain(2),
    "Convolution2D": _plain(2),
    "AtrousConvolution2D": _plain(2),
    "Conv3D": _plain(3),
    "Convolution3D": _plain(3),
    "DepthwiseConv1D": _depthwise(1),
    "DepthwiseConv2D": _depthwise(2),
    "SeparableConv1D": _separable(1),
    "SeparableConvolution1D": _separable(1),
    "SeparableConv2D": _separable(2),
    "SeparableConvolution2D": _separable(2),
    "Conv1DTranspose": _transposed(1),
    "Conv2DTranspose": _transposed(2),
    "Convolution2DTranspose": _transposed(2),
    "Deconvolution2D": _transposed(2),
    "Conv3DTranspose": _transposed(3),
}
