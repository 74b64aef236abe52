"""A `Program` as a torch module: built at the paths of its layers, run in their order.

Layers whose paths begin alike and that stand together become one module within the network, which
is called, hooked and cut out as such: a torch Sequential where each reads the one before it, else a
`Container`. Any other are run one by one from outside.
"""

from __future__ import annotations

import itertools
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from resnet_pt.program import Layer, Program


@dataclass(frozen=True, slots=True)
class Step:
    """One call: of the module at a `path` within its container, or of a plain `function`. It reads
    and gives values by their places; those in `done` are read for the last time."""

    path: tuple[str, ...]
    function: Callable[..., Tensor] | None
    reads: tuple[int, ...]
    gives: tuple[int, ...]
    done: tuple[int, ...] = ()


class Container(nn.Module):
    """Modules that run in a fixed order, each reading the values of others before it.

    `values` are the names of the values by their places, the inputs first; `returned` are the
    places of what `forward` gives: a tensor, or a tuple of several. Its own attributes are private:
    a layer in it may have any name that torch leaves (`program.RESERVED`).
    """

    def __init__(
        self, steps: Sequence[Step], values: Sequence[str], returned: Sequence[int]
    ) -> None:
        super().__init__()
        self._steps = tuple(steps)
        self._values = tuple(values)
        self._returned = tuple(returned)

    def forward(self, *inputs: Tensor) -> Any:
        values: list[Any] = [None] * len(self._values)
        values[: len(inputs)] = inputs
        self._run(values, self._steps)
        found = tuple(values[place] for place in self._returned)
        return found[0] if len(found) == 1 else found

    def _run(self, values: list[Any], steps: Sequence[Step]) -> None:
        """Call `steps`; `values`, by their places, are read and set. A value is let go of behind
        the last step that reads it."""
        for step in steps:
            call: Any = step.function or self._at(step.path)
            result = call(*[values[place] for place in step.reads])
            if len(step.gives) == 1:
                values[step.gives[0]] = result
            else:
                for place, value in zip(step.gives, result, strict=True):
                    values[place] = value
            for place in step.done:
                values[place] = None

    def __getitem__(self, name: str) -> nn.Module:
        return self.get_submodule(name)

    def __setitem__(self, name: str, module: nn.Module) -> None:
        self.add_module(name, module)

    def _at(self, path: tuple[str, ...]) -> nn.Module:
        """The module at a path, as it is now: one may have been put in its place."""
        module: Any = self
        for name in path:
            module = getattr(module, name)
        return module  # type: ignore[no-any-return]


def bypass(container: Container, name: str) -> None:
    """Leave out the step that gives a value: its readers read what it read."""
    place = container._values.index(name)
    (step,) = (one for one in container._steps if place in one.gives)
    (source,) = step.reads
    container._steps = tuple(
        Step(
            one.path,
            one.function,
            tuple(source if read == place else read for read in one.reads),
            one.gives,
            tuple(source if read == place else read for read in one.done),
        )
        for one in container._steps
        if one is not step
    )
    container._returned = tuple(source if one == place else one for one in container._returned)


class Network(Container):
    """The network of a `Program`.

    Reads one tensor for each input of the program, in their order or by name, and gives the only
    output, or a dict of several by name.
    """

    def __init__(
        self, program: Program, kinds: Mapping[str, type[Container]] | None = None
    ) -> None:
        """`kinds` are the classes of the containers at some paths."""
        _Builder(program, kinds or {}).build(self)
        self.program = program

    def forward(self, *inputs: Tensor, **named: Tensor) -> Any:
        given = (*inputs, *(named[one.name] for one in self.program.inputs[len(inputs) :]))
        return self.results(super().forward(*given))

    def results(self, found: Any) -> Any:
        """The values that are returned, as `forward` gives them."""
        outputs = self.program.outputs
        if len(outputs) == 1:
            return found
        values = dict.fromkeys(one.value for one in outputs)
        by_name = dict(zip(values, (found,) if len(values) == 1 else found, strict=True))
        return {one.name: by_name[one.value] for one in outputs}


def container(program: Program, kind: type[Container]) -> Container:
    """A program as a container of this class, with the paths of its layers."""
    module = kind.__new__(kind)
    _Builder(program, {}).build(module)
    return module


Group = tuple[str, list[Layer]]


