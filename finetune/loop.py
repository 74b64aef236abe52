"""The training itself, on one device or several: Lightning Fabric moves, wraps and reduces."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional as F

import resnet_pt
from finetune import checkpoint
from finetune.data import Pictures, Split, batches, loader, mixed
from finetune.network import build, optimiser
from finetune.settings import Settings
from resnet_pt.transfer import train_unfrozen

Row = dict[str, Any]
Progress = Callable[[Iterable[Any], str, int], Iterator[Any]]
"""Shows how far a loop is: `progress(items, what, total)` yields the items."""


@dataclass(slots=True)
class Training:
    """Where it stands: everything in it is in the checkpoint."""

    history: list[Row] = field(default_factory=list)
    best: int = -1
    confusion: list[list[int]] = field(default_factory=list)

    def is_better(self, row: Row) -> bool:
        """More right; as many, with a lower loss."""
        key = (row["accuracy"], -row["loss"])
        held = self.history[self.best] if self.history else None
        return held is None or key > (held["accuracy"], -held["loss"])

    def is_over(self, settings: Settings) -> bool:
        waited = len(self.history) - 1 - self.best
        return len(self.history) >= settings.epochs or (
            bool(self.history) and waited >= settings.patience
        )


def train(
    fabric: Fabric,
    settings: Settings,
    pictures: Split,
    folder: Path,
    *,
    resume: bool,
    progress: Progress,
    tell: Callable[[Row, bool], None],
) -> Training:
    """Train until the last epoch, or until nothing has improved for `patience` epochs.

    After each epoch `folder` holds the best weights so far (best.pth, with the names of the
    classes), the checkpoint to resume from and history.json. On the CPU a resumed training gives
    the same tensors, bit for bit, as one that was never stopped.
    """
    network, transform = build(settings, len(pictures.classes))
    training_set = Pictures(pictures.train, transform, settings.augment)
    validation_set = Pictures(pictures.validation, transform)
    rank, world = fabric.global_rank, fabric.world_size
    per_epoch = len(list(batches(len(training_set), settings.batch, settings.seed, 0, rank, world)))
    sgd, schedule = optimiser(network, settings, per_epoch * settings.epochs)
    model, sgd = fabric.setup(network, sgd)
    stands, made = Training(), {**settings.to_dict(), "pictures": pictures.digest}
    state: dict[str, Any] = {"model": model, "optimizer": sgd, "schedule": schedule}
    if resume:
        rest = checkpoint.read(fabric, folder, state)
        checkpoint.check_same(rest["made"], made)
        stands = Training(rest["history"], rest["best"], rest["confusion"])
    while not stands.is_over(settings):
        epoch, started = len(stands.history), time.perf_counter()
        torch.manual_seed(mixed(settings.seed, epoch) + rank)
        order = list(batches(len(training_set), settings.batch, settings.seed, epoch, rank, world))
        seed = mixed(settings.seed, epoch) + rank
        steps = progress(
            loader(training_set, order, settings, seed), f"epoch {epoch + 1}", len(order)
        )
        row: Row = {"epoch": epoch + 1, "lr": schedule.get_last_lr()[0]}
        row |= one_epoch(fabric, model, sgd, schedule, steps)
        found, confusion = evaluate(
            fabric, model, validation_set, len(pictures.classes), settings, progress
        )
        row |= {**found, "seconds": round(time.perf_counter() - started, 3)}
        better = stands.is_better(row)
        stands.history.append(row)
        if better:
            stands.best, stands.confusion = epoch, confusion.tolist()
        if fabric.is_global_zero:
            keep(folder, network if better else None, stands, pictures.classes)
        rest = {
            "history": stands.history,
            "best": stands.best,
            "confusion": stands.confusion,
            "made": made,
        }
        checkpoint.write(fabric, folder, {**state, **rest})
        tell(row, better)
    return stands


def one_epoch(fabric: Fabric, model: Any, sgd: Any, schedule: Any, steps: Iterable[Any]) -> Row:
    """Mean loss and accuracy over the epoch, as they were while it trained."""
    train_unfrozen(model)
    sums = torch.zeros(3, dtype=torch.float64)
    for pictures, labels in steps:
        pictures, labels = fabric.to_device((pictures, labels))
        logits = model(pictures)
        loss = F.cross_entropy(logits, labels)
        sgd.zero_grad()
        fabric.backward(loss)
        sgd.step()
        schedule.step()
        sums += counted(logits, labels, loss)
    mean, accuracy = share(fabric, sums)
    return {"train_loss": mean, "train_accuracy": accuracy}


def counted(logits: Tensor, labels: Tensor, loss: Tensor) -> Tensor:
    """(summed loss, right answers, pictures)."""
    right = (logits.argmax(1) == labels).sum().item()
    return torch.tensor([loss.item() * len(labels), right, len(labels)], dtype=torch.float64)


def share(fabric: Fabric, sums: Tensor) -> tuple[float, float]:
    """(mean loss, accuracy) over all processes."""
    loss, right, count = fabric.all_reduce(sums, reduce_op="sum").tolist()
    loss, right, count = fabric.all_reduce(sums, reduce_op="sum").tolist()
    return loss / count, right / count


def evaluate(
    fabric: Fabric,
    model: Any,
    data: Pictures,
    classes: int,
    settings: Settings,
    progress: Progress,
) -> tuple[Row, Tensor]:
    """({loss, accuracy}, confusion[is, said]); every picture is counted once, whatever the number
    of processes."""
    model.eval()
    mine = range(fabric.global_rank, len(data), fabric.world_size)
    order = [
        list(mine[start : start + settings.batch]) for start in range(0, len(mine), settings.batch)
    ]
    sums = torch.zeros(3, dtype=torch.float64)
    confusion = torch.zeros(classes, classes, dtype=torch.float64)
    steps = progress(loader(data, order, settings, 0), "validation", len(order))
    with torch.inference_mode():
        for pictures, labels in steps:
            pictures, labels = fabric.to_device((pictures, labels))
            logits = model(pictures).float()
            sums += counted(logits, labels, F.cross_entropy(logits, labels))
            for truth, said in zip(labels.tolist(), logits.argmax(1).tolist(), strict=True):
                confusion[truth, said] += 1
    loss, accuracy = share(fabric, sums)
    return {"loss": loss, "accuracy": accuracy}, fabric.all_reduce(
        confusion, reduce_op="sum"
    ).long()


def keep(folder: Path, network: Any, stands: Training, classes: tuple[str, ...]) -> None:
    """The best weights, and the history for people."""
    if network is not None:
        resnet_pt.save(network, folder / "best.pth", labels=classes, overwrite=True)
    draft = folder / ".history.json.tmp"
    draft.write_text(
        json.dumps({"best": stands.best + 1, "epochs": stands.history}, indent=1) + "\n"
    )
    draft.replace(folder / "history.json")
