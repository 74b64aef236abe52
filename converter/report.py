"""What a conversion did, as one value: for people, for JSON, for a test."""

from __future__ import annotations

import importlib.metadata
import math
import platform
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converter.errors import ConvertError, ParityError
from converter.facts.fact import Fact
from converter.files.checkpoint import Checkpoint, Shape, Weight
from converter.formats.delivery import Delivery
from converter.mapping.export import ExportPlan
from converter.mapping.plan import Plan, Step
from converter.network import Network
from converter.parity.comparing.layers import LayerError
from converter.parity.comparing.verdict import Verdict
from converter.parity.prove import Comparison, Parity
from converter.parity.settle import Trial
from resnet_pt.program import to_dict

if TYPE_CHECKING:
    from converter.dataset.results import DatasetComparison
    from converter.whole_model.overview import Overview

REPORT_FORMAT = 2
"""Version of what `to_dict` gives. New optional fields do not change it; anything that a reader of
`converter/reports/report.schema.json` would trip over does."""


def now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)


@dataclass(frozen=True, slots=True)
class Report:
    """A conversion, planned or done. `target` is None for a dry run; `target_sha256` is '' of one
    that was not put in place."""

    source: Path
    target: Path | None
    checkpoint: Checkpoint
    network: Network
    plan: Plan
    parity: Parity
    proven_tensors: int = 0
    target_sha256: str = ""
    seconds: float = 0.0
    trials: tuple[Trial, ...] = ()
    warnings: tuple[str, ...] = ()
    is_verification: bool = False
    """Whether `target` was there before: `verify-weights` wrote nothing."""
    created: datetime = field(default_factory=now)
    dataset: DatasetComparison | None = None
    export: ExportPlan | None = None
    """From our network's tensors to TARGET's, for a destination of `--to`."""
    delivery: Delivery | None = None
    refusal: ParityError | None = None
    """Why the proof failed: what the terminal says."""

    def refused(self, error: ParityError) -> ParityError:
        """`error`, with this report, which says the same."""
        error.report = replace(self, refusal=error)
        return error

    @property
    def facts(self) -> tuple[Fact, ...]:
        return self.network.facts

    @property
    def verdict(self) -> Verdict:
        """The comparison's, unless the destination's library or a picture contradicts it."""
        if self.delivery and not self.delivery.passes:
            return "not equal"
        if self.dataset and not self.dataset.passes:
            return "not equal"
        return self.parity.verdict

    @property
    def first_wrong_layer(self) -> str | None:
        return self.parity.first_wrong_layer

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; numbers that JSON lacks (infinity, NaN) are null."""
        data = {
            "format": REPORT_FORMAT,
            "created": self.created.isoformat(),
            "verdict": self.verdict,
            "first_wrong_layer": self.first_wrong_layer,
            "refusal": _refusal(self.refusal) if self.refusal else None,
            "source": {
                "path": str(self.source),
                "sha256": self.checkpoint.sha256,
                **inspection(self.checkpoint, self.network),
            },
            "target": {"path": str(self.target or ""), "sha256": self.target_sha256},
            "versions": versions(),
            **_described(self.network),
            "mapping": _mapping(self.plan, self.export),
            "left_out": [weight.path for weight in self.plan.left_out],
            "proven_tensors": self.proven_tensors,
            "warnings": self.warnings,
            "parity": {
                "oracle": self.parity.oracle,
                "is_original": self.parity.is_original,
                "reason": self.parity.reason,
                "assumed": self.parity.assumed,
                "notes": self.parity.notes,
                "logits": [_compared(one) for one in self.parity.comparisons],
                "noise": dict(self.parity.noise),
                "diagnosis": self.parity.diagnosis,
                "doubt": self.parity.doubt,
                "layers": [_layer(one) for one in self.parity.layers],
                "judged": _judged(self.parity),
                "not_told_apart": self.parity.ties,
            },
            "destination": _delivered(self.delivery),
            "seconds": round(self.seconds, 3),
            "candidates": [
                {
                    "changes": dict(one.changes),
                    "error": one.error,
                    "fits": one.fits,
                    "differs": one.differs,
                }
                for one in self.trials
            ],
            "dataset": self.dataset.to_dict() if self.dataset else None,
        }
        return finite(data)  # type: ignore[no-any-return]


def _mapping(plan: Plan, export: ExportPlan | None) -> list[dict[str, Any]]:
    """Every tensor of TARGET: the array that it comes from, those that are folded into it, and
    how."""
    if export is None:
        return [_mapped((step,), step.target, step.shape, step.how) for step in plan.steps]
    by_name = {step.target: step for step in plan.steps}
    found = []
    for step in export.steps:
        sources = tuple(by_name[name] for name in step.sources)
        read = [one.how for one in sources[:1] if one.source is None or one.transforms]
        how = ", ".join([*read, *step.how]) or "as it is"
        found.append(_mapped(sources, step.target, step.shape, how))
    return found


def _mapped(sources: Sequence[Step], target: str, shape: Shape, how: str) -> dict[str, Any]:
    first, *folded = [step.source for step in sources] or [None]
    return {
        **_array(first),
        "target": target,
        "target_shape": shape,
        "transform": how,
        "folded_in": [_array(one) for one in folded if one],
    }


def _array(weight: Weight | None) -> dict[str, Any]:
    return {
        "source": weight.path if weight else None,
        "source_shape": weight.shape if weight else None,
        "source_dtype": weight.dtype if weight else None,
    }


def _described(network: Network) -> dict[str, Any]:
    """The network as plain data: an architecture, or a general network's program."""
    if network.lifted:
        return {"architecture": None, "program": to_dict(network.program)}
    return {"architecture": network.architecture.to_dict()}


