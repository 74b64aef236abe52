"""The graph in a `model_config`: Keras 1, 2 and 3 configurations as one kind of node.

A configuration is data here. Nothing in it is imported, built or run; a layer class that is not
in the table becomes an `Unknown`, for whoever reads the graph to refuse by name.

Sources: keras 1.2.2 and 2.3.1 `engine/topology.py`, `engine/network.py`; keras 3.15
`src/models/functional.py`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from converter.errors import MismatchError, SourceError, shortened
from converter.files.kinds import SettingError
from converter.files.model_config import (
    Config,
    Reference,
    class_of,
    inbound,
    is_channels_first,
    is_model,
    is_operator,
    keywords,
    layer_name,
    model_layers,
    reference_list,
    references,
)
from converter.whole_model.arithmetic import Channels, Pick, Stack
from converter.whole_model.layer_classes import (
    ACTS_IN_TRAINING,
    built_in_activation,
    input_shape,
    op_of,
    operator_of,
)
from converter.whole_model.ops import Input, Op, Unknown
from converter.whole_model.replicas import one_replica

LOST_INPUT = (
    "the model {!r} is called with {} values, and its configuration has {} inputs: Keras before "
    "2.4 leaves out an input that no layer reads, and which value is left is not in the file"
)
"""keras 2.2.4 `engine/network.py`, get_config: `if node_key not in self._network_nodes`."""

MAX_NODES = 20_000


MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Node:
    """One call of one layer. `id` is unique in the graph; `layer` is the name that its weights
    have in the file and `outer` the nested models around it, outermost first. `config` is the layer
    as the configuration has it, with the `arguments` of this call; None where it is an activation
    that another layer applies. How it is written does not make it another node."""

    id: str
    layer: str
    outer: tuple[str, ...]
    op: Op
    inputs: tuple[str, ...]
    config: Config | None = field(default=None, compare=False)
    arguments: Any = field(default=None, compare=False)

    @property
    def is_operator(self) -> bool:
        """Whether it is an operator on tensors, and no layer."""
        if self.config is None:
            return False
        return self.config["class_name"] in TENSORFLOW_OPERATORS or is_operator(self.config)

    @property
    def keywords(self) -> Config:
        """The constants that this call passes by keyword."""
        return keywords(self.arguments)


TRAINS = "it is called with training=True, at inference too"

TENSORFLOW_OPERATORS = ("TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")


@dataclass(frozen=True, slots=True)
class Graph:
    """The nodes in the order in which they can run, nested models opened up. `calls` are all that
    the configuration has, before channels that are picked one by one are joined; `inputs` are in
    the model's order, and `reused` the nested models that are used several times. `several` are the
    calls of layers of unknown classes of which more than one value is read."""

    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    channels_first: bool
    calls: tuple[Node, ...] = field(default=(), compare=False)
    inputs: tuple[str, ...] = ()
    reused: tuple[str, ...] = ()
    several: frozenset[str] = frozenset()

    def by_call(self) -> dict[str, Node]:
        return {node.id: node for node in self.calls}

    def by_id(self) -> dict[str, Node]:
        return {node.id: node for node in self.nodes}


def parse_graph(config: Config) -> Graph:
    """The graph of a whole-model configuration (a dict with `class_name` and `config`).

    Raises SourceError if it is not a configuration that Keras writes, and MismatchError for a model
    that is neither Sequential nor functional, and for one within it that is used twice.
    """
    is_written = isinstance(config.get("class_name"), str) and "config" in config
    if is_written and not is_model(config):
        raise MismatchError(
            f"the model is of a class of its own, {config.get('class_name')!r}: its layers are in "
            "its code, and not in the model_config",
            hints=[
                "if the names of its layers are known, its weights alone are read by them "
                "(model.save_weights); so is a functional model of them, "
                "keras.Model(inputs, outputs)"
            ],
        )
    try:
        builder = _Builder()
        whole = one_replica(config)
        outputs = builder.model(whole, (), ())
        nodes = with_channels_joined(builder.nodes, outputs)
        return Graph(
            nodes,
            tuple(outputs),
            builder.channels_first,
            tuple(builder.nodes.values()),
            _inputs(whole),
            tuple(dict.fromkeys(builder.reused)),
            frozenset(builder.several),
        )
    except (
        *(KeyError, TypeError, ValueError, IndexError, AttributeError, ArithmeticError),
        RecursionError,
    ) as error:
        kind = "" if isinstance(error, SettingError) else f"{type(error).__name__}: "
        raise SourceError(
            "the model_config is not one that Keras writes",
            [f"{kind}{error}"[:200]],
            [
                "if its Keras loads it, and the names of its layers are known, its weights alone "
                "are read by them: model.save_weights"
            ],
        ) from error


def _inputs(config: Config) -> tuple[str, ...]:
    """The names of a functional model's inputs, in its order."""
    inner = config["config"]
    functional = isinstance(inner, dict) and "input_layers" in inner
    return tuple(references(inner["input_layers"])) if functional else ()


