"""`lift`: the graph of any model whose layers are understood → the `Program` that computes it.

The names are the Keras layers' own, nested models are prefixes, and a layer that is called several
times is one module. Maps and volumes have their channels second; all else lies as in Keras. What is
not understood is refused by name, all such layers at once.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from converter.discover import modules
from converter.errors import MismatchError, UsageError
from converter.files.checkpoint import Checkpoint
from converter.files.kinds import SettingError
from converter.files.model_config import class_of
from converter.network import Lifted, Source
from converter.whole_model import ops as g
from converter.whole_model.graph import Graph, Node
from converter.whole_model.keras_classes import CUSTOM, OPERATOR, why_unknown
from converter.whole_model.keras_layers.call import (
    MAP,
    Call,
    Era,
    Lifting,
    NotLiftedError,
    Value,
)
from converter.whole_model.keras_layers.lambdas import why_not
from converter.whole_model.keras_layers.operators import lift_operator
from converter.whole_model.supplied import Needed, UsersLayers, arrays_of, stub
from resnet_pt.ops import (
    Activation,
    Crop,
    Dropout,
    Flatten,
    Op,
    Permute,
    Pick,
    RepeatVector,
    Reshape,
    Reverse,
    Slice,
    Softmax,
)
from resnet_pt.program import Input, Layer, Output, Program, module_name

LEFT_OFF = ("softmax", "sigmoid")
"""The activations that an output's last layer may apply, and that the network leaves out."""


TAKEN = frozenset(
    [
        *("program", "outputs", "original_layers", "architecture"),
        *("add_submodule", "code", "delete_all_unused_submodules", "delete_submodule", "graph"),
        *("meta", "print_readable", "recompile", "to_folder"),
    ]
)
"""Attributes of a general network, and of torch.fx.GraphModule, which it is exported as: no layer
of it can have one for a name."""


OF_ONE_RANK = ("Normalization",)
"""Layers whose numbers have the rank of what they were first called with: a value of a lower one
becomes one of that rank, with the batch elsewhere (keras 3.15 `normalization.py`, build)."""


OF_FIRST_RANKS = ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum")
"""Layers that give values of fewer axes more of them only if the first that they joined needed it
(keras 2.3.1 `layers/merge.py` and 3.15 `base_merge.py`, build: `_reshape_required`)."""


READ_MASKS = frozenset(
    [
        *("LSTM", "GRU", "SimpleRNN", "Bidirectional", "TimeDistributed", "Softmax", "Lambda"),
        *("GlobalAveragePooling1D", "Attention", "AdditiveAttention", "MultiHeadAttention"),
    ]
)
"""Layers whose numbers depend on the mask of what they read (`call` of keras 2.2.4, 2.15 and 3.15
`layers/`). An Embedding with `mask_zero` makes one; every other layer is taken to pass it on."""

MASKED = "it reads the mask of an Embedding with mask_zero, and what it gives depends on that"

MASK = (
    "it is an operator of Keras' own, and none that is carried over: the mask of an Embedding with "
    "mask_zero is made by it, where a layer reads that"
)

ARRANGING = (Crop, Dropout, Flatten, Permute, Pick, RepeatVector, Reshape, Reverse, Slice)
"""What gives numbers that it reads, and no others."""


class NotUnderstoodError(MismatchError):
    """`outermost` are the layers of the outermost model that are, or hold, what is refused."""

    outermost: frozenset[str] = frozenset()


def liftings() -> dict[str, Lifting]:
    """`{class name: lifting}` of every layer class that is understood."""
    found: dict[str, Lifting] = {}
    for module in modules("converter.whole_model.keras_layers"):
        found.update(getattr(module, "LAYERS", {}))
    return found


def lift(
    graph: Graph, era: Era, users: UsersLayers | None = None, checkpoint: Checkpoint | None = None
) -> Lifted:
    """The network of a graph; `users` are layers that the user's own file computes. Raises
    MismatchError that names every layer which is not understood, and why, with the file that would
    supply them, for the arrays of `checkpoint`."""
    return _Lifter(graph, era, users, checkpoint).run()


