"""The instructions of a code object, of each Python from 2.7 to 3.13, that straight code consists
of, by one set of names.

Which Python wrote the code is not in it. Each version's table reads it or does not, since another
one's instructions, or the caches that stand between them, are not there: whoever calls holds the
readings against each other.

Sources: `opcode.py` of CPython 2.7.18, 3.6.15, 3.7.16, 3.8.18, 3.9.18, 3.10.13, 3.11.7, 3.12.1 and
3.13.0, each of which has compiled fixtures; 3.4 and 3.5 have 3.6's numbers and 2.7's arguments
(`Lib/opcode.py` of 3.5), and none was at hand to compile any.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from converter.files.bytecode.marshalled import CodeError, Layout

MAX_INSTRUCTIONS = 400

BEFORE_3_11: Mapping[str, int] = {
    "POP_TOP": 1,
    "ROT_TWO": 2,
    "NOP": 9,
    "UNARY_POSITIVE": 10,
    "UNARY_NEGATIVE": 11,
    "BINARY_POWER": 19,
    "BINARY_MULTIPLY": 20,
    "BINARY_ADD": 23,
    "BINARY_SUBTRACT": 24,
    "BINARY_SUBSCR": 25,
    "BINARY_FLOOR_DIVIDE": 26,
    "BINARY_TRUE_DIVIDE": 27,
    "INPLACE_FLOOR_DIVIDE": 28,
    "INPLACE_TRUE_DIVIDE": 29,
    "INPLACE_ADD": 55,
    "INPLACE_SUBTRACT": 56,
    "INPLACE_MULTIPLY": 57,
    "INPLACE_POWER": 67,
    "RETURN_VALUE": 83,
    "UNPACK_SEQUENCE": 92,
    "LOAD_CONST": 100,
    "BUILD_TUPLE": 102,
    "BUILD_LIST": 103,
    "LOAD_ATTR": 106,
    "IMPORT_NAME": 108,
    "IMPORT_FROM": 109,
    "JUMP_FORWARD": 110,
    "POP_JUMP_IF_FALSE": 114,
    "POP_JUMP_IF_TRUE": 115,
    "LOAD_GLOBAL": 116,
    "LOAD_FAST": 124,
    "STORE_FAST": 125,
    "CALL_FUNCTION": 131,
    "BUILD_SLICE": 133,
    "LOAD_DEREF": 136,
}
"""What these have in common."""

PYTHON_2 = {
    **BEFORE_3_11,
    "BINARY_DIVIDE": 21,
    "INPLACE_DIVIDE": 58,
    "SLICE+0": 30,
    "SLICE+1": 31,
    "SLICE+2": 32,
    "SLICE+3": 33,
}
WORDS = {**BEFORE_3_11, "EXTENDED_ARG": 144}
CALLS_BY_NAME = {**WORDS, "CALL_FUNCTION_KW": 141}
METHODS = {**CALLS_BY_NAME, "LOAD_METHOD": 160, "CALL_METHOD": 161}
EXTENDED_LISTS = {**METHODS, "LIST_EXTEND": 162}

ADAPTIVE: Mapping[str, int] = {
    "PUSH_NULL": 2,
    "POP_TOP": 1,
    "NOP": 9,
    "UNARY_NEGATIVE": 11,
    "BINARY_SUBSCR": 25,
    "RETURN_VALUE": 83,
    "UNPACK_SEQUENCE": 92,
    "SWAP": 99,
    "LOAD_CONST": 100,
    "BUILD_TUPLE": 102,
    "BUILD_LIST": 103,
    "LOAD_ATTR": 106,
    "IMPORT_NAME": 108,
    "IMPORT_FROM": 109,
    "JUMP_FORWARD": 110,
    "POP_JUMP_IF_FALSE": 114,
    "POP_JUMP_IF_TRUE": 115,
    "LOAD_GLOBAL": 116,
    "BINARY_OP": 122,
    "LOAD_FAST": 124,
    "STORE_FAST": 125,
    "BUILD_SLICE": 133,
    "LOAD_DEREF": 137,
    "EXTENDED_ARG": 144,
    "COPY_FREE_VARS": 149,
    "RESUME": 151,
    "LIST_EXTEND": 162,
    "CALL": 171,
    "KW_NAMES": 172,
}
"""What Python 3.11 and 3.12 have in common."""

PYTHON_3_11 = {**ADAPTIVE, "UNARY_POSITIVE": 10, "LOAD_METHOD": 160, "PRECALL": 166}
PYTHON_3_12 = {**ADAPTIVE, "BINARY_SLICE": 26}
PYTHON_3_13: Mapping[str, int] = {
    "BINARY_SLICE": 4,
    "BINARY_SUBSCR": 5,
    "NOP": 30,
    "POP_TOP": 32,
    "PUSH_NULL": 34,
    "RETURN_VALUE": 36,
    "TO_BOOL": 40,
    "UNARY_NEGATIVE": 42,
    "BINARY_OP": 45,
    "BUILD_LIST": 47,
    "BUILD_SLICE": 50,
    "BUILD_TUPLE": 52,
    "CALL": 53,
    "CALL_KW": 57,
    "COPY_FREE_VARS": 62,
    "EXTENDED_ARG": 71,
    "IMPORT_FROM": 74,
    "IMPORT_NAME": 75,
    "JUMP_FORWARD": 79,
    "LIST_EXTEND": 81,
    "LOAD_ATTR": 82,
    "LOAD_CONST": 83,
    "LOAD_DEREF": 84,
    "LOAD_FAST": 85,
    "LOAD_FAST_LOAD_FAST": 88,
    "LOAD_GLOBAL": 91,
    "POP_JUMP_IF_FALSE": 97,
    "POP_JUMP_IF_TRUE": 100,
    "STORE_FAST": 110,
    "STORE_FAST_LOAD_FAST": 111,
    "STORE_FAST_STORE_FAST": 112,
    "SWAP": 115,
    "UNPACK_SEQUENCE": 117,
    "RESUME": 149,
}

CACHES_3_11 = {
    "BINARY_SUBSCR": 4,
    "UNPACK_SEQUENCE": 1,
    "LOAD_ATTR": 4,
    "LOAD_GLOBAL": 5,
    "LOAD_METHOD": 10,
    "PRECALL": 1,
    "CALL": 4,
    "BINARY_OP": 1,
}
CACHES = {
    "BINARY_SUBSCR": 1,
    "UNPACK_SEQUENCE": 1,
    "LOAD_ATTR": 9,
    "LOAD_GLOBAL": 4,
    "CALL": 3,
    "BINARY_OP": 1,
}
CACHES_3_13 = {**CACHES, "TO_BOOL": 3, "POP_JUMP_IF_FALSE": 1, "POP_JUMP_IF_TRUE": 1}
"""Words that follow an instruction, of zeros where it was never run."""


@dataclass(frozen=True, slots=True)
class Python:
    """How one or more versions of Python write instructions. `is_words` says that each takes two
    bytes; before, an argument took two more. `counts_words` says that where a jump leads is counted
    in words. `counts_pairs` is of calls whose number holds that of the keywords, `finds_null` of
    names that are told with a NULL for a call to come."""

    version: str
    layout: Layout
    opcodes: Mapping[str, int]
    is_words: bool = True
    caches: Mapping[str, int] = field(default_factory=dict)
    counts_words: bool = False

    @property
    def counts_pairs(self) -> bool:
        return not self.is_words

    @property
    def finds_null(self) -> bool:
        return self.layout == "3.11"

    @property
    def marks_methods(self) -> bool:
        return self.version in ("3.12", "3.13")


PYTHONS = (
    Python("2.7", "2", PYTHON_2, is_words=False),
    Python("3.4", "3.4", BEFORE_3_11, is_words=False),
    Python("3.6", "3.4", CALLS_BY_NAME),
    Python("3.7", "3.4", METHODS),
    Python("3.8", "3.8", METHODS),
    Python("3.9", "3.8", EXTENDED_LISTS),
    Python("3.10", "3.8", EXTENDED_LISTS, counts_words=True),
    Python("3.11", "3.11", PYTHON_3_11, caches=CACHES_3_11),
    Python("3.12", "3.11", PYTHON_3_12, caches=CACHES),
    Python("3.13", "3.11", PYTHON_3_13, caches=CACHES_3_13),
)

HAS_ARGUMENT = 90
"""Instructions from here on have an argument, in the Pythons that leave it out elsewhere."""

OPERATORS = ("+", "&", "//", "<<", "@", "*", "%", "|", "**", ">>", "-", "/", "^")
"""What the number of a BINARY_OP means; those in place follow in the same order."""


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction, the place of the next one behind its caches, and where it may jump to."""

    place: int
    name: str
    argument: int
    next: int

    def target(self, python: Python) -> int:
        unit = 2 if python.counts_words or python.finds_null else 1
        is_far = self.name != "JUMP_FORWARD" and not python.finds_null
        return self.argument * unit + (0 if is_far else self.next)


def instructions(code: bytes, python: Python) -> Iterator[Step]:
    """Each instruction. Raises CodeError at one that this Python has not, or that no straight code
    consists of."""
    names = {number: name for name, number in python.opcodes.items()}
    place, extended, begin = 0, 0, 0
    for _ in range(MAX_INSTRUCTIONS):
        if place == len(code):
            return
        number = code[place]
        name = names.get(number)
        if name is None:
            raise CodeError(f"its instruction {number} is not of straight code", place)
        size = 2 if python.is_words else 3 if number >= HAS_ARGUMENT else 1
        argument = int.from_bytes(code[place + 1 : place + size], "little") | extended
        place += size + 2 * python.caches.get(name, 0)
        if place > len(code) or any(code[place - 2 * python.caches.get(name, 0) : place]):
            raise CodeError("its instructions are not whole")
        extended = argument << 8 if name == "EXTENDED_ARG" else 0
        if extended > 0xFFFF00:
            raise CodeError("it has an argument that is too large")
        if name != "EXTENDED_ARG":
            yield Step(begin, name, argument, place)
            begin = place
    raise CodeError(f"it has more than {MAX_INSTRUCTIONS} instructions")
