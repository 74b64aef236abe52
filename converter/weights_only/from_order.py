"""Order and shapes → which layer fills which module, for files that name layers after classes.

`conv2d_17` says nothing, but a file lists its layers in the order of the graph (or, in Keras 3's
`.weights.h5`, those of one class in that order), and the code behind it always makes a block's
layers in the same one. A file is read by the order of a dialect if every layer finds its place
and every kernel reads what the one before it gives; in stage 2 a block's last convolution and its
projection have one shape, so that the later stages decide.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from converter.errors import MismatchError
from converter.files.auto_names import auto_name
from converter.files.checkpoint import COUNT, GIVE_IT, Checkpoint, Weight
from converter.files.shapes import Shapes
from converter.weights_only.dialect import Dialect
from converter.weights_only.match import Match

AUTO_NAMED = frozenset(
    [
        *("conv2d", "convolution2d", "batch_normalization", "batchnormalization"),
        *("dense", "layer"),
    ]
)
"""What Keras calls layers that are given no name, without the number; `layer_3` is Keras 0.x."""

PROJECTION = ("downsample.0", "downsample.1")


def is_auto_named(checkpoint: Checkpoint) -> bool:
    """Whether the layers' names are Keras' own (keras-contrib names its first convolution)."""
    norms = [
        name
        for name, found in checkpoint.of_layer().items()
        if "moving_mean" in found and COUNT not in found
    ]
    return bool(norms) and all(auto_name(name.rpartition("/")[2]) in AUTO_NAMED for name in norms)


def match_order(checkpoint: Checkpoint, shapes: Shapes, dialects: Iterable[Dialect]) -> list[Match]:
    """The dialects whose order a file's layers follow, each with its reading."""
    layers = _Layers.of(checkpoint, shapes)
    found: list[Match] = []
    for dialect in dialects:
        found += _readings(layers, dialect)
    return found


@dataclass(frozen=True, slots=True)
class _Layers:
    """The layers that have weights, by kind ('conv', 'norm', 'dense'), each in the file's order;
    `sequence` is the order of all, where the container keeps it. `data_norm` is a Normalization
    layer, which stands in front wherever it is listed."""

    names: Mapping[str, tuple[str, ...]]
    sequence: tuple[str, ...] | None
    shapes: Shapes
    data_norm: str | None = None

    @classmethod
    def of(cls, checkpoint: Checkpoint, shapes: Shapes) -> _Layers:
        names: dict[str, list[str]] = {"conv": [], "norm": [], "dense": []}
        data_norm: str | None = None
        for layer, found in _body_first(checkpoint):
            if COUNT in found:
                data_norm = layer
                continue
            kernel = found.get("kernel")
            if kernel is not None:
                names["conv" if len(kernel.shape) == 4 else "dense"].append(layer)
            elif "moving_mean" in found:
                names["norm"].append(layer)
            else:
                names.setdefault("other", []).append(layer)
        in_order = tuple(one for one in checkpoint.of_layer() if one != data_norm)
        return cls(
            {kind: tuple(some) for kind, some in names.items()},
            in_order if checkpoint.is_ordered else None,
            shapes,
            data_norm,
        )


def _body_first(checkpoint: Checkpoint) -> list[tuple[str, dict[str, Weight]]]:
    """Every layer with its weights. Where the container sorts them by name, those of the model
    around most convolutions come first: a head's stand behind its base."""
    layers = list(checkpoint.of_layer().items())
    if checkpoint.is_ordered:
        return layers
    models = Counter(_model(found) for _, found in layers if "kernel" in found)
    base = max(models, key=models.__getitem__, default="")
    return sorted(layers, key=lambda one: _model(one[1]) != base)


def _model(found: Mapping[str, Weight]) -> str:
    """The way to the model that holds a layer: its weights' paths, less layer, `vars`, number."""
    path = next(iter(found.values())).path
    return "/".join(path.split("/")[:-3])


@dataclass(frozen=True, slots=True)
class _Taken:
    """How far a reading has come: `counts` of each kind, the modules so far, the channels that
    come next, and the blocks of each stage."""

    convs: int = 0
    norms: int = 0
    modules: tuple[tuple[str, str], ...] = ()
    channels: int = 0
    depths: tuple[int, ...] = ()

    def take(self, layers: _Layers, module: str) -> tuple[str, _Taken] | None:
        """The next layer of the module's kind, if it is next in the file too."""
        kind = "norm" if is_norm(module) else "conv"
        index = self.norms if kind == "norm" else self.convs
        if index >= len(layers.names[kind]):
            return None
        layer = layers.names[kind][index]
        if layers.sequence is not None and layers.sequence[self.convs + self.norms] != layer:
            return None
        one = replace(self, modules=(*self.modules, (module, layer)))
        if kind == "norm":
            return layer, replace(one, norms=self.norms + 1)
        return layer, replace(one, convs=self.convs + 1)


def is_norm(module: str) -> bool:
    part = module.rpartition(".")[2]
    return part.startswith("bn") or module.endswith("downsample.1") or module == "norm"


def _readings(layers: _Layers, dialect: Dialect) -> Iterator[Match]:
    if not dialect.orders or "other" in layers.names:
        return
    stem = _stem(layers, dialect)
    if stem is None:
        return
    for order in range(len(dialect.orders)):
        for whole in _blocks(layers, dialect, order, stem):
            match = _finished(layers, dialect, whole)
            if match:
                yield match


