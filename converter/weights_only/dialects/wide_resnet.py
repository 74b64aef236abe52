"""titu1994's Wide ResNet: pre-activated, stages joined by a norm, projections that read it."""

from converter.facts.defaults import Defaults
from converter.weights_only.dialect import Dialect

ORDER = ("bn1", "conv1", "bn2", "conv2", "downsample.0")
FIRST_ORDER = ("conv1", "bn2", "conv2", "downsample.0")
"""The sum's first input is the block, and the very first norm the stem's."""

DEFAULTS = Defaults(
    eps=1e-5,
    momentum=0.1,
    stem="same",
    stem_stride=1,
    pool="none",
    ending="avg_pool",
    ending_window=8,
    preactivation=True,
    shortcut_on="preactivation",
)

DIALECT = Dialect(
    name="wide-resnet",
    summary="conv2d_1, batch_normalization_1, …; a 3x3 stem with a norm, norms first, no biases",
    source="titu1994/Wide-Residual-Networks 12d8aa8 wide_residual_network.py",
    rows=(),
    orders=(ORDER,),
    first_order=(FIRST_ORDER,),
    projects_first=True,
    stem_kernel=3,
    bias=False,
    required=("bn1", "norm"),
    defaults=DEFAULTS,
)
