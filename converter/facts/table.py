"""The facts about a network that its file may leave open: one table.

From it come the options (`converter.options`, `converter.cli.flags`), what an option does
(`converter.facts.user`), what a record tries (`converter.parity.settle`), the networks that a
comparison may not tell apart (`converter.parity.rivals`), and the table in the README.

What is set is set in this order: a padding after the stride that it depends on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from converter.facts import changes, words
from converter.facts import strides as s
from converter.facts.defaults import Defaults
from resnet_pt.architecture import ACTIVATIONS, Architecture
from resnet_pt.ops import Activation
from resnet_pt.preprocessing import MODES

Values = Sequence[Any]


def _any(value: Any) -> Any:
    return value


def _no_values(architecture: Architecture) -> Values:
    return ()


def _always(architecture: Architecture) -> str:
    return ""


def _nothing(architecture: Architecture, value: Any) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True)
class Row:
    """One fact.

    `option` is the field of `Options` that sets it. `read` and `set` are each other's inverse; a
    fact of how the file is read (flipped kernels, say), and not of the architecture, has neither.
    `tries` are the values that a record tries, `why_not` says why a network has no such fact, and
    `part_of` names the fact that shows this one, where it stands in no row of its own. An option
    takes one of `choices`, or a value of a `kind`, called `metavar`; `is_flag` for yes or no.
    """

    name: str
    option: str
    help: str
    described: str
    """What a record tries, in words."""
    choices: tuple[str, ...] = ()
    metavar: str = ""
    kind: type = str
    is_flag: bool = False
    parse: Callable[[Any], Any] = _any
    """An option's value, checked; ValueError says what it may be."""
    read: Callable[[Architecture], Any] | None = None
    set: Callable[[Architecture, Any, Defaults], Architecture] | None = None
    describe: Callable[[Architecture], str] | None = None
    """The fact in a person's words; without it, the value as the option takes it."""
    tries: Callable[[Architecture], Values] = _no_values
    why_not: Callable[[Architecture], str] = _always
    part_of: str = ""
    varies: Values = ()
    """The values in which code of one naming is known to differ: such facts are tried in all
    combinations where nothing else fits."""
    goes_with: Callable[[Architecture, Any], Mapping[str, Any]] = _nothing
    """What code changes with it, for a value that a record tries: tried too."""
    changes_nothing: str = ""
    """The fact that says so where a network has no such one: the option is not refused then."""

    @property
    def flag(self) -> str:
        """The option as a user writes it."""
        return f"--{self.option.replace('_', '-')}"

    def checked(self, value: Any) -> Any:
        """A value that an option is given; ValueError says what it may be."""
        if self.choices and value not in self.choices:
            raise ValueError(f"known are {', '.join(self.choices)}")
        return self.parse(value)

    def value(self, architecture: Architecture) -> str:
        """The value in words."""
        if self.describe:
            return self.describe(architecture)
        return text(self.read(architecture)) if self.read else ""

    def others(self, architecture: Architecture) -> list[Any]:
        """The values that a record tries beside the one that is there."""
        if self.why_not(architecture):
            return []
        now = self.read(architecture) if self.read else None
        return [value for value in self.tries(architecture) if value != now]


def text(value: Any) -> str:
    """A value as its option takes it."""
    if isinstance(value, float):
        return words.eps_text(value)
    return ",".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


# ---- what options take


def _epsilon(value: Any) -> float:
    eps = float(value)
    if not (math.isfinite(eps) and eps >= 0):
        raise ValueError("an epsilon is a number from 0 on")
    return eps


def _activation(value: Any) -> str:
    """A name, or leaky_relu with its slope: `leaky_relu:0.3`."""
    name, _, slope = str(value).partition(":")
    if name == "leaky_relu" and slope:
        if not math.isfinite(float(slope)):
            raise ValueError("a slope is a number")
        return f"leaky_relu:{float(slope):g}"
    if name not in BETWEEN_BLOCKS or slope:
        raise ValueError(f"known are {', '.join(BETWEEN_BLOCKS)}, leaky_relu:SLOPE")
    return name


def _head_activation(value: Any) -> str:
    if value not in ACTIVATIONS:
        raise ValueError(f"known are {', '.join(sorted(ACTIVATIONS))}")
    return str(value)


