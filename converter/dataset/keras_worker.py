"""The original's process: what a Keras model predicts, batch by batch.

    python keras_worker.py record_keras.py MODEL [options of record_keras.py]

Runs in the interpreter that the original's Keras is in, Python 2.7 to 3.13, and needs that Keras,
numpy, and record_keras.py, which loads the model. Speaks in messages of one line of JSON, and an
array's bytes behind it where the line has a `shape`: first what it gives (`of`), then, for each
batch (N, H, W, C) on its standard input, the predictions (N, classes) in float64.
"""

from __future__ import absolute_import, division, print_function

import json
import os
import sys

import numpy as np


def main(recorder, arguments):
    # Not this script's folder, whose modules Keras could take for its own.
    sys.path[0] = os.path.dirname(os.path.abspath(recorder))
    return guarded(lambda batches, messages: serve(recorder, arguments, batches, messages))


def guarded(work):
    """The exit code of `work(batches, messages)`; an exception is told to whoever asked."""
    # Whatever Keras prints goes to standard error: standard output is for messages.
    messages = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        work(os.fdopen(0, "rb"), messages)
    except Exception as error:
        tell(messages, {"error": "{}: {}".format(type(error).__name__, error)})
        return 1
    return 0


def serve(recorder, arguments, batches, messages):
    """Load the model with record_keras.py, and answer until the batches end."""
    rk = __import__(os.path.splitext(os.path.basename(recorder))[0])
    model, options = arguments[0], rk.parse([arguments[0], "-"] + arguments[1:])
    keras = rk.import_keras(options.keras)
    if options.data_format:
        rk.set_data_format(keras, options.data_format)
    loaded = rk.load_model(keras, model, options)
    first = rk.data_format_of(keras, loaded) == "channels_first"
    of, predict = predictor(rk, keras, loaded)
    tell(messages, {"of": of, "keras": keras.__version__, "backend": rk.backend_name(keras)})
    answer(predict if not first else lambda batch: predict(transposed(batch)), batches, messages)


def transposed(batch):
    return np.ascontiguousarray(batch.transpose(0, 3, 1, 2))


def answer(predict, batches, messages):
    """Predictions for every batch that comes."""
    while True:
        line = batches.readline()
        if not line:
            return
        tell(messages, {}, predict(array_behind(json.loads(line.decode("utf8")), batches)))


def predictor(rk, keras, model):
    """('logits', a function from a batch to them), or ('output', ...) where they are not found.

    Logits are the input of a last activation; of a last Dense layer with one they are its sum, in
    float64, from the features that Keras computed.
    """
    graph = rk.graph_of(model)
    outputs = rk.as_list(graph.outputs)
    if len(outputs) != 1:
        raise rk.RecordError("the model has {} outputs: one is supported".format(len(outputs)))
    layer, call = rk.maker(outputs[0], rk.calls_of(graph))
    kind = type(layer).__name__
    if kind in ("Activation", "Softmax"):
        return "logits", runner(rk, keras, graph, call.inputs[0])
    if kind == "Dense" and rk.activation_name(layer) != "linear":
        features = runner(rk, keras, graph, call.inputs[0])
        return "logits", lambda batch: rk.before_activation(layer, features(batch))
    return "logits" if kind == "Dense" else "output", runner(rk, keras, graph, outputs[0])


def runner(rk, keras, graph, tensor):
    """A function from a batch to one tensor's value: Keras' own `predict`, compiled once, which
    takes half the time of a call of the model (Keras 3, ResNet-50, batches of 32)."""
    part = rk.new_model(keras, rk.as_list(graph.inputs), [tensor])
    return lambda batch: np.asarray(rk.as_list(part.predict_on_batch(batch))[0])


def array_behind(header, stream):
    """The float32 array that follows a message."""
    size = int(np.prod(header["shape"])) * 4
    return np.frombuffer(stream.read(size), dtype="<f4").reshape(header["shape"])


def tell(messages, header, array=None):
    if array is not None:
        array = np.ascontiguousarray(array, dtype="<f8")
        header = dict(header, shape=list(array.shape))
    messages.write((json.dumps(header) + "\n").encode("utf8"))
    if array is not None:
        messages.write(array.tobytes())
    messages.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
