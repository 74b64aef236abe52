"""torch.export's archive: the whole graph with its tensors, for Python and C++ without our code.

Source: docs.pytorch.org/docs/stable/export.html.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converter.files.checkpoint import Array
from converter.formats.destination import About, Run, runner
from converter.formats.destinations import _export
from converter.mapping.export import ExportPlan, as_it_is
from resnet_pt.tensors import tensors as shapes

SUMMARY = "the whole graph as torch.export saves it"
SUFFIXES = (".pt2",)
LIBRARY = "torch"
NEEDS = ("torch",)
TAKES_PROGRAMS = True

losses = _export.fixed_size


obstacles = _export.obstacles


def export(described: _export.Described) -> ExportPlan:
    return as_it_is(shapes(described), {})


def files(
    described: _export.Described, tensors: Mapping[str, Array], about: About
) -> dict[str, bytes]:
    import torch
    from torch.export import Dim

    free = dict.fromkeys((0, 2, 3), Dim.DYNAMIC)
    exported = torch.export.export(
        _export.network(described, tensors),
        _export.example(described),
        dynamic_shapes=_export.dynamic(described, free),
    )
    file = io.BytesIO()
    description = json.dumps(about.description, sort_keys=True)
    torch.export.save(exported, file, extra_files={"convert_weights.json": description})
    return {"": file.getvalue()}


def read(path: Path, described: _export.Described) -> dict[str, Array]:
    found = _program(path).state_dict.items()
    return {name: tensor.detach().numpy() for name, tensor in found}


def load(path: Path, described: _export.Described) -> Run:
    module = _program(path).module()
    module.eval = lambda: module  # it is exported in eval mode, and cannot be put in another
    return runner(module)


def _program(path: Path) -> Any:
    import torch

    with path.open("rb") as file:
        return torch.export.load(io.BytesIO(file.read()))


def usage(described: _export.Described, target: str) -> list[str]:
    given = ", ".join(_export.input_names(described))
    return [f"model = torch.export.load({target!r}).module()", f"logits = model({given})"]
