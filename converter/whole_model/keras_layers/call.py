"""One call of one layer: what a lifting is told, and the layers of the program that it adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from converter.files.kinds import truth
from converter.files.model_config import Config
from converter.mapping.transforms import Transform
from converter.whole_model.ranges import window
from resnet_pt.ops import MisfitError, Op, Permute, Reshape, Shape
from resnet_pt.program import Layer

MAP = 3
"""From so many axes behind the batch on, a value has its channels second."""


class NotLiftedError(Exception):
    """A layer, or a setting of one, that is not understood; the text says why."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value of the program: its shape behind the batch as it lies here, and whether its channels
    come last in Keras. Those of a map then come second here; all else lies as in Keras."""

    name: str
    shape: Shape
    last: bool = True

    @property
    def rank(self) -> int:
        """Its axes behind the batch."""
        return len(self.shape)

    @property
    def is_moved(self) -> bool:
        """Whether its last axis in Keras is the second here."""
        return self.last and self.rank >= MAP

    @property
    def in_keras(self) -> Shape:
        """Its shape behind the batch as Keras has it."""
        return (*self.shape[1:], self.shape[0]) if self.is_moved else self.shape

    def axis(self, number: Any) -> int:
        """Where one of Keras' axes is here, behind the batch, from 0; Keras counts the batch."""
        if type(number) is not int or not -self.rank <= number <= self.rank or number == 0:
            raise NotLiftedError(f"it works on axis {number} of {self.rank + 1}")
        place = number - 1 if number > 0 else number + self.rank
        return self.here(place)

    def here(self, place: int) -> int:
        """The same for an axis behind the batch, from 0."""
        if not self.is_moved:
            return place
        return 0 if place == self.rank - 1 else place + 1

    def there(self, place: int) -> int:
        """Where an axis that is `place` here is in Keras; both are behind the batch, from 0."""
        if not self.is_moved:
            return place
        return self.rank - 1 if place == 0 else place - 1


@dataclass(frozen=True, slots=True)
class From:
    """Where a tensor comes from: Keras' name of the array, and what is done to it. `path` is that
    of the very array, where its layer's class does not say how its arrays are called."""

    parameter: str
    transforms: tuple[Transform, ...] = ()
    path: str = ""


@dataclass(frozen=True, slots=True)
class Era:
    """What of a file's Keras its layers depend on: the version as numbers, as it is written, and
    whether its backend was Theano."""

    version: tuple[int, ...]
    text: str = ""
    theano: bool = False

    @property
    def major(self) -> int:
        return self.version[0] if self.version else 0


