"""The original's names in a project's own code, whose convolutions have no bias."""

from dataclasses import replace

from converter.weights_only.dialects.res_branch import DIALECT as RES_BRANCH

DIALECT = replace(
    RES_BRANCH,
    name="res-branch-no-bias",
    summary="conv1, bn_conv1, res2a_branch2a, …, fc1000; no biases, and not keras-resnet's layers",
    source="projects' own code under the names of keras-applications' resnet50.py",
    before=None,
    bias=False,
    orders=(),
)
