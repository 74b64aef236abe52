"""keras-applications' ResNeXt50 and 101: ResNet50's names, grouped convolutions, no biases."""

from converter.facts.defaults import Defaults
from converter.weights_only.dialect import Dialect, Row
from converter.weights_only.dialects.conv_block import DIALECT as CONV_BLOCK

DIALECT = Dialect(
    name="resnext",
    summary="conv1_conv, conv2_block1_1_conv, conv2_block1_2_conv (depthwise), …; no biases",
    source="keras-applications 1.0.8 resnet_common.py, block3",
    rows=CONV_BLOCK.rows,
    defaults=Defaults(
        eps=1.001e-5, pool="zero", stride_on="3x3", padding="pad", preprocessing="torch"
    ),
    listed=(
        *CONV_BLOCK.listed,
        Row("conv{stage}_block{number}_2_reduce", "regrouping"),
    ),
    required=("bn1",),
    bias=False,
)
