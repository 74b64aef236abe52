"""keras-hub's own classes: what their configuration says of a network it does not list.

A `.keras` of one of them holds the arguments that its class was made with. The names in its weights
say which layer stands where; strides, blocks that pool and the last activation are these arguments.
Each of them is taken, or held against the weights.

Sources: keras-hub 0.32 `models/resnet/resnet_backbone.py`, `models/image_classifier.py`,
`models/task.py` and `models/backbone.py`, get_config.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from converter.errors import MismatchError
from converter.facts import words
from converter.facts.changes import map_head
from converter.facts.fact import Evidence, Fact
from converter.files.checkpoint import Checkpoint
from converter.files.keras_hub_classes import BACKBONE, CLASSIFIERS, PREPROCESSOR
from converter.files.kinds import written
from converter.files.model_config import NARROW
from converter.files.shapes import Shapes
from converter.network import Structure
from converter.weights_only.match import Match
from resnet_pt import preprocessing
from resnet_pt.architecture import ACTIVATIONS, Architecture, Dense, Dropout, GlobalPool

NAMINGS = ("keras-hub", "keras-hub-v2", "keras-hub-vd")
"""The dialects of the layers that a ResNetBackbone makes."""

OF_BACKBONE = frozenset(
    [
        *("stackwise_num_strides", "block_type", "image_shape", "dtype"),  # taken
        # held against the weights; of filters their number, since widths are those of the arrays
        *("stackwise_num_blocks", "use_pre_activation", "input_conv_kernel_sizes"),
        *("stackwise_num_filters", "input_conv_filters"),
        *("name", "trainable"),  # change nothing at inference
    ]
)
OF_CLASSIFIER = frozenset(
    [
        *("backbone", "pooling", "activation", "dropout"),  # taken
        "num_classes",  # held against the weights
        "preprocessor",  # works on pictures before the network
        "name",  # changes nothing
    ]
)
"""Every argument that keras-hub 0.32 writes. `data_format` and `head_dtype` it does not: the first
is how pictures lie, not what is computed, the second is the type of the Dense layer's arrays."""

CONVOLUTIONS = {
    "basic_block": 2,
    "basic_block_vd": 2,
    "bottleneck_block": 3,
    "bottleneck_block_vd": 3,
}
"""The convolutions of each type of block, less the shortcut's."""

POOLS = {"avg": GlobalPool("avg"), "max": GlobalPool("max")}

Settings = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Described:
    """The arguments in a config.json: those of its backbone, if that is keras-hub's ResNet, and
    those of the classifier around it, if there is one."""

    backbone: Settings | None = None
    classifier: Settings | None = None


def described(checkpoint: Checkpoint) -> Described:
    """What the configuration of a class of keras-hub says; nothing for any other class.

    Raises MismatchError for an argument that is not known: it may change what is computed.
    """
    outer = _of_class(checkpoint.description, (BACKBONE, *CLASSIFIERS))
    if outer is None or checkpoint.description is None:
        return Described()
    if checkpoint.description.get("registered_name") == BACKBONE:
        return Described(backbone=_known(outer, OF_BACKBONE, "ResNetBackbone"))
    inner = _of_class(outer.get("backbone"), (BACKBONE,))
    return Described(
        backbone=None if inner is None else _known(inner, OF_BACKBONE, "ResNetBackbone"),
        classifier=_known(outer, OF_CLASSIFIER, "ImageClassifier"),
    )


def _of_class(config: Any, names: Sequence[str]) -> Settings | None:
    """The arguments of an object of one of these classes."""
    if not isinstance(config, Mapping) or config.get("registered_name") not in names:
        return None
    settings = config.get("config")
    return settings if isinstance(settings, Mapping) else {}


def _known(settings: Settings, keys: frozenset[str], class_name: str) -> Settings:
    others = sorted(map(str, settings.keys() - keys))
    if others:
        raise MismatchError(
            f"config.json has arguments of keras-hub's {class_name} that keras-hub 0.32 does not "
            "write: what they change is not known",
            [f"{key!r}: {settings[key]!r}" for key in others],
            [WEIGHTS_ALONE],
        )
    return settings


WEIGHTS_ALONE = "convert its weights alone (model.save_weights): what they do not say is then shown"


# ---- before the network is built: what its blocks do


