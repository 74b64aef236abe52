"""What is said of a layer that has no place in a network, and what to do about it."""

from __future__ import annotations

from converter.errors import MismatchError
from converter.whole_model import ops as g
from converter.whole_model.graph import Node


def unplaced(node: Node, place: str) -> MismatchError:
    op = node.op
    if isinstance(op, g.PReLU):
        op = g.Unknown("PReLU", "its slopes are weights, and such layers are read in a head alone")
    if isinstance(op, g.Unknown):
        return MismatchError(
            f"layer {node.layer!r} ({op.class_name}) cannot be carried over: {op.reason}",
            [f"it stands in {place}"],
            [INSTEAD.get(place, "only networks of residual blocks as published can be converted")],
        )
    return MismatchError(
        f"layer {node.layer!r} ({g.class_name(op)}) does not belong in {place} of a ResNet",
        hints=[WHOLE_BLOCKS] if place == "the head" else [],
    )


def ends_wrongly(last: Node, place: str) -> MismatchError:
    """The error for a chain of layers that ends in one behind which a convolution has to come."""
    op = last.op
    name = f"Activation {op.name!r}" if isinstance(op, g.Activation) else g.class_name(op)
    return MismatchError(
        f"{place} ends in {last.layer!r} ({name}): its last layer has to be a convolution, or the "
        "norm of one, and nothing may stand between that and the sum",
    )


def unactivated(add: str) -> MismatchError:
    """The error for a sum of two norms that nothing activates: a model that is cut there."""
    return MismatchError(
        f"no activation reads {add!r} alone, and a block that ends in a norm has one behind its "
        "sum",
        hints=[WHOLE_BLOCKS],
    )


def gated(node: Node, pool: str) -> MismatchError:
    """The error for a map that is joined with what a pool of it gives, within a block."""
    return MismatchError(
        f"{node.layer!r} joins a map with what comes out of {pool!r}, within a block: a network of "
        "squeeze-and-excitation blocks (SE-ResNet), or of attention",
    )


CUT = "end the model before it (keras.Model(model.input, layer.output)), convert that, and do the"


INSTEAD = {
    "the stem": "save the model that begins behind it, and do its work before the network",
    "the head": f"{CUT} rest in PyTorch",
}
"""What to do about a layer that cannot be carried over, by the place where it stands."""


CHANNELS_FIRST = "it works on axes 1 and 2, and channels come first"


OVER_WIDTH = "it works on the last axis of a map, whose channels come first"


NOT_THE_SAME = "it is none of those that torch is known to compute as Keras does"


WHOLE_BLOCKS = (
    "end the model behind a whole block, which is its sum and the activation of that "
    "(keras.Model(model.input, layer.output)), convert that, and do the rest in PyTorch"
)


WHOLE_STAGES = "save a model that ends in one head, or in the maps of whole stages: "
