"""Layer names and shapes → the network, for files that hold weights only.

The names say which layer stands where, the shapes say how wide it is; what neither says (strides,
paddings, epsilon) comes from the dialect's defaults and is a fact with its evidence.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from converter.errors import MismatchError
from converter.facts.defaults import Defaults
from converter.facts.families import family
from converter.files.checkpoint import COUNT, Checkpoint, Weight
from converter.files.shapes import Shapes
from converter.network import Structure
from converter.weights_only.dialect import MAX_STAGES, Dialect
from converter.weights_only.head_names import head_from_names
from converter.weights_only.match import Match
from resnet_pt.architecture import (
    Architecture,
    Block,
    Conv,
    Norm,
    Padding,
    Pool,
    Shortcut,
    Stem,
)
from resnet_pt.ops.norm import NORMALIZATION_EPS
from resnet_pt.tensors import head_modules


def match_dialect(checkpoint: Checkpoint, dialects: Iterable[Dialect]) -> Match:
    """The one dialect whose names the file has.

    Raises MismatchError if none fits (it lists what the nearest one misses) or several do.
    """
    attempts = [_attempt(checkpoint, dialect) for dialect in dialects]
    fitting = [one.match for one in attempts if not one.misfits and one.match.modules]
    signed = [one for one in fitting if one.dialect.signs]
    fitting = signed or fitting
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise MismatchError(
            f"the layer names of {checkpoint.path} fit several dialects: "
            + ", ".join(one.dialect.name for one in fitting)
        )
    raise _no_dialect(checkpoint, attempts)


def naming_of(checkpoint: Checkpoint, dialects: Sequence[Dialect]) -> Dialect | None:
    """Which table a whole model's names are from; the graph is what decides."""
    try:
        return match_dialect(checkpoint, dialects).dialect
    except MismatchError:
        return None


@dataclass(frozen=True, slots=True)
class _Attempt:
    match: Match
    misfits: tuple[str, ...]


def _attempt(checkpoint: Checkpoint, dialect: Dialect) -> _Attempt:
    weights = checkpoint.of_layer()
    weighted = list(weights)
    if dialect.first_block().isdisjoint(weighted):
        return _Attempt(Match(dialect, {}, (), ()), ("no layer of its first block",))
    table = dialect.modules()
    modules: dict[str, str] = {}
    misfits: list[str] = []
    for layer, behind in zip(weighted, [*weighted[1:], ""], strict=True):
        if COUNT in weights[layer]:
            modules["bn_data"] = layer
        elif _is_joined(weights[layer]) and behind in table:
            modules[table[behind].replace(".bn", ".conv")] = layer
        elif layer in table:
            other = modules.setdefault(table[layer], layer)
            if other != layer:
                misfits.append(f"{layer} and {other} are both {table[layer]}")
    left_out = tuple(layer for layer in weighted if layer in dialect.left_out)
    placed = {*table, *left_out, *modules.values()}
    rest = [layer for layer in weighted if layer not in placed]
    head, unknown = _split_head(checkpoint, rest, modules)
    required = (dialect.stem, *dialect.required)
    misfits += [f"missing: {name}" for name in _missing(modules, table, required)]
    misfits += _bias_misfit(checkpoint, dialect, modules)
    misfits += _sign_misfit(checkpoint, dialect, modules)
    misfits += ["none of the layers beside it"] if dialect.left_out and not left_out else []
    misfits += [f"unknown: {name}" for name in unknown]
    if not any(module.startswith("layer") for module in modules):
        modules = {}
    return _Attempt(Match(dialect, modules, tuple(head), left_out), tuple(misfits))


def _is_joined(weights: Mapping[str, Weight]) -> bool:
    """Whether a layer is made of several, side by side: it has no name of its own."""
    return "kernel" in weights and weights["kernel"].pieces > 1


