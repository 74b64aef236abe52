"""Whole models: the configuration says what the network is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from converter.errors import MismatchError
from converter.facts import words
from converter.facts.epsilon import raised, raised_epsilon, why
from converter.facts.fact import Evidence, Fact
from converter.facts.reading import KERAS_RESNET_0_1, Reading, batch_fact
from converter.files.checkpoint import Checkpoint
from converter.files.model_config import NARROW, all_layers, class_of, layer_name
from converter.files.shapes import Shapes
from converter.network import Lifted, Structure
from converter.whole_model.graph import Graph, parse_graph
from converter.whole_model.keras_layers.call import MAP, Era
from converter.whole_model.keras_layers.lambdas import read_code
from converter.whole_model.lift import lift
from converter.whole_model.recognition import recognise
from converter.whole_model.replicas import slices
from converter.whole_model.supplied import UsersLayers, users_layers
from resnet_pt.architecture import Architecture
from resnet_pt.ops import Crop, Linear, Norm, Resize, Supplied
from resnet_pt.program import Layer, Program


def read_config(
    checkpoint: Checkpoint,
    shapes: Shapes,
    theano: bool,
    naming: str,
    preprocessing: str | None,
    layers: Path | None = None,
) -> Reading:
    """The network of a whole model. `naming` is the table that its names are from ('' for none),
    `preprocessing` what the code of that did to pictures, `layers` the user's own file of layers.
    """
    assert checkpoint.config is not None
    graph = parse_graph(checkpoint.config)
    check_quantised(checkpoint.config)
    check_unfrozen(graph, checkpoint.config)
    users = users_layers(layers, checkpoint)
    if users and users.serves(graph):
        return _general(checkpoint, graph, theano, users)
    try:
        written = recognise(graph, shapes, theano)
    except MismatchError:
        return _general(checkpoint, graph, theano)
    architecture = raised_epsilon(checkpoint, written.architecture)
    is_raised = architecture != written.architecture
    pictures, stem = preprocessing, architecture.stem
    if stem.channels or stem.rescaling or stem.data_norm:
        pictures = "raw"
    elif stem.front:  # what the naming's code did is not what they get
        pictures = None
    return Reading(
        structure=replace(written, architecture=replace(architecture, preprocessing=pictures)),
        facts=(
            *_facts_of_config(architecture, is_raised),
            *_assumed(written),
            *batch_fact(slices(checkpoint.config)),
            *_precision(checkpoint.config),
        ),
        dialect=naming or "names of its own, read by the graph",
        is_raised=is_raised,
        left_out=tuple(one for one in checkpoint.weights if one.layer in written.unread),
    )


def _general(
    checkpoint: Checkpoint, graph: Graph, theano: bool, users: UsersLayers | None = None
) -> Reading:
    """A model that is no residual network of a known kind. Raises MismatchError that names the
    layers which are not understood."""
    lifted = lift(graph, _era(checkpoint, theano), users, checkpoint)
    lifted, is_raised = _with_raised_epsilons(checkpoint, lifted)
    unread = lifted.unread
    return Reading(
        structure=lifted,
        facts=(
            *_facts_of_program(lifted.program),
            *_supplied(lifted.program),
            *_code(lifted.program, graph),
            *_precision(checkpoint.config),
        ),
        dialect="names of its own, read by the graph",
        is_raised=is_raised,
        left_out=tuple(one for one in checkpoint.weights if (one.group, one.layer) in unread),
    )


def _with_raised_epsilons(checkpoint: Checkpoint, lifted: Lifted) -> tuple[Lifted, bool]:
    """Every norm of a map's channels as it was really computed."""
    shapes = lifted.program.shapes()
    layers = tuple(
        replace(layer, op=raised(checkpoint, layer.op))
        if isinstance(layer.op, Norm)
        and not layer.op.standardizes
        and len(shapes[layer.name]) == MAP
        else layer
        for layer in lifted.program.layers
    )
    is_raised = layers != lifted.program.layers
    return replace(lifted, program=replace(lifted.program, layers=layers)), is_raised


