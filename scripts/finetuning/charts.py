"""Pictures of a training: curves of loss and accuracy, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator


def curves(history: Sequence[dict[str, Any]], best: int, path: Path) -> None:
    """Loss and accuracy by epoch, training and validation; a line marks the best epoch."""
    epochs = [row["epoch"] for row in history]
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, name in zip(axes, ("loss", "accuracy"), strict=True):
        axis.plot(epochs, [row[f"train_{name}"] for row in history], label="training")
        axis.plot(epochs, [row[name] for row in history], label="validation")
        axis.axvline(best + 1, color="grey", linestyle=":", label=f"best, epoch {best + 1}")
        axis.set(xlabel="epoch", ylabel=name)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        axis.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def confusion(matrix: Sequence[Sequence[int]], classes: Sequence[str], path: Path) -> None:
    """How often a picture of each class (row) was taken for each (column); colours are the share
    of the row."""
    shares = [[cell / max(sum(row), 1) for cell in row] for row in matrix]
    side = min(max(4.0, 0.45 * len(classes) + 2), 24.0)
    figure, axis = plt.subplots(figsize=(side, side), layout="constrained")
    axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axis.set_xticks(range(len(classes)), classes, rotation=90)
    axis.set_yticks(range(len(classes)), classes)
    axis.set(xlabel="said", ylabel="is")
    if len(classes) <= 40:
        for y, row in enumerate(matrix):
            for x, cell in enumerate(row):
                colour = "white" if shares[y][x] > 0.5 else "black"
                axis.text(x, y, str(cell) if cell else "", ha="center", va="center", color=colour)
    figure.savefig(path, dpi=120)
    plt.close(figure)
