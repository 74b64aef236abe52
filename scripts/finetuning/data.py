"""A folder of pictures, a folder for each class: its split, its batches, its augmentation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets.folder import find_classes, make_dataset
from torchvision.transforms import v2

from converter.errors import SourceError
from finetuning.settings import Augmentation, Settings
from resnet_pt.pictures import Preprocess, converted, read
from resnet_pt.predict import suffixes

Sample = tuple[Path, int]

AUGMENTATIONS: dict[Augmentation, Callable[[tuple[int, int]], v2.Transform]] = {
    "crop": lambda size: v2.RandomResizedCrop(size, scale=(0.6, 1.0), ratio=(0.85, 1.18)),
    "flip": lambda size: v2.RandomHorizontalFlip(),
    "rotate": lambda size: v2.RandomRotation(12, v2.InterpolationMode.BILINEAR),
    "colour": lambda size: v2.ColorJitter(0.3, 0.3, 0.3, 0.05),
}


@dataclass(frozen=True, slots=True)
class Split:
    """Which pictures train and which validate; the classes in the order of the logits."""

    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    validation: tuple[Sample, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "classes": list(self.classes),
            "train": [[str(path), label] for path, label in self.train],
            "validation": [[str(path), label] for path, label in self.validation],
        }

    @property
    def digest(self) -> str:
        return hashlib.sha256(repr(self.to_dict()).encode()).hexdigest()


def split(folder: Path, validation: float, seed: int) -> Split:
    """`train/` and `val/` where the folder has them; otherwise every class shares its pictures out
    by a permutation that depends on nothing but the seed and their number.

    Raises SourceError for a folder that holds no classes, or a class without a picture.
    """
    if (folder / "train").is_dir() and (folder / "val").is_dir():
        classes, train = listed(folder / "train")
        others, held_out = listed(folder / "val")
        if others != classes:
            raise SourceError(f"{folder}: train and val have other classes")
        return Split(classes, train, held_out)
    classes, samples = listed(folder)
    generator = torch.Generator().manual_seed(seed)
    train_, held_out_ = [], []
    for label in range(len(classes)):
        mine = [sample for sample in samples if sample[1] == label]
        order = torch.randperm(len(mine), generator=generator).tolist()
        count = max(1, round(validation * len(mine)))
        if count == len(mine):
            raise SourceError(f"{folder}: class {classes[label]} has one picture: too few to split")
        held_out_ += [mine[index] for index in order[:count]]
        train_ += [mine[index] for index in order[count:]]
    return Split(classes, tuple(train_), tuple(held_out_))


def listed(folder: Path) -> tuple[tuple[str, ...], tuple[Sample, ...]]:
    """(classes, samples), both in the order of their names; pictures are what `predict` takes for
    ones."""
    try:
        classes, numbers = find_classes(str(folder))
        samples = make_dataset(str(folder), numbers, tuple(sorted(suffixes())))
    except FileNotFoundError as error:
        raise SourceError(
            str(error).partition(" Supported")[0],
            hints=["DIR holds a folder of pictures for each class"],
        ) from error
    if len(classes) < 2:
        raise SourceError(f"{folder} holds one class, {classes[0]}: there is nothing to tell apart")
    return tuple(classes), tuple((Path(path), label) for path, label in samples)


def check_pictures(samples: Sequence[Sample], seen: Callable[[], None]) -> None:
    """Decode every picture once: SourceError naming all that cannot be read, before hours of
    training."""
    with ThreadPoolExecutor() as readers:
        found = []
        for problem in readers.map(lambda sample: _problem(sample[0]), samples):
            seen()
            found += [problem] if problem else []
    if found:
        raise SourceError(f"{len(found)} of {len(samples)} pictures cannot be read", found)


def _problem(path: Path) -> str:
    try:
        read(path)
    except OSError as error:
        return f"{path}: {error}"
    return ""


class Pictures(Dataset[tuple[Tensor, int]]):
    """(picture float32 (C, H, W), label), as the Keras project prepared them; `augment` changes
    the decoded picture first."""

    def __init__(
        self, samples: Sequence[Sample], transform: Preprocess, augment: Sequence[Augmentation] = ()
    ) -> None:
        self.samples = samples
        self.transform = transform
        assert transform.size is not None
        changes = [AUGMENTATIONS[name](transform.size) for name in augment]
        self.changes = v2.Compose(changes) if changes else None

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, label = self.samples[index]
        image: Image.Image = converted(read(path), self.transform.color_mode)
        if self.changes is not None:
            image = self.changes(image)
        return self.transform(image), label


def batches(
    count: int, size: int, seed: int, epoch: int, rank: int = 0, world: int = 1
) -> Iterator[list[int]]:
    """Indices of one epoch, in an order that depends on nothing but seed and epoch; each of `world`
    processes gets as many. A last batch of one is left out: BatchNorm cannot train on it."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(mixed(seed, epoch)))
    mine = order[: count // world * world][rank::world].tolist()
    for start in range(0, len(mine), size):
        batch = mine[start : start + size]
        if len(batch) > 1:
            yield batch


def mixed(seed: int, epoch: int) -> int:
    """A seed for an epoch, so that epoch 1 of seed 0 is not epoch 0 of seed 1."""
    digest = hashlib.sha256(f"{seed} {epoch}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def loader(
    data: Pictures, order: list[list[int]], settings: Settings, seed: int
) -> DataLoader[tuple[Tensor, int]]:
    """A loader of these batches; the workers' own random numbers come from `seed`."""
    return DataLoader(
        data,
        batch_sampler=order,
        num_workers=settings.workers,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(seed),
    )
