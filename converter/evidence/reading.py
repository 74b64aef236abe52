"""What a file itself says, before the user does."""

from __future__ import annotations

from dataclasses import dataclass

from converter.checkpoint import Weight
from converter.facts import Fact
from converter.structure import Structure


@dataclass(frozen=True, slots=True)
class Reading:
    """What the file itself says, before the user does."""

    structure: Structure
    facts: tuple[Fact, ...]
    dialect: str
    is_raised: bool = False
    left_out: tuple[Weight, ...] = ()
