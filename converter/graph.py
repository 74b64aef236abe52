"""The graph in a `model_config`: Keras 1, 2 and 3 configurations as one kind of node.

A configuration is data here. Nothing in it is imported, built or run; a layer class that is not
in the table becomes an `Unknown`, for whoever reads the graph to refuse by name.

Sources: keras 1.2.2 and 2.3.1 `engine/topology.py`, `engine/network.py`; keras 3.15
`src/models/functional.py`.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from converter import arithmetic
from converter.arithmetic import Channels, Pick, Rescaling, Reverse, Stack
from converter.errors import MismatchError, SourceError
from converter.replicas import one_replica

Config = Mapping[str, Any]
Pair = tuple[int, int]
Sides = tuple[int, int, int, int]
"""Zeros to the (left, right, top, bottom)."""

MAX_NODES = 20_000
MAX_DEPTH = 8


@dataclass(frozen=True, slots=True)
class Input:
    shape: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class Convolution:
    kernel: Pair
    stride: Pair
    padding: str
    groups: int
    bias: bool
    dilation: Pair
    filters: int = 0
    depthwise: bool = False


@dataclass(frozen=True, slots=True)
class BatchNorm:
    eps: float
    momentum: float
    gamma: bool
    beta: bool
    axis: int = -1


@dataclass(frozen=True, slots=True)
class Scale:
    """The custom layer of the Caffe ports: gamma and beta for each channel."""


@dataclass(frozen=True, slots=True)
class Dense:
    units: int
    bias: bool


@dataclass(frozen=True, slots=True)
class Activation:
    """`slope` is leaky_relu's, below zero."""

    name: str
    slope: float = 0.0


@dataclass(frozen=True, slots=True)
class PReLU:
    """A leaky relu whose slopes are weights."""


@dataclass(frozen=True, slots=True)
class Pad:
    """Zeros around a map, or -inf. `is_last`: of the axes 1 and 2, whether the model's channels
    come last or first."""

    sides: Sides
    is_last: bool = False
    value: float = 0.0


@dataclass(frozen=True, slots=True)
class Pooling:
    mode: Literal["max", "avg"]
    kernel: Pair
    stride: Pair
    padding: str


@dataclass(frozen=True, slots=True)
class GlobalPooling:
    """`is_last`: over the axes 1 and 2, whether the model's channels come last or first."""

    mode: Literal["max", "avg"]
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Flatten:
    """`channels_last`: a map of channels first is turned before (Keras 2.2 and later, where the
    layer is told `channels_first`)."""

    channels_last: bool = False


@dataclass(frozen=True, slots=True)
class Dropout:
    rate: float


@dataclass(frozen=True, slots=True)
class Identity:
    """A layer that only acts while training, or only names a tensor."""


@dataclass(frozen=True, slots=True)
class Add:
    pass


@dataclass(frozen=True, slots=True)
class Reshape:
    """`target` leaves out the batch."""

    target: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Normalization:
    """Keras' layer of that name where its mean and variance are weights."""

    axis: int


@dataclass(frozen=True, slots=True)
class Unknown:
    class_name: str
    reason: str = "this layer class is not known"


Op = (
    Input
    | Convolution
    | BatchNorm
    | Scale
    | Dense
    | Activation
    | PReLU
    | Pad
    | Pooling
    | GlobalPooling
    | Flatten
    | Dropout
    | Identity
    | Add
    | Rescaling
    | Normalization
    | Reverse
    | Pick
    | Stack
    | Channels
    | Reshape
    | Unknown
)


CLASS_NAMES: Mapping[type, str] = {
    Input: "InputLayer",
    Convolution: "Conv2D",
    BatchNorm: "BatchNormalization",
    Pad: "ZeroPadding2D",
    Pooling: "a pool",
    GlobalPooling: "a global pool",
    Reverse: "a flip",
    Pick: "a slice",
    Stack: "Concatenate",
    Channels: "Concatenate",
}
"""What people call an op, where that is not its name here."""


def class_name(op: Op) -> str:
    """Keras' name of a layer's class, or what it does, for a message."""
    if isinstance(op, Unknown):
        return op.class_name
    return CLASS_NAMES.get(type(op), type(op).__name__)


