"""A network of any kind, built from its `Program`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from resnet_pt.network import described
from resnet_pt.program import FORMAT, Output, Program, from_dict, to_dict
from resnet_pt.running import Network


class General(Network):
    """The network of a program, which travels with its weights.

    Reads one float tensor for each input, in the order of `program.inputs` or by name: maps as
    (N, C, H, W), everything else as in Keras. Gives the only output, or a dict of several by name;
    `outputs` says which activation the original applied to each last, and this network leaves out.
    `original_layers` names the layers of the original that modules stand for, `{module: layer}`.
    """

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.original_layers: dict[str, str] = {}

    @property
    def outputs(self) -> tuple[Output, ...]:
        return self.program.outputs

    def get_extra_state(self) -> dict[str, Any]:
        """What describes the tensors, kept beside them as `_extra_state`."""
        state = {"format": FORMAT, "program": to_dict(self.program)}
        return {**state, "layers": self.original_layers} if self.original_layers else state

    def set_extra_state(self, state: dict[str, Any] | Tensor) -> None:
        """Refuse weights that were made for another network."""
        description = described(state)
        try:
            same = from_dict(description.get("program")) == self.program
        except ValueError:
            same = False
        if not same:
            raise ValueError(
                "these weights belong to another network; build it from theirs: "
                "resnet_pt.load(path), or General(from_dict(state['program']))"
            )
        self.original_layers = dict(description.get("layers", {}))
