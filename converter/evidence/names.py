"""Weights only: layer names, their order, and the defaults of the code that gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from converter import facts as f
from converter import weightless
from converter.auto_names import auto_name
from converter.checkpoint import Checkpoint
from converter.dialect import MAX_STAGES, Dialect
from converter.errors import MismatchError, UsageError
from converter.evidence import beside, keras_hub
from converter.evidence.activation import activation_fact, check_activations, of_head
from converter.evidence.epsilon import DEFAULT_EPSILON, raised, why
from converter.evidence.reading import Reading, batch_fact
from converter.evidence.surroundings import Surroundings, input_fact, pool_padding, stem_padding
from converter.evidence.unsaid import (
    flatten_fact,
    frozen_fact,
    gamma_fact,
    hidden_fact,
    output_fact,
    precision_fact,
)
from converter.facts import Evidence, Fact
from converter.from_names import Match, match_dialect, structure_from_names
from converter.from_order import is_auto_named, match_order, one_reading
from converter.head_names import POOL, doubts
from converter.model_config import epsilons
from converter.replicas import unsliced
from converter.structure import Shapes, Structure
from resnet_pt.architecture import Architecture, Norm


def read_names(
    checkpoint: Checkpoint, shapes: Shapes, theano: bool, dialects: Sequence[Dialect]
) -> Reading:
    checkpoint, sliced = unsliced(checkpoint)
    match, naming = _match(checkpoint, shapes, dialects)
    said = keras_hub.described(checkpoint)
    match = keras_hub.as_configured(checkpoint, match, said, shapes)
    _check_weightless(checkpoint, match, shapes)
    structure = structure_from_names(checkpoint, match, shapes, theano)
    structure, facts = _decide(checkpoint, match, structure, theano)
    _check_pools(checkpoint, match, structure.architecture)
    left_out = tuple(one for one in checkpoint.weights if one.layer in match.left_out)
    facts = (*naming, *facts, *batch_fact(sliced), *precision_fact(checkpoint))
    structure, facts = keras_hub.settled(structure, facts, said)
    structure, facts = keras_hub.with_pictures(structure, facts, said, checkpoint.has_preprocessor)
    return Reading(structure, facts, match.dialect.name, left_out=left_out)


def _check_weightless(checkpoint: Checkpoint, match: Match, shapes: Shapes) -> None:
    """Refuse a file that lists a layer without weights whose work it does not tell. A detector
    lists other parts' too, and ResNeXt's sums are known by their place (transforms.Regroup)."""
    grouped = any(shapes.is_depthwise(layer) for layer in match.modules.values())
    if match.left_out or grouped:
        return
    unreadable = (
        *weightless.unreadable(checkpoint, _told(checkpoint, match)),
        *beside.unreadable(checkpoint, match),
    )
    inputs = [x for x in checkpoint.layers if checkpoint.is_ordered and auto_name(x) in INPUTS]
    if unreadable and len(inputs) > 1:
        raise MismatchError(
            f"{checkpoint.path} lists {len(inputs)} inputs: it is of a model that joins what "
            "networks make of several pictures",
            [f"{one!r}" for one in (*inputs, *unreadable)],
            ["save the network alone: model.get_layer(NAME).save_weights, NAME being its layer's"],
        )
    if unreadable:
        raise MismatchError(
            f"{checkpoint.path} lists layers without weights, and not where they stand or what "
            "they compute",
            [f"{one!r}" for one in unreadable],
            [checkpoint.advice],
        )
    check_activations(checkpoint, match)


def _check_pools(checkpoint: Checkpoint, match: Match, architecture: Architecture) -> None:
    """Refuse a file that lists other pools among the network's layers than the naming's code."""
    listed, expected = beside.pools(checkpoint, match, architecture)
    if len(listed) not in expected:
        raise MismatchError(
            f"{checkpoint.path} lists {len(listed)} pools among the layers of its network, and "
            f"the code of {match.dialect.name} has {expected[0]}: where they stand is not in it",
            [f"{one!r}" for one in listed],
            [checkpoint.advice],
        )


def _check_stem_pool(checkpoint: Checkpoint, match: Match, around: Surroundings) -> None:
    """Refuse a file that lists an average where the naming's code has the stem's max-pool, or a
    pool, and none that could be the stem's."""
    listed = around.between
    if not checkpoint.is_ordered:  # an average may be the head's where a max-pool is listed
        pools = beside.pools_inside(checkpoint, match)
        has_max = any(checkpoint.kinds[layer] in beside.MAX_POOLS for layer in pools)
        listed = () if has_max else tuple(pools)
    averages = [layer for layer in listed if beside.is_average(checkpoint, layer)]
    if not averages or match.dialect.defaults.pool == "none":
        return
    found = "lists an average-pool in the stem of its network"
    if averages == [POOL] and not checkpoint.is_ordered:
        found = f"lists no pool for the stem of its network beside {POOL!r}"
    raise MismatchError(
        f"{checkpoint.path} {found}, and the code of {match.dialect.name} has a max-pool there",
        [f"{one!r}" for one in averages],
        [checkpoint.advice],
    )