class _Builder:
    """Makes the modules of a program, and the steps that call them."""

    def __init__(self, program: Program, kinds: Mapping[str, type[Container]]) -> None:
        self.program, self.kinds = program, kinds
        self.shapes = program.shapes()
        self.readers = program.readers()
        self.returned = {output.value for output in program.outputs}
        by_name = program.by_name()
        self.kept = {  # what an activation in place would change for somebody else
            layer.module
            for layer in program.layers
            for name in layer.inputs
            if not self.is_free(name) or name not in by_name or not by_name[name].op.fresh
        }

    def is_free(self, name: str) -> bool:
        """Whether a value has one reader, and no other use."""
        return len(self.readers[name]) == 1 and name not in self.returned

    def build(self, module: Container) -> None:
        """Fill the outermost container."""
        inputs = [one.name for one in self.program.inputs]
        outputs = list(dict.fromkeys(one.value for one in self.program.outputs))
        steps, children = self.steps(list(self.program.layers), 0)
        self.fill(module, steps, children, inputs, outputs)

    def fill(
        self,
        module: Container,
        steps: Sequence[_Named],
        children: Mapping[str, nn.Module],
        inputs: Sequence[str],
        outputs: Sequence[str],
    ) -> None:
        made = [name for step in steps for name in step.gives]
        places = {name: place for place, name in enumerate([*inputs, *made])}
        last = {name: number for number, step in enumerate(steps) for name in step.reads}
        Container.__init__(
            module,
            [
                Step(
                    step.path,
                    step.function,
                    tuple(places[name] for name in step.reads),
                    tuple(places[name] for name in step.gives),
                    tuple(
                        places[name]
                        for name in dict.fromkeys(step.reads)
                        if last[name] == number and name not in outputs
                    ),
                )
                for number, step in enumerate(steps)
            ],
            list(places),
            [places[name] for name in outputs],
        )
        for name, child in children.items():
            module.add_module(name, child)

    def steps(
        self, layers: Sequence[Layer], depth: int
    ) -> tuple[list[_Named], dict[str, nn.Module]]:
        """The calls of layers within a container whose path has `depth` parts, and its modules."""
        groups = [
            (key, list(some))
            for key, some in itertools.groupby(layers, key=lambda one: _parts(one)[depth])
        ]
        runs = Counter(key for key, _ in groups)
        steps: list[_Named] = []
        children: dict[str, nn.Module] = {}
        for key, some in groups:
            nested = [len(_parts(one)) > depth + 1 for one in some]
            if key and runs[key] == 1 and all(nested):
                inputs, outputs = self.ends(some)
                children[key] = self.child(some, depth + 1, inputs, outputs)
                steps.append(_Named((key,), None, inputs, outputs))
                continue
            for layer in some:
                path = _parts(layer)[depth:]
                function = None if path[-1] else layer.op.compute
                if not function:
                    self.place(children, path, layer)
                steps.append(_Named(path, function, layer.inputs, (layer.name,)))
        return steps, children

    def ends(self, layers: Sequence[Layer]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The values that layers read of others, and those that others read of them."""
        made = {layer.name for layer in layers}
        read = dict.fromkeys(name for layer in layers for name in layer.inputs if name not in made)
        inside = {id(layer) for layer in layers}
        given = tuple(
            layer.name
            for layer in layers
            if layer.name in self.returned
            or any(id(one) not in inside for one in self.readers.get(layer.name, ()))
        )
        return tuple(read), given

    def child(
        self,
        layers: Sequence[Layer],
        depth: int,
        inputs: Sequence[str],
        outputs: Sequence[str],
    ) -> nn.Module:
        steps, children = self.steps(layers, depth)
        kind = self.kinds.get(".".join(_parts(layers[0])[:depth]), Container)
        is_chain = kind is Container and _is_sequence(steps, inputs, outputs)
        if is_chain and not any(hasattr(nn.Sequential, name) for name in children):
            return nn.Sequential(OrderedDict(children))
        module = kind.__new__(kind)
        self.fill(module, steps, children, inputs, outputs)
        return module

    def place(self, children: dict[str, nn.Module], path: tuple[str, ...], layer: Layer) -> None:
        """Make a layer's module, if that was not done for another one with which it shares it."""
        if len(path) == 1:
            children.setdefault(path[0], self.module(layer))
            return
        parent = children.setdefault(path[0], nn.Module())
        for name in path[1:-1]:
            if name not in parent._modules:
                parent.add_module(name, nn.Module())
            parent = parent.get_submodule(name)
        if path[-1] not in parent._modules:
            parent.add_module(path[-1], self.module(layer))

    def module(self, layer: Layer) -> nn.Module:
        module = layer.op.module(*(self.shapes[name] for name in layer.inputs))
        if isinstance(module, nn.ReLU):
            module.inplace = layer.module not in self.kept
        return module


@dataclass(frozen=True, slots=True)
class _Named:
    """A step whose values have names yet."""

    path: tuple[str, ...]
    function: Callable[..., Tensor] | None
    reads: Sequence[str]
    gives: Sequence[str]


def _parts(layer: Layer) -> tuple[str, ...]:
    return tuple(layer.module.split("."))


def _is_sequence(steps: Sequence[_Named], inputs: Sequence[str], outputs: Sequence[str]) -> bool:
    """Whether each step reads the one before it, and is the only one that calls its module."""
    ends = [tuple(inputs), *(tuple(step.gives) for step in steps)]
    reads = [tuple(step.reads) for step in steps] + [tuple(outputs)]
    paths = {step.path for step in steps if len(step.path) == 1 and not step.function}
    return reads == ends and all(len(one) == 1 for one in ends) and len(paths) == len(steps)
