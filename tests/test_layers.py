"""What torch lacks, against TensorFlow's rule worked out by hand and plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from resnet_pt.architecture import Conv, Pool
from resnet_pt.layers import same_padding
from resnet_pt.ops import Flatten

# size, kernel, stride: the output has ceil(size / stride) elements, and the odd zero goes last.
SAME = [
    (224, 7, 2, (2, 3)),
    (225, 7, 2, (3, 3)),
    (112, 3, 2, (0, 1)),
    (113, 3, 2, (1, 1)),
    (56, 3, 1, (1, 1)),
    (56, 1, 2, (0, 0)),
    (8, 2, 2, (0, 0)),
    (9, 2, 2, (0, 1)),
    (10, 5, 3, (2, 2)),
]


@pytest.mark.parametrize(("size", "kernel", "stride", "expected"), SAME)
def test_same_padding(size, kernel, stride, expected):
    assert same_padding(size, kernel, stride) == expected


@pytest.mark.parametrize("size", [(8, 8), (9, 9), (8, 9)])
def test_a_same_convolution_looks_where_tensorflow_looks(size):
    conv = Conv(1, 1, (3, 3), (2, 2), "same").module()
    torch.nn.init.ones_(conv.weight)
    picture = torch.arange(size[0] * size[1], dtype=torch.float32).reshape(1, 1, *size)

    result = conv(picture)[0, 0].detach().numpy()

    top = 0 if size[0] % 2 == 0 else 1
    left = 0 if size[1] % 2 == 0 else 1
    padded = np.pad(picture[0, 0].numpy(), ((top, 1), (left, 1)))
    for row in range(result.shape[0]):
        for column in range(result.shape[1]):
            window = padded[2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            assert result[row, column] == window.sum()
    assert result.shape == (-(-size[0] // 2), -(-size[1] // 2))


def test_zeros_around_a_negative_map_win_and_nothing_does_not():
    negative = torch.full((1, 1, 4, 4), -1.0)

    assert Pool(padding=1, fill="zero").module()(negative).max() == 0
    assert Pool(padding=1).module()(negative).max() == -1


def test_an_average_pool_counts_only_what_is_there():
    ones = torch.ones(1, 1, 3, 3)

    result = Pool((2, 2), (2, 2), "same", mode="avg").module()(ones)

    assert torch.equal(result, torch.ones(1, 1, 2, 2))


def test_plain_padding_stays_a_plain_torch_layer():
    assert type(Conv(3, 4, (7, 7), (2, 2), 3).module()) is torch.nn.Conv2d
    assert type(Pool().module()) is torch.nn.MaxPool2d


def test_flatten_writes_a_map_as_channels_last_keras_does():
    channels_last = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    as_torch_has_it = torch.from_numpy(channels_last).permute(0, 3, 1, 2)

    assert np.array_equal(
        Flatten("hwc").module((5, 3, 4))(as_torch_has_it).numpy(), channels_last.reshape(2, -1)
    )
