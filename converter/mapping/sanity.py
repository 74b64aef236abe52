"""Weights that fit and still cannot be right.

Each check has a name, which `--allow` takes: the owner of a network may know better. What is
allowed, and what is odd and happens in real files, is a warning: in the summary and the report.
A network that was never trained passes (gammas of one or zero, betas and means of zero).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from converter.errors import SanityError
from converter.files.checkpoint import Array, Checkpoint
from converter.mapping.plan import Plan, Step
from resnet_pt.digest import line

CHECKS: Mapping[str, str] = {
    "not-finite": "NaN or infinity",
    "negative-variance": "a variance below zero that is no rounding",
    "constant-kernel": "a kernel whose numbers are all the same",
    "identical-kernels": "two kernels, or a mean and its variance, that are the same bit for bit",
    "swapped-norm": "a gamma and a beta that look like each other",
}
"""What is refused unless it is allowed."""

NEGATIVE = 0.25
"""The share of negative gammas from which one norm alone is suspect; trained ones are near 0."""
ENOUGH = 16
"""The channels that such a norm has at least: fewer can be chance."""
START = 8
"""The first numbers of a kernel, which mostly tell whether all of it need be looked at."""


@dataclass(frozen=True, slots=True)
class Finding:
    check: str
    text: str


class Sanity:
    """Looks at the tensors of a plan as they pass, and keeps no kernel: what is in memory is the
    taker's to say.

    Vectors are kept, to be held against each other at the end. `warnings` is there then.
    """

    def __init__(self, plan: Plan, allowed: Collection[str] = ()) -> None:
        self.plan = plan
        self.allowed = allowed
        self.steps = {step.target: step for step in plan.mapped}
        self.vectors: dict[str, Array] = {}
        self.alike: dict[tuple[object, ...], list[str]] = {}
        """Kernels by their shape and first numbers."""
        self.findings: list[Finding] = []
        self.warnings: tuple[str, ...] = ()

    def watch(self, checkpoint: Checkpoint) -> Iterator[tuple[str, Array]]:
        """The plan's tensors. SanityError after the last lists everything that is not allowed."""
        for name, tensor in self.plan.tensors(checkpoint):
            if name in self.steps:
                self._look(name, tensor)
            yield name, tensor
        self._judge(checkpoint)

    def _look(self, name: str, tensor: Array) -> None:
        self.findings += _of_tensor(self.steps[name], tensor)
        if tensor.ndim < 2:
            self.vectors[name] = tensor
        elif tensor.size >= START and not _is_constant(tensor):
            start = tensor.ravel()[:START].tobytes()
            self.alike.setdefault((tensor.shape, start), []).append(name)

    def _judge(self, checkpoint: Checkpoint) -> None:
        self.findings += self._identical_kernels(checkpoint)
        self.findings += _identical_vectors(self.steps, self.vectors)
        self.findings += _swapped(self.steps, self.vectors)
        refused = [one for one in self.findings if one.check not in self.allowed]
        if refused:
            names = {one.check for one in refused}
            raise SanityError(
                "the weights cannot be right",
                [one.text for one in refused],
                [
                    "if you know that they are: "
                    + " ".join(f"--allow {name}" for name in CHECKS if name in names)
                ],
            )
        allowed = [f"allowed: {one.text}" for one in self.findings]
        odd = [
            text for name, step in self.steps.items() for text in _odd(step, self.vectors.get(name))
        ]
        self.warnings = (*allowed, *odd)

    def _identical_kernels(self, checkpoint: Checkpoint) -> Iterator[Finding]:
        """A layer written under another's name, or read twice. Those that begin alike are read
        once more."""
        suspects = {name for names in self.alike.values() if len(names) > 1 for name in names}
        again = Plan(tuple(step for name, step in self.steps.items() if name in suspects))
        sums = {name: line("", tensor) for name, tensor in again.tensors(checkpoint)}
        first: dict[str, Step] = {}
        for step in again.steps:
            other = first.setdefault(sums[step.target], step)
            if other is not step:
                text = f"{other.source} and {step.source} hold the same numbers"
                yield Finding("identical-kernels", text)


def _is_bias(step: Step) -> bool:
    """One of several axes is an EinsumDense's, and 0 before it is trained."""
    return step.source is not None and step.source.parameter.endswith("bias")


