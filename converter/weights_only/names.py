"""Weights only: layer names, their order, and the defaults of the code that gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from converter.errors import MismatchError, UsageError
from converter.facts import changes, words
from converter.facts.epsilon import DEFAULT_EPSILON, raised, why
from converter.facts.fact import Evidence, Fact
from converter.facts.reading import Reading, batch_fact
from converter.files.auto_names import auto_name
from converter.files.checkpoint import Checkpoint
from converter.files.model_config import epsilons
from converter.files.shapes import Shapes
from converter.network import Structure
from converter.weights_only import extras, keras_hub, weightless
from converter.weights_only.activation import activation_fact, check_counts, of_head
from converter.weights_only.dialect import MAX_STAGES, Dialect
from converter.weights_only.from_names import (
    body_from_names,
    match_dialect,
    structure_from_names,
)
from converter.weights_only.from_order import is_auto_named, match_order, one_reading
from converter.weights_only.head_names import POOL, doubts
from converter.weights_only.listing import Listing
from converter.weights_only.match import Match
from converter.weights_only.places import Places, places
from converter.weights_only.replicas import unsliced
from converter.weights_only.surroundings import Surroundings, input_fact, pool_padding, stem_padding
from converter.weights_only.unsaid import (
    flatten_fact,
    frozen_fact,
    gamma_fact,
    hidden_fact,
    output_fact,
    precision_fact,
)
from resnet_pt.architecture import Architecture, Norm


def read_names(
    checkpoint: Checkpoint,
    shapes: Shapes,
    theano: bool,
    dialects: Sequence[Dialect],
    is_asked: bool = False,
) -> Reading:
    """The network of a file of weights. `is_asked` says that the original will decide between
    several readings: then the first is taken, and not refused."""
    checkpoint, sliced = unsliced(checkpoint)
    match, naming = _match(checkpoint, shapes, theano, dialects, is_asked)
    said = keras_hub.described(checkpoint)
    match = keras_hub.as_configured(checkpoint, match, said, shapes)
    body = body_from_names(match, shapes, theano)
    found = places(Listing(checkpoint, match), body)
    listing = Listing(checkpoint, as_padded(match, found))
    match = listing.match
    around = extras.extras(listing, found, body)
    _check_weightless(listing, shapes, found, around, body)
    structure = structure_from_names(checkpoint, match, shapes, theano)
    structure, facts = _decide(listing, structure, theano, found, said)
    left_out = tuple(one for one in checkpoint.weights if one.layer in match.left_out)
    naming = naming or _network_fact(listing, found, said)
    facts = (*naming, *facts, *_taken_fact(match, found, around))
    facts = (*facts, *batch_fact(sliced), *precision_fact(checkpoint))
    structure, facts = keras_hub.settled(structure, facts, said)
    structure, facts = keras_hub.with_pictures(structure, facts, said, checkpoint.has_preprocessor)
    return Reading(structure, facts, match.dialect.name, left_out=left_out)


def as_padded(match: Match, found: Places) -> Match:
    """The match with the padding of strided convolutions that the file lists, or does not."""
    if not found.is_listed:
        return match
    padding: Literal["same", "pad"] = "same" if found.padded == "none" else "pad"
    defaults = replace(match.dialect.defaults, padding=padding)
    return replace(match, dialect=replace(match.dialect, defaults=defaults))


def _check_weightless(
    listing: Listing,
    shapes: Shapes,
    found: Places,
    around: extras.Extras,
    body: Architecture,
) -> None:
    """Refuse a file that lists a layer without weights where its network has none, or none where it
    has one; or one around it whose work it does not tell. A detector lists other parts' too, and
    in a container without order ResNeXt's sums are known by their place (transforms.Regroup)."""
    checkpoint, match = listing.checkpoint, listing.match
    if found.misfits:
        raise not_in_place(listing, found)
    unordered = not checkpoint.is_ordered
    grouped = any(shapes.is_depthwise(layer) for layer in match.modules.values())
    if match.left_out or (unordered and grouped):
        return
    unreadable = (*(weightless.unknown(checkpoint) if unordered else ()), *around.refused)
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
    if unordered:
        check_counts(listing, body)
        _check_pools(listing, body)


