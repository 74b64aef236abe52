"""The configuration that is given for a file of weights (`--config`, `--build`, a record's own)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Config = Mapping[str, Any]
Match = Literal["names", "order"]


@dataclass(frozen=True, slots=True)
class Given:
    """A configuration, as Keras' `to_json` has it, and where it is from.

    `origin` is the file, or what was called, as the user wrote it, `option` what it was given by,
    `sha256` that of the text. `match` says how layers get their weights, where the user says it.
    """

    config: Config
    origin: str = ""
    option: str = "--config"
    sha256: str = ""
    match: Match | None = None

    @property
    def keras_version(self) -> str | None:
        """The Keras that wrote it; '3' for Keras 3, which writes modules and no version."""
        found = self.config.get("keras_version")
        if isinstance(found, str):
            return found
        return "3" if "module" in self.config else None

    @property
    def backend(self) -> str | None:
        found = self.config.get("backend")
        return found if isinstance(found, str) else None

    def __str__(self) -> str:
        return f"{self.option} {self.origin}"
