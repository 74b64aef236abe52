"""Checkpoint → network: the architecture, decided fact by fact, each with its evidence.

Strongest first: what the user sets, a record, `model_config`, the names of weightless layers,
attributes and the spelling of parameters, shapes, the dialect's default. What rests on a default
is said so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from converter import facts as f
from converter import weightless
from converter.checkpoint import COUNT, Checkpoint, Weight
from converter.dialect import Dialect
from converter.discover import modules
from converter.errors import MismatchError, UsageError
from converter.facts import Evidence, Fact
from converter.from_names import Match, match_dialect, structure_from_names
from converter.from_order import is_auto_named, match_order, one_reading
from converter.graph import epsilons, parse_graph
from converter.head_names import auto_name, doubts
from converter.options import Options
from converter.recognise import recognise
from converter.structure import KernelLayout, Shapes, Structure
from converter.transforms import OutsideRoot, Square, Transform
from resnet_pt.architecture import Architecture, HeadLayer, Norm

DEFAULT_EPSILON: tuple[tuple[tuple[int, ...], float], ...] = (
    ((1, 2, 0), 1e-3),
    ((1, 0, 8), 1e-5),
    ((0,), 1e-6),
)
"""BatchNormalization's default epsilon since each Keras version (keras 2a0b112d08 for 1.2.0)."""


@dataclass(frozen=True, slots=True)
class Network:
    """What is in a file: a structure, how its kernels lie, and the facts with their evidence."""

    structure: Structure
    layout: KernelLayout
    facts: tuple[Fact, ...]
    dialect: str
    theano: bool = False
    is_raised: bool = False
    variance: tuple[Transform, ...] = ()
    left_out: tuple[Weight, ...] = ()

    @property
    def architecture(self) -> Architecture:
        return self.structure.architecture


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the file itself says, before the user does."""

    structure: Structure
    facts: tuple[Fact, ...]
    dialect: str
    is_raised: bool = False
    left_out: tuple[Weight, ...] = ()


def identify(checkpoint: Checkpoint, options: Options) -> Network:
    """The network in a checkpoint. Raises MismatchError if it is none that is known."""
    theano, backend_fact = _backend(checkpoint)
    layout, kernel_facts = _kernel_layout(checkpoint, theano, options)
    shapes = Shapes(checkpoint, layout)
    dialects = [module.DIALECT for module in modules("converter.dialects")]
    if checkpoint.config is None or _is_part(checkpoint, dialects):
        reading = _read_names(checkpoint, shapes, theano, _named(dialects, options.network))
    else:
        reading = _read_config(checkpoint, shapes, theano, dialects)
    structure, facts = _set_by_user(reading.structure, reading.facts, options)
    structure, variance, running = _variance(checkpoint, structure, options)
    bias = _bias_fact(structure.architecture)
    return Network(
        structure=structure,
        layout=layout,
        facts=(*facts, bias, backend_fact, *kernel_facts, *running),
        dialect=reading.dialect,
        theano=theano,
        is_raised=reading.is_raised,
        variance=variance,
        left_out=(*reading.left_out, *(w for w in checkpoint.weights if w.parameter == COUNT)),
    )


# ---- whole models: the configuration says it


def _read_config(
    checkpoint: Checkpoint, shapes: Shapes, theano: bool, dialects: Sequence[Dialect]
) -> _Reading:
    assert checkpoint.config is not None
    written = recognise(parse_graph(checkpoint.config), shapes, theano)
    architecture = _raised_epsilon(checkpoint, written.architecture)
    is_raised = architecture != written.architecture
    naming = _naming(checkpoint, dialects)
    pictures = naming.defaults.preprocessing if naming else None
    stem = architecture.stem
    if stem.channels or stem.rescaling or stem.data_norm:
        pictures = "raw"
    return _Reading(
        structure=replace(written, architecture=replace(architecture, preprocessing=pictures)),
        facts=(*_facts_of_config(architecture, is_raised), *_assumed(written)),
        dialect=naming.name if naming else "names of its own, read by the graph",
        is_raised=is_raised,
    )


FUSED_MINIMUM = 1.001e-5
"""The least epsilon of TensorFlow's fused batch normalisation, cuDNN's (tensorflow
`python/ops/nn_impl.py`, fused_batch_norm)."""


def _raised_epsilon(checkpoint: Checkpoint, architecture: Architecture) -> Architecture:
    return f.map_norms(architecture, lambda norm: _raised(checkpoint, norm))


def _raised(checkpoint: Checkpoint, norm: Norm) -> Norm:
    """A norm with the epsilon that was really used: Keras 2.2 to 2.x on TensorFlow normalised maps
    with the fused kernel (seen in records of 2.2.4, 2.3.1 and tf.keras 2.10); Keras 3 does not."""
    version = checkpoint.version()
    if checkpoint.backend != "tensorflow" or not version or not (2, 2) <= version < (3,):
        return norm
    return replace(norm, eps=FUSED_MINIMUM) if 0 <= norm.eps < FUSED_MINIMUM else norm


def _why(is_raised: bool) -> str:
    """The reason of an epsilon from a configuration."""
    if is_raised:
        return "as written, but not below 1.001e-5: TensorFlow's fused kernel raised it"
    return "the epsilon of every BatchNormalization"


def _facts_of_config(architecture: Architecture, is_raised: bool) -> tuple[Fact, ...]:
    def fact(name: str, value: str, what: str) -> Fact:
        return Fact(name, value, Evidence.MODEL_CONFIG, what)

    return (
        fact("epsilon", f.describe_eps(architecture), _why(is_raised)),
        fact("stem", f.describe_stem(architecture), "the first convolution and its padding"),
        fact("pool", f.describe_pool(architecture), "the pool after the stem"),
        fact("stride", f.describe_stride(architecture), "the strides of the convolutions"),
        fact("head", describe_head(architecture.head), "the layers after the last block"),
    )


def _assumed(structure: Structure) -> tuple[Fact, ...]:
    if not structure.assumed:
        return ()
    first, count = structure.assumed[0], len(structure.assumed)
    reason = f"{first!r} and {count - 1} more Lambda layers are taken for it; their code is not run"
    value = "grouped convolutions, as keras-applications sums them"
    return (Fact("custom code", value, Evidence.DEFAULT, reason),)


def _naming(checkpoint: Checkpoint, dialects: Sequence[Dialect]) -> Dialect | None:
    """Which table a whole model's names are from; the graph is what decides."""
    try:
        return match_dialect(checkpoint, dialects).dialect
    except MismatchError:
        return None


