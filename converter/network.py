"""What was read: a network, where its tensors come from, and the facts with their evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from converter.facts.defaults import Defaults
from converter.facts.fact import Fact
from converter.facts.strides import KERAS
from converter.files.checkpoint import Weight
from converter.files.shapes import KernelLayout
from converter.mapping.transforms import Transform
from resnet_pt.architecture import Architecture
from resnet_pt.lower import lower
from resnet_pt.program import Program


@dataclass(frozen=True, slots=True)
class Structure:
    """An architecture and `{torch module: Keras layer}` for every module that has weights.

    `outputs` maps modules to the Keras layers whose output they compute, for modules without
    weights too (a block is its last activation): what a proof compares layer by layer.
    """

    architecture: Architecture
    layers: Mapping[str, str]
    outputs: Mapping[str, str]
    assumed: tuple[str, ...] = ()
    """Layers of custom code that are taken for what their names say."""
    channels_first: bool = False
    """Whether the configuration of a whole model says that its maps are (N, C, H, W)."""
    unread: tuple[str, ...] = ()
    """Layers with weights that lead to no output."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a tensor of a general network comes from: an array of the Keras `layer`, stored under
    the outermost layer `group`, and what is done to it."""

    group: str
    layer: str
    parameter: str
    transforms: tuple[Transform, ...] = ()
    path: str = ""
    """Of the very array, where its layer's class does not say how its arrays are called."""


@dataclass(frozen=True, slots=True)
class Lifted:
    """A general network: its program, `{tensor: where it comes from}`, and `{module: Keras layer}`
    of what a proof compares layer by layer. `calls` are those of its layers that are called several
    times, `{Keras layer: how often}`."""

    program: Program
    sources: Mapping[str, Source]
    outputs: Mapping[str, str]
    channels_first: bool = False
    calls: Mapping[str, int] = field(default_factory=dict)
    last: Mapping[str, str] = field(default_factory=dict)
    """`{output: the Keras layer that applies the activation which is left out}`."""
    unread: frozenset[tuple[str, str]] = frozenset()
    """(outermost layer, layer) of those with weights that lead to no output."""


@dataclass(frozen=True, slots=True)
class Network:
    """What is in a file: a structure, how its kernels lie, and the facts with their evidence.
    `defaults` are what the code of its naming does, `is_changed` says that options made it another
    one than the file describes."""

    structure: Structure | Lifted
    layout: KernelLayout
    facts: tuple[Fact, ...]
    dialect: str
    defaults: Defaults = KERAS
    theano: bool = False
    is_raised: bool = False
    variance: tuple[Transform, ...] = ()
    left_out: tuple[Weight, ...] = ()
    is_changed: bool = False
    cut: Mapping[str, Any] | None = None
    """The configuration of the part of a model that `--outputs` asked for."""

    @property
    def lifted(self) -> Lifted | None:
        """A general network; None for a residual one of a known kind, which has an architecture."""
        return self.structure if isinstance(self.structure, Lifted) else None

    @property
    def residual(self) -> Structure:
        """The structure of a residual network of a known kind; none other is asked for it."""
        assert isinstance(self.structure, Structure)
        return self.structure

    @property
    def architecture(self) -> Architecture:
        return self.residual.architecture

    @property
    def described(self) -> Architecture | Program:
        """What describes the network in its file."""
        return self.lifted.program if self.lifted else self.architecture

    @property
    def program(self) -> Program:
        """The network as a program, whatever it is."""
        if isinstance(self.structure, Lifted):
            return self.structure.program
        return lower(self.structure.architecture)

    @property
    def evident(self) -> Architecture | Program:
        """The network that a destination is made of. What was done to pictures is unknown in it
        where only a default says it: nothing is turned round, or told to another library's users,
        because most projects of a naming did so."""
        if self.lifted:
            return self.lifted.program
        if any(fact.name == "preprocessing" and fact.is_default for fact in self.facts):
            return replace(self.architecture, preprocessing=None)
        return self.architecture

    @property
    def assumed(self) -> tuple[str, ...]:
        """The facts that the network rests on and nothing but a default says, by name."""
        return tuple(fact.name for fact in self.facts if fact.is_assumed)
