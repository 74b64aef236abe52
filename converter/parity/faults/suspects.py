"""What can be wrong with one layer: each suspicion with what the layer would then have computed.

A suspicion undoes one mistake. If the layer, changed so, gives what the original gave, that is the
mistake that was made. The words say what the converted layer has and the original has not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from resnet_pt.architecture import ACTIVATIONS
from resnet_pt.layers import Scale, activation, pads
from resnet_pt.ops import Flatten

EPSILONS = (1e-3, 1e-5, 1.001e-5, 1e-6, 1e-4, 2e-5, 1.1e-5, 1e-8, 0.0)


@dataclass(frozen=True, slots=True)
class Suspicion:
    """`what` is wrong, and what the layer computes once it is put right. `value` is what the
    original has in its place, where `what` ends with it: of several that give the same, all are
    said."""

    what: str
    compute: Callable[[], Tensor]
    value: str = ""


Suspicions = Iterator[Suspicion]
Change = Callable[[Tensor], Tensor]


def suspicions(
    module: nn.Module, x: Tensor, others: Mapping[str, nn.Module], before: Tensor | None
) -> Suspicions:
    """All of them for a layer that was fed `x` (N, C, H, W) or (N, C); `others` are the layers of
    the network by their Keras names, `before` is what the layer before it gave, unactivated."""
    if isinstance(module, nn.Conv2d):
        yield from convolution(module, x, others, before)
    elif isinstance(module, nn.modules.batchnorm._BatchNorm):
        yield from normalisation(module, x, others)
    elif isinstance(module, Scale):
        yield from scaling(module, x)
    elif isinstance(module, nn.Linear):
        yield from dense(module, x, others)
    elif isinstance(module, nn.MaxPool2d | nn.AvgPool2d | nn.AdaptiveAvgPool2d):
        yield from pool(module, x)
    if before is not None and before.shape == x.shape:
        yield from _activated(module, x, before)


def _activated(module: nn.Module, x: Tensor, before: Tensor) -> Suspicions:
    """Another activation between the layer before, which gave `before`, and this one."""
    now = activation_of(before, x)
    for name, result in activations(before).items():
        if name != now:
            ours = "missing" if now == "linear" else now or "another"
            what = f"the activation before it is {ours}, the original's "
            yield Suspicion(what, partial(module, result), name)


def activations(x: Tensor) -> dict[str, Tensor]:
    """What every activation makes of `x`, by Keras' names."""
    names = sorted(ACTIVATIONS - {"softmax", "swish"})
    return {name: activation(name)(x.clone()) for name in names}


def activation_of(x: Tensor, result: Tensor) -> str:
    """Which activation makes `result` of `x`; '' if none does."""
    found = (name for name, one in activations(x).items() if torch.equal(one, result))
    return next(found, "")


# ---- convolutions

REARRANGED: tuple[tuple[str, Change], ...] = (
    ("its kernel is turned by 180°", lambda w: w.flip(2, 3)),
    ("its kernel is mirrored top to bottom", lambda w: w.flip(2)),
    ("its kernel is mirrored left to right", lambda w: w.flip(3)),
    ("height and width of its kernel are swapped", lambda w: w.transpose(2, 3)),
    ("its kernel is turned by 90°", lambda w: w.rot90(1, (2, 3))),
    ("its kernel is turned by 90°", lambda w: w.rot90(-1, (2, 3))),
    ("its input and output channels are swapped", lambda w: w.transpose(0, 1)),
    ("its input and output channels are swapped", lambda w: w.permute(1, 0, 3, 2)),
    ("its input channels are in reverse order (BGR and RGB?)", lambda w: w.flip(1)),
    ("its input channels are shifted by one", lambda w: w.roll(1, 1)),
    ("its input channels are shifted by one", lambda w: w.roll(-1, 1)),
    ("its kernel has the wrong sign", lambda w: -w),
    *(
        ("its kernel is moved by a pixel", partial(torch.roll, shifts=step, dims=axis))
        for axis in (2, 3)
        for step in (1, -1)
    ),
)

