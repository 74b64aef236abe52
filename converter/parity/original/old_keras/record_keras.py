"""Record what Keras computes from a model file, so that a conversion can be proven equal to it.

    python record_keras.py model.h5 record.npz                              a whole model
    python record_keras.py weights.h5 record.npz --config model.json                weights only
    python record_keras.py weights.h5 record.npz --build package.module:ResNet50    the same
    python record_keras.py weights.h5 record.npz --build "path/file.py:make(classes=7)"

One file that needs Keras and numpy only: copy it to the machine where the old model still runs.
Python 2.7 to 3.13; Keras 1, 2 and 3, `keras` or `tf.keras`, on any backend.

The record is an `.npz` without pickles:

    input                 float32 (N, H, W, C), exactly what the network received, or the
                          transpose of it if that was channels-first; with --input-as-seed it is
                          not kept: `meta` says how to make it again
    output                what the model returned; `output/<layer>` for each of several outputs
    logits                the last tensor before the final activation, where there is one;
                          `logits/<layer>` for each of several outputs
    layer/<name>          that layer's activation, (N, H, W, C), with --whole of the first picture
                          only, (1, H, W, C); or, of a large one, a sample:
    layer/<name>/index    int64, where the elements lie in the flattened activation
    layer/<name>/value    and their values
    config                the model's own to_json(), where it has one
    meta                  JSON: versions, layer names in order, sha256 of the model file, options;
                          with --input-as-seed, `generated_input`: the generator (one of GENERATORS
                          below), its seed, the shape and the sha256 of the input's little-endian
                          float32, in the order (N, H, W, C)

With --config-only nothing is run: RECORD is the to_json() of the model that --build builds.
"""

from __future__ import absolute_import, division, print_function

import argparse
import ast
import hashlib
import importlib
import json
import os
import platform
import runpy
import sys
import threading
import traceback

import numpy as np

MERGES = ("Add", "Merge", "Concatenate", "Average", "Maximum", "Multiply", "Subtract")
SPREAD = 7919  # a prime: multiples of it land all over an activation


class RecordError(Exception):
    """Something that the user can mend; shown without a traceback."""


# ---------------------------------------------------------------- one Keras or another


def import_keras(name):
    """The Keras asked for; without a name, standalone Keras before TensorFlow's own."""
    for candidate in [name] if name else ["keras", "tensorflow.keras", "tf_keras"]:
        try:
            module = importlib.import_module(candidate.replace("tf.keras", "tensorflow.keras"))
            if "theano" in sys.modules:
                importlib.import_module("theano.ifelse")  # Keras uses it and does not import it
            if hasattr(module, "__version__"):
                return module
        except ImportError as error:
            problem = error
    raise RecordError("cannot import {}: {}".format(name or "keras or tensorflow.keras", problem))


def major(keras):
    return int(keras.__version__.split(".")[0])


def backend_name(keras):
    return keras.backend.backend()


def data_format_of(keras, model):
    """'channels_first' or 'channels_last': what the model's layers say, or Keras' default."""
    for layer in all_layers(model):
        order = getattr(layer, "data_format", None) or getattr(layer, "dim_ordering", None)
        if order in ("th", "channels_first"):
            return "channels_first"
        if order in ("tf", "channels_last"):
            return "channels_last"
    return default_data_format(keras)


def default_data_format(keras):
    """'channels_first' or 'channels_last': what layers that do not say otherwise use."""
    backend = keras.backend
    if hasattr(backend, "image_data_format"):
        return backend.image_data_format()
    return {"th": "channels_first", "tf": "channels_last"}[backend.image_dim_ordering()]


def set_data_format(keras, data_format):
    """Set what layers that do not say otherwise use."""
    if hasattr(keras.backend, "set_image_data_format"):
        keras.backend.set_image_data_format(data_format)
    else:
        keras.backend.set_image_dim_ordering(
            {"channels_first": "th", "channels_last": "tf"}[data_format]
        )


def new_model(keras, inputs, outputs):
    """`Model(inputs, outputs)` under the argument names of either Keras."""
    inputs = inputs if len(inputs) > 1 else inputs[0]
    if major(keras) == 1:
        return keras.models.Model(input=inputs, output=outputs)
    return keras.models.Model(inputs=inputs, outputs=outputs)


