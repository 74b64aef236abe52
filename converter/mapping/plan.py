"""The plan: which array goes where and how, as a value, before any array is read.

Every weight of the file and every tensor of the network is accounted for: mapped, a stated
constant, or left out by name. All misfits are found here, at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from converter.errors import MismatchError
from converter.files.checkpoint import Array, Checkpoint, Shape, TensorSpec, Weight, as_float32
from converter.files.shapes import KernelLayout
from converter.mapping.transforms import (
    COMPUTED,
    FLIP_HWIO,
    FLIP_OIHW,
    HWIO_TO_OIHW,
    IO_TO_OI,
    Regroup,
    Row,
    Transform,
)
from resnet_pt.check import problems
from resnet_pt.ops import AxisNorm, Dense, Norm, Tensor
from resnet_pt.program import Layer
from resnet_pt.program import problems as of_program
from resnet_pt.tensors import parts

if TYPE_CHECKING:
    from converter.network import Lifted, Network, Source


@dataclass(frozen=True, slots=True)
class Step:
    """One tensor of the network: an array of the file through `transforms`, or a constant where
    Keras has no such array. `eps` is the epsilon of the norm that it is a part of."""

    target: str
    shape: Shape
    source: Weight | None = None
    transforms: tuple[Transform, ...] = ()
    constant: float = 0.0
    eps: float = 0.0

    def apply(self, array: Array) -> Array:
        """The source array → the tensor: contiguous float32."""
        for transform in self.transforms:
            array = transform.apply(array)
        return _contiguous(as_float32(array))

    def undo(self, tensor: Array) -> Array:
        """The tensor → the source array, in float32."""
        for transform in reversed(self.transforms):
            tensor = transform.inverse().apply(tensor)
        return tensor

    @property
    def is_exact(self) -> bool:
        """Whether `undo` gives back the very bits that `apply` was given."""
        return not any(isinstance(transform, COMPUTED) for transform in self.transforms)

    @property
    def row(self) -> int | None:
        """The row of its array that it takes; None if that is all of it."""
        return next((one.index for one in self.transforms if isinstance(one, Row)), None)

    @property
    def spec(self) -> TensorSpec:
        is_count = self.target.endswith("num_batches_tracked")
        return TensorSpec(self.shape, "<i8" if is_count else "<f4")

    def value(self) -> Array:
        """The tensor of a step without a source."""
        return np.full(self.shape, self.constant, self.spec.dtype)

    @property
    def how(self) -> str:
        """The transforms, in words."""
        if self.source is None:
            return f"constant {self.constant:g}"
        return ", ".join(str(transform) for transform in self.transforms) or "as it is"


def _contiguous(array: Array) -> Array:
    """`np.ascontiguousarray`, for a kernel of 3x3 in half the time: its windows first side by side,
    then each of them whole, so that neither copy leaps at every number; a single number, which it
    makes a vector of, stays one."""
    if array.ndim == 4 and not array.flags.c_contiguous:
        array = np.ascontiguousarray(array.transpose(2, 3, 0, 1)).transpose(2, 3, 0, 1)
    return np.ascontiguousarray(array).reshape(array.shape)


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps, in the order of the network's tensors, and the weights left out on purpose."""

    steps: tuple[Step, ...]
    left_out: tuple[Weight, ...] = ()

    @property
    def mapped(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.source)

    @property
    def by_source(self) -> dict[Weight, list[Step]]:
        """The steps of every array: one, or one for each of its rows."""
        found: dict[Weight, list[Step]] = {}
        for step in self.steps:
            if step.source:
                found.setdefault(step.source, []).append(step)
        return found

    @property
    def specs(self) -> dict[str, TensorSpec]:
        """What `tensors` will give, in the order of the network's tensors."""
        return {step.target: step.spec for step in self.steps}

    def only(self, names: Collection[str]) -> Plan:
        """The steps for some of the tensors."""
        return Plan(tuple(step for step in self.steps if step.target in names))

    def tensors(self, checkpoint: Checkpoint) -> Iterator[tuple[str, Array]]:
        """(name, tensor) for every step; each source array is read once, in the file's order."""
        by_source = self.by_source
        wanted = [weight for weight in checkpoint.weights if weight in by_source]
        for weight, array in checkpoint.arrays(wanted):
            for step in by_source[weight]:
                yield step.target, step.apply(array)
        for step in self.steps:
            if step.source is None:
                yield step.target, step.value()


def make_plan(checkpoint: Checkpoint, network: Network) -> Plan:
    """Pair every weight with a tensor, or raise one MismatchError that lists all misfits."""
    general = network.lifted
    described = general.program if general else network.architecture
    misfits = of_program(general.program) if general else problems(network.architecture)
    if misfits:
        raise MismatchError(
            f"the layers of {checkpoint.path} do not fit each other",
            misfits,
            ["the file was changed, or is of a network that is not known"],
        )
    steps: list[Step] = []
    used: set[Weight] = set(network.left_out)
    becomes: dict[Weight, dict[int | None, str]] = {}
    step_of = _lifted(checkpoint, general) if general else _residual(checkpoint, network)
    for part in parts(described):
        for target in part.op.tensors():
            step, missing = step_of(part, target)
            steps.append(step)
            if step.source:
                others = becomes.setdefault(step.source, {})
                if others and (step.row is None or step.row in others or None in others):
                    both = f"{next(iter(others.values()))} and {step.target}"
                    misfits.append(f"{step.source.path} would become both {both}")
                used.add(step.source)
                others[step.row] = step.target
                misfits += _shape_misfit(step)
            elif target.parameter and target.required:
                misfits.append(missing)
    misfits += [
        f"not used: {one.path} {one.shape}" for one in checkpoint.weights if one not in used
    ]
    misfits = list(dict.fromkeys(misfits))  # a missing layer lacks several arrays
    if misfits:
        raise MismatchError(f"the weights of {checkpoint.path} do not fit the network", misfits)
    return Plan(tuple(steps), network.left_out)


