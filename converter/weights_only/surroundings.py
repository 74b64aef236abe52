"""Weights only: what the weightless layers around the stem say about its padding and its pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from converter.facts.fact import Evidence, Fact
from converter.files.auto_names import auto_name
from converter.weights_only import extras, weightless
from converter.weights_only.expected import ACTIVATION, PAD
from converter.weights_only.listing import Listing
from converter.weights_only.places import Places, first_module


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The layers without weights that a file lists before the stem's convolution, and, behind it,
    what pads for its pool and the pool. `listed` is False for a file that lists none at all."""

    listed: bool
    before: tuple[str, ...]
    pads: tuple[str, ...]
    pools: tuple[str, ...]

    @classmethod
    def of(cls, listing: Listing, found: Places) -> Surroundings:
        match, layers = listing.match, listing.checkpoint.layers
        stem = match.modules[match.dialect.stem]
        if stem not in layers:
            return cls(False, (), (), ())  # a nested model: only its weights are listed
        if not listing.checkpoint.is_ordered:
            return cls._unordered(listing)
        if not found.is_listed and not match.left_out:
            return cls(False, (), (), ())  # nothing but weights, or layers that are only numbered
        if not found.is_listed:
            return cls._of_detector(listing)
        start, place = layers.index(match.modules[first_module(match)]), layers.index(stem)
        own = {x: one.kind for x, one in found.taken.items() if one.optional}
        own = {x: kind for x, kind in own.items() if layers.index(x) > place}
        pads = tuple(x for x, kind in own.items() if kind == PAD)
        return cls(True, layers[:start], pads, tuple(x for x in own if x not in pads))

    @classmethod
    def _of_detector(cls, listing: Listing) -> Surroundings:
        """By name, between the stem and the first block: its other parts are listed among the
        network's layers, further on."""
        match, layers, weighted = listing.match, listing.checkpoint.layers, listing.weighted
        start = layers.index(match.modules[match.dialect.stem])
        norms = [match.modules[one] for one in ("bn1", "bn1.scale") if one in match.modules]
        end = max(map(layers.index, norms), default=start)
        later = [i for i, layer in enumerate(layers) if i > end and layer in weighted]
        between = layers[end + 1 : later[0]] if later else layers[end + 1 :]
        pools = tuple(layer for layer in between if extras.is_pool(layer))
        listed = any(layer not in weighted for layer in layers)
        return cls(listed, layers[:start], tuple(_pads(between)), pools)

    @classmethod
    def _unordered(cls, listing: Listing) -> Surroundings:
        """By name alone: the stem's and the pool's padding, whose own names differ, or, where
        Keras named them, the first and the second of the class."""
        layers, pads_in_blocks = listing.checkpoint.layers, listing.match.dialect.defaults.padding
        if pads_in_blocks == "pad" and not listing.checkpoint.is_named:
            return cls(False, (), (), ())  # blocks have padding layers too, of the same class
        auto = [layer for layer in layers if auto_name(layer) in AUTO_PADS]
        stem = [layer for layer in layers if layer in STEM_PADS] or auto[:1]
        pads = [layer for layer in layers if layer in POOL_PADS] or auto[1:2]
        pools = [layer for layer in layers if auto_name(layer) in STEM_POOLS]
        return cls(bool(stem or pads or pools), tuple(stem), tuple(pads), tuple(pools))


STEM_PADS = ("conv1_pad", "conv1_zeropadding", "padding_conv1", "stem_pad")


POOL_PADS = ("pool1_pad", "stem_pool_pad")


AUTO_PADS = ("zero_padding2d", "zeropadding2d")
"""Names of ZeroPadding2D layers in published code, and Keras 2's and Keras 1's own."""


STEM_POOLS = ("max_pooling2d", "maxpooling2d", "pool1_pool", "pool1", "pooling0", "stem_pool")
"""Names of the pool behind the stem, the same way."""


def _pads(layers: Sequence[str]) -> list[str]:
    """ZeroPadding2D layers: whoever names one calls it padding."""
    return [layer for layer in layers if "pad" in layer.lower()]


TIME_DISTRIBUTED = "time_distributed"
"""Keras' name for a wrapper of that class, without the number behind it."""


def _somewhere(pad: str) -> str:
    """The reason of a padding whose place neither its name nor the container tells."""
    return f"the file lists {pad!r}, and not where it stands"


def _has_no_pool(listing: Listing, around: Surroundings) -> bool:
    """Whether no pool is listed behind the stem; where no order is kept, none at all."""
    if not listing.checkpoint.is_ordered:
        pools = [one for one in listing.inside if listing.class_of(one) in extras.POOLS]
        return bool(listing.inside) and not pools
    return around.listed and not around.pools


Decision = tuple[str, Evidence, str]


