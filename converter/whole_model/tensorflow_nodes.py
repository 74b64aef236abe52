"""`TensorFlowOpLayer`: the node of a TensorFlow graph that tf.keras 1.13 to 2.3 kept as a layer.

Its configuration holds the node itself (`node_def`: an operation, its inputs, its attributes) and
the inputs that are constants, by their place among all of them. Later versions write the function
that was called, as a `TFOpLambda`; a node is read as the call of one. A node counts as plain if all
of its attributes are known; every other is refused.

Sources: tensorflow 2.3 `python/keras/engine/base_layer.py` (TensorFlowOpLayer), `core/ops/*.cc`
(the attributes and what they are where a node leaves them out).
"""

from __future__ import annotations

import json
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from converter.files.kinds import SettingError, whole
from converter.files.model_config import CONSTANT, Config, reference_list

CLASS = "TensorFlowOpLayer"

MAX_NODE = 2**20
"""The characters that a node may have."""


@dataclass(frozen=True, slots=True)
class Kind:
    """The function that a node computes, and what its inputs and attributes are called there.
    `inputs` are all names in order; VALUES stands for any number of tensors. `only` are the
    attributes that must be as they are here."""

    function: str
    inputs: tuple[str, ...] = ("x",)
    settings: Mapping[str, str] = field(default_factory=dict)
    only: Mapping[str, Any] = field(default_factory=dict)


VALUES = "values"

LEFT_OUT: Mapping[str, Any] = {
    "align_corners": False,
    "alpha": 0.2,
    "axis": 0,
    "data_format": "NHWC",
    "half_pixel_centers": False,
    "keep_dims": False,
    "squeeze_dims": [],
    "Truncate": False,
}
"""Attributes that a node may leave out, and what they are then."""

SILENT = ("Tidx", "Tdim", "Tshape", "Tperm", "Tpaddings", "Tlen", "Index", "N", "SrcT")
"""Attributes that say what the inputs say too: their number, and the types of whole numbers."""

FLOATS = ("DT_FLOAT", "DT_DOUBLE")

TYPES: Mapping[str, str] = {"DT_FLOAT": "float32", "DT_DOUBLE": "float64"}

LAST: Mapping[str, Any] = {"data_format": "NHWC"}
CENTRES: Mapping[str, Any] = {"half_pixel_centers": True, "align_corners": False}


def _reduction(function: str) -> Kind:
    return Kind(function, ("x", "axis"), {"keep_dims": "keepdims"})


KINDS: Mapping[str, Kind] = {
    "Add": Kind("math.add", ("x", "y")),
    "AddV2": Kind("math.add", ("x", "y")),
    "BiasAdd": Kind("nn.bias_add", ("x", "bias"), only=LAST),
    "Sub": Kind("math.subtract", ("x", "y")),
    "Mul": Kind("math.multiply", ("x", "y")),
    "RealDiv": Kind("math.truediv", ("x", "y")),
    "Maximum": Kind("math.maximum", ("x", "y")),
    "Minimum": Kind("math.minimum", ("x", "y")),
    "Pow": Kind("math.pow", ("x", "y")),
    "ClipByValue": Kind("clip_by_value", ("x", "clip_value_min", "clip_value_max")),
    "Relu": Kind("nn.relu"),
    "Relu6": Kind("nn.relu6"),
    "Elu": Kind("nn.elu"),
    "Selu": Kind("nn.selu"),
    "Softplus": Kind("nn.softplus"),
    "Softsign": Kind("nn.softsign"),
    "Sigmoid": Kind("math.sigmoid"),
    "Tanh": Kind("math.tanh"),
    "Exp": Kind("math.exp"),
    "LeakyRelu": Kind("nn.leaky_relu", settings={"alpha": "alpha"}),
    "Softmax": Kind("nn.softmax"),
    "Abs": Kind("math.abs"),
    "Square": Kind("math.square"),
    "Sqrt": Kind("math.sqrt"),
    "Rsqrt": Kind("math.rsqrt"),
    "Neg": Kind("math.negative"),
    "Log": Kind("math.log"),
    "Mean": _reduction("math.reduce_mean"),
    "Max": _reduction("math.reduce_max"),
    "Min": _reduction("math.reduce_min"),
    "Sum": _reduction("math.reduce_sum"),
    "ConcatV2": Kind("concat", (VALUES, "axis")),
    "Pack": Kind("stack", (VALUES,), {"axis": "axis"}),
    "ResizeBilinear": Kind("image.resize", ("x", "size"), only=CENTRES),
    "ResizeNearestNeighbor": Kind("image.resize", ("x", "size"), only=CENTRES),
    "Pad": Kind("compat.v1.pad", ("x", "paddings")),
    "PadV2": Kind("compat.v1.pad", ("x", "paddings", "constant_values")),
    "Reshape": Kind("reshape", ("x", "shape")),
    "Transpose": Kind("compat.v1.transpose", ("x", "perm")),
    "ExpandDims": Kind("expand_dims", ("x", "axis")),
    "Squeeze": Kind("squeeze", settings={"squeeze_dims": "axis"}),
    "ReverseV2": Kind("reverse", ("x", "axis")),
    "DepthToSpace": Kind("nn.depth_to_space", settings={"block_size": "block_size"}, only=LAST),
    "SpaceToDepth": Kind("nn.space_to_depth", settings={"block_size": "block_size"}, only=LAST),
    "Cast": Kind("cast", settings={"DstT": "dtype"}, only={"Truncate": False}),
    "Identity": Kind("identity"),
    "StopGradient": Kind("stop_gradient"),
    "StridedSlice": Kind("__operators__.getitem", ("x", "begin", "end", "strides")),
}
"""The nodes that are read, by TensorFlow's names of their operations."""

