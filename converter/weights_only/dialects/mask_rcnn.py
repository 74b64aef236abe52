"""The ResNet-50 or 101 inside a Mask R-CNN of matterport; the rest of the detector is left out."""

from converter.facts.defaults import Defaults
from converter.weights_only.dialect import Dialect
from converter.weights_only.dialects.res_branch import DIALECT as RES_BRANCH

PYRAMID = ("fpn_c5p5", "fpn_c4p4", "fpn_c3p3", "fpn_c2p2", "fpn_p5", "fpn_p4", "fpn_p3", "fpn_p2")
PROPOSALS = ("rpn_conv_shared", "rpn_class_raw", "rpn_bbox_pred")
CLASSES = (
    *("mrcnn_class_conv1", "mrcnn_class_bn1", "mrcnn_class_conv2", "mrcnn_class_bn2"),
    *("mrcnn_class_logits", "mrcnn_bbox_fc"),
)
MASKS = (
    *("mrcnn_mask_conv1", "mrcnn_mask_conv2", "mrcnn_mask_conv3", "mrcnn_mask_conv4"),
    *("mrcnn_mask_bn1", "mrcnn_mask_bn2", "mrcnn_mask_bn3", "mrcnn_mask_bn4"),
    *("mrcnn_mask_deconv", "mrcnn_mask"),
)

DIALECT = Dialect(
    name="mask-rcnn",
    summary="conv1, res2a_branch2a, …, fpn_c5p5, rpn_model, mrcnn_class_conv1: its backbone",
    source="matterport/Mask_RCNN 0038eff mrcnn/model.py, resnet_graph",
    rows=RES_BRANCH.rows,
    before=(2, 4),
    defaults=Defaults(eps=1e-3, pool="same", ending="avg_pool"),
    left_out=(*PYRAMID, *PROPOSALS, *CLASSES, *MASKS),
)
