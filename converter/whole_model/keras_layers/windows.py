"""Pools, padding, cropping and resizing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from converter.whole_model.keras_layers.call import Call, Lifting, NotLiftedError, Value
from converter.whole_model.ranges import channels, padding, window
from resnet_pt.ops import (
    Crop,
    GlobalPool,
    Op,
    Pad,
    Pool,
    PoolNd,
    Reduce,
    Resize,
    Upsample,
)
from resnet_pt.ops.sides import Around, spatial

Amounts = tuple[tuple[int, int], ...]


def _pool(axes: int, mode: Literal["max", "avg"]) -> Lifting:
    def lift(call: Call) -> Value:
        value = call.map(axes)
        kernel = call.numbers(call.first("pool_size", "pool_length"), axes, "pool_size")
        said = call.config.get("strides", call.config.get("stride"))
        stride = kernel if said in (None, []) else call.numbers(said, axes, "strides")
        return call.add(_pool_op(call, mode, kernel, stride), value)

    return lift


def _pool_op(
    call: Call, mode: Literal["max", "avg"], kernel: tuple[int, ...], stride: tuple[int, ...]
) -> Op:
    sides = _around(call, kernel)
    if len(kernel) != 2:
        return PoolNd(kernel, stride, sides, mode)
    (height, width), (down, across) = kernel, stride
    if sides == "same":
        return Pool((height, width), (down, across), "same", mode=mode)
    rows, columns = sides
    pads: Any = rows[0] if len({*rows, *columns}) == 1 else (*columns, *rows)
    return Pool((height, width), (down, across), pads, mode=mode)


def _around(call: Call, kernel: Sequence[int]) -> Around:
    """Theano's 'same' pads a window of 3 by 1 on both sides (2.0.9 `theano_backend.py`, pool2d)."""
    mode = str(call.first("padding", "border_mode"))
    if mode == "valid" or all(size == 1 for size in kernel):
        return ((0, 0),) * len(kernel)
    if mode != "same":
        raise NotLiftedError(f"its padding is {mode!r}")
    if not call.era.theano:
        return "same"
    if any(size != 3 for size in kernel):
        raise NotLiftedError("Theano's 'same' of such a window is not known")
    return ((1, 1),) * len(kernel)


def _global(axes: int, mode: Literal["max", "avg"]) -> Lifting:
    def lift(call: Call) -> Value:
        value = call.map(axes)
        keeps = call.flag("keepdims", default=False)
        if axes == 2:
            return call.add(GlobalPool(mode, keeps), value)
        places = tuple(range(axes)) if axes == 1 else tuple(range(1, axes + 1))
        return call.add(Reduce("mean" if mode == "avg" else "max", places, keeps), value)

    return lift


def _amounts(call: Call, value: Any, axes: int, what: str) -> Amounts:
    """(before, after) for each axis, in any of the ways to write them."""
    if isinstance(value, dict):  # Keras 1 allowed names
        value = [value.get(f"{side}_pad", 0) for side in ("top", "bottom", "left", "right")]
    if axes == 2 and isinstance(value, list | tuple) and len(value) == 4:  # Keras 1
        top, bottom, left, right = (padding(one, what) for one in value)
        return (top, bottom), (left, right)
    if axes == 1 and isinstance(value, list | tuple) and len(value) == 2:
        before, after = (padding(one, what) for one in value)
        return ((before, after),)
    some = list(value) if isinstance(value, list | tuple) else [value] * axes
    if len(some) != axes:
        raise NotLiftedError(f"its {what} has {len(some)} entries for {axes} axes")
    pairs = [call.numbers(one, 2, what, padding) for one in some]
    return tuple((pair[0], pair[1]) for pair in pairs)


def _placed(amounts: Amounts) -> Amounts:
    """For each axis behind the batch: nothing is done to channels."""
    return (*amounts, (0, 0)) if len(amounts) == 1 else ((0, 0), *amounts)


def _zero_padding(axes: int) -> Lifting:
    def lift(call: Call) -> Value:
        amounts = _amounts(call, call.first("padding"), axes, "padding")
        return call.add(Pad(_placed(amounts)), call.map(axes))

    return lift


def _cropping(axes: int) -> Lifting:
    def lift(call: Call) -> Value:
        amounts = _amounts(call, call.first("cropping"), axes, "cropping")
        return call.add(Crop(_placed(amounts)), call.map(axes))

    return lift


def _upsampling(axes: int) -> Lifting:
    def lift(call: Call) -> Value:
        value = call.map(axes)
        factors = call.numbers(call.first("size", "length"), axes, "size")
        return call.add(Upsample(factors, _interpolation(call)), value)

    return lift


def _interpolation(call: Call) -> Literal["nearest", "bilinear", "corner"]:
    said = call.config.get("interpolation", "nearest")
    if said == "nearest":
        return "nearest"
    if said != "bilinear":
        raise NotLiftedError(f"its interpolation is {said!r}")
    if call.era.text == "2.2.4-tf":
        raise NotLiftedError(
            "its bilinear changed between TensorFlow 1.14 and 1.15, which both write 2.2.4-tf"
        )
    old = call.era.version and call.era.version <= (2, 3, 1)
    return "corner" if old and "-tf" not in call.era.text else "bilinear"


def _resizing(call: Call) -> Value:
    config, value = call.config, call.map(2)
    size = tuple(channels(config.get(key), key) for key in ("height", "width"))
    return call.add(resize_op(call, size, config), value)


def resize_op(call: Call, size: tuple[int, ...], config: Any) -> Op:
    """What resizes a map; only the two ways that torch has too."""
    said = str(config.get("interpolation", "bilinear")).lower()
    if said not in ("nearest", "bilinear"):
        raise NotLiftedError(f"its interpolation is {said!r}")
    for key in ("antialias", "crop_to_aspect_ratio", "pad_to_aspect_ratio"):
        if config.get(key):
            raise NotLiftedError(f"its {key} is set")
    return Resize((size[0], size[1]), "nearest" if said == "nearest" else "bilinear")


def _center_crop(call: Call) -> Value:
    """The middle, rounded towards the start (3.15 `center_crop.py`); a map that is smaller would be
    resized."""
    value = call.map(2)
    wanted = [window(call.config.get(key), key) for key in ("height", "width")]
    cuts: list[tuple[int, int]] = []
    for side, size in zip(spatial(value.shape), wanted, strict=True):
        if side is None or side < size:
            raise NotLiftedError("it resizes maps that are smaller, or of a size that is not said")
        before = (side - size) // 2
        cuts.append((before, side - size - before))
    return call.add(Crop(((0, 0), *cuts)), value)


LAYERS: dict[str, Lifting] = {
    **{f"MaxPooling{axes}D": _pool(axes, "max") for axes in (1, 2, 3)},
    **{f"AveragePooling{axes}D": _pool(axes, "avg") for axes in (1, 2, 3)},
    **{f"GlobalMaxPooling{axes}D": _global(axes, "max") for axes in (1, 2, 3)},
    **{f"GlobalAveragePooling{axes}D": _global(axes, "avg") for axes in (1, 2, 3)},
    **{f"ZeroPadding{axes}D": _zero_padding(axes) for axes in (1, 2, 3)},
    **{f"Cropping{axes}D": _cropping(axes) for axes in (1, 2, 3)},
    **{f"UpSampling{axes}D": _upsampling(axes) for axes in (1, 2, 3)},
    "Resizing": _resizing,
    "CenterCrop": _center_crop,
}