FURTHER: Mapping[str, Mapping[str, Any]] = {
    "ResizeBilinear": {"method": "bilinear"},
    "ResizeNearestNeighbor": {"method": "nearest"},
}
"""What the function is told beside."""

MASKS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")


def function_of(config: Config, call: Any) -> tuple[str, Any]:
    """(function, call) as a `TFOpLambda` has them, of a layer's configuration and its call.

    Raises SettingError for a node that is not plain, and for one that is not written as TensorFlow
    writes it.
    """
    node = _node(config)
    operation = node.get("op")
    kind = KINDS.get(operation) if isinstance(operation, str) else None
    if kind is None:
        raise SettingError(f"the TensorFlow operation {str(operation)[:60]!r} is not understood")
    given = _inputs(kind, node, config, call)
    attributes = dict(_attributes(node))
    constants = {key: one for key, one in given.items() if not _is_tensor(one)}
    constants.update(FURTHER.get(str(operation), {}))
    if operation == "StridedSlice":
        spec = _slices(constants, attributes)
        constants = {"slice_spec": spec}
    else:
        constants.update(_settings(kind, attributes))
    return kind.function, _call(kind, given, constants)


def operation(config: Config) -> str:
    """The operation of a layer's node. Raises SettingError for what is no node."""
    return str(_node(config).get("op"))


def _node(config: Config) -> Mapping[str, Any]:
    """The node, which is JSON within JSON in some versions."""
    node = config.get("node_def")
    if isinstance(node, str) and len(node) <= MAX_NODE:
        try:
            node = json.loads(node)
        except (ValueError, RecursionError) as error:
            raise SettingError("its node_def is no JSON") from error
    if not isinstance(node, dict):
        raise SettingError("its node_def is no node of a TensorFlow graph")
    return node


def _inputs(kind: Kind, node: Mapping[str, Any], config: Config, call: Any) -> dict[str, Any]:
    """All inputs by name, in order: a reference to a tensor, or a constant."""
    listed, constants = node.get("input", []), config.get("constants") or {}
    tensors = reference_list(call)
    places = range(len(listed) if isinstance(listed, list) else 0)
    told = {place: constants[str(place)] for place in places if str(place) in constants}
    if len(told) != len(constants) or len(places) != len(tensors) + len(told):
        raise SettingError(
            f"its node has {len(places)} inputs, and {len(tensors)} tensors and {len(constants)} "
            "constants are there"
        )
    rest = iter(tensors)
    values = [told[place] if place in told else list(next(rest)) for place in places]
    if any(place in told and _is_tensor(told[place]) for place in places):
        raise SettingError("one of its constants reads as a tensor")
    names = kind.inputs
    if VALUES in names:
        many = len(values) - (len(names) - 1)
        names = (*(f"{VALUES}/{number}" for number in range(many)), *names[1:])
    if len(names) != len(values):
        raise SettingError(f"its node has {len(values)} inputs, and {len(names)} are known")
    return dict(zip(names, values, strict=True))