def _count(value: Any) -> int:
    count = int(value)
    if not 1 <= count <= LARGEST:
        raise ValueError(f"a whole number from 1 to {LARGEST}")
    return count


def _counts(value: Any) -> tuple[int, ...]:
    """One number for each stage: text with commas, or numbers."""
    return tuple(_count(one) for one in _listed(value))


def _ways(value: Any) -> tuple[str, ...]:
    """One word for all stages, or one for each, '-' for one in which nothing strides."""
    found = tuple(str(one) for one in _listed(value))
    if not set(found) <= {"even", "same", s.NOTHING}:
        raise ValueError("even or same for all stages, or a word for each (-,same,even,same)")
    return found


def _listed(value: Any) -> Sequence[Any]:
    if isinstance(value, str):
        return [one.strip() for one in value.split(",")]
    return value if isinstance(value, list | tuple) else [value]


LARGEST = 64

BETWEEN_BLOCKS = tuple(sorted(ACTIVATIONS - {"softmax"}))
"""What may stand between the blocks; leaky_relu has a slope beside its name."""


# ---- how they are set


def _set_activation(architecture: Architecture, value: str, defaults: Defaults) -> Architecture:
    name, _, slope = value.partition(":")
    return changes.with_activation(architecture, name, float(slope or 0))


def _read_activation(architecture: Architecture) -> str:
    slope = f":{architecture.slope:g}" if architecture.activation == "leaky_relu" else ""
    return f"{architecture.activation}{slope}"


def _set_pool_kind(architecture: Architecture, value: str, defaults: Defaults) -> Architecture:
    padding = defaults.pool if defaults.pool != "none" else "same"
    return changes.with_pool_kind(architecture, value, padding)


def _set_ways(architecture: Architecture, value: Values, defaults: Defaults) -> Architecture:
    return s.with_paddings(architecture, _for_stages(architecture, value))


def _set_dilations(architecture: Architecture, value: Values, defaults: Defaults) -> Architecture:
    return s.with_dilations(architecture, _for_stages(architecture, value))


def _set_strides(architecture: Architecture, value: Values, defaults: Defaults) -> Architecture:
    return s.with_stage_strides(architecture, _for_stages(architecture, value), defaults)


def _set_stride_on(architecture: Architecture, value: str, defaults: Defaults) -> Architecture:
    places = s.PLACES[len(architecture.stages[0][0].convs)]
    if value not in places:
        raise ValueError(f"the blocks of this network may stride on {' or '.join(places)}")
    return s.with_stride_on(architecture, value, defaults)


def _for_stages(architecture: Architecture, value: Values) -> Values:
    """One value for each stage; ValueError for another number of them."""
    stages = len(architecture.stages)
    if len(value) not in (1, stages):
        raise ValueError(f"the network has {stages} stages")
    return [*value] * (stages if len(value) == 1 else 1)


def hidden(architecture: Architecture) -> list[Activation]:
    """The activations behind the head's hidden layers."""
    return [layer.op for layer in architecture.head if isinstance(layer.op, Activation)]


def _read_head_activation(architecture: Architecture) -> str:
    return text(list(dict.fromkeys(op.name for op in hidden(architecture))))


def _set_head_activation(
    architecture: Architecture, value: str, defaults: Defaults
) -> Architecture:
    return changes.map_head(
        architecture, lambda op: Activation(value) if isinstance(op, Activation) else op
    )


# ---- what a record tries


def other_activations(name: str) -> list[str]:
    """Every other activation of maps; swish and silu are one."""
    same = {"swish", "silu"} if name in ("swish", "silu") else {name, "swish"}
    return sorted(ACTIVATIONS - same - {"softmax"})


def _tried_strides(architecture: Architecture) -> Values:
    """Each stage with another stride; all but the last stage; none behind the second (an output of
    an eighth)."""
    now = s.stage_strides(architecture)
    found = [
        (*now[:place], 1 if stride > 1 else 2, *now[place + 1 :])
        for place, stride in enumerate(now)
    ]
    count = len(now)
    whole = [(2,) * (count - 1) + (1,), (1,) + (2,) * (count - 1)]
    return list(dict.fromkeys([*found, *whole, tuple((now[:2] + (1,) * count)[:count])]))


