"""The process in which Keras makes residual networks that no table knows (tests/wild_networks.py).

    python tests/wild_keras.py FOLDER < networks.jsonl

A line on standard input describes a network; its files and what it computes are written into
FOLDER, and a line of JSON says which. It runs on Keras 2.2.4 to 3, under any Python from 3.6 on.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import h5py
import numpy as np

try:
    import keras
except ImportError:
    from tensorflow import keras
else:
    if keras.__version__.startswith("2.") and int(keras.__version__.split(".")[1]) > 3:
        from tensorflow import keras

layers = keras.layers
SIZE = 32


class Names:
    """Layers' names: Keras' own, the naming's of a published network, or a project's."""

    def __init__(self, naming):
        self.naming = naming
        self.stage = self.block = 0

    def of(self, kind, place):
        """Keyword arguments for a layer: `kind` is conv, bn, act, add, pool or pad."""
        name = self._name(kind, place)
        return {"name": name} if name else {}

    def _name(self, kind, place):
        if self.naming == "auto":
            return None
        if place == "stem":
            return STEM[self.naming].get(kind)
        return self._in_block(kind, place)

    def _in_block(self, kind, place):
        stage, letter = self.stage + 2, chr(ord("a") + self.block)
        if self.naming == "res-branch":
            words = {"conv": "res%d%s_branch%s", "bn": "bn%d%s_branch%s"}
            ends = {"0": "1", "1": "2a", "2": "2b", "3": "2c"}
            is_named = kind in words and place in ends
            return words[kind] % (stage, letter, ends[place]) if is_named else None
        base = "conv%d_block%d" % (stage, self.block + 1)
        words = {"conv": "%s_%s_conv", "bn": "%s_%s_bn", "act": "%s_%s_relu"}
        if kind in words and place:
            return words[kind] % (base, place)
        return {"add": base + "_add", "act": base + "_out"}.get(kind)


STEM = {
    "res-branch": {"conv": "conv1", "bn": "bn_conv1"},
    "conv-block": {
        "conv": "conv1_conv",
        "bn": "conv1_bn",
        "act": "conv1_relu",
        "pad": "conv1_pad",
        "pool": "pool1_pool",
        "pool_pad": "pool1_pad",
    },
}


class Maker:
    """One network, layer by layer."""

    def __init__(self, spec):
        self.spec = spec
        self.names = Names(spec["naming"])
        self.used = set()

    def named(self, kind, place):
        """The same name is given once: what a naming has no second name for is Keras' to name."""
        found = self.names.of(kind, place)
        if found.get("name") in self.used:
            return {}
        self.used.add(found.get("name"))
        return found

    def conv(self, x, filters, window, stride, padding, place, dilation=1):
        if padding == "pad" and window > 1:
            x = layers.ZeroPadding2D(dilation * (window // 2), **self.named("pad", place))(x)
        how = "same" if padding == "same" else "valid"
        return layers.Conv2D(
            filters,
            window,
            strides=stride,
            padding=how,
            use_bias=self.spec["bias"],
            dilation_rate=dilation,
            **self.named("conv", place),
        )(x)

    def norm(self, x, place):
        return layers.BatchNormalization(epsilon=self.spec["eps"], **self.named("bn", place))(x)

    def act(self, x, place):
        name = self.spec["activation"]
        if name == "relu" and self.spec["relu_class"] and hasattr(layers, "ReLU"):
            return layers.ReLU(**self.named("act", place))(x)
        return layers.Activation(name, **self.named("act", place))(x)

    def tokens(self, x, tokens, place):
        """Norms and activations: 'na' is a norm and an activation behind it."""
        for token in tokens:
            x = self.norm(x, place) if token == "n" else self.act(x, place)
        return x

    def total(self, one, other):
        if self.spec["sum"] == "operator":
            return one + other
        return layers.add([one, other], **self.named("add", ""))

    def model(self):
        spec = self.spec
        given = layers.Input((SIZE, SIZE, spec["channels"]))
        x = self.stem(given)
        for stage, depth in enumerate(spec["depths"]):
            for block in range(depth):
                self.names.stage, self.names.block = stage, block
                x = self.block(x, stage, block)
        x = self.tokens(x, spec["ending"], "end") if spec["naming"] == "auto" else x
        return keras.models.Model(given, self.head(x))

    def stem(self, x):
        spec = self.spec
        stride, padding = spec["stem_stride"], spec["stem_padding"]
        x = self.conv(x, spec["widths"][0], spec["window"], stride, padding, "stem")
        x = self.tokens(x, spec["behind"], "stem")
        if spec["pool"] == "none":
            return x
        if spec["pool_padding"] == "zero":
            x = layers.ZeroPadding2D(1, **self.named("pool_pad", "stem"))(x)
        how = "same" if spec["pool_padding"] == "same" else "valid"
        kind = layers.MaxPooling2D if spec["pool"] == "max" else layers.AveragePooling2D
        window, stride = spec["pool_window"], spec["pool_stride"]
        return kind(window, strides=stride, padding=how, **self.named("pool", "stem"))(x)

    def block(self, x, stage, number):
        spec = self.spec
        width = spec["widths"][stage] * (4 if spec["bottleneck"] else 1)
        windows = (1, 3, 1) if spec["bottleneck"] else (3, 3)
        strides = (
            spec["strides"][stage] if number == spec["strided_block"] % spec["depths"][stage] else 1
        )
        gaps = spec["gaps"]  # in front of each convolution, behind the last, behind the sum
        short = y = x
        on = spec["stride_on"] if spec["bottleneck"] else spec["stride_on"] % 2
        for index, window in enumerate(windows):
            y = self.tokens(
                y, self.in_front(index, stage + number), str(index) if index else "preact"
            )
            if index == 0 and spec["shortcut_reads"] == "activated":
                short = y
            last = index == len(windows) - 1
            filters = width if last else spec["widths"][stage]
            stride = strides if index == on else 1
            padding = spec["padding"] if window > 1 else "valid"
            y = self.conv(
                y, filters, window, stride, padding, str(index + 1), self.dilated(window, stride)
            )
        y = self.tokens(y, gaps["behind"], str(len(windows)))
        short = self.shortcut(short, width, strides)
        y = self.total(y, short) if spec["block_first"] else self.total(short, y)
        return self.tokens(y, gaps["after"], "")

    def in_front(self, index, number):
        """Norms and activations in front of a convolution: the first block may have none."""
        if index:
            return self.spec["gaps"]["between"]
        return self.spec["gaps"]["before"] if number or self.spec["first_before"] else ""

    def dilated(self, window, stride):
        return self.spec["dilation"] if window > 1 and stride == 1 else 1

    def shortcut(self, x, width, stride):
        channels = int(x.shape[-1])
        if channels == width and stride == 1:
            return x
        x = self.conv(x, width, self.spec["shortcut_window"], stride, "same", "0")
        return self.norm(x, "0") if self.spec["shortcut_norm"] else x

    def head(self, x):
        spec = self.spec
        x = self.extra(x, "map")
        kinds = {
            "average": (layers.GlobalAveragePooling2D, "avg_pool"),
            "maximum": (layers.GlobalMaxPooling2D, "max_pool"),
            "flatten": (layers.Flatten, None),
        }
        kind, name = kinds[spec["pooling"]]
        named = {"name": name} if name and spec["naming"] == "conv-block" else {}
        x = kind(**named)(x)
        x = self.extra(x, "vector")
        for width in spec["hidden"]:
            x = layers.Dense(width, activation=spec["hidden_activation"])(x)
        return layers.Dense(spec["classes"], activation=spec["output"], **self.last())(x)

    def last(self):
        names = {"res-branch": "fc%d" % self.spec["classes"], "conv-block": "predictions"}
        name = names.get(self.spec["naming"])
        return {"name": name} if name else {}

    def extra(self, x, where):
        """A layer without weights that no naming has, where the network has one."""
        name, place, given = self.spec["extra"]
        if place != where:
            return x
        named = {"name": given} if given else {}
        if name == "scale":
            return layers.Lambda(lambda t: t * 1.7, **named)(x)
        if name == "square":
            return layers.multiply([x, x], **named)
        if name == "dropout":
            return layers.Dropout(0.3, **named)(x)
        if name == "activation":
            return layers.Activation("tanh", **named)(x)
        return layers.LeakyReLU(0.2, **named)(x)


def lively(model, seed):
    """Weights with which every layer counts, and some variances where epsilon shows."""
    generator = np.random.RandomState(seed)
    for layer in model.layers:
        values = [
            made(generator, weight.name, array.shape)
            for weight, array in zip(layer.weights, layer.get_weights())
        ]
        layer.set_weights(values)


def made(generator, name, shape):
    if "variance" in name:
        value = np.where(generator.rand(*shape) < 0.2, 2e-3, generator.uniform(0.5, 1.5, shape))
    elif len(shape) > 1:
        value = generator.normal(0, np.prod(shape[:-1]) ** -0.5, shape)
    else:
        value = generator.normal(0.8 if "gamma" in name else 0.1, 0.2, shape)
    return value.astype("float32")


def legacy_weights(model, path):
    """Weights alone in the HDF5 of Keras 1 and 2: where `save_weights` no longer writes it, the
    contents of `model_weights` of a whole model are the same."""
    if int(keras.__version__.split(".")[0]) < 3:
        model.save_weights(path)
        return
    whole = path + ".whole.h5"
    model.save(whole)
    with h5py.File(whole, "r") as source, h5py.File(path, "w") as file:
        for name in source["model_weights"]:
            source.copy("model_weights/" + name, file)
        for name, value in source["model_weights"].attrs.items():
            file.attrs[name] = value
    os.remove(whole)


def unnamed(path, target):
    """A .weights.h5 as Keras before 3.6 wrote it: without the layers' names."""
    with h5py.File(path, "r") as source, h5py.File(target, "w") as file:
        for name in source:
            source.copy(name, file)
        file.visititems(lambda _, one: one.attrs.pop("name", None))


def write(spec, folder, number):
    keras.backend.clear_session()
    model = Maker(spec).model()
    lively(model, number)
    base = os.path.join(folder, "wild_%04d" % number)
    files = {"listed": base + "_listed.h5"}
    legacy_weights(model, files["listed"])
    if int(keras.__version__.split(".")[0]) >= 3:
        files["named"] = base + ".weights.h5"
        model.save_weights(files["named"])
        files["unnamed"] = base + "_unnamed.weights.h5"
        unnamed(files["named"], files["unnamed"])
    pictures = np.random.RandomState(number).uniform(-1, 1, (2, SIZE, SIZE, spec["channels"]))
    pictures = pictures.astype("float32")
    last = model.layers[-1]
    features = keras.models.Model(model.input, last.input).predict(pictures, verbose=0)
    kernel, bias = last.get_weights()
    np.savez(base + ".npz", input=pictures, logits=features.dot(kernel) + bias)
    return {"files": files, "record": base + ".npz"}


def main():
    folder = sys.argv[1]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what Keras prints is no answer
    for number, line in enumerate(iter(sys.stdin.readline, "")):
        try:
            answer = write(json.loads(line), folder, number)
        except (
            AttributeError,
            TypeError,
            ValueError,
        ) as error:  # no such network, or none in this Keras
            answer = {"impossible": f"{type(error).__name__}: {str(error)[:300]}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
