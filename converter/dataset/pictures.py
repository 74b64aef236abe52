"""Pictures of a folder, as Keras loads them, in batches that are the same on every run.

Source: keras 2.1 to 3.15, `load_img` and `img_to_array` (keras_preprocessing/image/utils.py, later
keras/src/utils/image_utils.py): RGB, resized to the exact size by the nearest pixel, float32.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from converter.errors import SourceError, UsageError
from converter.files.checkpoint import Array
from resnet_pt.pictures import CHANNELS, Preprocess, to_array

SUFFIXES = frozenset(
    [".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"],
)

Size = tuple[int, int]
Transform = Callable[[Array], Array]
"""What a project does to its pictures: (N, H, W, C) float32 from 0 to 255 → the same shape, as the
network receives it."""


def named_transform(reference: str) -> Transform:
    """The function that 'module:function' names; the module is looked for in the working directory
    first.

    Raises UsageError if the module cannot be imported, or has no such function.
    """
    if os.getcwd() not in sys.path:  # a program that is installed does without it
        sys.path.insert(0, os.getcwd())
    module, _, name = reference.partition(":")
    try:
        found: Transform = getattr(importlib.import_module(module), name)
    except Exception as error:  # the user's own code
        reason = f"{type(error).__name__}: {error}"
        raise UsageError(f"--transform {reference} is no MODULE:FUNCTION here: {reason}") from error
    return found


@dataclass(frozen=True, slots=True)
class Batch:
    """Pictures `indexes` of a data set, (N, H, W, C) as the network receives them, and why others
    of the batch are missing: `{index: reason}`."""

    number: int
    indexes: tuple[int, ...]
    pictures: Array
    unreadable: dict[int, str]


def find_pictures(folder: Path) -> tuple[str, ...]:
    """Every picture in a folder and the folders in it (an ImageFolder's classes), by its path in
    the folder with '/', in the order of the characters. Hidden files are no pictures.

    Raises UsageError if there is no such folder; SourceError if it holds none.
    """
    if not folder.is_dir():
        raise UsageError(f"--images {folder} is not a folder")
    found = [path.relative_to(folder) for path in folder.rglob("*")]
    names = sorted(
        path.as_posix()
        for path in found
        if path.suffix.lower() in SUFFIXES and not any(part.startswith(".") for part in path.parts)
    )
    if not names:
        raise SourceError(
            f"{folder} holds no pictures", [f"suffixes looked for: {', '.join(sorted(SUFFIXES))}"]
        )
    return tuple(names)


def fingerprint(folder: Path, names: tuple[str, ...]) -> str:
    """A hash of the names and sizes of a data set's files: another set has another."""
    digest = hashlib.sha256()
    for name in names:
        path = folder / name
        size = path.stat().st_size if path.exists() else "gone"  # a link that leads nowhere
        digest.update(f"{name}\0{size}\n".encode())
    return digest.hexdigest()


def load_picture(path: Path, size: Size, channels: int) -> Array:
    """A picture as (H, W, C) float32 from 0 to 255. OSError if it is none, or too large."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Pillow's, about palettes with transparency
        return to_array(Preprocess("raw", size, color_mode=CHANNELS[channels]).resized(path))


@dataclass(frozen=True)
class Batches(Dataset[Batch]):
    """Batch k is always of the same pictures, whoever loads it: how pictures are batched can
    change the last bits of what a network computes for them."""

    folder: Path
    names: tuple[str, ...]
    batch_size: int
    size: Size
    channels: int
    transform: Transform

    def __len__(self) -> int:
        return -(-len(self.names) // self.batch_size)

    def indexes(self, number: int) -> range:
        """The pictures of a batch; the last one may be smaller."""
        start = number * self.batch_size
        return range(start, min(start + self.batch_size, len(self.names)))

    def __getitem__(self, number: int) -> Batch:
        found = {index: self._loaded(index) for index in self.indexes(number)}
        loaded = {index: one for index, one in found.items() if not isinstance(one, str)}
        unreadable = {index: one for index, one in found.items() if isinstance(one, str)}
        return Batch(number, tuple(loaded), self._transformed(loaded), unreadable)

    def _loaded(self, index: int) -> Array | str:
        """A picture, or why it cannot be read."""
        path = self.folder / self.names[index]
        try:
            return load_picture(path, self.size, self.channels)
        except OSError as error:
            return str(error).replace(str(path), path.name)

    def _transformed(self, loaded: dict[int, Array]) -> Array:
        if not loaded:
            return np.zeros((0, *self.size, self.channels), np.float32)
        pictures = np.stack(list(loaded.values()))
        found = self.transform(pictures.copy())
        if found.shape != pictures.shape:
            raise UsageError(f"the transform makes {found.shape} of {pictures.shape}")
        return np.ascontiguousarray(found, dtype=np.float32)