def as_configured(checkpoint: Checkpoint, match: Match, said: Described, shapes: Shapes) -> Match:
    """The match with the strides and shortcuts of the backbone's arguments, in the place of the
    naming's; without them, with strides where the file lists what pads for one. Raises
    MismatchError for arguments that are not those of these weights."""
    settings = said.backbone
    if settings is None:
        return _with_listed_strides(checkpoint, match)
    _check_backbone(settings, match, shapes)
    kind = settings["block_type"]
    defaults = replace(
        match.dialect.defaults,
        stage_strides=_strides(settings, match),
        shortcut_pool=kind.endswith("_vd") and not match.dialect.defaults.preactivation,
    )
    return replace(match, dialect=replace(match.dialect, defaults=defaults))


STEM_PAD = "conv1_pad"
"""A layer that every ResNetBackbone has; a file without it lists no layers without weights."""


def _with_listed_strides(checkpoint: Checkpoint, match: Match) -> Match:
    """The match that strides in the stages whose first block has a padding layer: keras-hub 0.32
    makes one in front of a convolution that strides, and in front of no other. By how much is not
    in its name: 2 in what it makes of timm's networks (`utils/timm/convert_resnet.py`)."""
    if match.dialect.name not in NAMINGS or STEM_PAD not in checkpoint.layers:
        return match
    strides = tuple(
        2 if _pad_of(match, stage) in checkpoint.layers else 1
        for stage in range(1, len(_depths(match)) + 1)
    )
    _check_projected(strides, match, f"{checkpoint.path} lists a padding for a stride")
    defaults = replace(match.dialect.defaults, stage_strides=strides)
    return replace(match, dialect=replace(match.dialect, defaults=defaults))


def _pad_of(match: Match, stage: int) -> str:
    """The name of the padding in a stage's first block, in front of its 3x3 that strides."""
    number = 2 if f"layer{stage}.0.conv3" in match.modules else 1
    return f"stack{stage - 1}_block0_{number}_pad"


def _check_projected(strides: Sequence[int], match: Match, what: str) -> None:
    """Refuse a stride in a block whose shortcut is its input: their sum would fail in Keras."""
    for stage, stride in enumerate(strides, start=1):
        if stride > 1 and f"layer{stage}.0.downsample.0" not in match.modules:
            raise MismatchError(f"{what} in stage {stage}, which has no projection that strides")


def _check_backbone(settings: Settings, match: Match, shapes: Shapes) -> None:
    if match.dialect.name not in NAMINGS:
        raise MismatchError(
            "config.json is of keras-hub's ResNetBackbone, and the layers in the weights are those "
            f"of {match.dialect.name}",
            hints=[WEIGHTS_ALONE],
        )
    _check_choice("block_type", settings, tuple(CONVOLUTIONS))
    if not isinstance(settings.get("use_pre_activation"), bool):
        raise _unexpected("use_pre_activation", settings, "true and false")
    depths, stem = _depths(match), _stem_kernels(match, shapes)
    _compare("use_pre_activation", settings, match.dialect.defaults.preactivation)
    _compare("stackwise_num_blocks", settings, depths)
    _compare("input_conv_kernel_sizes", settings, stem)
    _check_count("stackwise_num_filters", settings, len(depths))
    _check_count("input_conv_filters", settings, len(stem))
    expected = CONVOLUTIONS[settings["block_type"]]
    found = {len(some) for some in _convolutions(match).values()}
    if found != {expected}:
        raise _misfit("block_type", settings, f"blocks of {_listed(found)} convolutions")


def _depths(match: Match) -> list[int]:
    counts = Counter(stage for stage, _ in match.blocks)
    return [counts[stage] for stage in sorted(counts)]


def _convolutions(match: Match) -> Mapping[tuple[str, ...], list[str]]:
    """The convolutions of each block, less the shortcut's."""
    found: dict[tuple[str, ...], list[str]] = {one: [] for one in match.blocks}
    for module in match.modules:
        block, part = tuple(module.split(".")[:2]), module.rpartition(".")[2]
        if block in found and part.startswith("conv"):
            found[block].append(module)
    return found


