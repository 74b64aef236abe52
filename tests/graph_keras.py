"""Graphs of layers made, saved and run by live Keras 3: the other side of tests/layer_graphs.py.

`python graph_keras.py FOLDER` reads a graph on each line of its input and answers each with a line:
`{"file", "record", "graph"}`, or `{"impossible": reason}`. It runs in a process of its own:
TensorFlow and torch never share one.

A node reads the first of `reads` that Keras takes; a node that Keras refuses is passed over, and
whoever reads it reads what it would have read. `graph` in the answer is what was made of it, which
makes the same network again.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.src.applications.convnext import LayerScale
from keras.src.applications.inception_resnet_v2 import CustomScaleLayer
from keras.src.legacy.layers import RandomHeight, RandomWidth, ThresholdedReLU

MOST = 20_000
"""Numbers behind the batch of a value: small networks are compared."""

LEAST_ROWS = 6
"""Whole numbers of an input that an Embedding may read: those that every one has a row for."""

OPERATORS = {
    "x + y": lambda x, y: x + y,
    "x - y": lambda x, y: x - y,
    "x * y": lambda x, y: x * y,
    "x / y": lambda x, y: x / (y * y + 1),
    "maximum": ops.maximum,
    "minimum": ops.minimum,
    "x + c": lambda x, c: x + c,
    "c + x": lambda x, c: c + x,
    "x - c": lambda x, c: x - c,
    "c - x": lambda x, c: c - x,
    "x * c": lambda x, c: x * c,
    "c * x": lambda x, c: c * x,
    "x / c": lambda x, c: x / c,
    "c / x": lambda x, c: c / (x * x + 1),
    "max c": ops.maximum,
    "min c": ops.minimum,
    "add c": ops.add,
    "multiply c": ops.multiply,
    "subtract c": ops.subtract,
    "true_divide c": ops.true_divide,
    "divide c": ops.divide,
    "sqrt": lambda x: ops.sqrt(ops.square(x) + 1),
    "log": lambda x: ops.log(ops.square(x) + 1),
    "-x": lambda x: -x,
    "abs": abs,
    "exp": lambda x: ops.exp(ops.tanh(x)),
    "x ** 2": lambda x: x**2,
    "root": lambda x: (x * x + 1) ** 0.5,
    "cast": lambda x, to: ops.cast(ops.cast(x, to), "float64"),
    "concatenate": lambda *some, **given: ops.concatenate(some, **given),
    "stack": lambda *some, **given: ops.stack(some, **given),
    "resize": ops.image.resize,
}
"""What `keras.ops` has no function of that name for, or is kept from what it cannot take."""

CLASSES = {
    "CustomScaleLayer": CustomScaleLayer,
    "LayerScale": LayerScale,
    "RandomHeight": RandomHeight,
    "RandomWidth": RandomWidth,
    "ThresholdedReLU": ThresholdedReLU,
}
"""What Keras 3 writes and has under no public name."""


BIAS = "the bias of a map with as many columns as channels goes to its columns"
"""What TensorFlow's backend does to channels that come first (3.15 `backend/tensorflow/numpy.py`,
add); Keras' other backends do not."""


class PassedOverError(Exception):
    """A node that Keras does not take."""


