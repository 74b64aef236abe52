"""The oracle's process: Keras runs a network and writes down what it computed.

`python -m converter.parity.original.keras_child FOLDER PARENT LIBRARY` imports Keras, of LIBRARY
'keras' (Keras 3) or 'tf_keras' (Keras 2), and waits for a line on standard input. Then it reads
`job.json` and `input_<i>.npy` in FOLDER and writes `<dtype>.npz` and `told.json`: which Keras
answered, and what has to be said of its answers; or `error.txt` if Keras cannot do the job. A dtype
in which it does not compute has no file. No torch is imported here.

Of the first picture every layer that the job asks for is kept: whole, as `whole_<i>.npy` of its
own that can be mapped into memory, in the first dtype; sampled in the others, and where all
together would be larger than WHOLE_LIMIT.
"""

from __future__ import annotations

import errno
import importlib
import itertools
import json
import os
import sys
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from converter.files.isolation.limits import Limits, restrict
from converter.files.isolation.parent import end_with_parent, end_with_stream
from converter.files.model_config import layer_name, model_layers
from converter.parity.original.keras_twice import (
    CHANNELS_FIRST,
    CHANNELS_LAST,
    asked_twice,
    in_words,
)
from converter.parity.original.sampling import call_name, sample_index
from converter.whole_model.layer_classes import LEAKY

WHOLE_LIMIT = 1 << 30
"""Bytes of whole activations; a ResNet-50 at 224x224 has 0.2 GiB in float64."""

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
PLAIN = {"CUDA_VISIBLE_DEVICES": "", "KERAS_BACKEND": "tensorflow"}
"""What the environment may say otherwise, and what it may not."""

CORES = os.cpu_count() or 1
LIMITS = Limits(
    memory=16 * 2**30 + CORES * 2**29,  # of addresses: TensorFlow reserves some for every thread
    seconds=900 * CORES,
    written=2**30,
    files=1024,
)
"""Far above what a ResNet-152 in float64 takes: a model made to exhaust the machine ends here."""

FAILED, UNREAD, DAMAGED = 3, 4, 5
"""Exit codes: Keras could not do the job; could not read the file; found it damaged."""


class UnreadError(Exception):
    """Keras could not read the file: `code` says whether the file or the machine is why."""

    def __init__(self, error: BaseException, code: int) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.code = code


def main(folder: Path, library: str) -> None:
    job = {**json.loads((folder / "job.json").read_text()), "folder": str(folder)}
    pictures: list[list[Any]] = []
    for path in sorted(folder.glob("input_*.npy")):
        if path.stem.endswith("_000"):
            pictures.append([])
        pictures[-1].append(np.load(path))
    answer = of_keras_2 if library == KERAS_2 else of_keras_3
    told = answer(folder, job, pictures)
    (folder / "told.json").write_text(json.dumps(told))


KERAS_2 = "tf_keras"


def of_keras_3(folder: Path, job: Mapping[str, Any], pictures: list[list[Any]]) -> dict[str, Any]:
    import keras

    whole = load(job, loaded) if job["kind"] == "load" else None
    faults: dict[str, float] = {}
    for dtype in job["dtypes"]:
        model = build(job, dtype) if whole is None else in_dtype(whole, dtype)
        model = checked(exact(model, dtype), faults, keeps=job["keeps_faults"])
        write(folder, record(model, job, pictures, dtype), dtype, dtype == job["dtypes"][0])
    found = faults_found(faults, keeps=job["keeps_faults"])
    return {"asked": f"Keras {keras.__version__}", "notes": [found] if found else []}


def of_keras_2(folder: Path, job: Mapping[str, Any], pictures: list[list[Any]]) -> dict[str, Any]:
    """The same by tf-keras. Where TensorFlow computes in float32 whatever it is told, float64 has
    no answer."""
    keras_2 = importlib.import_module("converter.parity.original.keras_2")
    whole = load(job, keras_2.loaded)
    notes: list[str] = []
    for dtype in job["dtypes"]:
        narrow: set[str] = set()
        model = keras_2.exact(keras_2.in_dtype(whole, dtype, job), dtype, narrow)
        found = record(model, job, pictures, dtype)
        if narrow:
            notes.append(NARROW.format(", ".join(sorted(narrow)[:4])))
        else:
            write(folder, found, dtype, not list(folder.glob("whole_*.npy")))
    return {"asked": keras_2.NAME, "notes": notes}


