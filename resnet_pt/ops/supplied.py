"""A layer that code of the user's own computes."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar

from resnet_pt.ops.protocol import MisfitError, Op, Shape, Tensor, sizes

if TYPE_CHECKING:
    from torch import nn

MOST = 64
"""Values that it can read."""


class Supplied(Op, frozen=True):
    """The `entry` of a file of layers (`resnet_pt.supplied`) that has this SHA-256, with keyword
    `settings` (JSON). `weights` are the tensors of its module; it gave `gives` for what it
    `read`, where None is a length that goes with what comes."""

    entry: str
    file: str
    sha256: str
    settings: str
    weights: tuple[tuple[str, tuple[int, ...]], ...]
    read: tuple[Shape, ...]
    gives: Shape

    arity: ClassVar[tuple[int, int]] = (1, MOST)

    def words(self) -> str:
        return f"{self.entry} of {self.file}"

    def tensors(self) -> tuple[Tensor, ...]:
        return tuple(Tensor(name, shape, name) for name, shape in self.weights)

    def problems(self) -> Iterator[str]:
        for _, shape in self.weights:
            yield from sizes(shape, 0, 2**31)
        try:
            is_settings = isinstance(json.loads(self.settings), dict)
        except (ValueError, RecursionError):
            is_settings = False
        if not is_settings:
            yield "has settings that are none"

    def shape(self, *inputs: Shape) -> Shape:
        fits = len(inputs) == len(self.read) and all(map(_fits, inputs, self.read))
        if not fits:
            raise MisfitError(f"was supplied for {self.read}, and {inputs} come", self.gives)
        return self.gives

    def module(self, *inputs: Shape) -> nn.Module:
        import torch

        from resnet_pt.function import Function
        from resnet_pt.supplied import LayersError, is_module_class, known

        layers = known(self.sha256)
        if layers is None:
            raise LayersError(
                f"{self.file} computes {self.entry!r}: read it first, with "
                "resnet_pt.supplied.read_layers"
            )
        entry, settings = layers.entries[self.entry], json.loads(self.settings)
        if not is_module_class(entry):
            words = ", ".join(f"{name}={value}" for name, value in settings.items())
            return Function(functools.partial(entry, **settings), self.entry, words)
        with torch.device("cpu"):  # what it computes itself is there, whatever it is built for
            made: nn.Module = entry(**settings)
        return made


def _fits(found: Shape, wanted: Shape) -> bool:
    return len(found) == len(wanted) and all(
        None in (one, other) or one == other for one, other in zip(found, wanted, strict=True)
    )
