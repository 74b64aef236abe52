"""Graphs of layers made, saved and run by an older Keras: tests/layer_graphs.py tells of them.

`python graph_keras_2.py FOLDER` speaks as tests/graph_keras.py does. It runs in the interpreter of
that Keras (Python 3.6 and later; Keras 1.2.2 to tf.keras 2.15), which knows nothing of this
project, and computes in float32, as that Keras did. Settings that it has no name for are left out,
or said in its own words; a layer that it lacks is passed over, and whoever reads it reads what it
would have.
"""

import itertools
import json
import os
import sys

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf

IS_EAGER = tf.__version__.startswith("2.")
IS_TF_KERAS = IS_EAGER or os.environ.get("GRAPHS_OF") == "tf.keras"
if IS_TF_KERAS:
    from tensorflow import keras
else:
    import keras

IS_KERAS_1 = not IS_TF_KERAS and keras.__version__.startswith("1.")
MOST = 20000

NEW = (
    *("groups", "keepdims", "output_padding", "interpolation", "rms_scaling", "invert"),
    *("crop_to_aspect_ratio", "pad_to_aspect_ratio", "dilation_rate", "threshold"),
    "reset_after",
)
"""Settings that came with later versions: left out where they are not taken."""

RENAMED = {"LeakyReLU": {"negative_slope": "alpha"}}

KERAS_1_NAMES = {
    "Conv1D": "Convolution1D",
    "Conv2D": "Convolution2D",
    "Conv3D": "Convolution3D",
    "SeparableConv2D": "SeparableConvolution2D",
}
KERAS_1_ARGUMENTS = {
    "filters": "nb_filter",
    "units": "output_dim",
    "padding": "border_mode",
    "strides": "subsample",
    "use_bias": "bias",
    "rate": "p",
    "stddev": "sigma",
}
KERAS_1_MODES = {
    "Add": "sum",
    "Multiply": "mul",
    "Average": "ave",
    "Maximum": "max",
    "Concatenate": "concat",
    "Dot": "dot",
}

OPERATORS = {
    "x + y": lambda x, y: x + y,
    "x - y": lambda x, y: x - y,
    "x * y": lambda x, y: x * y,
    "x / y": lambda x, y: x / (y * y + 1),
    "maximum": tf.maximum,
    "minimum": tf.minimum,
    "x + c": lambda x, c: x + c,
    "c + x": lambda x, c: c + x,
    "x - c": lambda x, c: x - c,
    "c - x": lambda x, c: c - x,
    "x * c": lambda x, c: x * c,
    "c * x": lambda x, c: c * x,
    "x / c": lambda x, c: x / c,
    "c / x": lambda x, c: c / (x * x + 1),
    "max c": tf.maximum,
    "min c": tf.minimum,
    "add c": tf.add,
    "multiply c": tf.multiply,
    "subtract c": tf.subtract,
    "divide c": tf.divide,
    "sqrt": lambda x: tf.sqrt(tf.square(x) + 1),
    "-x": lambda x: -x,
    "abs": abs,
    "exp": lambda x: tf.exp(tf.tanh(x)),
    "x ** 2": lambda x: x**2,
    "mean": lambda x, axis, keepdims: tf.reduce_mean(x, axis, keepdims=keepdims),
    "max": lambda x, axis, keepdims: tf.reduce_max(x, axis, keepdims=keepdims),
    "min": lambda x, axis, keepdims: tf.reduce_min(x, axis, keepdims=keepdims),
    "sum": lambda x, axis, keepdims: tf.reduce_sum(x, axis, keepdims=keepdims),
    "clip": lambda x, x_min, x_max: tf.clip_by_value(x, x_min, x_max),
    "concatenate": lambda *some, **given: tf.concat(some, given["axis"]),
    "stack": lambda *some, **given: tf.stack(some, given["axis"]),
    "transpose": lambda x, axes: tf.transpose(x, axes),
    "reshape": lambda x, newshape: tf.reshape(x, newshape),
    "pad": lambda x, pad_width, **more: tf.pad(x, pad_width, more.get("mode", "constant").upper()),
    "resize": lambda x, size, interpolation: tf.image.resize(x, size, interpolation),
    "softmax": lambda x, axis: tf.nn.softmax(x, axis),
    **{
        name: getattr(tf.nn, name)
        for name in ("relu", "relu6", "elu", "selu", "softplus", "softsign", "tanh", "sigmoid")
    },
    **{name: getattr(tf, name) for name in ("square", "tanh")},
}


class PassedOverError(Exception):
    """A node that this Keras does not take."""


