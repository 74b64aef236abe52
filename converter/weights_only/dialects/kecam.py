"""keras-cv-attention-models' AotNet: ResNet and ResNeXt, torch's paddings, stride on the 3x3."""

from converter.facts.defaults import Defaults
from converter.weights_only.dialect import Dialect, Row

BLOCKS = (
    Row("stack{layer}_block{number}_deep_1_conv", "layer{layer}.{index}.conv1"),
    Row("stack{layer}_block{number}_deep_1_bn", "layer{layer}.{index}.bn1"),
    Row("stack{layer}_block{number}_deep_2_conv", "layer{layer}.{index}.conv2"),
    Row("stack{layer}_block{number}_deep_2_GC_conv", "layer{layer}.{index}.conv2"),  # grouped
    Row("stack{layer}_block{number}_deep_2_bn", "layer{layer}.{index}.bn2"),
    Row("stack{layer}_block{number}_deep_3_conv", "layer{layer}.{index}.conv3"),
    Row("stack{layer}_block{number}_3_bn", "layer{layer}.{index}.bn3"),
    Row("stack{layer}_block{number}_shortcut_conv", "layer{layer}.{index}.downsample.0"),
    Row("stack{layer}_block{number}_shortcut_bn", "layer{layer}.{index}.downsample.1"),
)

LISTED = (Row("stack{layer}_block{number}_output", "nothing"),)
"""An Activation('linear') behind every block."""

DEFAULTS = Defaults(
    eps=1.001e-5,  # the code says 1e-5; TensorFlow's fused kernel raises it (see keras_resnet.py)
    momentum=0.9,
    pool="zero",
    stride_on="3x3",
    padding="pad",
    grouped=True,
    preprocessing="torch",
)

DIALECT = Dialect(
    name="kecam",
    summary="stem_conv, stem_bn, stack1_block1_deep_1_conv, …, stack1_block1_3_bn, predictions",
    source="keras-cv-attention-models 1.4.1 aotnet/aotnet.py",
    rows=(
        Row("stem_conv", "conv1"),
        Row("stem_bn", "bn1"),
        *BLOCKS,
    ),
    listed=LISTED,
    defaults=DEFAULTS,
    required=("bn1",),
    bias=False,
)
