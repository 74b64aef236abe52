"""Python: source of the network that is yours, in torch alone, with its weights and a check."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from converter.files.checkpoint import Array
from converter.formats.destination import About, Run
from converter.formats.destinations import _export
from converter.mapping.export import ExportPlan, ExportStep
from converter.parity.comparing.inputs import batches
from converter.source import page
from converter.source.flat import flat, module_names, unwritten
from resnet_pt.architecture import Architecture
from resnet_pt.lower import lower
from resnet_pt.patch import DESCRIPTION
from resnet_pt.program import Program
from resnet_pt.tensors import tensors as shapes

SUMMARY = "source that is yours, in torch alone, with a check of its own"
SUFFIXES = ()
LIBRARY = "torch"
NEEDS = ("torch",)
TAKES_PROGRAMS = True
PROVES_ITSELF = True

ABOUT = "A network that was converted from Keras"


def _program(described: _export.Described) -> Program:
    return lower(described) if isinstance(described, Architecture) else described


def obstacles(described: _export.Described) -> list[str]:
    """A network that no input fits, or every layer that is not written as source."""
    return _export.obstacles(described) or unwritten(_program(described))


def losses(described: _export.Described) -> list[str]:
    return []


def export(described: _export.Described) -> ExportPlan:
    """Every tensor under the name that it has in the source."""
    program, ours = _program(described), shapes(described)
    names = module_names(program)
    steps = []
    for name, shape in ours.items():
        module, _, parameter = name.rpartition(".")
        steps.append(ExportStep(f"{names[module]}.{parameter}", name, shape))
    return ExportPlan(tuple(steps), ours)


def files(
    described: _export.Described, tensors: Mapping[str, Array], about: About
) -> dict[str, bytes]:
    """The check holds what our network computes: the proof holds it against the original."""
    from safetensors.numpy import save

    program = _program(described)
    source = flat(program, ABOUT)
    header = {"format": "pt", DESCRIPTION: json.dumps(about.description, sort_keys=True)}
    return {
        page.MODEL: page.model(program, source, ABOUT).encode("ascii"),
        page.WEIGHTS: save(dict(tensors), metadata=header),
        page.CHECK: _check(described, tensors),
        page.README: page.readme(program, source, about.description).encode(),
    }


def _check(described: _export.Described, tensors: Mapping[str, Array]) -> bytes:
    """A batch, and what the network computes for it in float64."""
    from converter.parity.comparing import torch_run

    ours = {step.tensor: step.undo(tensors[step.target]) for step in export(described).steps}
    batch = batches(described)[0]
    found = torch_run.run_nchw(torch_run.build(described, ours), batch, "float64")
    stored = {f"input_{number}": one for number, one in enumerate(batch)}
    stored |= {f"output_{number}": one for number, one in enumerate(found.values())}
    file = io.BytesIO()
    np.savez(file, **stored)  # type: ignore[arg-type]
    return file.getvalue()


def read(path: Path, described: _export.Described) -> dict[str, Array]:
    from safetensors.numpy import load_file

    return load_file(path / page.WEIGHTS)


def load(path: Path, described: _export.Described) -> Run:
    """The source itself, in a fresh interpreter that finds neither this package nor Keras."""
    from converter.source import prove

    return lambda *batch: prove.run(path, batch)


def usage(described: _export.Described, target: str) -> list[str]:
    return [f"network = load()  # from model import load, in {target}"]
