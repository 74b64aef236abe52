"""asmith26's Wide ResNet: no norm behind the stem; projections read their block's first norm."""

from dataclasses import replace

from converter.weights_only.dialects.wide_resnet import DIALECT as WIDE_RESNET

DIALECT = replace(
    WIDE_RESNET,
    name="wide-resnet-plain-stem",
    summary="conv2d_1, conv2d_2, …; a 3x3 stem without a norm, norms first, no biases",
    source="asmith26/wide_resnets_keras 01a012c main.py; yu4u/age-gender-estimation",
    first_order=(),
    projects_first=False,
    required=("norm",),
    defaults=replace(WIDE_RESNET.defaults, eps=1e-3, momentum=0.99),
)
