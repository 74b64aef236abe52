"""Pictures as the Keras project gave them to its network: decoded, resized and scaled, bit for bit.

Two steps of Keras in a row, with its libraries (Pillow, NumPy) and its order of operations:
`keras.utils.load_img` (the same Pillow decodes and resizes) and
`keras.applications.imagenet_utils.preprocess_input`. Source: keras 3.15, `utils/image_utils.py` and
`applications/imagenet_utils.py`; docs/migration.md tells what older versions did otherwise.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from resnet_pt.architecture import Architecture
from resnet_pt.preprocessing import MODES, Mode, Scaling
from resnet_pt.regular import open_regular

Interpolation = Literal["nearest", "bilinear", "bicubic", "hamming", "box", "lanczos"]
ColorMode = Literal["rgb", "grayscale", "rgba"]
Picture = Image.Image | str | os.PathLike[str]
Array = npt.NDArray[np.float32]

FORMATS = (
    *("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "TGA"),
    *("TIFF", "WEBP"),
)
"""Pillow's formats that are decoded here. Of the others it hands some to a program (EPS), and
decodes some pixel by pixel in Python (QOI: a megabyte takes minutes)."""

MAX_FILE = 256 * 2**20
"""Bytes of a picture's file."""
MAX_PIXELS = 89_478_485
"""Pixels of a picture: those beyond which Pillow warns of a decompression bomb."""
ROOM = 256 * 2**20
"""Bytes of the pictures that are decoded at a time, in all threads; one alone may be larger."""

CHANNELS: dict[int, ColorMode] = {1: "grayscale", 3: "rgb", 4: "rgba"}
GREY_MODES = ("L", "I;16", "I")
"""Pillow's modes that Keras' grayscale leaves as they are: 16 bits keep their 65536 steps."""


@dataclass(frozen=True, slots=True)
class Preprocess:
    """A transform for a data set: a PIL image, or the path of one → float32 (C, H, W).

    `mode` names what the project did to the numbers:
      caffe  BGR, less ImageNet's mean of each channel (0 to 255 before)
      tf     -1 to 1
      torch  0 to 1, less ImageNet's mean, over its deviation
      unit   0 to 1
      raw    0 to 255, RGB, as decoded
    `size` is (height, width); None leaves each picture as large as it is. `interpolation` is
    Keras' name; its default, nearest, is Keras' too. The orientation in EXIF is ignored, as Keras
    ignores it.
    """

    mode: Mode
    size: tuple[int, int] | None = None
    interpolation: Interpolation = "nearest"
    color_mode: ColorMode = "rgb"

    def __post_init__(self) -> None:
        for name, kind in (
            ("mode", Mode),
            ("interpolation", Interpolation),
            ("color_mode", ColorMode),
        ):
            known = get_args(kind)
            if getattr(self, name) not in known:
                raise ValueError(f"{name} {getattr(self, name)!r}: known are {', '.join(known)}")
        if self.size is not None and min(self.size) < 1:
            raise ValueError(f"size {self.size}: height and width are at least 1")
        if self.color_mode == "grayscale" and MODES[self.mode].is_of_colours:
            raise ValueError(
                f"mode {self.mode!r} has a mean for each of 3 channels, and a grey picture has one"
            )

    def __call__(self, picture: Picture) -> Tensor:
        """Float32 (C, H, W). Raises OSError for a file that cannot be read or is no picture."""
        pixels = to_array(self.resized(picture))
        result = scaled(pixels, MODES[self.mode])
        return torch.from_numpy(np.ascontiguousarray(result.transpose(2, 0, 1)))

    def resized(self, picture: Picture) -> Image.Image:
        """Decoded, converted and resized, as `load_img` returns it."""
        if isinstance(picture, Image.Image):
            return self._resized(picture)
        with decoded(Path(picture)) as image:
            return self._resized(image)

    def _resized(self, image: Image.Image) -> Image.Image:
        image = converted(image, self.color_mode)
        if self.size is None or image.size == self.size[::-1]:
            return image
        method = Image.Resampling[self.interpolation.upper()]
        return image.resize(self.size[::-1], method)


