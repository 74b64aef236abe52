"""keras-applications' ResNet50/101/152 since 1.0.5, tf.keras.applications, Keras 3."""

from converter.facts.defaults import Defaults
from converter.weights_only.dialect import Dialect, Row

SHORTCUT_FIRST = (
    *("conv1", "bn1", "conv2", "bn2"),
    *("downsample.0", "conv3", "downsample.1", "bn3"),
)
SHORTCUT_FIRST_BASIC = ("conv1", "bn1", "downsample.0", "conv2", "downsample.1", "bn2")
"""A sum of (shortcut, block): the shortcut's layers stand before the block's last."""

DIALECT = Dialect(
    name="conv-block",
    summary="conv1_conv, conv1_bn, conv2_block1_1_conv, conv2_block1_1_bn, …, predictions",
    source="keras-applications 1.0.8 resnet_common.py, keras 2.4 to 3.15 applications/resnet.py",
    rows=(
        Row("conv1_conv", "conv1"),
        Row("conv1_bn", "bn1"),
        Row("conv{stage}_block{number}_1_conv", "layer{layer}.{index}.conv1"),
        Row("conv{stage}_block{number}_1_bn", "layer{layer}.{index}.bn1"),
        Row("conv{stage}_block{number}_2_conv", "layer{layer}.{index}.conv2"),
        Row("conv{stage}_block{number}_2_bn", "layer{layer}.{index}.bn2"),
        Row("conv{stage}_block{number}_3_conv", "layer{layer}.{index}.conv3"),
        Row("conv{stage}_block{number}_3_bn", "layer{layer}.{index}.bn3"),
        Row("conv{stage}_block{number}_0_conv", "layer{layer}.{index}.downsample.0"),
        Row("conv{stage}_block{number}_0_bn", "layer{layer}.{index}.downsample.1"),
    ),
    defaults=Defaults(eps=1.001e-5, pool="zero", ending="global", preprocessing="caffe"),
    listed=(Row("conv{stage}_block{number}_out", "activation"),),
    required=("bn1",),
    bias=True,
    orders=(SHORTCUT_FIRST,),
)
