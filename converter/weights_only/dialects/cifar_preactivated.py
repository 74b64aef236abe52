"""BIGBALLON/cifar-10-cnn's ResNet and Wide ResNet: no norm behind the stem, norms first."""

from dataclasses import replace

from converter.weights_only.dialects.wide_resnet_plain_stem import DIALECT as PLAIN_STEM

DIALECT = replace(
    PLAIN_STEM,
    name="cifar-preactivated",
    summary="conv2d_1, batch_normalization_1, …; a 3x3 stem without a norm, norms first",
    source="BIGBALLON/cifar-10-cnn 30db1f4 4_Residual_Network, 5_Wide_Residual_Network",
    bias=None,
    defaults=replace(PLAIN_STEM.defaults, eps=1e-5, momentum=0.9, ending="global"),
)