NARROW = (
    "TensorFlow computes {} in float32 whatever it is told: the original's float32 answers are "
    "what is compared"
)


def write(folder: Path, found: Any, dtype: str, whole: bool) -> None:
    """What was recorded, the layers as a `whole` where they are handed over in no dtype yet."""
    recorded, seen = found
    np.savez(folder / f"{dtype}.npz", **recorded, **kept(seen, folder if whole else None))


def load(job: Mapping[str, Any], loaded: Callable[[Path, Mapping[str, Any]], Any]) -> Any:
    """The whole model in a file, by Keras itself; of weights alone with the configuration that is
    given for them."""
    path = Path(job["folder"]) / f"model{job['suffix']}"  # Keras tells containers by their suffix
    try:
        if job["cut"] and not path.exists():
            assemble_part(path, job["source"], job["cut"])
        if job["given"] and job["suffix"] != SHARDS and not path.exists():
            assemble(path, job["source"], job["given"]["config"])
        if not path.exists():
            path.symlink_to(job["source"])
        return loaded(path, job)
    except Exception as error:
        refused = unread(error)
        if refused:
            raise refused from error
        raise


def loaded(path: Path, job: Mapping[str, Any]) -> Any:
    import keras

    if job["suffix"] == SHARDS:  # they lie beside their list
        model = keras.models.model_from_json(json.dumps(job["given"]["config"]))
        model.load_weights(job["source"])
        return model
    model = keras.models.load_model(path, compile=False, safe_mode=True)
    if job["given"] and job["given"]["match"] == "names":  # the user's word, and not Keras' order
        model.load_weights(path, by_name=True)
    return model


SHARDS = ".weights.json"


def assemble(path: Path, source: str, config: Mapping[str, Any]) -> None:
    """A whole model of a file of weights and its configuration, in the container of that file: as
    such Keras loads it, in its own order of layers and arrays."""
    import h5py

    text = json.dumps(config)
    if path.suffix == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", text)
            archive.writestr("metadata.json", json.dumps({"keras_version": "3.0.0"}))
            archive.write(source, "model.weights.h5")
        return
    with h5py.File(path, "w") as whole, h5py.File(source, "r") as weights:
        group = whole.create_group("model_weights")
        for name in weights:
            weights.copy(name, group)
        for name, value in weights.attrs.items():
            group.attrs[name] = value
        whole.attrs["model_config"] = text


def assemble_part(path: Path, source: str, config: Mapping[str, Any]) -> None:
    """A whole model of the layers of a configuration that ends before the file's own does."""
    import h5py

    there = {layer_name(layer) for layer in model_layers(config)}
    with h5py.File(path, "w") as whole, h5py.File(source, "r") as file:
        weights, group = file.get("model_weights", file), whole.create_group("model_weights")
        kept = []
        for name, value in weights.attrs.items():
            if name.startswith("layer_names"):  # of many layers in several attributes
                some = [one for one in value if _text(one) in there]
                kept += some
            else:
                group.attrs[name] = value
        group.attrs["layer_names"] = kept
        for name in map(_text, kept):
            weights.copy(weights[name], group, name=name)
        for name in file.attrs.keys() & {"keras_version", "backend"}:
            whole.attrs[name] = file.attrs[name]
        whole.attrs["model_config"] = json.dumps(config)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def unread(error: BaseException | None) -> UnreadError | None:
    """What an error says of the bytes of the file; None for one that says that Keras read them and
    could not make the model of them. h5py's errors about a file have no number of their own."""
    while error is not None:
        if isinstance(error, OSError) and error.errno not in (None, errno.EIO):
            return UnreadError(error, UNREAD)
        if isinstance(error, OSError | EOFError | zipfile.BadZipFile | zlib.error):
            return UnreadError(error, DAMAGED)
        error = error.__cause__ or error.__context__
    return None


