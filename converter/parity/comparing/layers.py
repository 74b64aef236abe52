"""Layer by layer: how far each one is from the original's, as the network runs and alone.

The cumulative error of a layer holds the errors of all layers before it. Its own error does not:
in one more run every layer's result is replaced by the original's before the next layer reads
it, so that each layer is judged on what the original's was fed. A layer that is wrong shows there,
and only there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from converter.files.checkpoint import Array
from converter.parity.comparing.compare import (
    LAYER_GATES,
    OWN_GATES,
    Difference,
    as_array,
    difference,
)
from converter.parity.comparing.rounding import share
from converter.parity.original.recording import Pass, Sample
from converter.parity.original.sampling import spread
from resnet_pt.architecture import Architecture, GlobalPool, Pool
from resnet_pt.lower import lower
from resnet_pt.program import Program
from resnet_pt.tensors import head_modules

if TYPE_CHECKING:
    from torch import Tensor

    from converter.network import Lifted, Structure
    from converter.parity.comparing.torch_run import Results


NOISE_SAMPLES = 1024
"""Elements of a layer that its noise is measured on."""

NOISE_MARGIN = 32
"""How many times its own measured noise a layer of a float32 record may be off, before it is the
first to be blamed for logits that differ. Another library rounds in another order: seen up to 4
times, on fixtures of 14 versions of Keras."""

LEAST_GATE = 3e-6

STEM_POOL = "the max-pool of the stem"
"""What the stem's pool is called where the file that was converted does not name it."""


@dataclass(frozen=True, slots=True)
class LayerError:
    """One layer of the original, and the torch `module` that stands for it.

    `cumulative` compares the networks as they run. `own` compares this layer alone, fed the
    original's input; None where the original's input is not known whole. `noise` is what rounding
    alone did to this layer in this run, relative to its largest value. `is_last` is a layer that
    is known by the logits only. `largest` is its largest value in the converted network, and
    `pictures` how far the worst known element of each picture is off, `{number: absolute}`.
    `unheld` are the layers just before it that the original's side does not hold: what they get
    wrong shows here first. `rounding` is what may be off of logits that are near 0, relative to the
    largest of them.
    """

    module: str
    cumulative: Difference
    own: Difference | None
    noise: float
    dtype: str
    is_last: bool = False
    largest: float = 0.0
    pictures: Mapping[int, float] = field(default_factory=dict)
    unheld: tuple[str, ...] = ()
    rounding: float = 0.0

    @property
    def name(self) -> str:
        """The Keras layer."""
        return self.cumulative.name

    @property
    def relative(self) -> float:
        """The cumulative error, relative to the layer's largest value."""
        return self.cumulative.relative

    @property
    def gate(self) -> float:
        """The largest cumulative error that is no sign of a fault."""
        if self.dtype == "float64":
            return LAYER_GATES["float64"]
        noise = max(LEAST_GATE, NOISE_MARGIN * self.noise, self.rounding)
        return min(LAYER_GATES["float32"], noise)

    @property
    def is_alone(self) -> bool:
        """Whether its own error is its own only: what it reads is the original's, known whole."""
        return self.own is not None and not self.unheld

    @property
    def running_passes(self) -> bool:
        """Whether the cumulative error is no proof of a fault: it is held against the largest of
        all values in the converted network too, since the known ones may all be small."""
        if self.is_last:  # the logits have a gate of their own
            return True
        scale = max(self.largest, self._largest_known)
        return self.cumulative.absolute <= self.gate * scale

    @property
    def _largest_known(self) -> float:
        relative = self.cumulative.relative
        return self.cumulative.absolute / relative if 0 < relative < np.inf else 0.0

    def late(self) -> set[int]:
        """The pictures on which the cumulative error is above its gate."""
        if not np.isfinite(self.cumulative.absolute):
            return set(self.pictures)
        allowed = self.gate * self._largest_known
        return {number for number, apart in self.pictures.items() if apart > allowed}

    @property
    def own_gate(self) -> float:
        return max(OWN_GATES[self.dtype], self.rounding)

    @property
    def own_passes(self) -> bool:
        return self.own is None or self.own.relative <= self.own_gate

    @property
    def passes(self) -> bool:
        """The own error decides where there is one: the layer is not to blame for its inputs."""
        if self.own is not None:
            return self.own_passes
        return self.relative <= self.gate

    @property
    def alone(self) -> Difference | None:
        """Its own error, where that is its own only."""
        return self.own if self.is_alone else None

    @property
    def doubt(self) -> str:
        """Why the fault may be before this layer, if it is the first that fails; '' if it is its
        own."""
        if self.unheld:
            shown, more = ", ".join(self.unheld[:3]), len(self.unheld) - 3
            others = f"{shown} and {more} more" if more > 0 else shown
            return f"or it is before it, in {others}: not recorded"
        if self.own is None:
            return "what it reads is known by samples only, and may be wrong too"
        return ""

    def __str__(self) -> str:
        if self.doubt:
            return f"{self.own or self.cumulative}; {self.doubt}"
        return f"{self.own}, fed the original's input"