def _dilated_instead(architecture: Architecture, strides: Values) -> Mapping[str, Any]:
    """The dilation that keeps what a stage reads where strides are given up: twice that of the
    stage before, for each."""
    found, amount = [], 1
    for before, after in zip(s.stage_strides(architecture), strides, strict=True):
        amount *= max(1, before // after)
        found.append(amount)
    return {"dilation": tuple(found)} if amount > 1 else {}


def _tried_ways(architecture: Architecture) -> Values:
    """Each stage padded otherwise, and all of them."""
    now = s.paddings(architecture)
    windows = [place for place, way in enumerate(now) if way != s.NOTHING]
    now = tuple(way if way in ("even", "same") else s.NOTHING for way in now)
    found = (
        tuple(way if n in places else one for n, one in enumerate(now))
        for places in (windows, *([place] for place in windows))
        for way in ("even", "same")
    )
    return list(dict.fromkeys(found))


def _tried_dilations(architecture: Architecture) -> Values:
    """Each stage dilated by 2, or by 4, or not at all; the last two by 2 and 4, as of an output of
    an eighth."""
    now = s.dilations(architecture)
    found = [
        (*now[:place], amount, *now[place + 1 :])
        for place in range(len(now))
        for amount in (1, 2, 4)
    ]
    if len(now) > 1:
        found.append((*now[:-2], 2, 4))
    return found


# ---- why a network has no such fact


def _no_pool(architecture: Architecture) -> str:
    if architecture.stem.pool is None:
        return "this network has no pool in its stem (--pool-kind max sets one there)"
    return ""


def _no_flatten(architecture: Architecture) -> str:
    is_flat = changes.flatten_order(architecture) is not None
    return "" if is_flat else "this network has no Flatten"


def _no_hidden(architecture: Architecture) -> str:
    return "" if hidden(architecture) else "this network has no hidden Dense layer"


def _no_stride(architecture: Architecture) -> str:
    return "" if max(s.stage_strides(architecture)) > 1 else "no block of this network strides"


def _one_block(architecture: Architecture) -> str:
    if all(len(stage) == 1 for stage in architecture.stages):
        return "each stage of this network has one block"
    return _no_stride(architecture)


def _no_window(architecture: Architecture) -> str:
    if set(s.paddings(architecture)) == {s.NOTHING}:
        return "no window of 3x3 strides in a block of this network"
    return ""


def _no_preactivation(architecture: Architecture) -> str:
    if changes.shortcut_source(architecture) is None:
        return "this network has no pre-activated block with a projection"
    return ""


POOLS = tuple(changes.POOL_PADDINGS)

TABLE: tuple[Row, ...] = (
    Row(
        name="epsilon",
        option="bn_eps",
        help="Epsilon of batch normalisation.",
        described="1e-3, 1e-5, 1.001e-5, 1e-6",
        metavar="FLOAT",
        kind=float,
        parse=_epsilon,
        read=lambda a: _single({norm.eps for norm in changes.norms(a)}),
        set=lambda a, value, _: changes.with_eps(a, value),
        describe=words.describe_eps,
        tries=lambda a: (1e-3, 1e-5, 1.001e-5, 1e-6),
        varies=(1e-3, 1e-5, 1.001e-5, 1e-6),
    ),
    Row(
        name="activation",
        option="activation",
        help="The activation between the layers; leaky_relu:SLOPE has its slope.",
        described="every other function",
        metavar="NAME",
        parse=_activation,
        read=_read_activation,
        set=_set_activation,
        describe=words.describe_activation,
        tries=lambda a: other_activations(a.activation),
    ),
    Row(
        name="stem stride",
        option="stem_stride",
        help="By how much the stem shrinks the picture.",
        described="1, 2",
        metavar="N",
        kind=int,
        parse=_count,
        read=changes.stem_stride,
        set=lambda a, value, _: changes.with_stem_stride(a, value),
        tries=lambda a: (1, 2),
        part_of="stride",
    ),
    Row(
        name="stem",
        option="stem",
        help="Padding of the stem's first convolution.",
        described="pad, same, valid",
        choices=("pad", "same", "valid"),
        read=changes.stem_padding,
        set=lambda a, value, _: changes.with_stem(a, value),
        describe=words.describe_stem,
        tries=lambda a: ("pad", "same", "valid"),
        varies=("pad", "same"),
    ),
    Row(
        name="pool kind",
        option="pool_kind",
        help="The pool behind the stem.",
        described="max, average, none",
        choices=("max", "average", "none"),
        read=changes.pool_kind,
        set=_set_pool_kind,
        tries=lambda a: ("max", "average", "none"),
        part_of="amounts",
    ),
    Row(
        name="pool window",
        option="pool_window",
        help="The size of the window of the stem's pool.",
        described="2, 3",
        metavar="N",
        kind=int,
        parse=_count,
        read=lambda a: a.stem.pool.kernel[0] if a.stem.pool else None,
        set=lambda a, value, _: changes.with_pool_window(a, value),
        tries=lambda a: (2, 3),
        why_not=_no_pool,
        part_of="amounts",
    ),
    Row(
        name="pool stride",
        option="pool_stride",
        help="By how much the stem's pool shrinks the map.",
        described="1, 2",
        metavar="N",
        kind=int,
        parse=_count,
        read=lambda a: a.stem.pool.stride[0] if a.stem.pool else None,
        set=lambda a, value, _: changes.with_pool_stride(a, value),
        tries=lambda a: (1, 2),
        why_not=_no_pool,
        part_of="stride",
    ),
    Row(
        name="pool",
        option="pool",
        help="Padding of the stem's pool: none, zeros, TensorFlow's 'same', or torch's, nothing "
        "around the map.",
        described="valid, zero, same, inf",
        choices=POOLS,
        read=changes.pool_padding,
        set=lambda a, value, _: changes.with_pool(a, value),
        describe=words.describe_pool,
        tries=lambda a: ("valid", "same") if changes.pool_kind(a) == "average" else POOLS,
        why_not=_no_pool,
        varies=("valid", "zero", "same"),
    ),
    Row(
        name="stage strides",
        option="stage_strides",
        help="By how much each stage shrinks the map, as 1,2,2,2.",
        described="each stage otherwise; all but the last; none behind the second",
        metavar="N,N,…",
        parse=_counts,
        read=s.stage_strides,
        set=_set_strides,
        tries=_tried_strides,
        goes_with=_dilated_instead,
        part_of="stride",
    ),
    Row(
        name="stride in",
        option="stride_in",
        help="The block of a stage that strides.",
        described="first, last",
        choices=("first", "last"),
        read=s.stride_in,
        set=lambda a, value, defaults: s.with_stride_in(a, value, defaults),
        tries=lambda a: ("first", "last"),
        why_not=_one_block,
        part_of="stride",
    ),
    Row(
        name="stride on",
        option="stride_on",
        help="The convolution that strides: 1x1 or 3x3 of bottlenecks, first or second of basic "
        "blocks.",
        described="1x1, 3x3 (basic blocks: first, second)",
        choices=("1x1", "3x3", "first", "second"),
        read=s.stride_on,
        set=_set_stride_on,
        tries=lambda a: s.PLACES[len(a.stages[0][0].convs)],
        why_not=_no_stride,
        part_of="stride",
        varies=("1x1", "3x3", "first", "second"),
    ),
    Row(
        name="dilation",
        option="dilation",
        help="Dilation of each stage's windows, as 1,1,2,4.",
        described="2 or 4 of each stage, and of the last two; none",
        metavar="N,N,…",
        parse=_counts,
        read=s.dilations,
        set=_set_dilations,
        tries=_tried_dilations,
        part_of="amounts",
    ),
    Row(
        name="padding",
        option="padding",
        help="Padding of strided windows in the blocks: even on all sides, or TensorFlow's same; "
        "stage by stage as -,same,even,same.",
        described="even, same, of all stages and of each",
        metavar="WAY",
        parse=_ways,
        read=s.paddings,
        set=_set_ways,
        describe=words.describe_paddings,
        tries=_tried_ways,
        why_not=_no_window,
        varies=(("even",), ("same",)),
    ),
    Row(
        name="shortcut",
        option="shortcut_on",
        help="What the projection of a pre-activated block reads: its input, or that after its "
        "first norm and activation.",
        described="input, preactivation",
        choices=("input", "preactivation"),
        read=changes.shortcut_source,
        set=lambda a, value, _: changes.with_shortcut_source(a, value),
        tries=lambda a: ("input", "preactivation"),
        why_not=_no_preactivation,
        part_of="amounts",
    ),
    Row(
        name="flipped",
        option="theano_kernels",
        help="Whether kernels are flipped, as Theano's convolution needs them.",
        described="yes, no",
        is_flag=True,
        kind=bool,
        tries=lambda a: (False, True),
        varies=(False, True),
    ),
    Row(
        name="running_std",
        option="running_std",
        help="What `running_std` holds (a standard deviation before Keras 1.0.6).",
        described="variance, std",
        choices=("variance", "std"),
        tries=lambda a: ("variance", "std"),
        varies=("variance", "std"),
    ),
    Row(
        name="flatten",
        option="flatten",
        help="The order in which a Flatten writes a map.",
        described="channels-last, channels-first",
        choices=tuple(changes.FLATTEN),
        read=changes.flatten_order,
        set=lambda a, value, _: changes.with_flatten(a, value),
        tries=lambda a: tuple(changes.FLATTEN),
        why_not=_no_flatten,
        varies=tuple(changes.FLATTEN),
    ),
    Row(
        name="head activation",
        option="head_activation",
        help="The activation behind hidden Dense layers.",
        described="every other function",
        metavar="NAME",
        parse=_head_activation,
        read=_read_head_activation,
        set=_set_head_activation,
        tries=lambda a: other_activations(_read_head_activation(a)),
        why_not=_no_hidden,
        changes_nothing="head",
    ),
    Row(
        name="network",
        option="network",
        help="Whose naming or order of layers the weights follow (README, 'Which files').",
        described="the others that fit the file",
        metavar="NAME",
    ),
    Row(
        name="preprocessing",
        option="preprocess",
        help="What the project did to its pictures; recorded, not part of the network.",
        described="nothing: it is no part of the network",
        choices=tuple(MODES),
        read=lambda a: a.preprocessing,
        set=lambda a, value, _: replace(a, preprocessing=value),
    ),
)


def _single(values: set[float]) -> float | None:
    return next(iter(values)) if len(values) == 1 else None


BY_NAME: Mapping[str, Row] = MappingProxyType({row.name: row for row in TABLE})


PARTS: Mapping[str, tuple[Row, ...]] = MappingProxyType(
    {
        name: tuple(row for row in TABLE if row.part_of == name)
        for name in dict.fromkeys(row.part_of for row in TABLE if row.part_of)
    }
)
"""`{fact that shows several: those}`."""

SEVERAL: Mapping[str, Callable[[Architecture], str]] = MappingProxyType(
    {
        "stride": words.describe_stride,
        "amounts": words.describe_amounts,
        "head": lambda a: words.describe_head(a.head),
    }
)
"""Those facts in words."""


def described(name: str, architecture: Architecture) -> str:
    """A fact of an architecture in a person's words; '' for one of another kind."""
    if name in SEVERAL:
        return SEVERAL[name](architecture)
    return BY_NAME[name].value(architecture) if name in BY_NAME else ""


Changes = Mapping[str, Any]
"""`{fact: another value}`."""


def changed(architecture: Architecture, changes: Changes, defaults: Defaults) -> Architecture:
    """The same network with other facts, set in the order of the table."""
    for row in TABLE:
        if row.name in changes and row.set:
            architecture = row.set(architecture, changes[row.name], defaults)
    return architecture


def single_changes(architecture: Architecture, defaults: Defaults, name: str) -> Iterator[Changes]:
    """Every value of a fact that a record tries. A change that makes a place for another fact (a
    stride on a 3x3 has a padding) is tried with each of its values too."""
    row = BY_NAME[name]
    for value in row.others(architecture):
        yield {name: value}
        if row.set is None:
            continue
        together = row.goes_with(architecture, value)
        if together:
            yield {name: value, **together}
        other = row.set(architecture, value, defaults)
        for new in TABLE:
            if new.set and new.why_not(architecture) and not new.why_not(other):
                yield from ({name: value, new.name: more} for more in new.others(other))
