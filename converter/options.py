"""What a user can set: how to work, and what a file cannot say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


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

    # What a file cannot say; None leaves it to the evidence.
    bn_eps: float | None = None
    pool: Literal["valid", "zero", "same"] | None = None
    stem: Literal["pad", "same"] | None = None
    stride_on: Literal["1x1", "3x3"] | None = None
    theano_kernels: bool | None = None
    running_std: Literal["variance", "std"] | None = None
    head_activation: str | None = None
    preprocess: Literal["caffe", "tf", "torch", "raw"] | None = None