def sides(value):
    """The axes of a value, the batch first."""
    found = getattr(value, "_keras_shape", None) or value.shape
    axes = [getattr(one, "value", one) for one in tuple(found)]
    return [None if one is None else int(one) for one in axes]


def reshaped(shape, pick):
    """One of the shapes of as many numbers, by `pick`; as tests/graph_keras.py has them."""
    total = int(np.prod(shape))
    found = [[total], [1, total], [total, 1]]
    for side in (2, 3, 4, 6):
        if total % side == 0:
            rest = total // side
            found += [[rest, side], [side, rest], [-1, side], [side, -1]]
            for other in (2, 3, 4):
                if rest % other == 0:
                    found += [[other, rest // other, side], [side, other, -1]]
    found += [list(one) for one in itertools.permutations(shape)]
    return found[pick % len(found)]


def sliced(spec):
    parts = [
        slice(*one) if isinstance(one, list) else Ellipsis if one == "..." else one for one in spec
    ]
    return tuple(parts)


def operator(name, values, settings):
    """What tf.keras makes a layer of; other Kerases have none."""
    if not IS_TF_KERAS:
        raise PassedOverError("operators are no layers")
    given = {key: one for key, one in settings.items() if key not in ("per", "pick")}
    if name == "x[...]":
        return values[0][sliced(given["key"])]
    if "pick" in settings:
        settings["newshape"] = [-1] + reshaped(sides(values[0])[1:], settings.pop("pick"))
        if settings["newshape"].count(-1) > 1:
            raise PassedOverError("two are open")
        given = settings
    if "c" in given:
        c = given["c"]
        if isinstance(c, list):
            c = np.resize(np.array(c, "f4"), sides(values[0])[-1])
        return OPERATORS[name](values[0], c)
    return OPERATORS[name](*values, **given)


def layer(name, values, settings, number):
    """A layer; with settings that it does not take left out."""
    given = dict(settings)
    if "pick" in given:
        settings["target_shape"] = reshaped(sides(values[0])[1:], settings.pop("pick"))
        given = {"target_shape": tuple(settings["target_shape"])}
    if isinstance(given.get("activation"), dict):
        given["activation"] = settings["activation"] = "relu"
    for key, new in RENAMED.get(name, {}).items():
        if key in given:
            given[new] = given.pop(key)
    for key in ("layer", "backward_layer"):
        if key in given:  # of TimeDistributed and Bidirectional
            inner = given[key]
            given[key] = layer(inner["do"], values, dict(inner["with"]), f"{number}_{key}")
    if name == "Normalization" and "mean" not in given:
        raise PassedOverError("it is not adapted")
    for key in ("mean", "variance"):
        if isinstance(given.get(key), list):
            given[key] = np.resize(np.array(given[key]), sides(values[0])[given["axis"]]).tolist()
    if name == "Rescaling" and isinstance(given["scale"], list):
        given["scale"] = np.resize(np.array(given["scale"]), sides(values[0])[-1]).tolist()
    own = "{}_{}".format(name.lower(), number)
    if IS_KERAS_1:
        return of_keras_1(name, values, given, own)
    kind = getattr(keras.layers, name)
    without = {key: one for key, one in given.items() if key not in NEW}
    plain = dict(without, activation="relu") if "activation" in without else without
    before = {key: one for key, one in plain.items() if key != "backward_layer"}
    for tried in (given, without, plain, before):
        try:
            return kind(name=own, **tried)
        except (TypeError, ValueError):
            continue
    raise PassedOverError("none of its settings are taken")


def each(value, axes):
    return tuple(value) if isinstance(value, list) else (value,) * axes


def of_keras_1(name, values, given, own):
    """The layer in Keras 1's words; what it has none for is left out."""
    axes = int(name[-2]) if name.endswith("D") and name[-2].isdigit() else 0
    given = {KERAS_1_ARGUMENTS.get(key, key): one for key, one in given.items() if key not in NEW}
    given.pop("data_format", None)
    if name == "BatchNormalization":
        given = {key: one for key, one in given.items() if key not in ("scale", "center")}
    if "kernel_size" in given:
        kernel = each(given.pop("kernel_size"), axes)
        given.update(zip(KERNELS[axes], kernel))
    if "subsample" in given:
        strides = each(given.pop("subsample"), axes)
        given["subsample_length" if axes == 1 else "subsample"] = (
            strides[0] if axes == 1 else strides
        )
    if "Pooling" in name and not name.startswith("Global"):
        size, stride = each(given.pop("pool_size"), axes), given.pop("subsample", None)
        stride = given.pop("subsample_length", stride)
        if axes == 1:
            given["pool_length"] = size[0]
            given["stride"] = stride
        else:
            given["pool_size"] = size
            given["strides"] = None if stride is None else each(stride, axes)
    if name.startswith(("ZeroPadding", "Cropping")):
        key = "padding" if "border_mode" in given else "cropping"
        given = {key: padding_1(given.get("border_mode", given.get("cropping")), axes, key)}
    if name.startswith("UpSampling"):
        size = each(given["size"], axes)
        given = {"length": size[0]} if axes == 1 else {"size": size}
    if given.get("activation", "relu") is None:
        given["activation"] = "linear"
    if name in KERAS_1_MODES:
        raise PassedOverError("Keras 1 joins by a function")
    return getattr(keras.layers, KERAS_1_NAMES.get(name, name))(name=own, **given)


KERNELS = {
    1: ("filter_length",),
    2: ("nb_row", "nb_col"),
    3: ("kernel_dim1", "kernel_dim2", "kernel_dim3"),
}


def padding_1(amount, axes, key):
    """(before, after) of each axis as Keras 1 takes them."""
    if axes == 1:
        return amount if isinstance(amount, int) and key == "padding" else each(amount, 2)
    amount = each(amount, axes)
    if key == "cropping":
        return tuple(tuple(one) if isinstance(one, list) else (one, one) for one in amount)
    if isinstance(amount[0], list):
        if axes == 3:
            raise PassedOverError("one amount for each axis")
        return tuple(itertools.chain(*amount))
    return amount


def joined_1(name, values, settings, own):
    given = {"mode": KERAS_1_MODES[name], "name": own}
    if name == "Concatenate":
        given["concat_axis"] = settings["axis"]
    if name == "Dot":
        given["dot_axes"] = settings["axes"]
    return keras.layers.merge(values, **given)


class Maker(object):
    """A functional model in the making, as that of tests/graph_keras.py."""

    def __init__(self, graph, name=None):
        self.graph, self.name = graph, name
        self.objects, self.values, self.alias, self.nodes = {}, [], {}, []

    def model(self, inputs):
        self.values = list(inputs)
        first = len(inputs)
        for place, node in enumerate(self.graph["nodes"]):
            number = first + place
            try:
                value, done = self.node(node, number)
            except Exception:
                self.alias[number] = self.where(node["reads"][0] % max(number, 1))
                self.values.append(self.values[self.alias[number]])
                self.nodes.append(None)
                continue
            self.values.append(value)
            self.nodes.append(done)
        outputs = self.outputs(first)
        self.graph["outputs"] = outputs
        given = [self.values[one] for one in outputs]
        one, other = inputs[0] if first == 1 else inputs, given[0] if len(given) == 1 else given
        kind = keras.models.Model
        return (
            kind(input=one, output=other, **self.named())
            if IS_KERAS_1
            else kind(one, other, **self.named())
        )

    def named(self):
        return {"name": self.name} if self.name else {}

    def outputs(self, first):
        made = [first + place for place, done in enumerate(self.nodes) if done]
        if not made:
            raise PassedOverError("no layer was made")
        read = {one for done in self.nodes if done for one in done["reads"]}
        free = [one for one in made if one not in read]
        said = [self.where(one) for one in self.graph.get("outputs", ()) if one < len(self.values)]
        said = [one for one in said if one in made]
        return sorted(set(said) | set(free)) if self.graph.get("all", True) else said[:1] or free

    def where(self, number):
        while number in self.alias:
            number = self.alias[number]
        return number

    def node(self, node, number):
        wanted = node.get("count", 1)
        candidates = list(dict.fromkeys(self.where(one % number) for one in node["reads"]))
        tries = [[one] for one in candidates[:3]]
        if wanted > 1:
            some = itertools.product(candidates[:6], repeat=wanted)
            tries = [list(one) for one in some if len(set(one)) > 1][:40]
        problem = PassedOverError("nothing to read")
        for reads in tries:
            try:
                value, settings = self.made(node, [self.values[one] for one in reads], number)
                if isinstance(value, (list, tuple)):
                    value = value[node.get("take", 0) % len(value)]
                check(value)
                return value, dict(node, reads=reads, **{"with": settings})
            except Exception as error:
                problem = error
        raise PassedOverError(str(problem))

    def made(self, node, values, number):
        settings = dict(node.get("with", {}))
        given = values if len(values) > 1 else values[0]
        if "again" in node:
            return self.objects[self.where(node["again"] % number)](given), settings
        if "model" in node:
            return self.nested(node, values, number), settings
        name = node["do"]
        if name[0].islower() or not name[0].isalpha():
            return operator(name, values, settings), settings
        if IS_KERAS_1 and name in KERAS_1_MODES:
            return joined_1(name, values, settings, "{}_{}".format(name.lower(), number)), settings
        made = layer(name, values, settings, number)
        value = made(given)
        self.objects[number] = made
        return value, settings

    def nested(self, node, values, number):
        inner = Maker(dict(node["model"]), "model_{}".format(number))
        inputs = [
            keras.layers.Input(tuple(sides(value)[1:]), name="inner_{}_{}".format(number, place))
            for place, value in enumerate(values)
        ]
        model = inner.model(inputs)
        result = model(values if len(values) > 1 else values[0])
        self.objects[number] = model
        return result


def check(value):
    shape = sides(value)
    if shape[0] is not None or len(shape) < 2 or 0 in shape[1:]:
        raise PassedOverError("it gives {}".format(shape))
    if np.prod([side or 8 for side in shape[1:]]) > MOST:
        raise PassedOverError("it gives too much")


def weigh(model, numbers):
    """Weights that are none of their defaults."""
    found = []
    for weight, now in zip(model.weights, model.get_weights()):
        name, shape = weight.name, now.shape
        if not shape or now.dtype.kind != "f":
            found.append(now)
            continue
        if "variance" in name or "running_std" in name:
            values = numbers.uniform(0.2, 2, shape)
        elif "gamma" in name:
            values = numbers.uniform(0.5, 1.5, shape) * numbers.choice([-1, 1, 1], shape)
        elif len(shape) > 1:
            values = numbers.uniform(-1, 1, shape) * (3.0 / np.prod(shape[:-1])) ** 0.5
        else:
            values = numbers.uniform(-1, 1, shape)
        found.append(values.astype("f4"))
    model.set_weights(found)


def make(graph, folder):
    keras.backend.clear_session()
    order = "channels_first" if graph.get("channels_first") else "channels_last"
    if IS_KERAS_1:
        keras.backend.set_image_dim_ordering("th" if graph.get("channels_first") else "tf")
    else:
        keras.backend.set_image_data_format(order)
    maker = Maker(graph)
    shapes = graph["inputs"]
    inputs = []
    for place, shape in enumerate(shapes):
        any_size = graph.get("unknown", False)
        said = [
            None if any_size and one < len(shape) - 1 else side for one, side in enumerate(shape)
        ]
        inputs.append(keras.layers.Input(tuple(said), name="given_{}".format(place)))
    model = maker.model(inputs)
    if (
        graph.get("channels_first")
        and ('"channels_first"' not in model.to_json())
        and ('"th"' not in model.to_json())
    ):
        return {"impossible": "no layer of it says that channels come first"}
    numbers = np.random.RandomState(graph["seed"] % 2**31)
    weigh(model, numbers)
    given = [numbers.uniform(-2, 2, tuple([2] + shape)).astype("f4") for shape in shapes]
    both = given if len(given) > 1 else given[0]
    # predict of TensorFlow 2.10 computes some graphs wrong that a call does not: it merges a
    # LayerNormalization whose result is concatenated into a kernel that leaves out its epsilon.
    result = model(both, training=False) if IS_EAGER else model.predict(both)
    some = [np.asarray(one) for one in (result if isinstance(result, (list, tuple)) else [result])]
    if not all(one.size and np.isfinite(one).all() for one in some):
        return {"impossible": "it gives numbers that are none"}
    file, record = os.path.join(folder, "made.h5"), os.path.join(folder, "made.npz")
    model.save(file)
    arrays = {"x{}".format(place): one for place, one in enumerate(given)}
    arrays.update({"y{}".format(place): one for place, one in enumerate(some)})
    np.savez(record, **arrays)
    found = {"file": file, "record": record, "graph": kept(graph, maker), "float32": True}
    found["classes"] = sorted({type(one).__name__ for one in model.layers})
    return found


def kept(graph, maker):
    """The graph that was made: without what was passed over."""
    first = len(graph["inputs"])
    new = {place: place for place in range(first)}
    nodes = []
    for place, done in enumerate(maker.nodes):
        if done is not None:
            new[first + place] = first + len(nodes)
            nodes.append(done)
    for one in nodes:
        one["reads"] = [new[read] for read in one["reads"]]
        if "again" in one:
            one["again"] = new[maker.where(one["again"] % (first + len(maker.nodes)))]
    return dict(graph, nodes=nodes, outputs=[new[one] for one in graph["outputs"]])


def main(folder):
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in iter(sys.stdin.readline, ""):
        try:
            answer = make(json.loads(line), folder)
        except Exception as error:
            answer = {"impossible": "{}: {}".format(type(error).__name__, error)[:300]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
