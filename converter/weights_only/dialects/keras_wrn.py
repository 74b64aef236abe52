"""EricAlcaide's keras-wrn: titu1994's Wide ResNet with biases and Keras' own epsilon."""

from dataclasses import replace

from converter.weights_only.dialects.wide_resnet import DIALECT as WIDE_RESNET

DIALECT = replace(
    WIDE_RESNET,
    name="keras-wrn",
    summary="conv2d_1, batch_normalization_1, …; a 3x3 stem with a norm, norms first, biases",
    source="keras-wrn 0.2 keras_wrn/wrn.py",
    bias=True,
    defaults=replace(WIDE_RESNET.defaults, eps=1e-3, momentum=0.99),
)