def reshaped(shape: Any, pick: int) -> list[int]:
    """One of the shapes of as many numbers, by `pick`."""
    sides = [side for side in shape if side]
    total = int(np.prod(sides))
    found = [[total], [-1], [1, total], [total, 1], [1, 1, total]]
    for side in (2, 3, 4, 6):
        if total % side == 0:
            rest = total // side
            found += [[rest, side], [side, rest], [-1, side], [side, -1]]
            for other in (2, 3, 4):
                if rest % other == 0:
                    found += [[other, rest // other, side], [side, other, -1], [-1, other, side]]
    found += [list(one) for one in itertools.permutations(sides)]
    return found[pick % len(found)]


def sliced(spec: Any) -> Any:
    """A key of `x[...]`: of lists as slices, numbers, and '...'."""
    parts = [
        slice(*one) if isinstance(one, list) else Ellipsis if one == "..." else one for one in spec
    ]
    return tuple(parts)


def constant(value: Any, settings: dict[str, Any]) -> Any:
    """The number `c`, or one for each channel."""
    c = settings["c"]
    if isinstance(c, list):
        count = value.shape[-1] if settings.get("per") == "last" else 1
        if count is None or count > 64:
            raise PassedOverError("no channels")
        c = np.resize(np.array(c, "f8"), count)
    return c


class Maker:
    """A functional model in the making. `made` are the values, `done` the nodes as they were made,
    the inputs first."""

    def __init__(self, graph: dict[str, Any], name: str = "") -> None:
        self.graph = graph
        self.name = name
        self.objects: dict[int, Any] = {}
        self.values: list[Any] = []
        self.alias: dict[int, int] = {}
        self.nodes: list[Any] = []

    def model(self, inputs: list[Any]) -> Any:
        self.values = list(inputs)
        first = len(inputs)
        for place, node in enumerate(self.graph["nodes"]):
            number = first + place
            try:
                value, done = self.node(node, number)
            except Exception:  # Keras raises errors of many kinds
                self.alias[number] = self.where(node["reads"][0] % max(number, 1))
                self.values.append(self.values[self.alias[number]])
                self.nodes.append(None)
                continue
            self.values.append(value)
            self.nodes.append(done)
        outputs = self.outputs(first)
        self.graph["outputs"] = outputs
        given = [self.values[one] for one in outputs]
        if self.graph.get("sequential") and first == 1 and self.is_chain(outputs):
            layers = [self.objects.get(one + 1) for one, done in enumerate(self.nodes) if done]
            if all(isinstance(one, keras.layers.Layer) for one in layers):
                return keras.Sequential([inputs[0], *layers], name=self.name or None)
        out = given[0] if len(given) == 1 else given
        if self.graph.get("names") and len(given) > 1:
            out = {f"{chr(122 - place)}_out": one for place, one in enumerate(given)}
        return keras.Model(inputs[0] if first == 1 else inputs, out, name=self.name or None)

    def is_chain(self, outputs: list[int]) -> bool:
        before = 0
        for place, done in enumerate(self.nodes):
            if done:
                if done["reads"] != [before] or "again" in done:
                    return False
                before = place + 1
        return outputs == [before]

    def outputs(self, first: int) -> list[int]:
        """What the graph says, and without that what nobody reads."""
        made = [first + place for place, done in enumerate(self.nodes) if done]
        if not made:
            raise PassedOverError("no layer was made")
        said = [self.where(one) for one in self.graph.get("outputs", ()) if one < len(self.values)]
        said = [one for one in dict.fromkeys(said) if one in made]
        read = {one for done in self.nodes if done for one in done["reads"]}
        free = [one for one in made if one not in read]
        return list(dict.fromkeys([*said, *free])) if self.graph.get("all", True) else said or free

    def where(self, number: int) -> int:
        while number in self.alias:
            number = self.alias[number]
        return number

    def node(self, node: dict[str, Any], number: int) -> tuple[Any, dict[str, Any]]:
        """A node with what it reads; of those that it may read the first that Keras takes."""
        wanted = node.get("count", 1)
        candidates = list(dict.fromkeys(self.where(one % number) for one in node["reads"]))
        if wanted == 1:
            tries = [[one] for one in candidates[:3]]
        else:
            tries = [
                list(some)
                for some in itertools.product(candidates[:6], repeat=wanted)
                if len(set(some)) > 1
            ][:40]
        problem: Exception = PassedOverError("nothing to read")
        for reads in tries:
            try:
                value, settings = self.made(node, [self.values[one] for one in reads], number)
                if isinstance(value, dict):
                    value = [value[key] for key in sorted(value)]
                if isinstance(value, list | tuple):
                    value = value[node.get("take", 0) % len(value)]
                check(value)
                return value, {**node, "reads": reads, "with": settings}
            except Exception as error:  # noqa: PERF203  each may be refused for itself
                problem = error
        raise PassedOverError(str(problem)) from problem

    def made(self, node: dict[str, Any], values: list[Any], number: int) -> tuple[Any, Any]:
        settings = dict(node.get("with", {}))
        given = values if len(values) > 1 else values[0]
        if "again" in node:
            before = self.where(node["again"] % number)
            if before not in self.objects:
                raise PassedOverError("no layer")
            return self.objects[before](given), settings
        if "model" in node:
            return self.nested(node, values, number), settings
        name = node["do"]
        if name[0].islower() or not name[0].isalpha():
            return operator(name, values, settings), settings
        layer = self.layer(name.removesuffix(" of three"), values, settings, number)
        value = passed(layer, values, settings)
        is_first = getattr(layer, "data_format", "") == "channels_first"
        if is_first and getattr(layer, "use_bias", False) and value.shape[1] == value.shape[-1]:
            raise PassedOverError(BIAS)
        self.objects[number] = layer
        return value, settings

    def layer(self, name: str, values: list[Any], settings: dict[str, Any], number: int) -> Any:
        if name == "Embedding" and not self.are_ids(values[0]):
            raise PassedOverError("no whole numbers")
        if "pick" in settings:
            settings["target_shape"] = reshaped(values[0].shape[1:], settings.pop("pick"))
        kind = CLASSES.get(name) or getattr(keras.layers, name)
        given = {key: one for key, one in settings.items() if key not in ("call", "order")}
        if name in ("MaxPooling3D", "AveragePooling3D"):
            given["dtype"] = "float32"  # TensorFlow has none of float64
        if name == "LayerScale":
            given["projection_dim"] = values[0].shape[-1]
        if isinstance(given.get("activation"), dict):
            inner = given["activation"]
            given["activation"] = getattr(keras.layers, inner["do"])(**inner["with"])
        for key in ("layer", "backward_layer"):
            if key in given:  # of TimeDistributed and Bidirectional
                inner = given[key]
                given[key] = getattr(keras.layers, inner["do"])(**inner["with"])
        if name == "Normalization" and "mean" in given and isinstance(given["mean"], list):
            count = values[0].shape[given["axis"]]
            given["mean"] = np.resize(np.array(given["mean"]), count).tolist()
            given["variance"] = np.resize(np.array(given["variance"]), count).tolist()
        if name == "Rescaling" and isinstance(given["scale"], list):
            is_first = keras.config.image_data_format() == "channels_first"
            if is_first and not self.graph.get("scales"):  # whether they are is in no file
                raise PassedOverError("the scales would be those of another axis")
            count = values[0].shape[1 if is_first else -1]
            given["scale"] = np.resize(np.array(given["scale"]), count).tolist()
        if name == "Normalization" and "mean" not in given:
            layer = kind(**given)
            layer.build(values[0].shape)
            return layer
        return kind(**given, name=f"{name.lower()}_{number}")

    def are_ids(self, value: Any) -> bool:
        """Whether a value is an input of whole numbers."""
        return any(value is self.values[one] for one in self.graph.get("ids", ()))

    def nested(self, node: dict[str, Any], values: list[Any], number: int) -> Any:
        inner = Maker(dict(node["model"]), f"model_{number}")
        inputs = [
            keras.Input(value.shape[1:], name=f"inner_{place}")
            for place, value in enumerate(values)
        ]
        model = inner.model(inputs)
        self.objects[number] = model
        return model(values if len(values) > 1 else values[0])


def passed(layer: Any, values: list[Any], settings: dict[str, Any]) -> Any:
    """What a layer gives for values that are passed by place, or, with an `order`, by keyword."""
    more = settings.get("call", {})
    if "order" not in settings:
        return layer(values if len(values) > 1 else values[0], **more)
    roles = list(zip(settings["order"], values, strict=True))
    placed = [one for role, one in roles if not role]
    return layer(*placed, **{role: one for role, one in roles if role}, **more)


def check(value: Any) -> None:
    """Raise PassedOverError for a value that is not worth comparing."""
    shape = value.shape
    if shape[0] is not None or len(shape) < 2 or 0 in shape[1:]:
        raise PassedOverError(f"it gives {shape}")
    if np.prod([side or 8 for side in shape[1:]]) > MOST:
        raise PassedOverError("it gives too much")


def operator(name: str, values: list[Any], settings: dict[str, Any]) -> Any:
    given = dict(settings)
    if name == "x[...]":
        return values[0][sliced(given["key"])]
    if "pick" in given:
        settings["newshape"] = [-1, *reshaped(values[0].shape[1:], settings.pop("pick"))]
        if settings["newshape"].count(-1) > 1:
            raise PassedOverError("two are open")
        given = settings
    function = OPERATORS.get(name) or getattr(ops, name, None) or getattr(ops.nn, name)
    if "c" in given:
        return function(values[0], constant(values[0], given))
    if name == "resize":
        return function(values[0], tuple(given.pop("size")), **given)
    return function(*values, **given)


def weigh(model: Any, numbers: np.random.Generator) -> None:
    """Weights that are none of their defaults, of float32's numbers."""
    for weight in model.weights:
        path, shape = weight.path, tuple(weight.shape)
        if not shape or "seed" in path or not str(weight.dtype).startswith("float"):
            continue
        if "variance" in path:
            values = numbers.uniform(0.2, 2, shape)
        elif "gamma" in path:
            values = numbers.uniform(0.5, 1.5, shape) * numbers.choice([-1, 1, 1], shape)
        elif len(shape) > 1:
            values = numbers.uniform(-1, 1, shape) * (3 / np.prod(shape[:-1])) ** 0.5
        else:
            values = numbers.uniform(-1, 1, shape)
        weight.assign(values.astype("f4"))


def finalized(model: Any) -> None:
    """Norms that were adapted compute with what they kept when they were."""
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def make(graph: dict[str, Any], folder: Path) -> dict[str, Any]:
    keras.backend.clear_session()
    first = graph.get("channels_first", False)
    keras.config.set_image_data_format("channels_first" if first else "channels_last")
    seed, unknown = graph["seed"], graph.get("unknown", False)
    maker = Maker(graph)
    shapes = graph["inputs"]
    inputs = []
    for place, shape in enumerate(shapes):
        said = [
            None if unknown and one < len(shape) - 1 else side for one, side in enumerate(shape)
        ]
        inputs.append(keras.Input(said, name=f"given_{place}"))
    model = maker.model(inputs)
    if first and '"channels_first"' not in model.to_json():  # no Keras could tell, or this project
        return {"impossible": "no layer of it says that channels come first"}
    numbers = np.random.default_rng(seed)
    weigh(model, numbers)
    finalized(model)
    given = [
        numbers.integers(0, LEAST_ROWS, (2, *shape)).astype("f4")
        if place in graph.get("ids", ())
        else numbers.uniform(-2, 2, (2, *shape)).astype("f4")
        for place, shape in enumerate(shapes)
    ]
    wide = [one.astype("f8") for one in given]
    result = model(wide if len(wide) > 1 else wide[0], training=False)
    if isinstance(result, dict):
        named = {name: np.asarray(one) for name, one in result.items()}
    else:
        some = result if isinstance(result, list | tuple) else [result]
        named = {str(place): np.asarray(one) for place, one in enumerate(some)}
    if not all(one.size and np.isfinite(one).all() for one in named.values()):
        return {"impossible": "it gives numbers that are none"}
    file, record = folder / f"made{graph['ending']}", folder / "made.npz"
    model.save(file)
    np.savez(
        record,
        **{f"x{place}": one for place, one in enumerate(given)},
        **{f"y{name}": one for name, one in named.items()},
    )
    found = {"file": str(file), "record": str(record), "graph": kept(graph, maker)}
    return {**found, "classes": sorted(set(classes(model)))}


def classes(model: Any) -> Iterator[str]:
    """The classes of all layers and operators of a model, those of nested and wrapped ones too."""
    operations = getattr(model, "_functional", model).operations
    for one in operations:
        if hasattr(one, "operations"):
            yield from classes(one)
        else:
            yield type(one).__name__


def kept(graph: dict[str, Any], maker: Maker) -> dict[str, Any]:
    """The graph that was made: without what was passed over."""
    first = len(graph["inputs"])
    new = {place: place for place in range(first)}
    nodes: list[Any] = []
    for place, done in enumerate(maker.nodes):
        if done is not None:
            new[first + place] = first + len(nodes)
            nodes.append(done)
    for one in nodes:
        one["reads"] = [new[read] for read in one["reads"]]
        if "again" in one:
            one["again"] = new[maker.where(one["again"] % (first + len(maker.nodes)))]
    outputs = [new[one] for one in graph["outputs"]]
    return {**graph, "nodes": nodes, "outputs": outputs}


def main(folder: Path) -> None:
    keras.config.set_floatx("float64")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            answer = make(json.loads(line), folder)
        except Exception as error:
            answer = {"impossible": f"{type(error).__name__}: {error}"[:300]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
