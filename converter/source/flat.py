"""The flat form: one class, a line for each layer with weights and for each step of the run."""

from __future__ import annotations

import ast
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from converter.parity.comparing.inputs import fitting_shapes
from converter.source.expressions import Site, UnwrittenError, Written, written
from converter.source.identifiers import TAKEN, Names, comment, literal
from resnet_pt import ops
from resnet_pt.ops import MisfitError, Shape
from resnet_pt.program import Layer, Program, label

CLASS = "Network"
LINE = 88
"""Letters of a line, from which on no call is set within another."""

BEHIND = (ops.AxisNorm, ops.GroupNorm, ops.LayerNorm, ops.Norm, ops.PReLU, ops.Scale)
"""Layers with weights that stand on the line of what they read; any other begins one."""

PARTS = Path(__file__).with_name("parts.py")


@dataclass(frozen=True, slots=True)
class Source:
    """The text of the class behind what it needs of `parts`; the code's name of each module."""

    text: str
    modules: dict[str, str]


def unwritten(program: Program) -> list[str]:
    """Every layer that cannot be written, with the reason."""
    shapes = _shapes(program)
    return [reason for layer in program.layers for reason in _reasons(layer, shapes)]


def _reasons(layer: Layer, shapes: dict[str, Shape]) -> Iterator[str]:
    try:
        _written(layer, shapes, "self.module", tuple("x" for _ in layer.inputs))
    except UnwrittenError as error:
        yield f"{label(layer)} {error}"


def module_names(program: Program) -> dict[str, str]:
    """`{module of ours: its attribute in the source}`, each an identifier."""
    names = Names()
    return {layer.module: names[layer.module] for layer in program.with_tensors()}


def flat(program: Program, about: str = "") -> Source:
    """The network as source. Raises UnwrittenError for one of `unwritten`."""
    modules = module_names(program)
    made, ran = _Flat(program, modules).lines()
    constants = _constants(made)
    body = [f"class {CLASS}(nn.Module):", f'    """{_docstring(program, about)}"""', ""]
    if made:
        body += ["    def __init__(self) -> None:", "        super().__init__()"]
        body += [*(f"        {line}" for line in made), ""]
    several = len(program.outputs) > 1
    gives = "dict[str, Tensor]" if several else "Tensor"
    body += [f"    def forward(self, {ran[0]}) -> {gives}:"]
    body += [f"        {line}" for line in ran[1:]]
    text = "\n".join(body)
    blocks = needed(text)
    return Source("\n\n\n".join([*constants, *blocks, text]), modules)


def _docstring(program: Program, about: str) -> str:
    reads = ", ".join(_shown(one.shape) for one in program.inputs)
    return f"{comment(about) or 'A network'}: reads {reads}."


def _shown(shape: Shape) -> str:
    axes = ["N", *("?" if side is None else str(side) for side in shape)]
    return f"({', '.join(axes)})"


NORM = re.compile(r"eps=([0-9.e-]+), momentum=([0-9.e-]+)")


def _constants(made: list[str]) -> list[str]:
    """Epsilon and momentum of several norms, once, in the place of each; `made` is changed."""
    counted = Counter(match[0] for line in made for match in NORM.finditer(line))
    if not counted or counted.most_common(1)[0][1] < 2:
        return []
    usual = counted.most_common(1)[0][0]
    named = "eps=EPS, momentum=MOMENTUM"
    made[:] = [NORM.sub(lambda one: named if one[0] == usual else one[0], line) for line in made]
    (eps, momentum) = NORM.findall(usual)[0]
    kept = round(1 - float(momentum), 10)
    exact = f"1 - {kept}" if 1 - kept == float(momentum) else momentum
    return [f"EPS = {eps}\nMOMENTUM = {exact}  # as torch means it: Keras' is {kept}"]


# ---- parts


@cache
def _parts() -> dict[str, str]:
    """The text of each function and class of `parts`, by name, in the order of the file."""
    text = PARTS.read_text(encoding="utf-8")
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {
        node.name: ast.get_source_segment(text, node) or ""
        for node in ast.parse(text).body
        if isinstance(node, kinds)
    }


def needed(text: str) -> list[str]:
    """The parts that a text uses, and those that these use, in the order of the file."""
    parts, wanted, new = _parts(), set[str](), {text}
    while new:
        words = set[str]().union(*(re.findall(r"\w+", one) for one in new))
        names = (parts.keys() & words) - wanted
        wanted |= names
        new = {parts[name] for name in names}
    return [part for name, part in parts.items() if name in wanted]


# ---- lines


