"""What was done to pictures: what a record says of it, and what nothing but a naming says."""

from __future__ import annotations

from dataclasses import replace

from converter.facts.fact import Evidence, Fact
from converter.network import Network
from resnet_pt.program import Program

SAID = "`preprocess` in the record's meta; not part of the network"


def told_by_record(network: Network, mode: str | None) -> Network:
    """The network with the mode that a record says, unless an option has set another: `predict`
    would otherwise go by what is only the default of a naming."""
    before = [fact for fact in network.facts if fact.name == "preprocessing"]
    if mode is None or any(fact.evidence == Evidence.USER for fact in before):
        return network
    kept = [fact for fact in network.facts if fact.name != "preprocessing"]
    facts = (*kept, Fact("preprocessing", mode, Evidence.RECORD, SAID))
    if network.lifted:
        return replace(network, facts=facts)
    structure = network.residual
    told = replace(structure.architecture, preprocessing=mode)
    return replace(network, structure=replace(structure, architecture=told), facts=facts)


def only_usual(mode: str) -> str:
    """That a mode is the naming's default, and the option that settles it."""
    return (
        f"{mode!r} is what the code of this naming does to pictures, and may not be what this "
        f"project did: --preprocess {mode}, or another mode, says it"
    )


def unsaid(network: Network) -> str:
    """Why a destination is told nothing of the pictures; '' if it is."""
    if isinstance(network.evident, Program) or network.evident.preprocessing:
        return ""
    usual = network.architecture.preprocessing
    return only_usual(usual) if usual else "nothing says what was done to them: --preprocess does"
