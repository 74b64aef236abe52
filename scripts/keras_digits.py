"""Keras' side of the comparison in docs/training.md: the same training, by Keras.

`pretrain FOLDER MODEL.h5` trains a small ResNet of the legacy kind and saves it: the old file that
a project has. `finetune` gives it a new head and trains it on, with the split that
`scripts/finetune` wrote, the same head and the same batches.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import keras
import numpy as np
from keras import layers
from keras.src.applications.imagenet_utils import preprocess_input
from legacy_resnet50 import conv_block, identity_block

SIZE = (32, 32)


def network(classes: int, width: int) -> keras.Model:
    """The legacy blocks, 2 in each of 3 stages, for pictures of 32x32."""
    inputs = x = layers.Input((*SIZE, 3))
    x = layers.ZeroPadding2D((3, 3), name="conv1_pad")(x)
    x = layers.Conv2D(width, (7, 7), strides=(2, 2), name="conv1")(x)
    x = layers.BatchNormalization(name="bn_conv1")(x)
    x = layers.Activation("relu")(x)
    x = layers.MaxPooling2D((3, 3), strides=(2, 2))(x)
    for stage in (2, 3, 4):
        middle = width * 2 ** (stage - 2)
        filters = (middle, middle, 4 * middle)
        x = conv_block(x, 3, filters, stage, "a", strides=(1, 1) if stage == 2 else (2, 2))
        x = identity_block(x, 3, filters, stage, "b")
    x = layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = layers.Dense(classes, activation="softmax", name="fc")(x)
    return keras.Model(inputs, x)


def arrays(samples: list[list]) -> tuple[np.ndarray, np.ndarray]:
    """(pictures (N, H, W, 3), labels), as an old script read them."""
    images = [keras.utils.load_img(path, target_size=SIZE) for path, _ in samples]
    pictures = np.stack([keras.utils.img_to_array(image) for image in images])
    return preprocess_input(pictures, mode="tf"), np.array([label for _, label in samples])


def compiled(model: keras.Model, lr: float) -> keras.Model:
    optimizer = keras.optimizers.SGD(lr, momentum=0.9)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@click.group()
def main() -> None:
    pass


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--width", default=16)
@click.option("--epochs", default=15)
def pretrain(folder: Path, target: Path, width: int, epochs: int) -> None:
    keras.utils.set_random_seed(0)
    classes = sorted(path.name for path in folder.iterdir())
    samples = [
        [str(path), label]
        for label, name in enumerate(classes)
        for path in sorted((folder / name).iterdir())
    ]
    model = compiled(network(len(classes), width), 0.02)
    model.fit(*arrays(samples), batch_size=32, epochs=epochs, verbose=0)
    model.save(target)


@main.command()
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("split", type=click.Path(path_type=Path))
@click.argument("given", type=click.Path(path_type=Path))
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--lr", default=0.01)
def finetune(source: Path, split: Path, given: Path, target: Path, lr: float) -> None:
    """GIVEN (.npz) holds the new head's `kernel` (in, out) and, for each epoch, `order_<n>`: the
    pictures of each batch, one after the other, and `sizes_<n>`: how many each has."""
    pictures = json.loads(split.read_text())
    start = np.load(given)
    old = keras.models.load_model(source, compile=False)
    head = layers.Dense(len(pictures["classes"]), activation="softmax", name="new")
    model = compiled(keras.Model(old.input, head(old.get_layer("avg_pool").output)), lr)
    head.set_weights([start["kernel"], np.zeros(len(pictures["classes"]), np.float32)])
    x, y = arrays(pictures["train"])
    held_out, truth = arrays(pictures["validation"])
    history = []
    for epoch in range(sum(name.startswith("order") for name in start.files)):
        losses, sizes = [], start[f"sizes_{epoch}"]
        for batch in np.split(start[f"order_{epoch}"], np.cumsum(sizes)[:-1]):
            model.reset_metrics()
            losses.append(model.train_on_batch(x[batch], y[batch])[0])
        loss, accuracy = model.evaluate(held_out, truth, verbose=0)
        mean = float(np.average(losses, weights=sizes))
        history.append({"train_loss": mean, "loss": loss, "accuracy": accuracy})
    target.write_text(json.dumps(history))


if __name__ == "__main__":
    main()