@dataclass
class Call:
    """`values` are what the layer reads, `arguments` what was passed beside them, `module` the
    path of its module. `add` gives a layer to the program."""

    class_name: str
    layer: str
    config: Config
    values: tuple[Value, ...]
    module: str
    id: str
    era: Era
    arguments: Any = None
    channels_first: bool = False
    layers: list[Layer] = field(default_factory=list)
    weights: dict[str, From] = field(default_factory=dict)
    known: Mapping[str, Lifting] = field(default_factory=dict)
    """Every class that is understood, for a layer that holds another one."""

    @property
    def value(self) -> Value:
        """The only value that it reads."""
        if len(self.values) != 1:
            raise NotLiftedError(f"it reads {len(self.values)} values")
        return self.values[0]

    def add(
        self,
        op: Op,
        *values: Value,
        part: str = "",
        weights: Mapping[str, From] | None = None,
        last: bool | None = None,
        plain: bool = False,
    ) -> Value:
        """A layer that reads `values`; `part` is the name of its module beside others of the same
        Keras layer ('.depthwise' within it), '' the one that has its name. A `plain` one is a
        function without a module. `last` says where the channels of what it gives are in Keras, if
        not where they are in what it reads first."""
        module = f"{self.module.rpartition('.')[0]}." if plain else f"{self.module}{part}"
        module = module if module != "." else ""
        try:
            shape = op.shape(*(value.shape for value in values))
        except MisfitError as error:
            raise NotLiftedError(f"it {error}") from error
        name = f"{self.id}/{len(self.layers)}" if self.layers else self.id
        names = tuple(value.name for value in values)
        self.layers.append(Layer(name, op, names, module, self.layer))
        for tensor, source in (weights or {}).items():
            self.weights[f"{module}.{tensor}"] = source
        return Value(name, shape, values[0].last if last is None else last)

    def turned(self, value: Value, last: bool) -> Value:
        """A value with its channels where a layer wants them in Keras."""
        if value.rank < MAP or value.last == last:
            return replace_last(value, last)
        rest = tuple(range(value.rank - 1))
        axes = (*(one + 1 for one in rest), 0) if value.last else (value.rank - 1, *rest)
        return self.add(Permute(axes), value, plain=True, last=last)

    def of_rank(self, value: Value, rank: int, last: bool) -> Value:
        """A value with axes of length 1 behind the batch, up to `rank` of them."""
        if value.rank == rank:
            return self.turned(value, last)
        missing = rank - value.rank
        target = (*(1,) * missing, *(-1 if side is None else side for side in value.in_keras))
        if target.count(-1) > 1:
            raise NotLiftedError(f"it joins values of {value.rank} and {rank} axes")
        moves = rank >= MAP and last
        op = Reshape(target, read_last=value.is_moved, given_last=moves)
        return self.add(op, value, plain=True, last=last)

    # ---- settings

    def first(self, *keys: str) -> Any:
        """The value under the first of `keys` that is there: Keras 2 renamed Keras 1's."""
        for key in keys:
            if self.config.get(key) is not None:
                return self.config[key]
        raise NotLiftedError(f"its {keys[0]} is not in its configuration")

    def flag(self, *keys: str, default: bool) -> bool:
        """A setting that is on or off."""
        for key in keys:
            if key in self.config:
                return truth(self.config[key], key)
        return default

    def numbers(
        self, value: Any, axes: int, what: str, held: Callable[[Any, str], int] = window
    ) -> tuple[int, ...]:
        """One number for all axes, or one for each."""
        if isinstance(value, list | tuple):
            if len(value) == 1:
                value = list(value) * axes
            if len(value) != axes:
                raise NotLiftedError(f"its {what} has {len(value)} numbers for {axes} axes")
            return tuple(held(one, what) for one in value)
        return (held(value, what),) * axes

    def is_last(self) -> bool:
        """Whether the layer works on channels that come last."""
        said = self.config.get("data_format", self.config.get("dim_ordering"))
        if said in (None, "default"):
            return not self.channels_first
        return said not in ("channels_first", "th")

    def map(self, axes: int) -> Value:
        """What it reads, with its channels where it wants them; so many axes beside these."""
        value, last = self.value, self.is_last()
        if value.rank != axes + 1:
            raise NotLiftedError(
                f"it reads {axes + 1} axes behind the batch, and {value.rank} come"
            )
        if axes == 1 and not last:
            raise NotLiftedError("it reads a sequence whose channels come first")
        return self.turned(value, last)


def replace_last(value: Value, last: bool) -> Value:
    return Value(value.name, value.shape, last)


def depth(value: Value) -> int:
    """The channels of a map, or of a sequence."""
    found = value.shape[0] if value.rank >= MAP or value.rank == 1 else value.shape[-1]
    if found is None:
        raise NotLiftedError("how many channels it reads is not in the configuration")
    return found


def same_rank(call: Call, values: Sequence[Value]) -> tuple[list[Value], int, bool]:
    """Values with as many axes as the one that has most, as Keras' joining layers take them."""
    rank = max(value.rank for value in values)
    widest = next(value for value in values if value.rank == rank)
    return [call.of_rank(value, rank, widest.last) for value in values], rank, widest.last


Lifting = Callable[[Call], Value]
