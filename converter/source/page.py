"""The whole of what is written: model.py, and a page of text beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from converter.source.flat import CLASS, Source
from converter.source.identifiers import comment
from resnet_pt.program import Program

MODEL, WEIGHTS, CHECK, README = "model.py", "weights.safetensors", "check.npz", "README.md"

HEADER = '''"""{about}

Written by a converter of Keras models, and yours to change. `load()` gives the network with its
weights; `python model.py` repeats the check that lies beside it.
"""

from __future__ import annotations

{standard}from pathlib import Path

import torch
from torch import Tensor, nn
{functional}'''

FOOTER = '''

HERE = Path(__file__).resolve().parent


def load(weights: Path = HERE / "weights.safetensors") -> Network:
    """The network with its weights, in eval mode."""
    from safetensors.torch import load_file

    network = Network()
    network.load_state_dict(load_file(weights))
    return network.eval()


def check(path: Path = HERE / "check.npz", allowed: float = {allowed!r}) -> float:
    """The greatest difference from the stored outputs in float64, by the greatest of each."""
    import numpy as np

    stored = np.load(path)
    network, worst = load().double(), 0.0
    given = [torch.from_numpy(stored[f"input_{{i}}"]).double() for i in range({inputs})]
    with torch.inference_mode():
        found = network(*given)
    outputs = list(found.values()) if isinstance(found, dict) else [found]
    for number, output in enumerate(outputs):
        expected = torch.from_numpy(stored[f"output_{{number}}"])
        if output.shape != expected.shape:
            raise SystemExit(f"output {{number}} has another shape: {{tuple(output.shape)}}")
        if not torch.equal(output.isfinite(), expected.isfinite()):
            raise SystemExit(f"output {{number}} has other numbers that are not finite")
        there = expected.isfinite()
        off, most = (output - expected)[there].abs(), expected[there].abs()
        if off.numel():
            worst = max(worst, float(off.max() / most.max().clamp(min=1e-30)))
    if not worst <= allowed:
        raise SystemExit(f"not the stored outputs: off by {{worst:.1e}}")
    return worst


if __name__ == "__main__":
    print(f"the stored outputs, within {{check():.1e}} of the greatest")
'''

ALLOWED = 1e-9
"""Of the stored check in float64: other kernels sum in another order, and nothing else."""


def model(program: Program, source: Source, about: str) -> str:
    """The text of model.py: ASCII, whatever the model's names are."""
    head = HEADER.format(
        about=comment(about),
        standard="from collections.abc import Callable, Sequence\n" * _typed(source.text),
        functional="from torch.nn import functional as F\n" * ("F." in source.text),
    )
    if "Callable" not in source.text:
        head = head.replace("Callable, Sequence", "Sequence")
    elif "Sequence" not in source.text:
        head = head.replace("Callable, Sequence", "Callable")
    foot = FOOTER.format(inputs=len(program.inputs), allowed=ALLOWED)
    gap = "\n" if source.text.startswith("EPS") else "\n\n"
    return f"{head}{gap}{source.text}\n{foot}"


def _typed(text: str) -> bool:
    return "Callable" in text or "Sequence" in text


def readme(program: Program, source: Source, description: Mapping[str, Any]) -> str:
    """One screen, and a table of the Keras layer of each of the network's keys."""
    return "\n".join([*_lines(program, source, description), ""])


def _lines(program: Program, source: Source, description: Mapping[str, Any]) -> Iterator[str]:
    yield from (
        f"# {CLASS}",
        "",
        "```python",
        "from model import load",
        "",
        "network = load()",
        "```",
        "",
        "`model.py` is the network, in torch alone; `load` reads `weights.safetensors` with the",
        "package safetensors. `python model.py` runs the network on the inputs of `check.npz`, in",
        "float64, and compares with what is stored there: what the converted network computes.",
        "Before this folder was put in place, the file was run by itself, and gave the same.",
        "",
        "What goes in, behind the batch (channels first, ? is any):",
        "",
        *(f"- {cell(one.name)}: {_axes(one.shape)}" for one in program.inputs),
        "",
        "What comes out; the activation is what Keras applied last, and is left out here:",
        "",
        *(f"- {cell(one.name or 'logits')}: {cell(one.activation)}" for one in program.outputs),
        "",
    )
    for name in ("source_sha256", "config_sha256"):
        if name in description:
            yield f"{name}: `{comment(str(description[name]))}`"
    yield from ("", "| key | layer of Keras | kind |", "|---|---|---|")
    for layer in program.with_tensors():
        kind = cell(layer.op.words())
        yield f"| `{source.modules[layer.module]}` | {cell(layer.original)} | {kind} |"


def _axes(shape: tuple[int | None, ...]) -> str:
    return " x ".join("?" if side is None else str(side) for side in shape)


def cell(text: str) -> str:
    """A stranger's name as code within a page, which nothing in it can leave."""
    plain = comment(text).replace("`", "'").replace("|", "/")
    return f"`{plain}`" if plain.strip() else ""
