"""The list of layers in a file of weights, and where those without weights stand to its network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from converter.files.auto_names import auto_name
from converter.files.checkpoint import Checkpoint
from converter.weights_only import weightless
from converter.weights_only.match import Match


@dataclass(frozen=True)
class Listing:
    """A file's list of layers as a naming reads it.

    A network that is a layer of another model may be one entry of the list, the group `base`; then
    only its weights are told. A container without order tells classes and groups of layers, so
    that `front` and `behind` are empty.
    """

    checkpoint: Checkpoint
    match: Match

    @cached_property
    def weighted(self) -> frozenset[str]:
        """The entries that have weights, of their own or of layers within them."""
        return frozenset(weight.group for weight in self.checkpoint.weights)

    @cached_property
    def base(self) -> str:
        """The group that holds the network, where that is a layer of another model; else ''."""
        stem = self.match.modules[self.match.dialect.stem]
        weight = next(one for one in self.checkpoint.weights if one.layer == stem)
        if self.checkpoint.is_ordered:
            return weight.group if weight.group != stem else ""
        *groups, _layer, _vars, _number = weight.path.split("/")
        return "/".join(groups)

    @cached_property
    def is_complete(self) -> bool:
        """Whether the file lists, in order, all the layers of its network by themselves, and some
        without weights. A detector lists those of its other parts among them; Keras 0 names none.
        """
        return (
            self.checkpoint.is_ordered
            and not self.match.left_out
            and self.checkpoint.version() != (0,)
            and set(self.match.modules.values()) <= set(self.checkpoint.layers)
            and not self.weighted.issuperset(self.checkpoint.layers)
        )

    @cached_property
    def _own(self) -> Sequence[int]:
        """The places in the list of what holds the network's weights."""
        body = set(self.match.modules.values())
        groups = {one.group for one in self.checkpoint.weights if one.layer in body}
        return [place for place, one in enumerate(self.checkpoint.layers) if one in groups]

    @property
    def front(self) -> Sequence[str]:
        """The entries before the network, nested or not."""
        return self.checkpoint.layers[: self._own[0]] if self.checkpoint.is_ordered else ()

    @property
    def behind(self) -> Sequence[str]:
        """The entries behind the network's last layer with weights, nested or not."""
        return self.checkpoint.layers[self._own[-1] + 1 :] if self.checkpoint.is_ordered else ()

    @cached_property
    def inside(self) -> tuple[str, ...]:
        """The layers without weights between the network's own; a nested one's are not listed.
        Where the file keeps no order, those of the network's group."""
        if not self.checkpoint.is_ordered:
            return tuple(one for one in self.checkpoint.kinds if one not in self.outside)
        body = set(self.match.modules.values())
        places = [place for place, one in enumerate(self.checkpoint.layers) if one in body]
        listed = self.checkpoint.layers[places[0] : places[-1]] if places else ()
        return tuple(one for one in listed if one not in self.weighted)

    @cached_property
    def outside(self) -> tuple[str, ...]:
        """The layers without weights that are not of the network's group, where the container
        tells groups."""
        homes = self.checkpoint.homes.items()
        return tuple(one for one, home in homes if not f"{home}/".startswith(f"{self.base}/"))

    def kinds(self, layer: str) -> frozenset[str]:
        """What a layer without weights can be; () for one that computes what no weights tell."""
        return weightless.kinds(self.checkpoint, self.match.dialect, layer)

    def class_of(self, layer: str) -> str:
        """The class of a layer without weights, in snake case, or its name without the number."""
        return self.checkpoint.kinds.get(layer, auto_name(layer))

    def of_classes(self, classes: frozenset[str]) -> list[str]:
        """The layers of some classes, where the container tells classes."""
        return [one for one, found in self.checkpoint.kinds.items() if found in classes]

    def beyond(self, classes: frozenset[str], most: int) -> tuple[str, ...]:
        """Those of some classes that a network has `most` times, where there are more: the ones
        that Keras named, if the network's have names of their own, else the last ones."""
        found = self.of_classes(classes)
        unnamed = [one for one in found if auto_name(one) in classes]
        extra = len(found) - most
        if extra <= 0:
            return ()
        return tuple(unnamed if len(unnamed) == extra else found[-extra:])