def _era(checkpoint: Checkpoint, theano: bool) -> Era:
    """The Keras whose layers they are: the one that wrote the file, or the configuration."""
    config = checkpoint.config or {}
    text = checkpoint.keras_version or str(config.get("keras_version") or "")
    version = replace(checkpoint, keras_version=text or None).version() or ()
    return Era(version, text, theano)


def _facts_of_program(program: Program) -> tuple[Fact, ...]:
    """What the network is, in the words of its configuration."""
    kinds = Counter(type(layer.op).__name__ for layer in program.layers)
    listed = ", ".join(f"{count} {name}" for name, count in kinds.most_common(6))
    reason = "the layers of the model, each by its own configuration"
    left = [one.activation for one in program.outputs]
    outputs = (
        ()
        if set(left) == {"linear"}
        else (Fact("output", ", ".join(left), Evidence.MODEL_CONFIG, LEFT_OFF),)
    )
    pictures = (
        (Fact("preprocessing", "raw", Evidence.MODEL_CONFIG, SCALES),) if scales(program) else ()
    )
    return (Fact("layers", listed, Evidence.MODEL_CONFIG, reason), *outputs, *pictures)


SCALES = "the network does to them itself what is to be done"


def scales(program: Program) -> bool:
    """Whether the network does to its pictures what else a project does to them: all that reads
    them, or what is cut out of them or resized, is a scale or a standardisation of its own."""
    readers = program.readers()

    def is_scaled(name: str) -> bool:
        return bool(readers.get(name)) and all(map(is_scale, readers[name]))

    def is_scale(layer: Layer) -> bool:
        if isinstance(layer.op, Crop | Resize):
            return is_scaled(layer.name)
        return isinstance(layer.op, Linear) or (
            isinstance(layer.op, Norm) and layer.op.standardizes
        )

    maps = [one.name for one in program.inputs if len(one.shape) == MAP]
    return bool(maps) and all(map(is_scaled, maps))


def _supplied(program: Program) -> tuple[Fact, ...]:
    """The layers that the user's own file computes."""
    found = {layer.original: layer.op for layer in program.layers if isinstance(layer.op, Supplied)}
    if not found:
        return ()
    first = next(iter(found.values()))
    listed = ", ".join(f"{name!r} ({op.entry})" for name, op in found.items())
    value = f"{len(found)} layer{'s' * (len(found) > 1)} by {first.file}"
    reason = f"{listed}: code of your own (--layers), sha256 {first.sha256[:12]}"
    return (Fact("supplied", value, Evidence.USER, reason),)


def _code(program: Program, graph: Graph) -> tuple[Fact, ...]:
    """The Lambda layers whose code was read, and what global names in it were taken for."""
    there = {one.original for one in program.layers if not isinstance(one.op, Supplied)}
    found: dict[str, list[str]] = {}
    assumed: dict[str, None] = {}
    for node in graph.calls:
        if node.config and class_of(node.config) == "Lambda" and node.layer in there:
            code = read_code(node.config["config"])
            found.setdefault(code.text, []).append(node.layer)
            assumed.update(dict.fromkeys(code.assumed))
    if not found:
        return ()
    value = "; ".join(f"{_listed(names)}: {text}" for text, names in found.items())
    reason = "the bytecode of its Lambda layers, read and never run"
    evidence = Evidence.DEFAULT if assumed else Evidence.MODEL_CONFIG
    return (Fact("code", value, evidence, "; ".join([reason, *assumed])),)


def _listed(names: Sequence[str]) -> str:
    names = list(dict.fromkeys(names))
    return repr(names[0]) if len(names) == 1 else f"{names[0]!r} and {len(names) - 1} more"


LEFT_OFF = "what the last layer applies to the logits, which are what the network gives"