def evaluator(keras, inputs, tensors):
    """A function from the inputs' arrays to {id of tensor: value}, in inference mode."""
    known = {id(tensor) for tensor in inputs}
    wanted = list({id(tensor): tensor for tensor in tensors if id(tensor) not in known}.values())
    model = new_model(keras, inputs, wanted) if wanted else None

    def values(arrays):
        found = dict(zip([id(tensor) for tensor in inputs], arrays))
        if model is not None:
            found.update(zip([id(tensor) for tensor in wanted], call(keras, model, arrays)))
        return found

    return values


def call(keras, model, arrays):
    """The outputs of a model for one whole batch, as numpy arrays."""
    arrays = arrays if len(arrays) > 1 else arrays[0]
    if major(keras) >= 3:
        return [
            keras.ops.convert_to_numpy(value) for value in as_list(model(arrays, training=False))
        ]
    return [np.asarray(value) for value in as_list(model.predict_on_batch(arrays))]


# ---------------------------------------------------------------- loading


def resolve(reference, folder=None):
    """The object that `module:name` or `path/file.py:name` names, looked for in `folder`, which is
    the working directory where none is given."""
    where, _, name = reference.rpartition(":")
    if not where:
        raise RecordError("{}: expected module:name or path/file.py:name".format(reference))
    folder = os.path.abspath(folder or os.getcwd())
    sys.path.insert(0, folder)
    if where.endswith(".py"):
        where = os.path.join(folder, where)
        if not os.path.exists(where):
            raise RecordError("{}: no such file".format(where))
        names = runpy.run_path(where)
    else:
        try:
            names = vars(importlib.import_module(where))
        except ImportError as error:
            raise RecordError("cannot import {}: {}".format(where, error))
    if name not in names:
        raise RecordError("{} has no {}".format(where, name))
    return names[name]


