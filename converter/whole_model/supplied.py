"""Layers that the user's own file computes (`--layers`), and the file to fill in for those that
need one.

The file is run in this process, since the user names it; nothing of SOURCE ever is. What its code
computes cannot be known: a record proves it, and nothing else.
"""

from __future__ import annotations

import json
import keyword
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converter.errors import UsageError, printable
from converter.files.checkpoint import Checkpoint, Weight
from converter.files.model_config import class_of
from converter.whole_model.graph import Graph, Node
from converter.whole_model.keras_layers.call import Call, From, Value
from resnet_pt.ops import Op, Shape, Supplied
from resnet_pt.supplied import (
    Layers,
    LayersError,
    is_module_class,
    raised,
    read_layers,
    wanted,
)

if TYPE_CHECKING:
    import torch

SIDES = (24, 36)
"""Lengths that are tried where the configuration states none."""
BATCH = 3


@dataclass(frozen=True, slots=True)
class UsersLayers:
    """The file of layers, and the arrays of SOURCE, which its modules take."""

    layers: Layers
    weights: tuple[Weight, ...]

    def entry(self, node: Node) -> str | None:
        """The key of what computes a layer: its own name, or its class; None where there is
        neither."""
        if node.config is None:
            return None
        keys = (node.layer, class_of(node.config))
        return next((key for key in keys if key in self.layers.entries), None)

    def serves(self, graph: Graph) -> bool:
        """Whether any layer of a model is computed by the file."""
        return any(self.entry(node) for node in graph.calls)

    def value(self, node: Node, call: Call, key: str) -> Value:
        """The value of a layer that the file computes. Raises NotLiftedError, which says why it
        cannot, for a call that it cannot serve; UsageError for code that is wrong."""
        arrays = arrays_of(node, self.weights)
        try:
            op, names = self.op(node, call, key, arrays)
        except LayersError as error:
            raise UsageError(
                f"--layers {self.layers.path}: {key!r} cannot be layer {node.layer!r}", [str(error)]
            ) from error
        weights = {
            name: From(arrays[own].parameter, path=arrays[own].path) for name, own in names.items()
        }
        last = not call.channels_first
        return call.add(op, *call.values, weights=weights, last=last)

    def op(
        self, node: Node, call: Call, key: str, arrays: Mapping[str, Weight]
    ) -> tuple[Op, dict[str, str]]:
        """The op, and `{tensor of its module: array}`."""
        entry = self.layers.entries[key]
        settings = _settings(wanted(entry), _told(node, call, arrays))
        read = tuple(value.shape for value in call.values)
        plain = Supplied(
            key, self.layers.path.name, self.layers.sha256, json.dumps(settings), (), read, ()
        )
        module = self.made(plain)
        tensors = {name: tuple(one.shape) for name, one in module.state_dict().items()}
        names = _paired(entry, tensors, arrays) if is_module_class(entry) else {}
        if not is_module_class(entry) and arrays:
            raise LayersError(
                f"the layer has arrays ({_listed(arrays)}), and a function takes none"
            )
        gives = self.given(module, read)
        return plain.replace(weights=tuple(tensors.items()), gives=gives), names

    def made(self, op: Supplied) -> torch.nn.Module:
        try:
            return op.module()
        except Exception as error:
            raise LayersError(raised(self.layers.path, error)) from error

    def given(self, module: torch.nn.Module, read: Sequence[Shape]) -> Shape:
        """The shape that a module gives, by trying it; None for what goes with the lengths that
        are not known."""
        found = [self.tried(module, read, side) for side in SIDES]
        if len(found[0]) != len(found[1]):
            raise LayersError(f"what it gives has {len(found[0])} and {len(found[1])} axes")
        return tuple(one if one == other else None for one, other in zip(*found, strict=True))

    def tried(self, module: torch.nn.Module, read: Sequence[Shape], side: int) -> Shape:
        import torch

        shapes = [(BATCH, *(side if one is None else one for one in shape)) for shape in read]
        chance = torch.Generator().manual_seed(0)
        with torch.no_grad():
            values = [torch.randn(shape, generator=chance) for shape in shapes]
            try:
                result = module.float().eval()(*values)
            except Exception as error:
                raise LayersError(f"{raised(self.layers.path, error)}, for {shapes}") from error
        if not isinstance(result, torch.Tensor) or not result.is_floating_point():
            raise LayersError(f"it gives {type(result).__name__}, and no tensor of floats")
        if result.ndim < 2 or result.shape[0] != BATCH:
            raise LayersError(
                f"it gives {tuple(result.shape)} for {shapes}: the batch comes first, and stays"
            )
        return tuple(result.shape[1:])