def describe_head(head: Sequence[HeadLayer]) -> str:
    """`global_avg_pool, dense 1000`."""
    words = []
    for layer in head:
        width = f" {layer.out_features}" if layer.kind == "dense" else ""
        words.append(f"{layer.activation if layer.kind == 'activation' else layer.kind}{width}")
    return ", ".join(words) or "none (headless)"


# ---- weights only: layer names, attributes, defaults


def _read_names(
    checkpoint: Checkpoint, shapes: Shapes, theano: bool, dialects: Sequence[Dialect]
) -> _Reading:
    match, naming = _match(checkpoint, shapes, dialects)
    _check_weightless(checkpoint, match, shapes)
    structure = structure_from_names(checkpoint, match, shapes, theano)
    structure, facts = _decide(checkpoint, match, structure, theano)
    left_out = tuple(one for one in checkpoint.weights if one.layer in match.left_out)
    return _Reading(structure, (*naming, *facts), match.dialect.name, left_out=left_out)


def _check_weightless(checkpoint: Checkpoint, match: Match, shapes: Shapes) -> None:
    """Refuse a file that lists a layer without weights whose work it does not tell. A detector
    lists other parts' too, and ResNeXt's sums are known by their place (transforms.Regroup)."""
    around = _Surroundings.of(checkpoint, match)
    grouped = any(shapes.is_depthwise(layer) for layer in match.modules.values())
    unreadable = (
        () if match.left_out or grouped else weightless.unreadable(checkpoint, around.before)
    )
    if unreadable:
        raise MismatchError(
            f"{checkpoint.path} lists layers without weights, and not what they compute",
            [f"{one!r}" for one in unreadable],
            ["convert the whole model (model.save), whose configuration says it"],
        )