def _facts_of_config(architecture: Architecture, is_raised: bool) -> tuple[Fact, ...]:
    def fact(name: str, value: str, what: str) -> Fact:
        return Fact(name, value, Evidence.MODEL_CONFIG, what)

    front = architecture.stem.front
    activation = ("activation", words.describe_activation(architecture), "between all the layers")
    return (
        fact("epsilon", words.describe_eps(architecture), why(is_raised)),
        *([fact("front", words.describe_front(front), "before the stem")] if front else []),
        fact("stem", words.describe_stem(architecture), "the first convolution and its padding"),
        fact("pool", words.describe_pool(architecture), "the pool after the stem"),
        fact("stride", words.describe_stride(architecture), "the strides of the convolutions"),
        *([fact(*activation)] if architecture.activation != "relu" else []),
        fact("head", words.describe_head(architecture.head), "the layers after the last block"),
        *_output_fact(architecture),
    )


def _output_fact(architecture: Architecture) -> tuple[Fact, ...]:
    """What the model did to its logits last: this network gives the logits."""
    values = [output.activation for output in architecture.outputs]
    if set(values) == {"linear"}:
        return ()
    return (Fact("output", ", ".join(values), Evidence.MODEL_CONFIG, LEFT_OFF),)


def _assumed(structure: Structure) -> tuple[Fact, ...]:
    if not structure.assumed:
        return ()
    first, count = structure.assumed[0], len(structure.assumed)
    reason = f"{first!r} and {count - 1} more Lambda layers are taken for it; their code is not run"
    value = "grouped convolutions, as keras-applications sums them"
    return (Fact("custom code", value, Evidence.DEFAULT, reason),)


def _precision(config: Any) -> tuple[Fact, ...]:
    """That the original computed in half precision, where its configuration says so."""
    found = sorted(_policies(config) & set(NARROW))
    if not found:
        return ()
    reason = f"the model's policy is {found[0]}: what it predicted is off by the rounding of that"
    return (Fact("precision", "float32", Evidence.MODEL_CONFIG, reason),)


def check_quantised(config: Any) -> None:
    """Raise MismatchError for a model after `model.quantize` (Keras 3.3 on): its kernels are not
    those that its layers had."""
    for layer in all_layers(config):
        policy = layer["config"].get("dtype")
        name = policy.get("class_name") if isinstance(policy, dict) else None
        if isinstance(name, str) and name.startswith("Quantized"):
            raise MismatchError(
                f"the model is quantised ({name} of {layer['config'].get('name')!r})",
                hints=["convert it as it was before model.quantize"],
            )


def check_unfrozen(graph: Graph, config: Any) -> None:
    """Raise MismatchError for norms of keras-resnet before 0.2 that were not frozen: they normalise
    by the batch at hand when they predict too (0.1.0 `layers/_batch_normalization.py`: training is
    `not freeze`). Those versions alone pad the stem in a layer `padding_conv1`."""
    loose = [
        layer_name(layer) for layer in all_layers(config) if layer["config"].get("freeze") is False
    ]
    if loose and any(node.layer == KERAS_RESNET_0_1 for node in graph.nodes):
        raise MismatchError(
            f"{loose[0]!r} and {len(loose) - 1} more norms of keras-resnet before 0.2 are not "
            "frozen (freeze_bn=False), and normalise by the batch at hand: what is predicted for "
            "a picture depends on those beside it",
            hints=[
                "convert the weights alone (model.save_weights) for the network by the moving "
                "statistics, which is what keras-resnet 0.2 computes"
            ],
        )


def _policies(config: Any) -> set[str]:
    """The names of all layers' policies: `dtype` is one, or holds one (Keras 2.4 on)."""
    found: set[str] = set()
    for layer in all_layers(config):
        policy = layer["config"].get("dtype")
        if isinstance(policy, dict):
            inner = policy.get("config")
            policy = inner.get("name") if isinstance(inner, dict) else None
        if isinstance(policy, str):
            found.add(policy)
    return found