def _stem_kernels(match: Match, shapes: Shapes) -> list[int]:
    """The heights of the stem's kernels, as they follow each other; keras-hub's are square."""
    own = sorted(one for one in match.modules if one == "conv1" or one.startswith("conv1."))
    layers = [match.modules[one] for one in own]
    return [shapes.kernel(layer)[0] for layer in layers if shapes.has(layer, "kernel")]


def _strides(settings: Settings, match: Match) -> tuple[int, ...]:
    """By how much each stage shrinks the map. A block without a projection cannot, nor can one that
    pools where it is activated first: keras-hub's sum of its two sides fails there."""
    strides = settings.get("stackwise_num_strides")
    _check_count("stackwise_num_strides", settings, len(_depths(match)))
    assert isinstance(strides, list)
    is_flat = match.dialect.defaults.preactivation and settings["block_type"].endswith("_vd")
    for stage, stride in enumerate(strides, start=1):
        if stride > 1 and (is_flat or f"layer{stage}.0.downsample.0" not in match.modules):
            raise _misfit(
                "stackwise_num_strides", settings, f"no projection that strides in stage {stage}"
            )
    return tuple(strides)


def _compare(key: str, settings: Settings, found: Any) -> None:
    if settings.get(key) != found:
        raise _misfit(key, settings, repr(found))


def _check_count(key: str, settings: Settings, count: int) -> None:
    value = settings.get(key)
    is_list = isinstance(value, list) and all(type(one) is int and one > 0 for one in value)
    if not is_list or len(settings[key]) != count:
        raise _unexpected(key, settings, f"whole numbers above 0, {count} of them")


def _misfit(key: str, settings: Settings, found: str) -> MismatchError:
    return MismatchError(
        f"config.json is not of these weights: {key!r} is {settings.get(key)!r} in it, and the "
        f"weights hold {found}",
        hints=[WEIGHTS_ALONE],
    )


def _check_choice(key: str, settings: Settings, choices: tuple[str, ...]) -> None:
    """A tuple, since a stranger's value may be a list, which no table can be asked for."""
    if settings.get(key) not in choices:
        raise _unexpected(key, settings, ", ".join(choices))


def _unexpected(key: str, settings: Settings, expected: str) -> MismatchError:
    return MismatchError(
        f"{key!r} in config.json is {written(settings.get(key))}, and expected were {expected}",
        hints=[WEIGHTS_ALONE],
    )


def _listed(numbers: set[int]) -> str:
    return " and ".join(map(str, sorted(numbers)))


# ---- after it is built: its stem, its head, and what the facts rest on


def settled(
    structure: Structure, facts: Sequence[Fact], said: Described
) -> tuple[Structure, tuple[Fact, ...]]:
    """The network with what is left of the arguments, and the facts that rest on them now."""
    architecture, told = structure.architecture, list[Fact]()
    if said.backbone is not None:
        architecture = _with_backbone(architecture, said.backbone)
        stride = words.describe_stride(architecture)
        told += [_fact("stride", stride, "stackwise_num_strides and block_type")]
        told += _precision(said.backbone)
        # nothing stands in front: the class's input is that of its first convolution
        facts = [fact for fact in facts if fact.name != "input"]
        facts = [_restated(fact, architecture) for fact in facts]
    if said.classifier is not None:
        architecture = _with_head(architecture, said.classifier)
        head, output = words.describe_head(architecture.head), architecture.outputs[0].activation
        told += [_fact("head", head, "pooling, dropout and num_classes")]
        told += [_fact("output", output, "activation; the logits come before it")]
    elif said.backbone is not None and architecture.head:
        raise MismatchError(
            "config.json is of keras-hub's ResNetBackbone, and the weights hold a head too",
            [layer.name for layer in architecture.head],
            [WEIGHTS_ALONE],
        )
    own = {fact.name: fact for fact in told}
    kept = [own.pop(fact.name, fact) for fact in facts]
    return replace(structure, architecture=architecture), (*kept, *own.values())


def _fact(name: str, value: str, what: str) -> Fact:
    return Fact(name, value, Evidence.MODEL_CONFIG, f"config.json: {what}")


def _restated(fact: Fact, architecture: Architecture) -> Fact:
    """What a stem of an even window changes."""
    return replace(fact, value=words.describe_stem(architecture)) if fact.name == "stem" else fact


