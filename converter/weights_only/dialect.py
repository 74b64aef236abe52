"""A naming of layers as a literal table with holes.

A row pairs a layer's name with the torch module that it fills. Holes count the stages and blocks
in all the ways that people count them:

    {layer}    1, 2, 3, 4     torch's layer1 … layer4
    {stack}    0, 1, 2, 3     the same, from 0
    {stage}    2, 3, 4, 5     He et al.'s conv2_x … conv5_x
    {index}    0, 1, 2, …     the block in its stage, from 0
    {number}   1, 2, 3, …     the same, from 1
    {block}    a, b, c, …     the same, spelled as the dialect's `blocks` say

Tables are unrolled and looked up: a name either is in the table, letter by letter, or is not.

Some files name their layers after classes alone (`conv2d_17`). `orders` says in which order a
naming's code makes the layers of a block, and with it such a file is read by order and shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from converter.facts.defaults import Defaults

Version = tuple[int, ...]

MAX_STAGES = 4
MAX_BLOCKS = 50

LETTERS = tuple(chr(ord("a") + index) for index in range(MAX_BLOCKS))
"""a, b, c, …; programs that count past z go on in ASCII, as `chr(97 + index)` does."""
NUMBERED = ("a", *(f"b{index}" for index in range(1, MAX_BLOCKS)))
"""a, b1, b2, …: the Caffe models' way in long stages."""


@dataclass(frozen=True, slots=True)
class Row:
    """A layer's name and the module it fills, both with holes."""

    name: str
    module: str


@dataclass(frozen=True, slots=True)
class Dialect:
    """A naming: its table, and the `defaults` of the code that writes it, with their `source`."""

    name: str
    summary: str
    rows: tuple[Row, ...]
    defaults: Defaults
    source: str
    orders: tuple[tuple[str, ...], ...] = ()
    """The layers of a block with a projection, in a file's order; a block without has the same
    less the projection. One for each kind of block."""
    first_order: tuple[tuple[str, ...], ...] = ()
    """The same for the very first block, where it is another (its first norm is the stem's)."""
    projects_first: bool = False
    """Whether its code projects in the very first block whatever its width is."""
    stem_kernel: int | None = None
    """The size of the stem's kernel, where that tells it from another order."""
    before: Version | None = None
    """The first version of Keras that its code does not run on, where there is one."""
    blocks: tuple[tuple[str, ...], ...] = (LETTERS,)
    required: tuple[str, ...] = ()
    """Modules that a file of this naming fills, which tell it from another with the same names."""
    bias: bool | None = None
    """Whether the stem's convolution has a bias, where that tells it from another naming."""
    signs: tuple[str, ...] = ()
    """Layers without weights that its code names, which tell it from another with the same names:
    a file that lists such layers within the network has one of these."""
    listed: tuple[Row, ...] = ()
    """Layers without weights whose names do not say what they do, with what that is
    (`converter.weights_only.weightless`) in the place of a module."""
    left_out: tuple[str, ...] = ()
    """Layers that are no part of the network, by exact name (a detector's other parts); a file of
    this naming has some of them."""

    def may_have_run_on(self, oldest: Version) -> bool:
        """Whether its code runs on this version of Keras, or on a later one."""
        return self.before is None or oldest < self.before

    def ran(self, version: Version | None) -> str:
        """Whose facts its defaults are, in words, for a file of this version of Keras."""
        if version is None or self.may_have_run_on(version):
            return f"what {self.name} ran ({self.source})"
        last = ".".join(map(str, self.before or ()))
        return f"what {self.name} ran ({self.source}), before Keras {last}: this is a copy of it"

    @property
    def stem(self) -> str:
        """The module of the stem's (last) convolution."""
        return "conv1.6" if any(row.module == "conv1.6" for row in self.rows) else "conv1"

    def modules(self, stages: int = MAX_STAGES) -> Mapping[str, str]:
        """`{layer name: module}` with every hole filled in every way."""
        return _unrolled(self, self.rows, stages)

    def weightless(self) -> Mapping[str, str]:
        """`{layer without weights: what it does}`, of those in `listed`."""
        return _unrolled(self, self.listed, MAX_STAGES)

    def first_block(self) -> frozenset[str]:
        """The names of a network's very first block: cheap to make, and in every file."""
        return frozenset(
            row.name.format(**values)
            for row in self.rows
            if "{" in row.name
            for values in _fillings(row, self.blocks, layers=1, blocks=1)
        )


@cache
def _unrolled(dialect: Dialect, rows: Sequence[Row], stages: int) -> Mapping[str, str]:
    table: dict[str, str] = {}
    for row in rows:
        for values in _fillings(row, dialect.blocks, stages, MAX_BLOCKS):
            name, module = row.name.format(**values), row.module.format(**values)
            if table.setdefault(name, module) != module:
                raise ValueError(f"dialect {dialect.name}: {name!r} means two modules")
    return MappingProxyType(table)


def _fillings(
    row: Row, spellings: Sequence[Sequence[str]], layers: int, blocks: int
) -> list[dict[str, object]]:
    """The values of the holes; a row without holes has one filling."""
    if "{" not in row.name:
        return [{}]
    return [
        {
            "layer": layer,
            "stack": layer - 1,
            "stage": layer + 1,
            "index": index,
            "number": index + 1,
            "block": spelling[index],
        }
        for layer in range(1, layers + 1)
        for spelling in spellings
        for index in range(blocks)
    ]
