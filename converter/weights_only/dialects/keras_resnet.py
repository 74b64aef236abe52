"""broadinstitute/keras-resnet 0.2 and keras-retinanet: the original's names, without biases."""

from converter.facts.defaults import Defaults
from converter.weights_only.dialect import LETTERS, NUMBERED, Dialect, Row
from converter.weights_only.dialects.res_branch import DIALECT as RES_BRANCH

EPSILON = 1.001e-5
"""The code says 1e-5; TensorFlow's fused kernel, which Keras 2 calls, raises what is below 1.001e-5
to that (tensorflow `python/ops/nn_impl.py`, fused_batch_norm: cuDNN's minimum). Seen in the record
of keras-resnet 0.2.0 on Keras 2.3.1."""

DIALECT = Dialect(
    name="keras-resnet",
    summary="conv1, bn_conv1, res2a_branch2a, res3b1_branch2a, …, fc1000; no biases",
    source="keras-resnet 0.2.0 blocks/_2d.py, models/_2d.py",
    rows=RES_BRANCH.rows,
    listed=(Row("res{stage}{block}", "sum"),),
    blocks=(LETTERS, NUMBERED),
    before=(2, 4),
    defaults=Defaults(
        eps=EPSILON,
        stem="same",
        pool="same",
        padding="pad",
        preprocessing="caffe",
        without_top="keras-resnet without a top gives the map of every stage; this gives the last",
    ),
    bias=False,
    signs=("conv1_relu", "pool1"),
)