def _is_part(checkpoint: Checkpoint, dialects: Sequence[Dialect]) -> bool:
    """Whether a whole model is a detector around a network that is known by its names."""
    detectors = [one for one in dialects if one.left_out]
    if not any(layer in one.left_out for one in detectors for layer in checkpoint.of_layer()):
        return False
    try:
        match_dialect(checkpoint, detectors)
    except MismatchError:
        return False
    return True


def _named(dialects: Sequence[Dialect], network: str | None) -> Sequence[Dialect]:
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
    match, others = one_reading(checkpoint, matches)
    reason = "the order and shapes of the layers, which have no names of their own"
    if others:
        reason = f"{reason}; they fit {', '.join(others)} too (--network NAME)"
    evidence = Evidence.USER if is_told else Evidence.DEFAULT if others else Evidence.SHAPES
    return match, (Fact("network", match.dialect.name, evidence, reason),)


def _decide(
    checkpoint: Checkpoint, match: Match, structure: Structure, theano: bool
) -> tuple[Structure, tuple[Fact, ...]]:
    around = _Surroundings.of(checkpoint, match)
    architecture = structure.architecture
    eps, eps_fact = _epsilon(checkpoint, match)
    architecture = f.with_eps(architecture, eps)
    stem, stem_evidence, stem_reason = _stem(checkpoint, match, around)
    if stem == "same" and theano:
        stem, stem_reason = "pad", f"{stem_reason}; Theano's 'same' is even"
    architecture = f.with_stem(architecture, stem)
    pool, pool_evidence, pool_reason = _pool(checkpoint, match, around)
    architecture = f.with_pool(architecture, pool)
    default = f"what {match.dialect.name} ran ({match.dialect.source})"
    facts = (
        *_input_fact(checkpoint, around, match),
        eps_fact,
        Fact("stem", f.describe_stem(architecture), stem_evidence, stem_reason),
        Fact("pool", f.describe_pool(architecture), pool_evidence, pool_reason),
        Fact("stride", f.describe_stride(architecture), Evidence.DEFAULT, default),
        _head_fact(checkpoint, match, architecture),
    )
    return replace(structure, architecture=architecture), facts


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """The weightless layers that a file lists before the stem's convolution, and between its
    norm and the first block. `listed` is False for a file that lists no weightless layer."""

    listed: bool
    before: tuple[str, ...]
    between: tuple[str, ...]

    @classmethod
    def of(cls, checkpoint: Checkpoint, match: Match) -> _Surroundings:
        weighted = {weight.group for weight in checkpoint.weights}
        layers = checkpoint.layers
        stem = match.modules[match.dialect.stem]
        if stem not in layers:
            return cls(False, (), ())  # a nested model: only its weights are listed
        if not checkpoint.is_ordered:
            return cls._unordered(checkpoint, match)
        start = layers.index(stem)
        end = layers.index(match.modules["bn1"]) if "bn1" in match.modules else start
        later = [i for i, layer in enumerate(layers) if i > end and layer in weighted]
        stop = later[0] if later else len(layers)
        pools = [i for i in range(end + 1, stop) if _is_pool(layers[i])]
        stop = pools[0] + 1 if pools else stop  # behind it, padding is the first block's
        listed = any(layer not in weighted for layer in layers)
        return cls(listed, layers[:start], layers[end + 1 : stop])

    @classmethod
    def _unordered(cls, checkpoint: Checkpoint, match: Match) -> _Surroundings:
        """By name alone: the stem's and the pool's padding, whose own names differ, or, where
        Keras named them, the first and the second of the class."""
        if match.dialect.defaults.padding == "pad" and not checkpoint.is_named:
            return cls(False, (), ())  # blocks have padding layers too, of the same class
        auto = [layer for layer in checkpoint.layers if auto_name(layer) in AUTO_PADS]
        stem = [layer for layer in checkpoint.layers if layer in STEM_PADS] or auto[:1]
        pool = [layer for layer in checkpoint.layers if layer in POOL_PADS] or auto[1:2]
        pools = [layer for layer in checkpoint.layers if auto_name(layer) in POOLS]
        listed = bool(stem or pool or pools)
        return cls(listed, tuple(stem), (*pool, *pools))


STEM_PADS = ("conv1_pad", "conv1_zeropadding", "padding_conv1", "stem_pad")
POOL_PADS = ("pool1_pad", "stem_pool_pad")
AUTO_PADS = ("zero_padding2d", "zeropadding2d")
"""Names of ZeroPadding2D layers in published code, and Keras 2's and Keras 1's own."""

