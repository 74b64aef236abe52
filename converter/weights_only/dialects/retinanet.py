"""The ResNet inside a keras-retinanet detector; the rest of the detector is left out."""

from converter.weights_only.dialect import Dialect
from converter.weights_only.dialects.keras_resnet import DIALECT as KERAS_RESNET

DIALECT = Dialect(
    name="keras-retinanet",
    summary="conv1, res2a_branch2a, …, C5_reduced, P5, classification_submodel: its backbone",
    source="fizyr/keras-retinanet 0.5 models/retinanet.py, models/resnet.py",
    rows=KERAS_RESNET.rows,
    blocks=KERAS_RESNET.blocks,
    before=KERAS_RESNET.before,
    defaults=KERAS_RESNET.defaults,
    bias=False,
    left_out=(
        *("C5_reduced", "C4_reduced", "C3_reduced", "P3", "P4", "P5", "P6", "P7"),
        *("pyramid_regression", "pyramid_classification"),
        *(f"pyramid_regression_{number}" for number in range(4)),
        *(f"pyramid_classification_{number}" for number in range(4)),
    ),
)
