"""EinsumDense: what an equation may be, and what is refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from converter.errors import MismatchError
from converter.files.checkpoint import Weight
from converter.mapping.plan import Step
from converter.mapping.sanity import _of_tensor
from converter.whole_model.graph import parse_graph
from converter.whole_model.keras_layers.call import Era
from converter.whole_model.lift import lift
from resnet_pt.ops import EinsumDense


def lifted(settings, shape, version=(3, 15, 0)):
    given = {"class_name": "InputLayer", "name": "x", "config": {"batch_shape": [None, *shape]}}
    layer = {"class_name": "EinsumDense", "name": "e", "config": {"name": "e", **settings}}
    layers = [{**given, "inbound_nodes": []}, {**layer, "inbound_nodes": [[["x", 0, 0, {}]]]}]
    ends = {"input_layers": [["x", 0, 0]], "output_layers": [["e", 0, 0]]}
    config = {"class_name": "Model", "config": {"name": "m", "layers": layers, **ends}}
    return lift(parse_graph(config), Era(version, ".".join(map(str, version))))


def said(equation, output_shape, **more):
    return {"equation": equation, "output_shape": output_shape, **more}


BIAS = "its bias may be as long as another axis"
REFUSED = {
    "its equation is 'ab->b'": (said("ab->b", [3]), (4,)),
    "its equation is '...b,bc->c...'": (said("...b,bc->c...", [3]), (4,)),
    "its equation is 'ab,bc->ac', and 2": (said("ab,bc->ac", [3]), (5, 4)),
    "its equation is 'ab,ac->ac'": (said("ab,ac->ac", [3]), (4,)),
    "has the equation 'abb,bc->ac'": (said("abb,bc->ac", [3]), (4, 4)),
    "its equation is 'ab,bc->ca'": (said("ab,bc->ca", [3]), (4,)),
    "its equation is 'ab,bcd->ac'": (said("ab,bcd->ac", [3]), (4,)),
    "its output_shape is [3, 4]": (said("ab,bc->ac", [3, 4]), (4,)),
    "how many numbers it reads": (said("abc,cd->abd", [None, 3]), (5, None)),
    "its bias_axes are 'b'": (said("ab,bc->ac", 3, bias_axes="b"), (4,)),
    BIAS: (said("ab...,bc->ac...", [3], bias_axes="c"), (4, 3)),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_not_understood_is_refused_by_name(reason):
    with pytest.raises(MismatchError) as caught:
        lifted(*REFUSED[reason])
    assert reason in caught.value.findings[0]


@pytest.mark.parametrize(("shape", "version"), [((4, 5), (3, 15, 0)), ((4, 3), (2, 15, 0))])
def test_a_bias_is_added_along_its_own_axis(shape, version):
    """Keras 2 adds it as it is, and Keras 3 where no other axis is as long."""
    settings = said("ab...,bc->ac...", [3], bias_axes="c")
    (found,) = lifted(settings, shape, version).program.layers
    assert found.op == EinsumDense("abd", "bc", "acd", (4, 3), (3, 1))


@pytest.mark.parametrize("length", [4, None])
def test_a_bias_that_may_go_to_the_first_axis_is_refused(length):
    settings = said("abcd,de->abce", [length, 4, 5], bias_axes="c")
    with pytest.raises(MismatchError) as caught:
        lifted(settings, (length, 4, 6))
    assert BIAS in caught.value.findings[0]


@pytest.mark.parametrize(("parameter", "rules"), [("bias", []), ("kernel", ["constant-kernel"])])
def test_a_bias_of_two_axes_may_be_zero(parameter, rules):
    source = Weight("e", "e", parameter, f"e/{parameter}", (2, 3))
    step = Step(target=f"e.{parameter}", shape=(2, 3), source=source)
    assert [one.check for one in _of_tensor(step, np.zeros((2, 3), "f4"))] == rules
