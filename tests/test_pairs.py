"""Which logits a report shows."""

from __future__ import annotations

import numpy as np

from converter.parity.comparing.pairs import LARGEST, PICTURES, SPREAD, pairs


def test_the_largest_of_either_side_are_among_them():
    expected = np.random.default_rng(0).normal(size=(2, 1000))
    actual = expected + np.random.default_rng(1).normal(size=(2, 1000))

    found = pairs(actual, expected)

    for picture in range(2):
        shown = {one.index for one in found if one.picture == picture}
        assert set(np.argsort(expected[picture])[-LARGEST:]) <= shown
        assert set(np.argsort(actual[picture])[-LARGEST:]) <= shown
        assert {0, 999} <= shown
        assert SPREAD <= len(shown) <= SPREAD + 2 * LARGEST
    assert all(one.actual == actual[one.picture, one.index] for one in found)
    assert all(one.expected == expected[one.picture, one.index] for one in found)


def test_small_ones_are_shown_whole_and_maps_by_their_place():
    assert len(pairs(np.zeros((1, 7)), np.zeros((1, 7)))) == 7
    found = pairs(np.ones((1, 2, 2, 3)), np.arange(12.0).reshape(1, 2, 2, 3))
    assert [one.index for one in found] == list(range(12))
    assert [one.expected for one in found] == list(range(12))


def test_only_some_pictures_of_a_large_batch():
    assert {one.picture for one in pairs(np.zeros((50, 3)), np.zeros((50, 3)))} == set(
        range(PICTURES)
    )


def test_other_shapes_have_no_pairs():
    assert pairs(np.zeros((1, 3)), np.zeros((1, 4))) == ()
