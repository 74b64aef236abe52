"""The training itself, on one device or several: Lightning Fabric moves, wraps and reduces."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor
from torch.nn import functional as F

import resnet_pt
from finetuning import checkpoint
from finetuning.data import Pictures, Split, batches, loader, mixed
from finetuning.network import build, optimiser
from finetuning.settings import Settings
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

    def add(self, row: Row, confusion: list[list[int]]) -> bool:
        """Whether this epoch is the best so far."""
        better = self.is_better(row)
        self.history.append(row)
        if better:
            self.best, self.confusion = len(self.history) - 1, confusion
        return better

    def is_better(self, row: Row) -> bool:
        """More right; as many, with a lower loss."""
        key = (row["accuracy"], -row["loss"])
        held = self.history[self.best] if self.history else None
        return held is None or key > (held["accuracy"], -held["loss"])

    def is_over(self, settings: Settings) -> bool:
        count = len(self.history)
        waited = count - 1 - self.best
        return count >= settings.epochs or (count > 0 and waited >= settings.patience)


class Run:
    """What one process trains with."""

    def __init__(self, fabric: Fabric, settings: Settings, pictures: Split) -> None:
        self.fabric, self.settings, self.classes = fabric, settings, pictures.classes
        self.network, transform = build(settings, len(pictures.classes))
        self.training_set = Pictures(pictures.train, transform, settings.augment)
        self.validation_set = Pictures(pictures.validation, transform)
        self.made = {**settings.to_dict(), "pictures": pictures.digest}
        steps = len(self.batches(0)) * settings.epochs
        sgd, self.schedule = optimiser(self.network, settings, steps)
        self.model, self.sgd = fabric.setup(self.network, sgd)

    def batches(self, epoch: int) -> list[list[int]]:
        """This process's part of an epoch."""
        count, settings, fabric = len(self.training_set), self.settings, self.fabric
        place = fabric.global_rank, fabric.world_size
        return list(batches(count, settings.batch, settings.seed, epoch, *place))

    def state(self) -> dict[str, Any]:
        """What has a state of its own; the precision has one in 16 bits: the scale of the loss."""
        return {
            "model": self.model,
            "optimizer": self.sgd,
            "schedule": self.schedule,
            "precision": self.fabric.strategy.precision,
        }

    def resumed(self, folder: Path) -> Training:
        """Take up what the checkpoint in `folder` holds."""
        rest = checkpoint.read(self.fabric, folder, self.state(), self.made)
        return Training(rest["history"], rest["best"], rest["confusion"])

    def epoch(self, number: int, progress: Progress) -> tuple[Row, list[list[int]]]:
        """Train one epoch and validate: (what came of it, the confusion matrix). All that is
        random comes from the seed, the epoch and the process."""
        started = time.perf_counter()
        seed = mixed(self.settings.seed, number) + self.fabric.global_rank
        torch.manual_seed(seed)
        order = self.batches(number)
        row: Row = {"epoch": number + 1, "lr": self.schedule.get_last_lr()[0]}
        loading = loader(self.training_set, order, self.settings, seed)
        steps = progress(loading, f"epoch {number + 1}", len(order))
        row |= one_epoch(self.fabric, self.model, self.sgd, self.schedule, steps)
        found, confusion = evaluate(self, progress)
        row |= {**found, "seconds": round(time.perf_counter() - started, 3)}
        return row, confusion.tolist()


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
    run = Run(fabric, settings, pictures)
    stands = run.resumed(folder) if resume else Training()
    while not stands.is_over(settings):
        row, confusion = run.epoch(len(stands.history), progress)
        better = stands.add(row, confusion)
        if fabric.is_global_zero:
            keep(folder, run.network if better else None, stands, run.classes)
        checkpoint.write(fabric, folder, {**run.state(), **asdict(stands), "made": run.made})
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
    return loss / count, right / count


def evaluate(run: Run, progress: Progress) -> tuple[Row, Tensor]:
    """({loss, accuracy}, confusion[is, said]); every picture is counted once, whatever the number
    of processes."""
    fabric, data, size = run.fabric, run.validation_set, run.settings.batch
    mine = range(fabric.global_rank, len(data), fabric.world_size)
    order = [list(mine[start : start + size]) for start in range(0, len(mine), size)]
    sums = torch.zeros(3, dtype=torch.float64)
    confusion = torch.zeros(len(run.classes), len(run.classes), dtype=torch.float64)
    steps = progress(loader(data, order, run.settings, 0), "validation", len(order))
    run.model.eval()
    with torch.inference_mode():
        for pictures, labels in steps:
            pictures, labels = fabric.to_device((pictures, labels))
            logits = run.model(pictures).float()
            sums += counted(logits, labels, F.cross_entropy(logits, labels))
            for truth, said in zip(labels.tolist(), logits.argmax(1).tolist(), strict=True):
                confusion[truth, said] += 1
    loss, accuracy = share(fabric, sums)
    together = fabric.all_reduce(confusion, reduce_op="sum")
    return {"loss": loss, "accuracy": accuracy}, together.long()


def keep(folder: Path, network: Any, stands: Training, classes: tuple[str, ...]) -> None:
    """The best weights, and the history for people."""
    if network is not None:
        resnet_pt.save(network, folder / "best.pth", labels=classes, overwrite=True)
    draft = folder / ".history.json.tmp"
    draft.write_text(
        json.dumps({"best": stands.best + 1, "epochs": stands.history}, indent=1) + "\n"
    )
    draft.replace(folder / "history.json")