def users_layers(path: Path | None, checkpoint: Checkpoint) -> UsersLayers | None:
    """The file that `--layers` names, run. Raises UsageError."""
    if path is None:
        return None
    try:
        return UsersLayers(read_layers(path), checkpoint.weights)
    except LayersError as error:
        raise UsageError(f"--layers {error}") from error


def _told(node: Node, call: Call, arrays: Mapping[str, Weight]) -> dict[str, Any]:
    """What keyword-only arguments are filled from, the strongest last: the layer's configuration,
    a Lambda's `arguments`, the keywords of this call, and `config` and `shapes`."""
    lambdas = call.config.get("arguments") if call.class_name == "Lambda" else None
    return {
        **call.config,
        **(lambdas if isinstance(lambdas, dict) else {}),
        **node.keywords,
        "config": call.config,
        "shapes": {name: weight.shape for name, weight in arrays.items()},
    }


def _settings(names: Mapping[str, bool], told: Mapping[str, Any]) -> dict[str, Any]:
    missing = [name for name, has_default in names.items() if name not in told and not has_default]
    if missing:
        raise LayersError(
            f"it wants {missing[0]!r}, which the layer's configuration has not: it has "
            f"{', '.join(sorted(told))}"
        )
    return {name: told[name] for name in names if name in told}


VARS = "/vars/"
"""Between a layer's group and the numbers of its arrays, in files of Keras 3."""


def arrays_of(node: Node, weights: Iterable[Weight]) -> dict[str, Weight]:
    """The arrays of a layer by the names that they have in the file: 'W', or '0' where a file of
    Keras 3 numbers them; those of a layer within it are 'dense/kernel', or 'd/0'."""
    group, weights = node.outer[0] if node.outer else node.layer, tuple(weights)
    own = [one for one in weights if one.group == group and one.layer == node.layer]
    within = {one.path.rpartition(VARS)[0] for one in own if VARS in one.path}
    found = [
        one
        for one in weights
        if one in own
        or any(one.path.startswith(f"{place}/") for place in within)
        or (one.group == node.layer and not node.outer)
    ]
    names = [_name_in_file(one, node.layer, within) for one in found]
    counted = Counter(names)
    return {
        name if counted[name] == 1 else weight.path: weight
        for name, weight in zip(names, found, strict=True)
    }


def _name_in_file(weight: Weight, layer: str, within: Iterable[str]) -> str:
    place = next((one for one in within if weight.path.startswith(f"{one}/")), None)
    if place is not None:
        return weight.path.removeprefix(place).replace(VARS, "/")[1:]
    name = weight.path.rpartition("/")[2].partition(":")[0].removeprefix(f"{layer}_")
    return name if weight.layer == layer else f"{weight.layer}/{name}"


def _paired(
    entry: Any, tensors: Mapping[str, Shape], arrays: Mapping[str, Weight]
) -> dict[str, str]:
    """`{tensor of the module: array}`, one to one: by the module's `arrays`, else by their names.
    Raises LayersError that lists all misfits."""
    said = getattr(entry, "arrays", {})
    names = {tensor: said.get(tensor, tensor) for tensor in tensors}
    used = Counter(names.values())
    wrong = [f"its tensor {name!r} is no array of the layer" for name in said if name not in names]
    wrong += [
        f"{tensor!r} wants an array {array!r}"
        for tensor, array in names.items()
        if array not in arrays
    ]
    wrong += [f"array {name!r} is taken by none" for name in arrays if name not in used]
    wrong += [f"array {name!r} is taken {count} times" for name, count in used.items() if count > 1]
    wrong += [
        f"{tensor!r} is {tensors[tensor]}, and array {array!r} {arrays[array].shape}"
        for tensor, array in names.items()
        if array in arrays and arrays[array].shape != tensors[tensor]
    ]
    if wrong:
        raise LayersError(f"{'; '.join(wrong)}. The layer has {_listed(arrays) or 'no array'}")
    return names


def _listed(arrays: Mapping[str, Weight]) -> str:
    return ", ".join(f"{name} {weight.shape}" for name, weight in arrays.items())


# ---- the file to fill in


@dataclass(frozen=True, slots=True)
class Needed:
    """A layer that is not understood: the shapes that it reads, where they are known, and its
    arrays in the file."""

    node: Node
    reads: tuple[Shape, ...] | None
    arrays: Mapping[str, Weight]

    @property
    def class_name(self) -> str:
        assert self.node.config is not None
        return class_of(self.node.config)

    @property
    def key(self) -> str:
        """The row of LAYERS that serves it: a class does for all of its layers, but a Lambda's
        code is its own."""
        return self.node.layer if self.class_name == "Lambda" else self.class_name