def _split_head(
    checkpoint: Checkpoint, rest: Sequence[str], modules: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """(layers that a head can have, others): Dense layers and norms behind the last block."""
    weights = checkpoint.of_layer()
    order = list(weights)
    body = [order.index(layer) for module, layer in modules.items() if module.startswith("layer")]
    end = max(body, default=len(order)) if checkpoint.is_ordered else -1

    def is_head(layer: str) -> bool:
        kernel = weights[layer].get("kernel")
        is_dense = kernel is not None and len(kernel.shape) == 2
        slopes = weights[layer].get("alpha")
        is_prelu = slopes is not None and len(slopes.shape) == 1
        has_place = is_dense or is_prelu or "moving_mean" in weights[layer]
        return order.index(layer) > end and has_place

    return [one for one in rest if is_head(one)], [one for one in rest if not is_head(one)]


def _bias_misfit(checkpoint: Checkpoint, dialect: Dialect, modules: Mapping[str, str]) -> list[str]:
    stem = modules.get(dialect.stem)
    if dialect.bias is None or stem is None:
        return []
    has_bias = "bias" in checkpoint.of_layer()[stem]
    found = "has" if has_bias else "has not"
    return [] if has_bias == dialect.bias else [f"{stem} {found} a bias"]


def _sign_misfit(checkpoint: Checkpoint, dialect: Dialect, modules: Mapping[str, str]) -> list[str]:
    """What a file lists without weights within the network, none of which this code names so."""
    groups = {one.group for one in checkpoint.weights if one.layer in modules.values()}
    places = [place for place, layer in enumerate(checkpoint.layers) if layer in groups]
    inside = checkpoint.layers[places[0] : places[-1]] if places else ()
    inside = tuple(one for one in inside if one not in groups)
    if not dialect.signs or not checkpoint.is_ordered or not inside:
        return []
    return [] if set(dialect.signs) & set(inside) else [f"none of {', '.join(dialect.signs)}"]


def _missing(
    modules: Mapping[str, str], table: Mapping[str, str], required: Sequence[str]
) -> list[str]:
    """Names that a whole network of this size would have, and the file does not."""
    spelled = {module: name for name, module in reversed(list(table.items()))}
    expected = set(required)
    blocks: dict[tuple[int, int], set[str]] = {}
    for module in modules:
        if module.startswith("layer"):
            stage, index, part = module.removeprefix("layer").split(".", 2)
            blocks.setdefault((int(stage), int(index)), set()).add(part)
    common = {part for found in blocks.values() for part in found if "downsample" not in part}
    for number in range(1, max((stage for stage, _ in blocks), default=0) + 1):
        depth = max((block for stage, block in blocks if stage == number), default=0) + 1
        for block in range(depth):
            expected |= {f"layer{number}.{block}.{part}" for part in common}
    return sorted(spelled.get(module, module) for module in expected - modules.keys())


def _no_dialect(checkpoint: Checkpoint, attempts: Sequence[_Attempt]) -> MismatchError:
    nearest = max(attempts, key=lambda one: (len(one.match.modules), -len(one.misfits)))
    is_another = family((*checkpoint.layers, *checkpoint.of_layer())) is not None
    if is_another or not nearest.match.modules:
        layers = ", ".join(list(checkpoint.of_layer())[:6])
        hints = [WITH_CONFIGURATION] if is_another else [WITH_CONFIGURATION, NEW_NAMING]
        if has_recurrent(checkpoint):
            hints = [RECURRENT]
        return MismatchError(
            f"no naming that is known fits the layers of {checkpoint.path}",
            [f"its layers: {layers}, …", f"it looks like {looks_like(checkpoint)}"],
            hints,
        )
    advice = [f"layers of {nearest.match.dialect.name}: {nearest.match.dialect.summary}"]
    further = nearest.match.dialect.modules(MAX_STAGES + 1)
    if any(misfit.removeprefix("unknown: ") in further for misfit in nearest.misfits):
        advice.append(f"a network of more than {MAX_STAGES} stages is read from the whole model")
    elif stands_before(checkpoint, nearest):
        advice.append(encoder(checkpoint, nearest))
    elif any(misfit.startswith("unknown: ") for misfit in nearest.misfits):
        advice.append(WITH_CONFIGURATION)
    if _is_cut(nearest):
        advice.append("if it ends behind a whole block, its whole model (model.save) is read")
    return MismatchError(
        f"the layers of {checkpoint.path} are not a whole ResNet: nearest is the naming "
        f"{nearest.match.dialect.name!r}",
        nearest.misfits,
        advice,
    )


def stands_before(checkpoint: Checkpoint, attempt: _Attempt) -> bool:
    """Whether a file has a whole network, and all that is unknown is listed behind its last layer:
    a decoder, or another head."""
    unknown = [one.removeprefix("unknown: ") for one in attempt.misfits]
    order = list(checkpoint.of_layer())
    if not checkpoint.is_ordered or not set(unknown) <= set(order):
        return False
    return min(map(order.index, unknown)) > max(map(order.index, attempt.match.modules.values()))


def encoder(checkpoint: Checkpoint, attempt: _Attempt) -> str:
    """What to do about a decoder: the model that ends where the network does. Its last layer is
    the activation that is listed behind its last norm, or behind the sum of its last block."""
    groups = {weight.layer: weight.group for weight in checkpoint.weights}
    known = {groups[layer] for layer in attempt.match.modules.values()}
    end = max(place for place, one in enumerate(checkpoint.layers) if one in known)
    behind = [
        *itertools.takewhile(lambda one: one not in groups.values(), checkpoint.layers[end + 1 :])
    ]
    place = 0 if attempt.match.dialect.defaults.preactivation else 1
    name = repr(behind[place]) if place < len(behind) else "NAME"
    called = "" if name != "NAME" else ", NAME being the activation behind its last sum"
    return (
        "what is unknown stands behind the network: its encoder alone is read, "
        f"keras.Model(model.input, model.get_layer({name}).output).save(…){called}"
    )


def _is_cut(attempt: _Attempt) -> bool:
    """Whether a file lacks only what ends a network: layers of its last block, or the norm behind
    that."""
    modules = attempt.match.modules
    blocks = [m.removeprefix("layer").split(".")[:2] for m in modules if m.startswith("layer")]
    stage, index = max((int(stage), int(index)) for stage, index in blocks)
    spelled = attempt.match.dialect.modules().items()
    last = {name for name, m in spelled if m.startswith(("norm", f"layer{stage}.{index}."))}
    return {misfit.removeprefix("missing: ") for misfit in attempt.misfits} <= last


WITH_CONFIGURATION = (
    "weights alone are read of ResNets whose naming is known; of any other network with its "
    "configuration, --config model.json (model.to_json() where it was made), or as the whole model "
    "(model.save)"
)
NEW_NAMING = (
    "or add the naming: one table in converter/weights_only/dialects/ (README, 'Adding a naming')"
)
RECURRENT = "recurrent layers are not read yet, with a configuration neither"


def looks_like(checkpoint: Checkpoint) -> str:
    """A guess at the family of a network that is no ResNet, for the message."""
    layers = checkpoint.of_layer()
    known = family((*checkpoint.layers, *layers))
    if known:
        return known
    counts = Counter(_kernel_of(weights) for weights in layers.values())
    counts.update({"convolutions": 0, "Dense layers": 0})
    found = [f"{counts[kind]} {kind}" for kind in KERNELS.values() if kind in counts]
    return f"a network of {', '.join(found[:-1])} and {found[-1]}"


KERNELS: Mapping[int | str, str] = {
    4: "convolutions",
    3: "1-D convolutions",
    5: "3-D convolutions",
    "recurrent": "recurrent layers",
    2: "Dense layers",
}
"""What the kernels of a network's layers are of, by their axes: (rows, columns, in, out) of a
convolution, (steps, in, out) of one along a sequence. A recurrent layer's has two, as a Dense
layer's, and another beside it."""


def _kernel_of(weights: Mapping[str, Weight]) -> str:
    kernel = weights.get("kernel", weights.get("depthwise_kernel"))
    if kernel is None:
        return ""
    is_recurrent = "recurrent_kernel" in weights
    return KERNELS.get("recurrent" if is_recurrent else len(kernel.shape), "")


def has_recurrent(checkpoint: Checkpoint) -> bool:
    """Whether a file has the weights of a recurrent layer."""
    kernels = (_kernel_of(weights) for weights in checkpoint.of_layer().values())
    return KERNELS["recurrent"] in kernels


def body_from_names(match: Match, shapes: Shapes, theano: bool = False) -> Architecture:
    """The network up to its head, with the dialect's defaults where nothing is said.

    `theano` says that 'same' padding was Theano's, which is even.
    """
    builder = _Builder(match.dialect.defaults, match.modules, shapes, theano)
    return Architecture(
        stem=builder.stem(),
        stages=builder.stages(),
        norm=builder.norm("norm"),
        preprocessing=match.dialect.defaults.preprocessing,
    )


def structure_from_names(
    checkpoint: Checkpoint, match: Match, shapes: Shapes, theano: bool = False
) -> Structure:
    """The network that a matched file holds, its head too."""
    body = body_from_names(match, shapes, theano)
    head, outputs = head_from_names(checkpoint, match, shapes, body.features)
    architecture = replace(body, head=head, outputs=outputs)
    compared = dict(match.modules)  # a Dense layer may apply an activation that weights don't tell
    layers = dict(match.modules)
    modules = head_modules(architecture)
    layers |= {modules[layer.name]: layer.name for layer in head if layer.op.tensors()}
    return Structure(architecture, layers, compared)


@dataclass(frozen=True, slots=True)
class _Builder:
    defaults: Defaults
    modules: Mapping[str, str]
    shapes: Shapes
    theano: bool

    def stem(self) -> Stem:
        deep: list[tuple[Conv, Norm]] = []
        stride, padding = self.defaults.stem_stride, self.defaults.stem
        while f"conv1.{3 * len(deep)}" in self.modules:
            name = f"conv1.{3 * len(deep)}"
            norm = self.norm(f"conv1.{3 * len(deep) + 1}")
            if norm is None:
                break
            deep.append((self.conv(name, stride, padding), norm))
            stride, padding = 1, "same"
        last = self.conv(f"conv1.{3 * len(deep)}" if deep else "conv1", stride, padding)
        norm = self.norm("bn1")
        data_norm = self.norm("bn_data")
        return Stem(last, norm, norm is not None, Pool(padding=0), data_norm, deep=tuple(deep))

    def stages(self) -> tuple[tuple[Block, ...], ...]:
        depths: dict[int, int] = {}
        for module in self.modules:
            if module.startswith("layer"):
                stage, index, _ = module.removeprefix("layer").split(".", 2)
                depths[int(stage)] = max(depths.get(int(stage), 0), int(index) + 1)
        last = max(depths)
        return tuple(
            tuple(self.block(stage, index, depths[stage], last) for index in range(depths[stage]))
            for stage in sorted(depths)
        )

    def stride(self, stage: int, index: int, depth: int, last: int) -> int:
        defaults = self.defaults
        if index != (depth - 1 if defaults.stride_in == "last" else 0):
            return 1
        if defaults.stage_strides:
            return defaults.stage_strides[stage - 1]
        if defaults.unstrided_stage == "last":
            return 2 if stage < last else 1
        return 2 if stage > 1 else defaults.first_stage_stride

    def block(self, stage: int, index: int, depth: int, last: int) -> Block:
        name = f"layer{stage}.{index}"
        stride = self.stride(stage, index, depth, last)
        numbers = [n for n in (1, 2, 3) if f"{name}.conv{n}" in self.modules]
        bottleneck_stride_on = 2 if self.defaults.stride_on == "3x3" else 1
        on = bottleneck_stride_on if len(numbers) == 3 else self.defaults.basic_stride_on
        convs: list[Conv] = []
        for n in numbers:
            conv = self.conv(f"{name}.conv{n}", stride if n == on else 1, self.defaults.padding)
            convs.append(self.grouped(conv, convs[-1].out_channels) if convs else conv)
        return Block(
            convs=tuple(convs),
            norms=tuple(self.norm(f"{name}.bn{n}") for n in numbers),
            shortcut=self.shortcut(name, stride),
            preactivation=self.defaults.preactivation,
        )

    def shortcut(self, name: str, stride: int) -> Shortcut | None:
        if f"{name}.downsample.0" not in self.modules:
            pool = Pool((1, 1), (stride, stride), 0) if stride > 1 else None
            return Shortcut(pool=pool) if pool else None
        pool = None
        if self.defaults.shortcut_pool and stride > 1:
            pool, stride = Pool((2, 2), (stride, stride), "same", mode="avg"), 1
        conv = self.conv(f"{name}.downsample.0", stride, "same")
        norm = self.norm(f"{name}.downsample.1")
        return Shortcut(conv, norm, pool, self.defaults.shortcut_on)

    def conv(self, module: str, stride: int, padding: str) -> Conv:
        layer = self.modules[module]
        height, width, inputs, outputs = self.shapes.kernel(layer)
        groups = 1
        if self.shapes.is_depthwise(layer):  # and a sum by group: see transforms.Regroup
            groups, outputs = max(1, inputs // outputs), inputs
        return Conv(
            in_channels=inputs,
            out_channels=outputs,
            kernel=(height, width),
            stride=(stride, stride),
            padding=self.amount(height, width, stride, padding),
            groups=groups,
            bias=self.shapes.has(layer, "bias"),
        )

    def grouped(self, conv: Conv, channels: int) -> Conv:
        """A 3x3 convolution with the groups that its kernel's shape says, if the code has any."""
        inputs = conv.in_channels
        if not self.defaults.grouped or conv.kernel == (1, 1) or channels % inputs:
            return conv
        return conv.replace(in_channels=channels, groups=channels // inputs)

    def amount(self, height: int, width: int, stride: int, padding: str) -> Padding:
        """'same' is a plain number for an odd window that moves by one."""
        if height != width or not height % 2:
            return "same"
        uneven = padding == "same" and stride > 1 and height > 1 and not self.theano
        return "same" if uneven else height // 2

    def norm(self, module: str) -> Norm | None:
        layer = self.modules.get(module)
        if layer is None:
            return None
        counted = self.shapes.has(layer, COUNT)
        return Norm(
            channels=self.shapes.vector(layer),
            eps=NORMALIZATION_EPS if counted else self.defaults.eps,
            momentum=round(1 - self.defaults.momentum, 12),
            gamma=self.shapes.has(layer, "gamma"),
            beta=self.shapes.has(layer, "beta"),
            rescale=f"{module}.scale" in self.modules,
            standardizes=counted,
        )