def _with_backbone(architecture: Architecture, settings: Settings) -> Architecture:
    return replace(
        _with_stem(architecture), input_size=_input_size(settings, architecture.in_channels)
    )


def _with_stem(architecture: Architecture) -> Architecture:
    """The stem padded as keras-hub does: by (window - 1) // 2, which is less than half a window
    where that is even."""
    stem = architecture.stem
    first = stem.first.replace(padding=(stem.first.kernel[0] - 1) // 2)
    if stem.deep:
        stem = replace(stem, deep=((first, stem.deep[0][1]), *stem.deep[1:]))
    else:
        stem = replace(stem, conv=first)
    return replace(architecture, stem=stem)


def _input_size(settings: Settings, channels: int) -> tuple[int, int] | None:
    """(height, width) where `image_shape` fixes it: (height, width, channels), or channels first.
    Which of the two is not written; the weights tell how many channels there are."""
    shape = settings.get("image_shape")
    if not isinstance(shape, list) or len(shape) != 3 or not all(map(_is_size, shape)):
        raise _unexpected("image_shape", settings, "a height, a width and the channels")
    if channels not in (shape[2], shape[0]):
        raise _misfit("image_shape", settings, f"a stem of {channels} channels")
    height, width = shape[:2] if shape[2] == channels else shape[1:]
    return None if height is None or width is None else (height, width)


def _is_size(value: Any) -> bool:
    return value is None or (type(value) is int and value > 0)


def _precision(settings: Settings) -> list[Fact]:
    """That the original computed in half precision. `dtype` is a policy or its name; one for each
    layer, or of a quantised model, is another class."""
    policy = settings.get("dtype")
    if isinstance(policy, Mapping) and policy.get("class_name") == "DTypePolicy":
        inner = policy.get("config")
        policy = inner.get("name") if isinstance(inner, Mapping) else None
    if not isinstance(policy, str):
        raise _unexpected("dtype", settings, "a DTypePolicy, one for all layers")
    if policy not in NARROW:
        return []
    reason = f"dtype is {policy}: what it predicted is off by the rounding of that"
    return [_fact("precision", "float32", reason)]


def _with_head(architecture: Architecture, settings: Settings) -> Architecture:
    """A pool, a Dropout and a Dense layer, which is all that the class has."""
    _check_choice("pooling", settings, tuple(POOLS))
    head = architecture.head
    ops = [layer.op for layer in head if not isinstance(layer.op, Dropout)]
    if len(ops) != 2 or ops[0] != POOLS[settings["pooling"]] or not isinstance(ops[1], Dense):
        raise _misfit("pooling", settings, f"a head of {words.describe_head(head)}")
    classes, activation = ops[1].out_features, _activation(settings)
    _compare("num_classes", settings, classes)
    rate = _rate(settings)
    dropped = map_head(architecture, lambda op: Dropout(rate) if isinstance(op, Dropout) else op)
    return replace(
        dropped,
        outputs=tuple(replace(one, activation=activation) for one in architecture.outputs),
    )


def _rate(settings: Settings) -> float:
    """The Dropout's rate: keras 3.15 `layers/regularization/dropout.py` takes 0 to 1."""
    rate = settings.get("dropout")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
        raise _unexpected("dropout", settings, "numbers from 0 to 1")
    return float(rate)


def _activation(settings: Settings) -> str:
    """The function behind the logits, by name or as Keras 3 writes a function of its own."""
    value = settings.get("activation")
    if isinstance(value, Mapping) and value.get("class_name") == "function":
        value = value.get("config")
    name = "linear" if value is None else value
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise _unexpected("activation", settings, ", ".join(sorted(ACTIVATIONS)))
    return name


# ---- what is done to pictures before the network


PREPROCESSORS = (
    "keras_hub>ResNetImageClassifierPreprocessor",
    "keras_hub>ImageClassifierPreprocessor",
)
CONVERTERS = ("keras_hub>ResNetImageConverter", "keras_hub>ImageConverter")
"""What works on pictures in a classifier of keras-hub, and the part of it that does: it resizes
them, multiplies them by `scale` and adds `offset` (keras-hub 0.32
`layers/preprocessing/image_converter.py`)."""

Numbers = tuple[float, ...]

MODES: Mapping[str, tuple[Numbers, Numbers]] = {
    mode: (
        tuple(1 / deviation for deviation in one.deviations),
        tuple(-mean / deviation for mean, deviation in zip(one.means, one.deviations, strict=True)),
    )
    for mode, one in preprocessing.MODES.items()
    if not one.bgr  # its converter has no order of channels
}
"""(scale, offset) of the modes that `resnet_pt.preprocess` has."""

NO_PART = "the file's preprocessor works on pictures before the network, and is no part of it"


def with_pictures(
    structure: Structure, facts: Sequence[Fact], said: Described, has_preprocessor: bool
) -> tuple[Structure, tuple[Fact, ...]]:
    """The facts with the file's preprocessor, where it has one, and the mode of `resnet_pt` that
    does the same to the numbers of a picture, where there is one."""
    written = said.classifier.get(PREPROCESSOR) if said.classifier is not None else None
    if written is None and not has_preprocessor:
        return structure, tuple(facts)
    converter = _converter(written)
    front = [fact.reason for fact in facts if fact.name == "input"]
    does = f"config.json: {_describe(converter)}" if converter is not None else _unsaid(written)
    is_told = converter is not None and not front
    evidence = Evidence.MODEL_CONFIG if is_told else Evidence.DEFAULT
    reason = "; ".join([NO_PART, does, *front])
    told = [Fact("input", "as it comes to the first convolution", evidence, reason)]
    facts = [fact for fact in facts if fact.name != "input"]
    if written is None:
        return structure, (*told, *facts)
    mode = _mode(converter)
    if mode is not None:
        told += [_fact("preprocessing", mode, "scale and offset of the preprocessor")]
    changed = replace(structure.architecture, preprocessing=mode)
    return replace(structure, architecture=changed), (*told, *facts)


def _converter(written: Any) -> Settings | None:
    """The arguments of a preprocessor's converter of pictures: {} where it has none and so does
    nothing, None where they are not in the file, or the preprocessor is of another class."""
    settings = _of_class(written, PREPROCESSORS)
    if settings is None or settings.get("image_converter") is None:
        return settings if settings is None else {}
    converter = _of_class(settings["image_converter"], CONVERTERS)
    if converter is None or None in (_scale(converter), _offset(converter)):
        return None
    return converter


def _unsaid(written: Any) -> str:
    if written is None:
        return "what it does is not in the weights"
    name = written.get("class_name") if isinstance(written, Mapping) else None
    return f"config.json: it is of the class {name}, and what it does is not read"


def _describe(converter: Settings) -> str:
    """`image size 64x96, scale 0.00392157, offset -1, -0.5, 0`, as they are written."""
    size = converter.get("image_size")
    is_size = isinstance(size, list) and len(size) == 2
    return "; ".join(
        (
            f"image size {size[0]}x{size[1]}" if is_size and size else "no image size",
            f"scale {_in_words(converter.get('scale'))}",
            f"offset {_in_words(converter.get('offset'))}",
        )
    )


def _in_words(value: Any) -> str:
    numbers = _numbers(value)
    return "none" if value is None else ", ".join(f"{one:.6g}" for one in numbers or ())


def _scale(converter: Settings) -> Numbers | None:
    return _numbers(converter.get("scale"), 1.0)


def _offset(converter: Settings) -> Numbers | None:
    return _numbers(converter.get("offset"), 0.0)


def _numbers(value: Any, default: float = 0.0) -> Numbers | None:
    """One number, or one for each channel; None for what is neither."""
    values = value if isinstance(value, list) else [default if value is None else value]
    if not values or not all(type(one) in (int, float) for one in values):
        return None
    return tuple(map(float, values))


def _mode(converter: Settings | None) -> str | None:
    """The mode whose scale and offset these are."""
    if converter is None:
        return None
    scale, offset = _scale(converter) or (), _offset(converter) or ()
    return next(
        (
            mode
            for mode, (scales, offsets) in MODES.items()
            if _is_close(scale, scales) and _is_close(offset, offsets)
        ),
        None,
    )


def _is_close(found: Numbers, wanted: Numbers) -> bool:
    found = found * len(wanted) if len(found) == 1 else found
    return len(found) == len(wanted) and all(
        math.isclose(one, other, rel_tol=1e-5) for one, other in zip(found, wanted, strict=True)
    )
