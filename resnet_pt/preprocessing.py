"""What projects did to the numbers of their pictures, by Keras' names: the one table of it.

Source: keras 3.15 `applications/imagenet_utils.py`, preprocess_input, for caffe, tf and torch. The
others are what projects write themselves: `x / 255`, and nothing. `record_keras.py` has to stand
alone and repeats it; a test holds both together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Mode = Literal["caffe", "tf", "torch", "unit", "raw"]


@dataclass(frozen=True, slots=True)
class Scaling:
    """(x / divisor - mean) / deviation, x from 0 to 255: in this order, each step in float32.
    `mean` and `deviation` are three numbers, for the channels in the order that the network reads
    (blue first with `bgr`), or one for all."""

    divisor: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    deviation: tuple[float, ...] = (1.0,)
    bgr: bool = False

    @property
    def is_of_colours(self) -> bool:
        """Whether a picture has to have three channels."""
        return max(len(self.mean), len(self.deviation)) == 3

    @property
    def means(self) -> list[float]:
        """What is taken from each of three channels of 0 to 255, in the network's order."""
        return self._of_bytes(self.mean)

    @property
    def deviations(self) -> list[float]:
        """What they are divided by then."""
        return self._of_bytes(self.deviation)

    def _of_bytes(self, numbers: tuple[float, ...]) -> list[float]:
        return [round(one * self.divisor, 9) for one in numbers * (3 // len(numbers))]


MODES: Mapping[Mode, Scaling] = {
    "caffe": Scaling(mean=(103.939, 116.779, 123.68), bgr=True),
    "tf": Scaling(divisor=127.5, mean=(1.0,)),
    "torch": Scaling(255.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "unit": Scaling(divisor=255.0),
    "raw": Scaling(),
}