@dataclass
class _Lifter:
    graph: Graph
    era: Era
    users: UsersLayers | None = None
    checkpoint: Checkpoint | None = None
    values: dict[str, Value] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)
    weights: dict[str, Source] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    outermost: set[str] = field(default_factory=set)
    needed: dict[str, Node] = field(default_factory=dict)
    """The refused layers that code of the user's own could compute."""
    before: list[str] = field(default_factory=list)
    """The layers of the outermost model that the first refused one reads."""
    unknown: set[str] = field(default_factory=set)
    modules: dict[tuple[str, ...], str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    numbers: defaultdict[str, int] = field(default_factory=lambda: defaultdict(lambda: 1))
    ranks: dict[str, int] = field(default_factory=dict)
    """`{module: the rank of what it was first called with}`."""
    alike: dict[str, bool] = field(default_factory=dict)
    """`{joining module: whether all that it first joined had one rank}`."""
    made: dict[str, tuple[Op, str]] = field(default_factory=dict)
    """`{module: what it is, and the Keras layer that it stands for}`."""
    last: dict[str, str] = field(default_factory=dict)
    masked: set[str] = field(default_factory=set)
    """The values that have a mask."""
    finals: dict[str, str] = field(default_factory=dict)
    """`{Keras layer call: the value that it gives}`."""

    def run(self) -> Lifted:
        liftings_ = liftings()
        inputs: list[Input] = []
        for node in self.graph.calls:
            if isinstance(node.op, g.Input):
                inputs.append(self.input(node))
            elif node.config is None:  # an activation that its layer has applied
                self.follow(node)
            elif not self.is_behind_unknown(node):
                self.lift(node, liftings_)
        if self.refused:
            raise self.refusal()
        if not self.graph.outputs:
            raise MismatchError("the model has no output: it says of none which layer gives it")
        inputs.sort(key=lambda one: self.place_of_input(one.name))
        outputs = self.outputs()
        program = Program(tuple(inputs), tuple(self.live(outputs)), outputs)
        compared, calls = self.compared(program)
        return Lifted(
            program,
            self.weights,
            compared,
            self.graph.channels_first,
            {compared[module]: count for module, count in calls.items() if count > 1},
            self.last,
            self.unread(program),
        )

    def unread(self, program: Program) -> frozenset[tuple[str, str]]:
        """The layers with weights that lead to no output."""
        there = {layer.module for layer in program.layers}
        all_, read = set(), set()
        for tensor, source in self.weights.items():
            all_.add((source.group, source.layer))
            if tensor.rpartition(".")[0] in there:
                read.add((source.group, source.layer))
        return frozenset(all_ - read)

    def place_of_input(self, name: str) -> int:
        listed = self.graph.inputs
        return listed.index(name) if name in listed else len(listed)

    def input(self, node: Node) -> Input:
        assert isinstance(node.op, g.Input)
        shape = tuple(node.op.shape[1:])
        if not node.op.shape:
            self.refuse(node, "the shape of the model's input is not in its configuration")
            shape = (None,)
        last = not self.graph.channels_first
        if last and len(shape) >= MAP:
            shape = (shape[-1], *shape[:-1])
        self.values[node.id] = Value(node.id, shape, last)
        return Input(node.id, shape)

    def follow(self, node: Node) -> None:
        (source,) = node.inputs
        if source in self.unknown:
            self.unknown.add(node.id)
        else:
            self.values[node.id] = self.values[source]
            self.masked |= {node.id} if source in self.masked else set()

    def is_behind_unknown(self, node: Node) -> bool:
        """A layer that reads what is not understood can only be looked at for its class."""
        if not any(source in self.unknown for source in node.inputs):
            return False
        self.unknown.add(node.id)
        assert node.config is not None
        name, reason = class_of(node.config), ""
        if self.users and self.users.entry(node):
            return True
        if name == "Lambda":
            reason = why_not(node.config["config"])
        elif name not in liftings() and why_unknown(name) == CUSTOM and not node.is_operator:
            reason = CUSTOM
        if reason:
            self.refuse(node, f"({name}): {reason}")
            self.needed.setdefault(node.layer, node)
        return True

    def lift(self, node: Node, known: Mapping[str, Lifting]) -> None:
        assert node.config is not None
        call = self.call(node, known)
        try:
            value = self.of_call(node, call, known)
        except (NotLiftedError, SettingError, KeyError, TypeError) as error:
            reason = (
                str(error)
                if isinstance(error, NotLiftedError | SettingError)
                else (f"its configuration has no {error}")
            )
            self.before = self.before or self.read_by(node)
            self.refuse(node, f"({call.class_name}): {reason}")
            if node.inputs and not node.is_operator:
                self.needed.setdefault(node.layer, node)
            self.unknown.add(node.id)
            return
        self.values[node.id] = value
        if self.is_masked(node) or (
            call.class_name == "Embedding" and call.config.get("mask_zero", False) is not False
        ):
            self.masked.add(node.id)
        self.layers += map(self.own, call.layers)
        if call.layers:
            self.finals[node.id] = value.name
        for tensor, source in call.weights.items():
            self.weights[tensor] = Source(
                self.group(node), node.layer, source.parameter, source.transforms, source.path
            )

    def is_masked(self, node: Node) -> bool:
        return any(source in self.masked for source in node.inputs)

    def is_given(self, value: Value) -> bool:
        """Whether all numbers of a value are those of an input of the model."""
        by_name = {layer.name: layer for layer in self.layers}
        name = value.name
        while name in by_name:
            if not isinstance(by_name[name].op, ARRANGING):
                return False
            (name,) = by_name[name].inputs
        return True

    def read_by(self, node: Node) -> list[str]:
        """What a layer of the outermost model reads; [] of one within another."""
        known = self.graph.by_call()
        sources = [known[source] for source in node.inputs]
        if node.outer or any(isinstance(one.op, g.Input) for one in sources):
            return []
        return list(dict.fromkeys(one.outer[0] if one.outer else one.layer for one in sources))

    def own(self, layer: Layer) -> Layer:
        """A layer with a module of its own, where another one without weights has that already: a
        layer that is called with values of other ranks, or an operator that takes several steps."""
        if layer.module.endswith(".") or not layer.module:
            return layer
        path, number, one = layer.module, 1, (layer.op, layer.original)
        while self.made.setdefault(path, one) != one and not layer.op.tensors():
            number += 1
            path = f"{layer.module}_{number}"
        return replace(layer, module=path)

    def of_call(self, node: Node, call: Call, known: Mapping[str, Lifting]) -> Value:
        if not node.inputs:
            raise NotLiftedError(LOST)
        key = self.users.entry(node) if self.users else None
        if self.is_masked(node) and (key or call.class_name in READ_MASKS):
            raise NotLiftedError(MASKED)
        if key and self.users:
            return self.supplied(self.users, key, node, call, known)
        if isinstance(node.op, g.Unknown) and node.op.reason.startswith(
            "it is called with training"
        ):
            raise NotLiftedError(node.op.reason)
        if node.is_operator:
            found = lift_operator(call)
            if found is not None:
                return found
        if call.class_name not in known:
            if node.is_operator and call.class_name == "NotEqual":
                raise NotLiftedError(MASK)
            if node.is_operator:
                raise NotLiftedError(node.op.reason if isinstance(node.op, g.Unknown) else OPERATOR)
            raise NotLiftedError(why_unknown(call.class_name))
        if node.id in self.graph.several:
            raise NotLiftedError("another one of the values that it gives is read than its first")
        rank = max((value.rank for value in call.values), default=0)
        if call.class_name in OF_ONE_RANK and self.ranks.setdefault(call.module, rank) != rank:
            raise NotLiftedError("it is called with values of other ranks than its first one")
        if call.class_name in OF_FIRST_RANKS:
            are_one = len({value.rank for value in call.values}) == 1
            if self.alike.setdefault(call.module, are_one) and not are_one:
                raise NotLiftedError("it joins values of different ranks, and first joined others")
        if call.class_name == "Embedding" and not self.is_given(call.value):
            raise NotLiftedError("it reads numbers that another layer computes")
        return known[call.class_name](call)

    def supplied(
        self, users: UsersLayers, key: str, node: Node, call: Call, known: Mapping[str, Lifting]
    ) -> Value:
        """The value of a layer that the user's own file computes."""
        if call.class_name in known and call.class_name != "Lambda":
            raise UsageError(
                f"--layers {users.layers.path}: {key!r} is layer {node.layer!r} "
                f"({call.class_name}), which needs no code: leave it out of LAYERS"
            )
        if node.id in self.graph.several:
            raise NotLiftedError("it gives several values, and what is supplied gives one")
        return users.value(node, call, key)

    def call(self, node: Node, known: Mapping[str, Lifting]) -> Call:
        assert node.config is not None
        class_name = class_of(node.config)
        config = node.config["config"]
        return Call(
            class_name,
            node.layer,
            config if isinstance(config, dict) else {},
            tuple(self.values[source] for source in node.inputs),
            self.module(node),
            node.id,
            self.era,
            node.arguments,
            self.graph.channels_first,
            known=known,
        )

    @staticmethod
    def group(node: Node) -> str:
        """The top-level layer that a file stores its weights under."""
        return node.outer[0] if node.outer else node.layer

    def module(self, node: Node) -> str:
        """The path of a layer's module, one for all its calls."""
        key = (*node.outer, node.layer)
        if key not in self.modules:
            path = ".".join(module_name(part) or "layer" for part in key)
            path = f"{path}_layer" if path in TAKEN else path
            self.modules[key] = self.free(path)
        return self.modules[key]

    def free(self, path: str) -> str:
        """A path that no module has yet, with a number where it is taken; the numbers go on from
        the last one, since a file may have thousands of names that are one path."""
        found = path
        while found in self.taken or found in self.made:
            self.numbers[path] += 1
            found = f"{path}_{self.numbers[path]}"
        self.taken.add(found)
        return found

    # ---- outputs

    def outputs(self) -> tuple[Output, ...]:
        readers = Counter(name for layer in self.layers for name in layer.inputs)
        values = [self.values[id].name for id in self.graph.outputs]
        by_name = {layer.name: layer for layer in self.layers}
        found: list[Output] = []
        times, names = Counter(values), output_names(self.graph)
        for id, value, name in zip(self.graph.outputs, values, names, strict=True):
            left = "linear"
            layer = by_name.get(value)
            if layer and not readers[value] and times[value] == 1:
                left = last_activation(layer.op, self.values[id])
            if layer and left != "linear":
                (value,) = layer.inputs
                self.last[name] = layer.original
            found.append(Output(name, value, left))
        return tuple(found)

    def live(self, outputs: tuple[Output, ...]) -> Iterator[Layer]:
        """The layers that lead to an output, in their order."""
        wanted = {one.value for one in outputs}
        kept: list[Layer] = []
        for layer in reversed(self.layers):
            if layer.name in wanted:
                wanted.update(layer.inputs)
                kept.append(layer)
        yield from reversed(kept)

    def compared(self, program: Program) -> tuple[dict[str, str], dict[str, int]]:
        """`{module: Keras layer}` of each module that gives what one layer of the outermost model
        gives, at every call of it; and `{module: how often it is called}`."""
        calls = Counter(layer.module for layer in program.layers)
        given = [layer for layer in program.layers if layer.name in set(self.finals.values())]
        finals = Counter(layer.module for layer in given)
        names = Counter(layer.original for layer in given)
        compared = {
            layer.module: layer.original
            for layer in given
            if layer.module.rpartition(".")[2]
            and calls[layer.module] == finals[layer.module] == names[layer.original]
        }
        return compared, {module: calls[module] for module in compared}

    def refuse(self, node: Node, reason: str) -> None:
        self.refused.setdefault(node.layer, reason)
        self.outermost.add(self.group(node))

    def refusal(self) -> NotUnderstoodError:
        found = [f"{name!r} {reason}" for name, reason in self.refused.items()]
        count = f"{len(found)} layers of the model" if len(found) > 1 else "a layer of the model"
        error = NotUnderstoodError(
            f"{count} cannot be carried over, and nothing is guessed",
            found,
            [
                _how_to_end(self.before),
                *([NAMES_ALONE] if CUSTOM in str(found) else []),
                *([OWN_CODE] if self.needed else []),
            ],
            self.stub(),
        )
        error.outermost = frozenset(self.outermost)
        return error

    def stub(self) -> str:
        """The file that would supply what is not understood, to be filled in."""
        if not self.needed or self.checkpoint is None:
            return ""
        needed = []
        for node in self.needed.values():
            values = [self.values.get(source) for source in node.inputs]
            reads = tuple(value.shape for value in values if value)
            arrays = arrays_of(node, self.checkpoint.weights)
            needed.append(Needed(node, reads if len(reads) == len(values) else None, arrays))
        return stub(self.checkpoint.path.name, needed)


OWN_CODE = (
    "--layers FILE.py supplies them in torch, by code of your own; this is the file to fill in"
)
NAMES_ALONE = (
    "if it is a ResNet, and the names of its layers are known, its weights alone are read by them: "
    "model.save_weights"
)
LOST = (
    "its configuration does not say what it reads: Keras before 2.4 loses that of layers that were "
    "given other names"
)


def _how_to_end(before: list[str]) -> str:
    """A hint for who meets a layer that is not understood."""
    if not before:
        return (
            "end the model before them (keras.Model(model.input, layer.output)), convert that, and "
            "do the rest in PyTorch"
        )
    flags = " ".join(f"--outputs {name!r}" for name in before)
    return f"{flags} ends the network before the first of them: the rest is for PyTorch"


def output_names(graph: Graph) -> list[str]:
    """Keras': those of the layers, or of nested models, with a number where one is taken."""
    known, found = graph.by_call(), dict[str, None]()
    numbers: Counter[str] = Counter()
    for node in (known[id] for id in graph.outputs):
        first = name = node.outer[0] if node.outer else node.layer
        while name in found:
            numbers[first] += 1
            name = f"{first}_{numbers[first]}"
        found[name] = None
    return list(found)


def last_activation(op: Op, value: Value) -> str:
    """The activation that an op is, if an output leaves it out: a softmax over Keras' last axis, a
    sigmoid; else 'linear'."""
    if isinstance(op, Activation) and op.name in LEFT_OFF:
        return op.name if op.name == "sigmoid" or value.rank != 2 else "linear"
    if isinstance(op, Softmax) and not op.log and value.rank == 2 and op.axes == (1,):
        return "softmax"
    return "linear"