POOLS = ("max_pooling2d", "maxpooling2d", "pool1_pool", "pool1", "pooling0", "stem_pool")
"""Names of the pool behind the stem, the same way."""


def _is_pool(layer: str) -> bool:
    return "pool" in layer and "pad" not in layer


def _pads(layers: Sequence[str]) -> list[str]:
    """ZeroPadding2D layers: whoever names one calls it padding."""
    return [layer for layer in layers if "pad" in layer.lower()]


Decision = tuple[str, Evidence, str]


def _input_fact(checkpoint: Checkpoint, around: _Surroundings, match: Match) -> tuple[Fact, ...]:
    """Layers between the input and the first convolution that are no padding (Rescaling, say):
    what they do to the picture is not in the weights."""
    known = {*_pads(around.before), *match.modules.values()}
    others = [layer for layer in around.before[1:] if layer not in known]
    others = others or list(weightless.before(checkpoint))
    if not others:
        return ()
    reason = f"the file lists {', '.join(others[:3])} before it, and not what that does"
    return (Fact("input", "as it comes to the first convolution", Evidence.DEFAULT, reason),)


def _stem(checkpoint: Checkpoint, match: Match, around: _Surroundings) -> Decision:
    default = match.dialect.defaults.stem
    pads = _pads(around.before)
    if pads:
        return "pad", Evidence.LAYER_NAMES, f"the file lists {pads[0]!r} before the convolution"
    if around.listed:
        return (
            "same",
            Evidence.LAYER_NAMES,
            "the file lists no padding layer before the convolution",
        )
    by_version = _by_version(checkpoint, match)
    if by_version:
        return by_version[0], Evidence.ATTRIBUTES, by_version[2]
    return default, Evidence.DEFAULT, f"what {match.dialect.name} ran ({match.dialect.source})"


def _pool(checkpoint: Checkpoint, match: Match, around: _Surroundings) -> Decision:
    default = match.dialect.defaults.pool
    pads = _pads(around.between)
    if pads:
        return "zero", Evidence.LAYER_NAMES, f"the file lists {pads[0]!r} before the pool"
    if around.listed and default == "zero":
        return "valid", Evidence.LAYER_NAMES, "the file lists no padding layer before the pool"
    if around.listed:
        reason = "the file lists no padding layer before the pool; 'same' would look alike"
        return default, Evidence.LAYER_NAMES if default == "valid" else Evidence.DEFAULT, reason
    by_version = _by_version(checkpoint, match)
    if by_version:
        return by_version[1], Evidence.ATTRIBUTES, by_version[2]
    return default, Evidence.DEFAULT, f"what {match.dialect.name} ran ({match.dialect.source})"


TIMELINE: tuple[tuple[tuple[int, ...], str, str], ...] = (
    ((2, 2, 3), "pad", "zero"),
    ((2, 1, 5), "pad", "valid"),
    ((2, 0, 7), "same", "valid"),
    ((0,), "pad", "valid"),
)
"""(since this Keras version, stem, pool) of `keras.applications.resnet50`: keras c5ff4c967e,
c2a8450279; keras-applications 36436f6."""


def _by_version(checkpoint: Checkpoint, match: Match) -> tuple[str, str, str] | None:
    version = checkpoint.version()
    if version is None or match.dialect.name != "res-branch":
        return None
    for since, stem, pool in TIMELINE:
        if version >= since:
            reason = f"Keras {checkpoint.keras_version}'s own resnet50.py"
            return stem, pool, reason
    return None


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
        raised = _raised(checkpoint, Norm(1, written)).eps
        return raised, Fact(
            "epsilon", f.eps_text(raised), Evidence.MODEL_CONFIG, _why(written != raised)
        )
    eps = match.dialect.defaults.eps
    version = checkpoint.version()
    if eps == 1e-3 and version is not None:
        eps = next(value for since, value in DEFAULT_EPSILON if version >= since)
        reason = f"BatchNormalization's default in Keras {checkpoint.keras_version}"
        return eps, Fact("epsilon", f.eps_text(eps), Evidence.ATTRIBUTES, reason)
    reason = f"what {match.dialect.name} ran ({match.dialect.source})"
    if eps == 1e-3:
        reason = "BatchNormalization's default in every Keras since 1.2"
    return eps, Fact("epsilon", f.eps_text(eps), Evidence.DEFAULT, reason)