def _stem(layers: _Layers, dialect: Dialect) -> _Taken | None:
    found = _Taken().take(layers, "conv1")
    if found is None:
        return None
    layer, taken = found
    height, width, _, channels = layers.shapes.kernel(layer)
    if dialect.stem_kernel not in (None, height) or height != width:
        return None
    if dialect.bias is not None and layers.shapes.has(layer, "bias") != dialect.bias:
        return None
    taken = replace(taken, channels=channels)
    if "bn1" in dialect.required or not dialect.defaults.preactivation:
        normed = taken.take(layers, "bn1")
        if normed is None or layers.shapes.vector(normed[0]) != channels:
            return None
        taken = normed[1]
    return taken


def _blocks(layers: _Layers, dialect: Dialect, order: int, taken: _Taken) -> Iterator[_Taken]:
    """Every way to read the rest of the convolutions as blocks."""
    if taken.convs == len(layers.names["conv"]):
        if taken.depths:
            yield taken
        return
    projected = dialect.orders[order]
    if not taken.depths and dialect.first_order:
        projected = dialect.first_order[order]
    plain = tuple(part for part in projected if part not in PROJECTION)
    must_project = dialect.projects_first and not taken.depths
    for parts in (projected,) if must_project else (projected, plain):
        after = _block(layers, dialect, taken, parts)
        if after is not None:
            yield from _blocks(layers, dialect, order, after)


def _block(layers: _Layers, dialect: Dialect, taken: _Taken, parts: Sequence[str]) -> _Taken | None:
    """The block that `parts` describe, if the next layers are one and fit each other."""
    last = max(part for part in parts if part.startswith("conv"))
    found: dict[str, str] = {}
    current = taken
    for part in parts:
        step = current.take(layers, f"@.{part}")
        if step is None:
            return None
        found[part], current = step
    kernels = {part: layers.shapes.kernel(found[part]) for part in found if not is_norm(part)}
    windows = (1, 3, 1) if last == "conv3" else (3, 3)
    inside = taken.channels
    for number, window in enumerate(windows, start=1):
        height, width, inputs, outputs = kernels[f"conv{number}"]
        if (height, width, inputs) != (window, window, inside):
            return None
        normed = inside if dialect.defaults.preactivation else outputs
        norm = found.get(f"bn{number}")
        if norm is not None and layers.shapes.vector(norm) != normed:
            return None
        inside = outputs
    short = kernels.get("downsample.0", (1, 1, taken.channels, taken.channels))
    if short != (1, 1, taken.channels, inside):
        return None
    if "downsample.1" in found and layers.shapes.vector(found["downsample.1"]) != inside:
        return None
    starts = "downsample.0" in found or inside != taken.channels or not taken.depths
    return _placed(taken, current, inside, starts)


def _placed(before: _Taken, after: _Taken, channels: int, starts: bool) -> _Taken:
    """The block's modules under their names; it `starts` a stage or goes on with the last."""
    depths = [*before.depths, 0] if starts else list(before.depths)
    depths[-1] += 1
    name = f"layer{len(depths)}.{depths[-1] - 1}"
    modules = tuple((module.replace("@", name, 1), layer) for module, layer in after.modules)
    return replace(after, modules=modules, channels=channels, depths=tuple(depths))


def _finished(layers: _Layers, dialect: Dialect, taken: _Taken) -> Match | None:
    if "norm" in dialect.required:
        normed = taken.take(layers, "norm")
        if normed is None or layers.shapes.vector(normed[0]) != taken.channels:
            return None
        taken = normed[1]
    body = {layer for _, layer in taken.modules}
    weighted = layers.sequence or (*layers.names["norm"], *layers.names["dense"])
    head = tuple(layer for layer in weighted if layer not in body)
    data_norm = {"bn_data": layers.data_norm} if layers.data_norm else {}
    return Match(dialect, {**data_norm, **dict(taken.modules)}, head, ())


def one_reading(
    checkpoint: Checkpoint, matches: Sequence[Match], is_asked: bool
) -> tuple[Match, tuple[str, ...]]:
    """The reading to take, and the names of other networks that the file may as well hold.

    Where several agree on every layer, the first is taken and the others are told; what they
    disagree on (epsilon, padding, strides) is a default, shown as one. Raises MismatchError where
    they put a layer in different places: that must not be guessed, and is left open only where
    the original is asked, which decides.
    """
    first, *others = matches
    for other in others:
        differ = [
            module
            for module in {**first.computes, **other.computes}
            if first.computes.get(module) != other.computes.get(module)
        ]
        if differ and not is_asked:
            raise MismatchError(
                f"the layers of {checkpoint.path} can be read in several ways: as "
                f"{first.dialect.name} or as {other.dialect.name}",
                [
                    f"{module}: {first.modules.get(module)} or {other.modules.get(module)}"
                    for module in sorted(differ)
                ],
                [
                    "say which with --network NAME, or let a record decide: --against RECORD.npz",
                    f"or convert the whole model, or {GIVE_IT}",
                ],
            )
    return first, tuple(match.dialect.name for match in others)