def called(reference):
    """`module:name(1, classes=7)` → (`module:name`, [1], {"classes": 7}): literals alone."""
    name, parenthesis, rest = reference.partition("(")
    if not parenthesis:
        return reference, [], {}
    try:
        call = ast.parse("f(" + rest, mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError("not one call")
        if getattr(call, "starargs", None) or getattr(call, "kwargs", None):  # Python 2
            raise ValueError("stars")
        named = {one.arg: ast.literal_eval(one.value) for one in call.keywords}
        if None in named:
            raise ValueError("stars")
        return name, [ast.literal_eval(one) for one in call.args], named
    except (SyntaxError, ValueError):
        raise RecordError(
            "{}: expected module:name(arguments), each a literal: a number, a text in quotes, "
            "True, False, None, or lists and dicts of them".format(reference)
        )


SHOWN = 6  # lines of a traceback


def build_model(options):
    """The model that the user's own code builds. What that raises is shown as its own."""
    name, arguments, named = called(options.build)
    try:
        return resolve(name, options.code)(*arguments, **named)
    except RecordError:
        raise
    except (Exception, SystemExit):
        kind, error, trace = sys.exc_info()
        words = "".join(traceback.format_exception(kind, error, trace.tb_next))
        lines = words.rstrip().splitlines()[-SHOWN:]
        text = "the code of {} ended with an error of its own:\n{}"
        raise RecordError(text.format(options.build, "\n".join(lines)))


def load_model(keras, path, options):
    """The model with the file's weights in it."""
    custom = {reference.rpartition(":")[2]: resolve(reference) for reference in options.custom}
    if options.build:
        model = build_model(options)
        model.load_weights(path)
        return model
    if options.config:
        model = from_config(keras, text_of(options.config), custom)
        model.load_weights(path)
        return model
    model = load_whole_model(keras, path, custom)
    return in_float64(keras, model, custom) if options.float64 else model


def load_whole_model(keras, path, custom):
    """A model from its own file, without compiling it."""
    try:
        return keras.models.load_model(path, custom_objects=custom, compile=False)
    except ValueError as error:
        raise RecordError("{}: {}\n{}".format(path, error, hint(str(error))))
    except TypeError as error:  # an early Keras that always compiles: build from the config instead
        if "compile" not in str(error):
            raise
    model = from_config(keras, model_config(path), custom)
    model.load_weights(path)
    return model


def from_config(keras, text, custom):
    """The model of a configuration, without its weights."""
    for order, name in (("th", "channels_first"), ("tf", "channels_last")):
        if (
            '"dim_ordering": "{}"'.format(order) in text
        ):  # Keras 1's ZeroPadding2D does not record it
            set_data_format(keras, name)
    return keras.models.model_from_json(text, custom_objects=custom)


def text_of(path):
    """The text of a file, as this Python has text."""
    with open(path, "rb") as file:
        return file.read().decode("utf8")


def model_config(path):
    """The text of an HDF5 file's model_config."""
    import h5py  # every Keras that saved HDF5 came with it

    with h5py.File(path, "r") as file:
        config = file.attrs.get("model_config")
    if config is None:
        raise RecordError("{}: {}".format(path, hint("")))
    return config if isinstance(config, str) else config.decode("utf8")


def hint(message):
    """What to try after load_model failed."""
    if "Unknown" in message or "custom" in message:
        return "a layer class of your own is named with --custom module:Class"
    return (
        "a file of weights only needs --config model.json (its to_json()), or "
        "--build module:function, which returns the model"
    )


def in_float64(keras, model, custom):
    """The same model computing in float64."""
    text = model.to_json().replace('"float32"', '"float64"')
    twin = keras.models.model_from_json(text, custom_objects=custom)
    twin.set_weights(model.get_weights())
    return twin


# ---------------------------------------------------------------- the graph


class Call(object):
    """One layer applied once: its input tensors and its output tensors."""

    def __init__(self, layer, inputs, outputs):
        self.layer, self.inputs, self.outputs = layer, as_list(inputs), as_list(outputs)


def as_list(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


def graph_of(model):
    """A Sequential's functional model inside, or the model itself."""
    for name in ("_functional", "model"):
        inner = getattr(model, name, None)
        if type(model).__name__ == "Sequential" and inner is not None:
            return inner
    return model


def is_model(layer):
    return hasattr(layer, "layers") and hasattr(layer, "predict_on_batch")


def all_layers(model):
    """Every layer in order, those of nested models in the place of the model."""
    for layer in graph_of(model).layers:
        if is_model(layer):
            for inner in all_layers(layer):
                yield inner
        else:
            yield layer


def calls_of(model):
    """Every call in the model, {layer name: [Call...]}, in the order of `model.layers`."""
    by_depth = getattr(model, "_nodes_by_depth", None) or getattr(model, "nodes_by_depth", None)
    if not by_depth:
        raise RecordError(
            "{}: a subclassed model has no graph to record; use --layers none".format(model.name)
        )
    calls = {layer.name: [] for layer in model.layers}
    for depth in sorted(by_depth, reverse=True):
        for node in by_depth[depth]:
            call = call_of(node)
            if call.layer.name in calls and type(call.layer).__name__ != "InputLayer":
                calls[call.layer.name].append(call)
    return [(layer, calls[layer.name]) for layer in model.layers if calls[layer.name]]


def call_of(node):
    layer = first_attribute(node, "operation", "outbound_layer", "layer")
    inputs = first_attribute(node, "input_tensors", "keras_inputs")
    return Call(layer, inputs, first_attribute(node, "output_tensors", "outputs"))


def first_attribute(thing, *names):
    for name in names:
        value = getattr(thing, name, None)
        if value is not None:
            return value
    raise RecordError(
        "this Keras is unknown: {} has none of {}".format(type(thing).__name__, ", ".join(names))
    )


# ---------------------------------------------------------------- running


class Trace(object):
    """The activations of one model and of the models in it: `names` in order, `values` by name."""

    def __init__(self):
        self.names, self.values, self.blocks = [], {}, set()

    def add(self, name, value):
        self.names.append(name)
        self.values[name] = value


def run(keras, model, arrays):
    """A Trace of all layers, and the logits of every output (None where there are none)."""
    model = graph_of(model)
    calls = calls_of(model)
    wanted = [tensor for _, some in calls for call in some for tensor in call.inputs + call.outputs]
    values = evaluator(keras, as_list(model.inputs), wanted)(arrays)
    trace, inner_logits = Trace(), {}
    taken = {layer.name for layer, _ in calls if not is_model(layer)}
    for layer, some in calls:
        if is_model(layer):
            inputs = [
                joined([values[id(tensor)] for tensor in part]) for part in zip(*inputs_of(some))
            ]
            inner, inner_logits[layer.name] = run(keras, layer, inputs)
            add_nested(trace, inner, layer.name, taken)
        else:
            trace.add(layer.name, joined([values[id(call.outputs[0])] for call in some]))
    trace.blocks |= block_layers(model, calls)
    return trace, [
        logits_of(tensor, calls, values, inner_logits) for tensor in as_list(model.outputs)
    ]


def add_nested(trace, inner, prefix, taken):
    """Take in a nested model's activations; a taken name gets the model's name before it."""
    for name in inner.names:
        mine = prefix + "/" + name if name in taken or name in trace.values else name
        trace.add(mine, inner.values[name])
        if name in inner.blocks:
            trace.blocks.add(mine)


def inputs_of(calls):
    return [call.inputs for call in calls]


def joined(values):
    """The one value of a layer called once; the whole batch of one called on parts (multi-GPU)."""
    return values[0] if len(values) == 1 else np.concatenate(values, axis=0)


def block_layers(model, calls):
    """The names of merge layers, of the layers right after them, and of the last layers."""
    merged, names = {id(tensor) for tensor in as_list(model.outputs)}, set()
    for layer, some in calls:
        after = any(id(tensor) in merged for call in some for tensor in call.inputs)
        final = any(id(tensor) in merged for call in some for tensor in call.outputs)
        if type(layer).__name__ in MERGES:
            merged.update(id(tensor) for call in some for tensor in call.outputs)
        if after or final or type(layer).__name__ in MERGES:
            names.add(layer.name)
    return names


# ---------------------------------------------------------------- logits


def logits_of(tensor, calls, values, inner_logits):
    """The last tensor before the final activation of the layer that makes `tensor`, or None."""
    layer, call = maker(tensor, calls)
    if layer is None or np.ndim(values[id(tensor)]) != 2:
        return None
    source = whole_batch_of(layer, call, calls)
    if source is not None:
        return inner_logits[source.name][0]
    if is_model(layer):
        position = [id(t) for t in call.outputs].index(id(tensor))
        return inner_logits[layer.name][position]
    kind = type(layer).__name__
    if kind in ("Activation", "Softmax"):
        return values[id(call.inputs[0])]
    if kind == "Dense":
        linear = activation_name(layer) == "linear"
        return (
            values[id(tensor)] if linear else before_activation(layer, values[id(call.inputs[0])])
        )
    return None


def maker(tensor, calls):
    """The layer and the call that make a tensor."""
    for layer, some in calls:
        for call in some:
            if any(output is tensor for output in call.outputs):
                return layer, call
    return None, None


def whole_batch_of(layer, call, calls):
    """The nested model whose outputs this layer joins along the batch (multi-GPU), or None."""
    if type(layer).__name__ not in ("Concatenate", "Merge"):
        return None
    if 0 not in (getattr(layer, "axis", None), getattr(layer, "concat_axis", None)):
        return None
    source = maker(call.inputs[0], calls)[0]
    same = all(maker(tensor, calls)[0] is source for tensor in call.inputs)
    return source if same and source is not None and is_model(source) else None


def activation_name(layer):
    activation = layer.activation
    return getattr(activation, "__name__", type(activation).__name__)


def before_activation(layer, features):
    """A Dense layer's sum, in float64, from the features that Keras computed."""
    weights = [np.asarray(weight, dtype="float64") for weight in layer.get_weights()]
    total = np.dot(np.asarray(features, dtype="float64"), weights[0])
    return total + weights[1] if len(weights) > 1 else total


# ---------------------------------------------------------------- inputs


def generated(count, height, width, channels, seed=0):
    """Seeded pictures of whole numbers about zero, noisy and smooth by turns, (N, H, W, C).

    Records made with --input-as-seed need it as it is: numpy's policy (NEP 19) freezes the stream
    of RandomState, and the rounding to whole numbers takes off what machines' sines differ by in
    the last bit. Other pictures would be another row of GENERATORS.
    """
    random = np.random.RandomState(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    pictures = []
    for k in range(count):
        if k % 2 == 0:
            picture = 24 * random.randint(
                -5, 6, (height, width, channels)
            )  # in coarse steps: compresses well
        else:
            waves = [
                np.sin(
                    rows * random.uniform(0.02, 0.2)
                    + columns * random.uniform(-0.2, 0.2)
                    + random.uniform(0, 6)
                )
                for _ in range(channels)
            ]
            picture = 110 * np.stack(waves, axis=-1)
        pictures.append(np.round(picture))
    return np.stack(pictures).astype("float32")


GENERATORS = {"noise-and-waves": generated}
SEED = 0


def recipe(pictures):
    """How generated pictures are made again, for a record's `meta`."""
    return {
        "generator": "noise-and-waves",
        "seed": SEED,
        "shape": list(pictures.shape),
        "sha256": array_sha256(pictures),
    }


def made_again(recipe):
    """The pictures of a recipe. Raises ValueError where they are not those that it was made of."""
    generator = str(recipe["generator"])
    if generator not in GENERATORS:
        known = ", ".join(GENERATORS)
        raise ValueError("its input's generator is {:.40}: known are {}".format(generator, known))
    pictures = GENERATORS[generator](*recipe["shape"], seed=recipe["seed"])
    if array_sha256(pictures) != recipe["sha256"]:
        raise ValueError(
            "its input, made again from seed {}, has another sha256 than what was recorded: make "
            "the record without --input-as-seed".format(recipe["seed"])
        )
    return pictures


def array_sha256(array):
    """That of the numbers, whichever machine they are on."""
    return hashlib.sha256(np.ascontiguousarray(array, dtype="<f4").tobytes()).hexdigest()


def photos(keras, folder, height, width, mode):
    """The pictures of a folder, in the order of their names, loaded by Keras itself."""
    load_img = load_img_of(keras)
    names = sorted(
        n for n in os.listdir(folder) if n.lower().endswith((".jpg", ".jpeg", ".png", ".bmp"))
    )
    if not names:
        raise RecordError("{} holds no pictures".format(folder))
    odd = [name for name in names if not os.path.isfile(os.path.join(folder, name))]
    if odd:
        raise RecordError("{} is no plain file".format(os.path.join(folder, odd[0])))
    pictures = [load_img(os.path.join(folder, name), target_size=(height, width)) for name in names]
    return preprocess(
        np.stack([np.asarray(picture.convert("RGB"), dtype="float32") for picture in pictures]),
        mode,
    )


def load_img_of(keras):
    """Keras' own loader of pictures, which has moved."""
    if hasattr(keras.utils, "load_img"):
        return keras.utils.load_img
    return importlib.import_module(keras.__name__ + ".preprocessing.image").load_img


def preprocess(pictures, mode):
    """Keras' own ways of preparing RGB 0..255 pictures, and x / 255."""
    if mode == "caffe":
        return pictures[..., ::-1] - np.array([103.939, 116.779, 123.68], dtype="float32")
    if mode == "tf":
        return pictures / np.float32(127.5) - np.float32(1)
    if mode == "torch":
        mean, std = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], dtype="float32")
        return (pictures / np.float32(255) - mean) / std
    if mode == "unit":
        return pictures / np.float32(255)
    return pictures


def make_input(keras, model, data_format, options):
    """The network's input, (N, H, W, C)."""
    if options.input:
        return input_of(options.input)
    shape = input_shape(model)
    channels, height, width = (
        shape[1:] if data_format == "channels_first" else (shape[3], shape[1], shape[2])
    )
    if options.size:
        height, width = height or options.size[0], width or options.size[1]
    if not height or not width:
        raise RecordError("the model takes pictures of any size: give one with --size HxW")
    if options.images:
        return photos(keras, options.images, height, width, options.preprocess)
    return generated(options.inputs, height, width, channels or 3, SEED)


def input_of(path):
    """The input of another record, which may keep how it was made in its place."""
    with np.load(path) as other:
        if "input" in other.files:
            return other["input"]
        return made_again(json.loads(str(other["meta"]))["generated_input"])


def input_shape(model):
    """(N, H, W, C) or (N, C, H, W), None where free."""
    if len(as_list(model.inputs)) != 1:
        raise RecordError(
            "the model has {} inputs; only one is supported".format(len(as_list(model.inputs)))
        )
    tensor = as_list(model.inputs)[0]
    shape = getattr(tensor, "_keras_shape", None) or tuple(tensor.shape)
    shape = tuple(
        size if size is None or isinstance(size, int) else getattr(size, "value", size)
        for size in shape
    )
    if len(shape) != 4:
        raise RecordError("the model's input is {}, not pictures".format(shape))
    return shape


# ---------------------------------------------------------------- the record


def make_record(keras, path, options):
    """{key: array}, ready to be saved."""
    model = load_model(keras, path, options)
    data_format = data_format_of(keras, model)
    pictures = make_input(keras, model, data_format, options)
    first = data_format == "channels_first"
    batch = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)) if first else pictures
    record = {} if options.input_as_seed else {"input": pictures}
    names = add_outputs(record, keras, model, batch, first, options)
    meta = describe(keras, model, path, data_format, names, options)
    if options.input_as_seed:
        meta["generated_input"] = recipe(pictures)
    text = config_of(model)
    if text is not None:
        record["config"] = np.array(text, dtype="U")
    record["meta"] = np.array(json.dumps(meta, sort_keys=True), dtype="U")  # text on Python 2 too
    return record


