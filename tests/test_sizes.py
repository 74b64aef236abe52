"""Sizes of maps by arithmetic, and pictures for heads that flatten one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from helpers import converted, fixture

import resnet_pt
from converter.formats.destinations import onnx, pt2
from converter.parity.comparing import sizes
from converter.parity.comparing.inputs import default_size, inputs
from converter.parity.comparing.sizes import NoSizeError, fits
from resnet_pt.architecture import Conv, Dense, Dropout, Flatten, Layer, Output, Pool
from resnet_pt.lower import PICTURE, features_of, lower
from resnet_pt.network import ResNet

FIXTURES = [
    "keras-2.2.4-tensorflow",
    "keras-2.3.1-conv_block-50",
    "keras-2.3.1-v2-50",
    "keras-2.3.1-cifar-v2",
    "kecam-1.4.1-resnet-d",
]


def on_meta(architecture, height, width):
    """The features' (height, width) in torch; (0, 0) where it does not run."""
    with torch.device("meta"):
        model = ResNet(architecture).eval()
        try:
            return tuple(model.forward_features(torch.empty(1, 3, height, width)).shape[2:])
        except RuntimeError:
            return 0, 0


def of_features(architecture, height, width):
    """Their (height, width), computed from the architecture alone; (0, 0) for one that misfits."""
    bare = replace(architecture, head=(), outputs=(Output("map", ""),))
    if not fits(bare, (height, width)):
        return 0, 0
    shapes = lower(bare).shapes({PICTURE: (architecture.in_channels, height, width)})
    return shapes[features_of(bare)][1:]


@pytest.mark.slow
@pytest.mark.parametrize("name", FIXTURES)
def test_a_map_is_as_large_as_the_network_makes_it(name):
    architecture = converted(fixture(name))[0].architecture

    for height, width in [(224, 224), (64, 96), (61, 75), (35, 33), (8, 13), (1, 1), (97, 128)]:
        found = of_features(architecture, height, width)
        expected = on_meta(architecture, height, width)
        assert found == expected if all(expected) else not all(found)


@pytest.mark.parametrize("padding", [0, 6, "same", (0, 1, 2, 3)])
def test_a_dilated_convolution_reaches_further(padding):
    """Of the stem: 7x7 with dilation 2 is a window of 13."""
    plain = resnet_pt.resnet((1, 1, 1, 1), 3, width=16)
    conv = plain.stem.conv.replace(dilation=(2, 2), padding=padding)
    architecture = replace(plain, stem=replace(plain.stem, conv=conv))

    for height, width in [(224, 224), (61, 75), (96, 130)]:
        found = of_features(architecture, height, width)
        assert found == on_meta(architecture, height, width)


def flattening(pixels, between=(), features=512, depths=(1, 1, 1, 1)):
    """A network whose head flattens a map for a Dense layer that reads so many pixels of it."""
    body = resnet_pt.resnet(depths, 3, width=16)
    head = (
        *between,
        Layer("flat", Flatten("hwc"), (between[-1].name if between else "",)),
        Layer("drop", Dropout(0.5), ("flat",)),
        Layer("last", Dense(int(features * pixels), 3), ("drop",)),
    )
    return replace(body, head=head, outputs=(Output("last", "last"),))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pixels", "size"),
    [
        *((49, (224, 224)), (1, (32, 32)), (4, (64, 64)), (6, (64, 96)), (12, (96, 128))),
        *((7, (32, 224)), (30, (160, 192)), (1024, (1024, 1024)), (31, (32, 992))),
    ],
)
def test_pictures_fit_what_is_flattened(pixels, size):
    """The usual size where it does; else the most nearly square map of so many pixels."""
    architecture = flattening(pixels)

    pictures = inputs(architecture, None)

    assert default_size(architecture) == size
    assert {one.shape for one in pictures} == {(1, *size, 3)}
    assert len(pictures) == 3
    assert on_meta(architecture, *size) == tuple(side // 32 for side in size)


POOL = Layer("pool", Pool((2, 2), (2, 2), 0), ("",))
CONV = Layer("conv", Conv(512, 10, (3, 3), padding="same", bias=True), ("",))


@pytest.mark.parametrize(
    ("layer", "features", "size"), [(POOL, 512, (128, 192)), (CONV, 10, (64, 96))]
)
def test_what_stands_in_front_of_the_flatten_counts(layer, features, size):
    architecture = flattening(6, (layer,), features)

    assert default_size(architecture) == size
    with torch.device("meta"):
        assert ResNet(architecture).eval()(torch.empty(1, 3, *size)).shape == (1, 3)


@pytest.mark.slow
def test_no_picture_of_another_size_is_added_that_does_not_fit():
    """Behind a 7x7 average a map of 2x2 is flattened: at 256x240 it would be one pixel."""
    average = Layer("pool", Pool((7, 7), (7, 7), 0, mode="avg"), ("",))

    assert {one.shape for one in inputs(flattening(4, (average,)), None)} == {(1, 448, 448, 3)}
    assert {one.shape for one in inputs(flattening(1, (average,)), None)} == {
        (1, 224, 224, 3),
        (1, 256, 240, 3),
    }


@pytest.mark.slow
@pytest.mark.parametrize("pixels", [2.5, 37, 33 * 33])
def test_where_no_picture_fits_it_is_said(pixels):
    architecture = flattening(pixels)

    with pytest.raises(
        NoSizeError, match="no picture of up to 1024x1024 becomes a map of 512 chann"
    ):
        inputs(architecture, None)
    for destination in (onnx, pt2):
        (obstacle,) = destination.obstacles(architecture)
        assert "of which 'last' can read" in obstacle


def test_a_picture_of_which_nothing_is_left_does_not_fit(monkeypatch):
    architecture = flattening(1)
    wide = architecture.stem.conv.replace(padding=0)
    architecture = replace(architecture, stem=replace(architecture.stem, conv=wide))

    assert not fits(architecture, (4, 4))
    assert fits(architecture, (32, 32))
    monkeypatch.setattr(sizes, "LARGEST_SIDE", 4)
    with pytest.raises(NoSizeError):
        default_size(architecture)