def not_in_place(listing: Listing, found: Places) -> MismatchError:
    code, hints = listing.match.dialect.name, [listing.checkpoint.advice]
    if found.cut:
        hints.insert(0, f"if the model was cut behind {found.cut!r}: {hints.pop()}")
    return MismatchError(
        f"{listing.checkpoint.path} lists its layers in other places than {code} has them",
        found.misfits,
        hints,
    )


def _check_pools(listing: Listing, body: Architecture) -> None:
    """Refuse a container without order that lists other averages than the naming's code has, or
    one where that has the stem's max-pool, or a pool, and none that could be the stem's."""
    checkpoint, match = listing.checkpoint, listing.match
    listed, expected = extras.pools(listing, body)
    if len(listed) not in expected:
        raise MismatchError(
            f"{checkpoint.path} lists {len(listed)} pools among the layers of its network, and "
            f"the code of {match.dialect.name} has {expected[0]}: where they stand is not in it",
            [f"{one!r}" for one in listed],
            [checkpoint.advice],
        )
    pools = [one for one in listing.inside if listing.class_of(one) in extras.POOLS]
    has_max = any(listing.class_of(one) in extras.MAX_POOLS for one in pools)
    averages = [] if has_max else pools
    if not averages or match.dialect.defaults.pool == "none":
        return
    found = "lists an average-pool in the stem of its network"
    if averages == [POOL]:
        found = f"lists no pool for the stem of its network beside {POOL!r}"
    raise MismatchError(
        f"{checkpoint.path} {found}, and the code of {match.dialect.name} has a max-pool there",
        [f"{one!r}" for one in averages],
        [checkpoint.advice],
    )


def _network_fact(listing: Listing, found: Places, said: keras_hub.Described) -> tuple[Fact, ...]:
    """That what neither names nor places tell is what the naming's code does, where no
    configuration tells it."""
    if said.backbone is not None:
        return ()
    traces = "the names fit, and of what shortcuts read there is no trace"
    match, ran = listing.match, listing.match.dialect.ran(listing.checkpoint.version())
    reason = "; ".join((*(_unplaced(found) or (traces,)), ran))
    return (Fact("network", match.dialect.name, Evidence.DEFAULT, reason),)


def _unplaced(found: Places) -> tuple[str, ...]:
    """What a file does not tell of the places of its layers, in words."""
    if not found.is_listed:
        return ("where sums and activations stand among the layers is not in the file",)
    kinds = " and ".join(f"{kind}s" for kind in found.unlisted)
    return (f"the file lists no {kinds}, as where operators do their work",) if kinds else ()


def shortcut_fact(
    architecture: Architecture, default: str, said: keras_hub.Described
) -> tuple[Fact, ...]:
    """What shortcuts read. A list tells how deep a layer is, and a block is as deep whether its
    shortcut starts in front of its first activation or behind it."""
    if said.backbone is not None:
        return ()
    value = words.describe_shortcuts(architecture)
    return (Fact("shortcuts", value, Evidence.DEFAULT, f"no list of layers tells it: {default}"),)


def _taken_fact(match: Match, found: Places, around: extras.Extras) -> tuple[Fact, ...]:
    """The layers whose names do not say what they are, or are not Keras' own for what does nothing:
    by name, and what each is taken for."""
    taken = {layer: found.taken[layer].kind for layer in found.untold}
    taken |= dict.fromkeys(found.idle, "nothing at inference") | dict(around.taken)
    if not taken:
        return ()
    reason = f"their names do not say it; {match.dialect.name} has that in their places"
    return (Fact("taken for", _by_kind(taken), Evidence.DEFAULT, reason),)


