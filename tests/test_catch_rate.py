"""The campaign of scripts/catch_rate in short: every kind of fault once, in one network."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from campaign import Subject, clean, compared_with, judged, places
from faults import FAULTS, Conversion
from general_faults import GENERAL_FAULTS, General, recorded
from helpers import converted, fixture
from stand_ins import whole_recording

NAME = "keras-resnet-0.2.0-18"
WRONG_BLOCK_ONLY = {"block run twice"}
"""Kinds whose first wrong layer is another one of the faulty block."""


@pytest.fixture(scope="module")
def subject():
    network, tensors = converted(fixture(NAME))
    conversion = Conversion(network, tensors, network.architecture)
    return Subject(NAME, conversion, whole_recording(network, tensors))


def test_there_are_enough_kinds_of_fault():
    assert len({fault.kind for fault in FAULTS}) == len(FAULTS) >= 60


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.kind)
def test_a_fault_is_caught_and_its_layer_named(fault, subject):
    sites = list(places(fault.sites(subject.conversion), seed=3))
    if not sites:
        assert fault.kind in {
            "bias zero",
            "bias' sign",
            "bias x 2",
            "bias shifted by one",  # this network has no biases,
            "stride moved to the other",  # no bottlenecks,
            "pool pads with -inf",  # and activates before its pool
            "activation after a sum that had none",
            "two blocks swapped",  # a stage has one identity block
        }
        return
    place, site = sites[-1]

    outcome = judged(subject, fault, place, site, seed=3)

    assert outcome.caught
    if fault.kind not in WRONG_BLOCK_ONLY:
        assert outcome.named == site.layer
    assert site.words in outcome.diagnosis


def test_the_right_conversion_is_no_fault(subject):
    assert compared_with(subject.conversion, subject.recording).verdict == "equal"


@pytest.mark.slow
def test_the_right_conversion_is_right_however_it_runs(subject):
    settings = list(clean(subject, [subject.recording]))

    assert len(settings) == 6
    assert {one.verdict for one in settings} == {"equal"}


@pytest.mark.slow
@pytest.mark.keras
def test_the_campaign_in_full_asks_keras(monkeypatch):
    """Of scripts/catch_rate, which takes a quarter of an hour: what it gets its recordings by."""
    monkeypatch.setattr(sys, "path", [*sys.path])  # the script sets these three
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    script = runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "catch_rate"))
    pictures = [np.zeros((1, 64, 64, 3), np.float32), np.ones((2, 64, 80, 3), np.float32)]

    found = script["asked"](NAME, pictures)

    assert [one.passes[0].input.shape for one in found] == [one.shape for one in pictures]
    assert [one.dtype for one in found[1].passes] == ["float64", "float32"]


# ---- general networks

UNET = "networks/unet-upsample-k224"
NONE_THERE = {
    *("one of the summed left out", "summed subtracted", "sum halved"),  # it joins, and never adds,
    "zeros on the other side",  # its convolutions pad themselves,
    *("classes' biases off by one", "classes' kernels off by one", "classes reversed"),
    *("classifier's inputs shifted", "classifier's sign", "classifier in bfloat16"),
    *("classifier's bias zero", "softmax in the network"),  # and it gives maps
}


@pytest.fixture(scope="module")
def unet():
    network, tensors = converted(fixture(UNET))
    return Subject(UNET, General(network, tensors, network.program), recorded(network, tensors))


@pytest.mark.parametrize("fault", GENERAL_FAULTS, ids=lambda fault: fault.kind)
def test_a_fault_of_a_general_network_is_caught_and_its_layer_named(fault, unet):
    sites = list(places(fault.sites(unet.conversion), seed=3))
    assert bool(sites) == (fault.kind not in NONE_THERE)
    for _, site in sites[-1:]:
        outcome = judged(unet, fault, "late", site, seed=3)
        assert outcome.caught
        assert outcome.named == site.layer


def test_the_right_general_network_is_no_fault(unet):
    assert compared_with(unet.conversion, unet.recording).verdict == "equal"
