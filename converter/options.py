"""What a user can set: how to work, and what a file cannot say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from converter.discover import names
from converter.errors import UsageError
from converter.facts.table import TABLE, Row
from converter.mapping.sanity import CHECKS
from resnet_pt.preprocessing import Mode


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a conversion; each is an option of the command line, which documents it."""

    force: bool = False
    dry_run: bool = False
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    parity: bool = True
    require_parity: bool = False
    against: Path | None = None
    expect_sha256: str | None = None
    allow: Sequence[str] = ()
    """Checks of `converter.mapping.sanity` to waive."""
    keras_python: Path | None = None
    config: Path | None = None
    """The configuration of a file of weights; `match` says how its layers get them."""
    match: Literal["names", "order"] | None = None
    build: str | None = None
    code: Path | None = None
    """The folder of the code that `build` names."""
    outputs: Sequence[str] = ()
    """The layers that end the network, for a part of a model."""
    layers: Path | None = None
    """The user's own file of layers, which is run: `resnet_pt.supplied` says what it has."""
    to: str | None = None
    labels: Path | None = None

    # What a file cannot say, as `converter.facts.table` has it; None leaves it to the evidence.
    bn_eps: float | None = None
    activation: str | None = None
    stem_stride: int | None = None
    stem: Literal["pad", "same", "valid"] | None = None
    pool_kind: Literal["max", "average", "none"] | None = None
    pool_window: int | None = None
    pool_stride: int | None = None
    pool: Literal["valid", "zero", "same", "inf"] | None = None
    stage_strides: Sequence[int] | None = None
    stride_in: Literal["first", "last"] | None = None
    stride_on: Literal["1x1", "3x3", "first", "second"] | None = None
    dilation: Sequence[int] | None = None
    padding: Sequence[str] | None = None
    shortcut_on: Literal["input", "preactivation"] | None = None
    theano_kernels: bool | None = None
    running_std: Literal["variance", "std"] | None = None
    flatten: Literal["channels-last", "channels-first"] | None = None
    head_activation: str | None = None
    network: str | None = None
    preprocess: Mode | None = None

    @property
    def asks_original(self) -> bool:
        """Whether a record or another interpreter will decide what the file leaves open."""
        return bool(self.against or self.keras_python) and not self.dry_run

    def __post_init__(self) -> None:
        """UsageError for what no network has, and for options that do not go together. Paths may
        be given as text."""
        for name in ("against", "keras_python", "labels", "config", "code", "layers"):
            if isinstance(getattr(self, name), str):
                object.__setattr__(self, name, Path(getattr(self, name)))
        if isinstance(self.outputs, str):
            object.__setattr__(self, "outputs", (self.outputs,))
        unknown = [name for name in self.allow if name not in CHECKS]
        if unknown:
            raise UsageError(f"--allow {unknown[0]}: known are {', '.join(CHECKS)}")
        if self.config and self.build:
            raise UsageError("--config and --build give two configurations: give one")
        if self.match and not (self.config or self.build or self.against):
            raise UsageError("--match is for a configuration (--config, --build or a record's)")
        if self.code and not self.build:
            raise UsageError("--code is the folder of what --build names, which is not given")
        if not self.parity and (self.against or self.keras_python or self.require_parity):
            raise UsageError(
                "--no-parity compares no logits: it does not go with --against, --keras-python or "
                "--require-parity"
            )
        if self.expect_sha256 and not re.fullmatch("[0-9a-fA-F]{64}", self.expect_sha256):
            raise UsageError(f"--expect-sha256 {self.expect_sha256}: a SHA-256 has 64 hex digits")
        if self.keras_python and self.against:
            raise UsageError("--against and --keras-python are two originals: give one")
        if self.to is not None and self.to not in names("converter.formats.destinations"):
            known = ", ".join(names("converter.formats.destinations"))
            raise UsageError(f"--to {self.to}: the destinations are {known}")
        if self.labels is not None and self.to not in (None, "transformers"):
            raise UsageError(
                f"--labels: --to {self.to} has no place for them; our own layout (no --to) and "
                "--to transformers have"
            )
        for row in TABLE:
            value = getattr(self, row.option)
            if value is not None:
                object.__setattr__(self, row.option, _checked(row, value))


def _checked(row: Row, value: Any) -> Any:
    try:
        return row.checked(value)
    except ValueError as error:
        raise UsageError(f"{row.flag} {value}: {error}") from error