@dataclass(frozen=True, slots=True)
class Node:
    """One call of one layer. `id` is unique in the graph; `layer` is the name that its weights
    have in the file and `outer` the nested models around it, outermost first."""

    id: str
    layer: str
    outer: tuple[str, ...]
    op: Op
    inputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Graph:
    """The nodes in the order in which they can run, nested models opened up."""

    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    channels_first: bool

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
            hints=["convert its weights alone: model.save_weights"],
        )
    try:
        builder = _Builder()
        outputs = builder.model(one_replica(config), (), ())
        nodes = with_channels_joined(builder.nodes, outputs)
        return Graph(nodes, tuple(outputs), builder.channels_first)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        raise SourceError(
            "the model_config is not one that Keras writes",
            [f"{type(error).__name__}: {error}"[:200]],
            ["convert the weights alone: save them with model.save_weights"],
        ) from error


def epsilons(config: Any) -> dict[str, float]:
    """`{layer: epsilon}` of every batch norm in a configuration, those of nested models too."""
    found: dict[str, float] = {}
    for layer in model_layers(config):
        inner = layer.get("config")
        if is_model(layer):
            found |= epsilons(layer)
        elif isinstance(inner, dict) and isinstance(inner.get("epsilon"), float):
            found[layer_name(layer)] = inner["epsilon"]
    return found


MODELS = ("Model", "Functional", "Sequential")


def is_model(config: Config) -> bool:
    """Whether a layer's configuration is that of a nested model."""
    inner = config.get("config")
    listed = isinstance(inner, list) or (isinstance(inner, dict) and "layers" in inner)
    return config.get("class_name") in MODELS or listed


def is_operator(config: Config) -> bool:
    """Whether a layer's configuration is that of an operator on tensors (Keras 3). An `.h5` has
    no modules; operators are never trainable, and the base of all layers writes whether they are
    (keras 3.15 `src/layers/layer.py`, get_config)."""
    if ">" in str(config.get("class_name")):  # `package>Name`: a registered class
        return False
    if "module" in config:
        return str(config["module"]).startswith("keras.src.ops")
    inner, calls = config.get("config"), config.get("inbound_nodes") or ()
    is_keras_3 = any(isinstance(call, dict) for call in calls)
    return is_keras_3 and isinstance(inner, dict) and "trainable" not in inner


def model_layers(config: Config) -> Sequence[Config]:
    """The layer configurations of a model; Keras before 2.2.3 wrote a Sequential as a list."""
    inner = config["config"]
    return inner if isinstance(inner, list) else inner["layers"]


def layer_name(config: Config) -> str:
    """A layer's name: beside its class in functional models, inside its config elsewhere."""
    inner = config.get("config")
    name = config.get("name")
    if name is None and isinstance(inner, dict):
        name = inner.get("name")
    return str(name if name is not None else config["class_name"])


