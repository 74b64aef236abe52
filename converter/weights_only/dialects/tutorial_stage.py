"""The tutorial with stages and blocks counted from 1; 'cov' is how its authors spell it."""

from converter.weights_only.dialect import Dialect, Row
from converter.weights_only.dialects.tutorial import DIALECT as TUTORIAL

DIALECT = Dialect(
    name="tutorial-stage",
    summary="stage_1_cov_block_1__conv_1, stage_1_identity_block_2__conv_1, …",
    source="copies of the tutorial; conv_4 is the shortcut",
    rows=(
        Row("conv1", "conv1"),
        Row("bn_conv1", "bn1"),
        Row("stage_{layer}_cov_block_{number}__conv_1", "layer{layer}.{index}.conv1"),
        Row("stage_{layer}_cov_block_{number}__bn_1", "layer{layer}.{index}.bn1"),
        Row("stage_{layer}_cov_block_{number}__conv_2", "layer{layer}.{index}.conv2"),
        Row("stage_{layer}_cov_block_{number}__bn_2", "layer{layer}.{index}.bn2"),
        Row("stage_{layer}_cov_block_{number}__conv_3", "layer{layer}.{index}.conv3"),
        Row("stage_{layer}_cov_block_{number}__bn_3", "layer{layer}.{index}.bn3"),
        Row("stage_{layer}_cov_block_{number}__conv_4", "layer{layer}.{index}.downsample.0"),
        Row("stage_{layer}_cov_block_{number}__bn_4", "layer{layer}.{index}.downsample.1"),
        Row("stage_{layer}_identity_block_{number}__conv_1", "layer{layer}.{index}.conv1"),
        Row("stage_{layer}_identity_block_{number}__bn_1", "layer{layer}.{index}.bn1"),
        Row("stage_{layer}_identity_block_{number}__conv_2", "layer{layer}.{index}.conv2"),
        Row("stage_{layer}_identity_block_{number}__bn_2", "layer{layer}.{index}.bn2"),
        Row("stage_{layer}_identity_block_{number}__conv_3", "layer{layer}.{index}.conv3"),
        Row("stage_{layer}_identity_block_{number}__bn_3", "layer{layer}.{index}.bn3"),
    ),
    defaults=TUTORIAL.defaults,
)