def _of_tensor(step: Step, tensor: Array) -> Iterator[Finding]:
    finite = np.isfinite(tensor)
    if not finite.all():
        where = [int(i) for i in np.argwhere(~finite)[0]]
        count = tensor.size - int(finite.sum())
        text = f"{step.source} is not finite in {count} places, first at {where} of {step.target}"
        yield Finding("not-finite", text)
    elif _is_variance(step) and not is_variance(tensor, step.eps):
        first = int(np.argmin(tensor))
        text = f"{step.source} is a variance, and {tensor[first]:g} at {first}"
        yield Finding("negative-variance", f"{text}, which is no rounding under {_epsilon(step)}")
    elif tensor.ndim > 1 and tensor.size > 1 and not _is_bias(step) and _is_constant(tensor):
        yield Finding("constant-kernel", f"{step.source} is {tensor.flat[0]:g} everywhere")


def _odd(step: Step, tensor: Array | None) -> Iterator[str]:
    """What is worth saying and happens in files that work: a channel that never fired, or hardly
    ever."""
    if tensor is None or not _is_variance(step):
        return
    if (tensor == 0).any():
        count = int((tensor == 0).sum())
        yield f"{step.source} is 0 in {count} of {tensor.size} channels"
    if (tensor < 0).any() and is_variance(tensor, step.eps):
        first, count = int(np.argmin(tensor)), int((tensor < 0).sum())
        more = f", and below 0 in {count} channels" if count > 1 else ""
        text = f"{step.source} is a variance, and {tensor[first]:g} at {first}{more}"
        yield f"{text}: taken for rounding, since {_epsilon(step)} swallows it"


def _epsilon(step: Step) -> str:
    return f"an epsilon of {step.eps:g}"


def is_variance(values: Array, eps: float) -> bool:
    """Whether numbers can be variances of a norm with this epsilon: none is below zero, or epsilon
    swallows what is.

    A norm divides by sqrt(variance + epsilon): where that sum is epsilon itself in float32, no
    network can tell the variance from 0. A variance is a mean of squares, which a running mean, or
    E[x²] - E[x]², leaves a little below zero by rounding where a channel is all but constant:
    -4e-17 under an epsilon of 1e-3 stands in networks that are in use.
    """
    added = np.float32(eps)
    return bool(((values >= 0) | (added + values.astype(np.float32) == added)).all())


def _is_constant(tensor: Array) -> bool:
    flat = tensor.ravel()
    return bool((flat[:START] == flat[0]).all() and (flat == flat[0]).all())


def _is_variance(step: Step) -> bool:
    return step.target.endswith("running_var")


def _identical_vectors(steps: Mapping[str, Step], found: Mapping[str, Array]) -> Iterator[Finding]:
    for norm in _norms(steps):
        mean, variance = (found[f"{norm}.{name}"] for name in ("running_mean", "running_var"))
        if mean.size > 1 and np.array_equal(mean, variance):
            text = f"{steps[f'{norm}.running_mean'].source} and its variance hold the same numbers"
            yield Finding("identical-kernels", text)


def _swapped(steps: Mapping[str, Step], found: Mapping[str, Array]) -> Iterator[Finding]:
    """Gammas are positive, nearly all of them, and betas of both signs. The other way round is
    suspect: in one large norm, or in half of all."""
    norms = [norm for norm in _norms(steps) if {f"{norm}.weight", f"{norm}.bias"} <= steps.keys()]
    pairs = {norm: (found[f"{norm}.weight"], found[f"{norm}.bias"]) for norm in norms}
    reversed_ = {
        norm: float((gamma < 0).mean())
        for norm, (gamma, beta) in pairs.items()
        if (gamma < 0).any() and (beta > 0).all()
    }
    zeros = {norm for norm, (g, b) in pairs.items() if (g == 0).all() and (b == 1).all()}
    is_half = len(reversed_) > 2 and 2 * len(reversed_) >= len(norms)
    for norm in norms:
        share = reversed_.get(norm, 0.0)
        alone = share >= NEGATIVE and pairs[norm][0].size >= ENOUGH
        if norm in zeros or alone or (share and is_half):
            gamma, beta = (steps[f"{norm}.{name}"].source for name in ("weight", "bias"))
            text = f"{gamma} and {beta} look swapped: gammas below zero, betas all above"
            if norm in zeros:
                text = f"{gamma} and {beta} look swapped: gammas of 0, betas of 1"
            yield Finding("swapped-norm", text)


def _norms(steps: Mapping[str, Step]) -> list[str]:
    """The modules that have a mean and a variance in the file."""
    modules = [name.removesuffix(".running_var") for name in steps if name.endswith("running_var")]
    return [module for module in modules if f"{module}.running_mean" in steps]
