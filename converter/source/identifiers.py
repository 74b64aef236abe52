"""Names and values of a stranger's model, as text that can do no harm in Python source.

Whatever reaches the source goes through here: names as identifiers, values as literals, and what
is said of them as comments. The result is ASCII, so that no look-alike letter gets through.
"""

from __future__ import annotations

import builtins
import keyword
import math
import re
from typing import Any

from resnet_pt.program import RESERVED

TAKEN = frozenset(
    [
        *(*keyword.kwlist, *keyword.softkwlist, *dir(builtins), *RESERVED),
        *("F", "Tensor", "cls", "math", "nn", "self", "torch"),
    ]
)
"""Names that mean something already in the source, or in a torch module."""

LONGEST = 60
"""Letters of an identifier; what is cut off is made up for by a number where two are alike."""


class Names:
    """Identifiers for the names of one scope, each its own."""

    def __init__(self, taken: frozenset[str] = TAKEN) -> None:
        self._taken = set(taken)
        self._given: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        """The identifier of a name, the same each time that it is asked for."""
        if name not in self._given:
            wanted, count = identifier(name), 2
            found = wanted
            while found in self._taken:
                found, count = f"{wanted}_{count}", count + 1
            self._taken.add(found)
            self._given[name] = found
        return self._given[name]


def identifier(name: str) -> str:
    """An ASCII identifier like a name, which is no keyword, builtin or name of a torch module's.
    It begins with a letter: an underscore would make an attribute private."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")[:LONGEST].rstrip("_")
    if not plain or plain[0].isdigit():
        plain = f"layer_{plain}".rstrip("_")
    return f"{plain}_layer" if plain in TAKEN else plain


def literal(value: Any) -> str:
    """A value as Python source. Raises TypeError for one of any other kind than a constant, or a
    tuple or list of them: subclasses may print as anything, and are refused too."""
    kind = type(value)
    if kind is float and not math.isfinite(value):
        return f'float("{value}")'
    if value is None or kind in (bool, int, float):
        return repr(value)
    if kind is str:
        text = ascii(value)
        return text if '"' in text else f'"{text[1:-1]}"'
    if kind is tuple:
        inner = ", ".join(map(literal, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if kind is list:
        return f"[{', '.join(map(literal, value))}]"
    raise TypeError(f"{kind.__name__} is no constant that can be written as source")


def comment(text: str) -> str:
    """Text as one line of printable ASCII that ends neither a comment nor a docstring."""
    return ascii(text)[1:-1].replace('"', "'")