def _by_kind(taken: Mapping[str, str]) -> str:
    """`sum: 'mix', 'join'; activation: 'gate'`."""
    kinds: dict[str, list[str]] = {}
    for layer, what in taken.items():
        kinds.setdefault(what, []).append(repr(layer))
    return "; ".join(f"{what}: {', '.join(layers)}" for what, layers in kinds.items())


INPUTS = frozenset(["input", "input_layer"])
"""Keras' own names of inputs, without the number behind them."""


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


def dialects_named(dialects: Sequence[Dialect], network: str | None) -> Sequence[Dialect]:
    """All dialects, or the one that the user names."""
    found = [dialect for dialect in dialects if network in (None, dialect.name)]
    if not found:
        known = ", ".join(dialect.name for dialect in dialects)
        raise UsageError(f"--network {network}: known are {known}")
    return found


def _padded_alike(checkpoint: Checkpoint, matches: Sequence[Match]) -> list[Match]:
    """Those whose code pads in layers as the file lists them: those of the stem and its pool, and
    those of the blocks."""
    if not checkpoint.kinds:
        return []
    in_blocks = sum(kind in extras.PADS for kind in checkpoint.kinds.values()) > 2
    return [one for one in matches if (one.dialect.defaults.padding == "pad") == in_blocks]