class _Builder:
    """Walks a configuration and collects nodes; `outer` is the path of enclosing models."""

    def __init__(self) -> None:
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
        shape: Any = None
        if isinstance(layer["config"], dict):
            shape = layer["config"].get("batch_input_shape") or layer["config"].get("batch_shape")
        return (self.node("/".join((*outer, "input")), "input", outer, Input(_shape(shape)), ()),)

    def functional(
        self, config: Config, outer: tuple[str, ...], inputs: tuple[str, ...]
    ) -> tuple[str, ...]:
        inner = config["config"]
        made: dict[str, list[tuple[str, ...]]] = {}
        given = dict(zip(_references(inner["input_layers"]), inputs, strict=False))
        ready = deque(call for layer in inner["layers"] for call in _calls(layer))
        calls = Counter(call.name for call in ready)

        def missing(call: Call) -> tuple[str, int] | None:
            """(layer, which of its calls) that has to be made before this, or None."""
            wanted = [(source[0], _which(calls, source)) for source in call.sources]
            wanted += [(call.name, call.number - 1)] if call.number else []
            return next((one for one in wanted if len(made.get(one[0], ())) <= one[1]), None)

        blocked: dict[tuple[str, int], list[Call]] = {}
        while ready:
            call = ready.popleft()
            before = missing(call)
            if before:
                blocked.setdefault(before, []).append(call)
                continue
            inputs = tuple(self.pick(made, calls, one) for one in call.sources)
            made.setdefault(call.name, []).append(self.call(call, outer, inputs, given))
            ready.extendleft(reversed(blocked.pop((call.name, call.number), [])))
        if blocked:
            raise ValueError("layers that wait for each other")
        return tuple(self.pick(made, calls, one) for one in _reference_list(inner["output_layers"]))

    def pick(self, made: Made, calls: Mapping[str, int], reference: Reference) -> str:
        """The id of the tensor that a reference means; one of several that a layer of an unknown
        class gives (`tf.split`) is that layer's only one here."""
        name, _, tensor = reference
        outputs = made[name][_which(calls, reference)]
        is_unknown = isinstance(self.nodes[outputs[0]].op, Unknown)
        return outputs[0] if is_unknown and len(outputs) == 1 else outputs[tensor]

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
            return self.model(layer, (*outer, name), inputs)
        config = layer["config"]
        self.channels_first |= _is_channels_first(config)
        op = _operator(layer, arguments) or _op(layer["class_name"], config)
        if self.training and layer["class_name"].rpartition(">")[2] in ACTS_IN_TRAINING:
            op = Unknown(layer["class_name"], "it is called with training=True, at inference too")
        current = self.node("/".join((*outer, name)) + suffix, name, outer, op, inputs)
        built_in = _built_in_activation(op, config)
        if built_in:
            current = self.node(f"{current}/activation", name, outer, built_in, (current,))
        return (current,)

    def node(
        self, id: str, layer: str, outer: tuple[str, ...], op: Op, inputs: tuple[str, ...]
    ) -> str:
        if id in self.nodes and outer:
            raise MismatchError(
                f"the model {outer[-1]!r} is used twice: shared weights cannot be carried over",
                hints=[f"save it alone (model.get_layer({outer[-1]!r}).save) and convert that"],
            )
        if id in self.nodes:
            raise ValueError(f"two layers called {id!r}")
        if len(self.nodes) >= MAX_NODES:
            raise ValueError(f"more than {MAX_NODES:,} layers")
        self.nodes[id] = Node(id, layer, outer, op, inputs)
        return id


Reference = tuple[str, int, int]
"""(layer, which of its calls, which of that call's outputs)."""


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
        for number, (call, sources) in enumerate(zip(calls, _inbound(layer), strict=True))
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


def _which(calls: Mapping[str, int], reference: Reference) -> int:
    """Which call of a layer a reference means.

    A model used as a layer counts its own making as call 0, so a layer with one call in the
    configuration can be referred to as call 1.
    """
    name, call, _ = reference
    return 0 if calls[name] == 1 else call


def _references(value: Any) -> list[str]:
    return [name for name, _, _ in _reference_list(value)]


def _reference_list(value: Any) -> list[Reference]:
    """`[["a", 0, 0], …]`; Keras 3 writes `["a", 0, 0]` for a single one, or a dict by name, whose
    tensors it counts in the order of the names (keras 3.15 `src/ops/function.py`, tree.flatten;
    tf.nest in Keras 2), whatever the order in which they are written."""
    if isinstance(value, dict):
        value = [value[name] for name in sorted(value)]
    if value and isinstance(value[0], str):
        value = [value]
    tensors = [one for one in value if one[0] != arithmetic.CONSTANT]
    return [(str(one[0]), int(one[1]), int(one[2])) for one in tensors]


def _inbound(layer: Config) -> list[list[Reference]]:
    """For each call of a layer, the tensors it reads, in any of the three ways to write them."""
    found = []
    for call in layer.get("inbound_nodes") or []:
        if isinstance(call, dict):
            found.append(list(_keras_3_references(call.get("args", []))))
        else:
            others = _arguments(call).values()
            extra = [one for one in others if arithmetic.is_reference(one)]
            found.append([*_reference_list(call), *_reference_list(extra)])
    return found


def _first_argument(call: Any) -> Any:
    """The constant that a Keras 2 operator has on its left; None where a tensor stands there."""
    is_constant = bool(call) and call[0] == arithmetic.CONSTANT and len(call) > 2
    return call[2] if is_constant else None


def _arguments(call: Any) -> Config:
    """What Keras 2 passes in a call beside its first tensors."""
    first: Any = call if call and isinstance(call[0], str) else call[0] if call else ()
    return first[3] if len(first) > 3 and isinstance(first[3], dict) else {}


def _keras_3_references(value: Any) -> Iterator[Reference]:
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        name, call, tensor = value["config"]["keras_history"]
        yield str(name), int(call), int(tensor)
    elif isinstance(value, list):
        for one in value:
            yield from _keras_3_references(one)


