"""Channels, picked and put in another order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from resnet_pt.ops.protocol import MisfitError, Op, Shape, shown, sizes

if TYPE_CHECKING:
    from torch import nn

MAX_PICTURE_CHANNELS = 4096


class Channels(Op, frozen=True):
    """The channels with these numbers, in this order: (2, 1, 0) makes BGR of RGB, (0, 0, 0) a
    colour picture of a grey one."""

    picks: tuple[int, ...]

    def problems(self) -> Iterator[str]:
        yield from sizes((len(self.picks),), 1, MAX_PICTURE_CHANNELS)
        yield from sizes(self.picks, 0, MAX_PICTURE_CHANNELS - 1)

    def shape(self, *inputs: Shape) -> Shape:
        (value,) = inputs
        gives = (len(self.picks), *value[1:])
        if value[0] is not None and self.picks and max(self.picks) >= value[0]:
            words = f"reads channel {shown(max(self.picks))}, and {shown(value[0])} come"
            raise MisfitError(words, gives)
        return gives

    def module(self, *inputs: Shape) -> nn.Module:
        from resnet_pt import layers

        return layers.Channels(self.picks)
