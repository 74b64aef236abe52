"""What the destinations that are plain ResNets share: folding, the classifier, what gets lost."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

from converter.facts.changes import map_head, norms
from converter.files.checkpoint import Array
from converter.formats.fold import folded, folds
from converter.formats.plain import Plain
from converter.mapping.export import ExportPlan, ExportStep, Zeros
from converter.mapping.transforms import Transform
from resnet_pt.architecture import Architecture, Dense, Dropout, Pool
from resnet_pt.tensors import head_modules
from resnet_pt.tensors import tensors as shapes

TORCH_MOMENTUM = 0.1


Table = tuple[tuple[str, str], ...]
"""(our module, theirs), with holes: {layer} counts stages from 1, {stage} from 2 (as He et al.
do), {place} from 0; {index} counts the blocks of a stage from 0. '{head}' is the classifier."""


def equivalent(architecture: Architecture) -> Architecture:
    """The network that the destination gets, as one of ours: without biases of convolutions, with
    epsilon 1e-5, and with a bias in the classifier. It can be run without the library."""
    biased = map_head(
        architecture, lambda op: op.replace(bias=True) if isinstance(op, Dense) else op
    )
    return folded(biased)


def export(
    table: Table,
    architecture: Architecture,
    *,
    first: tuple[Transform, ...] = (),
    counters: str = "",
) -> ExportPlan:
    """A plain network's tensors, folded and under another library's names. `first` is done to the
    kernels of the first convolution; `counters` says why counters of batches are dropped, '' if
    they are not. KeyError for a tensor whose module is not in the table."""
    ours, theirs = shapes(architecture), dict(unrolled(table, architecture))
    found, steps = folds(architecture), []
    dropped = {name: counters for name in ours if counters and name.endswith("batches_tracked")}
    for name, shape in shapes(equivalent(architecture)).items():
        if name in dropped:
            continue
        module, _, parameter = name.rpartition(".")
        fold = found.get(name) if name in ours else Zeros(shape)
        turned = first if name == "conv1.weight" else ()
        steps.append(ExportStep(f"{theirs[module]}.{parameter}", name, shape, fold, turned))
    return ExportPlan(tuple(steps), ours, dropped)


def unrolled(table: Table, architecture: Architecture) -> Iterator[tuple[str, str]]:
    """(our module, theirs) for every row and block."""
    dense = architecture.classifier
    head = head_modules(architecture)[dense.name] if dense else ""
    for stage, depth in enumerate(architecture.depths):
        for index in range(depth):
            holes = {"layer": stage + 1, "stage": stage + 2, "place": stage, "index": index}
            for ours, theirs in table:
                yield ours.format(head=head, **holes), theirs.format(**holes)


def as_torch(tensors: Mapping[str, Array]) -> Any:
    """A state_dict."""
    import torch

    return OrderedDict((name, torch.from_numpy(array)) for name, array in tensors.items())


def losses(architecture: Architecture) -> list[str]:
    """What a plain ResNet of torch does not keep, beside what its export plan says."""
    found = []
    momenta = sorted({norm.momentum for norm in norms(architecture)} - {TORCH_MOMENTUM})
    if momenta:
        ours = ", ".join(f"{momentum:g}" for momentum in momenta)
        keras = ", ".join(f"{1 - momentum:g}" for momentum in momenta)
        found.append(
            f"BatchNorm momentum {ours} (Keras' {keras}): it is torch's {TORCH_MOMENTUM:g} until "
            "you set it"
        )
    if any(not norm.gamma or not norm.beta for norm in norms(architecture)):
        found.append("that Keras had no gamma or beta: they are ones and zeros, and can be trained")
    return [*found, *_head_losses(architecture)]


def _head_losses(architecture: Architecture) -> list[str]:
    found = []
    for layer in architecture.head:
        op = layer.op
        if isinstance(op, Dropout):
            found.append(f"dropout of {op.rate:g} before the classifier")
        if isinstance(op, Pool):
            window = "x".join(map(str, op.kernel))
            found.append(
                f"the {window} pool: it is a mean over the map, which differs for larger pictures"
            )
    return found


def strides(architecture: Architecture) -> dict[str, int]:
    """`{module: stride}` of the convolutions that have to be set in a network that strides on the
    3x3 of its bottlenecks: torchvision's and timm's have no option for it."""
    found: dict[str, int] = {}
    for number, stage in enumerate(architecture.stages, start=1):
        for index, block in enumerate(stage):
            if len(block.convs) == 3 and block.convs[0].stride == (2, 2):
                found[f"layer{number}.{index}.conv1"] = 2
                found[f"layer{number}.{index}.conv2"] = 1
    return found


def loading(architecture: Architecture, target: str, patch: str) -> list[str]:
    """Lines that load TARGET into `model`, with the strides set where they have to be."""
    if target.endswith(".safetensors"):
        state = f"safetensors.torch.load_file({target!r})"
    else:
        state = f"torch.load({target!r}, weights_only=True)"
    lines = [f"model.load_state_dict({state})"]
    if strides(architecture):
        lines.append(
            f"resnet_pt.{patch}(model, {target!r})  # sets the strides; not to be left out"
        )
    return [*lines, "model.eval()"]


def widths(network: Plain, library: str) -> list[str]:
    """Why a library whose widths are fixed cannot build a network."""
    if network.has_standard_widths:
        return []
    return [
        f"{network.stem} channels behind the stem, {_list(network.middle)} inside and "
        f"{_list(network.out)} behind the blocks: {library} has 64, twice as many in each stage"
    ]


def stages(network: Plain, number: int = 4) -> list[str]:
    """Why a library whose number of stages is fixed cannot build a network."""
    if len(network.depths) == number:
        return []
    return [f"{len(network.depths)} stages: only {number} are there"]


def mixed(network: Plain) -> list[str]:
    """Why a library with one option for all strides cannot build a network."""
    if network.stride_on != "mixed":
        return []
    return ["some bottlenecks stride on the 1x1, some on the 3x3: only one for all is there"]


def named_depth(network: Plain) -> list[str]:
    """Why a library that builds a ResNet by its number cannot build a network."""
    if network.depth:
        return []
    return [f"blocks {_list(network.depths)}: only ResNet-18, 34, 50, 101 and 152 are there"]


def doubling(network: Plain) -> list[str]:
    """Why a library that doubles the widths from stage to stage cannot build a network."""
    return [
        f"{_list(found)} channels: they have to double from stage to stage"
        for found in (network.middle, network.out)
        if found != tuple(found[0] * 2**stage for stage in range(len(found)))
    ]


def expansion(network: Plain) -> list[str]:
    """Why a library with bottlenecks of one shape cannot build a network."""
    if network.convolutions == 2:
        return []
    if network.out == tuple(4 * width for width in network.middle):
        return []
    return [f"bottlenecks from {_list(network.middle)} to {_list(network.out)}: not by 4"]


def _list(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers))