def _is_channels_first(config: Config) -> bool:
    return config.get("data_format") == "channels_first" or config.get("dim_ordering") == "th"


def _op(class_name: str, config: Config) -> Op:
    short = class_name.rpartition(">")[2]  # a registered class reads `package>Name`
    build = OPS.get(short)
    return build(config) if build else Unknown(class_name)


def _operator(layer: Config, call: Any) -> Op | None:
    """The op of an operator on tensors; None for a layer, and for an operator not understood."""
    class_name, config = layer["class_name"].rpartition(">")[2], layer["config"]
    if class_name in ("TFOpLambda", "SlicingOpLambda"):
        refused = Unknown(class_name, f"the function {config.get('function')!r} is not understood")
        return _tf_function(str(config.get("function")), call) or refused
    found = arithmetic.keras_3(class_name, config, call)
    if found:
        return _as_op(found)
    build = FURTHER_OPERATORS.get(class_name) if is_operator(layer) else None
    given = call.get("kwargs") if isinstance(call, dict) else None
    return build({**config, **(given or {})}) if build else None


def _tf_function(function: str, call: Any) -> Op | None:
    """What a function of TensorFlow computes, by the name that tf.keras gives it."""
    found = arithmetic.tf_keras(function, _arguments(call), _first_argument(call))
    if found:
        return _as_op(found)
    given = {key: value for key, value in _arguments(call).items() if key != "name"}
    if function in TF_ACTIVATIONS:
        return None if given else Activation(TF_ACTIVATIONS[function])
    build = TF_FUNCTIONS.get(function)
    return build(given) if build else None


def _as_op(operation: arithmetic.Operation) -> Op:
    if isinstance(operation, arithmetic.Sum):
        return Add()
    return Identity() if isinstance(operation, arithmetic.Same) else operation


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


def _built_in_activation(op: Op, config: Config) -> Activation | Unknown | None:
    """The activation that a Conv2D or Dense applies itself."""
    if not isinstance(op, Convolution | Dense):
        return None
    found = _activation(config)
    return None if found == Activation("linear") else found


def _pair(value: Any) -> Pair:
    if isinstance(value, int):
        return value, value
    first, second = value
    return int(first), int(second)


def _first(config: Config, *keys: str) -> Any:
    """The value under the first of `keys` that is there: Keras 2 renamed Keras 1's arguments."""
    for key in keys:
        if key in config:
            return config[key]
    raise KeyError(f"{keys[0]} in {config.get('name')!r}")


def _shape(value: Any) -> tuple[int | None, ...]:
    if value is None:
        return ()
    return tuple(None if size is None else int(size) for size in value)


def _input(config: Config) -> Op:
    shape = config.get("batch_input_shape") or config.get("batch_shape")
    return Input(_shape(shape))


def _conv(config: Config) -> Op:
    kernel = (
        (int(config["nb_row"]), int(config["nb_col"]))
        if "nb_row" in config
        else _pair(config["kernel_size"])
    )
    return Convolution(
        kernel=kernel,
        stride=_pair(_first(config, "strides", "subsample")),
        padding=str(_first(config, "padding", "border_mode")),
        groups=int(config.get("groups", 1)),
        bias=bool(_first(config, "use_bias", "bias")),
        dilation=_pair(config.get("dilation_rate", 1)),
        filters=int(config.get("filters", config.get("nb_filter", 0))),
    )


def _depthwise(config: Config) -> Op:
    op = _conv(config)
    assert isinstance(op, Convolution)
    return replace(op, depthwise=True)


def _norm(config: Config) -> Op:
    if config.get("mode", 0) != 0:
        return Unknown("BatchNormalization", "mode 1 and 2 normalise by the batch at hand")
    return BatchNorm(
        eps=float(config["epsilon"]),
        momentum=float(config.get("momentum", 0.99)),
        gamma=bool(config.get("scale", True)),
        beta=bool(config.get("center", True)),
        axis=_axis(config.get("axis", -1)),
    )


