"""What an original computed: from a record on disk, or from Keras just now."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from converter.errors import SourceError, shortened
from converter.files.checkpoint import Array
from converter.files.npz import FREE, MAX_FILE, read_arrays
from converter.parity.comparing.compare import GATES
from converter.parity.comparing.recovered import recovered
from converter.parity.original.old_keras import record_keras
from resnet_pt.architecture import Architecture, Output
from resnet_pt.preprocessing import MODES, Mode
from resnet_pt.program import Output as Returned
from resnet_pt.program import Program
from resnet_pt.regular import open_regular

GENERATED = "generated_input"
"""In a record's `meta`: how its input is made again, where the record does not hold it."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What is known of a layer's activation: `value` (flat) at the flat (N, H, W, C) positions
    `index`; or, where `index` is None, all of it for the first pictures, of `shape` (n, H, W, C)
    or (n, C)."""

    index: Array | None
    value: Array
    shape: tuple[int, ...] = ()

    @property
    def is_whole(self) -> bool:
        return self.index is None

    def of(self, activation: Array) -> Array:
        """Another activation where this one is known, flat; NaN where it has no such element."""
        if self.index is not None:
            flat = activation.ravel()
            there = self.index < flat.size  # a map of another size is different, not an error
            return np.where(there, flat[np.where(there, self.index, 0)], np.nan)
        if _one(activation.shape) != _one(self.shape):
            return np.full(self.value.shape, np.nan)
        return activation[: self.shape[0]].ravel()

    def first(self) -> Array:
        """The first picture's whole activation, (1, H, W, C) or (1, C)."""
        return self.value.reshape(self.shape)[:1]


