"""The shapes of the arrays in a file, asked by layer; how kernels lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from converter.errors import MismatchError
from converter.files.checkpoint import Checkpoint, Weight


@dataclass(frozen=True, slots=True)
class KernelLayout:
    """How convolution kernels lie in a file.

    `order` is 'hwio', or Keras 1's Theano order 'oihw'. `flipped` kernels are turned by 180
    degrees, as a true convolution (Theano) needs them; torch correlates.
    """

    order: str = "hwio"
    flipped: bool = False

    def dims(self, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        """(height, width, in, out) of a kernel of this shape."""
        a, b, c, d = shape
        return (a, b, c, d) if self.order == "hwio" else (c, d, b, a)


class Shapes:
    """The shapes in a checkpoint, asked by layer."""

    def __init__(self, checkpoint: Checkpoint, layout: KernelLayout) -> None:
        self._weights = checkpoint.of_layer()
        self._layout = layout

    @property
    def channels_first(self) -> bool:
        """Whether the kernels' order says that the model's maps were (C, H, W)."""
        return self._layout.order == "oihw"

    def parameters(self, layer: str) -> Mapping[str, Weight]:
        """`{parameter: weight}`; empty for a layer without weights."""
        return self._weights.get(layer, {})

    def has(self, layer: str, parameter: str) -> bool:
        return parameter in self.parameters(layer)

    def kernel(self, layer: str) -> tuple[int, int, int, int]:
        """(height, width, in, out) of a layer's kernel."""
        found = self.parameters(layer)
        weight = found.get("kernel") or found.get("depthwise_kernel")
        if weight is None or len(weight.shape) != 4:
            raise MismatchError(
                f"layer {layer!r} has no convolution kernel",
                [f"{one} {one.shape}" for one in found.values()],
            )
        return self._layout.dims(weight.shape)

    def is_depthwise(self, layer: str) -> bool:
        """Whether a layer's kernel is depthwise, (height, width, in, multiplier)."""
        return self.has(layer, "depthwise_kernel")

    def dense(self, layer: str) -> tuple[int, int]:
        """(in, out) of a Dense layer's kernel."""
        weight = self.parameters(layer).get("kernel")
        if weight is None or len(weight.shape) != 2:
            found = self.parameters(layer).values()
            raise MismatchError(
                f"layer {layer!r} has no Dense kernel", [f"{one} {one.shape}" for one in found]
            )
        return weight.shape[0], weight.shape[1]

    def slopes(self, layer: str) -> int | None:
        """The number of slopes of a PReLU on vectors; None for one on maps."""
        weight = self.parameters(layer).get("alpha")
        return weight.shape[0] if weight and len(weight.shape) == 1 else None

    def vector(self, layer: str) -> int:
        """Channels of a norm or Scale layer: the length of its first vector."""
        for weight in self.parameters(layer).values():
            if len(weight.shape) == 1:
                return weight.shape[0]
        raise MismatchError(f"norm {layer!r} has no number for each channel")
