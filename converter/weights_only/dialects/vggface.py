"""keras-vggface's RESNET50; its layers' names contain slashes."""

from converter.facts.defaults import Defaults
from converter.weights_only.dialect import Dialect, Row

DIALECT = Dialect(
    name="vggface",
    summary="conv1/7x7_s2, conv1/7x7_s2/bn, conv2_1_1x1_reduce, conv2_1_1x1_reduce/bn, …",
    source="keras-vggface 0.6 models.py",
    rows=(
        Row("conv1/7x7_s2", "conv1"),
        Row("conv1/7x7_s2/bn", "bn1"),
        Row("conv{stage}_{number}_1x1_reduce", "layer{layer}.{index}.conv1"),
        Row("conv{stage}_{number}_1x1_reduce/bn", "layer{layer}.{index}.bn1"),
        Row("conv{stage}_{number}_3x3", "layer{layer}.{index}.conv2"),
        Row("conv{stage}_{number}_3x3/bn", "layer{layer}.{index}.bn2"),
        Row("conv{stage}_{number}_1x1_increase", "layer{layer}.{index}.conv3"),
        Row("conv{stage}_{number}_1x1_increase/bn", "layer{layer}.{index}.bn3"),
        Row("conv{stage}_{number}_1x1_proj", "layer{layer}.{index}.downsample.0"),
        Row("conv{stage}_{number}_1x1_proj/bn", "layer{layer}.{index}.downsample.1"),
    ),
    before=(2, 4),
    defaults=Defaults(eps=1e-3, stem="same", pool="valid", ending="avg_pool"),
)
