"""The kinds of layers: each in a file of its own, and a line here that makes it known.

An op holds what is known of its kind on this side: settings, tensors, the shape that it gives, what
cannot be, and its torch module (`resnet_pt.ops.protocol.Op`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Union

from resnet_pt.ops.activation import Activation as Activation
from resnet_pt.ops.add import Add as Add
from resnet_pt.ops.around import Crop as Crop
from resnet_pt.ops.around import Pad as Pad
from resnet_pt.ops.arranging import DepthToSpace as DepthToSpace
from resnet_pt.ops.arranging import Permute as Permute
from resnet_pt.ops.arranging import Pick as Pick
from resnet_pt.ops.arranging import RepeatVector as RepeatVector
from resnet_pt.ops.arranging import Reshape as Reshape
from resnet_pt.ops.arranging import Reverse as Reverse
from resnet_pt.ops.arranging import Slice as Slice
from resnet_pt.ops.arranging import SpaceToDepth as SpaceToDepth
from resnet_pt.ops.attention import Attention as Attention
from resnet_pt.ops.attention import MultiHead as MultiHead
from resnet_pt.ops.axis_norm import AxisNorm as AxisNorm
from resnet_pt.ops.channels import Channels as Channels
from resnet_pt.ops.combine import Combine as Combine
from resnet_pt.ops.combine import Concatenate as Concatenate
from resnet_pt.ops.combine import Dot as Dot
from resnet_pt.ops.combine import Linear as Linear
from resnet_pt.ops.concat import Concat as Concat
from resnet_pt.ops.conv import Conv as Conv
from resnet_pt.ops.conv_nd import ConvNd as ConvNd
from resnet_pt.ops.conv_transpose import ConvTranspose as ConvTranspose
from resnet_pt.ops.dense import Dense as Dense
from resnet_pt.ops.dense_last import DenseLast as DenseLast
from resnet_pt.ops.dropout import Dropout as Dropout
from resnet_pt.ops.einsum_dense import EinsumDense as EinsumDense
from resnet_pt.ops.elementwise import ELU as ELU
from resnet_pt.ops.elementwise import Clamp as Clamp
from resnet_pt.ops.elementwise import Clipped as Clipped
from resnet_pt.ops.elementwise import Elementwise as Elementwise
from resnet_pt.ops.elementwise import HardSigmoid as HardSigmoid
from resnet_pt.ops.elementwise import Thresholded as Thresholded
from resnet_pt.ops.embedding import Embedding as Embedding
from resnet_pt.ops.flatten import Flatten as Flatten
from resnet_pt.ops.global_pool import GlobalPool as GlobalPool
from resnet_pt.ops.layer_norm import GroupNorm as GroupNorm
from resnet_pt.ops.layer_norm import LayerNorm as LayerNorm
from resnet_pt.ops.layer_norm import UnitNorm as UnitNorm
from resnet_pt.ops.leaky_relu import LeakyReLU as LeakyReLU
from resnet_pt.ops.norm import Norm as Norm
from resnet_pt.ops.over_axis import Reduce as Reduce
from resnet_pt.ops.over_axis import Softmax as Softmax
from resnet_pt.ops.pool import Pool as Pool
from resnet_pt.ops.pool_nd import PoolNd as PoolNd
from resnet_pt.ops.prelu import PReLU as PReLU
from resnet_pt.ops.protocol import Factor as Factor
from resnet_pt.ops.protocol import MisfitError as MisfitError
from resnet_pt.ops.protocol import Op as Op
from resnet_pt.ops.protocol import Shape as Shape
from resnet_pt.ops.protocol import Tensor as Tensor
from resnet_pt.ops.recurrent import GRU as GRU
from resnet_pt.ops.recurrent import LSTM as LSTM
from resnet_pt.ops.recurrent import SimpleRNN as SimpleRNN
from resnet_pt.ops.rescaling import Rescaling as Rescaling
from resnet_pt.ops.resize import Resize as Resize
from resnet_pt.ops.resize import Upsample as Upsample
from resnet_pt.ops.scale import Scale as Scale
from resnet_pt.ops.slopes import SharedPReLU as SharedPReLU
from resnet_pt.ops.slopes import Weighted as Weighted
from resnet_pt.ops.supplied import Supplied as Supplied
from resnet_pt.ops.window import Padding as Padding


def _kinds(base: type[Op]) -> Iterator[type[Op]]:
    """The ops themselves; a class that others are made of is none."""
    for one in base.__subclasses__():
        if one.__subclasses__():
            yield from _kinds(one)
        else:
            yield one


if TYPE_CHECKING:
    AnyOp = Op
else:
    AnyOp = Union[tuple(_kinds(Op))]  # noqa: UP007  what msgspec tells apart by their tags
