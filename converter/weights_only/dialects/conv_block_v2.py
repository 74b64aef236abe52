"""keras-applications' ResNet50V2, 101V2, 152V2: pre-activated, stride in a stage's last block."""

from converter.facts.defaults import Defaults
from converter.weights_only.dialect import Dialect, Row

DIALECT = Dialect(
    name="conv-block-v2",
    summary="conv1_conv, conv2_block1_preact_bn, conv2_block1_1_conv, …, post_bn, predictions",
    source="keras-applications 1.0.8 resnet_common.py, keras 2.4 to 3.15 applications/resnet.py",
    rows=(
        Row("conv1_conv", "conv1"),
        Row("conv{stage}_block{number}_preact_bn", "layer{layer}.{index}.bn1"),
        Row("conv{stage}_block{number}_1_conv", "layer{layer}.{index}.conv1"),
        Row("conv{stage}_block{number}_1_bn", "layer{layer}.{index}.bn2"),
        Row("conv{stage}_block{number}_2_conv", "layer{layer}.{index}.conv2"),
        Row("conv{stage}_block{number}_2_bn", "layer{layer}.{index}.bn3"),
        Row("conv{stage}_block{number}_3_conv", "layer{layer}.{index}.conv3"),
        Row("conv{stage}_block{number}_0_conv", "layer{layer}.{index}.downsample.0"),
        Row("post_bn", "norm"),
    ),
    defaults=Defaults(
        eps=1.001e-5,
        pool="zero",
        stride_on="3x3",
        padding="pad",
        preactivation=True,
        shortcut_on="preactivation",
        stride_in="last",
        unstrided_stage="last",
        preprocessing="tf",
    ),
    listed=(Row("conv{stage}_block{number}_out", "sum"),),
    required=("norm", "layer1.0.bn1"),
    orders=(("bn1", "conv1", "bn2", "conv2", "bn3", "downsample.0", "conv3"),),
    bias=True,
)