def _first_shape(layer: Config) -> Any:
    """The shape, with the batch, that a layer or a nested model says that it reads; None where it
    says none."""
    for _ in range(MAX_DEPTH):
        if not is_model(layer):
            break
        inputs, layers = _inputs(layer), model_layers(layer)
        layer = next((one for one in layers if layer_name(one) in inputs), layers[0])
    inner = layer["config"]
    if not isinstance(inner, dict):
        return None
    return inner.get("batch_input_shape") or inner.get("batch_shape")


class _Builder:
    """Walks a configuration and collects nodes; `outer` is the path of enclosing models, and
    `place` the same with the numbers of their calls, which tells the uses of one apart."""

    def __init__(self) -> None:
        self.reused: list[str] = []
        self.several: set[str] = set()
        self.models: set[tuple[str, ...]] = set()
        self.place: tuple[str, ...] = ()
        self.nodes: dict[str, Node] = {}
        self.channels_first = False
        self.training = False

    def model(
        self, config: Config, outer: tuple[str, ...], inputs: tuple[str, ...]
    ) -> tuple[str, ...]:
        """Add a model that reads `inputs` (none at the top); the ids of its outputs."""
        if len(outer) > MAX_DEPTH or len(model_layers(config)) > MAX_NODES:
            raise ValueError("too deep or too large a model")
        inner = config["config"]
        functional = isinstance(inner, dict) and "input_layers" in inner
        return (self.functional if functional else self.sequential)(config, outer, inputs)

    def sequential(
        self, config: Config, outer: tuple[str, ...], inputs: tuple[str, ...]
    ) -> tuple[str, ...]:
        current = inputs
        for layer in model_layers(config):
            if not current and layer["class_name"] != "InputLayer":
                current = self.implied_input(layer, outer)
            if layer["class_name"] == "InputLayer" and current:
                continue
            current = self.layer(layer, outer, current)
        return current

    def implied_input(self, layer: Config, outer: tuple[str, ...]) -> tuple[str, ...]:
        """A Sequential model's first layer carries the input's shape itself."""
        shape = _first_shape(layer)
        return (
            self.node(
                "/".join((*self.place, "input")), "input", outer, Input(input_shape(shape)), ()
            ),
        )

    def functional(
        self, config: Config, outer: tuple[str, ...], inputs: tuple[str, ...]
    ) -> tuple[str, ...]:
        inner = config["config"]
        made: dict[str, list[tuple[str, ...]]] = {}
        listed = references(inner["input_layers"])
        if outer and len(inputs) != len(listed):
            raise MismatchError(LOST_INPUT.format(outer[-1], len(inputs), len(listed)))
        given = dict(zip(listed, inputs, strict=False))
        ready = deque(call for layer in inner["layers"] for call in _calls(layer))
        calls = Counter(call.name for call in ready)
        outputs: Sequence[Reference] = reference_list(inner["output_layers"])
        which: Which = _as_it_says
        if any(isinstance(call.arguments, dict) and "args" in call.arguments for call in ready):
            outputs = _outputs_of_keras_3(inner["layers"], outputs)
        else:
            which = _which(calls, [*outputs, *(one for call in ready for one in call.sources)])

        def missing(call: Call) -> tuple[str, int] | None:
            """(layer, which of its calls) that has to be made before this, or None."""
            wanted = [(source[0], which(source)) for source in call.sources]
            wanted += [(call.name, call.number - 1)] if call.number else []
            return next((one for one in wanted if len(made.get(one[0], ())) <= one[1]), None)

        blocked: dict[tuple[str, int], list[Call]] = {}
        while ready:
            call = ready.popleft()
            before = missing(call)
            if before:
                blocked.setdefault(before, []).append(call)
                continue
            inputs = tuple(self.pick(made, which, one) for one in call.sources)
            made.setdefault(call.name, []).append(self.call(call, outer, inputs, given))
            ready.extendleft(reversed(blocked.pop((call.name, call.number), [])))
        if blocked:
            raise ValueError("layers that wait for each other")
        return tuple(self.pick(made, which, one) for one in outputs)

    def pick(self, made: Made, which: Which, reference: Reference) -> str:
        """The id of the tensor that a reference means; one of several that a layer of an unknown
        class gives (`tf.split`) is that layer's only one here."""
        name, _, tensor = reference
        outputs = made[name][which(reference)]
        if isinstance(self.nodes[outputs[0]].op, Unknown) and len(outputs) == 1:
            self.several.update(outputs if tensor else ())
            return outputs[0]
        return outputs[tensor]

    def call(
        self,
        call: Call,
        outer: tuple[str, ...],
        inputs: tuple[str, ...],
        given: Mapping[str, str],
    ) -> tuple[str, ...]:
        """The outputs of one call; an input of a nested model is what it is given."""
        if call.name in given:
            return (given[call.name],)
        before, self.training = self.training, self.training or call.training
        suffix = f"#{call.number}" if call.number else ""
        try:
            return self.layer(call.layer, outer, inputs, suffix, call.arguments)
        finally:
            self.training = before

    def layer(
        self,
        layer: Config,
        outer: tuple[str, ...],
        inputs: tuple[str, ...],
        suffix: str = "",
        arguments: Any = None,
    ) -> tuple[str, ...]:
        name = layer_name(layer)
        if is_model(layer):
            return self.nested(layer, (*outer, name), inputs, f"{name}{suffix}")
        config = layer["config"]
        self.channels_first |= is_channels_first(config)
        with _of_layer(name):
            op = operator_of(layer, arguments) or op_of(class_of(layer), config)
        if self.training and layer["class_name"].rpartition(">")[2] in ACTS_IN_TRAINING:
            op = Unknown(layer["class_name"], TRAINS)
        id = "/".join((*self.place, name)) + suffix
        current = self.node(id, name, outer, op, inputs, layer, arguments)
        built_in = built_in_activation(op, config)
        if built_in:
            current = self.node(f"{current}/activation", name, outer, built_in, (current,))
        return (current,)

    def nested(
        self, model: Config, outer: tuple[str, ...], inputs: tuple[str, ...], name: str
    ) -> tuple[str, ...]:
        """One use of a model within another."""
        if outer in self.models:
            self.reused.append(outer[-1])
        self.models.add(outer)
        before, self.place = self.place, (*self.place, name)
        try:
            return self.model(model, outer, inputs)
        finally:
            self.place = before

    def node(
        self,
        id: str,
        layer: str,
        outer: tuple[str, ...],
        op: Op,
        inputs: tuple[str, ...],
        config: Config | None = None,
        arguments: Any = None,
    ) -> str:
        if id in self.nodes:
            raise ValueError(f"two layers called {id!r}")
        if len(self.nodes) >= MAX_NODES:
            raise ValueError(f"more than {MAX_NODES:,} layers")
        self.nodes[id] = Node(id, layer, outer, op, inputs, config, arguments)
        return id