def _match(
    checkpoint: Checkpoint,
    shapes: Shapes,
    theano: bool,
    dialects: Sequence[Dialect],
    is_asked: bool,
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
    scattered = _scattered(checkpoint)
    if scattered:
        raise MismatchError(
            f"{checkpoint.path} holds layers of Keras' own names in several models, and not in "
            "which order those run",
            [f"{one!r}" for one in scattered],
            [checkpoint.advice],
        )
    # code that names its layers leaves none out, but where the container does
    candidates = [one for one in dialects if is_told or not (checkpoint.is_named and one.rows)]
    in_order = match_order(checkpoint, shapes, sorted(candidates, key=lambda one: not one.rows))
    readings = [
        (one, places(Listing(checkpoint, one), body_from_names(one, shapes, theano)))
        for one in in_order
    ]
    matches = _fitting(checkpoint, readings, is_told, refusal)
    match, others = one_reading(checkpoint, _padded_alike(checkpoint, matches) or matches, is_asked)
    if not is_told:
        _check_uncut(checkpoint, match)
    found = next(found for one, found in readings if one is match)
    said = [
        "the order and shapes of the layers, which have no names of their own",
        *([f"they fit {', '.join(others)} too (--network NAME)"] if others else []),
        *_unplaced(found),
        "of what their shortcuts read there is no trace",
    ]
    evidence = Evidence.USER if is_told else Evidence.DEFAULT
    return match, (Fact("network", match.dialect.name, evidence, "; ".join(said)),)


def _scattered(checkpoint: Checkpoint) -> list[str]:
    """The models that hold some of the convolutions of a file, which are in more than one: of a
    model class of its own, which lists its parts as it made them."""
    if not checkpoint.is_ordered:
        return []
    convs = [one for one in checkpoint.weights if len(one.shape) == 4]
    models = sorted({one.group for one in convs if one.group != one.layer})
    is_outside = any(one.group == one.layer for one in convs)
    return models if len(models) > 1 or (models and is_outside) else []


def _fitting(
    checkpoint: Checkpoint,
    readings: Sequence[tuple[Match, Places]],
    is_told: bool,
    refusal: MismatchError,
) -> list[Match]:
    """The readings that the file's list and its Keras allow. What the user says allows code of
    another time too, where the list fits it: it may be a copy."""
    oldest = checkpoint.oldest_version
    timely = [one for one in readings if one[0].dialect.may_have_run_on(oldest)]
    fitting = [match for match, found in timely if not found.misfits]
    late = [match for match, found in readings if found.is_listed and not found.misfits]
    if fitting or (late and is_told):
        return fitting or late
    if late:
        code = late[0].dialect
        raise MismatchError(
            f"the layers of {checkpoint.path} stand in the order of {code.name}, whose code "
            f"({code.source}) does not run on Keras {checkpoint.keras_version}, which wrote it",
            hints=[f"--network {code.name} says that it is a copy of that code"],
        )
    if timely:
        match, found = min(timely, key=lambda one: len(one[1].misfits))
        raise not_in_place(Listing(checkpoint, match), found)
    raise refusal


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
    listing: Listing,
    structure: Structure,
    theano: bool,
    found: Places,
    said: keras_hub.Described,
) -> tuple[Structure, tuple[Fact, ...]]:
    checkpoint, match = listing.checkpoint, listing.match
    around = Surroundings.of(listing, found)
    architecture = structure.architecture
    eps, eps_fact = _epsilon(checkpoint, match)
    architecture = changes.with_eps(architecture, eps)
    stem, stem_evidence, stem_reason = stem_padding(listing, around)
    if stem == "same" and theano:
        stem, stem_reason = "pad", f"{stem_reason}; Theano's 'same' is even"
    architecture = changes.with_stem(architecture, stem)
    pool, pool_evidence, pool_reason = pool_padding(listing, around, found)
    architecture = changes.with_pool(architecture, pool)
    default = match.dialect.ran(checkpoint.version())
    by_pads = "those stages stride that list a padding for it; by how much is " + default
    facts = (
        *input_fact(listing, around),
        eps_fact,
        Fact("stem", words.describe_stem(architecture), stem_evidence, stem_reason),
        Fact("pool", words.describe_pool(architecture), pool_evidence, pool_reason),
        Fact(
            "stride",
            words.describe_stride(architecture),
            Evidence.DEFAULT,
            by_pads if match.dialect.defaults.stage_strides else default,
        ),
        Fact("amounts", words.describe_amounts(architecture), Evidence.DEFAULT, default),
        *shortcut_fact(architecture, default, said),
        *gamma_fact(listing),
        activation_fact(listing, found),
        _head_fact(listing, architecture),
        *hidden_fact(architecture),
        *flatten_fact(checkpoint, architecture),
        *frozen_fact(listing),
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
        return eps, Fact("epsilon", words.eps_text(eps), Evidence.MODEL_CONFIG, why(written != eps))
    eps = match.dialect.defaults.eps
    version = checkpoint.version()
    if eps == 1e-3 and version is not None:
        eps = next(value for since, value in DEFAULT_EPSILON if version >= since)
        reason = f"BatchNormalization's default in Keras {checkpoint.keras_version}"
        reason = f"{reason}; the project's own code may have given another"
        return eps, Fact("epsilon", words.eps_text(eps), Evidence.DEFAULT, reason)
    reason = match.dialect.ran(version)
    if eps == 1e-3:
        reason = "BatchNormalization's default in every Keras since 1.2"
    used = raised(checkpoint, Norm(1, eps)).eps
    if used != eps:
        reason = f"{reason}; {eps:g} there, which TensorFlow's fused kernel raised"
    return used, Fact("epsilon", words.eps_text(eps), Evidence.DEFAULT, reason)


NESTED_END = (
    "a nested model lists nothing but weights: it is taken to end where its blocks do, activated"
)


def _head_fact(listing: Listing, architecture: Architecture) -> Fact:
    checkpoint = listing.checkpoint
    value = words.describe_head(architecture.head)
    unsaid = (
        *doubts(checkpoint, listing.match, architecture.head),
        *(
            f"where {layer!r} stands, and which function it is, is not in the file"
            for layer in of_head(listing, architecture)
        ),
        *((NESTED_END,) if checkpoint.is_ordered and listing.base else ()),
    )
    if unsaid:
        return Fact("head", value, Evidence.DEFAULT, "; ".join(unsaid))
    listed = {layer.name for layer in architecture.head} <= set(checkpoint.layers)
    evidence = Evidence.LAYER_NAMES if listed else Evidence.SHAPES
    return Fact("head", value, evidence, "the layers that the file lists after the last block")