def in_dtype(model: Any, dtype: str) -> Any:
    """The model itself in float32; its layers are made anew in float64, and where it takes bytes,
    to which Keras would cut the numbers of every picture."""
    written = json.dumps(model.get_config())
    text = written.replace('"float32"', f'"{dtype}"').replace('"uint8"', f'"{dtype}"')
    if text == written:
        return model
    wide = type(model).from_config(json.loads(text))
    wide.set_weights(model.get_weights())
    return wide


def exact(model: Any, dtype: str) -> Any:
    """The model, with the constants of its layers in that dtype: Keras casts numbers of Python by
    way of float32, and TensorFlow keeps leaky relu's slope and gelu's divisor in that, in layers
    and in operators. A Normalization computes with copies of its weights, which are made anew.
    Convolutions of channels-first maps are made such as the CPU has."""
    for operator in operators(model):
        kind = type(operator).__name__
        if kind == "LeakyRelu":
            operator.call = leaky_relu(operator.negative_slope)
        elif kind == "Gelu" and not operator.approximate:
            operator.call = gelu
    for layer in leaf_layers(model):
        kind = type(layer).__name__
        if kind == "Rescaling":
            layer.scale, layer.offset = (np.asarray(x, dtype) for x in (layer.scale, layer.offset))
        elif kind == "MultiHeadAttention":
            layer._inverse_sqrt_key_dim = np.asarray(layer.key_dim**-0.5, dtype)
        elif kind == "Normalization" and layer.input_mean is None:
            layer.finalize_state()
        elif kind == "Normalization":
            shape = layer.mean.shape
            given = (layer.input_mean, layer.input_variance)
            layer.mean, layer.variance = (
                np.broadcast_to(np.asarray(x, dtype), shape) for x in given
            )
        elif kind == "Conv2D" and layer.data_format == "channels_first":
            layer.convolution_op = convolution(layer)
        elif kind in ("LeakyReLU", "ReLU") and layer.negative_slope:
            layer.call = leaky_relu(layer.negative_slope)
        elif type(getattr(layer, "activation", None)).__name__ == "LeakyReLU":
            layer.activation = leaky_relu(layer.activation.negative_slope)
        elif named(layer) in ("leaky_relu", "gelu"):
            layer.activation = leaky_relu(LEAKY) if named(layer) == "leaky_relu" else gelu
    return model


def checked(model: Any, faults: dict[str, float], keeps: bool) -> Any:
    """The model, its layers of channels-first maps asked a second way."""
    for layer in leaf_layers(model):
        layer.call = asked_twice(layer, faults, keeps) or layer.call
    return model


def faults_found(faults: Mapping[str, float], keeps: bool) -> str:
    import keras

    return in_words(keras, faults, keeps)


def operators(model: Any) -> Iterator[Any]:
    """The operators (keras.ops) of a functional model, those of nested models too."""
    layers = list(model.layers)
    for operator in getattr(model, "operations", layers):
        if hasattr(operator, "layers"):
            yield from operators(operator)
        elif operator not in layers:
            yield operator


def named(layer: Any) -> str:
    """The name of the function that a layer applies last; '' where it has none."""
    return getattr(getattr(layer, "activation", None), "__name__", "")


def convolution(layer: Any) -> Any:
    """A layer's convolution of maps (N, C, H, W) as one of (N, H, W, C), as Keras does it with
    pools (keras 3.15 `backend/tensorflow/nn.py`, max_pool): on the CPU TensorFlow has no other
    (2.21: "currently only supports the NHWC tensor format on the CPU"), and `predict` compiles."""
    import keras

    def turned(inputs: Any, kernel: Any) -> Any:
        result = keras.ops.conv(
            keras.ops.transpose(inputs, CHANNELS_LAST),
            kernel,
            strides=list(layer.strides),
            padding=layer.padding,
            dilation_rate=layer.dilation_rate,
            data_format="channels_last",
        )
        return keras.ops.transpose(result, CHANNELS_FIRST)

    return turned