def check_reused(graph: Graph) -> None:
    """Raise MismatchError for a nested model that is used several times: a residual network of a
    known kind has none."""
    if graph.reused:
        name = graph.reused[0]
        raise MismatchError(
            f"the model {name!r} is used twice: shared weights cannot be carried over",
            hints=[f"if that is the ResNet: model.get_layer({name!r}).save writes it alone"],
        )


@contextmanager
def _of_layer(name: str) -> Iterator[None]:
    """A setting that cannot be is said with its layer."""
    try:
        yield
    except SettingError as error:
        raise SettingError(f"layer {shortened(name)!r}: {error}") from error


@dataclass(frozen=True, slots=True)
class Call:
    """One use of a layer: how many came before it, what it reads, whether the call says
    `training=True`, and how it is written (an operator's constants stand there)."""

    layer: Config
    name: str
    number: int = 0
    sources: tuple[Reference, ...] = ()
    training: bool = False
    arguments: Any = None


def _calls(layer: Config) -> list[Call]:
    name = layer_name(layer)
    calls = layer.get("inbound_nodes") or []
    return [
        Call(layer, name, number, tuple(sources), _trains(call), call)
        for number, (call, sources) in enumerate(zip(calls, inbound(layer), strict=True))
    ] or [Call(layer, name)]


