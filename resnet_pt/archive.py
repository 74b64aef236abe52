"""A torch archive, looked at before torch reads it.

torch inflates what is compressed, takes the last of two members of one name, checks no checksum
(pytorch#28858), and its restricted unpickler has let more through than it should
(CVE-2025-32434, CVE-2026-24747). What a plain `state_dict` needs is little, so only that is let
through here.
"""

from __future__ import annotations

import os
import pickletools
import zipfile
from pathlib import Path

MAX_PICKLE = 64 * 2**20
"""Bytes of the pickle: names, shapes and the description; the numbers lie beside it."""

MAX_OPCODES = 1_000_000
"""Of the pickle; a ResNet-152 has 50,000. torch's restricted unpickler is written in Python."""
MAX_DIRECTORY = 4 * 2**20
"""Bytes of an archive's list of its members, each of which becomes an object."""

GLOBALS = frozenset(
    [
        "collections OrderedDict",
        "torch._utils _rebuild_tensor_v2",
        *(f"torch {kind}Storage" for kind in ("Float", "Double", "Half", "BFloat16", "Long")),
    ]
)
"""Everything that the pickle of a `state_dict` of floating-point tensors names."""

FLAGS = {"GLOBAL", "STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"}
"""Opcodes that name or make objects."""


def check_archive(path: Path) -> None:
    """ValueError, saying what, if the archive holds more than a plain `state_dict`."""
    try:
        check_directory(path)
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_members(members, os.path.getsize(path))
            pickles = [one for one in members if one.filename.endswith("/data.pkl")]
            if len(pickles) != 1 or pickles[0].file_size > MAX_PICKLE:
                raise ValueError("it has no data.pkl, or too large a one")
            _check_pickle(archive.read(pickles[0]))
    except (zipfile.BadZipFile, EOFError, NotImplementedError, OverflowError) as error:
        raise ValueError(f"it is damaged: {error}") from error


def check_directory(path: Path) -> None:
    """ValueError for an archive with more members than a converted file or a record has, before
    they are read. The list's length stands at the archive's end (APPNOTE 4.3.14 and 4.3.16)."""
    with path.open("rb") as file:
        file.seek(max(0, os.path.getsize(path) - END))
        tail = file.read(END)
    lengths = [tail[at + 12 : at + 16] for at in _places(tail, b"PK\x05\x06")]
    lengths += [tail[at + 40 : at + 48] for at in _places(tail, b"PK\x06\x06")]
    known = [int.from_bytes(one, "little") for one in lengths if one != b"\xff" * 4]
    if max(known, default=0) > MAX_DIRECTORY:
        raise ValueError("its list of members is too long")


END = 2**16 + 200
"""Bytes at an archive's end within which its last records stand, with the longest comment."""


def _places(content: bytes, magic: bytes) -> list[int]:
    """Where a record may begin; the last one is the archive's."""
    at = content.rfind(magic)
    return [at] if at >= 0 else []


def check_sums(path: Path) -> None:
    """ValueError if a member's bytes are not those that its checksum was made of."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"it is damaged: {damaged} is not what was written")


def _check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    names = [one.filename for one in members]
    if len(set(names)) != len(names):
        raise ValueError("it has two members of one name")
    if any(one.compress_type != zipfile.ZIP_STORED for one in members):
        raise ValueError("it is compressed, and torch writes no such files")
    if sum(one.file_size for one in members) > size:
        raise ValueError("its members overlap")


def _check_pickle(content: bytes) -> None:
    for number, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if number > MAX_OPCODES:
            raise ValueError("its pickle is too long")
        if opcode.name in FLAGS and (opcode.name != "GLOBAL" or argument not in GLOBALS):
            raise ValueError(f"its pickle asks for {argument or opcode.name}")