INPUTS = frozenset(["input", "input_layer"])
"""Keras' own names of inputs, without the number behind them."""


def _told(checkpoint: Checkpoint, match: Match) -> Sequence[str]:
    """The layers in front of the network that are told, and not refused: all of them, or, in front
    of a nested one, those that people set there; a Lambda may hand out parts of a batch."""
    front = beside.in_front(checkpoint, match)
    if not beside.base(checkpoint, match):
        return front
    return [layer for layer in front if auto_name(layer) in weightless.PICTURE]


def is_part(checkpoint: Checkpoint, dialects: Sequence[Dialect]) -> bool:
    """Whether a whole model is a detector around a network that is known by its names."""
    detectors = [one for one in dialects if one.left_out]
    if not any(layer in one.left_out for one in detectors for layer in checkpoint.of_layer()):
        return False
    try:
        match_dialect(checkpoint, detectors)
    except MismatchError:
        return False
    return True


def named(dialects: Sequence[Dialect], network: str | None) -> Sequence[Dialect]:
    """All dialects, or the one that the user names."""
    found = [dialect for dialect in dialects if network in (None, dialect.name)]
    if not found:
        known = ", ".join(dialect.name for dialect in dialects)
        raise UsageError(f"--network {network}: known are {known}")
    return found


def _may_be(checkpoint: Checkpoint, dialect: Dialect) -> bool:
    """Whether a file without names of its own can be of this naming: code that names its layers
    leaves none out but where the container does, and old code wrote no new container."""
    return not dialect.rows if checkpoint.is_named else not dialect.is_past


def _padded_alike(checkpoint: Checkpoint, matches: Sequence[Match]) -> list[Match]:
    """Those whose code pads in layers as the file lists them: those of the stem and its pool, and
    those of the blocks."""
    if not checkpoint.kinds:
        return []
    in_blocks = sum(kind in beside.PADS for kind in checkpoint.kinds.values()) > 2
    return [one for one in matches if (one.dialect.defaults.padding == "pad") == in_blocks]


def _match(
    checkpoint: Checkpoint, shapes: Shapes, dialects: Sequence[Dialect]
) -> tuple[Match, tuple[Fact, ...]]:
    """By the layers' names; by their order where the names are Keras' own, or where the user says
    whose order it is."""
    is_told = len(dialects) == 1
    named = [one for one in dialects if one.rows]
    refusal = MismatchError(
        f"the layers of {checkpoint.path} do not stand in the order of {dialects[0].name}",
        hints=[f"{dialects[0].name} is {dialects[0].summary}"],
    )
    if named:
        try:
            return match_dialect(checkpoint, named), ()
        except MismatchError as error:
            refusal = error
    if checkpoint.is_named and not is_auto_named(checkpoint) and not is_told:
        raise refusal
    allowed = dialects if is_told else [one for one in dialects if _may_be(checkpoint, one)]
    matches = match_order(checkpoint, shapes, sorted(allowed, key=lambda one: not one.rows))
    if not matches:
        raise refusal
    match, others = one_reading(checkpoint, _padded_alike(checkpoint, matches) or matches)
    if not is_told:
        _check_uncut(checkpoint, match)
    reason = "the order and shapes of the layers, which have no names of their own"
    if others:
        reason = f"{reason}; they fit {', '.join(others)} too (--network NAME)"
    is_preactivated = match.dialect.defaults.preactivation
    if is_preactivated:
        reason = f"{reason}; what a pre-activated block's shortcut reads is not in the file"
    evidence = Evidence.DEFAULT if others or is_preactivated else Evidence.SHAPES
    evidence = Evidence.USER if is_told else evidence
    return match, (Fact("network", match.dialect.name, evidence, reason),)


def _check_uncut(checkpoint: Checkpoint, match: Match) -> None:
    """Refuse what may be a network that was cut at an inner layer: where stages end in the block
    that strides, and the last one does not, the norm behind it may be the next stage's first."""
    stages = {module.split(".")[0] for module in match.modules if module.startswith("layer")}
    if match.dialect.defaults.unstrided_stage == "last" and len(stages) < MAX_STAGES:
        raise MismatchError(
            f"{checkpoint.path} may hold a network of {len(stages)} stages, or one that was cut "
            f"behind them, whose last stage strides: {match.dialect.name} has {MAX_STAGES}",
            hints=[
                f"--network {match.dialect.name} says that it is whole",
                checkpoint.advice,
            ],
        )


