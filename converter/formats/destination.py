"""What destinations have in common: being found, being refused, and a network to run."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from converter.discover import modules
from converter.errors import MismatchError, UsageError
from converter.files.checkpoint import Array
from resnet_pt.architecture import Architecture
from resnet_pt.program import Program

PACKAGE = "converter.formats.destinations"

Run = Callable[..., dict[str, Array]]
"""A network as a function of float32 pictures (N, C, H, W), or of an array for each of its inputs:
arrays by output, '' for the only one."""


@dataclass(frozen=True, slots=True)
class About:
    """What is written with the tensors: the description that our own layout carries too, TARGET's
    suffix, and the names of the classes, if they were given."""

    description: Mapping[str, Any]
    suffix: str = ""
    labels: tuple[str, ...] | None = None


def find(name: str, target: Path) -> ModuleType:
    """The destination `name`, if it is there, can be written here and takes such a TARGET."""
    found = named(name)
    missing = [one for one in found.NEEDS if not is_installed(one)]
    if missing:
        raise UsageError(
            f"--to {name} needs {', '.join(missing)}",
            hints=[f"pip install {' '.join(missing)}"],
        )
    if found.SUFFIXES and target.suffix not in found.SUFFIXES:
        raise UsageError(f"--to {name} needs a TARGET that ends in {', '.join(found.SUFFIXES)}")
    return found


def named(name: str) -> ModuleType:
    """The destination `name`, which is there: `Options` has seen to it."""
    return next(one for one in modules(PACKAGE) if short(one) == name)


def short(destination: ModuleType) -> str:
    """What `--to` calls it."""
    return destination.__name__.rpartition(".")[2]


def is_installed(library: str) -> bool:
    """Whether a library can be found (it is not imported)."""
    return importlib.util.find_spec(library) is not None


ONLY_RESIDUAL = "it has residual networks of a known kind alone, and this is none"


def obstacles(destination: ModuleType, network: Architecture | Program) -> list[str]:
    """Why `destination` cannot express a network; [] if it can. One that takes any program says so
    (`TAKES_PROGRAMS`)."""
    if isinstance(network, Program) and not getattr(destination, "TAKES_PROGRAMS", False):
        return [ONLY_RESIDUAL]
    found: list[str] = destination.obstacles(network)
    return found


def refuse(destination: ModuleType, network: Architecture | Program) -> None:
    """MismatchError, with every reason and the destinations that can, for a network that
    `destination` cannot express."""
    reasons = obstacles(destination, network)
    if not reasons:
        return
    others = [f"--to {short(one)}" for one in modules(PACKAGE) if not obstacles(one, network)]
    raise MismatchError(
        f"{short(destination)} cannot express this network",
        reasons,
        [f"these can: no --to (the self-describing layout), {', '.join(others)}"],
    )


def runner(model: Any, logits: Callable[[Any], Any] = lambda result: result) -> Run:
    """A torch network, put in eval mode, as a function. `logits` takes the logits out of what it
    returns."""
    import torch

    model.eval()

    def run(*batch: Array) -> dict[str, Array]:
        with torch.inference_mode():
            found = logits(model(*map(torch.from_numpy, batch)))
        named = found if isinstance(found, dict) else {"": found}
        return {name: tensor.numpy() for name, tensor in named.items()}

    return run