def _axis(value: Any) -> int:
    """tf.keras writes a list of one."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return int(value)


def _dense(config: Config) -> Op:
    return Dense(
        int(_first(config, "units", "output_dim")), bool(_first(config, "use_bias", "bias"))
    )


def _activation(config: Config) -> Activation | Unknown:
    name = config.get("activation")
    if isinstance(name, dict) and name.get("class_name") == "function":  # as Keras 3 writes one
        name = name.get("config")
    if isinstance(name, dict):
        return _layer_as_activation(name)
    if name is None:
        return Activation("linear")
    if not isinstance(name, str):
        return Unknown("Activation", "its activation is custom code")
    return Activation(name, LEAKY if name == "leaky_relu" else 0.0)


def _layer_as_activation(layer: Config) -> Activation | Unknown:
    """`Dense(8, activation=LeakyReLU(0.1))`, as tf.keras and Keras 3 write it."""
    class_name = str(layer.get("class_name"))
    op = _op(class_name, layer["config"]) if isinstance(layer.get("config"), dict) else None
    if isinstance(op, Activation):
        return op
    return Unknown("Activation", f"its activation is an object of the class {class_name}")


LEAKY = 0.2
"""The slope of an activation named 'leaky_relu', in tf.keras 2 and in Keras 3."""


def _relu(config: Config) -> Op:
    maximum = config.get("max_value")
    slope = config.get("negative_slope") or 0.0
    if config.get("threshold") or (slope and maximum is not None):
        return Unknown("ReLU", "a threshold other than 0, or a slope and a maximum")
    if maximum is None:
        return Activation("leaky_relu", float(slope)) if slope else Activation("relu")
    return Activation("relu6") if maximum == 6 else Unknown("ReLU", f"max_value {maximum}")


def _elu(config: Config) -> Op:
    is_plain = config.get("alpha", 1.0) == 1.0
    return Activation("elu") if is_plain else Unknown("ELU", "its alpha is not 1")


def _leaky_relu(config: Config) -> Op:
    slope = arithmetic.constant(_first(config, "negative_slope", "alpha"))
    if not isinstance(slope, float):
        return Unknown("LeakyReLU", "its slope is not a number")
    return Activation("leaky_relu", slope)


def _softmax(config: Config) -> Op:
    axis = config.get("axis", -1)
    return Activation("softmax") if axis == -1 else Unknown("Softmax", f"axis {axis}")


def _zero_pad(config: Config) -> Op:
    value = config["padding"]
    if isinstance(value, dict):  # Keras 1 allowed names
        sides = [value.get(f"{side}_pad", 0) for side in ("left", "right", "top", "bottom")]
        return Pad((int(sides[0]), int(sides[1]), int(sides[2]), int(sides[3])))
    if isinstance(value, list | tuple) and len(value) == 4:  # Keras 1: top, bottom, left, right
        top, bottom, left, right = value
        return Pad((int(left), int(right), int(top), int(bottom)))
    rows, columns = (value, value) if isinstance(value, int) else value
    (top, bottom), (left, right) = _pair(rows), _pair(columns)
    return Pad((left, right, top, bottom))


def _pool(mode: Literal["max", "avg"]) -> Callable[[Config], Op]:
    def build(config: Config) -> Op:
        kernel = _pair(config["pool_size"])
        stride = _pair(config["strides"]) if config.get("strides") else kernel
        return Pooling(mode, kernel, stride, str(_first(config, "padding", "border_mode")))

    return build


def _merge(config: Config) -> Op:
    mode = config.get("mode")
    if mode == "concat":
        return _side_by_side(config.get("concat_axis", -1))
    return Add() if mode == "sum" else Unknown("Merge", f"mode {mode!r}")


def _rescaling(config: Config) -> Op:
    scale = arithmetic.constant(config["scale"])
    offset = arithmetic.constant(config.get("offset", 0.0))
    if scale is None or offset is None:
        return Unknown("Rescaling", "its scale or offset is not a number, or one for each channel")
    return Rescaling(scale, offset)


def _normalization(config: Config) -> Op:
    """(x - mean) / max(sqrt(variance), 1e-7); keras 2.15 and 3.15 `normalization.py`."""
    if config.get("invert"):
        return Unknown("Normalization", "it is inverted")
    has_axis = config.get("axis", -1) not in (None, [], ())
    axis = _axis(config.get("axis", -1)) if has_axis else -1
    if config.get("mean") is None and not has_axis:
        return Unknown("Normalization", "it was adapted over all axes, channels too")
    if config.get("mean") is None:
        return Normalization(axis)
    if axis not in (-1, 3):
        return Unknown("Normalization", f"it normalises axis {axis}")
    mean, variance = arithmetic.constant(config["mean"]), arithmetic.constant(config["variance"])
    if mean is None or variance is None:
        return Unknown("Normalization", "its mean or variance is not a number for each channel")
    scale = arithmetic.each(variance, lambda one: 1 / max(math.sqrt(one), 1e-7))
    return Rescaling(scale, arithmetic.times(arithmetic.times(mean, -1.0), scale))


def _concatenate(config: Config) -> Op:
    return _side_by_side(config.get("axis", -1))


def _side_by_side(axis: Any) -> Op:
    if axis not in (-1, 1, 3):
        return Unknown("Concatenate", f"axis {axis}")
    return Stack(is_new=False, axis=1 if axis == 1 else -1)


def _reshape(config: Config) -> Op:
    """A layer's target, or that of Keras 3's operator, which has the batch too. To one axis is a
    Flatten, of the values as they lie."""
    if "newshape" in config:
        return _reshape_with_batch(config["newshape"])
    target = config["target_shape"]
    return Flatten() if len(target) == 1 else Reshape(tuple(int(size) for size in target))


def _reshape_with_batch(shape: Any) -> Op:
    """A given width may take pixels for pictures (`tf.reshape(map, [-1, C])`): it is no Flatten."""
    if not isinstance(shape, list) or len(shape) < 2 or shape[0] not in (-1, None):
        return Unknown("Reshape", f"it makes the shape {shape}, of another batch")
    return Reshape(tuple(int(size) for size in shape[1:]))


def _over_map(mode: Literal["max", "avg"]) -> Callable[[Config], Op]:
    """A mean or maximum over a map, whose channels have to come last."""
    name = {"avg": "mean", "max": "maximum"}[mode]

    def build(config: Config) -> Op:
        axes = config.get("axis")
        if not isinstance(axes, list) or sorted(axes) not in ([1, 2], [-3, -2]):
            return Unknown(name.title(), f"it is a {name} over the axes {axes}")
        if config.get("initial") is not None:
            return Unknown(name.title(), "it begins with a number of its own")
        if config.get("keepdims"):
            return Unknown(name.title(), f"it keeps the axes that it is a {name} over")
        return GlobalPooling(mode, is_last=True)

    return build


def _pad(config: Config) -> Op:
    """Zeros or -inf around a map, whose channels have to come last."""
    widths = config.get("paddings", config.get("pad_width"))
    value = config.get("constant_values") or 0.0
    is_known = config.get("mode", "constant").lower() == "constant" and value in (0.0, -math.inf)
    if not is_known or not isinstance(widths, list) or len(widths) != 4:
        return Unknown("Pad", "it pads with something else than zeros, or not a map")
    batch, (top, bottom), (left, right), channels = map(_pair, widths)
    if any((*batch, *channels)):
        return Unknown("Pad", "it pads other axes than height and width")
    return Pad((left, right, top, bottom), is_last=True, value=value)


def _gelu(config: Config) -> Op:
    approximate = config.get("approximate", False)  # tf.nn's default; Keras 3 writes it
    return Unknown("Gelu", "it is the approximate one") if approximate else Activation("gelu")


def _flip(config: Config) -> Op:
    axis = config.get("axis")
    return Reverse() if axis in (-1, [-1], 3, [3]) else Unknown("Flip", f"it turns the axis {axis}")


def _constant(op: Op) -> Callable[[Config], Op]:
    return lambda config: op


def _scale(config: Config) -> Op:
    return Scale()


JOINS = ("Average", "Maximum", "Minimum", "Multiply", "Subtract", "Dot")
"""Keras' classes of several inputs, beside Add and Concatenate."""

