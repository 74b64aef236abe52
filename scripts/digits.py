"""Write scikit-learn's handwritten digits as a folder of pictures, a folder for each class.

`python scripts/digits.py FOLDER` gives 1797 grey PNGs of 8x8 (UCI's optical recognition of
handwritten digits, which ships with scikit-learn); `--classes 0,1,2` takes some of them.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--classes", default="0,1,2,3,4,5,6,7,8,9", show_default=True)
def digits(folder: Path, classes: str) -> None:
    wanted = {int(digit) for digit in classes.split(",")}
    data = load_digits()
    for number, (picture, digit) in enumerate(zip(data.images, data.target, strict=True)):
        if digit in wanted:
            (folder / str(digit)).mkdir(parents=True, exist_ok=True)
            grey = np.clip(picture * 16, 0, 255).astype(np.uint8)  # 0 to 16 in the data
            Image.fromarray(grey).save(folder / str(digit) / f"{number:04}.png")


if __name__ == "__main__":
    digits()
