"""Weights that fit and still cannot be right.

Each check has a name, which `--allow` takes: the owner of a network may know better. What is
allowed, and what is odd and happens in real files, is a warning: in the summary and the report.
A network that was never trained passes (gammas of one or zero, betas and means of zero).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from converter.checkpoint import Array
from converter.errors import SanityError
from converter.plan import Plan, Step

CHECKS: Mapping[str, str] = {
    "not-finite": "NaN or infinity",
    "negative-variance": "a variance below zero",
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


def check_sanity(
    plan: Plan, tensors: Iterable[tuple[str, Array]], allowed: Collection[str] = ()
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """(the tensors, collected; warnings). SanityError lists everything that is not allowed."""
    steps = {step.target: step for step in plan.mapped}
    found: dict[str, Array] = {}
    findings: list[Finding] = []
    for name, tensor in tensors:
        found[name] = tensor
        findings += _of_tensor(steps[name], tensor) if name in steps else ()
    findings += _identical(steps, found)
    findings += _swapped(steps, found)
    refused = [one for one in findings if one.check not in allowed]
    if refused:
        names = " ".join(f"--allow {name}" for name in CHECKS if name in {r.check for r in refused})
        raise SanityError(
            "the weights cannot be right",
            [one.text for one in refused],
            [f"if you know that they are: {names}"],
        )
    warnings = [f"allowed: {one.text}" for one in findings]
    warnings += [text for step in plan.mapped for text in _odd(step, found[step.target])]
    return {step.target: found[step.target] for step in plan.steps}, tuple(warnings)


def _of_tensor(step: Step, tensor: Array) -> Iterator[Finding]:
    finite = np.isfinite(tensor)
    if not finite.all():
        where = [int(i) for i in np.argwhere(~finite)[0]]
        count = tensor.size - int(finite.sum())
        text = f"{step.source} is not finite in {count} places, first at {where} of {step.target}"
        yield Finding("not-finite", text)
    elif _is_variance(step) and (tensor < 0).any():
        first = int(np.argmin(tensor))
        text = f"{step.source} is a variance, and {tensor[first]:g} at {first}"
        yield Finding("negative-variance", text)
    elif tensor.ndim > 1 and tensor.size > 1 and _is_constant(tensor):
        yield Finding("constant-kernel", f"{step.source} is {tensor.flat[0]:g} everywhere")


def _odd(step: Step, tensor: Array) -> Iterator[str]:
    """What is worth saying and happens in files that work: a channel that never fired."""
    if _is_variance(step) and (tensor == 0).any():
        count = int((tensor == 0).sum())
        yield f"{step.source} is 0 in {count} of {tensor.size} channels"


def _is_constant(tensor: Array) -> bool:
    flat = tensor.ravel()
    return bool((flat[:START] == flat[0]).all() and (flat == flat[0]).all())


def _is_variance(step: Step) -> bool:
    return step.target.endswith("running_var")


def _identical(steps: Mapping[str, Step], found: Mapping[str, Array]) -> Iterator[Finding]:
    """A layer written under another's name, or read twice."""
    seen: dict[tuple[object, ...], list[str]] = {}
    for name, step in steps.items():
        tensor = found[name]
        if tensor.ndim < 2 or tensor.size < START or _is_constant(tensor):
            continue
        alike = seen.setdefault((tensor.shape, tensor.ravel()[:START].tobytes()), [])
        for other in alike:
            if np.array_equal(tensor, found[other]):
                text = f"{steps[other].source} and {step.source} hold the same numbers"
                yield Finding("identical-kernels", text)
        alike.append(name)
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