def description(model: Any) -> Architecture | Program | None:
    """What a network says of itself; None for one that says nothing."""
    found = getattr(model, "architecture", None) or getattr(model, "program", None)
    return found if isinstance(found, Architecture | Program) else None


def compared(structure: Structure | Lifted) -> dict[str, str]:
    """`{torch module: Keras layer}` for every module whose output is held against the original's:
    those of the structure, and the pools of the head."""
    if not hasattr(structure, "architecture"):
        return dict(structure.outputs)
    found = dict(structure.outputs)
    for layer in lower(structure.architecture).layers:
        if layer.original and isinstance(layer.op, GlobalPool | Pool):
            found[layer.module] = layer.original
    # A norm with a Scale behind it is judged by what comes out of both.
    return {module: layer for module, layer in found.items() if f"{module}.scale" not in found}


def with_stem_pool(model: Any, outputs: Mapping[str, str]) -> dict[str, str]:
    """`{module: layer}`, with a stem's pool that no layer is known for, as in a file of weights:
    what it gets wrong shows in the layer that reads it, and is not that layer's."""
    if isinstance(description(model), Program):
        return dict(outputs)
    nameless = bool(outputs) and hasattr(model, "maxpool") and "maxpool" not in outputs
    return {**outputs, "maxpool": STEM_POOL} if nameless else dict(outputs)


class Watch:
    """Runs of one network, looked at: each method is told a module's result as it comes."""

    def __init__(self, one: Pass) -> None:
        self.one = one
        self.modules: dict[str, str] = {}
        self.last: set[str] = set()
        self.cumulative: dict[str, Difference] = {}
        self.own: dict[str, Difference] = {}
        self.noise: dict[str, float] = {}
        self.largest: dict[str, float] = {}
        self.pictures: dict[str, dict[int, float]] = {}
        self.unheld: dict[str, tuple[str, ...]] = {}
        self.near_zero: dict[str, float] = {}
        self._passed: dict[str, None] = {}
        self._unknown: set[str] = set()
        self._glimpses: dict[str, tuple[Array, float]] = {}

    def running(self, module: str, layer: str, inputs: Any, result: Tensor) -> None:
        """As the network runs; told of every module that has a layer."""
        layer = self.called(layer, result)
        if layer not in self.one.layers:
            self._passed[layer] = None
            return
        self.unheld[layer], self._passed = tuple(self._passed), {}
        actual = as_array(result)
        sample = self.one.layers[layer]
        self.modules[layer] = module
        self.cumulative[layer] = difference(layer, sample.of(actual), sample.value)
        self.pictures[layer] = by_picture(actual, sample)
        self.largest[layer] = float(np.abs(actual).max(initial=0.0))
        largest = float(np.abs(actual[:1]).max(initial=0.0))
        self._glimpses[layer] = (glimpse(actual), largest)

    def wanted(self, look: Any, outputs: Mapping[str, str]) -> Collection[str]:
        """The layers that `look`, one of this watch's methods or None, has to be told of."""
        if look is None:
            return ()
        return set(outputs.values()) if look == self.running else self.one.known

    def called(self, layer: str, result: Tensor) -> str:
        """The original's call of a layer: of one that is called several times, that which gave
        what is nearest to `result`. Its calls may come in another order there; what a wrong layer
        gives is near none of them."""
        names = self.one.calls.get(layer)
        if not names:
            return layer
        actual = as_array(result)
        return min(names, key=lambda name: apart(actual, self.one.layers[name]))

    def rounding(self, module: str, layer: str, inputs: Any, result: Tensor) -> None:
        """The first picture once more, with other rounding."""
        layer = self.called(layer, result)
        if layer not in self._glimpses:
            return
        before, largest = self._glimpses[layer]
        apart = float(np.abs(glimpse(as_array(result)) - before).max(initial=0.0))
        self.noise[layer] = apart / largest if largest else 0.0

    def alone(self, module: str, layer: str, inputs: Any, result: Tensor) -> Tensor:
        """The first picture, each layer fed the original's: returns what the next layers read."""
        layer = self.called(layer, result)
        sample = self.one.layers[layer]
        known_within = not any(one.startswith(f"{module}.") for one in self._unknown)
        if known_within and all(is_known(x) for x in inputs):
            actual, expected = first_picture(as_array(result), sample)
            if expected.size:
                self.own[layer] = difference(layer, actual, expected)
        if not sample.is_whole:
            self._unknown.add(module)
        return original(sample, result)

    def finishing(self, model: Any, outputs: Mapping[str, str], results: Results) -> None:
        """The run is done: logits are the result of a last layer whose own activation hides it."""
        for output, (module, layer) in last_modules(model, outputs).items():
            if output in self.one.logits:
                expected = self.one.logits[output]
                self.near_zero[layer] = share(results.sums[output], expected, self.one.dtype)
            if layer not in self.modules and output in results and output in self.one.logits:
                expected = self.one.logits[output]
                self.modules[layer] = module
                self.last.add(layer)
                self.unheld[layer] = tuple(self._passed)
                self.cumulative[layer] = difference(layer, results[output], expected)
                whole = Sample(None, expected.ravel(), expected.shape)
                self.pictures[layer] = by_picture(results[output], whole)

    def finishing_alone(
        self, model: Any, outputs: Mapping[str, str], results: Mapping[str, Array]
    ) -> None:
        """The same, for the run in which each layer was fed the original's."""
        for output, (_, layer) in last_modules(model, outputs).items():
            if layer in self.last and not np.isnan(results[output]).any():
                expected = self.one.logits[output][:1]
                self.own[layer] = difference(layer, results[output], expected)

    def errors(self) -> tuple[LayerError, ...]:
        """Every layer, in the order of running."""
        return tuple(
            LayerError(
                self.modules[layer],
                cumulative,
                self.own.get(layer),
                self.noise.get(layer, 0.0),
                self.one.dtype,
                layer in self.last,
                self.largest.get(layer, 0.0),
                self.pictures[layer],
                self.unheld.get(layer, ()),
                self.near_zero.get(layer, 0.0),
            )
            for layer, cumulative in self.cumulative.items()
        )