def _shapes(program: Program) -> dict[str, Shape]:
    """Of every value, for inputs that fit: their ranks are what is asked."""
    try:
        return program.shapes()
    except MisfitError:
        return program.shapes(fitting_shapes(program))


def _written(
    layer: Layer, shapes: dict[str, Shape], me: str, arguments: tuple[str, ...]
) -> Written:
    return written(layer.op, Site(tuple(shapes[name] for name in layer.inputs), me, arguments))


def _followed(program: Program) -> Iterator[Layer]:
    """The layers, each chain from its start to its end, where the order leaves it open."""
    readers, there = program.readers(), {one.name for one in program.inputs}
    left = {layer.name: layer for layer in program.layers}
    last: Layer | None = None
    while left:
        after = readers.get(last.name, []) if last else []
        ready = (
            one
            for one in (*after, *left.values())
            if one.name in left and there.issuperset(one.inputs)
        )
        last = next(ready)
        there.add(last.name)
        yield left.pop(last.name)


class _Flat:
    """Writes the lines of a program."""

    def __init__(self, program: Program, modules: dict[str, str]) -> None:
        self.program, self.modules = replace(program, layers=tuple(_followed(program))), modules
        self.shapes, self.readers = _shapes(program), program.readers()
        self.returned = {one.value for one in program.outputs}
        self.names = Names(
            TAKEN | _parts().keys() | {"x", "EPS", "MOMENTUM", "HERE", "Path", CLASS}
        )
        layers = self.program.layers
        self.behind = {one.name: after for one, after in itertools.pairwise(layers)}

    def lines(self) -> tuple[list[str], list[str]]:
        """(of `__init__`, of `forward`; the latter's arguments come first)."""
        inputs = [self.names[one.name] for one in self.program.inputs]
        values = dict(zip([one.name for one in self.program.inputs], inputs, strict=True))
        made: dict[str, list[str]] = {}
        ran = [", ".join(f"{name}: Tensor" for name in inputs)]
        open_call: Written | None = None
        for layer in self.program.layers:
            me = f"self.{self.modules.get(layer.module, '')}"
            arguments = tuple(values.get(name, "x") for name in layer.inputs)
            found = _written(layer, self.shapes, me, arguments)
            if open_call is not None:
                nested = self.nested(layer, me, open_call)
                if nested:
                    found = nested
                else:
                    ran.append(f"x = {open_call.call}")
            if found.made and layer.module not in made:
                made[layer.module] = list(_making(me, found))
            if self.is_passed_on(layer):
                open_call, values[layer.name] = found, "x"
                continue
            open_call, values[layer.name] = None, self.names[layer.name]
            if found.call != values[layer.name]:
                ran.append(f"{values[layer.name]} = {found.call}")
        ran.append(self.returning(values))
        name, _, call = ran[-2].partition(" = ")
        if ran[-1] == f"return {name}":
            ran[-2:] = [f"return {call}"]
        return [line for some in made.values() for line in some], ran

    def is_passed_on(self, layer: Layer) -> bool:
        """Whether the next layer, and no other, reads what this one gives."""
        after = self.behind.get(layer.name)
        read = self.readers.get(layer.name, [])
        return layer.name not in self.returned and read == [after]

    def nested(self, layer: Layer, me: str, inner: Written) -> Written | None:
        """A layer whose argument is the call before it; None where that would be hard to read."""
        begins = layer.op.tensors() and not isinstance(layer.op, BEHIND)
        if len(layer.inputs) > 1 or (begins and not inner.call.startswith("F.pad(")):
            return None
        outer = _written(layer, self.shapes, me, ("\0",))
        if outer.call.count("\0") != 1:
            return None
        is_alone = "(\0)" in outer.call or "(\0," in outer.call or outer.call == "\0"
        words = f"({inner.call})" if inner.is_infix and not is_alone else inner.call
        call = outer.call.replace("\0", words)
        is_long = len(f"        x = {call}") > LINE or call.count("self.") > 2
        infix = outer.is_infix or (outer.call == "\0" and inner.is_infix)
        return None if is_long else Written(call, outer.made, outer.frozen, infix)

    def returning(self, values: dict[str, str]) -> str:
        if len(self.program.outputs) == 1:
            return f"return {values[self.program.outputs[0].value]}"
        pairs = (f"{literal(one.name)}: {values[one.value]}" for one in self.program.outputs)
        return f"return {{{', '.join(pairs)}}}"


def _making(me: str, found: Written) -> Iterator[str]:
    yield f"{me} = {found.made}"
    for name in found.frozen:
        yield f"{me}.{name}.requires_grad_(False)"
