"""Keras' example cifar10_resnet.py, version 1: 6n+2 layers, shortcuts without a norm."""

from converter.facts.defaults import Defaults
from converter.weights_only.dialect import Dialect

DIALECT = Dialect(
    name="cifar-v1",
    summary="conv2d_1, batch_normalization_1, …; a 3x3 stem, shortcuts without a norm",
    source="Keras' examples/cifar10_resnet.py (2.0.9 to 2.3.1), resnet_v1, and copies of it",
    rows=(),
    orders=(("conv1", "bn1", "conv2", "downsample.0", "bn2"),),
    stem_kernel=3,
    defaults=Defaults(
        eps=1e-3, stem="same", stem_stride=1, pool="none", ending="avg_pool", ending_window=8
    ),
)
