"""Each layer with random settings, alone and in small graphs, against live Keras 3 in float64."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, seed, settings, strategies
from layer_graphs import NAMES, Campaign, Outcome, alone, judged, keras, random_graph, wanted

from converter.mapping.transforms import Gates, Row, Transpose
from converter.whole_model.keras_layers import attention as of_keras
from converter.whole_model.keras_layers import convolution, merging, norms, recurrent
from converter.whole_model.keras_layers import einsum as of_einsum
from converter.whole_model.lift import MASK
from resnet_pt import attention, modules
from resnet_pt.ops import Combine, EinsumDense, LayerNorm, Slice

pytestmark = pytest.mark.keras

SEED = 2016
TRIES = 4
"""So often settings of a class are drawn, until some convert: others are refused with a reason."""

GRAPHS = 40

SLOW = [
    HealthCheck.filter_too_much,
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
    HealthCheck.large_base_example,
]


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    with keras(tmp_path_factory.mktemp("keras")) as make:
        yield make


def test_each_layer_and_operator_alone_gives_what_keras_gives(make):
    campaign, refused = Campaign(make), set()
    for name in NAMES:
        before = campaign.counts["equal"]
        for number in range(TRIES):
            campaign.hear(alone(name, SEED, number))
            if campaign.counts["equal"] > before:
                break
        else:
            refused.add(name)

    assert campaign.failures == []
    assert refused == set()
    assert wanted() - set(campaign.equal) == set()


def test_small_graphs_give_what_keras_gives(make):
    """A graph that fails is shrunk by Hypothesis, as its choices are."""
    campaign = Campaign(make, shrinks=False)

    @seed(SEED)
    @settings(max_examples=GRAPHS, database=None, deadline=None, suppress_health_check=SLOW)
    @given(strategies.randoms(use_true_random=False), strategies.integers(0, 99))
    def a_graph_gives_what_keras_gives(draw, weights):
        before, impossible = len(campaign.failures), campaign.counts["impossible"]
        campaign.hear(random_graph(draw, weights))
        assert campaign.failures[before:] == []
        assume(campaign.counts["impossible"] == impossible)  # Keras makes no such graph: another

    a_graph_gives_what_keras_gives()
    assert campaign.counts["equal"] > GRAPHS / 2


def about_a_mean(*settings, about_zero=False, **more):
    """A norm that takes the mean away first, whatever it is told."""
    return LayerNorm(*settings, **more)


class NextRow(modules.Embedding):
    """A table that gives each number the row of the next one."""

    def forward(self, x):
        return super().forward((x + 1) % self.num_embeddings)


class Unscaled(attention.MultiHead):
    """Heads whose scores are the products as they are."""

    def __init__(self, *settings):
        super().__init__(*settings)
        self.scale = 1.0


def summed_over_others(given, kernel, gives, sides, bias):
    """Sums of products with a kernel of which two axes have the other's letter."""
    return EinsumDense(given, kernel[::-1], gives, sides[::-1], bias)


def without_activation(call, config, **more):
    """A call of the layer within another one, which has lost its activation."""
    return replace(call, config={**config, "activation": "linear"}, **more)


BY_ROLE = of_keras._by_role


def keys_for_values(call):
    """What heads read, the key and the value changed for each other."""
    found = BY_ROLE(call)
    return {**found, "key": found["value"], "value": found["key"]}


THREE = "MultiHeadAttention of three"


def turned(axes):
    """The kernels of convolutions with height and width changed for each other."""
    return Transpose((axes + 1, axes, *reversed(range(axes))), "wrong")


