"""Pools and convolutions with padding of their own, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from resnet_pt.architecture import Conv, Pool
from resnet_pt.layers import pads

random = np.random.default_rng(3)

# (before, after) on each axis for a window of 3 that moves by 2, by hand: ceil(size / 2) outputs.
BY_HAND = {6: (0, 1), 7: (1, 1), 5: (1, 1), 8: (0, 1)}
SIZES = [(6, 6), (7, 7), (6, 7), (5, 8)]


def around(picture, rows, columns, value):
    return np.pad(picture, (rows, columns), constant_values=value)


def windows(padded, kernel, stride):
    for row in range(0, padded.shape[0] - kernel + 1, stride):
        yield [
            padded[row : row + kernel, column : column + kernel]
            for column in range(0, padded.shape[1] - kernel + 1, stride)
        ]


def given(module, picture):
    with torch.no_grad():
        return module(torch.from_numpy(picture[None, None]))[0, 0].numpy()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_same_max_pool_looks_only_at_what_is_there(size):
    picture = random.normal(size=size).astype("f4") - 5
    padded = around(picture, BY_HAND[size[0]], BY_HAND[size[1]], -np.inf)
    expected = [[window.max() for window in row] for row in windows(padded, 3, 2)]

    assert np.array_equal(given(Pool(padding="same").module(), picture), expected)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_zero_padded_max_pool_looks_at_its_zeros(size):
    picture = random.normal(size=size).astype("f4") - 5
    padded = around(picture, (1, 1), (1, 1), 0)
    expected = [[window.max() for window in row] for row in windows(padded, 3, 2)]

    result = given(Pool(padding=1, fill="zero").module(), picture)

    assert np.array_equal(result, expected)
    assert not np.array_equal(result, given(Pool(padding=1).module(), picture))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_an_average_pool_divides_by_what_is_there(size):
    picture = random.normal(size=size).astype("f4")
    padded = around(picture, BY_HAND[size[0]], BY_HAND[size[1]], np.nan)
    expected = [[np.nanmean(window) for window in row] for row in windows(padded, 3, 2)]

    result = given(Pool(padding="same", mode="avg").module(), picture)

    assert np.allclose(result, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("padding", ["same", (1, 0, 2, 1)], ids=["same", "one-sided"])
def test_a_convolution_pads_as_it_says(padding, size):
    picture = random.normal(size=size).astype("f4")
    conv = Conv(1, 1, (3, 3), (2, 2), padding).module()
    kernel = conv.weight.detach().numpy()[0, 0]
    left, right, top, bottom = (
        (*BY_HAND[size[1]], *BY_HAND[size[0]]) if padding == "same" else padding
    )
    padded = around(picture, (top, bottom), (left, right), 0)
    expected = [[(window * kernel).sum() for window in row] for row in windows(padded, 3, 2)]

    assert np.allclose(given(conv, picture), expected, rtol=1e-5, atol=1e-6)


def test_a_dilated_window_reaches_further():
    """Three taps two apart reach five elements: (2, 2) around any size, moving by one."""
    picture = torch.zeros(1, 1, 9, 10)

    assert pads("same", picture, (3, 3), (1, 1), (2, 2)) == (2, 2, 2, 2)


@pytest.mark.parametrize(
    ("height", "width", "expected"),
    [(224, 224, (2, 3, 2, 3)), (225, 224, (2, 3, 3, 3)), (224, 225, (3, 3, 2, 3))],
)
def test_same_is_decided_for_each_axis_when_the_network_runs(height, width, expected):
    """(left, right, top, bottom) for the 7x7 of stride 2."""
    assert pads("same", torch.zeros(1, 3, height, width), (7, 7), (2, 2)) == expected
