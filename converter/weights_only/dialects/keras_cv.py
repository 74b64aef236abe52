"""keras-cv's ResNetV1 backbones: keras-applications' strides, TensorFlow's paddings, no biases."""

from converter.facts.defaults import Defaults
from converter.weights_only.dialect import Dialect, Row
from converter.weights_only.dialects.conv_block import SHORTCUT_FIRST, SHORTCUT_FIRST_BASIC

DIALECT = Dialect(
    name="keras-cv",
    summary="conv1_conv, conv1_bn, v2_stack_0_block1_1_conv, v2_stack_0_block1_1_bn, …",
    source="keras-cv 0.9 models/backbones/resnet_v1/resnet_v1_backbone.py",
    rows=(
        Row("conv1_conv", "conv1"),
        Row("conv1_bn", "bn1"),
        Row("v2_stack_{stack}_block{number}_1_conv", "layer{layer}.{index}.conv1"),
        Row("v2_stack_{stack}_block{number}_1_bn", "layer{layer}.{index}.bn1"),
        Row("v2_stack_{stack}_block{number}_2_conv", "layer{layer}.{index}.conv2"),
        Row("v2_stack_{stack}_block{number}_2_bn", "layer{layer}.{index}.bn2"),
        Row("v2_stack_{stack}_block{number}_3_conv", "layer{layer}.{index}.conv3"),
        Row("v2_stack_{stack}_block{number}_3_bn", "layer{layer}.{index}.bn3"),
        Row("v2_stack_{stack}_block{number}_0_conv", "layer{layer}.{index}.downsample.0"),
        Row("v2_stack_{stack}_block{number}_0_bn", "layer{layer}.{index}.downsample.1"),
    ),
    defaults=Defaults(eps=1.001e-5, stem="same", pool="same"),
    listed=(Row("v2_stack_{stack}_block{number}_out", "activation"),),
    required=("bn1",),
    bias=False,
    orders=(SHORTCUT_FIRST, SHORTCUT_FIRST_BASIC),
)
