"""A network as a program: layers in an order in which they can run, each reading values by name.

It is data, as an `Architecture` is: JSON through msgspec, without torch. What is done with a
network is a loop over its layers: its tensors, its checks, sizes, and the modules that compute it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from resnet_pt.ops import AnyOp, Conv, Embedding, Flatten, MisfitError, Norm, Scale, Shape
from resnet_pt.ops.protocol import holds, short


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer: `name` is that of the value that it gives, `inputs` are those that it reads.

    `module` is the path of its module in the torch network; layers that share weights share it. A
    path whose last part is empty ('layer1.0.') has no module of its own there: a plain function.
    `original` is the Keras layer that it stands for.
    """

    name: str
    op: AnyOp
    inputs: tuple[str, ...] = ()
    module: str = ""
    original: str = ""


@dataclass(frozen=True, slots=True)
class Input:
    """A value that is given: its axes behind the batch, channels first."""

    name: str
    shape: Shape


@dataclass(frozen=True, slots=True)
class Output:
    """A value that is returned under a `name`; `activation` is what the original applied to it
    last, and what the program leaves out."""

    name: str
    value: str
    activation: str = "linear"


@dataclass(frozen=True, slots=True)
class Program:
    """A network. A layer stands behind those that it reads."""

    inputs: tuple[Input, ...]
    layers: tuple[Layer, ...]
    outputs: tuple[Output, ...]

    def values(self) -> Iterator[str]:
        """The names of all values, those that are given first."""
        yield from (one.name for one in self.inputs)
        yield from (layer.name for layer in self.layers)

    def by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    def readers(self) -> dict[str, list[Layer]]:
        """The layers that read each value; an output is read by nobody here."""
        found: dict[str, list[Layer]] = {}
        for layer in self.layers:
            for name in layer.inputs:
                found.setdefault(name, []).append(layer)
        return found

    def rows(self) -> dict[str, int]:
        """`{input: how many rows there are for its numbers}` of each input that an Embedding
        reads; the least where several do."""
        by_name, found = self.by_name(), dict[str, int]()
        for layer in self.layers:
            if isinstance(layer.op, Embedding):
                name = layer.inputs[0]
                while name in by_name:
                    name = by_name[name].inputs[0]
                found[name] = min(layer.op.count, found.get(name, layer.op.count))
        return found

    def with_tensors(self) -> Iterator[Layer]:
        """The layers with tensors, in the order of the network's `state_dict`; of those that share
        a module, the first."""
        seen: set[str] = set()
        for layer in self.layers:
            if layer.op.tensors() and layer.module not in seen:
                seen.add(layer.module)
                yield layer

    def shapes(self, given: Mapping[str, Shape] | None = None) -> dict[str, Shape]:
        """The shape of each value; `given` are other shapes of the inputs than stated.

        Raises MisfitError where a layer cannot read what it is given; `problems` says which.
        """
        found = {one.name: one.shape for one in self.inputs} | dict(given or {})
        for layer in self.layers:
            found[layer.name] = layer.op.shape(*(found[name] for name in layer.inputs))
        return found


def label(layer: Layer) -> str:
    """What a layer is called in a message: its original, or its module's path."""
    return f"layer {short(layer.original)}" if layer.original else layer.name


def problems(program: Program) -> list[str]:
    """What of a program cannot be, each with its layer: [] for one that can run."""
    return [*_names(program), *_layers(program), *_modules(program), *_outputs(program)]


def _names(program: Program) -> Iterator[str]:
    counted = Counter(program.values())
    for name, count in counted.items():
        if count > 1:
            yield f"{count} values are called {short(name)}"
    if not program.inputs:
        yield "there is no input"


def _layers(program: Program) -> Iterator[str]:
    """Settings, and shapes from the first layer to the last. Behind a layer that reads what is not
    there, shapes are not known, and nothing more is said of them."""
    shapes: dict[str, Shape | None] = {one.name: one.shape for one in program.inputs}
    for layer in program.layers:
        yield from (f"{label(layer)} {words}" for words in _misfits(layer, shapes))


def known_shapes(layers: Iterable[Layer], given: Mapping[str, Shape]) -> dict[str, Shape | None]:
    """The shapes of values as far as they are known, those that are `given` first: of layers that
    do not fit each other too."""
    shapes: dict[str, Shape | None] = dict(given)
    for layer in layers:
        for _ in _misfits(layer, shapes):
            pass
    return shapes


def _misfits(layer: Layer, shapes: dict[str, Shape | None]) -> Iterator[str]:
    """What of a layer cannot be, for those that it reads; `shapes` gets that of what it gives."""
    words = [*_arity(layer), *layer.op.problems()]
    words += [
        f"reads {short(name)}, which does not come before it"
        for name in layer.inputs
        if name not in shapes
    ]
    read = [shapes.get(name) for name in layer.inputs]
    known = [one for one in read if one is not None]
    shapes[layer.name] = None
    if not words and len(known) == len(read):
        try:
            shapes[layer.name] = layer.op.shape(*known)
        except MisfitError as error:
            words.append(str(error))
            shapes[layer.name] = error.gives
    yield from words


