"""Single faults that a conversion can have: each kind, where it can be, and how it is made.

A fault changes one `Conversion`: its tensors, its architecture, or what the network does when it
runs. `Site.layer` is the Keras layer that has to be named; `words` is what has to be said beside
it where the layer itself has no module of its own (an activation).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from converter.network import Network
from converter.parity.comparing import torch_run
from converter.parity.comparing.layers import compared
from converter.parity.faults.suspects import conv_padding
from resnet_pt.architecture import Architecture, Block


@dataclass
class Conversion:
    """A network that was converted rightly, to be broken."""

    network: Network
    tensors: dict[str, np.ndarray]
    architecture: Architecture
    behaviour: list[Callable[[Any], object]] = field(default_factory=list)

    def model(self) -> Any:
        model = torch_run.build(self.architecture, self.tensors)
        for change in self.behaviour:
            change(model)
        return model

    def names(self) -> dict[str, str]:
        """`{module: Keras layer}`, the classifier too."""
        return {**self.network.structure.layers, **compared(self.network.structure)}


@dataclass(frozen=True)
class Site:
    """Where one fault is: the module to break and the Keras layer to be named."""

    module: str
    layer: str
    words: str = ""


@dataclass(frozen=True)
class Fault:
    kind: str
    sites: Callable[[Conversion], list[Site]]
    make: Callable[[Conversion, Site, np.random.Generator], object]


# ---- where


def sites(fits: Callable[[Conversion, str], bool]) -> Callable[[Conversion], list[Site]]:
    """Every module that fits, in the order of the network."""

    def found(one: Conversion) -> list[Site]:
        names = one.names()
        order = dict.fromkeys(name.rpartition(".")[0] for name in one.tensors)
        return [Site(module, names[module]) for module in order if fits(one, module)]

    return found


def kernel(one: Conversion, module: str) -> Any:
    return one.tensors.get(f"{module}.weight", np.zeros(0))


def is_conv(one: Conversion, module: str) -> bool:
    return kernel(one, module).ndim == 4 and module != "conv1"


def is_3x3(one: Conversion, module: str) -> bool:
    return is_conv(one, module) and kernel(one, module).shape[2:] == (3, 3)


def is_square(one: Conversion, module: str) -> bool:
    shape = kernel(one, module).shape
    return is_conv(one, module) and shape[0] == shape[1]


def is_norm(one: Conversion, module: str) -> bool:
    return f"{module}.running_mean" in one.tensors


def has_twin(one: Conversion, module: str) -> bool:
    return is_conv(one, module) and twin(one, module) is not None


def twin(one: Conversion, module: str) -> str | None:
    """The next module whose weight has the same shape: of its kind, and behind it."""
    order = list(dict.fromkeys(name.rpartition(".")[0] for name in one.tensors))
    shape = kernel(one, module).shape
    for other in order[order.index(module) + 1 :]:
        if kernel(one, other).shape == shape and is_norm(one, other) == is_norm(one, module):
            return other
    return None


CONV, CONV3, SQUARE = sites(is_conv), sites(is_3x3), sites(is_square)
STEM = sites(lambda one, module: module == "conv1")
TWIN = sites(has_twin)
BIASED = sites(lambda one, module: is_conv(one, module) and f"{module}.bias" in one.tensors)
NORM = sites(is_norm)
NORM_TWIN = sites(lambda one, module: is_norm(one, module) and twin(one, module) is not None)
DENSE = sites(lambda one, module: kernel(one, module).ndim == 2)


def first(one: Conversion) -> list[Site]:
    return [Site("", one.names()["conv1"])]


def first_norm(one: Conversion) -> list[Site]:
    return NORM(one)[:1]


def pool(one: Conversion) -> list[Site]:
    return [Site("maxpool", one.names()["maxpool"])] if one.architecture.stem.pool else []


def signed_pool(one: Conversion) -> list[Site]:
    """A pool of a map that can be negative."""
    return [] if one.architecture.stem.activation else pool(one)


def average(one: Conversion) -> list[Site]:
    return [Site("avgpool", one.names()["avgpool"])]


def blocks(fits: Callable[[Block], bool]) -> Callable[[Conversion], list[Site]]:
    def found(one: Conversion) -> list[Site]:
        names = one.names()
        return [Site(name, names[name]) for name, block in all_blocks(one) if fits(block)]

    return found


def all_blocks(one: Conversion) -> Iterator[tuple[str, Block]]:
    for number, stage in enumerate(one.architecture.stages, start=1):
        for index, block in enumerate(stage):
            yield f"layer{number}.{index}", block


ANY = blocks(lambda block: True)
IDENTITY = blocks(lambda block: block.shortcut is None)
ACTIVATED = blocks(lambda block: not block.preactivation)
PREACTIVATED = blocks(lambda block: block.preactivation)
PROJECTED = blocks(lambda block: block.shortcut is not None and block.shortcut.conv is not None)


def moved_stride(one: Conversion) -> list[Site]:
    """Bottlenecks that stride: the first convolution shows it."""
    names = one.names()
    return [
        Site(name, names[f"{name}.conv{1 if block.convs[0].stride != (1, 1) else 2}"])
        for name, block in all_blocks(one)
        if len(block.convs) == 3 and (2, 2) in [conv.stride for conv in block.convs[:2]]
    ]


def inner_activation(one: Conversion) -> list[Site]:
    """The activation in front of a block's second convolution, which reads it."""
    names = one.names()
    words = "the activation before it is missing"
    return [Site(name, names[f"{name}.conv2"], words) for name, _ in all_blocks(one)]


