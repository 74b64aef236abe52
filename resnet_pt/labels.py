"""Names of classes: ImageNet's, and a project's own from the files in which projects keep them.

`imagenet.txt` holds a synset and a name a line, in the order of the logits. They are those of
keras_hub 0.32 (`utils/imagenet/imagenet_utils.py`, Apache-2.0), which are those that
`decode_predictions` of keras.applications downloads; the synsets are in the order of timm 1.0.31,
the names those of torchvision 0.29 (which renames the second `crane` and the second `maillot`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

from resnet_pt.architecture import Architecture, Output
from resnet_pt.program import Output as Returned
from resnet_pt.program import Program
from resnet_pt.regular import read_text

MAX_FILE = 16 * 2**20
"""Bytes of a file of labels."""


class Label(NamedTuple):
    """A class: its name, and ImageNet's synset where there is one."""

    name: str
    synset: str = ""


Labels = tuple[Label, ...]


def imagenet() -> Labels:
    """The 1000 classes, as Keras spells them (`great_white_shark`)."""
    lines = (resources.files("resnet_pt") / "imagenet.txt").read_text().splitlines()
    return tuple(Label(name, synset) for synset, name in (line.split() for line in lines))


def named(network: Architecture | Program, labels: Labels) -> dict[str, Labels]:
    """The labels of each output that has classes, one a logit: the given ones (a single sigmoid
    takes two: what it is not, and what it is), or numbers where they are ().

    Raises ValueError for another number of labels than of classes.
    """
    found = {}
    for output, count in classes(network, bool(labels)):
        wanted = (1, 2) if is_binary(output, count) else (count,)
        if labels and len(labels) not in wanted:
            raise ValueError(f"{len(labels)} labels for the {count} classes of {output.name!r}")
        found[output.name] = labels or tuple(Label(str(index)) for index in range(count))
    return found


def classes(
    network: Architecture | Program, are_named: bool = False
) -> Iterator[tuple[Output | Returned, int]]:
    """(output, how many) for each output that has classes: of a general network a vector with a
    softmax or a sigmoid, or, where a person names its classes and there is no such, any vector."""
    if isinstance(network, Architecture):
        counted = ((output, network.logits(output)) for output in network.outputs)
        yield from ((output, count) for output, count in counted if count is not None)
        return
    shapes = network.shapes()
    vectors = [
        (output, shapes[output.value][0] or 0)
        for output in network.outputs
        if len(shapes[output.value]) == 1 and shapes[output.value][0]
    ]
    scored = [one for one in vectors if one[0].activation != "linear"]
    yield from scored or (vectors if are_named else [])


def is_binary(output: Output | Returned, count: int) -> bool:
    return count == 1 and output.activation == "sigmoid"


def read_labels(path: Path) -> Labels:
    """The labels in a file, in the order of the logits: one a line; or JSON, as a list, as
    `{"0": "cat"}`, as `{"cat": 0}` (Keras' `class_indices`) or as `{"0": ["n02123045", "tabby"]}`
    (Keras' `imagenet_class_index.json`).

    Raises OSError, and ValueError for a file that is none of these.
    """
    text = read_text(path, MAX_FILE, "utf-8-sig")
    if path.suffix == ".json":
        try:
            return tuple(map(_label, _in_order(json.loads(text))))
        except RecursionError as error:
            raise ValueError("it is nested too deep") from error
    return tuple(Label(line.strip()) for line in text.splitlines() if line.strip())


def _in_order(data: Any) -> list[Any]:
    if isinstance(data, list):
        return data
    if not isinstance(data, dict):
        raise ValueError("neither a list nor a table of labels")
    numbered = all(type(value) is int for value in data.values())
    by_number = {v: k for k, v in data.items()} if numbered else {int(k): data[k] for k in data}
    if sorted(by_number) != list(range(len(data))):
        raise ValueError(f"its {len(data)} classes are not numbered from 0 to {len(data) - 1}")
    return [by_number[number] for number in range(len(data))]


def _label(value: Any) -> Label:
    match value:
        case str(name):
            return Label(name)
        case [str(synset), str(name)]:
            return Label(name, synset)
    raise ValueError(f"{value!r} is no label")