def _decide(
    checkpoint: Checkpoint, match: Match, structure: Structure, theano: bool
) -> tuple[Structure, tuple[Fact, ...]]:
    around = Surroundings.of(checkpoint, match)
    architecture = structure.architecture
    eps, eps_fact = _epsilon(checkpoint, match)
    architecture = f.with_eps(architecture, eps)
    stem, stem_evidence, stem_reason = stem_padding(checkpoint, match, around)
    if stem == "same" and theano:
        stem, stem_reason = "pad", f"{stem_reason}; Theano's 'same' is even"
    architecture = f.with_stem(architecture, stem)
    _check_stem_pool(checkpoint, match, around)
    pool, pool_evidence, pool_reason = pool_padding(checkpoint, match, around)
    architecture = f.with_pool(architecture, pool)
    default = f"what {match.dialect.name} ran ({match.dialect.source})"
    by_pads = "those stages stride that list a padding for it; by how much is " + default
    facts = (
        *input_fact(checkpoint, around, match),
        eps_fact,
        Fact("stem", f.describe_stem(architecture), stem_evidence, stem_reason),
        Fact("pool", f.describe_pool(architecture), pool_evidence, pool_reason),
        Fact(
            "stride",
            f.describe_stride(architecture),
            Evidence.DEFAULT,
            by_pads if match.dialect.defaults.stage_strides else default,
        ),
        Fact("amounts", f.describe_amounts(architecture), Evidence.DEFAULT, default),
        *gamma_fact(checkpoint, match),
        activation_fact(checkpoint, match),
        _head_fact(checkpoint, match, architecture),
        *hidden_fact(architecture),
        *flatten_fact(checkpoint, architecture),
        *frozen_fact(checkpoint, match),
        *output_fact(architecture),
    )
    return replace(structure, architecture=architecture), facts


def _written_epsilon(checkpoint: Checkpoint, match: Match) -> float | None:
    """The one epsilon that the configuration of a detector has for its network's norms."""
    if checkpoint.config is None:
        return None
    try:
        written = epsilons(checkpoint.config)
    except (KeyError, TypeError, AttributeError, RecursionError):
        return None
    found = {written[layer] for layer in match.modules.values() if layer in written}
    return found.pop() if len(found) == 1 else None


def _epsilon(checkpoint: Checkpoint, match: Match) -> tuple[float, Fact]:
    written = _written_epsilon(checkpoint, match)
    if written is not None:
        eps = raised(checkpoint, Norm(1, written)).eps
        return eps, Fact("epsilon", f.eps_text(eps), Evidence.MODEL_CONFIG, why(written != eps))
    eps = match.dialect.defaults.eps
    version = checkpoint.version()
    if eps == 1e-3 and version is not None:
        eps = next(value for since, value in DEFAULT_EPSILON if version >= since)
        reason = f"BatchNormalization's default in Keras {checkpoint.keras_version}"
        reason = f"{reason}; the project's own code may have given another"
        return eps, Fact("epsilon", f.eps_text(eps), Evidence.DEFAULT, reason)
    reason = f"what {match.dialect.name} ran ({match.dialect.source})"
    if eps == 1e-3:
        reason = "BatchNormalization's default in every Keras since 1.2"
    return eps, Fact("epsilon", f.eps_text(eps), Evidence.DEFAULT, reason)


NESTED_END = (
    "a nested model lists nothing but weights: it is taken to end where its blocks do, activated"
)


def _head_fact(checkpoint: Checkpoint, match: Match, architecture: Architecture) -> Fact:
    value = f.describe_head(architecture.head)
    unsaid = (
        *doubts(checkpoint, match, architecture.head),
        *(
            f"where {layer!r} stands, and which function it is, is not in the file"
            for layer in of_head(checkpoint, match)
        ),
        *((NESTED_END,) if checkpoint.is_ordered and beside.base(checkpoint, match) else ()),
    )
    if unsaid:
        return Fact("head", value, Evidence.DEFAULT, "; ".join(unsaid))
    listed = {layer.name for layer in architecture.head} <= set(checkpoint.layers)
    evidence = Evidence.LAYER_NAMES if listed else Evidence.SHAPES
    return Fact("head", value, evidence, "the layers that the file lists after the last block")
