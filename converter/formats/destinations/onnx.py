"""ONNX: the whole graph with its tensors, for every runtime that reads it.

Source: docs.pytorch.org/docs/stable/onnx_export.html. The graph is written as it was traced, with
every tensor under its own name: runtimes optimise what they load.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from converter.files.checkpoint import Array
from converter.formats.destination import About, Run
from converter.formats.destinations import _export
from converter.mapping.export import ExportPlan, as_it_is
from resnet_pt.tensors import tensors as shapes

SUMMARY = "the whole graph as ONNX"
SUFFIXES = (".onnx",)
LIBRARY = "onnxruntime"
NEEDS = ("torch", "onnx", "onnxscript")
TAKES_PROGRAMS = True

AXES = {0: "batch", 2: "height", 3: "width"}


losses = _export.fixed_size
obstacles = _export.obstacles


def export(described: _export.Described) -> ExportPlan:
    ours = shapes(described)
    counters = [name for name in ours if name.endswith("num_batches_tracked")]
    reason = "training: the graph is for inference, and has no counters of batches"
    return as_it_is(ours, dict.fromkeys(counters, reason))


def files(
    described: _export.Described, tensors: Mapping[str, Array], about: About
) -> dict[str, bytes]:
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch and onnxscript, about their own future
        program: Any = torch.onnx.export(
            _export.network(described, tensors),
            _export.example(described),
            input_names=_export.input_names(described),
            output_names=_export.output_names(described),
            dynamic_shapes=_export.dynamic(described, AXES),
            dynamo=True,
            optimize=False,
            verbose=False,
        )
    model = program.model_proto
    description = json.dumps(about.description, sort_keys=True)
    model.metadata_props.add(key="convert_weights", value=description)
    return {"": model.SerializeToString()}


def read(path: Path, described: _export.Described) -> dict[str, Array]:
    """The initialisers that are the network's; the graph has constants of its own besides. They
    are copied: torch warns of arrays that it could not write to."""
    import onnx
    from onnx import numpy_helper

    expected = {step.target for step in export(described).steps}
    found = onnx.load(path).graph.initializer
    return {one.name: numpy_helper.to_array(one).copy() for one in found if one.name in expected}


def load(path: Path, described: _export.Described) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = _export.input_names(described)
    return lambda *batch: _export.named(
        described, session.run(None, dict(zip(names, batch, strict=True)))
    )


def usage(described: _export.Described, target: str) -> list[str]:
    given = ", ".join(f'"{name}": {name}' for name in _export.input_names(described))
    return [
        f"session = onnxruntime.InferenceSession({target!r})",
        f"{', '.join(_export.output_names(described))}, = session.run(None, {{{given}}})",
    ]
