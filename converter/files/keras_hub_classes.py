"""keras-hub's classes by name, and the one part of theirs that is no part of the network.

A task (`ImageClassifier`) may hold a preprocessor. Its `predict` calls it on pictures before the
network is, and Keras 3 saves it beside the network's layers, with nothing in it but the names of
what it is made of: keras-hub 0.32 `models/task.py`, preprocess_samples, and
`layers/preprocessing/image_converter.py`, whose layer is a Resizing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BACKBONE = "keras_hub>ResNetBackbone"
CLASSIFIERS = ("keras_hub>ResNetImageClassifier", "keras_hub>ImageClassifier")
"""The names that these classes are registered by; a project's own class has another package. The
second classifier is the first one's base, which takes any backbone."""

PREPROCESSOR = "preprocessor"
"""The attribute of a task, by which its group is called."""

GROUPS: tuple[tuple[str, ...], ...] = (
    (PREPROCESSOR,),
    (PREPROCESSOR, "image_converter"),
    (PREPROCESSOR, "image_converter", "resizing"),
)
"""Those of keras-hub's own preprocessor of pictures."""


def is_preprocessor(
    inside: Mapping[tuple[str, ...], bool], description: Any, has_backbone: bool
) -> bool:
    """Whether the groups under `preprocessor`, each with whether it holds arrays, are a task's:
    none holds any, and the class is in config.json; in weights alone, where it is not, the groups
    are keras-hub's own, beside its backbone."""
    if not inside or any(inside.values()):
        return False
    if isinstance(description, Mapping):
        return description.get("registered_name") in CLASSIFIERS
    return has_backbone and set(inside) <= set(GROUPS)
