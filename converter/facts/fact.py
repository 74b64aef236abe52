"""A fact about a network: its value, and the evidence for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Evidence(IntEnum):
    """Where a fact comes from, weakest first."""

    DEFAULT = 0
    RELEASE = 1
    SHAPES = 2
    ATTRIBUTES = 3
    LAYER_NAMES = 4
    MODEL_CONFIG = 5
    RECORD = 6
    USER = 7

    def __str__(self) -> str:
        return {
            Evidence.DEFAULT: "default",
            Evidence.RELEASE: "released file",
            Evidence.SHAPES: "shapes",
            Evidence.ATTRIBUTES: "file attributes",
            Evidence.LAYER_NAMES: "layer names",
            Evidence.MODEL_CONFIG: "model_config",
            Evidence.RECORD: "record",
            Evidence.USER: "set by the user",
        }[self]


OUTSIDE = frozenset({"preprocessing"})
"""Facts about what a project did around its network: no logit rests on them."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact: its value as a person reads it, where it comes from, and the reason in words."""

    name: str
    value: str
    evidence: Evidence
    reason: str

    @property
    def is_default(self) -> bool:
        return self.evidence == Evidence.DEFAULT

    @property
    def is_assumed(self) -> bool:
        """Whether the network itself rests on it, and nothing but a default says it."""
        return self.is_default and self.name not in OUTSIDE
