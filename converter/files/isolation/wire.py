"""What the reader's process and its caller say to each other, over two pipes.

The caller writes lines of JSON: first `{"path": …, "folder": …}`, then lists of numbers, each the
place of a weight in the manifest. In the first line `given` is the configuration of a file of
weights, and `is_configuration` asks for the one that a file holds, and nothing else. The child
answers in frames: a tag of four bytes, a length of eight (little-endian), and that many bytes. The
tag `json` is the manifest, `fail` a refusal, and any other the dtype of an array's raw bytes.
Nothing is pickled, and the caller trusts no answer.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from converter import errors
from converter.errors import ConvertError
from converter.files.checkpoint import ArraySource, Checkpoint, Weight

HEADER = struct.Struct("<4sQ")
MANIFEST, FAILURE = b"json", b"fail"
MAX_TEXT = 64 * 2**20
"""Bytes of a manifest or a refusal."""
MAX_NUMBERS = 2**29
"""Elements of an array."""
MAX_WEIGHTS = 100_000

OWN = ("path", "arrays", "given", "beside")
"""Fields of a checkpoint that the caller fills in itself."""


def tag(dtype: str) -> bytes:
    """The tag of an array's dtype, little-endian, as numpy spells it."""
    return dtype.encode().ljust(4)


DTYPES = {tag(dtype): dtype for dtype in ("<f2", "<f4", "<f8")}
"""The arrays that are sent, by their tag."""


class ReaderTraceback(Exception):  # noqa: N818, no error of its own
    """The child's traceback, as text: `--debug` shows it above the refusal."""


def pack_manifest(checkpoint: Checkpoint) -> bytes:
    """Everything of a checkpoint but its arrays."""
    content = {name: getattr(checkpoint, name) for name in _kinds()}
    content["weights"] = [
        {field.name: getattr(weight, field.name) for field in fields(Weight)}
        for weight in checkpoint.weights
    ]
    return json.dumps(content).encode()


def unpack_manifest(content: bytes, path: Path, arrays: ArraySource) -> Checkpoint:
    """The checkpoint, every field held against its type and bounds. ValueError if one is wrong."""
    import msgspec

    found = json.loads(content)
    values = {name: msgspec.convert(found[name], kind) for name, kind in _kinds().items()}
    if len(values["weights"]) > MAX_WEIGHTS:
        raise ValueError(f"{len(values['weights']):,} weights")
    for weight in values["weights"]:
        if min(weight.shape, default=0) < 0 or math.prod(weight.shape) > MAX_NUMBERS:
            raise ValueError(f"an array of shape {weight.shape}")
    return Checkpoint(path=path, arrays=arrays, **values)


def _kinds() -> dict[str, Any]:
    """`{field: type}` of a checkpoint, as far as it is sent."""
    return {name: kind for name, kind in get_type_hints(Checkpoint).items() if name not in OWN}


def pack_failure(error: ConvertError, cause: str = "") -> bytes:
    """A refusal in words, and the traceback behind it."""
    content = {
        "kind": type(error).__name__,
        "headline": error.headline,
        "findings": error.findings[:1000],
        "hints": error.hints,
        "cause": cause[-20_000:],
    }
    return json.dumps(content).encode()


def unpack_failure(content: bytes) -> ConvertError:
    """The refusal again, of its own class. ValueError if it is none."""
    found = json.loads(content)
    kind = getattr(errors, str(found["kind"]), None)
    if not (isinstance(kind, type) and issubclass(kind, ConvertError)):
        raise ValueError("not a refusal")
    error = kind(
        str(found["headline"]), map(str, found["findings"][:1000]), map(str, found["hints"][:4])
    )
    error.__cause__ = ReaderTraceback(str(found["cause"])) if found["cause"] else None
    return error
