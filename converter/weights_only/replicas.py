"""Weights of Keras' `multi_gpu_model`: the model's own, without the layers around it.

Its Lambdas are taken for slices of the batch, and its Concatenate for what joins them again, by
their names alone: Keras names the Concatenate after the model's last layer, before 2.1 after its
class (keras 2.3.1 `utils/multi_gpu_utils.py`).
"""

from __future__ import annotations

from dataclasses import replace

from converter.files.auto_names import auto_name
from converter.files.checkpoint import Checkpoint
from converter.weights_only.head_names import ACTIVATIONS, AUTO_NAMES


def unsliced(checkpoint: Checkpoint) -> tuple[Checkpoint, tuple[str, ...]]:
    """(the checkpoint without the layers around the model, the names of those that slice) for
    weights of a `multi_gpu_model`; (the checkpoint as it is, ()) for others."""
    groups = list({weight.group for weight in checkpoint.weights})
    if len(groups) != 1 or groups[0] not in checkpoint.layers:
        return checkpoint, ()
    place = checkpoint.layers.index(groups[0])
    source, *sliced = checkpoint.layers[:place] or ("",)
    joined = checkpoint.layers[place + 1 :]
    inside = {weight.layer for weight in checkpoint.weights}
    pools = [one for one in joined if auto_name(one) in AUTO_NAMES]
    told = inside | {one for one in joined if auto_name(one) in (*ACTIVATIONS, "concatenate")}
    if not joined or not told.issuperset(set(joined) - set(pools)):
        return checkpoint, ()
    if len(sliced) < 2 or sliced != _counted(sliced):
        return checkpoint, ()
    return replace(checkpoint, layers=(source, *groups, *pools)), tuple(sliced)


def _counted(names: list[str]) -> list[str]:
    """`lambda_3`, `lambda_4`, …: as many as there are names, from the number of the first."""
    first = names[0].removeprefix("lambda_") if names else ""
    start = int(first) if first.isdigit() else 0
    return [f"lambda_{start + number}" for number in range(len(names))]
