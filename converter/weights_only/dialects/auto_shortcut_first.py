"""The same networks as `auto-main-first`, written with the shortcut first in every sum."""

from converter.facts.defaults import Defaults
from converter.weights_only.dialect import Dialect
from converter.weights_only.dialects.conv_block import SHORTCUT_FIRST, SHORTCUT_FIRST_BASIC

DIALECT = Dialect(
    name="auto-shortcut-first",
    summary="conv2d_1, batch_normalization_1, …; sums of (shortcut, block)",
    source="copies of keras-applications 1.0.8 resnet_common.py without its names",
    rows=(),
    orders=(SHORTCUT_FIRST, SHORTCUT_FIRST_BASIC),
    defaults=Defaults(eps=1e-3, pool="valid", ending="avg_pool"),
)