def _is_tensor(one: Any) -> bool:
    return isinstance(one, list) and bool(one) and isinstance(one[0], str)


def _attributes(node: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The attributes as plain values. `T` is the type that the node computes in."""
    said = node.get("attr", {})
    for name, one in said.items() if isinstance(said, dict) else ():
        value = _value(one)
        if name in ("T", "SrcT") and value not in FLOATS:
            raise SettingError(f"it reads numbers of type {value}")
        if name not in SILENT and name != "T":
            yield name, value


def _value(one: Any) -> Any:
    """A value of protobuf's `AttrValue`, as its JSON has it: whole numbers and bytes are text."""
    if not isinstance(one, dict) or len(one) != 1:
        raise SettingError(f"an attribute of its node is {str(one)[:60]}")
    ((kind, value),) = one.items()
    if kind == "i" and isinstance(value, str | int):
        return int(value)
    if kind == "s" and isinstance(value, str):
        try:
            return b64decode(value, validate=True).decode()
        except (Base64Error, UnicodeDecodeError) as error:
            raise SettingError(f"an attribute of its node is {value[:60]!r}") from error
    if kind == "list" and isinstance(value, dict):
        return [_value({key: each}) for key, many in value.items() for each in many]
    if kind in ("b", "f", "type"):
        return value
    raise SettingError(f"an attribute of its node is of the kind {str(kind)[:60]!r}")


def _settings(kind: Kind, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes that the function is told. Raises SettingError for any that is not known."""
    known = {*kind.settings, *kind.only}
    for name in attributes.keys() - known:
        raise SettingError(f"its node's {name!s:.60} is {attributes[name]!s:.60}")
    said = {name: attributes.get(name, LEFT_OUT.get(name)) for name in known}
    for name, wanted in kind.only.items():
        if said[name] != wanted:
            raise SettingError(f"its node's {name} is {said[name]!s:.60}, not {wanted}")
    settings = {here: said[there] for there, here in kind.settings.items()}
    if "dtype" in settings:
        settings["dtype"] = TYPES.get(settings["dtype"], settings["dtype"])
    return settings


def _slices(constants: Mapping[str, Any], masks: Mapping[str, Any]) -> list[Any]:
    """The parts of the axes as `x[...]` has them; a bit of each mask stands for one of them
    (tensorflow `array_ops.cc`, StridedSlice)."""
    if masks.keys() - set(MASKS):
        raise SettingError(f"its node has {', '.join(sorted(masks.keys() - set(MASKS)))[:60]}")
    bounds = [constants.get(key) for key in ("begin", "end", "strides")]
    if (
        not all(isinstance(one, list) for one in bounds)
        or len({len(one or ()) for one in bounds}) > 1
    ):
        raise SettingError("its slices are no lists of one length")
    held = [[whole(n, "a slice", -(2**31), 2**31) for n in one or ()] for one in bounds]
    bits = {key: whole(masks.get(key, 0), key, 0, 2**16) for key in MASKS}
    return [_slice(place, held, bits) for place in range(len(held[0]))]


def _slice(place: int, bounds: Sequence[Sequence[int]], bits: Mapping[str, int]) -> Any:
    begin, end, step = (one[place] for one in bounds)
    on = {key for key, mask in bits.items() if mask >> place & 1}
    if "ellipsis_mask" in on:
        return {"class_name": "__ellipsis__", "config": {}}
    if "new_axis_mask" in on:
        return None
    if "shrink_axis_mask" in on:
        return begin
    return {
        "start": None if "begin_mask" in on else begin,
        "stop": None if "end_mask" in on else end,
        "step": step,
    }


def _call(kind: Kind, given: Mapping[str, Any], constants: Mapping[str, Any]) -> Any:
    """The call as tf.keras 2.4 writes it: a constant may stand first, the other arguments by name
    in the first tensor's."""
    first, *others = given
    named = {key: one for key, one in constants.items() if key != first}
    if VALUES in kind.inputs:
        tensors = [one for one in given.values() if _is_tensor(one)]
        return [[*tensors[0][:3], named], *([*one[:3], {}] for one in tensors[1:])]
    named.update({key: given[key] for key in others if _is_tensor(given[key])})
    if _is_tensor(given[first]):
        return [*given[first][:3], named]
    return [CONSTANT, -1, given[first], named]
