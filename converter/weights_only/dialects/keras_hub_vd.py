"""keras-hub's ResNet-vd: a stem of three convolutions, shortcuts that pool before they project."""

from dataclasses import replace

from converter.weights_only.dialect import Dialect, Row
from converter.weights_only.dialects.keras_hub import BLOCKS, DEFAULTS, LISTED

DIALECT = Dialect(
    name="keras-hub-vd",
    summary="conv1_conv, conv2_conv, conv3_conv, stack0_block0_1_conv, …, predictions",
    source="keras-hub 0.32 models/resnet/resnet_backbone.py, bottleneck_block_vd",
    rows=(
        Row("conv1_conv", "conv1.0"),
        Row("conv1_bn", "conv1.1"),
        Row("conv2_conv", "conv1.3"),
        Row("conv2_bn", "conv1.4"),
        Row("conv3_conv", "conv1.6"),
        Row("conv3_bn", "bn1"),
        *BLOCKS,
    ),
    listed=LISTED,
    defaults=replace(DEFAULTS, shortcut_pool=True),
    required=("conv1.0", "conv1.1", "conv1.3", "conv1.4", "bn1"),
    bias=False,
)