def _one(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one picture's activation; a map of one pixel (1, 1, C) is a vector (C,)."""
    return shape[3:] if shape[1:3] == (1, 1) else shape[1:]


@dataclass(frozen=True, slots=True)
class Pass:
    """One batch through the original: its input (N, H, W, C), the `others` of a model of several,
    in its order, its logits by output name ('' for the only one), samples of its layers, and, by
    output name too, what came out behind the last activation, where that is known beside them.
    `calls` are the names in `layers` of what a layer gave that is called several times, as the
    original ran it, `{layer: names}`."""

    input: Array
    logits: Mapping[str, Array]
    layers: Mapping[str, Sample] = field(default_factory=dict)
    dtype: str = "float32"
    outputs: Mapping[str, Array] = field(default_factory=dict)
    others: tuple[Array, ...] = ()
    calls: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def known(self) -> Collection[str]:
        """The layers of which any activation is known."""
        return self.layers.keys() | self.calls.keys()

    @property
    def inputs(self) -> tuple[Array, ...]:
        """All of its inputs, in the model's order."""
        return (self.input, *self.others)


@dataclass(frozen=True, slots=True)
class Recording:
    """Everything an original computed, and what it was. `hidden` are the outputs of which it has
    no logits: what it has in their place came out behind the last activation. `is_original` is
    False for what a definition computed that was built from our own reading of the file. `notes`
    say what of it is the fault of who computed it."""

    passes: tuple[Pass, ...]
    oracle: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    is_original: bool = True
    notes: tuple[str, ...] = ()

    @property
    def preprocess(self) -> Mode | None:
        """What was done to its pictures, as `resnet_pt.preprocessing.MODES` has it; None where it
        does not say. Records of an earlier script say it among its options, whose default, raw, is
        said of generated pictures too, to which nothing was done."""
        said, options = self.meta.get("preprocess"), self.meta.get("options")
        if said is None and isinstance(options, dict):
            is_default = options.get("preprocess") == "raw" and not options.get("images")
            said = None if is_default else options.get("preprocess")
        return next((mode for mode in MODES if mode == said), None)


def is_record(path: Path) -> bool:
    """Whether a file looks like one: an archive whose members are numpy's, also one that is cut
    off and has lost its directory."""
    try:
        with open_regular(path, MAX_FILE) as file:
            start = file.read(30)  # the first member's header; its name follows (APPNOTE 4.3.7)
            name = file.read(int.from_bytes(start[26:28], "little"))
    except OSError:
        return False
    return start.startswith(b"PK\x03\x04") and name.endswith(b".npy")


def read_record(path: Path) -> Recording:
    """The record in an `.npz` (written by scripts/record_keras.py), its parts held against each
    other. Raises SourceError for a file that is none.
    """
    try:
        return _recording(read_arrays(path, is_of_record))
    except (OSError, ValueError, KeyError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        reason = "it is no .npz" if "not a zip" in str(error) else reason
        raise SourceError(
            f"{path} is not a record: {reason}",
            hints=["make one with scripts/record_keras.py MODEL.h5 RECORD.npz"],
        ) from error


def is_of_record(name: str) -> bool:
    """Whether an array of that name is part of a record; what else is in the file is not read."""
    return name in ("input", "output", "logits", "meta") or name.startswith(
        ("input/", "output/", "logits/", "layer/")
    )


def _recording(arrays: Mapping[str, Array]) -> Recording:
    """ValueError or KeyError says what is wrong."""
    meta = _meta(arrays)
    if GENERATED in meta:
        arrays = {"input": _made_again(meta[GENERATED]), **arrays}
    arrays = _channels_last(arrays, meta)
    picture, *others = _inputs(arrays, meta)
    strange = [key for key in ("keras", "backend") if not isinstance(meta.get(key, ""), str)]
    if strange:
        raise ValueError(f"`meta` has a {strange[0]} that is no text")
    mode = meta.get("preprocess")
    if mode is not None and mode not in list(MODES):
        raise ValueError(f"`meta` has a preprocess {mode!r}: known are {', '.join(MODES)}")
    # A record's logits may be float64 (computed from features), but the network ran in float32.
    dtype = str(meta.get("dtype", "float32"))
    if dtype not in GATES:
        raise ValueError(f"it was made in {dtype}: known are {', '.join(GATES)}")
    outputs, logits = _by_output(arrays, "output"), _by_output(arrays, "logits")
    for name, values in [*outputs.items(), *logits.items()]:
        if not _is_number(values) or values.shape[:1] != picture.shape[:1] or not values.size:
            raise ValueError(f"`output` or `logits` {name} is {values.dtype} {values.shape}")
        if name in outputs and outputs[name].shape != values.shape:
            raise ValueError(f"`output` {name} is {outputs[name].shape}, `logits` {values.shape}")
    if not outputs and not logits:
        raise ValueError("it needs `logits` or `output`")
    endless = [name for name, array in arrays.items() if not _is_finite(array)]
    if endless:
        raise ValueError(f"`{endless[0]}` holds NaN or infinity")
    keras, backend = (shortened(meta.get(key, "?")) for key in ("keras", "backend"))
    made_by = f"Keras {keras} on {backend}"
    beside = {name: outputs[name] for name in logits if name in outputs}
    layers = _samples(arrays, len(picture))
    one = Pass(picture, {**outputs, **logits}, layers, dtype, beside, tuple(others))
    kind = "logits" if logits else "output"
    hidden = frozenset(outputs.keys() - logits.keys())
    notes = _faults(meta, made_by)
    return Recording((one,), f"record of {made_by}", {**meta, "kind": kind}, hidden, notes=notes)


def _inputs(arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> list[Array]:
    """The input, or several in the model's order, which `meta` says, or that of the file."""
    named = {name: one for name, one in _by_output(arrays, "input").items() if name}
    order = meta.get("inputs")
    listed = order if isinstance(order, list) and set(order) == named.keys() else list(named)
    found = [named[name] for name in listed] if named else [arrays["input"]]
    for one in found:
        if one.ndim < 2 or not one.size or not _is_number(one) or len(one) != len(found[0]):
            raise ValueError(
                f"`input` is {one.dtype} {one.shape}, not pictures (N, H, W, C) or another batch"
            )
    return found


def _channels_last(arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> Mapping[str, Array]:
    """The arrays with the channels of maps last. record_keras.py writes them so, whatever the
    model's format; a record that lists the shapes of its layers (`layer_shapes` in `meta`) has all
    in the model's own format, and counts positions in these shapes."""
    shapes = meta.get("layer_shapes")
    if meta.get("data_format") != "channels_first" or not isinstance(shapes, dict):
        return arrays
    found = dict(arrays)
    for name, array in arrays.items():
        if name.endswith("/index") and name.startswith("layer/"):
            shape = shapes.get(name.removeprefix("layer/").removesuffix("/index"))
            found[name] = _positions_last(array, shape)
        elif not name.endswith("/value") and array.ndim >= 4:
            found[name] = np.moveaxis(array, 1, -1)
    return found


def _positions_last(index: Array, shape: Any) -> Array:
    """Flat positions in (N, C, H, W) as those in (N, H, W, C)."""
    if not isinstance(shape, list) or not all(map(_is_length, shape)):
        raise ValueError("its `meta` has no shapes of its layers, whose channels come first")
    if len(shape) < 4 or (index >= math.prod(shape)).any():
        return index
    first, second, *rest = np.unravel_index(index, shape)
    return np.ravel_multi_index((first, *rest, second), (shape[0], *shape[2:], shape[1]))


def _meta(arrays: Mapping[str, Array]) -> dict[str, Any]:
    meta = json.loads(str(arrays["meta"])) if "meta" in arrays else {}
    if not isinstance(meta, dict):
        raise ValueError("`meta` is not a JSON object")
    if GENERATED in meta and "input" in arrays:
        raise ValueError(f"it has an `input`, and a `{GENERATED}` in its `meta`: which ran?")
    return meta


def _made_again(recipe: object) -> Array:
    """The input of a record that keeps how it was made (record_keras.py --input-as-seed)."""
    if not isinstance(recipe, dict) or recipe.keys() != {"generator", "seed", "shape", "sha256"}:
        raise ValueError(f"its `{GENERATED}` is not generator, seed, shape and sha256")
    shape, seed = recipe["shape"], recipe["seed"]
    if not isinstance(shape, list) or len(shape) != 4 or not all(map(_is_length, shape)):
        raise ValueError(f"its `{GENERATED}` has the shape {shortened(str(shape))}")
    if 4 * math.prod(shape) > FREE:
        raise ValueError(f"its `{GENERATED}` would be {4 * math.prod(shape):,} bytes")
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise ValueError(f"its `{GENERATED}` has the seed {shortened(str(seed))}")
    pictures: Array = record_keras.made_again(recipe)
    return pictures


def _is_length(value: object) -> bool:
    return type(value) is int and value > 0


def _faults(meta: Mapping[str, Any], made_by: str) -> tuple[str, ...]:
    """What `record_keras.py` says that its Keras computes wrongly of the model."""
    layers = meta.get("at_fault")
    if not isinstance(layers, list) or not layers:
        return ()
    named = ", ".join(shortened(str(one)) for one in layers[:4]) + (
        ", …" if len(layers) > 4 else ""
    )
    return (
        f"{made_by}, which made the record, is at fault: it adds the bias of {named} along the "
        "width, where that is the number of filters; if the project ran another, a record of that "
        "one decides",
    )


def _is_finite(array: Array) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _is_number(array: Array) -> bool:
    return array.dtype.kind == "f"


def _by_output(arrays: Mapping[str, Array], key: str) -> dict[str, Array]:
    return {
        name.removeprefix(key).removeprefix("/"): array
        for name, array in arrays.items()
        if name == key or name.startswith(f"{key}/")
    }


def _samples(arrays: Mapping[str, Array], pictures: int) -> dict[str, Sample]:
    found: dict[str, Sample] = {}
    for name, array in arrays.items():
        if not name.startswith("layer/"):
            continue
        layer = name.removeprefix("layer/")
        if layer.endswith("/index"):
            if f"{name.removesuffix('/index')}/value" not in arrays:
                raise ValueError(f"`{name}` has no values beside it")
        elif layer.endswith("/value"):
            layer = layer.removesuffix("/value")
            found[layer] = _sample(layer, arrays[f"layer/{layer}/index"], array)
        else:
            found[layer] = _whole(layer, array, pictures)
    return found


def _sample(layer: str, index: Array, value: Array) -> Sample:
    if index.dtype.kind not in "iu" or index.ndim != 1 or (index < 0).any():
        raise ValueError(f"`layer/{layer}/index` does not hold positions")
    if value.shape != index.shape or not _is_number(value) or not value.size:
        raise ValueError(f"`layer/{layer}` has {value.shape} values for {index.shape} positions")
    return Sample(index, value)


def _whole(layer: str, array: Array, pictures: int) -> Sample:
    if not _is_number(array) or not array.size or not 1 <= len(array) <= pictures:
        raise ValueError(f"`layer/{layer}` is {array.dtype} {array.shape}")
    return Sample(None, array.ravel(), array.shape)


def why_not_comparable(recording: Recording, network: Architecture | Program) -> str:
    """Why a record cannot be held against a network's logits; '' if it can. Raises SourceError for
    a record of a model with other inputs or outputs."""
    if isinstance(network, Program):
        _check_program(recording.passes[0], network)
    else:
        _check_architecture(recording.passes[0], network)
    for name, output in output_names(network).items():
        if name in recording.hidden and output.activation != "linear":
            told = recovered(recording.passes[0].logits[name], output.activation)
            if not (told and told.tells):
                return (
                    f"the record holds no logits, only what came out of {output.activation}: that "
                    "hides differences"
                )
    return ""


def _check_architecture(first: Pass, architecture: Architecture) -> None:
    """SourceError for a record of a model with other inputs or outputs."""
    if first.input.ndim != 4 or first.others:
        raise _of_another_model(f"input is {first.input.shape}", "(N, H, W, C)")
    channels = first.input.shape[-1]
    if channels != architecture.in_channels:
        raise _of_another_model(f"input has {channels} channels", str(architecture.in_channels))
    outputs = output_names(architecture)
    if first.logits.keys() != outputs.keys():
        theirs, ours = (", ".join(map(repr, names)) for names in (first.logits, outputs))
        raise _of_another_model(f"outputs are {theirs}", ours)
    for name, output in outputs.items():
        assert isinstance(output, Output)
        classes, found = architecture.logits(output), first.logits[name].shape
        if classes is not None and found[1:] != (classes,):
            raise _of_another_model(f"logits are {found}", f"(N, {classes})")


def _check_program(first: Pass, program: Program) -> None:
    """SourceError for a record of a model with other inputs or outputs."""
    theirs = [one.shape[1:] for one in first.inputs]
    ours = [_in_keras(one.shape) for one in program.inputs]
    fits = len(theirs) == len(ours) and all(map(_fits, theirs, ours))
    if not fits:
        raise _of_another_model(f"inputs are {theirs}", str(ours))
    outputs = output_names(program)
    if first.logits.keys() != outputs.keys():
        named = [", ".join(map(repr, names)) for names in (first.logits, outputs)]
        raise _of_another_model(f"outputs are {named[0]}", named[1])


def _in_keras(shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
    """The shape behind the batch of a value of the program, with the channels of a map last."""
    return (*shape[1:], shape[0]) if len(shape) >= 3 else shape


def _fits(found: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(found) == len(wanted) and all(
        side in (None, there) for side, there in zip(wanted, found, strict=True)
    )


def _of_another_model(found: str, expected: str) -> SourceError:
    return SourceError(
        f"the record's {found}, the network's {expected}: it is a record of another model"
    )


def output_names(network: Architecture | Program) -> dict[str, Output | Returned]:
    """The outputs as a record names them: '' for the only one."""
    single = len(network.outputs) == 1
    return {"" if single else output.name: output for output in network.outputs}