OPS: dict[str, Callable[[Config], Op]] = {
    "InputLayer": _input,
    "Conv2D": _conv,
    "Convolution2D": _conv,  # Keras 1
    "DepthwiseConv2D": _depthwise,
    "BatchNormalization": _norm,  # also keras-resnet's subclass, which adds `freeze`
    "BatchNormalizationV1": _norm,  # tf.keras 1.x
    "BatchNorm": _norm,  # Mask R-CNN's subclass
    "SyncBatchNormalization": _norm,
    "Scale": _scale,  # flyyufelix/cnn_finetune
    "Dense": _dense,
    "Activation": _activation,
    "ReLU": _relu,
    "Softmax": _softmax,
    "ELU": _elu,
    "ZeroPadding2D": _zero_pad,
    "MaxPooling2D": _pool("max"),
    "AveragePooling2D": _pool("avg"),
    "GlobalAveragePooling2D": _constant(GlobalPooling("avg")),
    "GlobalMaxPooling2D": _constant(GlobalPooling("max")),
    "Flatten": lambda config: Flatten(config.get("data_format") == "channels_first"),
    "Dropout": lambda config: Dropout(float(_first(config, "rate", "p"))),
    "AlphaDropout": lambda config: Dropout(float(_first(config, "rate", "p"))),
    "SpatialDropout2D": _constant(Identity()),
    "GaussianNoise": _constant(Identity()),
    "GaussianDropout": _constant(Identity()),
    "ActivityRegularization": _constant(Identity()),
    "RandomFlip": _constant(Identity()),
    "RandomRotation": _constant(Identity()),
    "RandomZoom": _constant(Identity()),
    "RandomTranslation": _constant(Identity()),
    "RandomContrast": _constant(Identity()),
    "RandomBrightness": _constant(Identity()),
    "Add": _constant(Add()),
    "Concatenate": _concatenate,
    **{name: _constant(Unknown(name, "it joins layers, and not by their sum")) for name in JOINS},
    "LeakyReLU": _leaky_relu,
    "PReLU": _constant(PReLU()),
    "Merge": _merge,  # Keras 1
    "Resizing": _constant(
        Unknown("Resizing", "pictures are resized before the network, not in it")
    ),
    "Rescaling": _rescaling,
    "Normalization": _normalization,
    "Reshape": _reshape,
}
"""Every layer class that is understood. The random layers do nothing at inference."""