def preprocess(
    architecture: Architecture,
    *,
    mode: Mode | None = None,
    size: tuple[int, int] | None = None,
    interpolation: Interpolation = "nearest",
) -> Preprocess:
    """The transform for a network: `preprocess(model.architecture)`.

    Mode and size (height, width) come from the architecture where they are not given; the number
    of channels always does.

    Raises ValueError, saying which, where neither the architecture nor an argument tells them.
    """
    mode = mode or known_mode(architecture)
    size = size or architecture.input_size
    if mode is None:
        raise ValueError(
            "the file does not say what its project did to its pictures: "
            f"give mode, one of {', '.join(get_args(Mode))}"
        )
    if size is None:
        raise ValueError("the file does not say how large its pictures are: give size")
    if architecture.in_channels not in CHANNELS:
        raise ValueError(f"no picture has {architecture.in_channels} channels")
    return Preprocess(mode, size, interpolation, CHANNELS[architecture.in_channels])


def known_mode(architecture: Architecture) -> Mode | None:
    """The mode that a file records, if it does."""
    return next((mode for mode in get_args(Mode) if mode == architecture.preprocessing), None)


def read(path: Path) -> Image.Image:
    """The picture in a file; its handle is closed. Raises OSError."""
    with decoded(path) as image:
        return image


@contextmanager
def decoded(path: Path) -> Iterator[Image.Image]:
    """The picture in a plain file, while the context lasts; OSError for any other file, and for
    whatever is raised while Pillow works on it.

    Of large pictures few are decoded at a time.
    """
    try:
        with open_regular(path, MAX_FILE) as file:
            image = Image.open(file, formats=_formats())
            pixels = image.width * image.height
            if pixels > MAX_PIXELS:
                raise OSError(f"{pixels:,} pixels, over the limit of {MAX_PIXELS:,}")
            with _room.taken(4 * pixels):
                image.load()
                yield image
    except OSError as error:
        if isinstance(error, UnidentifiedImageError):
            raise OSError("no picture of a kind that is known here") from error
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise OSError(str(error)) from error
    except Exception as error:  # Pillow's decoders raise whatever they meet
        raise OSError(f"a damaged picture: {error or type(error).__name__}") from error


def _formats() -> list[str]:
    """Those of FORMATS that this Pillow opens: a Pillow may have been built without some."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


class _Room:
    """Bytes that threads take and give back; one that wants more than there is in all has it
    alone."""

    def __init__(self, size: int) -> None:
        self.size = self.left = size
        self.change = threading.Condition()

    @contextmanager
    def taken(self, wanted: int) -> Iterator[None]:
        wanted = min(wanted, self.size)
        with self.change:
            self.change.wait_for(lambda: wanted <= self.left)
            self.left -= wanted
        try:
            yield
        finally:
            with self.change:
                self.left += wanted
                self.change.notify_all()


_room = _Room(ROOM)


def converted(image: Image.Image, color_mode: ColorMode) -> Image.Image:
    """In the channels that the network reads."""
    if color_mode == "grayscale":
        return image if image.mode in GREY_MODES else image.convert("L")
    wanted = color_mode.upper()
    return image if image.mode == wanted else image.convert(wanted)


def to_array(image: Image.Image) -> Array:
    """(H, W, C), 0 to 255 (0 to 65535 for a grey picture of 16 bits)."""
    pixels: Array = np.array(image, dtype=np.float32)
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def scaled(pixels: Array, scaling: Scaling) -> Array:
    """(H, W, C) → the same, scaled in place: float32 throughout, in Keras' order of operations."""
    if scaling.bgr:
        pixels = pixels[..., ::-1]
    if scaling.divisor != 1.0:
        pixels /= scaling.divisor
    if any(scaling.mean):
        pixels -= np.array(scaling.mean, np.float32)
    if scaling.deviation != (1.0,):
        pixels /= np.array(scaling.deviation, np.float32)
    return pixels