def leaky_relu(slope: Any) -> Any:
    import keras

    return lambda x: keras.ops.where(x > 0, x, x * float(slope))


def gelu(x: Any) -> Any:
    import keras

    return 0.5 * x * (1 + keras.ops.erf(x / 2**0.5))


def build(job: Mapping[str, Any], dtype: str) -> Any:
    """The bundled definition of the network, filled with the arrays of the file."""
    import keras

    from converter.files.checkpoint import COUNT
    from converter.files.given import Given
    from converter.files.isolation.reader import open_checkpoint
    from converter.parity.original.keras_network import keras_network
    from resnet_pt.architecture import Architecture

    keras.config.set_floatx(dtype)
    architecture = Architecture.from_dict(job["architecture"])
    model = keras_network(architecture)
    given = Given(**{**job["given"], "match": job["match"]}) if job.get("given") else None
    with open_checkpoint(Path(job["source"]), given) as checkpoint:
        arrays = {
            (weight.layer, weight.parameter): array
            for weight, array in checkpoint.arrays(
                [one for one in checkpoint.weights if one.parameter != COUNT]
            )
        }
    for layer in model.layers:
        if layer.weights:
            source = job["layers"][layer.name]
            values = [stored(arrays, source, variable.name) for variable in layer.weights]
            layer.set_weights([correlating(value, job["layout"]) for value in values])
    return model


def stored(arrays: Mapping[tuple[str, str], Any], layer: str, parameter: str) -> Any:
    """A parameter's array; a grouped kernel may be stored as a depthwise one, whose outputs are
    summed by group (keras-applications' ResNeXt): every group is copied to its place."""
    if parameter != "kernel" or (layer, "kernel") in arrays:
        return arrays[layer, parameter]
    depthwise = arrays[layer, "depthwise_kernel"]
    height, width, channels, multiplier = depthwise.shape
    kernel = np.empty((height, width, multiplier, channels), depthwise.dtype)
    for start in range(0, channels, multiplier):
        kernel[..., start : start + multiplier] = depthwise[:, :, start : start + multiplier]
    return kernel


def correlating(array: Any, layout: Mapping[str, Any]) -> Any:
    """A kernel as Keras on TensorFlow wants it: (height, width, in, out), not flipped."""
    if array.ndim != 4:
        return array
    array = array.transpose(2, 3, 1, 0) if layout["order"] == "oihw" else array
    return array[::-1, ::-1] if layout["flipped"] else array