HEAD = '''\
"""Layers of {file}, to be filled in: convert-weights … --layers THIS.py

Values lie as torch has them: maps (N, C, H, W), volumes (N, C, D, H, W), all else as in Keras.
Keyword-only arguments are filled from the layer's configuration.
"""

import torch
from torch import nn
'''

FUNCTION = '''

def {name}({values}):
    """{told}"""
    raise NotImplementedError
'''

MODULE = '''

class {name}(nn.Module):
    """{told}"""

    arrays = {arrays}
    """The array of the file for each tensor of this module."""

    def __init__(self, *, shapes):  # {settings}
        super().__init__()
{tensors}

    def forward(self, {values}):
        raise NotImplementedError
'''


def stub(file: str, needed: Sequence[Needed]) -> str:
    """The text of a file of layers for those that are not understood, to be filled in."""
    parts, rows, taken = [HEAD.format(file=_quoted(file))], [], set[str]()
    for group in _alike(needed):
        name = _identifier(group[0].key.rpartition(">")[2], taken, is_class=bool(group[0].arrays))
        parts.append(_definition(name, group))
        rows += [f"    {json.dumps(key)}: {name}," for key in dict.fromkeys(g.key for g in group)]
    return "".join([*parts, "\n\nLAYERS = {\n", "\n".join(rows), "\n}\n"])


def _alike(needed: Sequence[Needed]) -> Iterator[list[Needed]]:
    """Layers that one definition serves: of one class; Lambdas of one code."""
    found: dict[str, list[Needed]] = {}
    for one in needed:
        assert one.node.config is not None
        config = one.node.config["config"]
        code = config.get("function") if one.class_name == "Lambda" else None
        found.setdefault(json.dumps([one.class_name, code]), []).append(one)
    yield from found.values()


def _definition(name: str, group: Sequence[Needed]) -> str:
    first, layers = group[0], [repr(one.node.layer) for one in group]
    values = [chr(ord("x") + n) if n < 3 else f"x{n}" for n in range(len(first.node.inputs))]
    more = f" and {len(layers) - 3} more" if len(layers) > 3 else ""
    which = f"Layer{'s' * (len(layers) > 1)} {', '.join(layers[:3])}{more} ({first.class_name})"
    reads = f" reads {', '.join(map(_as_text, first.reads))}" if first.reads else ""
    told = _quoted(f"{which};{reads}." if reads else f"{which}.")
    assert first.node.config is not None
    settings = _quoted(_own_settings(first.node.config["config"]))
    if not first.arrays:
        told = f"{told[:-1]}; its configuration: {settings}." if settings else told
        return FUNCTION.format(name=name, values=", ".join(values), told=told)
    attributes: set[str] = set()
    names = {array: _identifier(array, attributes) for array in first.arrays}
    tensors = [
        f"        self.{own} = nn.Parameter(torch.empty(shapes[{json.dumps(array)}]))"
        f"  # {first.arrays[array].shape}"
        for array, own in names.items()
    ]
    return MODULE.format(
        name=name,
        values=", ".join(values),
        told=told,
        arrays=json.dumps({own: array for array, own in names.items()}),
        settings=settings or "any of its configuration by name",
        tensors="\n".join(tensors),
    )


BORING = frozenset(
    [
        *("name", "trainable", "dtype", "autocast", "function", "function_type", "module"),
        *("output_shape", "output_shape_type", "output_shape_module", "mask"),
    ]
)
"""Settings that say nothing of what a layer computes, or are its code."""

LONGEST = 60


def _own_settings(config: Mapping[str, Any]) -> str:
    """Settings of a layer that its code may read, in short."""
    own = {name: one for name, one in config.items() if name not in BORING and one is not None}
    texts = [f"{name}={json.dumps(one)}" for name, one in own.items()]
    return ", ".join(one if len(one) <= LONGEST else f"{one[:LONGEST]}…" for one in texts[:8])


def _as_text(shape: Shape) -> str:
    return f"({', '.join(['N', *('any' if one is None else str(one) for one in shape)])})"


def _quoted(text: str) -> str:
    """A stranger's text within a comment or a docstring."""
    return printable(text).replace("\\", "/").replace('"', "'")


def _identifier(text: str, taken: set[str], is_class: bool = False) -> str:
    name = "".join(char if char.isascii() and char.isalnum() else "_" for char in text)
    name = name.strip("_") or "layer"
    name = f"array_{name}" if name[0].isdigit() else name
    name = f"{name}_" if keyword.iskeyword(name) or name in ("torch", "nn", "LAYERS") else name
    name = name[:1].upper() + name[1:] if is_class else name
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    taken.add(found)
    return found