NOT_THE_WEIGHTS = "its weights are right, and what is done with them is not"


def convolution(
    conv: nn.Conv2d, x: Tensor, others: Mapping[str, nn.Module], before: Tensor | None
) -> Suspicions:
    yield Suspicion(NOT_THE_WEIGHTS, partial(convolved, conv, x))
    for what, change in REARRANGED:
        weight = change(conv.weight)
        if weight.shape == conv.weight.shape:
            yield Suspicion(what, partial(convolved, conv, x, weight))
    yield from _vectors(conv.bias, "bias", lambda bias: convolved(conv, x, bias=bias))
    for what, change in ORDERS:
        yield Suspicion(f"its output channels are {what}", partial(_reordered, change, conv, x))
    yield from _windows(conv, x)
    yield Suspicion("the activation before it is missing", lambda: conv(x.relu()))
    yield Suspicion(
        "height and width of what it reads are swapped", lambda: conv(x.transpose(2, 3))
    )
    if before is not None and before.shape == x.shape:
        yield Suspicion("the activation before it is one too many", lambda: conv(before))
    for name, other in others.items():
        if isinstance(other, nn.Conv2d) and other.weight.shape == conv.weight.shape:
            weight, bias = other.weight, other.bias
            yield Suspicion(
                f"its weights were swapped: the original's are in {name}",
                partial(convolved, conv, x, weight, bias),
            )
            yield Suspicion(
                f"its kernel was swapped: the original's is in {name}",
                partial(convolved, conv, x, weight),
            )


