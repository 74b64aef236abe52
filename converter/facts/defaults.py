"""What the code behind a naming ran, for what its files do not say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the code behind a naming ran, for what a weights-only file does not say."""

    eps: float
    stem: Literal["pad", "same"] = "pad"
    pool: Literal["valid", "zero", "same", "inf", "none"] = "valid"
    stride_on: Literal["1x1", "3x3"] = "1x1"
    padding: Literal["same", "pad"] = "same"
    """How a strided 3x3 convolution is padded."""
    grouped: bool = False
    """Whether a 3x3 convolution that reads fewer channels than come is grouped (ResNeXt)."""
    stem_stride: int = 2
    shortcut_pool: bool = False
    """Whether a strided shortcut pools 2x2 by average before its convolution (ResNet-D)."""
    ending: Literal["avg_pool", "global"] = "global"
    """AveragePooling2D and Flatten, or GlobalAveragePooling2D."""
    ending_window: int = 7
    preactivation: bool = False
    shortcut_on: Literal["input", "preactivation"] = "input"
    stride_in: Literal["first", "last"] = "first"
    """The block of a stage that shrinks the map; V2 networks use the last one."""
    unstrided_stage: Literal["first", "last"] = "first"
    """The stage that does not shrink it; the last one of keras-applications' V2."""
    basic_stride_on: Literal[1, 2] = 1
    """Which convolution of a basic block strides."""
    first_stage_stride: int = 1
    """By how much the first stage shrinks the map, where the pool before it does too."""
    stage_strides: tuple[int, ...] = ()
    """By how much each stage does, where a file tells that."""
    momentum: float = 0.99
    output: str = "softmax"
    """The activation behind the logits."""
    preprocessing: str | None = None
    without_top: str = ""
    """What the code gives without a top, in words, where that is not the map of the last block."""
