"""Keras' example cifar10_resnet.py, version 2: 9n+2 layers, pre-activated bottlenecks."""

from converter.facts.defaults import Defaults
from converter.weights_only.dialect import Dialect

DIALECT = Dialect(
    name="cifar-v2",
    summary="conv2d_1, batch_normalization_1, …; a 3x3 stem, norms before convolutions",
    source="Keras' examples/cifar10_resnet.py (2.0.9 to 2.3.1), resnet_v2, and copies of it",
    rows=(),
    orders=(("bn1", "conv1", "bn2", "conv2", "bn3", "downsample.0", "conv3"),),
    first_order=(("conv1", "bn2", "conv2", "bn3", "downsample.0", "conv3"),),
    stem_kernel=3,
    required=("bn1", "norm"),
    defaults=Defaults(
        eps=1e-3,
        stem="same",
        stem_stride=1,
        pool="none",
        ending="avg_pool",
        ending_window=8,
        preactivation=True,
    ),
)
