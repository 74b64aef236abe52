"""The command: argv → train → what OUT holds."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from converter.cli.flags import DEBUG, PLACE, height_width
from converter.cli.running import guarded, with_options
from converter.errors import TargetError, UsageError
from finetuning.settings import Settings
from resnet_pt.preprocessing import MODES

if TYPE_CHECKING:
    from finetuning.data import Split

option = functools.partial(click.option, show_default=True)

OPTIONS = (
    option(
        "--from",
        "start",
        required=True,
        type=PLACE,
        metavar="FILE",
        help="The converted network to start from.",
    ),
    option(
        "--out",
        type=PLACE,
        default=Path("finetuned"),
        metavar="FOLDER",
        help="Where everything is written.",
    ),
    option("--resume", is_flag=True, help="Go on from the checkpoint in FOLDER."),
    option("--force", is_flag=True, help="Start anew over an older training in FOLDER."),
    option("--epochs", type=click.IntRange(min=1), default=20, help="At most."),
    option(
        "--patience",
        type=click.IntRange(min=1),
        default=5,
        help="Stop after so many epochs without a better validation.",
    ),
    option(
        "--batch", type=click.IntRange(min=2), default=32, help="Pictures a step, on each device."
    ),
    option("--lr", type=float, default=0.01, help="Learning rate of the head."),
    option(
        "--layer-decay",
        type=float,
        default=0.5,
        help="What each stage below has of the rate above it; 1 is one rate for all.",
    ),
    option(
        "--freeze",
        metavar="STAGE",
        help="Keep everything up to this stage as it is: stem, layer1 … layer4.",
    ),
    option("--momentum", type=float, default=0.9, help="Of SGD."),
    option("--weight-decay", type=float, default=1e-4, help="Of SGD."),
    option(
        "--schedule",
        type=click.Choice(["cosine", "constant"]),
        default="cosine",
        help="How the rate goes.",
    ),
    option(
        "--augment",
        default="crop,flip",
        metavar="LIST",
        help="Of crop, flip, rotate, colour; or none.",
    ),
    option(
        "--validation",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        default=0.2,
        help="Share of each class that is held out.",
    ),
    option(
        "--seed",
        type=int,
        default=0,
        help="Of the split, the new head, the order and the augmentation.",
    ),
    option(
        "--preprocess",
        type=click.Choice(list(MODES)),
        help="What the project did to its pictures, where FILE does not say it.",
    ),
    option(
        "--interpolation",
        default="nearest",
        type=click.Choice(["nearest", "bilinear", "bicubic", "hamming", "box", "lanczos"]),
        help="How pictures are resized.",
    ),
    option(
        "--size",
        callback=height_width,
        metavar="N|HxW",
        help="Size of the pictures, where FILE does not say it (then 224x224).",
    ),
    option(
        "--precision",
        type=click.Choice(["auto", "32", "bf16", "16"]),
        default="auto",
        help="Mixed precision; auto is bf16 on a GPU that has it, else 32.",
    ),
    option(
        "--device",
        type=click.Choice(["auto", "cpu", "cuda"]),
        default="auto",
        help="Where it trains.",
    ),
    option(
        "--devices", type=click.IntRange(min=1), default=1, help="How many of them, a process each."
    ),
    option(
        "--workers",
        type=click.IntRange(min=0),
        default=0,
        help="Processes that decode pictures, for each device.",
    ),
)


@click.command()
@click.argument("data", metavar="DIR", type=PLACE)
@with_options(*OPTIONS, DEBUG)
@guarded
def finetune(data: Path, out: Path, resume: bool, force: bool, augment: str, **options: Any) -> int:
    """Train the converted network in FILE on, on the pictures in DIR: a folder for each class.

    FOLDER then holds best.pth (`predict` and resnet_pt.load take it), curves.png, confusion.png,
    history.json, split.json, and last.ckpt to resume from.

    \b
    Examples:
        scripts/finetune birds/ --from out.pth
        scripts/finetune birds/ --from out.pth --freeze layer3 --augment crop,flip,colour
        scripts/finetune birds/ --from out.pth --resume
    """
    settings = Settings(data=data, start=options.pop("start"), augment=parts(augment), **options)
    check_folder(out, resume, force)
    from finetuning import charts
    from finetuning.data import split
    from finetuning.loop import train

    pictures = split(settings.data, settings.validation, settings.seed)
    make_folder(out)
    if os.environ.get("LOCAL_RANK", "0") == "0":  # before the others are there: none waits
        prepare(pictures, out, resume, Show(True))
    fabric = launched(settings)
    show = Show(fabric.is_global_zero)
    done = train(
        fabric,
        settings,
        pictures,
        out,
        resume=resume,
        progress=show.over,
        tell=show.epoch,
    )
    if fabric.is_global_zero:
        charts.curves(done.history, done.best, out / "curves.png")
        charts.confusion(done.confusion, pictures.classes, out / "confusion.png")
        best = done.history[done.best]
        show.line(
            f"best: epoch {best['epoch']}, {best['accuracy']:.4f} of the validation pictures "
            f"right; {out / 'best.pth'} is written"
        )
    return 0


def prepare(pictures: Split, out: Path, resume: bool, show: Show) -> None:
    """Say what there is; for a new training, read it all once and keep the split."""
    from finetuning.data import check_pictures

    samples = [*pictures.train, *pictures.validation]
    show.line(
        f"{len(pictures.train)} pictures train and {len(pictures.validation)} validate, of "
        f"{len(pictures.classes)} classes"
    )
    if resume:
        return
    with show.bar("checking pictures", len(samples)) as seen:
        check_pictures(samples, seen)
    (out / "split.json").write_text(json.dumps(pictures.to_dict(), indent=1) + "\n")


def parts(augment: str) -> tuple[Any, ...]:
    """`crop,flip` → its parts; `none` → ()."""
    known = ("crop", "flip", "rotate", "colour")
    names = () if augment in ("none", "") else tuple(augment.split(","))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UsageError(f"--augment {','.join(unknown)}: known are {', '.join(known)}, none")
    return names


def check_folder(out: Path, resume: bool, force: bool) -> None:
    """An older training is neither overwritten nor gone on with unless that is asked for, and goes
    on only where there is one."""
    if resume and force:
        raise UsageError("--resume goes on and --force starts anew: one of them")
    if out.exists() and not out.is_dir():
        raise TargetError(f"{out} is no folder")
    if (out / "last.ckpt").exists() and not (resume or force):
        hints = ["--resume goes on with it", "--force starts anew"]
        raise TargetError(f"{out} holds a training already", hints=hints)
    if resume and not (out / "last.ckpt").exists():
        raise TargetError(f"{out} holds no last.ckpt to resume from")


def make_folder(out: Path) -> None:
    """TargetError, before any picture is read, where nothing can be written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise TargetError(f"{out} cannot be written: {error.strerror}") from error


