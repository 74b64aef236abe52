"""Convolutions that Keras 1 named as dilated, in a file of weights: by how much is not in it."""

from __future__ import annotations

from converter.errors import MismatchError
from converter.facts import strides
from converter.files.auto_names import auto_name
from converter.files.checkpoint import Checkpoint
from converter.network import Structure

DILATED = "atrousconvolution2d"
"""Keras 1's own name of an AtrousConvolution2D, without the number behind it."""


def check_dilated(checkpoint: Checkpoint, structure: Structure) -> None:
    """MismatchError for a network whose windows are all plain, where names say otherwise."""
    named = [layer for layer in structure.layers.values() if auto_name(layer) == DILATED]
    if named and max(strides.dilations(structure.architecture)) == 1:
        raise MismatchError(
            f"{checkpoint.path} has {len(named)} dilated convolutions, as their names say, and by "
            "how much is not in the weights",
            [repr(layer) for layer in named],
            [
                "--dilation N,N,… says it for each stage; a record of the original tries it "
                "(--against); the whole model says it (model.save)"
            ],
        )