def _head_fact(checkpoint: Checkpoint, match: Match, architecture: Architecture) -> Fact:
    value = describe_head(architecture.head)
    unsaid = doubts(checkpoint, architecture.head)
    if unsaid:
        return Fact("head", value, Evidence.DEFAULT, "; ".join(unsaid))
    listed = {layer.name for layer in architecture.head} <= set(checkpoint.layers)
    evidence = Evidence.LAYER_NAMES if listed else Evidence.SHAPES
    return Fact("head", value, evidence, "the layers that the file lists after the last block")


# ---- both


def _bias_fact(architecture: Architecture) -> Fact:
    reason = "the convolutions' bias vectors in the file"
    return Fact("bias", f.describe_bias(architecture), Evidence.SHAPES, reason)


def _backend(checkpoint: Checkpoint) -> tuple[bool, Fact]:
    """Whether Theano wrote the file: its convolution flips kernels and pads 'same' evenly."""
    if checkpoint.backend:
        reason = "the file's `backend` attribute"
        theano = checkpoint.backend == "theano"
        return theano, Fact("backend", checkpoint.backend, Evidence.ATTRIBUTES, reason)
    spellings = {weight.spelling for weight in checkpoint.weights}
    if checkpoint.version() == (0,):
        return True, Fact("backend", "theano", Evidence.DEFAULT, "Keras 0.x's default")
    if all(spelling.isdigit() for spelling in spellings):
        reason = "kernels are the same on every backend in this container"
        return False, Fact("backend", "any", Evidence.ATTRIBUTES, reason)
    keras_1 = any(
        weight.spelling.partition(":")[0].endswith("_W") or "_W_" in weight.spelling
        for weight in checkpoint.weights
    )
    if not keras_1:
        return False, Fact("backend", "tensorflow", Evidence.DEFAULT, "the file does not say")
    if any(":" in spelling for spelling in spellings):
        reason = "parameters named `…_W:0`, as Keras 1 on TensorFlow names them"
        return False, Fact("backend", "tensorflow", Evidence.ATTRIBUTES, reason)
    reason = "parameters named `…_W`, as Keras 1 on Theano names them"
    return True, Fact("backend", "theano", Evidence.ATTRIBUTES, reason)


WINDOWS = (1, 3, 5, 7)


def _kernel_layout(
    checkpoint: Checkpoint, theano: bool, options: Options
) -> tuple[KernelLayout, tuple[Fact, ...]]:
    kernels = [w.shape for w in checkpoint.weights if len(w.shape) == 4]
    hwio = all(a == b and a in WINDOWS for a, b, _, _ in kernels)
    oihw = all(c == d and c in WINDOWS for _, _, c, d in kernels)
    order = "oihw" if oihw and not hwio else "hwio"
    reason = "the kernels' shapes" + (", (out, in, height, width)" if order == "oihw" else "")
    flipped = theano if options.theano_kernels is None else options.theano_kernels
    evidence = Evidence.ATTRIBUTES if options.theano_kernels is None else Evidence.USER
    why = "the backend's convolution" if evidence != Evidence.USER else "--theano-kernels"
    return KernelLayout(order, flipped), (
        Fact("kernels", order.upper(), Evidence.SHAPES, reason),
        Fact("flipped", "180 degrees (Theano)" if flipped else "no", evidence, why),
    )