def _arity(layer: Layer) -> Iterator[str]:
    least, most = layer.op.arity
    if not least <= len(layer.inputs) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        yield f"joins {len(layer.inputs)} layers, and wants {wanted}"


def _modules(program: Program) -> Iterator[str]:
    """Layers of one module have to be one layer, called several times."""
    made: dict[str, Layer] = {}
    for layer in program.layers:
        if not layer.module.rpartition(".")[2]:
            if layer.op.tensors():
                yield f"{label(layer)} has weights, and no module"
            continue
        first = made.setdefault(layer.module, layer)
        if (first.op, first.original) != (layer.op, layer.original):
            yield f"{label(first)} and {label(layer)} would be one module"


def _outputs(program: Program) -> Iterator[str]:
    values = set(program.values())
    missing = [one.value for one in program.outputs if one.value not in values]
    if missing or not program.outputs:
        yield f"outputs {missing} are no layers" if missing else "there is no output"
    if len({one.name for one in program.outputs}) != len(program.outputs):
        yield "two outputs have one name"


def reader(program: Program, name: str) -> Layer | None:
    """The first layer behind a vector that says how many numbers it reads, whatever passes each of
    them on between; None where it is what is returned."""
    for layer in program.readers().get(name, ()):
        if layer.op.reads is not None:
            return layer
        passes = layer.op.elementwise or isinstance(layer.op, Flatten)
        found = reader(program, layer.name) if passes else None
        if found:
            return found
    return None


@dataclass(frozen=True, slots=True)
class Normed:
    """A convolution that only a norm reads, which a Scale may follow: the two can be folded."""

    conv: Layer
    norm: Layer
    scale: Layer | None = None


def normed(program: Program) -> Iterator[Normed]:
    """Every convolution with its norm behind it."""
    by_name, readers = program.by_name(), program.readers()
    returned = {output.value for output in program.outputs}

    def only_reader(name: str) -> Layer | None:
        found = readers.get(name, [])
        return found[0] if len(found) == 1 and name not in returned else None

    for norm in program.layers:
        conv = by_name.get(norm.inputs[0]) if isinstance(norm.op, Norm) else None
        if conv and isinstance(conv.op, Conv) and only_reader(conv.name) is norm:
            scale = only_reader(norm.name)
            is_scale = scale is not None and isinstance(scale.op, Scale)
            yield Normed(conv, norm, scale if is_scale else None)


FORMAT = 2
"""Version of the description in a file; 1 is upgraded, and any other refused."""


def to_dict(program: Program) -> dict[str, Any]:
    """Plain dicts, lists, strings and numbers: what goes into a file."""
    return json.loads(msgspec.json.encode(program))  # type: ignore[no-any-return]


def from_dict(data: Any) -> Program:
    """The inverse of `to_dict`. Raises ValueError for what is no program, or one with settings that
    this version does not know."""
    program = msgspec.convert(data, Program)
    if not holds(to_dict(program), data):
        raise ValueError("the program holds settings that this version does not know")
    return program


RESERVED = frozenset(
    [
        *("T_destination", "add_module", "apply", "bfloat16", "buffers", "call_super_init"),
        *("children", "clear", "compile", "cpu", "cuda", "double", "dump_patches", "eval"),
        *("extra_repr", "float", "forward", "get_buffer", "get_extra_state", "get_parameter"),
        *("get_submodule", "half", "ipu", "items", "keys", "load_state_dict", "modules", "mtia"),
        *("named_buffers", "named_children", "named_modules", "named_parameters", "parameters"),
        *("pop", "register_backward_hook", "register_buffer", "register_forward_hook"),
        *("register_forward_pre_hook", "register_full_backward_hook"),
        *("register_full_backward_pre_hook", "register_load_state_dict_post_hook"),
        *("register_load_state_dict_pre_hook", "register_module", "register_parameter"),
        *("register_state_dict_post_hook", "register_state_dict_pre_hook", "requires_grad_"),
        *("results", "set_extra_state", "set_submodule", "share_memory", "sources", "state_dict"),
        *("to", "to_empty", "train", "training", "type", "update", "values", "xpu", "zero_grad"),
    ]
)
"""Names that a torch module has itself, which no layer in it can have (torch 2.13)."""


def module_name(layer: str) -> str:
    """A Keras layer's name as a module's: torch reserves the dot and its own names, files like no
    slash."""
    name = layer.replace(".", "_").replace("/", "_")
    return f"{name}_layer" if name in RESERVED or name.startswith("_") else name
