"""The original: fchollet/deep-learning-models, Keras up to 2.2, keras-applications' resnet50."""

from converter.facts.defaults import Defaults
from converter.weights_only.dialect import Dialect, Row

MAIN_FIRST = (
    *("conv1", "bn1", "conv2", "bn2"),
    *("conv3", "downsample.0", "bn3", "downsample.1"),
)
MAIN_FIRST_BASIC = ("conv1", "bn1", "conv2", "downsample.0", "bn2", "downsample.1")
"""A sum of (block, shortcut): the block's last layer stands before the shortcut's."""

DIALECT = Dialect(
    name="res-branch",
    summary="conv1, bn_conv1, res2a_branch2a, bn2a_branch2a, …, fc1000",
    source="keras-applications 1.0.8 resnet50.py; deep-learning-models 13d7762 … 63d19ac",
    rows=(
        Row("conv1", "conv1"),
        Row("bn_conv1", "bn1"),
        Row("res{stage}{block}_branch2a", "layer{layer}.{index}.conv1"),
        Row("bn{stage}{block}_branch2a", "layer{layer}.{index}.bn1"),
        Row("res{stage}{block}_branch2b", "layer{layer}.{index}.conv2"),
        Row("bn{stage}{block}_branch2b", "layer{layer}.{index}.bn2"),
        Row("res{stage}{block}_branch2c", "layer{layer}.{index}.conv3"),
        Row("bn{stage}{block}_branch2c", "layer{layer}.{index}.bn3"),
        Row("res{stage}{block}_branch1", "layer{layer}.{index}.downsample.0"),
        Row("bn{stage}{block}_branch1", "layer{layer}.{index}.downsample.1"),
    ),
    before=(2, 4),
    defaults=Defaults(eps=1e-3, pool="valid", ending="avg_pool", preprocessing="caffe"),
    bias=True,
    orders=(MAIN_FIRST, MAIN_FIRST_BASIC),
)
