"""How a naming reads a file: which layer fills which module."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from converter.weights_only.dialect import Dialect


@dataclass(frozen=True, slots=True)
class Match:
    """How a dialect reads a file: `{module: layer}`, the head's layers, and those left out."""

    dialect: Dialect
    modules: Mapping[str, str]
    head: tuple[str, ...]
    left_out: tuple[str, ...]

    @property
    def blocks(self) -> set[tuple[str, ...]]:
        """`{("layer1", "0"), …}`."""
        found = (tuple(module.split(".")[:2]) for module in self.modules)
        return {one for one in found if one[0].startswith("layer")}

    @property
    def computes(self) -> Mapping[str, str]:
        """`modules`, with one name for what is computed alike: the very first block's norm is the
        stem's where all that the block reads is what it gives, activated."""
        first, stem = "layer1.0.bn1", "bn1"
        is_shared = self.dialect.defaults.shortcut_on == "preactivation"
        if not is_shared or "layer1.0.downsample.0" not in self.modules:
            return self.modules
        if stem in self.modules or first not in self.modules:
            return self.modules
        return {stem if one == first else one: layer for one, layer in self.modules.items()}