def other_activation(one: Conversion) -> list[Site]:
    return [replace(site, words="") for site in inner_activation(one)]


# ---- how: tensors


def edit(name: str, change: Callable[..., Any]) -> Any:
    """Change one tensor of the module; `change(values, generator)`."""

    def make(one: Conversion, site: Site, generator: np.random.Generator) -> None:
        key = f"{site.module}.{name}"
        values = change(one.tensors[key].copy(), generator)
        one.tensors[key] = np.ascontiguousarray(values, dtype=np.float32)

    return make


def plain(change: Callable[[Any], Any]) -> Any:
    return lambda values, generator: change(values)


def bfloat16(values: Any) -> Any:
    return torch.from_numpy(values).bfloat16().float().numpy()


def eight_bits(values: Any) -> Any:
    step = np.abs(values).max() / 127
    return np.round(values / step) * step


def at_one(change: Callable[[Any], Any]) -> Any:
    """Change the one of all weights that a generator picks, never a zero."""

    def make(values: Any, generator: np.random.Generator) -> Any:
        place = generator.choice(np.flatnonzero(values))
        values.flat[place] = change(values.flat[place])
        return values

    return make


def two_swapped(axis: int) -> Any:
    def make(values: Any, generator: np.random.Generator) -> Any:
        one, other = generator.choice(values.shape[axis], 2, replace=False)
        order = np.arange(values.shape[axis])
        order[[one, other]] = order[[other, one]]
        return values.take(order, axis)

    return make


def one_zeroed(axis: int) -> Any:
    def make(values: Any, generator: np.random.Generator) -> Any:
        moved = np.moveaxis(values, axis, 0)
        moved[generator.integers(len(moved))] = 0
        return values

    return make


def noisy(values: Any, generator: np.random.Generator) -> Any:
    return values * (1 + 1e-4 * generator.normal(size=values.shape))


def exchange(one_name: str, other_name: str) -> Any:
    """Two tensors of the module in each other's place."""

    def make(one: Conversion, site: Site, generator: np.random.Generator) -> None:
        left, right = f"{site.module}.{one_name}", f"{site.module}.{other_name}"
        one.tensors[left], one.tensors[right] = one.tensors[right], one.tensors[left]

    return make