def apart(actual: Array, sample: Sample) -> float:
    """How far the worst known element is off; infinite for another shape."""
    return max(by_picture(actual, sample).values(), default=np.inf)


def by_picture(actual: Array, sample: Sample) -> dict[int, float]:
    """`{number: absolute}`: how far the worst known element of each picture is off."""
    apart = np.abs(sample.of(actual).astype(np.float64) - sample.value)
    apart[~np.isfinite(apart)] = np.inf
    if sample.index is None:
        return dict(enumerate(apart.reshape(sample.shape[0], -1).max(1).tolist()))
    picture = sample.index // max(1, actual[0].size)
    return {int(n): float(apart[picture == n].max()) for n in np.unique(picture)}


def first_picture(actual: Array, sample: Sample) -> tuple[Array, Array]:
    """(an activation of the first picture, the original's), flat, where the original's is known."""
    if sample.index is None:
        first = Sample(None, sample.first().ravel(), (1, *sample.shape[1:]))
        return first.of(actual), first.value
    inside = sample.index < actual.size
    return actual.ravel()[sample.index[inside]], sample.value[inside]


def original(sample: Sample, result: Tensor) -> Tensor:
    """The original's activation in the place of `result`; NaN where it is not known whole, so
    that what is computed from it is known to be unknown."""
    import torch

    if not sample.is_whole:
        return torch.full_like(result, torch.nan)
    values = torch.from_numpy(np.array(sample.first())).to(result)
    if values.dim() >= 4:
        values = values.movedim(-1, 1).contiguous()
    return values.reshape(result.shape) if values.numel() == result.numel() else values


def is_known(x: Any) -> bool:
    return not bool(x.isnan().any())


def glimpse(activation: Array) -> Array:
    """Some elements of the first picture's activation, all over it."""
    flat = activation[:1].ravel()
    return flat[spread(flat.size, NOISE_SAMPLES)].astype(np.float64)


def first_wrong(layers: tuple[LayerError, ...]) -> LayerError | None:
    """The layer to blame: the first that fails alone, or, where what it was fed is not known, as
    the network runs. None where no layer before it is known on the pictures that differ: any of
    them may be at fault."""
    blamed = [one for one in layers if not one.passes]
    late = [one for one in layers if one.relative > one.gate]
    found = next(iter(blamed or late), None)
    if found is None or not found.own_passes:
        return found
    before = layers[: layers.index(found)]
    places = found.late()
    known = all(places & one.pictures.keys() for one in before)
    return found if known else None


def last_modules(model: Any, outputs: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """`{output: (module, Keras layer)}` for the layers of the head that compute logits; the only
    output is ''. A headless network, and one that says nothing of itself, has none."""
    architecture = description(model)
    if isinstance(architecture, Program):
        return _last_of_program(architecture)
    if architecture is None:
        return {}
    modules = head_modules(architecture)
    single = len(architecture.outputs) == 1
    return {
        "" if single else output.name: (
            modules[output.layer],
            outputs.get(modules[output.layer], output.layer),
        )
        for output in architecture.outputs
        if output.layer in modules
    }


def _last_of_program(program: Program) -> dict[str, tuple[str, str]]:
    """The layers before an activation that an output leaves out."""
    by_name, single = program.by_name(), len(program.outputs) == 1
    found = {}
    for output in program.outputs:
        layer = by_name.get(output.value)
        if layer and output.activation != "linear" and layer.module.rpartition(".")[2]:
            found["" if single else output.name] = layer.module, layer.original
    return found
