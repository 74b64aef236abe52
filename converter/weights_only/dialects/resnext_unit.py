"""image-classifiers' (qubvel/classification_models) ResNeXt: MXNet's, activated after the norms."""

from converter.facts.defaults import Defaults
from converter.weights_only.dialect import Dialect, Row

DIALECT = Dialect(
    name="resnext-unit",
    summary="bn_data, conv0, bn0, stage1_unit1_conv1, conv2d_1 … conv2d_32, stage1_unit1_conv3, …",
    source="image-classifiers 1.0.0 models/resnext.py",
    rows=(
        Row("bn_data", "bn_data"),
        Row("conv0", "conv1"),
        Row("bn0", "bn1"),
        Row("stage{layer}_unit{number}_conv1", "layer{layer}.{index}.conv1"),
        Row("stage{layer}_unit{number}_bn1", "layer{layer}.{index}.bn1"),
        Row("stage{layer}_unit{number}_conv2", "layer{layer}.{index}.conv2"),  # see groups.py
        Row("stage{layer}_unit{number}_bn2", "layer{layer}.{index}.bn2"),
        Row("stage{layer}_unit{number}_conv3", "layer{layer}.{index}.conv3"),
        Row("stage{layer}_unit{number}_bn3", "layer{layer}.{index}.bn3"),
        Row("stage{layer}_unit{number}_sc", "layer{layer}.{index}.downsample.0"),
        Row("stage{layer}_unit{number}_sc_bn", "layer{layer}.{index}.downsample.1"),
    ),
    defaults=Defaults(
        eps=2e-5,
        pool="zero",
        stride_on="3x3",
        padding="pad",
        grouped=True,
        preprocessing="raw",
    ),
    required=("bn_data", "bn1", "layer1.0.downsample.1"),
)