def exchange_twins(*names: str, copy: bool = False) -> Any:
    """The tensors of two modules of one shape in each other's place, or one's in both."""

    def make(one: Conversion, site: Site, generator: np.random.Generator) -> None:
        other = twin(one, site.module)
        for name in names:
            left, right = f"{site.module}.{name}", f"{other}.{name}"
            if left in one.tensors:
                mine = one.tensors[left]
                one.tensors[left] = one.tensors[right]
                one.tensors[right] = one.tensors[right] if copy else mine

    return make


VECTORS = ("weight", "bias", "running_mean", "running_var")


def fresh(one: Conversion, site: Site, generator: np.random.Generator) -> None:
    for name, value in zip(VECTORS, (1, 0, 0, 1), strict=True):
        key = f"{site.module}.{name}"
        one.tensors[key] = np.full_like(one.tensors[key], value)


# ---- how: the architecture and what runs


def on_module(change: Callable[[Any], Any]) -> Any:
    """Change the module itself, or put another in its place if `change` returns one."""

    def make(one: Conversion, site: Site, generator: np.random.Generator) -> None:
        def run(model: Any) -> None:
            module = model.get_submodule(site.module)
            other = change(module)
            if isinstance(other, nn.Module):
                parent, _, name = site.module.rpartition(".")
                setattr(model.get_submodule(parent), name, other)

        one.behaviour.append(run)

    return make


def on_model(change: Callable[[Any], Any]) -> Any:
    return lambda one, site, generator: one.behaviour.append(change)


def on_input(change: Callable[[Any], Any]) -> Any:
    """The network is fed something else."""
    return on_model(
        lambda model: model.register_forward_pre_hook(lambda module, args: (change(args[0]),))
    )


def with_eps(factor: float) -> Any:
    return on_module(lambda norm: setattr(norm, "eps", norm.eps * factor))


def every_eps(model: Any) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 1e-3 if module.eps < 1e-4 else 1e-5


def outside_root(norm: Any) -> None:
    """As Keras did before 1.0.8."""

    def forward(x: Any) -> Any:
        shape = (1, -1, 1, 1)
        scale = norm.weight / (norm.running_var.sqrt() + norm.eps)
        return (x - norm.running_mean.view(shape)) * scale.view(shape) + norm.bias.view(shape)

    norm.forward = forward


def padded_otherwise(pad: Callable[[Any, Any], Any], dilation: int = 1) -> Any:
    """Zeros laid out otherwise: `pad(x, now)`, `now` as (left, right, top, bottom)."""

    def change(conv: Any) -> None:
        def forward(x: Any) -> Any:
            padded = pad(x, conv_padding(conv, x))
            return F.conv2d(padded, conv.weight, conv.bias, conv.stride, 0, dilation, conv.groups)

        conv.forward = forward

    return on_module(change)


def shifted(x: Any, now: Any) -> Any:
    """One row and column more before, and one less behind, or the other way round."""
    step = 1 if now[1] else -1
    return F.pad(x, (now[0] + step, now[1] - step, now[2] + step, now[3] - step))


def wider(x: Any, now: Any) -> Any:
    return F.pad(x, [amount + 1 for amount in now])


def pooling(change: Callable[[Any], Any]) -> Any:
    def make(one: Conversion, site: Site, generator: np.random.Generator) -> None:
        stem = one.architecture.stem
        one.architecture = replace(one.architecture, stem=replace(stem, pool=change(stem.pool)))

    return make


def stride_moved(one: Conversion, site: Site, generator: np.random.Generator) -> None:
    number, index = (int(n) for n in site.module.removeprefix("layer").split("."))
    stages = [list(stage) for stage in one.architecture.stages]
    block = stages[number - 1][index]
    a, b, *rest = block.convs
    moved = (a.replace(stride=b.stride), b.replace(stride=a.stride), *rest)
    stages[number - 1][index] = replace(block, convs=moved)
    one.architecture = replace(one.architecture, stages=tuple(map(tuple, stages)))


