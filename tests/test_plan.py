"""Transforms can be undone, and every tensor on both sides is accounted for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import RECORDED, fixture, opened

from converter.errors import MismatchError
from converter.files.checkpoint import TensorSpec, Weight
from converter.mapping.plan import CONVOLUTION, make_plan
from converter.mapping.transforms import IO_TO_OI, OutsideRoot, Regroup, Square

random = np.random.default_rng(0)


@pytest.mark.parametrize("transforms", [*CONVOLUTION.values(), (IO_TO_OI,)], ids=str)
def test_moving_numbers_is_undone_bit_for_bit(transforms):
    shape = (3, 5) if IO_TO_OI in transforms else (3, 3, 4, 5)
    array = random.normal(size=shape).astype(np.float32)
    moved = array
    for transform in transforms:
        assert transform.shape(moved.shape) == transform.apply(moved).shape
        moved = transform.apply(moved)
    for transform in reversed(transforms):
        moved = transform.inverse().apply(moved)

    assert np.array_equal(moved, array)


@pytest.mark.parametrize("layout", CONVOLUTION, ids=str)
def test_a_kernel_becomes_the_correlation_that_its_keras_computed(layout):
    """Element by element: torch's W[o, i, h, w]."""
    height, width, inputs, outputs = 3, 3, 2, 4
    kernel = random.normal(size=(height, width, inputs, outputs)).astype(np.float32)
    stored = np.flip(kernel, (0, 1)) if layout.flipped else kernel
    stored = stored.transpose(3, 2, 0, 1) if layout.order == "oihw" else stored
    moved = stored
    for transform in CONVOLUTION[layout]:
        moved = transform.apply(moved)

    assert moved.shape == (outputs, inputs, height, width)
    for o, i, h, w in np.ndindex(moved.shape):
        assert moved[o, i, h, w] == kernel[h, w, i, o]


def test_old_statistics_become_the_variance_that_gives_the_same():
    deviation = np.array([0.5, 2.0], np.float32)
    x, mean, eps = 3.0, 1.0, 1e-6

    variance = OutsideRoot(eps).apply(Square().apply(deviation))

    assert np.allclose((x - mean) / np.sqrt(variance), (x - mean) / (deviation + eps), rtol=1e-6)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.name)
def test_every_weight_and_every_tensor_has_its_place(path):
    with opened(path) as (checkpoint, network):
        plan = make_plan(checkpoint, network)
        tensors = dict(plan.tensors(checkpoint))

    assert {name: TensorSpec(one.shape, one.dtype.str) for name, one in tensors.items()} == (
        plan.specs
    )
    assert all(one.flags.c_contiguous for one in tensors.values())
    sources = [step.source for step in plan.mapped]
    constants = [step for step in plan.steps if step.source is None]
    assert sorted(map(str, [*sources, *plan.left_out])) == sorted(map(str, checkpoint.weights))
    assert len({step.target for step in plan.steps}) == len(plan.steps)
    for step in constants:  # a count of 0, a gamma of 1, a beta of 0
        name = step.target.rpartition(".")[2]
        value, dtype = {"num_batches_tracked": (0, "int64"), "weight": (1, "float32")}.get(
            name, (0, "float32")
        )
        assert name in ("num_batches_tracked", "weight", "bias")
        assert tensors[step.target].dtype == dtype
        assert np.all(tensors[step.target] == value)


def test_all_misfits_are_in_one_message():
    """One layer without its kernel, one with a kernel of three axes, one module without a layer,
    one weight too many."""
    with opened(fixture("keras-2.2.4-tensorflow")) as (checkpoint, network):
        weights = []
        for one in checkpoint.weights:
            if str(one) == "res2a_branch2b/kernel":
                one = replace(one, shape=one.shape[1:])
            if str(one) != "res2a_branch2a/kernel":
                weights.append(one)
        weights.append(Weight("odd", "odd", "kernel", "odd/odd/kernel:0", (1, 2)))
        layers = dict(network.structure.layers)
        del layers["layer1.0.conv3"]
        structure = replace(network.structure, layers=layers)

        with pytest.raises(MismatchError) as error:
            make_plan(
                replace(checkpoint, weights=tuple(weights)), replace(network, structure=structure)
            )

    assert error.value.findings == (
        "missing: res2a_branch2a/kernel, for layer1.0.conv1",
        "res2a_branch2b/kernel (3, 4, 4) becomes (), but layer1.0.conv2.weight is (4, 4, 3, 3)",
        "missing: a layer for layer1.0.conv3",
        "not used: model_weights/res2a_branch2c/res2a_branch2c/kernel:0 (1, 1, 4, 16)",
        "not used: model_weights/res2a_branch2c/res2a_branch2c/bias:0 (16,)",
        "not used: odd/odd/kernel:0 (1, 2)",
    )


@pytest.mark.parametrize("transform", [Square(), OutsideRoot(1e-6)], ids=str)
def test_what_rounds_is_not_undone(transform):
    with pytest.raises(NotImplementedError, match="compare forwards"):
        transform.inverse()


def test_a_depthwise_kernel_is_regrouped_and_back():
    kernel = random.normal(size=(3, 3, 8, 4)).astype(np.float32)

    grouped = Regroup().apply(kernel)

    assert grouped.shape == Regroup().shape(kernel.shape) == (8, 4, 3, 3)
    assert np.array_equal(Regroup().inverse().apply(grouped), kernel)
    assert Regroup().inverse().shape(grouped.shape) == kernel.shape
    assert Regroup().inverse().inverse() == Regroup()
