"""Make the fixtures: small files written by real Keras versions, and what those computed from them.

    python scripts/make_fixtures.py list                  every fixture and its environment
    python scripts/make_fixtures.py NAME OUTDIR           make one, inside that environment
                                                          (of a file taken over: its record)
    python scripts/make_fixtures.py readme OUTDIR         write OUTDIR/README.md

scripts/make_fixture_envs.sh makes the environments. The networks are the packages' own code, or
published code, with every filter count divided (`narrow`); the weights are random, with BatchNorm
statistics fitted to the activations, but never trivial (`fill`). The records are made by
scripts/record_keras.py in a process of its own.
"""

from __future__ import absolute_import, division, print_function

import collections
import contextlib
import functools
import hashlib
import importlib
import json
import os
import subprocess
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
TINY = 3e-5  # the variance of one channel in twenty: beside it every epsilon shows
DIVIDE = 32
WIDE = 16  # for those on which many tests stand
SHORT = (1, 2, 2, 1)  # blocks in the stages: every kind of block that a ResNet-50 has

Fixture = collections.namedtuple(
    "Fixture", "env build saves what options backend again wrap recorded seed"
)
FIXTURES = collections.OrderedDict()


WEIGHTS = ("weights:.h5",)
LARGE = "--inputs 1 --layers blocks --samples 32 --input-as-seed"
FULL = "--inputs 1 --layers all --samples 32 --input-as-seed"
EVERY = "--inputs 1 --layers all --samples 64 --input-as-seed"
SMALL = "--inputs 2 --layers blocks --samples 32 --input-as-seed"


def fixture(name, env, what, saves=(".h5",), options=LARGE, **more):
    """Register the function that builds the fixture's model.

    `saves` are the suffixes of the files to write (`weights:` before one: weights only; the first
    is what is recorded), `options` those of record_keras.py; `again` loads and saves a second time
    in the same session; `wrap` makes another model of the filled one; `recorded` makes of the
    built one what is recorded instead, if that is not the model in the file; `seed` draws other
    weights (some multiply the rounding of float32 until the record itself is off by 1e-5).
    """
    backend, again, wrap = more.get("backend", "tensorflow"), more.get("again"), more.get("wrap")
    recorded, seed = more.get("recorded"), more.get("seed", len(name))

    def register(build):
        FIXTURES[name] = Fixture(
            env, build, saves, what, options.split(), backend, again, wrap, recorded, seed
        )
        asked = recorded or wrap
        return (lambda: asked(build())) if asked else build

    return register


# ---------------------------------------------------------------- narrow networks, random weights


def recorder():
    return importlib.import_module("record_keras")


def the_keras(name=None):
    return recorder().import_keras(name)