class Only(nn.Module):
    """A block's activation, with another in the place of its `number`-th call."""

    def __init__(self, usual: Any, other: Callable[[Any], Any], number: int, calls: int) -> None:
        super().__init__()
        self.usual, self.other, self.number, self.calls = usual, other, number, calls
        self.count = 0

    def forward(self, x: Any) -> Any:
        number, self.count = self.count, (self.count + 1) % self.calls
        return self.other(x) if number == self.number else self.usual(x)


def inner(other: Callable[[Any], Any]) -> Any:
    """Another activation in front of the second convolution."""

    def change(block: Any) -> None:
        described = block.described
        has_first = described.preactivation and hasattr(block, "bn1")
        calls = len(described.convs) - described.preactivation + has_first
        block.relu = Only(block.relu, other, 1 if has_first else 0, calls)

    return on_module(change)


def at_sum(other: Callable[[Any], Any]) -> Any:
    def change(block: Any) -> None:
        calls = len(block.described.convs)
        block.relu = Only(block.relu, other, calls - 1, calls)

    return on_module(change)


def summed(change: Callable[[Any, Any, Any], Any]) -> Any:
    """`change(block, x, usual)` for what the block gives, its parts having run as usual."""

    def make(block: Any) -> None:
        usual = block.forward
        block.forward = lambda x: change(block, x, usual)

    return on_module(make)


def short(change: Callable[[Any], Any]) -> Any:
    """Another shortcut: `change` of what it gives."""

    def make(block: Any) -> None:
        block._steps = tuple(
            replace(step, function=lambda long, short: long + change(short))
            if step.function
            else step
            for step in block._steps
        )

    return on_module(make)


def skipped(block: Any) -> None:
    block.forward = lambda x: x


def twice(block: Any) -> None:
    usual = block.forward
    block.forward = lambda x: usual(usual(x))


def blocks_swapped(one: Conversion) -> list[Site]:
    """Identity blocks with one of the same shapes behind them: their first layer shows it."""
    names = one.names()
    found = []
    for name, block in all_blocks(one):
        stage, index = name.split(".")
        following = f"{stage}.{int(index) + 1}"
        same = [other for key, other in all_blocks(one) if key == following]
        if block.shortcut is None and same and same[0] == block:
            start = "bn1" if block.preactivation else "conv1"
            found.append(Site(name, names[f"{name}.{start}"]))
    return found


def swap_blocks(one: Conversion, site: Site, generator: np.random.Generator) -> None:
    stage, index = site.module.split(".")
    mine, theirs = f"{site.module}.", f"{stage}.{int(index) + 1}."
    for name in [name for name in one.tensors if name.startswith(mine)]:
        other = theirs + name.removeprefix(mine)
        one.tensors[name], one.tensors[other] = one.tensors[other], one.tensors[name]


def weight(change: Callable[[Any], Any]) -> Any:
    return edit("weight", plain(change))


