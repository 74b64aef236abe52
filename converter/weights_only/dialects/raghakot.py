"""raghakot/keras-resnet: pre-activated networks of 18 to 152 layers, all names Keras' own."""

from converter.facts.defaults import Defaults
from converter.weights_only.dialect import Dialect

DIALECT = Dialect(
    name="raghakot",
    summary="conv2d_1, batch_normalization_1, …; norms before convolutions, plain shortcuts",
    source="raghakot/keras-resnet 5e9bcca resnet.py",
    rows=(),
    orders=(
        ("bn1", "conv1", "bn2", "conv2", "bn3", "downsample.0", "conv3"),
        ("bn1", "conv1", "bn2", "downsample.0", "conv2"),
    ),
    first_order=(
        ("conv1", "bn2", "conv2", "bn3", "downsample.0", "conv3"),
        ("conv1", "bn2", "downsample.0", "conv2"),
    ),
    stem_kernel=7,
    before=(2, 4),
    required=("bn1", "norm"),
    defaults=Defaults(eps=1e-3, stem="same", pool="same", preactivation=True),
)
