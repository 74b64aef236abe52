"""How each kind of layer is written in torch: what makes its module, and what calls it.

One entry in `WRITTEN` for each op; what is not there, or cannot be said, is refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from converter.source.identifiers import literal
from resnet_pt import ops
from resnet_pt.ops import Op, Shape
from resnet_pt.ops.elementwise import SIXTH


class UnwrittenError(ValueError):
    """A layer that no expression is known for; its words follow the layer's name."""


@dataclass(frozen=True, slots=True)
class Written:
    """`made` is what makes the layer's module, '' for one without; `call` is what computes the
    layer. `frozen` are parameters that are not trained. `is_infix` says that the call has to stand
    in brackets where something is called of it."""

    call: str
    made: str = ""
    frozen: tuple[str, ...] = ()
    is_infix: bool = False


@dataclass(frozen=True, slots=True)
class Site:
    """Where a layer is written: the shapes that it reads, its module's name in the source
    ('self.conv1'), and the expressions that it reads."""

    shapes: tuple[Shape, ...]
    me: str
    args: tuple[str, ...]

    @property
    def x(self) -> str:
        return self.args[0]

    @property
    def rank(self) -> int:
        """The axes behind the batch of what it reads first."""
        return len(self.shapes[0])


def written(op: Op, site: Site) -> Written:
    """A layer as source. Raises UnwrittenError."""
    write = WRITTEN.get(type(op))
    if write is None:
        raise UnwrittenError(f"is a {op.words()}, which is not written as source")
    found = write(op, site)
    return found if isinstance(found, Written) else Written(found)


def _call(name: str, *arguments: Any, **named: Any) -> str:
    """A call with literal arguments."""
    words = [literal(one) for one in arguments]
    words += [f"{key}={literal(one)}" for key, one in named.items()]
    return f"{name}({', '.join(words)})"


def _plain(numbers: Sequence[int]) -> Any:
    """One number where all are alike."""
    return numbers[0] if len(set(numbers)) == 1 else tuple(numbers)


# ---- windows


def _around(op: Any) -> Any:
    """What is set around a map: 'same', or (before, after) for each axis."""
    around = getattr(op, "around", None)
    if around is not None:
        return around
    if isinstance(op.padding, int):
        return ((op.padding, op.padding),) * 2
    if op.padding == "same":
        return "same"
    left, right, top, bottom = op.padding
    return ((top, bottom), (left, right))