StepOf = Callable[[Layer, Tensor], tuple[Step, str]]
"""A layer and one of its tensors → the step that makes it, and what is missing if it has no
source."""


def _residual(checkpoint: Checkpoint, network: Network) -> StepOf:
    weights, layers = checkpoint.of_layer(), network.residual.layers

    def step_of(part: Layer, target: Tensor) -> tuple[Step, str]:
        layer = layers.get(part.module)
        found = dict(weights.get(layer, {})) if layer else {}
        return _step(part, target, found, network), _missing(layer, part, target.parameter)

    return step_of


def _lifted(checkpoint: Checkpoint, general: Lifted) -> StepOf:
    by_name: dict[tuple[str, str], list[Weight]] = {}
    by_path = {weight.path: weight for weight in checkpoint.weights}
    for weight in checkpoint.weights:
        by_name.setdefault((weight.layer, weight.parameter), []).append(weight)

    def step_of(part: Layer, target: Tensor) -> tuple[Step, str]:
        name = f"{part.module}.{target.name}"
        source = general.sources.get(name) if target.required else None
        found = None
        if source:
            found = by_path.get(source.path) if source.path else _found(by_name, source)
        step = Step(
            target=name,
            shape=target.shape,
            source=found,
            transforms=source.transforms if source and found else (),
            constant=target.constant,
            eps=part.op.eps if isinstance(part.op, Norm | AxisNorm) else 0.0,
        )
        return step, _missing(part.original, part, source.parameter if source else "")

    return step_of


def _found(by_name: Mapping[tuple[str, str], list[Weight]], source: Source) -> Weight | None:
    """The array of a tensor; of two nested models with layers of one name that of the right one."""
    for parameter in SPELLINGS.get(source.parameter, (source.parameter,)):
        some = by_name.get((source.layer, parameter), [])
        own = [one for one in some if one.group == source.group]
        if len(some) == 1 or len(own) == 1:
            return some[0] if len(some) == 1 else own[0]
    return None


SPELLINGS: Mapping[str, tuple[str, ...]] = {
    "depthwise_kernel": ("depthwise_kernel", "kernel"),
    "gamma": ("gamma", "variable"),
}
"""Keras 3 calls a DepthwiseConv's array `kernel`, and that of keras.applications' LayerScale, which
its code gives no name, `variable` (3.15 `src/applications/convnext.py`)."""


def _step(part: Layer, target: Tensor, found: Mapping[str, Weight], network: Network) -> Step:
    source = _source(target, found) if target.required else None
    return Step(
        target=f"{part.module}.{target.name}",
        shape=target.shape,
        source=source,
        transforms=_transforms(part, source.parameter, network) if source else (),
        constant=target.constant,
        eps=part.op.eps if isinstance(part.op, Norm) else 0.0,
    )


def _source(target: Tensor, found: Mapping[str, Weight]) -> Weight | None:
    """The array for a tensor; a grouped convolution may have been written as a depthwise one."""
    if target.parameter == "kernel" and "kernel" not in found:
        return found.get("depthwise_kernel")
    return found.get(target.parameter)


def _transforms(part: Layer, parameter: str, network: Network) -> tuple[Transform, ...]:
    if parameter == "moving_variance":
        return network.variance
    if parameter == "depthwise_kernel":
        return (Regroup(),)
    if parameter != "kernel":
        return ()
    return (IO_TO_OI,) if isinstance(part.op, Dense) else CONVOLUTION[network.layout]


CONVOLUTION: Mapping[KernelLayout, tuple[Transform, ...]] = {
    KernelLayout("hwio", flipped=False): (HWIO_TO_OIHW,),
    KernelLayout("hwio", flipped=True): (FLIP_HWIO, HWIO_TO_OIHW),
    KernelLayout("oihw", flipped=False): (),
    KernelLayout("oihw", flipped=True): (FLIP_OIHW,),
}
"""From each layout to torch's OIHW correlation kernels."""


def _shape_misfit(step: Step) -> list[str]:
    assert step.source
    shape = step.source.shape
    try:
        for transform in step.transforms:
            shape = transform.shape(shape)
    except (IndexError, ValueError):
        shape = ()
    if shape == step.shape:
        return []
    return [f"{step.source} {step.source.shape} becomes {shape}, but {step.target} is {step.shape}"]


def _missing(layer: str | None, part: Layer, parameter: str) -> str:
    if layer is None:
        return f"missing: a layer for {part.module}"
    return f"missing: {layer}/{parameter}, for {part.module}"