FAULTS = (
    # kernels
    Fault("kernel turned by 180°", CONV3, weight(lambda w: w[..., ::-1, ::-1])),
    Fault("kernel mirrored left to right", CONV3, weight(lambda w: w[..., ::-1])),
    Fault("kernel mirrored top to bottom", CONV3, weight(lambda w: w[..., ::-1, :])),
    Fault("kernel's height and width swapped", CONV3, weight(lambda w: w.swapaxes(2, 3))),
    Fault("kernel turned by 90°", CONV3, weight(lambda w: np.rot90(w, 1, (2, 3)))),
    Fault("kernel moved by a pixel", CONV3, weight(lambda w: np.roll(w, 1, 3))),
    Fault("kernel's in and out swapped", SQUARE, weight(lambda w: w.swapaxes(0, 1))),
    Fault("kernel's sign", CONV, weight(lambda w: -w)),
    Fault("kernel x 2", CONV, weight(lambda w: w * 2)),
    Fault("kernel x 1.001", CONV, weight(lambda w: w * np.float32(1.001))),
    Fault("kernel zero", CONV, weight(lambda w: w * 0)),
    Fault("kernel in float16", CONV, weight(lambda w: w.astype(np.float16))),
    Fault("kernel in bfloat16", CONV, weight(bfloat16)),
    Fault("kernel in 8 bits", CONV, weight(eight_bits)),
    Fault("kernel with noise of 1e-4", CONV, edit("weight", noisy)),
    Fault("one weight's sign", CONV, edit("weight", at_one(lambda w: -w))),
    Fault("one weight by an ulp", CONV, edit("weight", at_one(lambda w: np.nextafter(w, w * 2)))),
    Fault("one weight zero", CONV, edit("weight", at_one(lambda w: 0))),
    Fault("one weight NaN", CONV, edit("weight", at_one(lambda w: np.nan))),
    Fault("two outputs swapped", CONV, edit("weight", two_swapped(0))),
    Fault("two inputs swapped", CONV, edit("weight", two_swapped(1))),
    Fault("outputs shifted by one", CONV, weight(lambda w: np.roll(w, 1, 0))),
    Fault("outputs reversed", CONV, weight(lambda w: w[::-1])),
    Fault("inputs shifted by one", CONV, weight(lambda w: np.roll(w, 1, 1))),
    Fault("one output zero", CONV, edit("weight", one_zeroed(0))),
    Fault("one input zero", CONV, edit("weight", one_zeroed(1))),
    Fault("two layers' kernels swapped", TWIN, exchange_twins("weight")),
    Fault("two layers swapped", TWIN, exchange_twins("weight", "bias")),
    Fault("a layer in another's place too", TWIN, exchange_twins("weight", "bias", copy=True)),
    # the stem
    Fault("stem reads BGR for RGB", STEM, weight(lambda w: w[:, ::-1])),
    Fault("stem's kernel turned by 180°", STEM, weight(lambda w: w[..., ::-1, ::-1])),
    Fault("stem's height and width swapped", STEM, weight(lambda w: w.swapaxes(2, 3))),
    Fault("stem's kernel / 255", STEM, weight(lambda w: w / np.float32(255))),
    Fault("stem's padding shifted", STEM, padded_otherwise(shifted)),
    # biases
    Fault("bias zero", BIASED, edit("bias", plain(lambda b: b * 0))),
    Fault("bias' sign", BIASED, edit("bias", plain(lambda b: -b))),
    Fault("bias x 2", BIASED, edit("bias", plain(lambda b: b * 2))),
    Fault("bias shifted by one", BIASED, edit("bias", plain(lambda b: np.roll(b, 1)))),
    # norms
    Fault("gamma and beta swapped", NORM, exchange("weight", "bias")),
    Fault("mean and variance swapped", NORM, exchange("running_mean", "running_var")),
    Fault("gamma and variance swapped", NORM, exchange("weight", "running_var")),
    Fault("beta and mean swapped", NORM, exchange("bias", "running_mean")),
    Fault("gamma ones", NORM, weight(lambda v: v * 0 + 1)),
    Fault("gamma shifted by one", NORM, weight(lambda v: np.roll(v, 1))),
    Fault("two gammas swapped", NORM, edit("weight", two_swapped(0))),
    Fault("one gamma by an ulp", NORM, edit("weight", at_one(lambda v: np.nextafter(v, v * 2)))),
    Fault("beta zero", NORM, edit("bias", plain(lambda v: v * 0))),
    Fault("beta in float16", NORM, edit("bias", plain(lambda v: v.astype(np.float16)))),
    Fault("mean zero", NORM, edit("running_mean", plain(lambda v: v * 0))),
    Fault("mean's sign", NORM, edit("running_mean", plain(lambda v: -v))),
    Fault("variance ones", NORM, edit("running_var", plain(lambda v: v * 0 + 1))),
    Fault("variance squared", NORM, edit("running_var", plain(lambda v: v**2))),
    Fault("variance as a deviation", NORM, edit("running_var", plain(np.sqrt))),
    Fault("variance x 1.0001", NORM, edit("running_var", plain(lambda v: v * np.float32(1.0001)))),
    Fault("norm never filled", NORM, fresh),
    Fault("two norms swapped", NORM_TWIN, exchange_twins(*VECTORS)),
    Fault("two norms' means swapped", NORM_TWIN, exchange_twins("running_mean")),
    Fault("epsilon x 10 in one norm", NORM, with_eps(10)),
    Fault("epsilon x 1.001 in one norm", NORM, with_eps(1.001)),
    Fault("epsilon of another Keras in all", first_norm, on_model(every_eps)),
    Fault("epsilon outside the root", NORM, on_module(outside_root)),
    Fault("one norm in training mode", NORM, on_module(lambda norm: norm.train())),
    Fault("all in training mode", first_norm, on_model(lambda model: model.train())),
    # windows
    Fault("stride moved to the other", moved_stride, stride_moved),
    Fault("padding shifted", CONV3, padded_otherwise(shifted)),
    Fault(
        "border replicated, not zero",
        CONV3,
        padded_otherwise(lambda x, now: F.pad(x, now, mode="replicate")),
    ),
    Fault("dilation 2", CONV3, padded_otherwise(wider, 2)),
    Fault("pool's padding", pool, pooling(lambda p: p.replace(padding=0 if p.padding == 1 else 1))),
    Fault("pool takes the mean", pool, pooling(lambda p: p.replace(mode="avg", padding=1))),
    Fault("pool pads with -inf", signed_pool, pooling(lambda p: p.replace(fill="-inf"))),
    # activations, sums, blocks
    Fault("activation missing in a block", inner_activation, inner(lambda x: x)),
    Fault("relu6 in a block", other_activation, inner(lambda x: x.clamp(0, 0.5))),
    Fault("leaky relu in a block", other_activation, inner(lambda x: F.leaky_relu(x, 0.01))),
    Fault("gelu in a block", other_activation, inner(F.gelu)),
    Fault("activation missing after a sum", ACTIVATED, at_sum(lambda x: x)),
    Fault(
        "activation after a sum that had none", PREACTIVATED, summed(lambda b, x, f: f(x).relu())
    ),
    Fault("shortcut not added", ANY, short(lambda x: x * 0)),
    Fault("shortcut subtracted", ANY, short(lambda x: -x)),
    Fault("shortcut bent", ANY, short(lambda x: x.sin())),
    Fault("sum halved", ANY, summed(lambda block, x, usual: usual(x) / 2)),
    Fault("block skipped", IDENTITY, on_module(skipped)),
    Fault("block run twice", IDENTITY, on_module(twice)),
    Fault("two blocks swapped", blocks_swapped, swap_blocks),
    # the head
    Fault("classes' biases off by one", DENSE, edit("bias", plain(lambda b: np.roll(b, 1)))),
    Fault("classes' kernels off by one", DENSE, weight(lambda w: np.roll(w, 1, 0))),
    Fault("classes reversed", DENSE, weight(lambda w: w[::-1])),
    Fault("classifier's inputs shifted", DENSE, weight(lambda w: np.roll(w, 1, 1))),
    Fault("classifier's sign", DENSE, weight(lambda w: -w)),
    Fault("classifier in bfloat16", DENSE, weight(bfloat16)),
    Fault("classifier's bias zero", DENSE, edit("bias", plain(lambda b: b * 0))),
    Fault("softmax in the network", DENSE, on_module(lambda fc: nn.Sequential(fc, nn.Softmax(-1)))),
    Fault("maximum for the mean", average, on_module(lambda pool: nn.AdaptiveMaxPool2d(1))),
    # what the network is fed
    Fault("pictures BGR for RGB", first, on_input(lambda x: x.flip(1))),
    Fault("pictures / 255", first, on_input(lambda x: x / 255)),
    Fault("pictures less a mean", first, on_input(lambda x: x - 1)),
    Fault("pictures turned", first, on_input(lambda x: x.transpose(2, 3))),
)
