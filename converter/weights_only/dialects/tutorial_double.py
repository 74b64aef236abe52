"""The tutorial with two underscores behind the block, as some copies of it write."""

from converter.facts.defaults import Defaults
from converter.weights_only.dialect import Dialect, Row

DIALECT = Dialect(
    name="tutorial-double",
    summary="2a__conv_block_conv1, 2b__identity_block_bn2, 2a__conv_block_res_conv, …, fc1000",
    source="ResNet-50 tutorial code for tf.keras 2.x (365-day deep learning training camp)",
    rows=(
        Row("conv1", "conv1"),
        Row("bn_conv1", "bn1"),
        Row("{stage}{block}__conv_block_conv1", "layer{layer}.{index}.conv1"),
        Row("{stage}{block}__conv_block_bn1", "layer{layer}.{index}.bn1"),
        Row("{stage}{block}__conv_block_conv2", "layer{layer}.{index}.conv2"),
        Row("{stage}{block}__conv_block_bn2", "layer{layer}.{index}.bn2"),
        Row("{stage}{block}__conv_block_conv3", "layer{layer}.{index}.conv3"),
        Row("{stage}{block}__conv_block_bn3", "layer{layer}.{index}.bn3"),
        Row("{stage}{block}__conv_block_res_conv", "layer{layer}.{index}.downsample.0"),
        Row("{stage}{block}__conv_block_res_bn", "layer{layer}.{index}.downsample.1"),
        Row("{stage}{block}__identity_block_conv1", "layer{layer}.{index}.conv1"),
        Row("{stage}{block}__identity_block_bn1", "layer{layer}.{index}.bn1"),
        Row("{stage}{block}__identity_block_conv2", "layer{layer}.{index}.conv2"),
        Row("{stage}{block}__identity_block_bn2", "layer{layer}.{index}.bn2"),
        Row("{stage}{block}__identity_block_conv3", "layer{layer}.{index}.conv3"),
        Row("{stage}{block}__identity_block_bn3", "layer{layer}.{index}.bn3"),
    ),
    defaults=Defaults(eps=1e-3, pool="valid", ending="avg_pool", preprocessing="raw"),
)