def config_of(model):
    """The model's own to_json(); None of a model whose layers are in its code alone."""
    try:
        return model.to_json()
    except Exception:  # NotImplementedError, TypeError, ... as the Kerases have it
        return None


def add_outputs(record, keras, model, batch, first, options):
    """Run the model, put its outputs, logits and layers in the record; the layer names in order."""
    outputs = call(keras, model, [batch])
    suffixes = [""] if len(outputs) == 1 else ["/" + name for name in output_names(model)]
    for suffix, value in zip(suffixes, outputs):
        record["output" + suffix] = channels_last(value, first)
    if options.layers == "none" and not hasattr(graph_of(model), "_nodes_by_depth"):
        return [layer.name for layer in model.layers]
    trace, logits = run(keras, model, [batch])
    for suffix, value in zip(suffixes, logits):
        if value is not None:
            record["logits" + suffix] = value
    for name in trace.names:
        if options.layers == "all" or (options.layers == "blocks" and name in trace.blocks):
            value = channels_last(trace.values[name], first)
            whole = {"layer/" + name: value[:1]}
            record.update(whole if options.whole else sampled(name, value, options.samples))
    return trace.names


def output_names(model):
    names = getattr(model, "output_names", None)
    return names or ["output_{}".format(k) for k in range(len(as_list(model.outputs)))]


