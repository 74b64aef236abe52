"""Descriptions of networks in files of earlier versions, written as this version writes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resnet_pt.ops.norm import NORMALIZATION_EPS

Settings = Mapping[str, Any]

KINDS: Mapping[str, tuple[Settings, Mapping[str, tuple[str, Any]]]] = {
    "global_avg_pool": ({"op": "globalpool", "mode": "avg"}, {}),
    "global_max_pool": ({"op": "globalpool", "mode": "max"}, {}),
    "flatten_hwc": ({"op": "flatten", "order": "hwc"}, {}),
    "flatten_chw": ({"op": "flatten", "order": "chw"}, {}),
    "concat": ({"op": "concat"}, {}),
    "dense": (
        {"op": "dense"},
        {
            "in_features": ("in_features", 0),
            "out_features": ("out_features", 0),
            "bias": ("bias", False),
        },
    ),
    "dropout": ({"op": "dropout"}, {"rate": ("rate", 0.0)}),
    "activation": ({"op": "activation"}, {"name": ("activation", "")}),
    "leaky_relu": ({"op": "leakyrelu"}, {"slope": ("slope", 0.0)}),
    "prelu": ({"op": "prelu"}, {"channels": ("in_features", 0)}),
}
"""`{kind of a layer in format 1: (its op, {setting: (field of the layer, its default)})}`."""

WHOLE = {"conv": "conv", "norm": "norm", "avg_pool": "pool", "max_pool": "pool"}
"""`{kind: the field that holds its op}`."""

FIELDS = frozenset(
    [
        *("name", "kind", "source", "joined", "in_features", "out_features", "bias", "conv"),
        *("norm", "pool", "rate", "activation", "slope", "rescaling"),
    ]
)
"""Of a head's layer in format 1."""


def upgraded(data: Any) -> Any:
    """A description as this version writes it. What is none is left to be refused."""
    if not isinstance(data, dict):
        return data
    head, stem = data.get("head"), data.get("stem")
    if isinstance(head, list):
        data = {**data, "head": [_layer(one) for one in head]}
    if isinstance(stem, dict) and isinstance(stem.get("data_norm"), dict):
        data = {**data, "stem": {**stem, "data_norm": _data_norm(stem["data_norm"])}}
    return data


def _layer(one: Any) -> Any:
    """A layer of the head, which had a `kind` and the settings of every kind."""
    if not isinstance(one, dict) or not isinstance(kind := one.get("kind"), str):
        return one
    joined = one.get("joined", [])
    if not isinstance(joined, list):
        return one
    unknown = {name: value for name, value in one.items() if name not in FIELDS}
    inputs = [one.get("source", ""), *joined]
    return {"name": one.get("name"), "op": _op(kind, one), "inputs": inputs, **unknown}


def _op(kind: str, one: Settings) -> Any:
    if kind in KINDS:
        op, settings = KINDS[kind]
        return {**op, **{name: one.get(*field) for name, field in settings.items()}}
    if kind in WHOLE and isinstance(one.get(WHOLE[kind]), dict):
        field = WHOLE[kind]
        return {"op": field, **one[field]}
    factors = one.get("rescaling")
    if kind == "rescaling" and isinstance(factors, list) and len(factors) == 2:
        return {"op": "rescaling", "scale": factors[0], "offset": factors[1]}
    return None


def _data_norm(norm: Settings) -> Settings:
    """Before `Norm.standardizes` there was, a Keras Normalization was told by its epsilon, and by
    the gamma and beta that it lacks."""
    told = (norm.get("eps"), norm.get("gamma"), norm.get("beta"))
    return {"standardizes": told == (NORMALIZATION_EPS, False, False), **norm}
