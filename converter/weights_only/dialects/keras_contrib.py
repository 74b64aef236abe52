"""keras-contrib's ResNet: raghakot's, with a norm in the shortcuts; one layer is named."""

from converter.facts.defaults import Defaults
from converter.weights_only.dialect import Dialect

DIALECT = Dialect(
    name="keras-contrib",
    summary="conv2d_1, batch_normalization_1, res0a_branch2a, …; norms before convolutions",
    source="keras-contrib bd3f4d7 applications/resnet.py",
    rows=(),
    orders=(
        ("bn1", "conv1", "bn2", "conv2", "bn3", "downsample.0", "downsample.1", "conv3"),
        ("bn1", "conv1", "bn2", "downsample.0", "downsample.1", "conv2"),
    ),
    first_order=(
        ("conv1", "bn2", "conv2", "downsample.0", "bn3", "downsample.1", "conv3"),
        ("conv1", "bn2", "downsample.0", "downsample.1", "conv2"),
    ),
    stem_kernel=7,
    before=(2, 4),
    required=("bn1", "norm"),
    defaults=Defaults(eps=1e-3, stem="same", pool="same", preactivation=True, first_stage_stride=2),
)
