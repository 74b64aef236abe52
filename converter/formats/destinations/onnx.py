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
from resnet_pt.architecture import Architecture
from resnet_pt.tensors import tensors as shapes

SUMMARY = "the whole graph as ONNX"
SUFFIXES = (".onnx",)
LIBRARY = "onnxruntime"
NEEDS = ("torch", "onnx", "onnxscript")

AXES = {0: "batch", 2: "height", 3: "width"}


losses = _export.fixed_size
obstacles = _export.obstacles


def export(architecture: Architecture) -> ExportPlan:
    ours = shapes(architecture)
    counters = [name for name in ours if name.endswith("num_batches_tracked")]
    reason = "training: the graph is for inference, and has no counters of batches"
    return as_it_is(ours, dict.fromkeys(counters, reason))


def files(
    architecture: Architecture, tensors: Mapping[str, Array], about: About
) -> dict[str, bytes]:
    import torch

    free = {axis: AXES[axis] for axis in _export.dynamic(architecture)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch and onnxscript, about their own future
        program: Any = torch.onnx.export(
            _export.network(architecture, tensors),
            (_export.example(architecture),),
            input_names=[_export.INPUT],
            output_names=_export.output_names(architecture),
            dynamic_shapes={"x": free},
            dynamo=True,
            optimize=False,
            verbose=False,
        )
    model = program.model_proto
    description = json.dumps(about.description, sort_keys=True)
    model.metadata_props.add(key="convert_weights", value=description)
    return {"": model.SerializeToString()}


def read(path: Path, architecture: Architecture) -> dict[str, Array]:
    """The initialisers that are the network's; the graph has constants of its own besides. They
    are copied: torch warns of arrays that it could not write to."""
    import onnx
    from onnx import numpy_helper

    expected = {step.target for step in export(architecture).steps}
    found = onnx.load(path).graph.initializer
    return {one.name: numpy_helper.to_array(one).copy() for one in found if one.name in expected}


def load(path: Path, architecture: Architecture) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda pictures: _export.named(
        architecture, session.run(None, {_export.INPUT: pictures})
    )


def usage(architecture: Architecture, target: str) -> list[str]:
    return [
        f"session = onnxruntime.InferenceSession({target!r})",
        f"{', '.join(_export.output_names(architecture))}, = session.run(None, "
        f'{{"{_export.INPUT}": pictures}})',
    ]
