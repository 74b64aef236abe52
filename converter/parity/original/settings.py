"""What a Keras made of a configuration, held against that configuration, setting by setting.

A library reads files of its own time by the rules of today: a setting that it does not know it may
drop, and one that the file does not have it takes from its own defaults. What such a network gives
is no witness for the original, and no proof where the same default was assumed here.

A setting that the file lacks is right where today's default is what there was before the setting
came to be; `BEFORE` has these. No TensorFlow is needed here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from converter.files.model_config import Config, class_of, is_model, layer_name, model_layers

UNUSED = frozenset(
    [
        *("name", "trainable", "dtype", "input_dtype", "batch_input_shape", "batch_shape"),
        *("input_shape", "input_dim", "input_length", "sparse", "ragged", "optional"),
        *("implementation", "unroll", "stateful", "dynamic", "synchronized", "autocast"),
        *("fused", "virtual_batch_size", "momentum", "renorm_momentum", "experimental_run_tf"),
        *("rate", "seed", "noise_shape", "stddev", "l1", "l2", "data_augmentation"),
        *("build_config", "compile_config", "quantization_config"),
        *("is_graph_network", "type_spec", "batch_size"),
    ]
)
"""Settings that change no prediction: names, training, how it is computed; and shapes, which the
numbers' own shapes show."""

UNUSED_ENDINGS = ("_initializer", "_regularizer", "_constraint")

AUGMENTING = "Random"
"""The start of the classes of layers that do nothing but in training."""

BEFORE: Mapping[str, Any] = {
    "groups": 1,
    "dilation_rate": 1,
    "depth_multiplier": 1,
    "data_format": "channels_last",
    "interpolation": "nearest",
    "keepdims": False,
    "output_padding": None,
    "mask": None,
    "threshold": 0.0,
    "negative_slope": 0.0,
    "max_value": None,
    "shared_axes": None,
    "renorm": False,
    "renorm_clipping": None,
    "normalize": False,
    "activation": "linear",
    "mean": None,
    "variance": None,
    "invert": False,
    "crop_to_aspect_ratio": False,
    "offset": 0.0,
    "time_major": False,
    "zero_output_for_mask": False,
    "return_state": False,
    "softmax_robust_masking": False,
    "use_gate": False,
    "sliding_window": None,
    "score_mode": "dot",
}
"""What a layer did before it had the setting, where that is today's default."""

SMALL = 1e-6
"""A library keeps a number in float32."""


def misread(config: Config, loaded: Config, axes: Mapping[str, int]) -> list[str]:
    """What a library read otherwise than the configuration of a model says, in words; [] if
    nothing. `loaded` is `{"class_name", "config"}` of the model that it made, `axes` is
    `{layer, nested models in front: how many axes what it reads has}`, with the batch, where the
    library counts an axis from the other end."""
    return list(_of_model(config, loaded, axes, ""))


def _of_model(config: Config, loaded: Config, axes: Mapping[str, int], outer: str) -> Iterator[str]:
    there = {layer_name(layer): layer for layer in model_layers(loaded)}
    for layer in model_layers(config):
        name = layer_name(layer)
        path = f"{outer}{name}"
        if name not in there:
            if class_of(layer) != "InputLayer":
                yield f"layer {path!r} is not in it"
        elif is_model(layer) != is_model(there[name]):
            yield f"layer {path!r} is another kind of layer"
        elif is_model(layer):
            yield from _of_model(layer, there[name], axes, f"{path}/")
        else:
            wrong = _of_layer(layer, there[name], axes.get(path, 0))
            yield from (f"{path}: {one}" for one in wrong)


def _of_layer(layer: Config, loaded: Config, axes: int = 0) -> Iterator[str]:
    class_name, made = _plain(class_of(layer)), _plain(class_of(loaded))
    if class_name != made:
        yield f"it is a {class_name}, and {made} was made"
    elif not class_name.startswith(AUGMENTING):
        yield from _of_settings(layer["config"], loaded["config"], axes)


def _of_settings(said: Config, loaded: Config, axes: int) -> Iterator[str]:
    for key in sorted(said.keys() | loaded.keys()):
        if key in UNUSED or key.endswith(UNUSED_ENDINGS):
            continue
        one, other = said.get(key), loaded.get(key)
        if key not in loaded:
            if one is not None:
                yield f"its {key} was dropped, and is {one!r}"
        elif key not in said:
            if key not in BEFORE or not same(BEFORE[key], other):
                yield f"it says no {key}, and {other!r} was taken"
        elif key == "axis" and axes:
            if _from_the_start(one, axes) != _from_the_start(other, axes):
                yield f"its axis is {one!r}, and {other!r} was taken"
        elif (layer := _as_layer(one)) and (made := _as_layer(other)):
            yield from (f"{key}: {wrong}" for wrong in _of_layer(layer, made))
        elif not same(one, other):
            yield f"its {key} is {one!r}, and {other!r} was taken"


def _from_the_start(axis: Any, axes: int) -> list[int]:
    """An axis, or several, counted from the batch on."""
    some = axis if isinstance(axis, list) else [axis]
    return [one % axes for one in some]


def _as_layer(value: Any) -> Config | None:
    """A setting that is a layer: what a wrapper wraps, or an activation that is one."""
    inner = value.get("config") if isinstance(value, Mapping) else None
    return value if isinstance(inner, Mapping) and "name" in inner else None


def _plain(class_name: str) -> str:
    """A class without the mark of its age, as `BatchNormalizationV1`."""
    return class_name.removesuffix("V1").removesuffix("V2")


def same(one: Any, other: Any) -> bool:
    """Whether two settings are one: lists and tuples, a number and as many of it, and rounding to
    float32 are no difference."""
    one, other = _value(one), _value(other)
    if isinstance(one, str) and isinstance(other, str):
        return one == other
    if isinstance(one, list) and isinstance(other, list):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(same(a, b) for a, b in pairs)
    if isinstance(one, list) or isinstance(other, list):
        some, single = (one, other) if isinstance(one, list) else (other, one)
        return single is not None and bool(some) and all(same(a, single) for a in some)
    if isinstance(one, bool) or isinstance(other, bool) or one is None or other is None:
        return one is other or (one == other and None not in (one, other))
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=SMALL)
    return bool(one == other)


def _value(value: Any) -> Any:
    """A setting in one way of writing it: Keras 2 writes an array as `{"type": "ndarray"}`, Keras 3
    objects with the module that they are from."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping) and value.get("type") == "ndarray":
        value = value["value"]
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(value, Mapping) and value.get("class_name") == "__tuple__":
        value = value["items"]
    return value
