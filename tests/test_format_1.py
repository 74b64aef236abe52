"""Files that were written before a head was a program: one of each kind of head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers import FIXTURES

import resnet_pt

FOLDER = FIXTURES / "format-1"
FILES = sorted(path for path in FOLDER.iterdir() if path.suffix in (".pth", ".safetensors"))


def picture():
    """Whole numbers, as all weights are: nothing is rounded, on any machine."""
    pixels = np.random.default_rng(1).integers(0, 4, (2, 3, 32, 32))
    return torch.from_numpy(pixels.astype(np.float32))


def computed(model):
    """`{output: array}`; the only output is ''."""
    with torch.inference_mode():
        found = model(picture())
    outputs = found if isinstance(found, dict) else {"": found}
    return {name: value.numpy() for name, value in outputs.items()}


def recorded(path):
    """What the version that wrote the file computed."""
    with np.load(FOLDER / "outputs.npz") as file:
        names = {name.partition("/")[::2] for name in file.files}
        return {
            output: file[f"{stem}/{output}" if output else stem]
            for stem, output in names
            if stem == path.stem
        }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_gives_what_it_gave(path, tmp_path):
    model = resnet_pt.load(path)

    expected, found = recorded(path), computed(model)

    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)
    assert model.original_layers == {"conv1": "conv1_conv"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_can_be_saved_again(path, tmp_path):
    model = resnet_pt.load(path)
    again = tmp_path / path.name

    resnet_pt.save(model, again)

    found = resnet_pt.load(again)
    assert found.architecture == model.architecture
    for name, value in computed(model).items():
        np.testing.assert_array_equal(computed(found)[name], value, err_msg=name)