FURTHER_OPERATORS: dict[str, Callable[[Config], Op]] = {
    "Mean": _over_map("avg"),
    "Max": _over_map("max"),
    "Amax": _over_map("max"),
    "Pad": _pad,
    "Flip": _flip,
    "StopGradient": _constant(Identity()),
    "LeakyRelu": _leaky_relu,
    "Elu": _elu,
    "Gelu": _gelu,
    "Exp": _constant(Activation("exponential")),
    "Relu": _constant(Activation("relu")),
    "Relu6": _constant(Activation("relu6")),
    "Sigmoid": _constant(Activation("sigmoid")),
    "Silu": _constant(Activation("silu")),
    "Selu": _constant(Activation("selu")),
    "Tanh": _constant(Activation("tanh")),
    "Softplus": _constant(Activation("softplus")),
    "Softsign": _constant(Activation("softsign")),
}
"""The operators of Keras 3 that are understood beside those in `arithmetic`. A layer of one of
these names is custom code."""

TF_ACTIVATIONS: Mapping[str, str] = {
    "nn.relu": "relu",
    "nn.relu6": "relu6",
    "nn.elu": "elu",
    "nn.selu": "selu",
    "nn.silu": "silu",
    "nn.softsign": "softsign",
    "math.sigmoid": "sigmoid",
    "math.softplus": "softplus",
    "math.tanh": "tanh",
    "math.exp": "exponential",
}
"""TensorFlow's functions of one tensor and no other argument, as Keras calls them."""

TF_FUNCTIONS: dict[str, Callable[[Config], Op]] = {
    "compat.v1.pad": _pad,  # what tf.pad is called
    "identity": _constant(Identity()),
    "math.reduce_max": _over_map("max"),
    "math.reduce_mean": _over_map("avg"),
    "nn.gelu": _gelu,
    "nn.leaky_relu": lambda config: _leaky_relu({"alpha": LEAKY, **config}),
    "nn.softmax": _softmax,
    "reshape": lambda config: _reshape({"newshape": config["shape"]}),
    "reverse": _flip,
    "stop_gradient": _constant(Identity()),
}
"""The others that are understood, by their names in tf.keras 2.10 and 2.15 (the same in both)."""

ACTS_IN_TRAINING = frozenset(
    [
        *("BatchNormalization", "BatchNormalizationV1", "BatchNorm", "SyncBatchNormalization"),
        *("Dropout", "AlphaDropout", "SpatialDropout2D", "GaussianNoise", "GaussianDropout"),
        *("RandomFlip", "RandomRotation", "RandomZoom", "RandomTranslation", "RandomContrast"),
        "RandomBrightness",
    ]
)
"""Layers that do something else when they are called with `training=True`."""
