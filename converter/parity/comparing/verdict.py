"""The four verdicts, and the sentence that says each: on screen, of a folder, in a report.

- **equal**: the logits are the original's. It was asked: Keras itself on the model's own
  configuration, a record of it, or another interpreter.
- **consistent**: the tensors are proven, and the logits are those of a definition that was built
  from the same reading of the file. A wrong reading is wrong on both sides.
- **not equal**: a logit or a layer is further off than rounding.
- **not compared**: nothing was run; the tensors alone are proven.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

Verdict = Literal["equal", "consistent", "not equal", "not compared"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

AGREEING: tuple[Verdict, ...] = ("equal", "consistent")
"""Verdicts of a comparison in which every error is within its gate."""


def sentence(verdict: str, oracle: str, reason: str, assumed: Sequence[str]) -> str:
    """`equal to Keras itself`, `consistent: rests on network; the original was not asked: …`.

    `oracle` is what the converted network was compared with, `reason` why it was that one, or why
    there was none, and `assumed` the facts that a consistent verdict rests on, by name.
    """
    if verdict == "not compared":
        return f"not compared: {reason}"
    if verdict == "consistent":
        return f"consistent: {rests_on(assumed)}; {not_asked(reason)}"
    return f"{verdict} to {oracle}" + (f" ({reason})" if reason else "")


def rests_on(assumed: Sequence[str]) -> str:
    """What a consistent verdict takes for granted."""
    return f"rests on {', '.join(assumed)}" if assumed else "nothing is assumed"


def not_asked(reason: str) -> str:
    """Why a verdict is no more than consistent."""
    return f"the original was not asked: {reason}"


def first_that_differs(doubt: str) -> str:
    """What the first wrong layer is; `doubt` says why the fault may be before it."""
    return f"the first layer that {'is known to differ' if doubt else 'differs'}"
