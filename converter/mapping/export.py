"""The second leg of a plan: tensors of our network → the tensors of a file for another library.

A step gives a tensor another name and may turn its axes, which is undone bit for bit. Or it folds
several tensors into one, computed in float64 and rounded to float32 once: no inverse, its loss is
stated, and it is compared forwards. A norm of ours that follows its convolution,

    (x + bias - mean) / sqrt(variance + eps) * gamma + beta, then * scale + shift,

is one without bias, with torch's epsilon and without a Scale layer, if

    mean'     = mean - bias
    variance' = variance + (eps - 1e-5)
    gamma'    = gamma * scale
    beta'     = beta * scale + shift
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from converter.errors import MismatchError
from converter.files.checkpoint import Array, Shape
from converter.mapping.sanity import is_variance
from converter.mapping.transforms import Transform

EPS = 1e-5
"""torch's default epsilon, which the networks of other libraries have everywhere."""

Tensors = Mapping[str, Array]

SCALE_LOSS = "Scale layers of their own: they are folded into the norms"


class Fold(Protocol):
    """A tensor computed from those named `sources`, without an inverse: `loss` says what of them
    is not kept, '' if nothing is."""

    @property
    def sources(self) -> tuple[str, ...]: ...

    @property
    def loss(self) -> str: ...

    def apply(self, tensors: Tensors) -> Array: ...


@dataclass(frozen=True, slots=True)
class LessBias:
    """A running mean, less the bias of the convolution before."""

    mean: str
    bias: str
    loss = "biases of convolutions: they are in the running means of the norms behind"

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.mean, self.bias)

    def apply(self, tensors: Tensors) -> Array:
        return _rounded(_wide(tensors[self.mean]) - _wide(tensors[self.bias]))

    def __str__(self) -> str:
        return "less the bias of the convolution"


@dataclass(frozen=True, slots=True)
class OtherEpsilon:
    """A running variance that gives with torch's epsilon what it gave with `eps`. MismatchError
    where one would become negative by more than rounding."""

    variance: str
    eps: float

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.variance,)

    @property
    def loss(self) -> str:
        return (
            f"epsilon {self.eps:g}: it is {EPS:g} now, the difference is in the running variances; "
            "in training a batch's own variance gets the smaller one"
        )

    def apply(self, tensors: Tensors) -> Array:
        before = tensors[self.variance]
        wide = _wide(before) + (self.eps - EPS)
        if not is_variance(wide, EPS):
            raise MismatchError(
                f"{self.variance.removesuffix('.running_var')} cannot have epsilon {EPS:g}: "
                f"a variance would be {wide.min():.3g}",
                [f"epsilon of the original {self.eps:g}, its least variance {before.min():.3g}"],
                ["the self-describing layout (no --to), --to onnx and --to pt2 keep the epsilon"],
            )
        return _rounded(wide)

    def __str__(self) -> str:
        return f"plus epsilon {self.eps:g}, less {EPS:g}"


@dataclass(frozen=True, slots=True)
class Scaled:
    """The gamma of a norm, times the scale of the Scale layer behind."""

    gamma: str
    scale: str
    loss = SCALE_LOSS

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.gamma, self.scale)

    def apply(self, tensors: Tensors) -> Array:
        return _rounded(_wide(tensors[self.gamma]) * _wide(tensors[self.scale]))

    def __str__(self) -> str:
        return "times the scale"


@dataclass(frozen=True, slots=True)
class ScaledAndShifted:
    """The beta of a norm, times the scale of the Scale layer behind, plus its shift."""

    beta: str
    scale: str
    shift: str
    loss = SCALE_LOSS

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.beta, self.scale, self.shift)

    def apply(self, tensors: Tensors) -> Array:
        beta, scale, shift = (_wide(tensors[name]) for name in self.sources)
        return _rounded(beta * scale + shift)

    def __str__(self) -> str:
        return "times the scale, plus the shift"


@dataclass(frozen=True, slots=True)
class Zeros:
    """A vector that the other library has and ours lacks."""

    shape: Shape
    sources: tuple[str, ...] = ()
    loss = ""

    def apply(self, tensors: Tensors) -> Array:
        return np.zeros(self.shape, np.float32)

    def __str__(self) -> str:
        return "constant 0"


def _wide(array: Array) -> Any:
    return array.astype(np.float64)


def _rounded(array: Any) -> Array:
    return array.astype(np.float32)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class ExportStep:
    """One tensor of a delivered file, `target`: what `fold` computes, or the tensor of our network
    itself, through `transforms`. `tensor` is its name in the network that the library builds, as
    one of ours."""

    target: str
    tensor: str
    shape: Shape
    fold: Fold | None = None
    transforms: tuple[Transform, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        """Tensors of our network, the one that it mainly is first."""
        return (self.tensor,) if self.fold is None else self.fold.sources

    def apply(self, tensors: Tensors) -> Array:
        """Tensors of our network → the delivered one."""
        array = self.fold.apply(tensors) if self.fold else tensors[self.tensor]
        for transform in self.transforms:
            array = transform.apply(array)
        return array

    def undo(self, delivered: Array) -> Array:
        """The delivered tensor → the one that `fold` gives, or that of our network."""
        for transform in reversed(self.transforms):
            delivered = transform.inverse().apply(delivered)
        return delivered

    @property
    def how(self) -> tuple[str, ...]:
        """What is done, in words."""
        return (*([str(self.fold)] if self.fold else []), *map(str, self.transforms))


@dataclass(frozen=True, slots=True)
class ExportPlan:
    """The tensors of a delivered file, in its order. `dropped` are those of our network that it
    does not hold, with the reason; each of `ours` is in one of the two, or it is a ValueError."""

    steps: tuple[ExportStep, ...]
    ours: Collection[str]
    dropped: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        used = {name for step in self.steps for name in step.sources} | self.dropped.keys()
        lost = sorted(set(self.ours) ^ used)
        if lost:
            raise ValueError(f"tensors that go nowhere, or come from nowhere: {', '.join(lost)}")

    def tensors(self, ours: Tensors) -> dict[str, Array]:
        """Our network's tensors → the file's."""
        return {step.target: step.apply(ours) for step in self.steps}

    @property
    def losses(self) -> tuple[str, ...]:
        """What the file does not keep, each once."""
        folds = [step.fold.loss for step in self.steps if step.fold and step.fold.loss]
        return tuple(dict.fromkeys([*folds, *self.dropped.values()]))


def as_it_is(shapes: Mapping[str, Shape], dropped: Mapping[str, str]) -> ExportPlan:
    """Every tensor of ours under its own name, but for those that are dropped."""
    steps = (ExportStep(name, name, one) for name, one in shapes.items() if name not in dropped)
    return ExportPlan(tuple(steps), shapes.keys(), dropped)
