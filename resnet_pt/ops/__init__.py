"""The kinds of layers: each in a file of its own, and a line here that makes it known.

An op holds what is known of its kind on this side: settings, tensors, the shape that it gives, what
cannot be, and its torch module (`resnet_pt.ops.protocol.Op`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Union

from resnet_pt.ops.activation import Activation as Activation
from resnet_pt.ops.add import Add as Add
from resnet_pt.ops.channels import Channels as Channels
from resnet_pt.ops.concat import Concat as Concat
from resnet_pt.ops.conv import Conv as Conv
from resnet_pt.ops.dense import Dense as Dense
from resnet_pt.ops.dropout import Dropout as Dropout
from resnet_pt.ops.flatten import Flatten as Flatten
from resnet_pt.ops.global_pool import GlobalPool as GlobalPool
from resnet_pt.ops.leaky_relu import LeakyReLU as LeakyReLU
from resnet_pt.ops.norm import Norm as Norm
from resnet_pt.ops.pool import Pool as Pool
from resnet_pt.ops.prelu import PReLU as PReLU
from resnet_pt.ops.protocol import Factor as Factor
from resnet_pt.ops.protocol import MisfitError as MisfitError
from resnet_pt.ops.protocol import Op as Op
from resnet_pt.ops.protocol import Shape as Shape
from resnet_pt.ops.protocol import Tensor as Tensor
from resnet_pt.ops.rescaling import Rescaling as Rescaling
from resnet_pt.ops.scale import Scale as Scale
from resnet_pt.ops.window import Padding as Padding

if TYPE_CHECKING:
    AnyOp = Op
else:
    AnyOp = Union[tuple(Op.__subclasses__())]  # noqa: UP007  what msgspec tells apart by their tags
