"""keras-cv-attention-models' ResNet-D: a stem of three convolutions, shortcuts that pool first."""

from dataclasses import replace

from converter.weights_only.dialect import Dialect, Row
from converter.weights_only.dialects.kecam import BLOCKS, DEFAULTS, LISTED

DIALECT = Dialect(
    name="kecam-d",
    summary="stem_1_conv, stem_1_bn, …, stem_3_conv, stem_bn, stack1_block1_deep_1_conv, …",
    source="keras-cv-attention-models 1.4.1 aotnet/aotnet.py, deep_stem, shortcut_type avg",
    rows=(
        Row("stem_1_conv", "conv1.0"),
        Row("stem_1_bn", "conv1.1"),
        Row("stem_2_conv", "conv1.3"),
        Row("stem_2_bn", "conv1.4"),
        Row("stem_3_conv", "conv1.6"),
        Row("stem_bn", "bn1"),
        *BLOCKS,
    ),
    listed=(*LISTED, Row("stack{layer}_block{number}_shortcut_down", "average-pool")),
    defaults=replace(DEFAULTS, shortcut_pool=True),
    required=("conv1.0", "conv1.1", "conv1.3", "conv1.4", "bn1"),
    bias=False,
)
