"""What is in a whole model, understood or not: its layers by kind, inputs, outputs, parameters, and
the layers at which it could be ended.

Read of the configuration alone, as data, so that there is something to say of a model that is
refused too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from converter.errors import ConvertError
from converter.files.checkpoint import COUNT, Checkpoint, Weight
from converter.files.model_config import Config, class_of, is_model, layer_name, model_layers
from converter.whole_model import ops as g
from converter.whole_model.cut import sources
from converter.whole_model.graph import Graph, parse_graph
from converter.whole_model.keras_classes import CUSTOM, why_unknown
from converter.whole_model.lift import liftings, output_names

STATISTICS = ("moving_mean", "moving_variance")
"""Parameters that no optimizer trains."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How many layers of a class there are, and how many numbers they hold. A layer that wraps
    another is of both classes: `Bidirectional(LSTM)`."""

    name: str
    layers: int
    parameters: int


@dataclass(frozen=True, slots=True)
class Parameters:
    """How many numbers a file holds: `trainable`, `statistics` of norms, those of `frozen` layers,
    and `unsaid` ones: in a file of weights alone, and of classes of the project's own, whose code
    says whether they are trained."""

    trainable: int = 0
    statistics: int = 0
    frozen: int = 0
    unsaid: int = 0

    @property
    def all(self) -> int:
        return self.trainable + self.statistics + self.frozen + self.unsaid


@dataclass(frozen=True, slots=True)
class Given:
    """An input by its name, with its shape behind the batch as Keras has it."""

    name: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Overview:
    """`ends` are the layers that `--outputs` can name, and `last_ends` those of them that no other
    one reads. Without a configuration all but the parameters is empty."""

    kinds: tuple[Kind, ...] = ()
    inputs: tuple[Given, ...] = ()
    outputs: tuple[str, ...] = ()
    parameters: Parameters = Parameters()
    ends: tuple[str, ...] = ()
    last_ends: tuple[str, ...] = ()


def overview(checkpoint: Checkpoint, refused: Collection[str] = ()) -> Overview:
    """What is in a file; `refused` are the layers of the outermost model that are, or hold, what is
    not understood."""
    weights = [one for one in checkpoint.weights if one.parameter != COUNT]
    config = checkpoint.config
    if config is None or not is_model(config):
        return Overview(parameters=_parameters([(one, None) for one in weights]))
    layers = dict(_layers(config))
    owned = list(_owned(layers, weights))
    graph = _graph(config)
    ends = _ends(config, refused) if graph else {}
    read = {source for name in ends for source in ends[name]}
    return Overview(
        kinds=tuple(_kinds(layers, owned)),
        inputs=tuple(_inputs(graph)) if graph else (),
        outputs=tuple(output_names(graph)) if graph else (),
        parameters=_parameters(owned),
        ends=tuple(ends),
        last_ends=tuple(name for name in ends if name not in read),
    )


Layers = dict[tuple[str, str], Config]
"""`{(layer of the outermost model, layer): configuration}` of all layers but inputs."""


Owned = Sequence[tuple[Weight, Config | None]]
"""Arrays, each with its layer."""


def _layers(config: Config, outermost: str = "") -> Iterator[tuple[tuple[str, str], Config]]:
    for layer in model_layers(config):
        name = layer_name(layer)
        if is_model(layer):
            yield from _layers(layer, outermost or name)
        elif layer["class_name"] != "InputLayer":
            yield (outermost or name, name), layer


def _graph(config: Config) -> Graph | None:
    """None for a configuration that is refused as a whole: who reads it says why."""
    try:
        return parse_graph(config)
    except ConvertError:
        return None


def _inputs(graph: Graph) -> Iterator[Given]:
    found = [node for node in graph.calls if isinstance(node.op, g.Input)]
    order = {name: place for place, name in enumerate(graph.inputs)}
    for node in sorted(found, key=lambda node: order.get(node.id, len(order))):
        assert isinstance(node.op, g.Input)
        yield Given(node.id, tuple(node.op.shape[1:]))


def _kind(layer: Config) -> str:
    inner = layer["config"].get("layer") if isinstance(layer["config"], dict) else None
    if isinstance(inner, dict) and "class_name" in inner:
        return f"{class_of(layer)}({class_of(inner)})"
    return class_of(layer)


def _owned(layers: Layers, weights: Iterable[Weight]) -> Iterator[tuple[Weight, Config | None]]:
    """Each array with the layer that holds it, where the configuration has that. Those of a layer
    within a wrapper are the wrapper's. Containers of Keras 3 lead to the layers of nested models by
    groups that are called after classes: a name that one layer has is that layer's."""
    by_name: dict[str, list[Config]] = {}
    for (_, name), layer in layers.items():
        by_name.setdefault(name, []).append(layer)
    for weight in weights:
        alone = by_name.get(weight.layer, [])
        wrapper = layers.get((weight.group, weight.group))
        only = alone[0] if len(alone) == 1 else None
        yield weight, layers.get((weight.group, weight.layer)) or only or wrapper


def _kinds(layers: Layers, owned: Owned) -> Iterator[Kind]:
    """The most frequent first."""
    counted = Counter(_kind(layer) for layer in layers.values())
    held: Counter[str] = Counter()
    for weight, layer in owned:
        held.update({_kind(layer): math.prod(weight.shape)} if layer else {})
    for name in sorted(counted, key=lambda name: (-counted[name], name)):
        yield Kind(name, counted[name], held[name])


def _parameters(owned: Owned) -> Parameters:
    known, found = liftings(), Counter[str]()
    for weight, layer in owned:
        found.update({_trained(weight, layer, known): math.prod(weight.shape)})
    return Parameters(**found)


def _trained(weight: Weight, layer: Config | None, known: Collection[str]) -> str:
    if weight.parameter in STATISTICS:
        return "statistics"
    if layer is None:
        return "unsaid"
    config = layer["config"] if isinstance(layer["config"], dict) else {}
    if config.get("trainable") is False:
        return "frozen"
    name = class_of(layer)
    return "unsaid" if name not in known and why_unknown(name) == CUSTOM else "trainable"


def _ends(config: Config, refused: Collection[str]) -> dict[str, frozenset[str]]:
    """`{layer: what it reads}` of the outermost layers that lead from the inputs through nothing
    that is refused."""
    read = sources(config)
    inputs = {layer_name(one) for one in model_layers(config) if one["class_name"] == "InputLayer"}
    bad, waiting = set(refused), True
    while waiting:
        more = {name for name, some in read.items() if some & bad} - bad
        bad, waiting = bad | more, bool(more)
    return {name: some for name, some in read.items() if name not in bad | inputs}
