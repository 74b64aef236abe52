"""Published copies of the original that name no layer: ImageAI, and many a course's ResNet-50."""

from converter.facts.defaults import Defaults
from converter.weights_only.dialect import Dialect
from converter.weights_only.dialects.res_branch import MAIN_FIRST, MAIN_FIRST_BASIC

DIALECT = Dialect(
    name="auto-main-first",
    summary="conv2d_1, batch_normalization_1, …; sums of (block, shortcut)",
    source="imageai 2.0.2 Prediction/ResNet/resnet50.py; copies of deep-learning-models",
    rows=(),
    orders=(MAIN_FIRST, MAIN_FIRST_BASIC),
    defaults=Defaults(eps=1e-3, pool="valid", ending="avg_pool"),
)
