"""What a training is made of; everything in it decides the result, and is kept beside it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from resnet_pt.pictures import Interpolation
from resnet_pt.preprocessing import Mode

Augmentation = Literal["crop", "flip", "rotate", "colour"]
Precision = Literal["auto", "32", "bf16", "16"]


@dataclass(frozen=True, slots=True)
class Settings:
    """Each is an option of the command line, which documents it."""

    data: Path
    start: Path
    epochs: int = 20
    batch: int = 32
    lr: float = 0.01
    layer_decay: float = 0.5
    freeze: str | None = None
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: Literal["cosine", "constant"] = "cosine"
    augment: tuple[Augmentation, ...] = ("crop", "flip")
    validation: float = 0.2
    patience: int = 5
    seed: int = 0
    preprocess: Mode | None = None
    interpolation: Interpolation = "nearest"
    size: tuple[int, int] | None = None
    precision: Precision = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1
    workers: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as they come back from JSON."""
        plain = {**asdict(self), "data": str(self.data), "start": str(self.start)}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()}
