"""Checkpoint → network: the architecture, decided fact by fact, each with its evidence.

Strongest first: what the user sets, a record, `model_config`, the names of weightless layers,
attributes and the spelling of parameters, shapes, the code of a published file, the dialect's
default. What rests on a default is said so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from converter.discover import modules
from converter.errors import UsageError
from converter.facts import words
from converter.facts.backend import backend, kernel_layout, variance_transforms
from converter.facts.defaults import Defaults
from converter.facts.fact import Evidence, Fact
from converter.facts.given import given_facts
from converter.facts.reading import Reading, groups_fact
from converter.facts.strides import KERAS
from converter.facts.table import BY_NAME, TABLE
from converter.facts.user import padding_fact, set_by_user
from converter.files.checkpoint import COUNT, TRAINING_ALONE, Checkpoint
from converter.files.shapes import KernelLayout, Shapes
from converter.network import Lifted, Network
from converter.options import Options
from converter.weights_only.dialect import Dialect
from converter.weights_only.dilated import check_dilated
from converter.weights_only.from_names import naming_of
from converter.weights_only.names import dialects_named, is_part, read_names
from converter.weights_only.released import as_released, of_release
from converter.whole_model.configuration import read_config
from converter.whole_model.cut import ending_at, left_behind
from resnet_pt.architecture import Architecture


def identify(checkpoint: Checkpoint, options: Options) -> Network:
    """The network in a checkpoint. Raises MismatchError if it is none that is known."""
    if options.outputs:
        return _part(checkpoint, options)
    theano, backend_fact = backend(checkpoint)
    layout, kernel_facts = kernel_layout(checkpoint, theano, options)
    shapes = Shapes(checkpoint, layout)
    dialects = [module.DIALECT for module in modules("converter.weights_only.dialects")]
    allowed = dialects_named(dialects, options.network)
    if checkpoint.config is None or is_part(checkpoint, dialects):
        reading = read_names(checkpoint, shapes, theano, allowed, options.asks_original)
    elif options.network:
        raise UsageError(
            f"--network {options.network}: {checkpoint.path} is a whole model, whose configuration "
            "says what its network is"
        )
    else:
        naming = naming_of(checkpoint, dialects)
        defaults = naming.defaults if naming else None
        reading = read_config(
            checkpoint,
            shapes,
            theano,
            naming.name if naming else "",
            defaults.preprocessing if defaults else None,
            options.layers,
        )
    if isinstance(reading.structure, Lifted):
        return _general(checkpoint, reading, layout, (backend_fact, *kernel_facts[1:]), options)
    facts = _with_padding(reading)
    defaults = _defaults(reading, dialects, theano)
    released, facts = as_released(checkpoint, reading.dialect, reading.residual, facts, defaults)
    structure, facts = set_by_user(released, facts, options, defaults)
    if checkpoint.config is None and not (options.against or options.keras_python):
        check_dilated(checkpoint, structure)
    facts = of_release(checkpoint, reading.dialect, facts)
    if BY_NAME["padding"].why_not(reading.residual.architecture):
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


def _part(checkpoint: Checkpoint, options: Options) -> Network:
    """The network of the part of a whole model that ends at the layers that the user names."""
    if checkpoint.config is None:
        raise UsageError(
            f"--outputs: {checkpoint.path} holds weights alone, and not which layer reads which",
            hints=["give the configuration too: --config model.json"],
        )
    cut = ending_at(checkpoint.config, options.outputs)
    network = identify(replace(checkpoint, config=cut), replace(options, outputs=()))
    behind = left_behind(checkpoint.config, cut)
    listed = {id(weight) for weight in network.left_out}
    rest = [one for one in checkpoint.weights if one.group in behind and id(one) not in listed]
    return replace(network, left_out=(*network.left_out, *rest), cut=cut)


def _general(
    checkpoint: Checkpoint,
    reading: Reading,
    layout: KernelLayout,
    facts: tuple[Fact, ...],
    options: Options,
) -> Network:
    """A network of another kind. What a user may set of a residual one, its configuration says,
    but for what was done to pictures. Raises UsageError for such an option."""
    pictures, mode = reading.facts, options.preprocess
    if mode is not None:
        pictures = tuple(fact for fact in pictures if fact.name != "preprocessing")
        pictures += (Fact("preprocessing", mode, Evidence.USER, "--preprocess"),)
    given = [
        row.flag
        for row in TABLE
        if row.name != "preprocessing" and getattr(options, row.option) is not None
    ]
    if given:
        raise UsageError(
            f"{given[0]} is for a residual network, and {checkpoint.path} is none of a known kind: "
            "its configuration says what its layers are"
        )
    return Network(
        structure=reading.structure,
        layout=KernelLayout("hwio", layout.flipped),
        facts=(*given_facts(checkpoint), *pictures, *facts),
        dialect=reading.dialect,
        theano=layout.flipped,
        is_raised=reading.is_raised,
        left_out=(
            *reading.left_out,
            *(w for w in checkpoint.weights if w.parameter in TRAINING_ALONE),
        ),
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
    architecture = reading.residual.architecture
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
    return Fact("bias", words.describe_bias(architecture), Evidence.SHAPES, reason)