def _variance(
    checkpoint: Checkpoint, structure: Structure, options: Options
) -> tuple[Structure, tuple[Transform, ...], tuple[Fact, ...]]:
    """What has to be done to `running_std`, and to the epsilon beside it.

    Keras up to 1.0.5 kept a standard deviation there, and up to 1.0.7 added epsilon outside the
    root: (x - mean) / (sqrt(variance) + eps). Source: keras 1.0.5, 1.0.6, 1.0.7
    `layers/normalization.py`.
    """
    if not any("running_std" in weight.spelling for weight in checkpoint.weights):
        return structure, (), ()
    version = checkpoint.version()
    kind, fact = _running_std(version, options)
    transforms: tuple[Transform, ...] = (Square(),) if kind == "std" else ()
    if version is None or version >= (1, 0, 8):
        return structure, transforms, (fact,)
    epsilons = {norm.eps for norm in f.norms(structure.architecture)}
    if len(epsilons) > 1 or any(layer.norm for layer in structure.architecture.head):
        raise MismatchError(
            f"Keras {checkpoint.keras_version} adds epsilon outside the root, and this network has "
            "several epsilons or a norm in its head: that is not read yet"
        )
    (eps,) = epsilons
    reason = f"Keras {checkpoint.keras_version} adds epsilon to the root, not under it"
    outside = Fact("epsilon placement", "outside the root", Evidence.ATTRIBUTES, reason)
    architecture = f.with_eps(structure.architecture, 0.0)
    structure = replace(structure, architecture=architecture)
    return structure, (*transforms, OutsideRoot(eps)), (fact, outside)


def _running_std(version: tuple[int, ...] | None, options: Options) -> tuple[str, Fact]:
    if options.running_std is not None:
        kind, evidence, reason = options.running_std, Evidence.USER, "--running-std"
    elif version is not None and version < (1, 0, 6):
        kind, evidence, reason = "std", Evidence.ATTRIBUTES, "as Keras before 1.0.6 kept it"
    elif version is not None and version >= (1, 0, 7):
        kind, evidence, reason = "variance", Evidence.ATTRIBUTES, "as Keras since 1.0.7 keeps it"
    else:
        reason = "in every Keras since 1.0.7, and on TensorFlow since 1.0.6, whatever its name says"
        kind, evidence = "variance", Evidence.DEFAULT
    value = "the variance" if kind == "variance" else "a standard deviation, squared"
    return kind, Fact("running_std", value, evidence, reason)


def _set_by_user(
    structure: Structure, facts: Sequence[Fact], options: Options
) -> tuple[Structure, tuple[Fact, ...]]:
    """Each option beats the evidence."""
    architecture, kept = structure.architecture, list(facts)

    def change(name: str, changed: Architecture, value: str, option: str) -> Architecture:
        kept[:] = [fact for fact in kept if fact.name != name]
        kept.append(Fact(name, value, Evidence.USER, option))
        return changed

    if options.bn_eps is not None:
        new = f.with_eps(architecture, options.bn_eps)
        architecture = change("epsilon", new, f.describe_eps(new), "--bn-eps")
    if options.stem is not None:
        new = f.with_stem(architecture, options.stem)
        architecture = change("stem", new, f.describe_stem(new), "--stem")
    if options.pool is not None and architecture.stem.pool is None:
        raise UsageError("--pool: this network has no pool in its stem")
    if options.pool is not None:
        new = f.with_pool(architecture, options.pool)
        architecture = change("pool", new, f.describe_pool(new), "--pool")
    if options.stride_on is not None:
        new = f.with_stride_on(architecture, options.stride_on)
        architecture = change("stride", new, f.describe_stride(new), "--stride-on")
    if options.head_activation is not None:
        new = with_head_activation(architecture, options.head_activation)
        if new != architecture:
            architecture = change("head", new, describe_head(new.head), "--head-activation")
    if options.preprocess is not None:
        new = replace(architecture, preprocessing=options.preprocess)
        architecture = change("preprocessing", new, options.preprocess, "--preprocess")
    elif architecture.preprocessing:
        evidence, reason = _pictures(architecture)
        kept.append(Fact("preprocessing", architecture.preprocessing, evidence, reason))
    return replace(structure, architecture=architecture), tuple(kept)


def _pictures(architecture: Architecture) -> tuple[Evidence, str]:
    """How it is known what was done to pictures before the network."""
    if architecture.stem.rescaling or architecture.stem.channels:
        return Evidence.MODEL_CONFIG, "the network does to them itself what is to be done"
    if architecture.stem.data_norm:
        return Evidence.SHAPES, "the network normalises them itself"
    reason = "what the code of this naming does to pictures; not part of the network"
    return Evidence.DEFAULT, reason


def with_head_activation(architecture: Architecture, name: str) -> Architecture:
    """The same network with another activation behind its hidden Dense layers."""
    head = tuple(
        replace(layer, activation=name) if layer.kind == "activation" else layer
        for layer in architecture.head
    )
    return replace(architecture, head=head)
