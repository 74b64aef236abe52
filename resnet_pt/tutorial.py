"""The three functions of the tutorial that this began from, as proper modules.

The tutorial ports a ResNet-50 for pictures of birds from tf.keras to PyTorch, with the functions
`identity_block`, `conv_block` and `ResNet50`. Here each makes its layers once, when it is called;
what it returns trains, and takes the weights that the tutorial's Keras code saved. What they say
about the network (strides on the first 1x1, biases, epsilon 1e-3, an unpadded max-pool, an average
over 7x7) is read from files of that code: `converter/weights_only/dialects/tutorial.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from resnet_pt.architecture import (
    Architecture,
    Block,
    Conv,
    Dense,
    Flatten,
    Layer,
    Norm,
    Output,
    Padding,
    Pool,
    Shortcut,
    Stem,
)
from resnet_pt.network import Bottleneck, ResNet, residual_block
from resnet_pt.ops import Activation
from resnet_pt.transfer import keras_initialised

EPSILON = 1e-3
MOMENTUM = 0.01
"""Keras' defaults: its momentum of 0.99 keeps what torch's 0.01 adds to."""

DEPTHS = (3, 4, 6, 3)
WINDOW = 7
"""Of the average pool behind the last block."""

KernelSize = int | tuple[int, int]


def identity_block(
    in_channels: int, kernel_size: KernelSize, filters: Sequence[int], stage: int, block: str
) -> Bottleneck:
    """1x1, `kernel_size`, 1x1, added to the input: (N, in_channels, H, W) → the same shape.

    `filters` are the output channels of the three convolutions, the last of them `in_channels`.
    `stage` and `block` give the name that its layers have in Keras files: `keras_name`.
    """
    if filters[2] != in_channels:
        raise ValueError(
            f"an identity block adds its input ({in_channels} channels) to its last convolution "
            f"({filters[2]}): they have to be equal; conv_block changes the number of channels"
        )
    described = _block(in_channels, kernel_size, filters, (1, 1), projects=False)
    return _named(described, f"{stage}{block}_identity_block")


def conv_block(
    in_channels: int,
    kernel_size: KernelSize,
    filters: Sequence[int],
    stage: int,
    block: str,
    strides: tuple[int, int] = (2, 2),
) -> Bottleneck:
    """The same with a convolution on the short way: (N, in_channels, H, W) → (N, filters[2],
    ceil(H / strides[0]), ceil(W / strides[1])). The stride is on the first 1x1, as it was there."""
    described = _block(in_channels, kernel_size, filters, strides, projects=True)
    return _named(described, f"{stage}{block}_conv_block")


def ResNet50(  # noqa: N802
    input_shape: tuple[int, int, int] = (224, 224, 3), num_classes: int = 1000
) -> ResNet:
    """The tutorial's network: float (N, channels, height, width) → logits (N, num_classes).

    `input_shape` is Keras' (height, width, channels). A strict `load_state_dict` takes a converted
    file of the tutorial's own code, and `resnet_pt.load` of that file gives the same network.
    Unlike Keras' it ends before the softmax, as `nn.CrossEntropyLoss` wants it. Its first weights
    are drawn as Keras draws them.
    """
    model = ResNet(architecture(input_shape, num_classes))
    keras_initialised(model)
    return model


def architecture(
    input_shape: tuple[int, int, int] = (224, 224, 3), num_classes: int = 1000, width: int = 64
) -> Architecture:
    """What `ResNet50` is built from; `width` (64) divides the network for tests."""
    height, across, channels = input_shape
    windows = [pixels // WINDOW for pixels in map_size(height, across)]
    if min(windows) < 1:
        raise ValueError(
            f"input_shape {tuple(input_shape)}: the last map is smaller than the {WINDOW}x{WINDOW} "
            "window that is averaged; the tutorial's network takes pictures from 197 pixels on"
        )
    stages = tuple(_stage(number, depth, width) for number, depth in enumerate(DEPTHS))
    features = stages[-1][-1].out_channels
    pool = Pool((WINDOW, WINDOW), (WINDOW, WINDOW), 0, mode="avg")
    inputs = features * windows[0] * windows[1]
    return Architecture(
        stem=Stem(
            Conv(channels, width, (7, 7), (2, 2), 3, bias=True), _norm(width), pool=Pool(padding=0)
        ),
        stages=stages,
        head=(
            Layer("avg_pool", pool, ("",)),
            Layer("flatten", Flatten("hwc"), ("avg_pool",)),
            Layer("fc1000", Dense(inputs, num_classes), ("flatten",)),
        ),
        outputs=(Output("fc1000", "fc1000", "softmax"),),
        input_size=(height, across),
    )


def map_size(*picture: int) -> list[int]:
    """The last map's height and width: the stem's 7x7/2 padded by 3, the pool's 3x3/2 unpadded,
    and three strides of 2 on a 1x1."""
    sizes = [((pixels - 1) // 2 - 2) // 2 + 1 for pixels in picture]
    for _ in range(3):
        sizes = [(pixels - 1) // 2 + 1 for pixels in sizes]
    return sizes


def _stage(number: int, depth: int, width: int) -> tuple[Block, ...]:
    middle = width * 2**number
    filters = (middle, middle, 4 * middle)
    strides = (1, 1) if number == 0 else (2, 2)
    first = _block(width if number == 0 else 2 * middle, 3, filters, strides, projects=True)
    rest = [_block(4 * middle, 3, filters, (1, 1), projects=False) for _ in range(depth - 1)]
    return (first, *rest)


def _block(
    channels: int,
    kernel: KernelSize,
    filters: Sequence[int],
    strides: tuple[int, int],
    *,
    projects: bool,
) -> Block:
    one, two, three = filters
    window = (kernel, kernel) if isinstance(kernel, int) else kernel
    shortcut = Shortcut(Conv(channels, three, (1, 1), strides, bias=True), _norm(three))
    return Block(
        convs=(
            Conv(channels, one, (1, 1), strides, bias=True),
            Conv(one, two, window, padding=_same(window), bias=True),
            Conv(two, three, (1, 1), bias=True),
        ),
        norms=(_norm(one), _norm(two), _norm(three)),
        shortcut=shortcut if projects else None,
    )


def _same(window: tuple[int, int]) -> Padding:
    """Keras' 'same', as a number where a number can say it."""
    height, width = window
    return height // 2 if height == width and height % 2 else "same"


def _norm(channels: int) -> Norm:
    return Norm(channels, eps=EPSILON, momentum=MOMENTUM)


def _named(block: Block, name: str) -> Bottleneck:
    module = residual_block(block, Activation("relu"))
    assert isinstance(module, Bottleneck)
    keras_initialised(module)
    module.keras_name = name
    return module
