"""What `predict` is given to look at: pictures, folders of them, and arrays of numpy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from converter.errors import SourceError, UsageError, why_unread
from converter.files.checkpoint import Array
from converter.files.npz import read_array, read_arrays

if TYPE_CHECKING:
    from resnet_pt.ops import Shape
    from resnet_pt.predict import Example
    from resnet_pt.program import Input

ARCHIVE, ARRAY = b"PK\x03\x04", b"\x93NUMPY"
"""How an `.npz` and an `.npy` begin."""

Item = tuple[str, "Path | Array"]
"""(what it is called, a picture's file or one array without its batch)."""


def examples(given: Sequence[Path], inputs: Sequence[Input]) -> list[Example]:
    """The examples in what a person gives for a network with these inputs.

    Of several inputs each is given as NAME=PATH, or all by their names in one `.npz`. Raises
    UsageError for what does not go with the inputs, SourceError for arrays that cannot be read and
    for folders without pictures.
    """
    from resnet_pt.predict import Example

    found = [list(_items(one, paths)) for one, paths in _by_input(given, inputs)]
    counts = [len(items) for items in found]
    if len(set(counts)) > 1:
        told = ", ".join(f"{n} of {one.name}" for one, n in zip(inputs, counts, strict=True))
        raise UsageError(f"each example has one of each input, and there are {told}")
    if not counts[0]:
        raise SourceError(f"no pictures in {', '.join(map(str, given))}")
    return [
        Example(" + ".join(dict.fromkeys(name for name, _ in row)), tuple(one for _, one in row))
        for row in zip(*found, strict=True)
    ]


Source = tuple[Path, str]
"""(file, the array in it: '' for a picture, a folder, or the only one)."""


def _by_input(
    given: Sequence[Path], inputs: Sequence[Input]
) -> Iterator[tuple[Input, list[Source]]]:
    """Each input with the files that are given for it."""
    if len(inputs) == 1:
        yield inputs[0], [(path, "") for path in given]
        return
    if len(given) == 1 and starts_with(given[0], ARCHIVE):
        yield from ((one, [(given[0], one.name)]) for one in inputs)
        return
    names = [one.name for one in inputs]
    pairs = [_named(str(path), names) for path in given]
    missing = [name for name in names if name not in [pair[0] for pair in pairs]]
    if missing:
        raise UsageError(f"nothing is given for input {missing[0]!r}", hints=[by_name(names)])
    for one in inputs:
        yield one, [(path, "") for name, path in pairs if name == one.name]


def _named(text: str, names: Sequence[str]) -> tuple[str, Path]:
    for name in names:
        if text.startswith(f"{name}="):
            return name, Path(text.removeprefix(f"{name}="))
    raise UsageError(f"{text}: the network has {len(names)} inputs", hints=[by_name(names)])


def by_name(names: Sequence[str]) -> str:
    """How several inputs are given, for a person."""
    listed = " ".join(f"'{name}=FILE'" for name in names)
    return f"give each by its name, {listed}, or one .npz that holds arrays of these names"


def _items(one: Input, sources: Sequence[Source]) -> Iterator[Item]:
    from resnet_pt.predict import find_pictures

    for path, name in sources:
        if starts_with(path, ARCHIVE) or starts_with(path, ARRAY):
            yield from _rows(path, _array(path, one, name), one.shape)
        else:
            yield from ((str(picture), picture) for picture in find_pictures([path]))


def starts_with(path: Path, start: bytes) -> bool:
    """How a plain file begins; False of any other, which its reader says."""
    from resnet_pt.regular import open_regular

    try:
        with open_regular(path, 2**40) as file:
            return file.read(len(start)) == start
    except OSError:
        return False


def _array(path: Path, one: Input, wanted: str) -> Array:
    """The array for an input in an `.npy` or `.npz`: the only one of that, or the one of the
    input's name, or what a record has for it."""
    try:
        if starts_with(path, ARRAY):
            return read_array(path)
        found = read_arrays(path, lambda name: True)
    except (OSError, ValueError) as error:
        raise SourceError(f"{path} cannot be read: {why_unread(error)}") from error
    names = [one.name, f"input/{one.name}", *([] if wanted else ["input"])]
    for name in names:
        if name in found:
            return found[name]
    if len(found) == 1 and not wanted:
        return next(iter(found.values()))
    raise UsageError(
        f"{path} has no array {one.name!r}: it has {', '.join(map(repr, found)) or 'none'}"
    )


def _rows(path: Path, array: Array, shape: Shape) -> Iterator[Item]:
    """The examples in an array, (N, H, W, C) as Keras has them, or one without the batch. Raises
    UsageError where it is neither."""
    if array.dtype.kind not in "fiub":
        raise UsageError(f"{path} holds {array.dtype}, and no numbers")
    keras = (*shape[1:], shape[0]) if len(shape) > 2 else shape
    if array.ndim == len(keras) and _fits(array.shape, keras):
        array = array[None]
    if array.ndim != len(keras) + 1 or not _fits(array.shape[1:], keras):
        hints = ["the batch comes first, and the channels last, as in Keras"]
        wanted = ", ".join(["N", *("any" if side is None else str(side) for side in keras)])
        raise UsageError(f"{path} is {array.shape}, and the network reads ({wanted})", hints=hints)
    for number, row in enumerate(array):
        yield f"{path}[{number}]", row


def _fits(found: Sequence[int], wanted: Shape) -> bool:
    """Whether the channels of a map, or all of another value, are as they are stated."""
    stated = list(zip(found, wanted, strict=True))
    return all(b in (None, a) for a, b in (stated[-1:] if len(wanted) > 2 else stated))


def gathered(values: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """All examples' outputs as arrays with a batch. Raises UsageError where they differ in size."""
    import numpy as np

    found = {}
    for name in values[0] if values else ():
        shapes = dict.fromkeys(one[name].shape for one in values)
        if len(shapes) > 1:
            told = " and ".join(map(str, list(shapes)[:2]))
            raise UsageError(
                f"--out: {name!r} is {told}, which is no one array",
                hints=["give inputs of one size (--size HxW for pictures)"],
            )
        found[name] = np.stack([one[name] for one in values])
    return found