def channels_last(value, first):
    """An activation in (N, H, W, C) order, in memory too."""
    return np.ascontiguousarray(value.transpose(0, 2, 3, 1)) if first and value.ndim == 4 else value


def sampled(name, value, samples):
    """A small activation whole, of a large one elements from all over it."""
    if value.size <= samples:
        return {"layer/" + name: value}
    index = np.unique(np.arange(samples, dtype="int64") * SPREAD % value.size)
    return {"layer/" + name + "/index": index, "layer/" + name + "/value": value.reshape(-1)[index]}


def describe(keras, model, path, data_format, names, options):
    """The record's `meta`."""
    tensorflow = sys.modules.get("tensorflow")
    return {
        "keras": keras.__version__,
        "backend": backend_name(keras),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "tensorflow": getattr(tensorflow, "__version__", None),
        "theano": getattr(sys.modules.get("theano"), "__version__", None),
        "file": os.path.basename(path),
        "sha256": sha256(path),
        "dtype": "float64" if options.float64 else "float32",
        "data_format": data_format,
        "preprocess": options.preprocess if options.images else None,
        "at_fault": at_fault(keras, model, data_format),
        "layers": names,
        "input_names": list(getattr(model, "input_names", [])),
        "options": {
            key: without_folders(value)
            for key, value in vars(options).items()
            if key not in ("model", "record")
        },
    }


