"""flyyufelix/cnn_finetune's ResNet-101 and 152: a Scale layer behind every norm."""

from converter.facts.defaults import Defaults
from converter.weights_only.dialect import LETTERS, NUMBERED, Dialect, Row

DIALECT = Dialect(
    name="caffe-scale",
    summary="conv1, bn_conv1, scale_conv1, res2a_branch2a, bn2a_branch2a, scale2a_branch2a, …",
    source="cnn_finetune cba3439 resnet_101.py, resnet_152.py",
    rows=(
        Row("conv1", "conv1"),
        Row("bn_conv1", "bn1"),
        Row("scale_conv1", "bn1.scale"),
        Row("res{stage}{block}_branch2a", "layer{layer}.{index}.conv1"),
        Row("bn{stage}{block}_branch2a", "layer{layer}.{index}.bn1"),
        Row("scale{stage}{block}_branch2a", "layer{layer}.{index}.bn1.scale"),
        Row("res{stage}{block}_branch2b", "layer{layer}.{index}.conv2"),
        Row("bn{stage}{block}_branch2b", "layer{layer}.{index}.bn2"),
        Row("scale{stage}{block}_branch2b", "layer{layer}.{index}.bn2.scale"),
        Row("res{stage}{block}_branch2c", "layer{layer}.{index}.conv3"),
        Row("bn{stage}{block}_branch2c", "layer{layer}.{index}.bn3"),
        Row("scale{stage}{block}_branch2c", "layer{layer}.{index}.bn3.scale"),
        Row("res{stage}{block}_branch1", "layer{layer}.{index}.downsample.0"),
        Row("bn{stage}{block}_branch1", "layer{layer}.{index}.downsample.1"),
        Row("scale{stage}{block}_branch1", "layer{layer}.{index}.downsample.1.scale"),
    ),
    blocks=(LETTERS, NUMBERED),
    before=(2, 4),
    defaults=Defaults(
        eps=1.1e-5, pool="valid", padding="pad", ending="avg_pool", preprocessing="caffe"
    ),
    required=("bn1.scale", "layer1.0.bn1.scale"),
)
