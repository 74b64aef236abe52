"""keras-cv's ResNetV2 backbones: pre-activated, stride in a stage's last block, 'same' padding."""

from dataclasses import replace

from converter.weights_only.dialect import Dialect, Row
from converter.weights_only.dialects.conv_block_v2 import DIALECT as APPLICATIONS

DIALECT = Dialect(
    name="keras-cv-v2",
    summary="conv1_conv, v2_stack_0_block1_use_preactivation_bn, v2_stack_0_block1_1_conv, …",
    source="keras-cv 0.9 models/backbones/resnet_v2/resnet_v2_backbone.py",
    rows=(
        Row("conv1_conv", "conv1"),
        Row("v2_stack_{stack}_block{number}_use_preactivation_bn", "layer{layer}.{index}.bn1"),
        Row("v2_stack_{stack}_block{number}_1_conv", "layer{layer}.{index}.conv1"),
        Row("v2_stack_{stack}_block{number}_1_bn", "layer{layer}.{index}.bn2"),
        Row("v2_stack_{stack}_block{number}_2_conv", "layer{layer}.{index}.conv2"),
        Row("v2_stack_{stack}_block{number}_2_bn", "layer{layer}.{index}.bn3"),
        Row("v2_stack_{stack}_block{number}_3_conv", "layer{layer}.{index}.conv3"),
        Row("v2_stack_{stack}_block{number}_0_conv", "layer{layer}.{index}.downsample.0"),
        Row("post_bn", "norm"),
    ),
    defaults=replace(
        APPLICATIONS.defaults,
        stem="same",
        pool="same",
        padding="same",
        unstrided_stage="first",
        basic_stride_on=2,
        preprocessing=None,
    ),
    listed=(Row("v2_stack_{stack}_block{number}_out", "sum"),),
    required=("norm", "layer1.0.bn1"),
    orders=(*APPLICATIONS.orders, ("bn1", "conv1", "bn2", "downsample.0", "conv2")),
    bias=True,
)
