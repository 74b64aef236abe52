"""Weights that fit and still cannot be right."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from converter.checkpoint import Array
from converter.errors import SanityError
from converter.plan import Plan, Step


def check_sanity(plan: Plan, tensors: Iterable[tuple[str, Array]]) -> dict[str, Array]:
    """The tensors, collected; SanityError lists every one that holds no usable number."""
    steps = {step.target: step for step in plan.steps}
    collected: dict[str, Array] = {}
    findings: list[str] = []
    for name, tensor in tensors:
        findings += _findings(steps[name], tensor)
        collected[name] = tensor
    if findings:
        raise SanityError("the weights cannot be right", findings)
    return {step.target: collected[step.target] for step in plan.steps}


def _findings(step: Step, tensor: Array) -> Iterator[str]:
    if step.source is None:
        return
    finite = np.isfinite(tensor)
    if not finite.all():
        where = [int(i) for i in np.argwhere(~finite)[0]]
        count = tensor.size - int(finite.sum())
        yield f"{step.source} is not finite in {count} places, first at {where} of {step.target}"
    elif step.target.endswith("running_var") and (tensor < 0).any():
        first = int(np.argmin(tensor))
        yield f"{step.source} is a variance, and {tensor[first]:g} at {first}"
