"""Forms of whole models that Keras itself runs, and is asked about, rather than a definition that
is bundled here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import resnet_pt
from converter.conversion import convert

SCRIPTS = Path(__file__).parent.parent / "scripts"

pytestmark = pytest.mark.keras


def made(folder: Path, code: str) -> Path:
    """A model that real Keras builds, fills and saves: `code` makes `model` of the legacy network,
    narrow. What it gives for `pictures` is beside it, by the names of a dict."""
    path = folder / "model.keras"
    program = f"""
import sys; sys.path.insert(0, {str(SCRIPTS)!r})
import keras, numpy as np
from keras import layers
from legacy_resnet50 import fill, resnet50
{code}
pictures = np.random.default_rng(5).uniform(-100, 100, (2, 224, 224, 3)).astype("float32")
given = model.predict(pictures, verbose=0)
np.savez({str(folder / "given.npz")!r}, pictures=pictures, **given)
model.save({str(path)!r})
"""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    return path


DICT = """
body = resnet50(width=4, classes=7)
features = body.layers[-2].output
last = {
    "second": layers.Dense(3, name="a", activation="softmax")(features),
    "first": layers.Dense(3, name="z", activation="sigmoid")(features),
}
model = keras.Model(body.inputs, last)
fill(model)
"""
"""The names' order is neither that in which they are written, nor that of the layers."""

NESTED_DICT = f"""
{DICT}
inputs = keras.Input((224, 224, 3))
returned = model(inputs)
last = {{
    "first": returned["first"],
    "second": layers.Dense(3, name="added", activation="softmax")(returned["second"]),
}}
model = keras.Model(inputs, last)
"""


@pytest.mark.parametrize(
    ("code", "softmax"), [(DICT, "a"), (NESTED_DICT, "added")], ids=["dict", "nested"]
)
def test_each_output_of_a_dict_is_keras_own(code, softmax, tmp_path):
    """Keras counts them in the order of their names: it was said to be unable to load the model,
    and a nested one's were taken for each other."""
    source = made(tmp_path, code)
    target = tmp_path / "out.pth"

    report = convert(source, target, device="cpu", require_parity=True)

    assert report.parity.oracle == "Keras itself"
    given = np.load(tmp_path / "given.npz")
    with torch.no_grad():
        found = resnet_pt.load(target)(torch.from_numpy(given["pictures"].transpose(0, 3, 1, 2)))
    np.testing.assert_allclose(found[softmax].softmax(1), given["second"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found["z"].sigmoid(), given["first"], rtol=0, atol=1e-5)
