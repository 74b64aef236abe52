"""keras-hub's ResNetV2: pre-activated, its pool padded with -inf."""

from dataclasses import replace

from converter.weights_only.dialect import Dialect, Row
from converter.weights_only.dialects.keras_hub import DEFAULTS

DIALECT = Dialect(
    name="keras-hub-v2",
    summary="conv1_conv, stack0_block0_pre_activation_bn, stack0_block0_1_conv, …, post_bn",
    source="keras-hub 0.32 models/resnet/resnet_backbone.py, use_pre_activation",
    rows=(
        Row("conv1_conv", "conv1"),
        Row("stack{stack}_block{index}_pre_activation_bn", "layer{layer}.{index}.bn1"),
        Row("stack{stack}_block{index}_1_conv", "layer{layer}.{index}.conv1"),
        Row("stack{stack}_block{index}_1_bn", "layer{layer}.{index}.bn2"),
        Row("stack{stack}_block{index}_2_conv", "layer{layer}.{index}.conv2"),
        Row("stack{stack}_block{index}_2_bn", "layer{layer}.{index}.bn3"),
        Row("stack{stack}_block{index}_3_conv", "layer{layer}.{index}.conv3"),
        Row("stack{stack}_block{index}_0_conv", "layer{layer}.{index}.downsample.0"),
        Row("post_bn", "norm"),
    ),
    listed=(Row("stack{stack}_block{index}_out", "sum"),),
    defaults=replace(
        DEFAULTS,
        pool="inf",
        preactivation=True,
        shortcut_on="preactivation",
        preprocessing="tf",
    ),
    required=("norm", "layer1.0.bn1"),
    bias=False,
)
