"""What is said of one kind of layer, and how: the protocol that every op follows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

if TYPE_CHECKING:
    from typing import Self

    import torch
    from torch import nn

Shape = tuple[int | None, ...]
"""The axes of a value behind the batch, channels first: (C, H, W) of a map, (C,) of a vector. None
is a length that is not known."""

Factor = float | tuple[float, ...]
"""One number, or one for each channel."""

MAX_CHANNELS = 2**24
"""Of a map, and of the numbers that a Dense layer reads or gives."""
MAX_WINDOW = 4096
"""Of a window's size, stride, dilation and padding: beyond any picture that a network is run on."""
MAX_FLOAT = 3.4e38
"""The largest number in float32."""


class MisfitError(ValueError):
    """An op cannot read what it is given. `gives` is the shape that it would give all the same, as
    far as it is known, so that what follows can be looked at too."""

    def __init__(self, words: str, gives: Shape | None = None) -> None:
        super().__init__(words)
        self.gives = gives


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a module. `parameter` is Keras' name for it ('' where Keras has none); one that
    the original lacks is not `required` and holds `constant`."""

    name: str
    shape: tuple[int, ...]
    parameter: str = ""
    required: bool = True
    constant: float = 0.0


class Op(msgspec.Struct, frozen=True, tag_field="op", tag=str.lower):
    """One kind of layer with its settings; each is in a file of its own.

    An op says which tensors it has, what shape it gives for those that it reads, what of its
    settings cannot be, and which torch module computes it. Torch is imported by `module` and
    `compute` alone, so that a plan needs none.
    """

    fresh: ClassVar[bool] = False
    """Whether its result is a tensor of its own, which it does not need again for its gradient: an
    activation behind it may work in place."""

    arity: ClassVar[tuple[int, int]] = (1, 1)
    """The least and the greatest number of values that it reads."""

    elementwise: ClassVar[bool] = False
    """Whether it gives a number for each that it reads, made of that one alone (a norm makes it of
    a whole batch)."""

    @property
    def reads(self) -> int | None:
        """The channels of a map, or the numbers of a vector, that it reads; None for any."""
        return None

    def words(self) -> str:
        """Its kind and width, for a person."""
        return str(self.__struct_config__.tag)

    def tensors(self) -> tuple[Tensor, ...]:
        """Its tensors, in the order of its module's `state_dict`."""
        return ()

    def problems(self) -> Iterator[str]:
        """Settings that cannot be, in words that follow the layer's name."""
        yield from ()

    def shape(self, *inputs: Shape) -> Shape:
        """The shape of the result. Raises MisfitError for inputs that it cannot read."""
        return inputs[0]

    def module(self, *inputs: Shape) -> nn.Module:
        """A new torch module that computes it, for inputs of these shapes."""
        from resnet_pt.function import Function

        settings = msgspec.structs.asdict(self).items()
        words = ", ".join(f"{name}={value}" for name, value in settings)
        return Function(self.compute, type(self).__name__, words)

    def compute(self, *inputs: torch.Tensor) -> torch.Tensor:
        """The result of an op that is a plain function: one without a module of its own."""
        raise NotImplementedError

    def replace(self, **settings: Any) -> Self:
        """The same op with other settings."""
        return msgspec.structs.replace(self, **settings)


# ---- what several ops say of their settings


def weighed(shape: tuple[int, ...], outputs: int, bias: bool) -> tuple[Tensor, ...]:
    """A weight of a shape, which Keras calls a kernel, and a bias if there is one."""
    return (Tensor("weight", shape, "kernel"), *((Tensor("bias", (outputs,), "bias"),) * bias))


def grouped(inputs: int, outputs: int, groups: int) -> Iterator[str]:
    """Channels and groups of a convolution that cannot be."""
    wrong = list(sizes((inputs, outputs, groups), 1, MAX_CHANNELS))
    yield from wrong
    if not wrong and (inputs % groups or outputs % groups):
        yield f"has {groups} groups that do not divide its channels"


def sizes(numbers: Sequence[int], least: int, most: int) -> Iterator[str]:
    """Numbers of a shape or a window that are out of range; the first one is named."""
    for number in numbers:
        if not least <= number <= most:
            what = "is not positive" if number < 1 == least else f"is not from {least} to {most}"
            yield f"has a size that {what}: {shown(number)}"
            return


def finite(what: str, *values: float) -> Iterator[str]:
    """Numbers that are none of float32."""
    for value in values:
        if not math.isfinite(value) or abs(value) > MAX_FLOAT:
            yield f"has {what} {value}: it is no finite number of float32"


def shown(number: int | None) -> str:
    """A whole number of any length, for a message."""
    if number is None:
        return "an unknown number"
    return str(number) if abs(number) < 10**12 else "a number of more than 12 digits"


def short(text: str) -> str:
    """A name of any length, for a message."""
    return repr(text if len(text) <= 40 else f"{text[:40]}…")


def holds(found: Any, given: Any) -> bool:
    """Whether all that is `given` was found."""
    if isinstance(given, dict):
        return all(key in found and holds(found[key], value) for key, value in given.items())
    if isinstance(given, list):
        return len(found) == len(given) and all(map(holds, found, given))
    return bool(found == given)
