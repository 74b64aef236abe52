"""EinsumDense: sums of products with a kernel, by an equation of letters.

Sources: keras 2.15 and 3.15 `layers/core/einsum_dense.py`, `_analyze_einsum_string`.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from typing import Any

from converter.whole_model.keras_layers.activation import activated
from converter.whole_model.keras_layers.call import Call, From, Lifting, NotLiftedError, Value
from converter.whole_model.ranges import channels
from resnet_pt.ops import EinsumDense, MisfitError, Shape

FORMS = re.compile(
    r"(?P<left>\.\.\.)?(?P<given>[a-zA-Z]+)(?P<right>\.\.\.)?,(?P<kernel>[a-zA-Z]+)->"
    r"(?P<first>\.\.\.)?(?P<gives>[a-zA-Z]+)(?P<last>\.\.\.)?"
)
"""`ab,bc->ac`, `...b,bc->...c`, `ab...,bc->ac...`: what Keras takes."""


def _einsum_dense(call: Call) -> Value:
    """The kernel has no axis of the batch; the axes of the dots come through as they are."""
    value = call.value
    equation, sizes = call.first("equation"), call.first("output_shape")
    form = FORMS.fullmatch(equation) if isinstance(equation, str) else None
    if not form or [form["left"], form["right"]] != [form["first"], form["last"]]:
        raise NotLiftedError(f"its equation is {equation!r}")
    more = "".join(_fresh(equation, value.rank + 1 - len(form["given"])))
    if len(form["given"]) + len(more) != value.rank + 1 or (form["left"] and form["right"]):
        raise NotLiftedError(f"its equation is {equation!r}, and {value.rank} axes come")
    if more and not (form["left"] or form["right"]):
        raise NotLiftedError(f"its equation is {equation!r}, and {value.rank} axes come")
    before, behind = (more, "") if form["left"] else ("", more)
    given, gives = f"{before}{form['given']}{behind}", f"{before}{form['gives']}{behind}"
    lengths: dict[str, Any] = dict(zip(given[1:], value.in_keras, strict=True))
    said = sizes if isinstance(sizes, list) else [sizes]
    new = form["gives"] if before else form["gives"][1:]
    if len(said) != len(new):
        raise NotLiftedError(f"its output_shape is {sizes} for {equation!r}")
    lengths |= {letter: one for letter, one in zip(new, said, strict=True) if one is not None}
    if not {*form["kernel"]} <= lengths.keys():
        raise NotLiftedError(f"its equation is {equation!r}")
    sides = tuple(_side(lengths, letter) for letter in form["kernel"])
    op = EinsumDense(
        given, form["kernel"], gives, sides, _bias(call, form["gives"], lengths, behind)
    )
    if problem := next(op.problems(), ""):
        raise NotLiftedError(f"it {problem}")
    try:
        result = op.shape(value.in_keras)
    except MisfitError as error:
        raise NotLiftedError(f"it {error}") from error
    if call.era.major >= 3 and _is_misplaced(op.bias, result):
        raise NotLiftedError(
            "its bias may be as long as another axis than its own, and Keras 3 on TensorFlow adds "
            "it to that one"
        )
    weights = {"weight": From("kernel")} | ({"bias": From("bias")} if op.bias else {})
    found = call.add(op, call.turned(value, last=False), weights=weights)
    return call.turned(activated(call, found), value.last)


def _fresh(equation: str, count: int) -> Iterator[str]:
    """So many letters that are not in an equation."""
    free = (one for one in string.ascii_letters if one not in equation)
    yield from (one for one, _ in zip(free, range(count), strict=False))


def _side(lengths: dict[str, Any], letter: str) -> int:
    if lengths.get(letter) is None:
        raise NotLiftedError("how many numbers it reads is not in the configuration")
    return channels(lengths[letter], "output_shape")


def _bias(call: Call, gives: str, lengths: dict[str, Any], behind: str) -> tuple[int, ...]:
    """A bias is as long as the axes that it is for, and has a length of 1 along those that come
    behind the first of these."""
    axes = call.config.get("bias_axes")
    if axes is None:
        return ()
    if not isinstance(axes, str) or not axes or not {*axes} <= {*gives}:
        raise NotLiftedError(f"its bias_axes are {axes!r}")
    first = min(gives.index(letter) for letter in axes)
    spread = [_side(lengths, one) if one in axes else 1 for one in gives[first:]]
    return (*spread, *(1 for _ in behind))


def _is_misplaced(bias: Shape, result: Shape) -> bool:
    """Whether Keras may take the axis of a bias for another one (3.15
    `backend/tensorflow/numpy.py`, add: an array of one axis that is not 1 is added along the last
    axis, or the first one behind the batch, where that is as long)."""
    places = [place for place, side in enumerate(bias, len(result) - len(bias)) if side != 1]
    if len(places) != 1 or places[0] == len(result) - 1:
        return False
    others = {result[-1], *(result[:1] if places[0] != 0 else ())}
    return bool(others & {None, result[places[0]]})


LAYERS: dict[str, Lifting] = {"EinsumDense": _einsum_dense}
