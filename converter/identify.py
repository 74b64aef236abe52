"""Checkpoint → network: the architecture, decided fact by fact, each with its evidence.

Strongest first: what the user sets, a record, `model_config`, the names of weightless layers,
attributes and the spelling of parameters, shapes, the code of a published file, the dialect's
default. What rests on a default is said so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from converter import facts as f
from converter.checkpoint import COUNT, Checkpoint, Weight
from converter.dialect import Defaults, Dialect
from converter.discover import modules
from converter.errors import UsageError
from converter.evidence.backend import backend, kernel_layout, variance_transforms
from converter.evidence.configuration import read_config
from converter.evidence.dilated import check_dilated
from converter.evidence.given import given_facts
from converter.evidence.names import is_part, named, read_names
from converter.evidence.reading import Reading, groups_fact
from converter.evidence.released import as_released, of_release
from converter.evidence.user import padding_fact, set_by_user
from converter.fact_table import BY_NAME
from converter.facts import Evidence, Fact
from converter.options import Options
from converter.strides import KERAS
from converter.structure import KernelLayout, Shapes, Structure
from converter.transforms import Transform
from resnet_pt.architecture import Architecture


@dataclass(frozen=True, slots=True)
class Network:
    """What is in a file: a structure, how its kernels lie, and the facts with their evidence.
    `defaults` are what the code of its naming does, `is_changed` says that options made it another
    one than the file describes."""

    structure: Structure
    layout: KernelLayout
    facts: tuple[Fact, ...]
    dialect: str
    defaults: Defaults = KERAS
    theano: bool = False
    is_raised: bool = False
    variance: tuple[Transform, ...] = ()
    left_out: tuple[Weight, ...] = ()
    is_changed: bool = False

    @property
    def architecture(self) -> Architecture:
        return self.structure.architecture

    @property
    def assumed(self) -> tuple[str, ...]:
        """The facts that the network rests on and nothing but a default says, by name."""
        return tuple(fact.name for fact in self.facts if fact.is_assumed)


def identify(checkpoint: Checkpoint, options: Options) -> Network:
    """The network in a checkpoint. Raises MismatchError if it is none that is known."""
    theano, backend_fact = backend(checkpoint)
    layout, kernel_facts = kernel_layout(checkpoint, theano, options)
    shapes = Shapes(checkpoint, layout)
    dialects = [module.DIALECT for module in modules("converter.dialects")]
    allowed = named(dialects, options.network)
    if checkpoint.config is None or is_part(checkpoint, dialects):
        reading = read_names(checkpoint, shapes, theano, allowed, options.asks_original)
    elif options.network:
        raise UsageError(
            f"--network {options.network}: {checkpoint.path} is a whole model, whose configuration "
            "says what its network is"
        )
    else:
        reading = read_config(checkpoint, shapes, theano, dialects)
    facts = _with_padding(reading)
    defaults = _defaults(reading, dialects, theano)
    released, facts = as_released(checkpoint, reading.dialect, reading.structure, facts, defaults)
    structure, facts = set_by_user(released, facts, options, defaults)
    if checkpoint.config is None and not (options.against or options.keras_python):
        check_dilated(checkpoint, structure)
    facts = of_release(checkpoint, reading.dialect, facts)
    if BY_NAME["padding"].why_not(reading.structure.architecture):
        facts = padding_fact(facts, structure.architecture, Evidence.DEFAULT, STRIDES_NOW)
    structure, variance, running = variance_transforms(checkpoint, structure, options)
    bias = _bias_fact(structure.architecture)
    return Network(
        structure=structure,
        layout=layout,
        facts=(
            *given_facts(checkpoint),
            *facts,
            *groups_fact(checkpoint),
            bias,
            backend_fact,
            *kernel_facts,
            *running,
        ),
        dialect=reading.dialect,
        defaults=defaults,
        theano=theano,
        is_raised=reading.is_raised,
        variance=variance,
        left_out=(*reading.left_out, *(w for w in checkpoint.weights if w.parameter == COUNT)),
        is_changed=layout.flipped != theano
        or _computed(structure.architecture) != _computed(released.architecture),
    )


STRIDES_NOW = (
    "what the code of this naming does where a 3x3 strides; weights that come from torchvision are "
    "padded evenly (--padding even)"
)


def _with_padding(reading: Reading) -> tuple[Fact, ...]:
    """The facts of weights alone, with the padding of what strides in the blocks."""
    amounts = [fact for fact in reading.facts if fact.name == "amounts"]
    if not amounts:
        return reading.facts
    architecture = reading.structure.architecture
    return padding_fact(reading.facts, architecture, amounts[0].evidence, amounts[0].reason)


def _defaults(reading: Reading, dialects: Sequence[Dialect], theano: bool) -> Defaults:
    """What the code of the naming does; Theano's 'same' is even."""
    found = (dialect.defaults for dialect in dialects if dialect.name == reading.dialect)
    defaults = next(found, KERAS)
    return replace(defaults, padding="pad") if theano else defaults


def _computed(architecture: Architecture) -> Architecture:
    """What was done to pictures is no part of the network."""
    return replace(architecture, preprocessing=None)


def _bias_fact(architecture: Architecture) -> Fact:
    reason = "the convolutions' bias vectors in the file"
    return Fact("bias", f.describe_bias(architecture), Evidence.SHAPES, reason)