def _windows(conv: nn.Conv2d, x: Tensor) -> Suspicions:
    """Another stride, padding or dilation."""
    height, width = conv.kernel_size
    half = (width // 2, width // 2, height // 2, height // 2)
    now = conv_padding(conv, x)
    amounts = {
        "no padding": (0, 0, 0, 0),
        f"padding {height // 2}": half,
        "a padding of one more before and one less behind": (
            *(half[0] + 1, half[1] - 1),
            *(half[2] + 1, half[3] - 1),
        ),
        "a padding of one less before and one more behind": (
            *(half[0] - 1, half[1] + 1),
            *(half[2] - 1, half[3] + 1),
        ),
    }
    for stride in dict.fromkeys([conv.stride, (1, 1), (2, 2)]):
        same = pads("same", x, (height, width), stride)  # type: ignore[arg-type]
        for words, amount in [("the same padding", now), ("'same'", same), *amounts.items()]:
            if min(amount) < 0 or (stride == conv.stride and amount == now):
                continue
            moved = f"its stride is {conv.stride}, the original's {stride}"
            shifted = f"its padding is {_sides(now)}, the original's is {words} {_sides(amount)}"
            what = " and ".join([moved] * (stride != conv.stride) + [shifted] * (amount != now))
            yield Suspicion(what, partial(convolved, conv, x, stride=stride, padding=amount))
    yield from _dilations(conv, x, now)


DILATIONS = ((1, 1), (2, 2), (4, 4))


def _dilations(conv: nn.Conv2d, x: Tensor, now: tuple[int, int, int, int]) -> Suspicions:
    """Another dilation, with the padding as it is and with what keeps the size of the map."""
    for dilation in DILATIONS:
        if dilation == conv.dilation or conv.kernel_size == (1, 1):
            continue
        height, width = (d * (k // 2) for d, k in zip(dilation, conv.kernel_size, strict=True))
        half = (width, width, height, height)
        same = pads("same", x, conv.kernel_size, conv.stride, dilation)  # type: ignore[arg-type]
        for amount in dict.fromkeys([now, half, same]):
            yield Suspicion(
                f"its dilation is {conv.dilation}, the original's {dilation}",
                partial(convolved, conv, x, padding=amount, dilation=dilation),
            )


def _sides(amount: tuple[int, ...]) -> str:
    return str(amount[0]) if len(set(amount)) == 1 else f"{amount} (left, right, top, bottom)"


def conv_padding(conv: nn.Conv2d, x: Tensor) -> tuple[int, int, int, int]:
    """(left, right, top, bottom)."""
    own = getattr(conv, "pads", None)
    if own is not None:
        return pads(own, x, *conv.window)  # type: ignore[misc]
    top, left = (int(n) for n in conv.padding)
    return (left, left, top, top)


KEEP: Any = object()


def convolved(
    conv: nn.Conv2d,
    x: Tensor,
    weight: Tensor | None = None,
    bias: Any = KEEP,
    stride: Any = None,
    padding: Any = None,
    dilation: Any = None,
) -> Tensor:
    """What `conv` computes with one thing changed."""
    padded = F.pad(x, padding or conv_padding(conv, x))
    return F.conv2d(
        padded,
        conv.weight if weight is None else weight,
        conv.bias if bias is KEEP else bias,
        stride or conv.stride,
        0,
        dilation or conv.dilation,
        conv.groups,
    )


ORDERS: tuple[tuple[str, Change], ...] = (
    ("in reverse order", lambda v: v.flip(0)),
    ("shifted by one", lambda v: v.roll(1, 0)),
    ("shifted by one", lambda v: v.roll(-1, 0)),
)


def _reordered(change: Change, layer: nn.Module, x: Tensor) -> Tensor:
    return along_channels(change, layer(x))


def along_channels(change: Change, result: Tensor) -> Tensor:
    """A result (N, C, …) with its channels in another order."""
    return change(result.transpose(0, 1)).transpose(0, 1)


def _vectors(vector: Tensor | None, name: str, compute: Change) -> Suspicions:
    """One vector with the wrong sign, or in another order."""
    if vector is None:
        return
    yield Suspicion(f"its {name} has the wrong sign", lambda: compute(-vector))
    for what, change in ORDERS:
        yield Suspicion(f"its {name} is {what}", partial(_after, change, compute, vector))


def _after(change: Change, compute: Change, vector: Tensor) -> Tensor:
    return compute(change(vector))


# ---- normalisation

Affine = dict[str, Any]
"""gamma, beta, mean, variance and eps."""


def normalisation(module: Any, x: Tensor, others: Mapping[str, nn.Module]) -> Suspicions:
    now = affine(module)

    def changed(**changes: Any) -> Callable[[], Tensor]:
        return lambda: normalised(x, {**now, **changes})

    yield Suspicion(NOT_THE_WEIGHTS, changed())
    for i, one in enumerate(VECTORS):
        for two in VECTORS[i + 1 :]:
            yield Suspicion(
                f"its {one} and {two} are swapped", changed(**{one: now[two], two: now[one]})
            )
    for eps in EPSILONS:
        if eps != now["eps"]:
            what = f"its epsilon is {now['eps']:.9g}, the original's "
            yield Suspicion(what, changed(eps=eps), f"{eps:.9g}")
    variance, eps = now["variance"], now["eps"]
    yield Suspicion("its variance is a standard deviation", changed(variance=variance**2))
    yield Suspicion("its variance was squared", changed(variance=variance.clamp(min=0).sqrt()))
    yield Suspicion(
        "the original added epsilon outside the root",
        changed(variance=(variance.clamp(min=0).sqrt() + eps) ** 2, eps=0.0),
    )
    for name in VECTORS:
        yield from _vectors(now[name], name, partial(_with, now, name, x))
    yield Suspicion("the original used the statistics of the batch", lambda: batch(x, now))
    for layer, other in others.items():
        theirs = affine(other) if type(other) is type(module) else now
        if theirs is not now and theirs["gamma"].shape == now["gamma"].shape:
            yield Suspicion(
                f"its weights were swapped: the original's are in {layer}",
                changed(**{key: theirs[key] for key in VECTORS}),
            )
            for one in VECTORS:
                yield Suspicion(
                    f"its {one} was swapped: the original's is in {layer}",
                    changed(**{one: theirs[one]}),
                )


def _with(now: Affine, name: str, x: Tensor, vector: Tensor) -> Tensor:
    return normalised(x, {**now, name: vector})


VECTORS = ("gamma", "beta", "mean", "variance")


def affine(module: Any) -> Affine:
    return {
        "gamma": module.weight,
        "beta": module.bias,
        "mean": module.running_mean,
        "variance": module.running_var,
        "eps": module.eps,
    }


def normalised(x: Tensor, of: Affine) -> Tensor:
    """Written out: a swapped 'variance' may be negative, and gives NaN rather than an error."""
    shape = (1, -1) + (1,) * (x.dim() - 2)
    gamma, beta, mean, variance = (of[name].view(shape) for name in VECTORS[:4])
    y: Tensor = (x - mean) / (variance + of["eps"]).sqrt() * gamma + beta
    return y


def batch(x: Tensor, of: Affine) -> Tensor:
    axes = [axis for axis in range(x.dim()) if axis != 1]
    mean, variance = x.mean(axes), x.var(axes, correction=0)
    return normalised(x, {**of, "mean": mean, "variance": variance})


def scaling(module: Scale, x: Tensor) -> Suspicions:
    def scaled(gamma: Tensor, beta: Tensor) -> Tensor:
        return x * gamma[:, None, None] + beta[:, None, None]

    gamma, beta = module.weight, module.bias
    yield Suspicion("its gamma and beta are swapped", lambda: scaled(beta, gamma))
    yield from _vectors(gamma, "gamma", lambda vector: scaled(vector, beta))
    yield from _vectors(beta, "beta", lambda vector: scaled(gamma, vector))


# ---- Dense layers


def dense(module: nn.Linear, x: Tensor, others: Mapping[str, nn.Module]) -> Suspicions:
    weight, bias = module.weight, module.bias
    if weight.shape[0] == weight.shape[1]:
        yield Suspicion("its kernel is transposed", lambda: F.linear(x, weight.T, bias))
    yield Suspicion("its kernel has the wrong sign", lambda: F.linear(x, -weight, bias))
    for what, change in ORDERS:
        yield Suspicion(f"its classes are {what}", partial(_reordered, change, module, x))
        yield Suspicion(
            f"its kernel's classes are {what}", partial(F.linear, x, change(weight), bias)
        )
        yield Suspicion(
            f"its inputs are {what}", partial(F.linear, x, along_channels(change, weight), bias)
        )
    yield from _vectors(bias, "bias", lambda b: F.linear(x, weight, b))
    for size in range(2, 17):
        channels, rest = divmod(weight.shape[1], size * size)
        if not rest:
            yield from _flattened(module, x, channels, size)
    for name, other in others.items():
        if isinstance(other, nn.Linear) and other.weight.shape == weight.shape:
            yield Suspicion(
                f"its weights were swapped: the original's are in {name}",
                partial(other, x),
            )


def _flattened(module: nn.Linear, x: Tensor, channels: int, size: int) -> Suspicions:
    """The map that it reads, flattened in the other order."""
    width = module.weight.shape[1]
    order = torch.arange(width, device=x.device)
    hwc = Flatten("hwc").compute(order.view(1, channels, size, size)).view(-1)
    yield Suspicion(
        "its inputs are in the order of a map flattened channels first", lambda: module(x[:, hwc])
    )
    yield Suspicion(
        "its inputs are in the order of a map flattened channels last",
        lambda: module(x[:, hwc.argsort()]),
    )


# ---- pools


def pool(module: Any, x: Tensor) -> Suspicions:
    """Other padding, and the mean for the maximum."""
    if isinstance(module, nn.AdaptiveAvgPool2d):
        yield Suspicion("it takes the mean, the original's the maximum", lambda: _largest(x))
        return
    kernel, stride = _pair(module.kernel_size), _pair(module.stride)
    ways = pool_ways(x, kernel, stride)
    now = pool_way(module, x, ways)
    means = isinstance(module, nn.AvgPool2d)
    for words, (amount, fill) in ways.items():
        if min(amount) < 0:
            continue
        padded = f"its padding is {now}, the original's {words} {_sides(amount)}"
        kind = "it takes the mean, the original's the maximum"
        if not means:
            kind = "it takes the maximum, the original's the mean"
        other = f"{kind}, with padding {words} {_sides(amount)}"
        maximum = partial(_max_pool, x, amount, fill, kernel, stride)
        mean = partial(_mean_pool, x, amount, kernel, stride)
        yield Suspicion(padded, mean if means else maximum)
        yield Suspicion(other, maximum if means else mean)


def pool_ways(
    x: Tensor, kernel: tuple[int, int], stride: tuple[int, int]
) -> dict[str, tuple[tuple[int, ...], float]]:
    """`{how a pool is padded: ((left, right, top, bottom), with what)}`, as options name it."""
    half = (kernel[1] // 2,) * 2 + (kernel[0] // 2,) * 2
    shifted = (half[0] - 1, half[1] + 1, half[2] - 1, half[3] + 1)
    nothing = float("-inf")
    return {
        "'valid'": ((0,) * 4, nothing),
        "'zero': zeros around": (half, 0.0),
        "'same' as in TensorFlow": (pads("same", x, kernel, stride), nothing),
        "that of torch: nothing (-inf) around": (half, nothing),
        "shifted": (shifted, nothing),
    }


def pool_way(module: Any, x: Tensor, ways: Mapping[str, tuple[tuple[int, ...], float]]) -> str:
    """How a pool pads this map, in the same words. Where nothing is negative, zeros and nothing
    around a map are one."""
    window = getattr(module, "window", None)
    fill = getattr(module, "fill", float("-inf"))
    if window is not None:
        amount: tuple[int, ...] = pads(module.pads, x, *window)
    else:
        top, left = _pair(module.padding)
        amount = (left, left, top, top)
    alike = bool((x >= 0).all())
    named = (words for words, way in ways.items() if way[0] == amount and (alike or way[1] == fill))
    return f"{next(named, 'another')} {_sides(amount)}"


def _largest(x: Tensor) -> Tensor:
    return x.amax((2, 3), keepdim=True)


def _max_pool(x: Tensor, amount: Any, fill: float, kernel: Any, stride: Any) -> Tensor:
    return F.max_pool2d(F.pad(x, amount, value=fill), kernel, stride)


def _mean_pool(x: Tensor, amount: Any, kernel: Any, stride: Any) -> Tensor:
    return F.avg_pool2d(F.pad(x, amount), kernel, stride)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


# ---- the end of a block


def sums(long: Tensor, short: Tensor, act: Change) -> dict[str, Tensor]:
    """Every way of putting the two ways of a block together, in words."""
    return {
        "activation(long way + shortcut)": act(long + short),
        "long way + shortcut, not activated": long + short,
        "activation(long way) + shortcut": act(long) + short,
        "activation(long way) + activation(shortcut)": act(long) + act(short),
        "activation(long way), without the shortcut": act(long),
        "long way, without the shortcut": long,
        "activation(shortcut), without the long way": act(short),
        "shortcut, without the long way": short,
        "activation(long way - shortcut)": act(long - short),
        "activation((long way + shortcut) / 2)": act((long + short) / 2),
    }


def other_activations(long: Tensor, short: Tensor, result: Tensor) -> Suspicions:
    """Another activation behind the sum."""
    now = activation_of(long + short, result)
    for name, value in activations(long + short).items():
        if name != now:
            ours = "missing" if now == "linear" else now or "another"
            what = f"the activation behind its sum is {ours}, the original's "
            yield Suspicion(what, partial(_known, value), name)


def _known(value: Tensor) -> Tensor:
    return value
