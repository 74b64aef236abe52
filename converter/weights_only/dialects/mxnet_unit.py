"""image-classifiers (qubvel/classification_models): MXNet's pre-activated ResNets."""

from converter.facts.defaults import Defaults
from converter.weights_only.dialect import Dialect, Row

DIALECT = Dialect(
    name="mxnet-unit",
    summary="bn_data, conv0, bn0, stage1_unit1_bn1, stage1_unit1_conv1, …, bn1, fc1",
    source="image-classifiers 1.0.0 models/resnet.py",
    rows=(
        Row("bn_data", "bn_data"),
        Row("conv0", "conv1"),
        Row("bn0", "bn1"),
        Row("stage{layer}_unit{number}_bn1", "layer{layer}.{index}.bn1"),
        Row("stage{layer}_unit{number}_conv1", "layer{layer}.{index}.conv1"),
        Row("stage{layer}_unit{number}_bn2", "layer{layer}.{index}.bn2"),
        Row("stage{layer}_unit{number}_conv2", "layer{layer}.{index}.conv2"),
        Row("stage{layer}_unit{number}_bn3", "layer{layer}.{index}.bn3"),
        Row("stage{layer}_unit{number}_conv3", "layer{layer}.{index}.conv3"),
        Row("stage{layer}_unit{number}_sc", "layer{layer}.{index}.downsample.0"),
        Row("bn1", "norm"),
    ),
    defaults=Defaults(
        eps=2e-5,
        pool="zero",
        stride_on="3x3",
        padding="pad",
        preactivation=True,
        shortcut_on="preactivation",
        preprocessing="raw",
    ),
    required=("bn_data", "bn1", "norm"),
)
