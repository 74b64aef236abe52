"""What the first wrong layer looks like: the mistake that, undone, gives what the original gave."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from converter.parity.comparing import torch_run
from converter.parity.comparing.compare import as_array, difference
from converter.parity.comparing.layers import (
    STEM_POOL,
    LayerError,
    Watch,
    first_picture,
    last_modules,
)
from converter.parity.faults import fits
from converter.parity.faults.suspects import Suspicion, other_activations, pool, sums, suspicions
from converter.parity.original.recording import Pass, Sample
from resnet_pt.network import ResidualBlock, ResNet

REPRODUCED = {"float64": 1e-6, "float32": 1e-4}
"""How near the original a suspicion has to come, relative to the layer's largest value, and at
least ten times nearer than the layer as it is. Undoing a mistake in float32 weights rounds."""


def diagnose(model: ResNet, outputs: Mapping[str, str], one: Pass, wrong: LayerError) -> str:
    """In words, to follow 'it looks as if'; '' where the numbers do not tell."""
    scene = Scene(model, outputs, one, wrong)
    if not scene.is_seen:
        return ""
    if scene.module.training and isinstance(scene.module, nn.modules.batchnorm._BatchNorm):
        return "it runs in training mode"
    if scene.calls > 1:
        return f"it runs {scene.calls} times"
    if isinstance(scene.module, ResidualBlock) and "long" not in scene.inputs:
        return "it is skipped: its layers never ran"
    with torch.inference_mode():
        words = reproduced(scene) or fits.of_weights(scene.module, scene.others())
        read = scene.inputs["x"] if scene.is_fed else None
        return words or fits.described(scene.module, read, scene.result, scene.sample, scene.limit)


class Scene:
    """The wrong layer in float64, what it was fed when it was judged, what it made of that
    (`result`), and what the original did (`sample`)."""

    def __init__(
        self, model: ResNet, outputs: Mapping[str, str], one: Pass, wrong: LayerError
    ) -> None:
        self.model, self.outputs, self.wrong = model, outputs, wrong
        self.module = model.get_submodule(wrong.module)
        known = None if wrong.is_last else one.layers[wrong.name]
        self.sample = known or _logits(model, outputs, one, wrong.name)
        self.inputs: dict[str, Tensor] = {}
        self.calls = 0
        self._run(one)
        self.is_seen = "result" in self.inputs and self.sample.value.size > 0
        if not self.is_seen:  # a network that broke off before it
            return
        self.result = self.inputs["result"]
        actual, expected = first_picture(as_array(self.result), self.sample)
        error = difference("", actual, expected).relative if expected.size else float("inf")
        self.limit = min(REPRODUCED[one.dtype], error / 10)

    @property
    def is_fed(self) -> bool:
        """Whether the layer read the original's. If not, it may be right and what it reads wrong:
        then nothing is said but what gives what the original gave, and what its weights alone
        show. (Another pool of a stem is among what is tried.)"""
        return self.wrong.own is not None and set(self.wrong.unheld) <= {STEM_POOL}

    def _run(self, one: Pass) -> None:
        """Once more, up to the layer and behind it, as it was judged: fed the original's, or what
        the network feeds it."""
        watch, alone = Watch(one), self.wrong.own is not None

        def look(module: str, layer: str, inputs: Any, result: Tensor) -> Tensor | None:
            if module == self.wrong.module:
                self.calls += 1
                self.inputs.update(x=inputs[0].clone(), result=result.clone())
            if "result" in self.inputs or layer not in one.layers:
                return None
            told = watch.alone(module, layer, inputs, result) if alone else None
            self.inputs["before"] = (result if told is None else told).clone()
            return told

        names = {**self.outputs, self.wrong.module: self.wrong.name}
        with suppress(RuntimeError), ExitStack() as stack:  # behind the layer nothing is needed
            stack.enter_context(torch_run.watched(self.model, names, set(names.values()), look))
            for name, part in self._ways().items():
                hook = part.register_forward_hook(self._noting(name))
                stack.callback(hook.remove)
            if STEM_POOL in self.wrong.unheld:
                hook = self.model.maxpool.register_forward_pre_hook(self._note_unpooled)
                stack.callback(hook.remove)
            torch_run.run(self.model, one.input[:1], "float64", "cpu")

    def _ways(self) -> dict[str, nn.Module]:
        """The ends of the two ways of a block."""
        block = self.module
        if not isinstance(block, ResidualBlock):
            return {}
        last = len(block.described.convs)
        norm = None if block.described.preactivation else getattr(block, f"bn{last}", None)
        found = {"long": norm or getattr(block, f"conv{last}")}
        return {**found, "short": block.downsample} if hasattr(block, "downsample") else found

    def _noting(self, name: str) -> Any:
        def note(module: nn.Module, args: Any, result: Tensor) -> None:
            self.inputs[name] = result.clone()

        return note

    def _note_unpooled(self, module: nn.Module, args: Any) -> None:
        self.inputs["unpooled"] = args[0].clone()

    def others(self) -> dict[str, nn.Module]:
        """The other layers, by their Keras names."""
        return {
            layer: self.model.get_submodule(module)
            for module, layer in self.outputs.items()
            if module != self.wrong.module
        }

    def suspicions(self) -> Iterator[Suspicion]:
        if isinstance(self.module, ResidualBlock):
            yield from self._sums(self.module)
        else:
            before = self.inputs.get("before")
            yield from self._pooled()
            yield from suspicions(self.module, self.inputs["x"], self.others(), before)

    def _pooled(self) -> Iterator[Suspicion]:
        """Another pool before it, where nothing of the original's is held against that."""
        if "unpooled" in self.inputs:
            for one in pool(self.model.maxpool, self.inputs["unpooled"]):
                yield Suspicion(
                    f"{STEM_POOL} is wrong: {one.what}",
                    lambda compute=one.compute: self.module(compute()),  # type: ignore[misc]
                )

    def _sums(self, block: ResidualBlock) -> Iterator[Suspicion]:
        short = self.inputs.get("short", self.inputs["x"])
        ways = sums(self.inputs["long"], short, lambda x: block.relu(x.clone()))
        now = [words for words, way in ways.items() if torch.allclose(way, self.result)]
        for words, way in ways.items():
            yield Suspicion(
                f"it computes {now[0] if now else 'something else'}, the original {words}",
                lambda w=way: w,  # type: ignore[misc]
            )
        if not block.described.preactivation:
            yield from other_activations(self.inputs["long"], short, self.result)

    def error_of(self, suspicion: Suspicion) -> float:
        try:
            result = suspicion.compute()
        except (RuntimeError, ValueError):  # a window that does not fit the map
            return float("inf")
        actual, expected = first_picture(as_array(result), self.sample)
        return difference("", actual, expected).relative if expected.size else float("inf")


def _logits(model: ResNet, outputs: Mapping[str, str], one: Pass, layer: str) -> Sample:
    last = last_modules(model, outputs)
    names = [name for name in last if last[name][1] == layer and name in one.logits]
    logits = one.logits[names[0]][:1] if names else np.zeros((1, 0))
    return Sample(None, logits.ravel(), logits.shape)


def reproduced(scene: Scene) -> str:
    """The suspicion that reproduces the original; of those that do, the first that does so as
    well as the best, with all the values that do."""
    errors = [(scene.error_of(one), one) for one in scene.suspicions()]
    found = [(error, one) for error, one in errors if error <= scene.limit]
    best = min((error for error, _ in found), default=0.0)
    equal = [one for error, one in found if error <= 100 * best + 1e-14]
    if not equal:
        return ""
    values = [one.value for one in equal if one.what == equal[0].what and one.value]
    return equal[0].what + " or ".join(values)