def input_fact(listing: Listing, around: Surroundings) -> tuple[Fact, ...]:
    """Layers between the input and the first convolution that are no padding (Rescaling, say):
    what they do to the picture is not in the weights."""
    front = listing.front
    known = {*_pads(front), *listing.match.modules.values()}
    front = front[1:] if around.before else front  # the first one is the input; Sequential has none
    others = [x for x in front if x not in known and auto_name(x) not in weightless.CLASSES]
    others = others or listing.of_classes(weightless.PICTURE)
    wrappers = map(auto_name, listing.base.split("/"))
    if TIME_DISTRIBUTED in wrappers:
        reason = "TimeDistributed runs it on every frame: this is the network of one frame"
    elif others and others == list(front[:1]) and auto_name(others[0]) not in weightless.COMPUTES:
        reason = f"the file lists {others[0]} before it: an input, or what works on pictures"
    elif others:
        reason = f"the file lists {', '.join(others)} before it, and not what that does"
    elif not listing.checkpoint.is_ordered:
        reason = "operators before the network (x / 255, preprocess_input) leave no trace here"
    elif listing.base:
        reason = "a nested model lists nothing but weights: what it does to pictures is not in them"
    else:
        return ()
    return (Fact("input", "as it comes to the first convolution", Evidence.DEFAULT, reason),)


def stem_padding(listing: Listing, around: Surroundings) -> Decision:
    checkpoint, match = listing.checkpoint, listing.match
    default, code = match.dialect.defaults.stem, match.dialect.name
    pads = _pads(around.before)
    if pads:
        reason = f"the file lists {pads[0]!r} before the convolution"
        if pads[0].startswith("tf."):  # a function, and not the code's own layer
            return "pad", Evidence.DEFAULT, f"{reason}, and not how many zeros it sets"
        if not checkpoint.is_ordered and pads[0] not in STEM_PADS:
            return "pad", Evidence.DEFAULT, _somewhere(pads[0])
        return "pad", Evidence.LAYER_NAMES, f"{reason}; how many zeros is what {code} ran"
    by_version = _by_version(listing)
    if around.listed:
        reason = "the file lists no padding layer before the convolution; 'valid' would look alike"
        is_known = by_version is not None and by_version[0] == "same"
        return "same", Evidence.LAYER_NAMES if is_known else Evidence.DEFAULT, reason
    if by_version:
        return by_version[0], *by_version[2:]
    return default, Evidence.DEFAULT, match.dialect.ran(checkpoint.version())


def pool_padding(listing: Listing, around: Surroundings, found: Places) -> Decision:
    checkpoint, match = listing.checkpoint, listing.match
    default, code = match.dialect.defaults.pool, match.dialect.name
    if default != "none" and _has_no_pool(listing, around):
        reason = "the file lists no pool behind the stem"
        if ACTIVATION in found.unlisted:
            return "none", Evidence.DEFAULT, f"{reason}, and no activation either"
        return "none", Evidence.LAYER_NAMES, reason
    if around.pads and not checkpoint.is_ordered and around.pads[0] not in POOL_PADS:
        return "zero", Evidence.DEFAULT, _somewhere(around.pads[0])
    if around.pads:
        reason = f"the file lists {around.pads[0]!r} before the pool; its window is what {code} ran"
        return "zero", Evidence.LAYER_NAMES, reason
    if around.listed:
        default = "valid" if default == "zero" else default
        reason = "the file lists no padding layer before the pool; 'same' would look alike"
        by_version = _by_version(listing)
        is_known = default == "valid" and by_version is not None and by_version[1] == default
        return default, Evidence.LAYER_NAMES if is_known else Evidence.DEFAULT, reason
    by_version = _by_version(listing)
    if by_version:
        return by_version[1:]
    return default, Evidence.DEFAULT, match.dialect.ran(checkpoint.version())


TIMELINE: tuple[tuple[tuple[int, ...], str, str], ...] = (
    ((2, 2, 3), "pad", "zero"),
    ((2, 1, 5), "pad", "valid"),
    ((2, 0, 7), "same", "valid"),
    ((0,), "pad", "valid"),
)
"""(since this Keras version, stem, pool) of `keras.applications.resnet50`: keras c5ff4c967e,
c2a8450279; keras-applications 36436f6. Since Keras 2.4 its layers have other names."""


def _by_version(listing: Listing) -> tuple[str, str, Evidence, str] | None:
    """(stem, pool, evidence, reason) of the code that Keras itself had under these names."""
    checkpoint, match, version = listing.checkpoint, listing.match, listing.checkpoint.version()
    if version is None or match.dialect.name != "res-branch":
        return None
    if not checkpoint.version_tells_code:
        return None
    stem, pool = next((stem, pool) for since, stem, pool in TIMELINE if version >= since)
    if not match.dialect.may_have_run_on(version):
        return stem, pool, Evidence.DEFAULT, match.dialect.ran(version)
    return stem, pool, Evidence.ATTRIBUTES, f"Keras {checkpoint.keras_version}'s own resnet50.py"