def record(
    model: Any, job: Mapping[str, Any], pictures: list[Any], dtype: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """(logits for every picture, the activations of the first one), maps as (N, H, W, C)."""
    leaves = list(leaf_layers(model))
    found: dict[str, Any] = {}
    first: dict[str, Any] = {}
    for number, picture in enumerate(pictures):
        wanted = {**job["wanted"], **of_calls(job)} if number == 0 else {}
        with captured(leaves, job["outputs"], wanted) as seen:
            given = [channels_first(one, job).astype(dtype) for one in picture]
            result = model(given[0] if len(given) == 1 else given, training=False)
        for output, value in zip(job["outputs"], in_order(result), strict=True):
            logits = seen[f"logits:{output['layer']}"] if output["loads"] else np.asarray(value)
            found[f"{number}/logits/{output['name']}"] = channels_last(logits, job)
        first = first or {
            wanted[name]: channels_last(seen[name], job)
            for name in seen
            if name in wanted and name not in job["calls"]
        }
    return found, first


def of_calls(job: Mapping[str, Any]) -> dict[str, str]:
    """The names of what layers give that are called several times, for themselves."""
    return {
        name: name
        for layer, count in job["calls"].items()
        for name in (call_name(layer, number + 1) for number in range(count))
    }


def channels_first(value: Any, job: Mapping[str, Any]) -> Any:
    """A map (N, H, W, C), or a volume, as the model reads it."""
    return np.moveaxis(value, -1, 1) if job["channels_first"] and value.ndim >= 4 else value


def channels_last(value: Any, job: Mapping[str, Any]) -> Any:
    """A map as (N, H, W, C), whatever the model keeps it as; a vector as it is."""
    return np.moveaxis(value, 1, -1) if job["channels_first"] and value.ndim >= 4 else value


def in_order(result: Any) -> list[Any]:
    """What a model returned, as Keras counts its outputs: those of a dict in the order of their
    names (keras 3.15 `src/tree/optree_impl.py`, flatten), as the graph in its configuration is
    read too."""
    if isinstance(result, dict):
        return [result[name] for name in sorted(result)]
    return list(result) if isinstance(result, list | tuple) else [result]


def kept(seen: Mapping[str, Any], folder: Path | None) -> dict[str, Any]:
    """Activations as they are handed over: whole in files of `folder`, or samples of them."""
    found: dict[str, Any] = {}
    room = WHOLE_LIMIT if folder else 0
    for number, (layer, value) in enumerate(seen.items()):
        room -= value.nbytes
        if folder and room >= 0:
            np.save(folder / f"whole_{number}.npy", value)
            found[f"0/whole/{layer}"] = np.array(number)
        else:
            index = sample_index(value.size)
            found[f"0/index/{layer}"], found[f"0/value/{layer}"] = index, value.ravel()[index]
    return found


def leaf_layers(model: Any) -> Iterator[Any]:
    """Every layer, those of nested models too."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from leaf_layers(layer)
        else:
            yield layer


@contextmanager
def captured(
    leaves: list[Any], outputs: list[Mapping[str, Any]], wanted: Collection[str]
) -> Iterator[dict[str, Any]]:
    """While the context lasts, the output of each layer that is `wanted` is kept under its name,
    that of each call by `call_name` too, and the logits (the tensor before the last activation)
    under `logits:<layer>`."""
    seen: dict[str, Any] = {}
    last = {output["layer"] for output in outputs if output["loads"]}
    restore = []
    for layer in leaves:
        if layer.name not in wanted and layer.name not in last:
            continue
        restore.append((layer, layer.call, getattr(layer, "activation", None)))
        if layer.name in last and not is_activation(layer) and hasattr(layer, "activation"):
            layer.activation = lambda x: x
        layer.call = watched(layer, layer.call, seen, layer.name in last)
    try:
        yield seen
    finally:
        for layer, call, activation in restore:
            layer.call = call
            if activation is not None:
                layer.activation = activation


def watched(layer: Any, call: Any, seen: dict[str, Any], is_last: bool) -> Any:
    name, numbers = layer.name, itertools.count(1)

    def call_and_keep(*args: Any, **kwargs: Any) -> Any:
        result = call(*args, **kwargs)
        if hasattr(result, "numpy"):
            seen[name] = seen[call_name(name, next(numbers))] = result.numpy()
            if is_last:
                source = args[0] if is_activation(layer) else result
                seen[f"logits:{layer.name}"] = source.numpy()
        return result

    return call_and_keep


def is_activation(layer: Any) -> bool:
    return type(layer).__name__ in ("Activation", "Softmax", "ReLU")


if __name__ == "__main__":
    os.environ.update({**QUIET, **os.environ, **PLAIN})
    os.environ.pop("TF_USE_LEGACY_KERAS", None)  # which Keras is asked is said below
    work, library = Path(sys.argv[1]), sys.argv[3]
    end_with_parent(int(sys.argv[2]))
    restrict(LIMITS)
    try:
        importlib.import_module(library)

        if sys.stdin.readline():  # its caller has not ended
            end_with_stream()
            main(work, library)
    except Exception as error:
        told = f"{type(error).__name__}: {error}"
        code = FAILED
        if isinstance(error, UnreadError):
            told, code = str(error), error.code
        (work / "error.txt").write_text(told[:2000])
        raise SystemExit(code) from error
