"""A parity test for the project that uses a converted network:

from converter.testing import assert_same_logits

def test_the_network_still_gives_the_originals_logits():
    assert_same_logits(resnet_pt.load("resnet50.pth"), "resnet50_record.npz")
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converter.conversion import headline
from converter.errors import LINE, SourceError, shortened
from converter.parity.comparing.layers import description
from converter.parity.original.recording import Recording, read_record, why_not_comparable
from converter.parity.prove import Parity, compare_model
from converter.parity.rivals import with_ties

if TYPE_CHECKING:
    from torch import nn


def assert_same_logits(model: nn.Module, record: str | Path) -> Parity:
    """AssertionError unless `model` gives the logits in `record` (an `.npz` of record_keras.py).

    The network runs as it is (in training mode, if it is) on the CPU, in float64 and float32, on a
    copy: the model is not changed. float32 logits have to be within 1e-5 of the largest. The
    message names the first layer that is wrong, and what it looks like, for a network that knows
    its original's layers: one from `resnet_pt.load`, or that loaded the state_dict of one.

    Returns what was compared. Raises SourceError if there is no such record, TypeError for a
    `model` that is no module.
    """
    recording = read_record(Path(record))
    model = _unwrapped(model)
    outputs = _names(model)
    reason = _why_not(recording, model, outputs)
    if reason:
        raise AssertionError(f"{record}: {reason}")
    twin = _copied(model)
    parity = with_ties(compare_model(twin, outputs, recording, ("cpu",)), twin, outputs, recording)
    if parity.verdict != "equal":
        raise AssertionError(_message(parity, _nameless(model, outputs), _rounded(model)))
    return parity


def _unwrapped(model: nn.Module) -> Any:
    """The network itself, out of what spreads it over several devices."""
    from torch import nn

    if not isinstance(model, nn.Module):
        raise TypeError(f"assert_same_logits takes a torch module, not {type(model).__name__}")
    spread = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    return model.module if isinstance(model, spread) else model


def _copied(model: nn.Module) -> Any:
    """AssertionError for a network that torch cannot copy: one whose weights are computed anew
    before each run, by pruning or the old weight_norm."""
    try:
        return copy.deepcopy(model)
    except RuntimeError as error:
        raise AssertionError(
            f"the network cannot be copied, and is not run: {str(error).partition('.')[0]}\n"
            "  make its weights plain parameters first (torch.nn.utils.prune.remove, "
            "remove_weight_norm)"
        ) from error


def _names(model: nn.Module) -> dict[str, str]:
    """`{module: layer of the original}` for the modules that are still there."""
    there = {name for name, _ in model.named_modules()}
    names = getattr(model, "original_layers", {})
    return {module: layer for module, layer in names.items() if module in there}


def _nameless(model: nn.Module, names: Mapping[str, str]) -> str:
    """Why no layer of the original is known to the network; '' if some are."""
    if names:
        return ""
    for module, part in model.named_modules():
        if getattr(part, "original_layers", None):
            return (
                f"the network wraps another ({module}) that knows its original's layers: given "
                "alone, that one is held against them"
            )
    return "the network does not know its original's layers; resnet_pt.load tells them"


def _why_not(recording: Recording, model: nn.Module, names: Mapping[str, str]) -> str:
    """Why this network cannot be held against a recording; '' if it can."""
    twice = [layer for layer, count in Counter(names.values()).items() if count > 1]
    if twice:
        return f"`original_layers` has {twice[0]} at several modules"
    described = description(model)
    if described is None:
        return ""
    try:
        return why_not_comparable(recording, described)
    except SourceError as error:
        return str(error)


def _rounded(model: nn.Module) -> str:
    """The dtype that the weights were rounded to, if they were."""
    kinds = {str(one.dtype).removeprefix("torch.") for one in model.parameters()}
    return " and ".join(sorted(kinds & {"float16", "bfloat16"}))


def _message(parity: Parity, nameless: str, rounded: str) -> str:
    lines = [f"{headline(parity).replace('the converted', 'the')} {parity.oracle}"]
    if parity.wrong:
        lines.append(f"{parity.blame} (module {parity.wrong.module})")
    if parity.diagnosis:
        lines.append(f"it looks as if {parity.diagnosis}")
    lines += [
        f"{one.dtype}: {one.worst}, allowed {one.gate:.0e}"
        for one in parity.comparisons
        if one.counts and not one.passes
    ]
    lines += parity.notes
    if rounded:
        lines.append(f"its weights are {rounded}: that alone rounds them more than is allowed")
    if nameless:
        lines.append(nameless)
    return "\n  ".join(shortened(line, LINE) for line in lines)