BROKEN = {
    "a transform": (convolution, "kernel_to_torch", turned, "Conv2D"),
    "a setting": (convolution, "_dilation", lambda call, axes: (1,) * axes, "Conv3D"),
    "the order of gates": (recurrent, "TORCHS", Gates((0, 1, 2)), "GRU"),
    "the rows of a bias": (recurrent, "Row", lambda index, count: Row(1 - index, count), "GRU"),
    "a step turned back": (recurrent, "Reverse", lambda axes: Slice(0, 0, None), "Bidirectional"),
    "the mean of a norm": (norms, "LayerNorm", about_a_mean, "RMSNormalization"),
    "the axes of a kernel": (of_einsum, "EinsumDense", summed_over_others, "EinsumDense"),
    "the layer within a norm": (norms, "replace", without_activation, "SpectralNormalization"),
    "whose is a value": (of_keras, "_by_role", keys_for_values, THREE),
    "the scale of a score": (attention, "MultiHead", Unscaled, "MultiHeadAttention"),
    "what comes after a step": (attention, "_only_before", lambda scores: scores, "Attention"),
    "the row of a number": (modules, "Embedding", NextRow, "Embedding"),
    "an op": (merging, "Combine", lambda how: Combine("minimum"), "Maximum"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_the_campaign_sees_what_is_broken(what, make, monkeypatch):
    module, name, instead, layer = BROKEN[what]
    monkeypatch.setattr(module, name, instead)
    campaign = Campaign(make, shrinks=False)
    for number in range(12):
        campaign.hear(alone(layer, SEED, number))

    assert campaign.failures != []


def test_what_is_wrong_is_shrunk_to_its_layer(make, monkeypatch):
    monkeypatch.setattr(convolution, "kernel_to_torch", turned)
    nodes = [
        ("ReLU", {}, [0]),
        ("Conv2D", {"filters": 4, "kernel_size": 3, "padding": "same"}, [1]),
        ("BatchNormalization", {"epsilon": 0.1}, [2]),
        ("x + c", {"c": 2}, [0]),
    ]
    campaign = Campaign(make)
    campaign.hear(graph([[6, 7, 4]], *nodes, outputs=[3, 4]))
    (failure,) = campaign.failures
    smallest = json.loads(failure.split("\n")[1])

    assert failure.startswith("output 0: apart by")
    assert [node["do"] for node in smallest["nodes"]] == ["Conv2D"]


def graph(inputs, *nodes, ending=".keras", **more):
    """A graph of nodes that are (class, settings, what is read)."""
    listed = [
        {"do": do, "with": settings, "reads": reads, "count": len(reads)}
        for do, settings, reads in nodes
    ]
    outputs = [len(inputs) + len(nodes) - 1]
    return {
        "inputs": inputs,
        "nodes": listed,
        "outputs": outputs,
        "ending": ending,
        "seed": 1,
        **more,
    }


SEQUENCE, MAP, VOLUME = [5, 4], [6, 7, 4], [4, 5, 3, 4]
INNER = {"nodes": [{"do": "Dense", "with": {"units": 4}, "reads": [0]}], "outputs": [1]}

CONV = {"do": "Conv2D", "with": {"filters": 4, "kernel_size": 2, "groups": 2}}
DENSE = {"do": "Dense", "with": {"units": 3}}

FOUND = {
    "a norm over axes in another order": graph(
        [SEQUENCE], ("LayerNormalization", {"axis": [-1, 1]}, [0]), ending=".h5"
    ),
    "a norm over axes of a volume": graph(
        [VOLUME], ("LayerNormalization", {"axis": [1, 3, -3]}, [0])
    ),
    "a norm that scales alone": graph([MAP], ("LayerNormalization", {"rms_scaling": True}, [0])),
    "a norm that scales though it says not to": graph(
        [MAP], ("LayerNormalization", {"rms_scaling": True, "scale": False}, [0])
    ),
    "the same in an .h5": graph(
        [MAP], ("LayerNormalization", {"rms_scaling": True, "scale": False}, [0]), ending=".h5"
    ),
    "a norm by squares": graph([MAP], ("RMSNormalization", {}, [0])),
    "the same of several axes": graph([MAP], ("RMSNormalization", {"axis": [2, 3]}, [0])),
    "the same of several axes in an .h5": graph(
        [VOLUME], ("RMSNormalization", {"axis": [-2, -1]}, [0]), ending=".h5"
    ),
    "two parts": graph([MAP], ("x[...]", {"key": [[None], [1, None], [0, 3]]}, [0])),
    "one row": graph([MAP], ("x[...]", {"key": [[None], 2]}, [0])),
    "one channel": graph([VOLUME], ("x[...]", {"key": ["...", -1]}, [0])),
    "a mean of rows": graph([MAP], ("mean", {"axis": 1}, [0])),
    "a mean of the channels of a volume": graph([VOLUME], ("mean", {"axis": -1}, [0])),
    "a stack": graph([MAP, MAP], ("stack", {"axis": 2}, [0, 1])),
    "a dot product of maps": graph([MAP, MAP], ("Dot", {"axes": [1, 1]}, [0, 1])),
    "what is divided": graph([MAP], ("c / x", {"c": 2}, [0])),
    "a softplus of 20 and more": graph(
        [[4]], ("Rescaling", {"scale": 12.0}, [0]), ("softplus", {}, [1])
    ),
    "what is bounded": graph([MAP], ("max c", {"c": 0.5}, [0])),
    "a layer of its own weights' name": graph(
        [MAP], ("LayerScale", {"init_values": 0.5}, [0]), ending=".h5"
    ),
    "a layer in another": graph(
        [SEQUENCE], ("TimeDistributed", {"layer": {"do": "Dense", "with": {"units": 3}}}, [0])
    ),
    "two layers of one name, each its own": graph(
        [SEQUENCE],
        (
            "Bidirectional",
            {
                "layer": {"do": "LSTM", "with": {"units": 3}},
                "backward_layer": {
                    "do": "GRU",
                    "with": {"units": 3, "go_backwards": True, "use_bias": False},
                },
            },
            [0],
        ),
        ending=".h5",
    ),
    "slopes of all numbers": graph([[4]], ("PReLU", {"shared_axes": [1]}, [0])),
    "a layer for values of two ranks": {
        **graph([SEQUENCE, MAP], ("Flatten", {}, [0])),
        "nodes": [
            {"do": "Flatten", "with": {}, "reads": [0]},
            {"again": 2, "reads": [1]},
            {"do": "Concatenate", "with": {}, "reads": [2, 3], "count": 2},
        ],
        "outputs": [4],
    },
    "a model called three times": {
        **graph([[4]], ("Dense", {"units": 4}, [0])),
        "nodes": [
            {"model": INNER, "reads": [0]},
            {"again": 1, "reads": [1]},
            {"again": 1, "reads": [2]},
        ],
        "outputs": [3],
    },
    "its calls as outputs": {
        **graph([[4]], ("Dense", {"units": 4}, [0]), ending=".h5"),
        "nodes": [
            {"model": INNER, "reads": [0]},
            {"again": 1, "reads": [1]},
            {"again": 1, "reads": [2]},
        ],
        "outputs": [1, 2],
        "all": False,
    },
    "two outputs of one value": graph(
        [SEQUENCE], ("ReLU", {}, [0]), ("Identity", {}, [1]), outputs=[2, 1]
    ),
    "channels first within a norm": graph(
        [[8, 6, 3]],
        ("SpectralNormalization", {"layer": CONV}, [0]),
        ("Flatten", {}, [1]),
        ("SpectralNormalization", {"layer": DENSE}, [2]),
        channels_first=True,
        ending=".h5",
    ),
    "rows for each place of two axes": graph(
        [SEQUENCE], ("Embedding", {"input_dim": 6, "output_dim": 3}, [0]), ids=[0]
    ),
    "the same with channels first": graph(
        [[4, 5], [3, 6, 7]],
        ("Embedding", {"input_dim": 6, "output_dim": 3}, [0]),
        ("ZeroPadding2D", {"padding": 1}, [1]),
        outputs=[2, 3],
        channels_first=True,
        ids=[0],
    ),
    "a mask that nobody reads": graph(
        [[5]],
        ("Embedding", {"input_dim": 6, "output_dim": 3, "mask_zero": True}, [0]),
        ("Dropout", {"rate": 0.3}, [1]),
        ("Dense", {"units": 4}, [2]),
        ("Flatten", {}, [3]),
        ids=[0],
        ending=".h5",
    ),
    "inputs of one name in two models": {
        **graph([[4]], ("Dense", {"units": 4}, [0])),
        "nodes": [
            {"model": {**INNER, "nodes": [{"do": "ReLU", "reads": [0]}]}, "reads": [0]},
            {"model": INNER, "reads": [1]},
        ],
        "outputs": [2],
    },
}
"""What was wrong, or was refused without need."""


@pytest.mark.parametrize("name", FOUND)
def test_what_the_campaign_has_found_is_equal(name, make):
    outcome = judged(make(FOUND[name]))
    assert (outcome.wrong, outcome.reasons) == ("", ())


@pytest.mark.parametrize(("value", "axis"), [([4, 4], 1), ([4, 4], [1, -1]), ([4, 4, 4], [1, 3])])
def test_a_scale_along_other_axes_than_the_normalised_is_refused(value, axis, make):
    """Keras multiplies along the last axes without a word where the sizes allow it."""
    (reason,) = judged(make(graph([value], ("RMSNormalization", {"axis": axis}, [0])))).reasons
    assert "scales the last axes" in reason


@pytest.mark.parametrize(
    "reader",
    [
        *(("LSTM", {"units": 3}), ("GRU", {"units": 3}), ("SimpleRNN", {"units": 3})),
        ("Bidirectional", {"layer": {"do": "LSTM", "with": {"units": 3}}}),
        ("GlobalAveragePooling1D", {}),
        ("TimeDistributed", {"layer": {"do": "Dense", "with": {"units": 3}}}),
    ],
)
def test_a_layer_that_reads_a_mask_is_refused_behind_one(reader, make):
    def masked(mask):
        """Keras 3 writes the mask as an operator, where a layer reads it."""
        table = ("Embedding", {"input_dim": 6, "output_dim": 3, "mask_zero": mask}, [0])
        return graph([[5]], table, ("ReLU", {}, [1]), (*reader, [2]), ids=[0])

    assert judged(make(masked(False))) == Outcome()
    (reason,) = judged(make(masked(True))).reasons
    assert reason == f"(NotEqual): {MASK}"


def test_rows_by_numbers_that_a_layer_computes_are_refused(make):
    table = ("Embedding", {"input_dim": 600, "output_dim": 3}, [1])
    (reason,) = judged(make(graph([[5]], ("x * c", {"c": 2}, [0]), table, ids=[0, 1]))).reasons
    assert "numbers that another layer computes" in reason


def test_a_norm_of_another_layers_kernel_is_refused(make):
    inner = {"do": "DepthwiseConv2D", "with": {"kernel_size": 2}}
    (reason,) = judged(make(graph([MAP], ("SpectralNormalization", {"layer": inner}, [0])))).reasons
    assert reason == "(SpectralNormalization): it holds a DepthwiseConv2D"


def test_a_scale_in_another_order_than_its_axes_is_seen(make, monkeypatch):
    made = make(graph([[4, 4, 4]], ("RMSNormalization", {"axis": [2, 3]}, [0])))
    assert judged(made).wrong == ""
    monkeypatch.setattr(norms, "_moved", lambda value, axes: ())
    assert judged(made).wrong != ""


@pytest.mark.parametrize("dtype", ["int32", "float16", "bool"])
def test_a_cast_that_takes_something_away_is_refused(dtype, make):
    (reason,) = judged(make(graph([SEQUENCE], ("cast", {"to": dtype}, [0])))).reasons
    assert reason == f"(Cast): it makes {dtype} of it"


def test_scales_of_an_axis_that_no_file_names_are_refused(make):
    channels_first = graph(
        [[4, 6, 7]],
        ("ZeroPadding2D", {"padding": 1}, [0]),
        ("Rescaling", {"scale": [0.5, -1.0, 2.0, 0.25]}, [1]),
        channels_first=True,
        scales=True,
    )
    (reason,) = judged(make(channels_first)).reasons
    assert "image_data_format" in reason


def test_resizing_axes_that_no_file_names_is_refused(make):
    channels_first = graph(
        [[4, 6, 7]],
        ("ZeroPadding2D", {"padding": 1}, [0]),
        ("resize", {"size": [5, 3], "interpolation": "nearest"}, [1]),
        channels_first=True,
    )
    (reason,) = judged(make(channels_first)).reasons
    assert "image_data_format" in reason


def test_a_normalization_of_two_ranks_is_refused(make):
    first = ("Normalization", {"axis": None, "mean": -0.25, "variance": 0.25}, [0])
    twice = graph([VOLUME], first, ("Flatten", {}, [1]))
    twice["nodes"].append({"again": 1, "reads": [2]})
    (reason,) = judged(make({**twice, "outputs": [3]})).reasons
    assert "other ranks" in reason


def test_a_shape_that_may_mix_the_batch_is_refused(make):
    mixed = graph([SEQUENCE], ("reshape", {"newshape": [-1, 1, 4]}, [0]), unknown=True)
    (reason,) = judged(make(mixed)).reasons
    assert "leaves the batch as it is" in reason


def test_a_volume_whose_stride_leaves_its_window_behind_is_refused(make):
    settings = {"filters": 4, "kernel_size": 1, "padding": "same", "strides": [1, 1, 3]}
    (reason,) = judged(make(graph([VOLUME], ("Conv3D", settings, [0])))).reasons
    assert "depends on the machine" in reason
    fits = graph([VOLUME], ("Conv3D", {**settings, "strides": [1, 1, 2]}, [0]))
    outcome = judged(make(fits))
    assert (outcome.wrong, outcome.reasons) == ("", ())


def test_a_join_made_for_values_of_one_rank_is_refused_for_others(make):
    """Keras then broadcasts the batch of one over an axis of the other."""
    joined = graph([[6], [6]], ("Minimum", {}, [0, 1]), ("Reshape", {"target_shape": [-1, 6]}, [2]))
    joined["nodes"].append({"again": 2, "reads": [3, 2], "count": 2})
    (reason,) = judged(make({**joined, "outputs": [4]})).reasons
    assert "first joined others" in reason