def _settled(op: Any, dilation: Sequence[int]) -> Any:
    """The same, where 'same' does not depend on the size: with stride 1 it is the same for all."""
    around = _around(op)
    if around != "same" or set(op.stride) != {1}:
        return around
    totals = [d * (k - 1) for k, d in zip(op.kernel, dilation, strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)


def _pads(around: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """As F.pad takes them, up to the last axis with any."""
    while around and not any(around[0]):
        around = around[1:]
    return tuple(amount for pair in reversed(around) for amount in pair)


def _even(around: Any) -> tuple[int, ...] | None:
    """What torch's `padding=` says: as much before as after each axis."""
    if around == "same" or any(before != after for before, after in around):
        return None
    return tuple(before for before, _ in around)


def _padded(x: str, op: Any, dilation: Sequence[int], fill: float = 0.0) -> str:
    """An expression for a map with what its window wants around it."""
    around = _settled(op, dilation)
    named = "" if fill == 0.0 else f", value={literal(fill)}"
    if around == "same":
        words = ", ".join(literal(tuple(one)) for one in (op.kernel, op.stride, dilation))
        return f"pad_same({x}, {words}{named})"
    if not any(map(any, around)):
        return x
    return f"F.pad({x}, {literal(_pads(around))}{named})"


def _turned(x: str, rank: int) -> str:
    """A sequence (N, T, C) as (N, C, T), and back."""
    return f"{x}.transpose(1, 2)" if rank == 2 else x


def _conv(op: Any, site: Site) -> Written:
    axes = len(op.kernel)
    even = _even(_settled(op, op.dilation))
    named: dict[str, Any] = {}
    if set(op.stride) != {1}:
        named["stride"] = _plain(op.stride)
    if even and any(even):
        named["padding"] = _plain(even)
    if set(op.dilation) != {1}:
        named["dilation"] = _plain(op.dilation)
    if op.groups != 1:
        named["groups"] = op.groups
    if not op.bias:
        named["bias"] = False
    made = _call(f"nn.Conv{axes}d", op.in_channels, op.out_channels, _plain(op.kernel), **named)
    x = _turned(site.x, site.rank)
    x = x if even else _padded(x, op, op.dilation)
    return Written(_turned(f"{site.me}({x})", site.rank), made)


def _conv_transpose(op: ops.ConvTranspose, site: Site) -> Written:
    """What torch's own padding cannot cut is cut off behind it."""
    axes = len(op.kernel)
    limits = [max(pair) for pair in zip(op.stride, op.dilation, strict=True)]
    own = [
        before >= 0 and 0 <= before - after < limit
        for (before, after), limit in zip(op.cropped, limits, strict=True)
    ]
    named: dict[str, Any] = {}
    cut = ""
    if all(own):
        padding = [before for before, _ in op.cropped]
        extra = [before - after for before, after in op.cropped]
        named |= {"padding": _plain(padding)} if any(padding) else {}
        named |= {"output_padding": _plain(extra)} if any(extra) else {}
    elif any(amount < 0 for pair in op.cropped for amount in pair):
        raise UnwrittenError("is a transposed convolution with zeros behind what it gives")
    else:
        cut = _cut(op.cropped)
    named |= {"stride": _plain(op.stride)} if set(op.stride) != {1} else {}
    named |= {"dilation": _plain(op.dilation)} if set(op.dilation) != {1} else {}
    named |= {"groups": op.groups} if op.groups != 1 else {}
    named |= {} if op.bias else {"bias": False}
    kind = f"nn.ConvTranspose{axes}d"
    made = _call(kind, op.in_channels, op.out_channels, _plain(op.kernel), **named)
    found = f"{site.me}({_turned(site.x, site.rank)}){cut}"
    return Written(_turned(found, site.rank), made)


def _cut(amounts: Sequence[tuple[int, int]], first: str = ":, :, ") -> str:
    """A subscript that leaves out so much before and after each axis."""
    parts = [f"{before or ''}:{-after or ''}" for before, after in amounts]
    return f"[{first}{', '.join(parts)}]" if any(map(any, amounts)) else ""


def _pool(op: Any, site: Site) -> str:
    axes, rank = len(op.kernel), site.rank
    ones, x = (1,) * axes, _turned(site.x, rank)
    around = _settled(op, ones)
    even, window = _even(around), f"{literal(_plain(op.kernel))}, {literal(_plain(op.stride))}"
    small = even is not None and all(2 * p <= k for p, k in zip(even, op.kernel, strict=True))
    padding = f", padding={literal(_plain(even))}" if even and any(even) else ""
    pool = f"F.{op.mode}_pool{axes}d"
    is_zero = getattr(op, "fill", "-inf") == "zero" and bool(around == "same" or padding)
    if op.mode == "max" and small and not is_zero:
        return _turned(f"{pool}({x}, {window}{padding})", rank)
    if op.mode == "max":
        fill = 0.0 if getattr(op, "fill", "-inf") == "zero" else float("-inf")
        return _turned(f"{pool}({_padded(x, op, ones, fill)}, {window})", rank)
    if small:
        counted = ", count_include_pad=False" if padding else ""
        return _turned(f"{pool}({x}, {window}{padding}{counted})", rank)
    numbers = f"{literal(tuple(op.kernel))}, {literal(tuple(op.stride))}"
    pads = literal(_pads(around)) if around != "same" else ""
    pads = pads or f"same_pads({x}, {numbers}, {literal(ones)})"
    return _turned(f"average_pool({x}, {numbers}, {pads})", rank)


# ---- weights


def _norm(op: ops.Norm, site: Site) -> Written:
    if op.rescale:
        raise UnwrittenError("is a norm with a second one inside")
    kind = "nn.BatchNorm1d" if site.rank == 1 else "nn.BatchNorm2d"
    kind = "Standardization" if op.standardizes else kind
    made = _call(kind, op.channels, eps=op.eps, momentum=op.momentum)
    return Written(f"{site.me}({site.x})", made, _frozen(op))


def _frozen(op: Any) -> tuple[str, ...]:
    """What the original had none of."""
    return (*(("weight",) * (not op.gamma)), *(("bias",) * (not op.beta)))


def _axis_norm(op: ops.AxisNorm, site: Site) -> Written:
    made = _call("BatchNormOver", op.channels, op.axis + 1, eps=op.eps, momentum=op.momentum)
    if site.rank == 3 and op.axis == 0:
        made = _call("nn.BatchNorm2d", op.channels, eps=op.eps, momentum=op.momentum)
    if site.rank == 4 and op.axis == 0:
        made = _call("nn.BatchNorm3d", op.channels, eps=op.eps, momentum=op.momentum)
    return Written(f"{site.me}({site.x})", made, _frozen(op))


def _layer_norm(op: ops.LayerNorm, site: Site) -> Written:
    rank, call = site.rank, f"{site.me}({site.x})"
    last = tuple(range(rank - len(op.axes), rank))
    if op.axes == last and op.gamma and op.beta and not (op.rms or op.about_zero):
        sizes = op.sizes[0] if len(op.sizes) == 1 else op.sizes
        return Written(call, _call("nn.LayerNorm", sizes, eps=op.eps))
    view = tuple(op.sizes[op.axes.index(one)] if one in op.axes else 1 for one in range(rank))
    dims = tuple(axis + 1 for axis in op.axes)
    has = {"gamma": op.gamma, "beta": op.beta, "rms": op.rms, "about_zero": op.about_zero}
    return Written(call, _call("LayerNormOver", op.sizes, view, dims, eps=op.eps, **has))


def _group_norm(op: ops.GroupNorm, site: Site) -> Written:
    call = f"{site.me}({site.x})"
    if op.axis == 0 and op.gamma and op.beta:
        return Written(call, _call("nn.GroupNorm", op.groups, op.channels, eps=op.eps))
    has = {"gamma": op.gamma, "beta": op.beta}
    dim = op.axis + 1
    return Written(call, _call("GroupNormOver", op.groups, op.channels, dim, eps=op.eps, **has))


def _dense(op: Any, site: Site) -> Written:
    bias = {} if op.bias else {"bias": False}
    made = _call("nn.Linear", op.in_features, op.out_features, **bias)
    if getattr(op, "second", False):
        return Written(f"{site.me}({site.x}.movedim(1, -1)).movedim(-1, 1)", made)
    return Written(f"{site.me}({site.x})", made)


def _embedding(op: ops.Embedding, site: Site) -> Written:
    moved = ".movedim(-1, 1)" if op.second else ""
    made = _call("nn.Embedding", op.count, op.features)
    return Written(f"{site.me}({site.x}.long()){moved}", made)


def _einsum_dense(op: ops.EinsumDense, site: Site) -> Written:
    made = _call("EinsumDense", op.equation, op.sides, op.bias)
    return Written(f"{site.me}({site.x})", made)


def _attention(op: ops.Attention, site: Site) -> Written:
    query, value, key = (*site.args, site.args[1])[:3]
    weight = (op.features if op.additive else 0) if op.weight else None
    made = _call("SequenceAttention", op.additive, weight, op.causal)
    return Written(f"{site.me}({query}, {value}, {key})", made)


def _multi_head(op: ops.MultiHead, site: Site) -> Written:
    named = {"bias": op.bias, "causal": op.causal}
    sizes = (op.heads, op.width, op.values, op.outputs)
    made = _call("MultiHeadAttention", op.inputs, *sizes, **named)
    return Written(f"{site.me}({', '.join(site.args)})", made)


def _weighted(kind: str) -> Callable[[Any, Site], Written]:
    return lambda op, site: Written(f"{site.me}({site.x})", _call(kind, op.sizes))


def _channelled(kind: str) -> Callable[[Any, Site], Written]:
    return lambda op, site: Written(f"{site.me}({site.x})", _call(kind, op.channels))


def _recurrent(op: Any, site: Site) -> Written:
    x = f"{site.x}.flip(1)" if op.backwards else site.x
    kind = type(op).__name__
    if op.is_torchs:
        torchs = {"SimpleRNN": "RNN"}.get(kind, kind)
        named = {"nonlinearity": "relu"} if op.activation == ops.Activation("relu") else {}
        bias = {} if op.bias else {"bias": False}
        sizes = (op.in_features, op.units)
        made = _call(f"nn.{torchs}", *sizes, batch_first=True, **bias, **named)
        found = f"{site.me}({x})[0]"
    else:
        after = "ResetAfter" if kind == "GRU" and op.reset_after else ""
        name = "Recurrent" if kind == "SimpleRNN" else f"Keras{kind}{after}"
        functions = ", ".join(map(_function, op.functions()))
        made = f"{name}({op.in_features}, {op.units}, {op.bias}, {functions})"
        found = f"{site.me}({x})"
    return Written(found if op.sequences else f"{found}[:, -1]", made)


def _function(op: Op) -> str:
    """A function of each number, as a value."""
    return f"lambda x: {written(op, Site(((None,),), '', ('x',))).call}"


# ---- plain functions


ACTIVATIONS = {
    "linear": "{}",
    "relu": "F.relu({})",
    "relu6": "F.relu6({})",
    "elu": "F.elu({})",
    "selu": "F.selu({})",
    "gelu": "F.gelu({})",
    "silu": "F.silu({})",
    "swish": "F.silu({})",
    "sigmoid": "torch.sigmoid({})",
    "tanh": "torch.tanh({})",
    "softplus": "F.softplus({}, threshold=40.0)",
    "softsign": "F.softsign({})",
    "softmax": "F.softmax({}, dim=1)",
    "exponential": "torch.exp({})",
}

FUNCTIONS = {
    "abs": "torch.abs({})",
    "square": "torch.square({})",
    "sqrt": "torch.sqrt({})",
    "negative": "torch.neg({})",
    "log": "torch.log({})",
    "exp": "torch.exp({})",
    "reciprocal": "torch.reciprocal({})",
    "rsqrt": "torch.rsqrt({})",
    "celu": "F.celu({})",
    "gelu_tanh": 'F.gelu({}, approximate="tanh")',
    "log_sigmoid": "F.logsigmoid({})",
    "mish": "F.mish({})",
    "hard_tanh": "F.hardtanh({})",
    "hard_shrink": "F.hardshrink({})",
    "soft_shrink": "F.softshrink({})",
    "tanh_shrink": "F.tanhshrink({})",
    "squareplus": "0.5 * ({0} + torch.sqrt({0} * {0} + 4))",
    "sparse_plus": "sparse_plus({})",
    "sparse_sigmoid": "(0.5 * ({} + 1)).clamp(0.0, 1.0)",
}


def _named(table: Mapping[str, str]) -> Callable[[Any, Site], Written]:
    def write(op: Any, site: Site) -> Written:
        if op.name not in table:
            raise UnwrittenError("has an activation that is not written as source")
        return Written(table[op.name].format(site.x), is_infix=op.name == "squareplus")

    return write


def _joined(sign: str, site: Site) -> Written:
    return Written(f" {sign} ".join(site.args), is_infix=True)


def _combine(op: ops.Combine, site: Site) -> Written:
    signs = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/"}
    if op.how in signs:
        return _joined(signs[op.how], site)
    if op.how == "average":
        return Written(f"({' + '.join(site.args)}) / {len(site.args)}", is_infix=True)
    found = site.args[0]
    for other in site.args[1:]:
        found = f"torch.{op.how}({found}, {other})"
    return Written(found)


def _cat(op: Any, site: Site) -> str:
    comma = "," if len(site.args) == 1 else ""
    return f"torch.cat(({', '.join(site.args)}{comma}), {getattr(op, 'axis', 0) + 1})"


def _clipped(op: ops.Clipped, site: Site) -> str:
    if op.threshold == 0.0 and op.slope == 0.0 and op.maximum is not None and op.maximum > 0:
        return f"F.hardtanh({site.x}, 0.0, {literal(op.maximum)})"
    return f"clipped_relu({site.x}, {literal(op.maximum)}, {op.slope!r}, {op.threshold!r})"


def _hard_sigmoid(op: ops.HardSigmoid, site: Site) -> Written:
    if op.slope == SIXTH:
        return Written(f"F.hard{'swish' if op.times_input else 'sigmoid'}({site.x})")
    gate = f"({site.x} * {op.slope!r} + 0.5).clamp(0.0, 1.0)"
    return Written(f"{site.x} * {gate}" if op.times_input else gate, is_infix=op.times_input)


def _clamp(op: ops.Clamp, site: Site) -> str:
    bounds = {"min": op.least, "max": op.most}
    words = [f"{name}={one!r}" for name, one in bounds.items() if one is not None]
    return f"{site.x}.clamp({', '.join(words)})"


def _scaled(x: str, scale: Any, offset: Any, dim: int) -> Written:
    """x * scale + offset, each a number or a tuple."""
    one, other = _single(scale), _single(offset)
    if one is not None and other is not None:
        plus = f" {'-' if other < 0 else '+'} {literal(abs(other))}" if other else ""
        times = f" * {literal(one)}" if one != 1.0 or not plus else ""
        return Written(f"{x}{times}{plus}", is_infix=True)
    return Written(f"affine({x}, {_several(scale)}, {_several(offset)}, {dim})")


def _single(factor: Any) -> Any:
    if not isinstance(factor, tuple):
        return factor
    return factor[0] if len(factor) == 1 else None


def _several(factor: Any) -> str:
    return literal(list(factor) if isinstance(factor, tuple) else [factor])


def _dims(axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(axis + 1 for axis in axes)


def _softmax(op: ops.Softmax, site: Site) -> str:
    if len(op.axes) == 1:
        return f"F.{'log_' if op.log else ''}softmax({site.x}, dim={op.axes[0] + 1})"
    found = f"softmax_over({site.x}, {literal(_dims(op.axes))})"
    return f"torch.log({found})" if op.log else found


def _reduce(op: ops.Reduce, site: Site) -> str:
    name = {"mean": "mean", "sum": "sum", "max": "amax", "min": "amin"}[op.mode]
    keep = ", keepdim=True" if op.keepdims else ""
    return f"{site.x}.{name}({literal(_dims(op.axes))}{keep})"


def _global_pool(op: ops.GlobalPool, site: Site) -> str:
    name, keep = {"avg": "mean", "max": "amax"}[op.mode], ", keepdim=True" if op.keepdims else ""
    return f"{site.x}.{name}((2, 3){keep})"


def _flatten(op: ops.Flatten, site: Site) -> str:
    turned = op.order == "hwc" and site.rank >= 3
    return f"{site.x}.movedim(1, -1).flatten(1)" if turned else f"{site.x}.flatten(1)"


def _reshape(op: ops.Reshape, site: Site) -> str:
    """The batch is told as torch finds it out: -1 stands for it where no other length is open."""
    moved = f"{site.x}.movedim(1, -1)" if op.read_last else site.x
    batch = f"{site.x}.shape[0]" if -1 in op.target else "-1"
    found = f"{moved}.reshape({batch}, {', '.join(map(str, op.target))})"
    return f"{found}.movedim(-1, 1)" if op.given_last else found


def _slice(op: ops.Slice, site: Site) -> str:
    stop = "" if op.stop is None else op.stop
    step = "" if op.step == 1 else f":{op.step}"
    return f"{site.x}[{':, ' * (op.axis + 1)}{op.start or ''}:{stop}{step}]"


def _pad(op: ops.Pad, site: Site) -> str:
    value = f", value={literal(op.value)}" if op.value else ""
    if not any(map(any, op.amounts)):
        return site.x
    return f"F.pad({site.x}, {literal(_pads(op.amounts))}{value})"


def _upsample(op: ops.Upsample, site: Site) -> str:
    if site.rank == 2:
        return f"{site.x}.repeat_interleave({op.factors[0]}, 1)"
    if op.mode == "corner":
        return f"enlarged(enlarged({site.x}, 2, {op.factors[0]}), 3, {op.factors[1]})"
    factors = literal(tuple(map(float, op.factors)))
    align = ", align_corners=False" if op.mode == "bilinear" else ""
    return f'F.interpolate({site.x}, scale_factor={factors}, mode="{op.mode}"{align})'


def _resize(op: ops.Resize, site: Site) -> str:
    size = literal(op.size)
    if op.mode == "corner":
        return f"resampled(resampled({site.x}, 2, {op.size[0]}), 3, {op.size[1]})"
    if op.mode in ("nearest", "floor"):
        mode = "nearest-exact" if op.mode == "nearest" else "nearest"
        return f'F.interpolate({site.x}, {size}, mode="{mode}")'
    align = op.mode == "aligned"
    return f'F.interpolate({site.x}, {size}, mode="bilinear", align_corners={align})'


WRITTEN: dict[type[Op], Callable[[Any, Site], Written | str]] = {
    ops.Activation: _named(ACTIVATIONS),
    ops.Add: lambda op, site: _joined("+", site),
    ops.Attention: _attention,
    ops.AxisNorm: _axis_norm,
    ops.Channels: lambda op, site: f"{site.x}[:, {literal(list(op.picks))}]",
    ops.Clamp: _clamp,
    ops.Clipped: _clipped,
    ops.Combine: _combine,
    ops.Concat: _cat,
    ops.Concatenate: _cat,
    ops.Conv: _conv,
    ops.ConvNd: _conv,
    ops.ConvTranspose: _conv_transpose,
    ops.Crop: lambda op, site: f"{site.x}{_cut(op.amounts, ':, ')}",
    ops.Dense: _dense,
    ops.DenseLast: _dense,
    ops.DepthToSpace: lambda op, site: f"depth_to_space({site.x}, {op.block})",
    ops.Dot: lambda op, site: (
        f"dot({', '.join(site.args)}, {literal(_dims(op.axes))}, {op.normalize})"
    ),
    ops.Dropout: lambda op, site: f"F.dropout({site.x}, {op.rate!r}, self.training)",
    ops.ELU: lambda op, site: f"F.elu({site.x}, {op.alpha!r})",
    ops.Elementwise: _named(FUNCTIONS),
    ops.EinsumDense: _einsum_dense,
    ops.Embedding: _embedding,
    ops.Flatten: _flatten,
    ops.GRU: _recurrent,
    ops.GlobalPool: _global_pool,
    ops.GroupNorm: _group_norm,
    ops.HardSigmoid: _hard_sigmoid,
    ops.LSTM: _recurrent,
    ops.LayerNorm: _layer_norm,
    ops.LeakyReLU: lambda op, site: f"F.leaky_relu({site.x}, {op.slope!r})",
    ops.Linear: lambda op, site: _scaled(site.x, op.scale, op.offset, op.axis + 1),
    ops.MultiHead: _multi_head,
    ops.Norm: _norm,
    ops.PReLU: _channelled("nn.PReLU"),
    ops.Pad: _pad,
    ops.Permute: lambda op, site: f"{site.x}.permute{literal((0, *_dims(op.axes)))}",
    ops.Pick: lambda op, site: f"{site.x}.select({op.axis + 1}, {op.index})",
    ops.Pool: _pool,
    ops.PoolNd: _pool,
    ops.Reduce: _reduce,
    ops.RepeatVector: lambda op, site: f"{site.x}.unsqueeze(1).expand(-1, {op.times}, -1)",
    ops.Rescaling: lambda op, site: _scaled(site.x, op.scale, op.offset, 1),
    ops.Reshape: _reshape,
    ops.Resize: _resize,
    ops.Reverse: lambda op, site: f"{site.x}.flip({literal(list(_dims(op.axes)))})",
    ops.Scale: _channelled("Scale"),
    ops.SharedPReLU: _weighted("SlopedReLU"),
    ops.SimpleRNN: _recurrent,
    ops.Slice: _slice,
    ops.Softmax: _softmax,
    ops.SpaceToDepth: lambda op, site: f"space_to_depth({site.x}, {op.block})",
    ops.Thresholded: lambda op, site: f"F.threshold({site.x}, {op.theta!r}, 0.0)",
    ops.UnitNorm: lambda op, site: f"unit_norm({site.x}, {literal(_dims(op.axes))})",
    ops.Upsample: _upsample,
    ops.Weighted: _weighted("Weighted"),
}
