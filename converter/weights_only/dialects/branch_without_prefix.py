"""The original's names without `res`: `2a_branch2a`, with `bn2a_branch2a` or `2a_branch2a_bn`."""

from converter.weights_only.dialect import Dialect, Row
from converter.weights_only.dialects.res_branch import DIALECT as RES_BRANCH

DIALECT = Dialect(
    name="branch-without-prefix",
    summary="2a_branch2a, bn2a_branch2a or 2a_branch2a_bn, …, fc1000",
    source="projects that shortened the names of keras-applications' resnet50.py",
    rows=(
        Row("conv1", "conv1"),
        Row("bn_conv1", "bn1"),
        Row("conv1_bn", "bn1"),
        Row("{stage}{block}_branch2a", "layer{layer}.{index}.conv1"),
        Row("{stage}{block}_branch2b", "layer{layer}.{index}.conv2"),
        Row("{stage}{block}_branch2c", "layer{layer}.{index}.conv3"),
        Row("{stage}{block}_branch1", "layer{layer}.{index}.downsample.0"),
        Row("bn{stage}{block}_branch2a", "layer{layer}.{index}.bn1"),
        Row("bn{stage}{block}_branch2b", "layer{layer}.{index}.bn2"),
        Row("bn{stage}{block}_branch2c", "layer{layer}.{index}.bn3"),
        Row("bn{stage}{block}_branch1", "layer{layer}.{index}.downsample.1"),
        Row("{stage}{block}_branch2a_bn", "layer{layer}.{index}.bn1"),
        Row("{stage}{block}_branch2b_bn", "layer{layer}.{index}.bn2"),
        Row("{stage}{block}_branch2c_bn", "layer{layer}.{index}.bn3"),
        Row("{stage}{block}_branch1_bn", "layer{layer}.{index}.downsample.1"),
    ),
    defaults=RES_BRANCH.defaults,
)