def _trains(call: Any) -> bool:
    """Whether a call passes `training=True` and Keras heeds it: Keras 3 writes it for random
    layers, and `predict` overrides it (keras 3.0.5 and 3.15 `functional.py`, operation_fn)."""
    return isinstance(call, list) and any(
        isinstance(part, list) and len(part) > 3 and _flag(part[3]) for part in call
    )


def _flag(arguments: Any) -> bool:
    return isinstance(arguments, dict) and bool(arguments.get("training"))


Made = Mapping[str, list[tuple[str, ...]]]
"""`{layer: the outputs of each of its calls so far}`."""


Which = Callable[[Reference], int]
"""Which call of a layer, from 0, a reference means."""


def _which(calls: Mapping[str, int], references: Sequence[Reference]) -> Which:
    """A model used as a layer counts its own making as call 0, which no configuration lists: the
    last call of n, which is referred to since all that is listed leads to an output, is then call
    n (keras 2.2.4 `engine/network.py`, get_config: kept_nodes)."""
    last: dict[str, int] = {}
    for name, call, _ in references:
        last[name] = max(call, last.get(name, 0))

    def which(reference: Reference) -> int:
        name, call, _ = reference
        return call - 1 if call and last[name] >= calls[name] else call

    return which


def _as_it_says(reference: Reference) -> int:
    """Keras 3 counts the calls that it lists from 0, in what layers read."""
    return reference[1]


def _outputs_of_keras_3(
    layers: Sequence[Config], outputs: Sequence[Reference]
) -> Sequence[Reference]:
    """In a model's outputs alone it counts the making of a functional model as call 0 (3.15
    `src/models/functional.py`, get_config: kept_nodes, and serialize_node)."""
    models = {
        layer_name(one) for one in layers if is_model(one) and "input_layers" in one["config"]
    }
    return [
        (name, call - 1 if call and name in models else call, tensor)
        for name, call, tensor in outputs
    ]


def with_channels_joined(nodes: Mapping[str, Node], outputs: Sequence[str]) -> tuple[Node, ...]:
    """The nodes, with channels that are picked one by one and stacked again, or a picture set
    beside itself, as one op."""
    joined = {id: _joined(node, nodes) for id, node in nodes.items()}
    read = {source for node in joined.values() for source in node.inputs} | set(outputs)
    return tuple(node for id, node in joined.items() if id in read or not isinstance(node.op, Pick))


def _joined(node: Node, nodes: Mapping[str, Node]) -> Node:
    if not isinstance(node.op, Stack) or node.op.axis != -1:
        return node
    if not node.op.is_new:
        return _one_source(node, node.inputs, [None] * len(node.inputs))
    picks = [nodes[source] for source in node.inputs]
    channels = [one.op.channel for one in picks if isinstance(one.op, Pick)]
    if len(channels) != len(picks):
        return node
    return _one_source(node, [one.inputs[0] for one in picks], channels)


def _one_source(node: Node, sources: Sequence[str], picks: Sequence[int | None]) -> Node:
    if len(set(sources)) != 1:
        return node
    return replace(node, op=Channels(tuple(picks)), inputs=(sources[0],))