def _refusal(error: ConvertError) -> dict[str, Any]:
    return {"headline": error.headline, "findings": error.findings, "hints": error.hints}


def _layer(one: LayerError) -> dict[str, Any]:
    """The cumulative error at the top, the own error (null where it is not its own) in `own`."""
    return {
        **asdict(one.cumulative),
        "gate": one.gate,
        "module": one.module,
        "own": asdict(one.alone) if one.alone else None,
        "own_gate": one.own_gate,
        "noise": one.noise,
        "passes": one.own_passes and (one.own is not None or one.running_passes),
    }


def _judged(parity: Parity) -> dict[str, Any]:
    """How much of the network was held against the original, and what was not."""
    alone = sum(one.is_alone for one in parity.layers)
    return {
        "running": len(parity.layers),
        "alone": alone,
        "not_alone": len(parity.layers) - alone,
        "not_at_all": parity.unjudged,
        "unnamed": parity.unnamed,
    }


def _compared(one: Comparison) -> dict[str, Any]:
    return {**asdict(one), "gate": one.gate, "passes": one.passes}


def _delivered(delivery: Delivery | None) -> dict[str, Any] | None:
    """Of `--to`; null for the self-describing layout."""
    if delivery is None:
        return None
    return {
        "name": delivery.destination,
        "library": delivery.library,
        "reason": delivery.reason,
        "logits": [
            {"run_by": one.device, **_compared(replace(one, device="cpu"))}
            for one in delivery.comparisons
        ],
        "strides_to_set": dict(delivery.strides or {}),
        "not_kept": delivery.losses,
        "dropped": dict(delivery.dropped),
        "usage": delivery.usage,
    }


PACKAGES = (
    "convert-weights",
    "torch",
    "numpy",
    "h5py",
    "safetensors",
    "keras",
    "tensorflow",
    "tensorflow_cpu",
    "torchvision",
    "timm",
    "transformers",
    "mmpretrain",
    "mmengine",
    "onnx",
    "onnxscript",
    "onnxruntime",
)


def versions() -> dict[str, str]:
    """Of everything that had a part."""
    installed = {one.name: one.version for one in importlib.metadata.distributions()}
    found = {name: installed[name] for name in PACKAGES if name in installed}
    return {"python": platform.python_version(), **found}


def contents(
    checkpoint: Checkpoint, network: Network | None, seen: Overview, refusal: ConvertError | None
) -> dict[str, Any]:
    """What `inspect-weights --json` says: of what would be refused too, which has no `network`."""
    said = inspection(checkpoint, network) if network else _opened(checkpoint)
    told = asdict(seen)
    told["parameters"]["all"] = seen.parameters.all
    refused = {**_refusal(refusal), "layers_file": refusal.text or None} if refusal else None
    return {**said, "model": told, "refused": refused}


def inspection(checkpoint: Checkpoint, network: Network) -> dict[str, Any]:
    """What is in a file, before anything is converted."""
    return {
        **_opened(checkpoint),
        "dialect": network.dialect,
        **_inspected(network),
        "facts": [
            {
                "name": fact.name,
                "value": fact.value,
                "evidence": str(fact.evidence),
                "reason": fact.reason,
            }
            for fact in network.facts
        ],
    }


def _opened(checkpoint: Checkpoint) -> dict[str, Any]:
    """What is said of a file, whatever is in it."""
    return {
        "container": checkpoint.container,
        "keras_version": checkpoint.keras_version,
        "backend": checkpoint.backend,
        "weights": len(checkpoint.weights),
        "notes": checkpoint.notes,
        "configuration": _configuration(checkpoint),
    }


def _inspected(network: Network) -> dict[str, Any]:
    """What is said of the network itself."""
    outputs = [asdict(output) for output in network.described.outputs]
    if network.lifted:
        program = network.program
        return {
            "inputs": [asdict(one) for one in program.inputs],
            "input_size": None,
            "outputs": outputs,
            "layers": dict(Counter(type(layer.op).__name__ for layer in program.layers)),
        }
    architecture = network.architecture
    return {
        "depths": architecture.depths,
        "widths": [stage[-1].out_channels for stage in architecture.stages],
        "classes": architecture.classes,
        "outputs": outputs,
        "input_channels": architecture.in_channels,
        "input_size": architecture.input_size,
    }


def _configuration(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """The one that was given for a file of weights; None where none was."""
    given = checkpoint.given
    if given is None:
        return None
    return {
        "option": given.option,
        "origin": given.origin,
        "sha256": given.sha256,
        "match": checkpoint.match,
    }


def finite(value: Any) -> Any:
    """The same with tuples as lists, and null for what JSON cannot say."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
