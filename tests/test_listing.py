"""The list of layers in a file of weights, as a naming reads it."""

from __future__ import annotations

from helpers import FIXTURES, opened

from converter.discover import modules
from converter.weights_only.from_names import match_dialect
from converter.weights_only.listing import Listing


def listing_of(name: str) -> Listing:
    dialects = [module.DIALECT for module in modules("converter.weights_only.dialects")]
    with opened(FIXTURES / name) as (checkpoint, _):
        return Listing(checkpoint, match_dialect(checkpoint, [one for one in dialects if one.rows]))


def test_a_list_is_what_stands_before_within_and_behind_a_network():
    listing = listing_of("keras-2.2.4-tensorflow.h5")
    body = set(listing.match.modules.values())
    listed = listing.checkpoint.layers
    assert listing.base == ""
    assert listing.is_complete
    assert listing.front == ("input_1", "conv1_pad")
    assert listing.behind[-1] == "fc1000"
    assert "avg_pool" in listing.behind
    assert not body & {*listing.front, *listing.inside, *listing.behind}
    assert {*listing.front, *body, *listing.inside, *listing.behind} == set(listed)
    assert len(listing.front) + len(body) + len(listing.inside) + len(listing.behind) == len(listed)


def test_a_nested_network_is_one_entry_and_tells_none_of_its_own():
    listing = listing_of("keras-2.10-nested-frozen.h5")
    assert listing.base in listing.checkpoint.layers
    assert listing.base in listing.weighted
    assert listing.inside == ()
    assert not listing.is_complete
    assert listing.base not in (*listing.front, *listing.behind)
    assert (*listing.front, listing.base, *listing.behind) == listing.checkpoint.layers


def test_a_container_without_order_tells_classes_and_groups_alone():
    listing = listing_of("keras-3.15-nested-head.keras")
    assert listing.front == listing.behind == ()
    assert listing.base.endswith("functional")
    assert not listing.is_complete
    assert set(listing.inside) | set(listing.outside) == set(listing.checkpoint.kinds)
    assert not set(listing.inside) & set(listing.outside)
    assert all(listing.class_of(one) == listing.checkpoint.kinds[one] for one in listing.inside)