def launched(settings: Settings) -> Any:
    """Fabric, in each of the processes that `--devices` asks for."""
    import torch
    from lightning_fabric import Fabric

    if settings.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: torch finds no such device here")
    is_cuda = settings.device != "cpu" and torch.cuda.is_available()
    fabric = Fabric(
        accelerator="cuda" if is_cuda else "cpu",
        devices=settings.devices,
        strategy="ddp" if settings.devices > 1 else "auto",
        precision=precision(settings.precision, is_cuda),
    )
    fabric.launch()
    return fabric


def precision(wanted: str, is_cuda: bool) -> Any:
    """Fabric's name of it."""
    import torch

    if wanted == "auto":
        return "bf16-mixed" if is_cuda and torch.cuda.is_bf16_supported() else "32-true"
    return {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}[wanted]


class Show:
    """Lines and bars on stderr, by the first process; bars only where somebody watches."""

    def __init__(self, speaks: bool) -> None:
        self.speaks = speaks
        self.watched = speaks and sys.stderr.isatty()

    def line(self, text: str) -> None:
        if self.speaks:
            click.echo(text, err=True)

    def epoch(self, row: dict[str, Any], better: bool) -> None:
        self.line(
            f"epoch {row['epoch']:3}  train {row['train_loss']:.4f} {row['train_accuracy']:.4f}  "
            f"validation {row['loss']:.4f} {row['accuracy']:.4f}  {row['seconds']:.1f} s"
            + ("  best" if better else "")
        )

    @contextlib.contextmanager
    def bar(self, what: str, total: int) -> Iterator[Any]:
        if not self.watched:
            yield lambda: None
            return
        from rich.console import Console
        from rich.progress import Progress

        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(what, total=total)
            yield lambda: progress.advance(task)

    def over(self, items: Iterable[Any], what: str, total: int) -> Iterator[Any]:
        """The items, with a bar that moves as they are taken."""
        with self.bar(what, total) as seen:
            for item in items:
                yield item
                seen()


if __name__ == "__main__":
    warnings.filterwarnings("ignore", module="PIL")
    finetune(prog_name="scripts/finetune")
