"""keras-hub's ResNet (converted from timm): torchvision's strides and paddings, no biases."""

from converter.facts.defaults import Defaults
from converter.weights_only.dialect import Dialect, Row

BLOCKS = (
    Row("stack{stack}_block{index}_1_conv", "layer{layer}.{index}.conv1"),
    Row("stack{stack}_block{index}_1_bn", "layer{layer}.{index}.bn1"),
    Row("stack{stack}_block{index}_2_conv", "layer{layer}.{index}.conv2"),
    Row("stack{stack}_block{index}_2_bn", "layer{layer}.{index}.bn2"),
    Row("stack{stack}_block{index}_3_conv", "layer{layer}.{index}.conv3"),
    Row("stack{stack}_block{index}_3_bn", "layer{layer}.{index}.bn3"),
    Row("stack{stack}_block{index}_0_conv", "layer{layer}.{index}.downsample.0"),
    Row("stack{stack}_block{index}_0_bn", "layer{layer}.{index}.downsample.1"),
)

LISTED = (Row("stack{stack}_block{index}_out", "activation"),)

DEFAULTS = Defaults(
    output="linear",
    eps=1e-5,
    momentum=0.9,
    pool="zero",
    stride_on="3x3",
    padding="pad",
    preprocessing="torch",
)

DIALECT = Dialect(
    name="keras-hub",
    summary="conv1_conv, conv1_bn, stack0_block0_1_conv, stack0_block0_1_bn, …, predictions",
    source="keras-hub 0.32 models/resnet/resnet_backbone.py",
    rows=(Row("conv1_conv", "conv1"), Row("conv1_bn", "bn1"), *BLOCKS),
    listed=LISTED,
    defaults=DEFAULTS,
    required=("bn1",),
    bias=False,
)