@contextlib.contextmanager
def narrow(module, *names, **more):
    """Within it the convolutions of `module` have fewer filters, but those named `...keep`."""
    divide, keep = more.get("divide", DIVIDE), more.get("keep")
    names = names or [name for name in ("Conv2D", "Convolution2D") if hasattr(module, name)]
    real = {name: getattr(module, name) for name in names}

    def thinner(layer):
        def make(*args, **kwargs):
            if keep and kwargs.get("name", "").endswith(keep):
                return layer(*args, **kwargs)
            if "filters" in kwargs:
                kwargs["filters"] = max(2, kwargs["filters"] // divide)
            else:
                args = (max(2, args[0] // divide),) + args[1:]
            return layer(*args, **kwargs)

        return make

    for name in names:
        setattr(module, name, thinner(real[name]))
    try:
        yield
    finally:
        for name in names:
            setattr(module, name, real[name])


def fill(keras, model, pictures, seed=0):
    """Give the model random weights under which its activations keep a sane size."""
    record, random = recorder(), np.random.RandomState(seed)
    calls = record.calls_of(record.graph_of(model))
    inputs = record.as_list(record.graph_of(model).inputs)
    for layer, some in calls:
        if record.is_model(layer):
            values = record.evaluator(keras, inputs, some[0].inputs)([pictures])
            fill(keras, layer, values[id(some[0].inputs[0])], seed + 1)
        elif type(layer).__name__ == "Scale":
            size = layer.get_weights()[0].shape
            layer.set_weights([random.uniform(0.6, 1.4, size), random.uniform(-0.3, 0.3, size)])
        elif layer.get_weights() and not is_batch_norm(layer):
            layer.set_weights([random_weight(weight, random) for weight in layer.get_weights()])
    first = next((layer for layer, _ in calls if "Conv" in type(layer).__name__), None)
    if first is not None and not any(record.is_model(layer) for layer, _ in calls):
        scale(first, 1 / max(1.0, float(np.std(pictures))))
    norms = [(layer, some[0].inputs[0]) for layer, some in calls if is_batch_norm(layer)]
    if norms:
        values_of = record.evaluator(keras, inputs, [tensor for _, tensor in norms])
        fit_batch_norms(values_of, norms, pictures, random)


def is_batch_norm(layer):
    return type(layer).__name__ in ("BatchNormalization", "BatchNorm")


def random_weight(weight, random):
    """A kernel that keeps the size of what passes (behind a ReLU), or a bias that shows."""
    if weight.ndim == 1:
        return random.uniform(-0.3, 0.3, weight.shape)
    fan_in = np.prod(weight.shape[:-1])
    gain = 2.0 if weight.ndim == 4 else 1.0
    return random.normal(0, np.sqrt(gain / fan_in), weight.shape)


def scale(layer, factor):
    weights = layer.get_weights()
    layer.set_weights([weights[0] * factor] + weights[1:])


def fit_batch_norms(values_of, norms, pictures, random):
    """Set BatchNorm statistics near those of the data; each pass settles one more layer."""
    draws = [norm_draw(layer, random) for layer, _ in norms]
    for _ in range(len(norms) + 1):
        values, worst = values_of([pictures]), 0.0
        for (layer, tensor), draw in zip(norms, draws):
            before = layer.get_weights()
            after = norm_weights(layer, draw, values[id(tensor)])
            worst = max(worst, max(float(np.max(np.abs(a - b))) for a, b in zip(after, before)))
            layer.set_weights(after)
        if worst < 1e-3:
            break


def norm_draw(layer, random):
    """One layer's random part: gamma, beta, shifts of mean and variance, and its tiny channels."""
    size = layer.get_weights()[0].shape[0]
    tiny = random.uniform(0, 1, size) < 0.05
    # Small gammas keep the residual branches from multiplying the rounding of float32.
    ranges = ((0.2, 0.6), (-0.15, 0.25), (-0.3, 0.3), (0.6, 1.6))
    return [random.uniform(low, high, size) for low, high in ranges] + [tiny]


def norm_weights(layer, draw, value):
    """The weights of a BatchNorm fed with `value`."""
    gamma, beta, shift, stretch, tiny = draw
    axis = value.ndim - 1 if value.shape[-1] == len(gamma) else 1
    others = tuple(k for k in range(value.ndim) if k != axis)
    mean = value.mean(axis=others, dtype="float64")
    variance = value.var(axis=others, dtype="float64")
    # A channel that hardly varies beside the others would multiply the rounding of float32.
    deviation = np.sqrt(np.maximum(variance, max(1e-2, 0.5 * np.mean(variance + mean**2))))
    mean = mean + shift * deviation
    variance = stretch * deviation**2
    count = len(layer.get_weights())
    if count == 4:
        gamma = np.where(tiny, gamma * np.sqrt(TINY + float(layer.epsilon)) / deviation, gamma)
        variance = np.where(tiny, TINY, variance)
    weights = [gamma, beta, mean, variance]
    return [weight.astype("float32") for weight in (weights if count == 4 else weights[1:])]


def taken_over(name, env, what):
    """Register a file that was made before this script: only its record is made again."""
    FIXTURES[name] = Fixture(
        env, None, (".h5",), what, FULL.split(), "tensorflow", None, None, None, 0
    )


# ---------------------------------------------------------------- making one


def make(name, outdir):
    """Build, fill, save, record; of a file taken over, record only."""
    entry = FIXTURES[name]
    os.environ["KERAS_BACKEND"] = entry.backend
    if entry.build is None:
        make_record(name, outdir, os.path.join(outdir, name + ".h5"), "")
    else:
        build(name, outdir)


def build(name, outdir):
    entry = FIXTURES[name]
    keras = the_keras(recorder().parse(["-", "-"] + entry.options).keras)
    model = entry.build()
    fill(keras, model, pictures_for(keras, model, entry), entry.seed)
    model = entry.wrap(model) if entry.wrap else model
    for save in entry.saves:
        weights, _, suffix = save.rpartition(":")
        save_as(model, os.path.join(outdir, name + suffix), weights)
    weights, _, suffix = entry.saves[0].rpartition(":")
    path = os.path.join(outdir, name + suffix)
    if entry.again:
        save_as(keras.models.load_model(path), path, weights)
    make_record(name, outdir, path, weights)


def save_as(model, path, weights):
    if path.endswith(".weights.json"):
        model.save_weights(path, max_shard_size=2e-5)
    elif weights:
        model.save_weights(path)
    else:
        model.save(path)


def pictures_for(keras, model, entry):
    """The pictures that the record will use, in the model's own layout."""
    record = recorder()
    data_format = record.data_format_of(keras, model)
    options = record.parse(["-", "-"] + entry.options)
    pictures = record.make_input(keras, model, data_format, options)
    return pictures.transpose(0, 3, 1, 2) if data_format == "channels_first" else pictures


def make_record(name, outdir, path, weights):
    """Run record_keras.py on the saved file, as a user would."""
    entry = FIXTURES[name]
    script, record = os.path.join(HERE, "record_keras.py"), os.path.join(outdir, name + ".npz")
    command = [sys.executable, script, path, record] + entry.options
    if weights or entry.recorded:
        command += ["--build", os.path.abspath(__file__) + ":" + entry.build.__name__]
    subprocess.check_call(command)
    without_config(record)


def without_config(path):
    """Take the model's configuration out of a record: weights alone, which the tests hold against
    it, would have their network from there."""
    with np.load(path) as file:
        arrays = {key: file[key] for key in file.files if key != "config"}
    np.savez_compressed(path, **arrays)


# ---------------------------------------------------------------- the packages' own ResNet50


@contextlib.contextmanager
def few_blocks(module, function="identity_block", blocks="abcdef"):
    """Within it the ResNet50 of `module` has the blocks of SHORT: it calls `function` for each
    block behind a stage's first, and those that are too many give what they are given. `blocks` are
    what it calls them."""
    real = getattr(module, function)

    def some(x, size, filters, stage, block):
        kept = block in blocks[: SHORT[stage - 2]]
        return real(x, size, filters, stage=stage, block=block) if kept else x

    setattr(module, function, some)
    try:
        yield
    finally:
        setattr(module, function, real)


def applications_resnet50(divide=DIVIDE, **more):
    """keras.applications' ResNet50 of Keras 2.0 and 2.1, narrowed."""
    module = importlib.import_module("keras.applications.resnet50")
    with narrow(module, divide=divide):
        return module.ResNet50(weights=None, **more)


def short_resnet50(**more):
    """The same with fewer blocks."""
    with few_blocks(importlib.import_module("keras.applications.resnet50")):
        return applications_resnet50(**more)


def beyond_six(model):
    """The model, whose last block gives more than 6 in every fourth channel: ReLU6 shows."""
    norm = model.get_layer("bn5c_branch2c")
    gamma, beta, mean, variance = norm.get_weights()
    beta[::4] += 8
    norm.set_weights([gamma, beta, mean, variance])
    return model


@fixture(
    "keras-2.0.9-tensorflow",
    "keras-2.0.9",
    "stem convolution 'same'; at its full depth",
    options=FULL,
    wrap=beyond_six,
)
def same_stem():
    return applications_resnet50(classes=10)


@fixture(
    "keras-2.1.6-tensorflow",
    "keras-2.1.6",
    "`conv1_pad`, unpadded pool; at its full depth",
    options=FULL,
)
def padded_stem():
    return applications_resnet50(classes=10)


@fixture(
    "keras-2.0.9-theano",
    "keras-2.0.9",
    "the Theano backend, channels last: kernels stored flipped, 'same' is symmetric",
    saves=WEIGHTS,
    backend="theano",
    options=EVERY,
)
def theano_resnet50():
    return short_resnet50(classes=10)


@fixture("keras-2.0.0-tensorflow", "keras-2.0.0", "the first Keras 2; stem of padding 3")
def first_keras2_resnet50():
    return short_resnet50(classes=10)


@fixture(
    "keras-2.1.6-notop", "keras-2.1.6", "no top, weights only; avg_pool stays, 7x7", saves=WEIGHTS
)
def notop_with_avg_pool():
    return applications_resnet50(include_top=False, input_shape=(224, 224, 3))


@fixture(
    "keras-2.2.4-notop",
    "keras-2.2.4",
    "no top, weights only: the output is a map",
    saves=WEIGHTS,
    options=SMALL + " --size 96x112",
)
def notop_map():
    keras = the_keras()
    with narrow(keras.layers):
        network = keras.applications.resnet50.ResNet50
        return network(weights=None, include_top=False, input_shape=(None, None, 3))


@fixture(
    "keras-1.1.2-theano-tf",
    "keras-1.1.2",
    "Keras 1 on Theano, dim ordering tf: flipped kernels, epsilon 1e-5",
    backend="theano",
)
def keras1_theano_tf():
    return keras1_resnet50("tf")


@fixture(
    "keras-1.2.2-tensorflow-th",
    "keras-1.2.2",
    "TensorFlow with dim ordering th: (out, in, h, w), not flipped",
    saves=WEIGHTS,
)
def keras1_tensorflow_th():
    return keras1_resnet50("th")


@fixture(
    "keras-1.2.2-tensorflow",
    "keras-1.2.2",
    "`res2a_branch2a`, parameters `_W:0`, unpadded pool",
    options=EVERY,
)
def keras1_tensorflow():
    return keras1_resnet50("tf")


@fixture(
    "keras-1.2.2-theano-th",
    "keras-1.2.2",
    "Theano, dim ordering th: kernels (out, in, h, w), flipped, parameters `_W`",
    backend="theano",
    options=EVERY,
)
def keras1_theano_th():
    return keras1_resnet50("th")


def keras1_resnet50(ordering):
    """keras.applications' ResNet50 of Keras 1.1 and 1.2, with fewer blocks."""
    the_keras().backend.set_image_dim_ordering(ordering)
    module = importlib.import_module("keras.applications.resnet50")
    with narrow(module, "Convolution2D", "Dense"), few_blocks(module):
        return module.ResNet50(weights=None)


@fixture(
    "keras-1.2.2-dilated", "keras-1.2.2", "AtrousConvolution2D of rates 2 and 4", options=SMALL
)
def keras1_dilated():
    """A small network whose last stages widen their windows in the place of a stride, as those for
    segmentation do."""
    layers = importlib.import_module("keras.layers")
    inputs = layers.Input((24, 24, 3))
    x = keras1_norm_relu(keras1_conv(inputs, 4, 3))
    for filters, rate, stride in ((4, 1, 1), (6, 1, 2), (7, 2, 1), (8, 4, 1)):
        y = keras1_norm_relu(keras1_conv(x, filters, 3, rate, stride))
        y = layers.BatchNormalization()(keras1_conv(y, filters, 3, rate))
        if filters > 4:
            x = layers.BatchNormalization()(keras1_conv(x, filters, 1, 1, stride))
        x = layers.Activation("relu")(layers.merge([y, x], mode="sum"))
    x = layers.Dense(5, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    return importlib.import_module("keras.models").Model(inputs, x)


def keras1_conv(x, filters, size, rate=1, stride=1):
    layers = importlib.import_module("keras.layers")
    if rate == 1:
        made = layers.Convolution2D(
            filters, size, size, subsample=(stride, stride), border_mode="same"
        )
    else:
        made = layers.AtrousConvolution2D(
            filters, size, size, atrous_rate=(rate, rate), border_mode="same"
        )
    return made(x)


def keras1_norm_relu(x):
    layers = importlib.import_module("keras.layers")
    return layers.Activation("relu")(layers.BatchNormalization()(x))


@fixture(
    "keras-1.0.7-theano",
    "keras-1.0.7",
    "epsilon 1e-6, outside the root; layers of one depth in order of name",
    backend="theano",
    options=LARGE,
)
def keras1_ties_by_name():
    the_keras().backend.set_image_dim_ordering("tf")
    return published_resnet50(
        the_keras(),
        joint("res{stage}{block}_branch{part}"),
        joint("bn{stage}{block}_branch{part}"),
        depths=SHORT,
    )


# ---------------------------------------------------------------- published code with other names


def published_resnet50(keras, conv_name, bn_name, classes=10, depths=(3, 4, 6, 3), **more):
    """The ResNet50 of keras.applications.resnet50 line by line, under other names.

    `conv_name(stage, block, part)` names its layers; part is "2a", "2b", "2c" or "1", the shortcut.
    Of `more`, `names` is False where no layer has one, `bias` is False of convolutions without one,
    `divide` is what filter counts are divided by, and `norm` makes of a name what comes behind a
    convolution.
    """
    names, bias = more.get("names", True), more.get("bias", True)
    divide = more.get("divide", DIVIDE)
    layers, old = keras.layers, keras.__version__.startswith("1.")
    axis = 1 if recorder().default_data_format(keras) == "channels_first" else 3

    def named(name):
        return {"name": name} if names else {}

    def conv(filters, size, name, strides=1, padding="valid"):
        filters = max(2, filters // divide)
        if old:
            settings = dict(named(name), subsample=(strides, strides), border_mode=padding)
            return layers.Convolution2D(filters, size, size, **settings)
        settings = dict(named(name), strides=(strides, strides), padding=padding, use_bias=bias)
        return layers.Conv2D(filters, (size, size), **settings)

    def batch_norm_of(name):
        return layers.BatchNormalization(axis=axis, **named(name))

    norm = more.get("norm", batch_norm_of)

    def add(x, shortcut):
        if old:
            return layers.merge([x, shortcut], mode="sum")
        return layers.add([x, shortcut])

    def block(x, filters, stage, letter, strides, projection):
        shortcut = x
        for part, count, size in (("2a", filters, 1), ("2b", filters, 3), ("2c", 4 * filters, 1)):
            stride, padding = strides if part == "2a" else 1, "same" if size == 3 else "valid"
            x = conv(count, size, conv_name(stage, letter, part), stride, padding)(x)
            x = norm(bn_name(stage, letter, part))(x)
            x = layers.Activation("relu")(x) if part != "2c" else x
        if projection:
            shortcut = conv(4 * filters, 1, conv_name(stage, letter, "1"), strides)(shortcut)
            shortcut = norm(bn_name(stage, letter, "1"))(shortcut)
        return layers.Activation("relu")(add(x, shortcut))

    image = layers.Input(shape=(3, 224, 224) if axis == 1 else (224, 224, 3))
    x = conv(64, 7, "conv1", 2)(layers.ZeroPadding2D((3, 3))(image))
    x = layers.Activation("relu")(norm("bn_conv1")(x))
    x = layers.MaxPooling2D((3, 3), strides=(2, 2))(x)
    for stage, depth in enumerate(depths, 2):
        filters = 16 * 2**stage
        for letter in "abcdef"[:depth]:
            x = block(
                x, filters, stage, letter, 2 if letter == "a" and stage > 2 else 1, letter == "a"
            )
    x = layers.Flatten()(layers.AveragePooling2D((7, 7), **named("avg_pool"))(x))
    x = layers.Dense(classes, activation="softmax", **named("fc1000"))(x)
    return recorder().new_model(keras, [image], x)


def joint(form):
    """A naming function from a format string."""
    return lambda stage, block, part: form.format(stage=stage, block=block, part=part)


@fixture(
    "keras-2.3.1-noprefix",
    "keras-2.3.1",
    "convolutions named `2a_branch2a`, their norms `bn2a_branch2a`",
)
def noprefix():
    names = joint("{stage}{block}_branch{part}"), joint("bn{stage}{block}_branch{part}")
    return published_resnet50(the_keras(), *names, depths=SHORT)


@fixture(
    "keras-2.3.1-noprefix-bn",
    "keras-2.3.1",
    "convolutions named `2a_branch2a`, their norms `2a_branch2a_bn`",
)
def noprefix_bn():
    names = joint("{stage}{block}_branch{part}"), joint("{stage}{block}_branch{part}_bn")
    return published_resnet50(the_keras(), *names, depths=SHORT)


@fixture(
    "keras-2.3.1-auto-named", "keras-2.3.1", "no layer has a name of its own (`conv2d_1`, ...)"
)
def auto_named():
    return published_resnet50(the_keras(), joint(""), joint(""), names=False)


def tutorial(first, other, shortcut="res_"):
    """Naming functions for a tutorial's ResNet50: the block's kind, then conv1..3 and bn1..3."""
    numbers = {"2a": "1", "2b": "2", "2c": "3", "1": ""}

    def name(kind):
        def one(stage, block, part):
            prefix = "{}{}".format(stage, block) + (first if block == "a" else other)
            return prefix + (shortcut if part == "1" else "") + kind + numbers[part]

        return one

    return name("conv"), name("bn")


@fixture(
    "keras-2.10-tutorial-double",
    "keras-2.10",
    "a tutorial's names: `2a__conv_block_conv1`, `2a__conv_block_res_conv`",
)
def tutorial_double():
    names = tutorial("__conv_block_", "__identity_block_")
    return published_resnet50(the_keras(), *names, classes=4, depths=SHORT)


@fixture(
    "keras-2.10-tutorial",
    "keras-2.10",
    "a tutorial's names: `2a_conv_block_conv1`; at its full depth",
    options=FULL,
)
def tutorial_single():
    names = tutorial("_conv_block_", "_identity_block_")
    return published_resnet50(the_keras(), *names, classes=4, divide=WIDE)


@fixture(
    "keras-2.10-tutorial-stage",
    "keras-2.10",
    "a tutorial's names: `stage_1_cov_block_1__conv_4` (shortcut), its norm `..._bn_4`",
)
def tutorial_stage():
    numbers = {"2a": 1, "2b": 2, "2c": 3, "1": 4}

    def name(kind):
        def one(stage, block, part):
            where = "cov" if block == "a" else "identity"
            return "stage_{}_{}_block_{}__{}_{}".format(
                stage - 1, where, "abcdef".index(block) + 1, kind, numbers[part]
            )

        return one

    return published_resnet50(the_keras(), name("conv"), name("bn"), classes=4, depths=SHORT)


def scale_layer(**settings):
    """flyyufelix/cnn_finetune's Scale, of two weights."""
    layers = the_keras().layers

    class Scale(layers.Layer):
        def build(self, shape):
            for name, start in (("gamma", "ones"), ("beta", "zeros")):
                weight = self.add_weight(name=name, shape=shape[-1:], initializer=start)
                setattr(self, name, weight)
            super(Scale, self).build(shape)

        def call(self, inputs):
            return self.gamma * inputs + self.beta

    return Scale(**settings)


def as_built(model):
    """The model whose layers Keras does not have: it takes the file's weights."""
    return model


@fixture(
    "keras-2.10-scale",
    "keras-2.10",
    "custom Scale layers, epsilon 1.1e-5, no biases, a 101's names: `res3b1_branch2a`",
    options=EVERY,
    recorded=as_built,
)
def scaled():
    """cnn_finetune cba3439's resnet_101.py (MIT), with fewer blocks."""
    layers = the_keras().layers

    def name(form):
        def one(stage, block, part):
            number = "abcdef".index(block)
            block = "b{}".format(number) if number and stage in (3, 4) else block
            return form.format(stage=stage, block=block, part=part)

        return one

    def norm(bn):
        def both(x):
            x = layers.BatchNormalization(epsilon=1.1e-5, name=bn)(x)
            return scale_layer(name=bn.replace("bn", "scale"))(x)

        return both

    names = name("res{stage}{block}_branch{part}"), name("bn{stage}{block}_branch{part}")
    settings = {"classes": 6, "depths": (2, 2, 3, 1), "bias": False, "norm": norm}
    return published_resnet50(the_keras(), *names, **settings)


# ---------------------------------------------------------------- published, pre-activated


def norm_relu(x, **names):
    """BatchNormalization and ReLU."""
    layers = the_keras().layers
    return layers.Activation("relu")(layers.BatchNormalization(**names)(x))


def conv_same(x, filters, size, strides=1, **names):
    layers = the_keras().layers
    return layers.Conv2D(filters, size, strides=strides, padding="same", **names)(x)


def preactivated(bottleneck, contrib=False, blocks=SHORT):
    """The network of raghakot/keras-resnet or of keras-contrib, layer by layer in their order.

    raghakot/keras-resnet 5e9bcca resnet.py (MIT); keras-contrib bd3f4d7 applications/resnet.py
    (MIT), which has a norm in the shortcuts, a stride in the first stage too and one name.
    """
    layers = the_keras().layers
    image = layers.Input((96, 112, 3))
    x = norm_relu(conv_same(image, 4, 7, 2))
    x = layers.MaxPooling2D(3, strides=2, padding="same")(x)
    for stage, count in enumerate(blocks):
        filters = 4 * 2**stage
        sizes = (
            ((filters, 1), (filters, 3), (4 * filters, 1)) if bottleneck else ((filters, 3),) * 2
        )
        for block in range(count):
            first = stage == block == 0
            strides = 2 if block == 0 and (contrib or stage) else 1
            x = preactivated_block(x, sizes, strides, first, contrib)
    x = norm_relu(x)
    if contrib:
        x = layers.GlobalAveragePooling2D()(x)
    else:
        x = layers.Flatten()(layers.AveragePooling2D(tuple(map(int, x.shape[1:3])), strides=1)(x))
    x = layers.Dense(5, activation="softmax")(x)
    return recorder().new_model(the_keras(), [image], x)


def preactivated_block(x, sizes, strides, first, contrib):
    layers, shortcut = the_keras().layers, x
    for position, (filters, size) in enumerate(sizes):
        named = {"name": "res0a_branch2a"} if contrib and first and position == 0 else {}
        x = x if first and position == 0 else norm_relu(x)
        x = conv_same(x, filters, size, strides if position == 0 else 1, **named)
    if strides > 1 or int(shortcut.shape[-1]) != sizes[-1][0]:
        shortcut = layers.Conv2D(sizes[-1][0], 1, strides=strides)(shortcut)
        shortcut = layers.BatchNormalization()(shortcut) if contrib else shortcut
    return layers.add([shortcut, x])


RAGHAKOT = "raghakot/keras-resnet's network, {}: pre-activated, no names"
CONTRIB = "keras-contrib's ResNet, {}: pre-activated, a norm in the shortcuts, one name"


@fixture("raghakot-basic", "keras-2.2.4", RAGHAKOT.format("basic blocks"), options=SMALL)
def raghakot_basic():
    return preactivated(False)


@fixture("raghakot-18", "keras-2.0.9", RAGHAKOT.format("18"), saves=WEIGHTS, options=SMALL)
def raghakot_18():
    return preactivated(False, blocks=(2, 2, 2, 2))


@fixture("raghakot-bottleneck", "keras-2.2.4", RAGHAKOT.format("bottlenecks"), options=SMALL)
def raghakot_bottleneck():
    return preactivated(True)


@fixture("keras-contrib-18", "keras-2.2.4", CONTRIB.format("18"), saves=WEIGHTS, options=SMALL)
def contrib_18():
    return preactivated(False, True, (2, 2, 2, 2))


@fixture("keras-contrib-bottleneck", "keras-2.2.4", CONTRIB.format("bottlenecks"), options=SMALL)
def contrib_bottleneck():
    return preactivated(True, True)


@fixture(
    "keras-contrib-bottleneck-weights",
    "keras-2.2.4",
    CONTRIB.format("bottlenecks"),
    saves=WEIGHTS,
    options=SMALL,
)
def contrib_bottleneck_weights():
    return preactivated(True, True)


# ---------------------------------------------------------------- detectors


def by_name(model):
    """The backbone, which finds its own layers in a detector's file."""
    loaded = model.load_weights
    model.load_weights = lambda path: loaded(path, by_name=True)
    return model


def batch_norm(**settings):
    """matterport/Mask_RCNN's subclass, whose name Keras 3's `.weights.h5` would take over."""
    layers = the_keras().layers

    class BatchNorm(layers.BatchNormalization):
        def call(self, inputs, training=None):
            return super(BatchNorm, self).call(inputs, training=training)

    return BatchNorm(**settings)


def mask_rcnn_around(backbone):
    """The detector of matterport/Mask_RCNN 0038eff mrcnn/model.py (MIT), layer by layer.

    What the network pools from its regions is an input here: PyramidROIAlign has no weights.
    """
    keras = the_keras()
    layers = keras.layers
    features = {
        stage: backbone.get_layer("res{}{}_out".format(stage, "abc"[count - 1])).output
        for stage, count in enumerate(SHORT, 2)
    }
    maps = pyramid(features)
    pooled = layers.Input((4, 7, 7, 4))
    rpn = region_proposals()
    outputs = [output for one in maps for output in rpn(one)]
    outputs += classifier_head(pooled) + [mask_head(pooled)]
    return keras.models.Model(inputs=[backbone.input, pooled], outputs=outputs)


def pyramid(features):
    """The feature pyramid, P2 to P5."""
    layers = the_keras().layers
    p = layers.Conv2D(4, 1, name="fpn_c5p5")(features[5])
    maps = [layers.Conv2D(4, 3, padding="same", name="fpn_p5")(p)]
    for stage in (4, 3, 2):
        up = layers.UpSampling2D((2, 2), name="fpn_p{}upsampled".format(stage + 1))(p)
        side = layers.Conv2D(4, 1, name="fpn_c{0}p{0}".format(stage))(features[stage])
        p = layers.Add(name="fpn_p{}add".format(stage))([up, side])
        name = "fpn_p{}".format(stage)
        maps.append(layers.Conv2D(4, 3, padding="same", name=name)(p))
    return maps


def region_proposals():
    keras = the_keras()
    layers = keras.layers
    image = layers.Input((None, None, 4), name="input_rpn_feature_map")
    shared = layers.Conv2D(8, 3, padding="same", activation="relu", name="rpn_conv_shared")(image)
    raw = layers.Conv2D(6, 1, activation="linear", name="rpn_class_raw")(shared)
    box = layers.Conv2D(12, 1, activation="linear", name="rpn_bbox_pred")(shared)
    return keras.models.Model(inputs=image, outputs=[raw, box], name="rpn_model")


def each(layer, name):
    return the_keras().layers.TimeDistributed(layer, name=name)


def classifier_head(x):
    layers = the_keras().layers
    for number, size in ((1, 7), (2, 1)):
        name = "mrcnn_class_{}" + str(number)
        x = each(layers.Conv2D(8, size), name.format("conv"))(x)
        x = layers.Activation("relu")(each(batch_norm(), name.format("bn"))(x))
    shared = layers.Reshape((4, 8), name="pool_squeeze")(x)
    logits = each(layers.Dense(3), "mrcnn_class_logits")(shared)
    box = each(layers.Dense(12), "mrcnn_bbox_fc")(shared)
    return [each(layers.Activation("softmax"), "mrcnn_class")(logits), box]


def mask_head(x):
    layers = the_keras().layers
    for number in range(1, 5):
        x = each(layers.Conv2D(4, 3, padding="same"), "mrcnn_mask_conv{}".format(number))(x)
        x = each(batch_norm(), "mrcnn_mask_bn{}".format(number))(x)
        x = layers.Activation("relu")(x)
    x = each(layers.Conv2DTranspose(4, 2, strides=2, activation="relu"), "mrcnn_mask_deconv")(x)
    return each(layers.Conv2D(3, 1, activation="sigmoid"), "mrcnn_mask")(x)


@fixture(
    "mask-rcnn",
    "keras-2.2.4",
    "a detector as of matterport/Mask_RCNN: backbone, FPN, RPN, heads; recorded: C2 to C5",
    saves=WEIGHTS,
    options=SMALL,
    wrap=mask_rcnn_around,
    recorded=by_name,
)
def mask_rcnn_backbone():
    keras = the_keras()
    layers = keras.layers
    image = layers.Input((64, 96, 3), name="input_image")
    x = layers.Conv2D(4, 7, strides=2, name="conv1")(layers.ZeroPadding2D((3, 3))(image))
    x = layers.Activation("relu")(batch_norm(name="bn_conv1")(x))
    x = layers.MaxPooling2D((3, 3), strides=(2, 2), padding="same")(x)
    for stage, count in enumerate(SHORT, 2):
        for letter in "abc"[:count]:
            x = mask_rcnn_block(x, stage, letter)
    return keras.models.Model(inputs=image, outputs=x)


def mask_rcnn_block(x, stage, letter):
    layers, filters = the_keras().layers, 2**stage
    strides = 2 if letter == "a" and stage > 2 else 1
    name = "{}" + "{}{}_branch".format(stage, letter)

    def conv_norm(x, part, filters, size, strides=1):
        conv = layers.Conv2D(
            filters, size, strides=strides, padding="same", name=name.format("res") + part
        )
        return batch_norm(name=name.format("bn") + part)(conv(x))

    y = layers.Activation("relu")(conv_norm(x, "2a", filters, 1, strides))
    y = layers.Activation("relu")(conv_norm(y, "2b", filters, 3))
    y = conv_norm(y, "2c", 4 * filters, 1)
    shortcut = conv_norm(x, "1", 4 * filters, 1, strides) if letter == "a" else x
    total = layers.Add()([y, shortcut])
    return layers.Activation("relu", name="res{}{}_out".format(stage, letter))(total)


# ---------------------------------------------------------------- sessions and wrappers of Keras 2


@fixture(
    "keras-2.0.5-rescoped",
    "keras-2.0.5",
    "loaded and saved again in one session: parameters named `conv1_1/kernel:0`",
    again=True,
)
def rescoped():
    return short_resnet50(classes=10)


def for_two_devices(model):
    """multi_gpu_model, which looks for the devices first."""
    utils = importlib.import_module("keras.utils.multi_gpu_utils")
    utils._get_available_devices = lambda: ["/cpu:0", "/gpu:0", "/gpu:1"]
    return utils.multi_gpu_model(model, gpus=2)


@fixture(
    "keras-2.2.4-multigpu",
    "keras-2.2.4",
    "multi_gpu_model around the network, for two devices: one nested layer",
    saves=WEIGHTS,
    options=SMALL,
    wrap=for_two_devices,
)
def multigpu():
    keras = the_keras()
    with narrow(keras.layers):
        return keras.applications.resnet50.ResNet50(weights=None, classes=10)


# ---------------------------------------------------------------- keras/examples/cifar10_resnet.py


def resnet_layer(x, filters, size=3, strides=1, activation="relu", norm=True, conv_first=True):
    keras = the_keras()
    conv = keras.layers.Conv2D(
        filters,
        kernel_size=size,
        strides=strides,
        padding="same",
        kernel_initializer="he_normal",
        kernel_regularizer=keras.regularizers.l2(1e-4),
    )
    x = conv(x) if conv_first else x
    if norm:
        x = keras.layers.BatchNormalization()(x)
    if activation is not None:
        x = keras.layers.Activation(activation)(x)
    return x if conv_first else conv(x)


def cifar_head(inputs, x):
    keras = the_keras()
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(pool_size=8)(x))
    head = keras.layers.Dense(10, activation="softmax", kernel_initializer="he_normal")
    return keras.models.Model(inputs=inputs, outputs=head(x))


CIFAR = "--inputs 2 --layers all --samples 32"


@fixture(
    "keras-2.3.1-cifar-v1",
    "keras-2.3.1",
    "Keras' example cifar10_resnet.py, version 1, depth 14; no names",
    options=CIFAR,
)
def cifar_v1(blocks=2, num_filters=4):
    keras = the_keras()
    inputs = keras.layers.Input(shape=(32, 32, 3))
    x = resnet_layer(inputs, num_filters)
    for stack in range(3):
        for block in range(blocks):
            strides = 2 if stack > 0 and block == 0 else 1
            y = resnet_layer(x, num_filters, strides=strides)
            y = resnet_layer(y, num_filters, activation=None)
            if stack > 0 and block == 0:
                x = resnet_layer(x, num_filters, 1, strides, activation=None, norm=False)
            x = keras.layers.Activation("relu")(keras.layers.add([x, y]))
        num_filters *= 2
    return cifar_head(inputs, x)


@fixture(
    "keras-2.3.1-cifar-v2",
    "keras-2.3.1",
    "Keras' example cifar10_resnet.py, version 2, depth 20; no names",
    options=CIFAR,
)
def cifar_v2(blocks=2, filters_in=4):
    keras = the_keras()
    inputs = keras.layers.Input(shape=(32, 32, 3))
    x = resnet_layer(inputs, filters_in)
    for stage in range(3):
        filters_out = filters_in * (4 if stage == 0 else 2)
        for block in range(blocks):
            very_first = stage == 0 and block == 0
            strides = 2 if stage > 0 and block == 0 else 1
            activation = None if very_first else "relu"
            y = resnet_layer(x, filters_in, 1, strides, activation, not very_first, False)
            y = resnet_layer(y, filters_in, conv_first=False)
            y = resnet_layer(y, filters_out, 1, conv_first=False)
            if block == 0:
                x = resnet_layer(x, filters_out, 1, strides, activation=None, norm=False)
            x = keras.layers.add([x, y])
        filters_in = filters_out
    x = keras.layers.Activation("relu")(keras.layers.BatchNormalization()(x))
    return cifar_head(inputs, x)


# ---------------------------------------------------------------- tf.keras and Keras 3


def conv_block_resnet(blocks=SHORT, divide=DIVIDE, version=1, **more):
    """keras.applications' ResNet of Keras 2.4 and later, narrowed: ResNet50 with other blocks."""
    keras = the_keras()
    try:
        module = importlib.import_module("keras.src.applications.resnet")
    except ImportError:
        module = importlib.import_module("keras.applications.resnet")
    if module.layers is None:  # Keras 2 takes its layers from the caller
        more["layers"] = keras.layers
    stack = getattr(module, "stack_residual_blocks_v{}".format(version), None)
    stack = stack or getattr(module, "stack{}".format(version))

    def stacks(x):
        for stage, count in enumerate(blocks, 2):
            # Version 2 has the stride in a stage's last block, and none in its last stage.
            stride = 1 if stage == (2 if version == 1 else 5) else 2
            x = stack(x, 2 ** (stage + 4), count, stride1=stride, name="conv{}".format(stage))
        return x

    more = dict({"input_shape": (64, 96, 3), "weights": None}, **more)
    with narrow(more.get("layers", module.layers), "Conv2D", divide=divide):
        return module.ResNet(stacks, version == 2, True, **more)


def small_conv_block():
    return conv_block_resnet(classes=6)


@fixture(
    "keras-3.0.5-conv_block",
    "keras-3.0.5",
    "before 3.3: bare names in the .h5, no layer names in the .weights.h5",
    saves=(".h5", "weights:.weights.h5"),
    options=SMALL,
)
def keras305():
    return small_conv_block()


@fixture(
    "keras-2.13-conv_block",
    "keras-2.13",
    "`_layer_checkpoint_dependencies` in the .weights.h5",
    saves=("weights:.weights.h5",),
    options=SMALL,
)
def keras213():
    return small_conv_block()


@fixture(
    "keras-2.15-conv_block",
    "keras-2.15",
    "the .weights.h5 and .keras of Keras 2.15",
    saves=(".keras", "weights:.weights.h5"),
    options=SMALL,
)
def keras215():
    return small_conv_block()


@fixture(
    "keras-3.15-sharded",
    "keras-3.15",
    "weights in several files, `.weights.json`",
    saves=("weights:.weights.json",),
    options=SMALL,
)
def keras315_sharded():
    return small_conv_block()


@fixture("keras-2.15-v2", "keras-2.15", "ResNet50V2 with fewer blocks", saves=(".keras",))
def keras215_v2():
    return conv_block_resnet((2, 2, 2, 2), version=2, classes=6)


# ---------------------------------------------------------------- other packages


@fixture(
    "keras-resnet-0.2.0-18",
    "keras-2.3.1",
    "keras-resnet 0.2.0, ResNet18; a whole model under its plain Model",
    options=SMALL + " --custom keras_resnet.layers:BatchNormalization",
)
def keras_resnet18():
    keras = the_keras()
    model = keras_resnet("ResNet18")
    return keras.models.Model(inputs=model.inputs, outputs=model.outputs)


@fixture(
    "keras-resnet-0.2.0-50",
    "keras-2.3.1",
    "keras-resnet 0.2.0, ResNet50 with fewer blocks",
    saves=WEIGHTS,
    options=SMALL,
)
def keras_resnet50():
    return keras_resnet("ResNet50", blocks=list(SHORT))


@fixture(
    "keras-resnet-0.1.0",
    "keras-2.2.4",
    "keras-resnet 0.1.0, bottlenecks 1-2-2-1: the stem padded by 3",
    saves=WEIGHTS,
    options=SMALL,
)
def keras_resnet_old():
    block = importlib.import_module("keras_resnet.blocks").bottleneck_2d
    return keras_resnet("ResNet", blocks=SHORT, block=block)


@fixture(
    "keras-resnet-0.2.0-34",
    "keras-2.3.1",
    "keras-resnet 0.2.0, ResNet34",
    saves=WEIGHTS,
)
def keras_resnet34():
    return keras_resnet("ResNet34")


@fixture(
    "keras-resnet-0.2.0-200",
    "keras-2.3.1",
    "keras-resnet 0.2.0, ResNet200",
    saves=WEIGHTS,
    options="--inputs 1 --layers none",
)
def keras_resnet200():
    return keras_resnet("ResNet200", divide=128)


def keras_resnet(name, divide=DIVIDE, **more):
    keras = the_keras()
    models = importlib.import_module("keras_resnet.models")
    with narrow(keras.layers, divide=divide):
        return getattr(models, name)(keras.layers.Input((80, 96, 3)), classes=7, **more)


def retinanet_around(backbone):
    """keras-retinanet 0.5.1's detector around the backbone's layers."""
    for name in ("compute_overlap", "image"):  # they need Cython and OpenCV; the network does not
        module = type(sys)("keras_retinanet.utils." + name)
        module.compute_overlap = module.preprocess_image = None
        sys.modules[module.__name__] = module
    models = importlib.import_module("keras_retinanet.models.retinanet")
    features = [
        backbone.get_layer(name).output for name in ("res3b_relu", "res4b_relu", "res5a_relu")
    ]
    size = {"pyramid_feature_size": 8}
    boxes = models.default_regression_model(4, 9, regression_feature_size=8, **size)
    classes = models.default_classification_model(3, 9, classification_feature_size=8, **size)
    pyramid = functools.partial(vars(models)["__create_pyramid_features"], feature_size=8)
    return models.retinanet(
        backbone.input,
        features,
        num_classes=3,
        create_pyramid_features=pyramid,
        submodels=[("regression", boxes), ("classification", classes)],
    )


RETINANET = "a detector of keras-retinanet 0.5.1 around keras-resnet 0.2.0; recorded: C5"


@fixture(
    "keras-retinanet-0.5.1",
    "keras-2.3.1",
    RETINANET,
    options=SMALL,
    wrap=retinanet_around,
    recorded=by_name,
)
def retinanet_whole():
    return retinanet_backbone()


@fixture(
    "keras-retinanet-0.5.1-weights",
    "keras-2.3.1",
    RETINANET,
    saves=WEIGHTS,
    options=SMALL,
    wrap=retinanet_around,
    recorded=by_name,
)
def retinanet_weights():
    return retinanet_backbone()


def retinanet_backbone():
    keras = the_keras()
    models = importlib.import_module("keras_resnet.models")
    block = importlib.import_module("keras_resnet.blocks").bottleneck_2d
    image = keras.layers.Input((80, 96, 3))
    with narrow(keras.layers):
        letters = {"numerical_names": [False] * 4, "include_top": False, "freeze_bn": True}
        model = models.ResNet(image, SHORT, block, **letters)
    return keras.models.Model(inputs=image, outputs=model.outputs[-1])


@fixture(
    "keras-vggface-0.6",
    "keras-2.2.4",
    "keras-vggface 0.6, RESNET50: slashes in the layers' names",
    saves=WEIGHTS,
)
def vggface():
    the_keras()
    module = importlib.import_module("keras_vggface.models")
    with narrow(module), few_blocks(module, "resnet_identity_block", range(1, 7)):
        return module.RESNET50(weights=None, input_shape=(224, 224, 3), classes=8)


@fixture("keras-2.3.1-qubvel-50", "keras-2.3.1", "image-classifiers 1.0.0, resnet50", options=SMALL)
def qubvel50():
    keras = the_keras()
    network, _ = importlib.import_module("classification_models.keras").Classifiers.get("resnet50")
    with narrow(keras.layers):
        return network(input_shape=(80, 96, 3), weights=None, classes=9)


@fixture(
    "keras-2.3.1-qubvel-resnext",
    "keras-2.3.1",
    "image-classifiers 1.0.0, ResNeXt with 4 groups, a Lambda and a Conv2D for each",
    options=SMALL,
)
def qubvel_resnext():
    keras = the_keras()
    module = importlib.import_module("classification_models.models.resnext")
    module.GroupConv2D = functools.partial(module.GroupConv2D, groups=4)
    module.MODELS_PARAMS["short"] = module.ModelParams("short", SHORT)
    parts = {name: getattr(keras, name) for name in ("backend", "layers", "models", "utils")}
    settings = dict(parts, weights=None, input_shape=(80, 96, 3), classes=6)
    with narrow(keras.layers):
        return module.ResNeXt(module.MODELS_PARAMS["short"], **settings)


RESNEXT = "keras-applications 1.0.8, ResNeXt with 8 groups, as depthwise convolutions"


@fixture("keras-2.3.1-resnext-weights", "keras-2.3.1", RESNEXT, saves=WEIGHTS, options=SMALL)
def resnext_weights():
    return resnext()


@fixture("keras-2.3.1-resnext", "keras-2.3.1", RESNEXT + " and Lambda layers", options=SMALL)
def resnext_whole():
    return resnext()


def resnext():
    keras = the_keras()
    common = importlib.import_module("keras_applications.resnet_common")

    def stack(x):
        stages = ((8, 1), (16, 2), (32, 2), (64, 1))
        for stage, (filters, blocks) in enumerate(stages, 2):
            stride, name = 1 if stage == 2 else 2, "conv{}".format(stage)
            x = common.stack3(x, filters, blocks, stride1=stride, groups=8, name=name)
        return x

    parts = {name: getattr(keras, name) for name in ("backend", "layers", "models", "utils")}
    settings = dict(parts, weights=None, input_shape=(80, 96, 3), classes=6)
    with narrow(keras.layers, divide=4, keep="_1_conv"):
        return common.ResNet(stack, False, False, "resnext50", **settings)


@fixture(
    "keras-cv-0.9.0",
    "keras-2.15",
    "keras-cv 0.9.0, ResNet backbone of bottlenecks 1-2-2-1",
    saves=("weights:.weights.h5",),
    options=SMALL,
    seed=3,
)
def keras_cv():
    return keras_cv_backbone("ResNetBackbone", list(SHORT))


@fixture(
    "keras-cv-0.9.0-v2",
    "keras-2.15",
    "keras-cv 0.9.0, pre-activated basic blocks 2-2-2-2",
    saves=("weights:.weights.h5",),
    options=SMALL,
)
def keras_cv_v2():
    return keras_cv_backbone("ResNetV2Backbone", [2, 2, 2, 2], block_type="basic_block")


def keras_cv_backbone(name, blocks, **more):
    the_keras()
    sys.modules["tensorflow_datasets"] = type(sys)("tensorflow_datasets")  # its networks need none
    models = importlib.import_module("keras_cv").models
    layers = importlib.import_module("keras_cv.src.backend").keras.layers
    with narrow(layers, "Conv2D", divide=32):
        return getattr(models, name)(
            stackwise_filters=[64, 128, 256, 512],
            stackwise_blocks=blocks,
            stackwise_strides=[1, 2, 2, 2],
            include_rescaling=False,
            input_shape=(80, 96, 3),
            **more,
        )


@fixture(
    "keras-2.3.1-v2-101",
    "keras-2.3.1",
    "keras-applications 1.0.8, ResNet101V2",
    saves=WEIGHTS,
    options="--inputs 1 --layers none",
)
def resnet101_v2():
    keras = the_keras()
    common = importlib.import_module("keras_applications.resnet_v2")
    parts = {name: getattr(keras, name) for name in ("backend", "layers", "models", "utils")}
    with narrow(keras.layers, divide=64):
        return common.ResNet101V2(weights=None, input_shape=(64, 80, 3), classes=6, **parts)


@fixture(
    "kecam-1.4.1-aotnet50", "keras-2.10", "keras-cv-attention-models 1.4.1, AotNet", options=SMALL
)
def kecam():
    return kecam_family("AotNet", SHORT, [8, 16, 32, 64])


@fixture(
    "kecam-1.4.1-resnext",
    "keras-2.10",
    "keras-cv-attention-models 1.4.1, ResNeXt: grouped convolutions",
    options=SMALL,
)
def kecam_resnext():
    settings = {"groups": 4, "hidden_channel_ratio": 0.5}
    return kecam_family("ResNeXt", SHORT, [16, 16, 32, 32], **settings)


@fixture(
    "kecam-1.4.1-resnet-d",
    "keras-2.10",
    "keras-cv-attention-models 1.4.1, ResNetD: deep stem, pooled shortcuts",
    options=SMALL,
)
def kecam_resnet_d():
    return kecam_family("ResNetD", SHORT, [8, 16, 32, 64])


def kecam_family(name, blocks, channels, **more):
    the_keras()
    modules = {"AotNet": "aotnet", "ResNeXt": "resnet_family.resnext"}
    module = modules.get(name, "resnet_family.resnet_deep")
    module = importlib.import_module("keras_cv_attention_models." + module)
    settings = dict(more, out_channels=channels, stem_width=4, input_shape=(80, 96, 3))
    settings.update(num_classes=5, pretrained=None, model_name=name.lower())
    return getattr(module, name)(list(blocks), **settings)


@fixture(
    "imageai-2.0.2",
    "keras-2.3.1",
    "ImageAI 2.0.2's ResNet50 on tf.keras 1.15: no names, shortcut made first",
    saves=WEIGHTS,
    options=SMALL + " --keras tf.keras",
    seed=1,
)
def imageai():
    from tensorflow.python.keras import layers

    # The package's __init__ asks for OpenCV; its network needs TensorFlow only.
    path = next(folder for folder in sys.path if os.path.isdir(os.path.join(folder, "imageai")))
    sys.path.insert(0, os.path.join(path, "imageai", "Prediction", "ResNet"))
    module = importlib.import_module("resnet50")
    with narrow(module, "Conv2D"):
        return module.ResNet50(model_input=layers.Input((80, 96, 3)), num_classes=5, weights=None)


def keras_hub(divide=16, **more):
    keras, hub = the_keras(), importlib.import_module("keras_hub")
    settings = {
        "input_conv_filters": [64],
        "input_conv_kernel_sizes": [7],
        "stackwise_num_filters": [64, 128, 256, 512],
        "stackwise_num_blocks": [2, 2, 2, 2],
        "stackwise_num_strides": [1, 2, 2, 2],
        "image_shape": (80, 96, 3),
    }
    settings.update(more)
    with narrow(keras.layers, divide=divide):
        backbone = hub.models.ResNetBackbone(**settings)
    return hub.models.ResNetImageClassifier(backbone=backbone, num_classes=5)


HUB = SMALL + " --custom keras_hub.models:ResNetImageClassifier"
HUB_SAVES = ("weights:.weights.h5", ".keras")


@fixture(
    "keras-hub-0.32-18",
    "keras-3.15",
    "keras-hub 0.32, ResNet18: basic blocks, no projection in the first stage",
    HUB_SAVES,
    HUB,
)
def hub18():
    return keras_hub(block_type="basic_block")


@fixture(
    "keras-hub-0.32-26",
    "keras-3.15",
    "keras-hub 0.32, bottlenecks 2-2-2-2, stride on the 3x3",
    ("weights:.weights.h5",),
    HUB,
)
def hub26():
    return keras_hub(32, block_type="bottleneck_block")


@fixture(
    "keras-hub-0.32-v2-26",
    "keras-3.15",
    "keras-hub 0.32, the same pre-activated",
    ("weights:.weights.h5",),
    HUB,
)
def hub_v2():
    return keras_hub(32, block_type="bottleneck_block", use_pre_activation=True)


@fixture(
    "keras-hub-0.32-vd-26",
    "keras-3.15",
    "keras-hub 0.32, vd: three convolutions in the stem, pooled shortcuts",
    ("weights:.weights.h5",),
    HUB,
)
def hub_vd():
    stem = {"input_conv_filters": [32, 32, 64], "input_conv_kernel_sizes": [3, 3, 3]}
    return keras_hub(32, block_type="bottleneck_block_vd", **stem)


# ---------------------------------------------------------------- heads, on Keras 2.10


def base(size=(96, 112, 3)):
    return conv_block_resnet(include_top=False, input_shape=size)


def sequential(*layers):
    return the_keras().models.Sequential(list(layers))


@fixture(
    "keras-2.10-head-flatten",
    "keras-2.10",
    "the 3x4 map flattened (height, width, channel), two Dense layers",
    options=SMALL,
)
def head_flatten():
    layers, bottom = the_keras().layers, base()
    x = layers.Dense(8, activation="relu")(layers.Flatten()(bottom.output))
    return the_keras().models.Model(bottom.input, layers.Dense(5, activation="softmax")(x))


@fixture(
    "keras-2.10-head-max-sigmoid",
    "keras-2.10",
    "global maximum, several labels at once (sigmoid)",
    options=SMALL,
)
def head_max_sigmoid():
    layers, bottom = the_keras().layers, base()
    x = layers.GlobalMaxPooling2D()(bottom.output)
    return the_keras().models.Model(bottom.input, layers.Dense(6, activation="sigmoid")(x))


def base_of_224(divide=DIVIDE):
    """A base with the name of keras.applications' ResNet50, and fewer blocks."""
    named = {"name" if recorder().major(the_keras()) >= 3 else "model_name": "resnet50"}
    settings = dict(named, include_top=False, input_shape=(224, 224, 3))
    return conv_block_resnet(SHORT, divide, **settings)


def compiled(model):
    model.compile(optimizer="adam", loss="categorical_crossentropy")
    return model


@fixture(
    "keras-2.10-functional-head",
    "keras-2.10",
    "a ResNet50 without top and two Dense layers, compiled",
    options=EVERY,
)
def functional_head():
    layers, bottom = the_keras().layers, base_of_224()
    x = layers.Dense(48, activation="relu")(layers.GlobalAveragePooling2D()(bottom.output))
    x = layers.Dense(7, activation="softmax", name="out")(layers.Dropout(0.3)(x))
    return compiled(the_keras().models.Model(bottom.input, x))


def nested_head(divide=DIVIDE):
    layers = the_keras().layers
    return compiled(
        sequential(
            base_of_224(divide),
            layers.GlobalAveragePooling2D(),
            layers.Dense(64, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Dense(5, activation="softmax"),
        )
    )


NESTED = "Sequential around a nested headless ResNet50, compiled"


@fixture("keras-2.10-nested-head", "keras-2.10", NESTED, options=EVERY)
def keras210_nested_head():
    return nested_head()


@fixture("keras-3.15-nested-head", "keras-3.15", NESTED, saves=(".h5", ".keras"), options=EVERY)
def keras315_nested_head():
    # Of 64 features the norm of 64 channels could stand behind the base too, and a .keras does not
    # keep the order of layers.
    return nested_head(WIDE)


@fixture(
    "keras-2.10-nested-frozen",
    "keras-2.10",
    "a nested base, frozen: its weights in order of layers",
    options=SMALL,
)
def nested_frozen():
    layers, bottom = the_keras().layers, base()
    bottom.trainable = False
    return sequential(
        bottom, layers.GlobalAveragePooling2D(), layers.Dense(5, activation="softmax")
    )


@fixture(
    "keras-2.10-nested-partly-frozen",
    "keras-2.10",
    "a nested base, its first 40 layers frozen",
    options=SMALL,
)
def nested_partly_frozen():
    layers, bottom = the_keras().layers, base()
    for layer in bottom.layers[:40]:
        layer.trainable = False
    return sequential(
        bottom, layers.GlobalAveragePooling2D(), layers.Dense(5, activation="softmax")
    )


@fixture(
    "keras-2.10-two-outputs",
    "keras-2.10",
    "two outputs: `kind` (softmax) and `age` (linear)",
    options=SMALL,
)
def two_outputs():
    layers, bottom = the_keras().layers, base()
    x = layers.GlobalAveragePooling2D()(bottom.output)
    outputs = [
        layers.Dense(4, activation="softmax", name="kind")(x),
        layers.Dense(1, name="age")(x),
    ]
    return the_keras().models.Model(bottom.input, outputs)


@fixture("keras-2.10-one-channel", "keras-2.10", "pictures of one channel", options=SMALL)
def one_channel():
    return conv_block_resnet(classes=3, input_shape=(64, 80, 1))


@fixture("keras-2.10-four-channels", "keras-2.10", "pictures of four channels", options=SMALL)
def four_channels():
    return conv_block_resnet(classes=3, input_shape=(64, 80, 4))


@fixture(
    "keras-2.10-picture-layers",
    "keras-2.10",
    "augmentation, Rescaling and Normalization in front of a nested base of two stages",
    options=SMALL,
)
def picture_layers():
    keras = the_keras()
    layers, size = keras.layers, (48, 56, 3)
    bottom = conv_block_resnet((1, 1), 64, include_top=False, input_shape=size)
    picture = keras.Input(size)
    x = layers.RandomFlip("horizontal")(picture)
    x = layers.RandomRotation(0.1)(x)
    x = layers.RandomZoom(0.2)(x)
    x = layers.RandomContrast(0.1)(x)
    x = layers.Rescaling(1 / 127.5, offset=-1)(x)
    x = layers.Normalization(mean=[0.485, 0.456, 0.406], variance=[0.0524, 0.0502, 0.0506])(x)
    x = layers.GlobalAveragePooling2D()(bottom(x, training=False))
    x = layers.Dense(5, activation="softmax")(layers.Dropout(0.2)(x))
    return keras.models.Model(picture, x)


@fixture(
    "keras-2.2.4-transfer-head",
    "keras-2.2.4",
    "ResNet50 without top, global maximum, Dense (ReLU), BatchNormalization, Dropout, sigmoid",
    options=SMALL,
)
def transfer_head():
    keras = the_keras()
    with narrow(keras.layers, "Conv2D", divide=64):
        network = keras.applications.resnet50.ResNet50
        bottom = network(weights=None, include_top=False, input_shape=(96, 112, 3))
    x = keras.layers.GlobalMaxPooling2D()(bottom.output)
    x = keras.layers.BatchNormalization()(keras.layers.Dense(8, activation="relu")(x))
    x = keras.layers.Dense(3, activation="sigmoid")(keras.layers.Dropout(0.5)(x))
    return keras.models.Model(inputs=bottom.input, outputs=x)


# ---------------------------------------------------------------- files at full depth, taken over

for taken, env, what in (
    ("keras-2.2.4-tensorflow", "keras-2.2.4", "keras-applications 1.0.8: `pool1_pad`"),
    (
        "keras-2.3.1-conv_block-50",
        "keras-2.3.1",
        "keras-applications 1.0.8: `conv2_block1_1_conv`, epsilon 1.001e-5",
    ),
    ("keras-2.3.1-v2-50", "keras-2.3.1", "keras-applications 1.0.8: ResNet50V2"),
    (
        "keras-2.3.1-qubvel-18",
        "keras-2.3.1",
        "image-classifiers 1.0.0: pre-activated, `bn_data` without gamma",
    ),
    ("keras-3.15-conv_block-50", "keras-3.15", "keras.applications' ResNet50"),
):
    taken_over(taken, env, what + "; at its full depth, taken over")


# ---------------------------------------------------------------- fixtures/README.md

README = """# Fixtures: small files written by real Keras versions

Each `.h5`, `.keras`, `.weights.h5` or `.weights.json` was saved by the Keras named beside it; the
`.npz` of the same name is what that Keras computed (the record format of
`scripts/record_keras.py`). The networks are the packages' own or published code with every filter
count divided; the weights are random, and about one channel in twenty has a variance of 3e-5, so
that a wrong epsilon shows. `scripts/make_fixtures.py` makes them, in the environments of
`scripts/make_fixture_envs.sh`:

    scripts/make_fixture_envs.sh ENVS keras-2.0.0
    ENVS/keras-2.0.0/bin/python scripts/make_fixtures.py keras-2.0.0-tensorflow fixtures

Most have few blocks in their stages; some have all that a ResNet-50 has. Those "taken over" were
made before this script, with filters divided by 16. Most records say how their input is made again
(`record_keras.py --input-as-seed`); the others hold it. This file is
written by `scripts/make_fixtures.py readme fixtures`.
"""


def readme(outdir):
    """Write README.md: every record's writer and every file's sha256."""
    names = sorted(name[:-4] for name in os.listdir(outdir) if name.endswith(".npz"))
    lines = [README, "## Files", ""]
    lines += writer_table(outdir, [name for name in FIXTURES if name in names])
    lines += ["", "## sha256", "", "| file | bytes | sha256 |", "| --- | --- | --- |"]
    for file in sorted(os.listdir(outdir)):
        path = os.path.join(outdir, file)
        if file != "README.md" and os.path.isfile(path):
            lines.append("| {} | {} | `{}` |".format(file, os.path.getsize(path), sha256(path)))
    with open(os.path.join(outdir, "README.md"), "w") as file:
        file.write("\n".join(lines) + "\n")


def writer_table(outdir, names):
    lines = [
        "| name | writer | environment | holds | what it is |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in names:
        entry = FIXTURES[name]
        cells = (name, writer(outdir, name), entry.env, holds(entry), entry.what)
        lines.append("| {} | {} | {} | {} | {} |".format(*cells))
    return lines


def holds(entry):
    kinds = [
        ("weights " if ":" in save else "model ") + save.split(":")[-1] for save in entry.saves
    ]
    return ", ".join("{} `{}`".format(*kind.split(" ")) for kind in kinds)


def writer(outdir, name):
    """The versions that a record names."""
    with np.load(os.path.join(outdir, name + ".npz"), allow_pickle=False) as record:
        meta = json.loads(str(record["meta"]))
    labels = ("Keras", "TensorFlow", "Theano", "Python")
    versions = [label + " " + meta[label.lower()] for label in labels if meta.get(label.lower())]
    return ", ".join(versions)


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


# ---------------------------------------------------------------- the command


def main(arguments):
    if arguments == ["list"]:
        for name, entry in FIXTURES.items():
            print("{:34} {:12} {}".format(name, entry.env, entry.what))
    elif len(arguments) == 2 and arguments[0] == "readme":
        readme(arguments[1])
    elif len(arguments) == 2 and arguments[0] in FIXTURES:
        make(*arguments)
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
