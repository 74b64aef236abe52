"""Networks of Keras 0.x, in the order in which their layers were added."""

from converter.facts.defaults import Defaults
from converter.weights_only.dialect import Dialect

DIALECT = Dialect(
    name="keras-0",
    summary="layer_0, layer_1, …; each block's own layers, then those of its shortcut",
    source="keras 0.3.3 models.py: a model's layers are saved as they were added",
    rows=(),
    before=(1,),
    orders=(
        ("conv1", "bn1", "conv2", "bn2", "conv3", "bn3", "downsample.0", "downsample.1"),
        ("conv1", "bn1", "conv2", "bn2", "downsample.0", "downsample.1"),
    ),
    defaults=Defaults(eps=1e-3, pool="valid", ending="avg_pool"),
)
