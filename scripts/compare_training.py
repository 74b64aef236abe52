"""Train on from one converted file, in Keras and here, and compare; docs/training.md has figures.

`python scripts/compare_training.py WORK --keras PYTHON` needs the extra `train` here, and Keras in
PYTHON. Digits 0 to 4 are what the old project knew: Keras trains a small ResNet on them and saves
an `.h5`, which is converted. Digits 5 to 9 are what it shall learn now, from one half of their
pictures; the other half is the validation. For each seed both sides have the same split, the same
new head and the same batches.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
from sklearn.linear_model import LogisticRegression

ROOT = Path(__file__).parent.parent
EPOCHS, BATCH, LR = 20, 32, 0.01


@click.command()
@click.argument("work", type=click.Path(path_type=Path))
@click.option("--keras", required=True, metavar="PYTHON", help="An interpreter with Keras 3.")
@click.option("--seeds", default=5, show_default=True)
def compare(work: Path, keras: str, seeds: int) -> None:
    prepare(work, keras)
    rows = [one_seed(work, keras, seed) for seed in range(seeds)]
    (work / "rows.json").write_text(json.dumps(rows, indent=1))
    for name in ("torch", "keras", "logistic regression", "majority"):
        values = np.array([row[name] for row in rows])
        click.echo(f"{name:20} {values.mean():.4f} ± {values.std(ddof=1):.4f}  {values.round(4)}")
    paired = np.array([row["torch"] - row["keras"] for row in rows])
    error = paired.std(ddof=1) / len(rows) ** 0.5
    click.echo(f"torch - keras        {paired.mean():+.4f} ± {error:.4f} (standard error)")


def prepare(work: Path, keras: str) -> None:
    """The pictures, the old file, and its conversion."""
    work.mkdir(parents=True, exist_ok=True)
    for name, classes in (("old", "0,1,2,3,4"), ("new", "5,6,7,8,9")):
        run(sys.executable, ROOT / "scripts/digits.py", work / name, "--classes", classes)
    if not (work / "old.h5").exists():
        script = ROOT / "scripts/keras_digits.py"
        run(keras, script, "pretrain", work / "old", work / "old.h5")
    converting = [work / "old.h5", work / "old.pth", "--preprocess", "tf", "--force"]
    run(keras, "-m", "converter.cli", *converting, "--require-parity")


def one_seed(work: Path, keras: str, seed: int) -> dict[str, float]:
    out = work / f"seed{seed}"
    same = ["--epochs", EPOCHS, "--patience", EPOCHS, "--batch", BATCH, "--lr", LR, "--seed", seed]
    plain = ["--augment", "none", "--schedule", "constant", "--layer-decay", 1]
    split = ["--weight-decay", 0, "--validation", 0.5, "--device", "cpu", "--force", "--out", out]
    start = [work / "new", "--from", work / "old.pth"]
    run(sys.executable, "-m", "finetuning.cli", *start, *same, *plain, *split)
    hand_over(work, out, seed)
    ours = json.loads((out / "history.json").read_text())["epochs"]
    script = ROOT / "scripts/keras_digits.py"
    files = [work / "old.h5", out / "split.json", out / "given.npz", out / "keras.json"]
    run(keras, script, "finetune", *files, "--lr", LR)
    theirs = json.loads((out / "keras.json").read_text())
    row = {
        "torch": ours[-1]["accuracy"],
        "keras": theirs[-1]["accuracy"],
        "torch first loss": ours[0]["train_loss"],
        "keras first loss": theirs[0]["train_loss"],
        **baselines(out / "split.json"),
    }
    click.echo(f"seed {seed}: {row}", err=True)
    return row


def hand_over(work: Path, out: Path, seed: int) -> None:
    """The head and the batches of a training, for the other side."""
    from finetuning.data import batches
    from finetuning.network import build
    from finetuning.settings import Settings

    split = json.loads((out / "split.json").read_text())
    settings = Settings(data=work / "new", start=work / "old.pth", seed=seed)
    network, _ = build(settings, len(split["classes"]))
    given = {"kernel": network.fc.weight.detach().numpy().T}
    for epoch in range(EPOCHS):
        order = list(batches(len(split["train"]), BATCH, seed, epoch))
        given[f"order_{epoch}"] = np.concatenate(order)
        given[f"sizes_{epoch}"] = np.array([len(batch) for batch in order])
    np.savez(out / "given.npz", **given)


def baselines(split: Path) -> dict[str, float]:
    """What needs no network: the largest class, and logistic regression on the 64 pixels."""
    from PIL import Image

    data = json.loads(split.read_text())

    def pixels(samples):
        images = [np.asarray(Image.open(path), np.float32).ravel() / 255 for path, _ in samples]
        return np.stack(images), np.array([label for _, label in samples])

    (x, y), (held_out, truth) = pixels(data["train"]), pixels(data["validation"])
    model = LogisticRegression(max_iter=5000).fit(x, y)
    return {
        "logistic regression": float(model.score(held_out, truth)),
        "majority": float(np.bincount(truth).max() / len(truth)),
    }


def run(*command: object) -> None:
    """In processes of their own: torch and TensorFlow never share one."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "scripts"), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    subprocess.run([str(part) for part in command], check=True, env=environment)


if __name__ == "__main__":
    compare()