def at_fault(keras, model, data_format):
    """The layers that this Keras computes wrongly: keras.ops.add of Keras 3.15 on TensorFlow adds a
    channels-first bias along the width where that is the number of filters."""
    add = getattr(getattr(keras, "ops", None), "add", None)
    if data_format != "channels_first" or add is None:
        return []
    bias = np.array([1, 2], dtype="float32").reshape(1, 2, 1, 1)
    zeros = np.zeros((1, 2, 1, 2), dtype="float32")
    if np.array_equal(keras.ops.convert_to_numpy(add(zeros, bias)), zeros + bias):
        return []
    return [
        layer.name
        for layer in all_layers(model)
        if getattr(layer, "use_bias", False)
        and getattr(layer, "data_format", "") == "channels_first"
        and layer.output.shape[1] == (layer.output.shape[-1] or layer.output.shape[1])
    ]


def without_folders(value):
    """An option without the folders of this machine."""
    return os.path.basename(value) if isinstance(value, str) else value


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


# ---------------------------------------------------------------- the command


def size(text):
    height, _, width = text.lower().partition("x")
    return [int(height), int(width or height)]


def parse(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a Keras file: .h5, .hdf5, .keras or .weights.h5")
    parser.add_argument("record", help="the .npz to write")
    parser.add_argument(
        "--build",
        metavar="MODULE:FUNCTION",
        help="what builds the model, for a file of weights only",
    )
    parser.add_argument(
        "--code", metavar="DIR", help="the folder of that code (default: the working directory)"
    )
    parser.add_argument(
        "--config",
        metavar="MODEL.json",
        help="the to_json() of the model, for a file of weights only",
    )
    parser.add_argument(
        "--config-only",
        action="store_true",
        help="write the to_json() of the model that --build builds; MODEL is not read",
    )
    parser.add_argument(
        "--custom",
        metavar="MODULE:CLASS",
        action="append",
        default=[],
        help="a layer class of your own; repeatable",
    )
    parser.add_argument(
        "--keras",
        choices=["keras", "tf.keras", "tf_keras"],
        help="which Keras (default: the one installed)",
    )
    parser.add_argument(
        "--input",
        metavar="RECORD.npz",
        help="run another record's input instead of generated pictures",
    )
    parser.add_argument(
        "--images",
        metavar="DIR",
        help="pictures to run (needs Pillow); otherwise they are generated",
    )
    parser.add_argument(
        "--preprocess",
        choices=["raw", "unit", "caffe", "tf", "torch"],
        default="raw",
        help="what is done to --images (default raw: nothing; unit: x / 255)",
    )
    parser.add_argument(
        "--inputs",
        type=int,
        default=2,
        metavar="N",
        help="how many pictures to generate (default 2)",
    )
    parser.add_argument(
        "--input-as-seed",
        action="store_true",
        help="keep of generated pictures how they are made, in place of them",
    )
    parser.add_argument(
        "--size", type=size, metavar="HxW", help="their size, where the model leaves it open"
    )
    parser.add_argument(
        "--layers",
        choices=["all", "blocks", "none"],
        default="all",
        help="which activations to keep (default all)",
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=64,
        metavar="N",
        help="elements kept of each activation (default 64)",
    )
    parser.add_argument(
        "--whole",
        action="store_true",
        help="keep the first picture's activations whole, so that each layer can be judged alone "
        "(0.2 GiB for a ResNet-50)",
    )
    parser.add_argument(
        "--data-format",
        choices=["channels_first", "channels_last"],
        help="Keras' default while the model is built",
    )
    parser.add_argument(
        "--float64", action="store_true", help="compute in float64, where this Keras can"
    )
    return parser.parse_args(arguments)


def guarded(make, keras, options):
    """make_record, with a word on why float64 failed if it did: not every Keras can."""
    try:
        return make(keras, options.model, options)
    except RecordError:
        raise
    except Exception as error:
        if options.float64:
            advice = "Keras {} failed in float64; try without --float64\n{}"
            raise RecordError(advice.format(keras.__version__, error))
        raise


def write_config(options):
    """Write the configuration of the model that --build builds; nothing, where it has none."""
    if not options.build:
        raise RecordError("--config-only needs --build module:function")
    model = build_model(options)
    if not hasattr(model, "to_json"):
        kind = type(model).__name__
        raise RecordError("{} gives a {}, and no Keras model".format(options.build, kind))
    text = config_of(model)
    if text is None:
        print("{} has no to_json()".format(type(model).__name__), file=sys.stderr)
        return 0
    with open(options.record, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode("utf8"))
    return 0


def end_with_caller():
    """End this process when its standard input closes, whose other end its caller holds: a caller
    that is killed leaves nobody to end it."""

    def watch():
        while os.read(0, 1):
            pass
        os._exit(1)

    thread = threading.Thread(target=watch)
    thread.daemon = True
    thread.start()


def main(arguments=None):
    options = parse(arguments)
    try:
        if options.config_only:
            return write_config(options)
        if not os.path.exists(options.model):
            raise RecordError("{}: no such file".format(options.model))
        if options.input_as_seed and (options.input or options.images):
            raise RecordError("--input-as-seed is for generated pictures: these have no seed")
        keras = import_keras(options.keras)
        if options.data_format:
            set_data_format(keras, options.data_format)
        if options.float64:
            keras.backend.set_floatx("float64")
        record = guarded(make_record, keras, options)
        save = np.savez if options.whole else np.savez_compressed
        save(options.record, **record)
    except RecordError as problem:
        print("record_keras: {}".format(problem), file=sys.stderr)
        return 2
    print("{}: {} arrays".format(options.record, len(record)), file=sys.stderr)
    return 0


if __name__ == "__main__":
    if os.environ.pop("RECORD_KERAS_WATCHES", "") == "stdin":
        end_with_caller()
    sys.exit(main())
