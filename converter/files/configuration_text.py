"""The text of a Keras configuration, JSON or YAML, as data: `parse` is given a stranger's bytes.

Nothing in it is run. YAML is held to what Keras 1 and 2 wrote: plain values, anchors, and
`!!python/tuple`; any other tag makes an object, and is refused by its name before one is made.

Sources: keras 1.2.2 and 2.2.4 `engine/topology.py`, `engine/network.py` (`to_json`, `to_yaml`,
`get_config`); PyYAML `yaml.dump`, which writes tuples and repeated lists so.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from converter.errors import MismatchError, SourceError, UnsafeError
from converter.files.model_config import is_model

Config = Mapping[str, Any]

MAX_BYTES = 16 * 2**20
"""Of the text; an Inception-ResNet has 0.4 MB."""
MAX_DEPTH = 100
"""Of lists and dicts within each other; eight nested models come to 60."""
MAX_VALUES = 1_000_000
"""Of everything, what stands behind an alias counted each time; a ResNet-152 has 50,000."""
MAX_LAYERS = 20_000
"""Of all models in it."""

TUPLE = "tag:yaml.org,2002:python/tuple"
PLAIN = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ["map", "seq", "str", "int", "float", "bool", "null"]
)

AS_JSON = "write it as JSON on the old machine: open('model.json', 'w').write(model.to_json())"


def parse(content: bytes) -> Config:
    """The configuration in a text: `{'class_name': …, 'config': …}`, as `to_json` writes it.

    What `get_config` gives is taken too (its class is told by what is in it), and a text that was
    written as JSON once more. Raises SourceError for what is no configuration, UnsafeError for
    what is over a limit or would make an object, MismatchError for a model of Keras 0.
    """
    if len(content) > MAX_BYTES:
        raise UnsafeError(f"a configuration of {len(content):,} bytes: over {MAX_BYTES:,}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SourceError("it is no text in UTF-8, and so no configuration") from None
    value = _parsed(text)
    check_bounds(value)
    return _as_model(value)


def _parsed(text: str) -> Any:
    if text.lstrip()[:1] not in ("{", "[", '"'):
        return _yaml(text)
    value = _json(text)
    return _json(value) if isinstance(value, str) else value


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise _too_deep() from None
    except ValueError as error:
        raise SourceError("the configuration is not valid JSON", [str(error)[:200]]) from error


def _too_deep() -> UnsafeError:
    return UnsafeError(f"the configuration is nested deeper than {MAX_DEPTH}")


def check_bounds(value: Any) -> None:
    """Raise UnsafeError for a value of lists and dicts that is too deep or has too many members
    or layers, SourceError for one that JSON has not."""
    waiting, values, layers = [(value, 0)], 0, 0
    while waiting:
        one, depth = waiting.pop()
        values += 1
        if depth > MAX_DEPTH:
            raise _too_deep()
        if values > MAX_VALUES:
            raise UnsafeError(f"the configuration has more than {MAX_VALUES:,} values")
        inner: Iterable[Any] = ()
        if isinstance(one, dict):
            if not all(isinstance(key, str) for key in one):
                raise SourceError("the configuration has a key that is no text")
            layers += len(one["layers"]) if isinstance(one.get("layers"), list) else 0
            inner = one.values()
        elif isinstance(one, list):
            inner = one
        elif not (one is None or isinstance(one, str | bool | int | float)):
            raise SourceError(f"the configuration holds a {type(one).__name__}, which JSON has not")
        if layers > MAX_LAYERS:
            raise UnsafeError(f"the configuration has more than {MAX_LAYERS:,} layers")
        waiting += [(member, depth + 1) for member in inner]


# ---- what it says


def _as_model(value: Any) -> Config:
    """A whole model's configuration, its class around it."""
    if isinstance(value, dict) and isinstance(value.get("class_name"), str) and "config" in value:
        return value
    if isinstance(value, dict) and isinstance(value.get("layers"), list):
        if not all(isinstance(one, dict) and "class_name" in one for one in value["layers"]):
            raise _of_keras_0(value)
        return {"class_name": "Model" if "input_layers" in value else "Sequential", "config": value}
    is_sequential = (
        isinstance(value, list)
        and value
        and all(isinstance(one, dict) and "class_name" in one for one in value)
    )
    if is_sequential:
        return {"class_name": "Sequential", "config": value}
    if isinstance(value, dict) and value.get("name") == "Graph":
        raise _of_keras_0(value)
    if isinstance(value, dict) and "weight_map" in value:
        raise SourceError("it is a list of shards of weights, and no configuration")
    found = ", ".join(map(repr, list(value)[:6])) if isinstance(value, dict) else ""
    raise SourceError(
        "it is no configuration of a Keras model",
        [f"it holds {found}" if found else f"it is a {type(value).__name__}"],
        [AS_JSON],
    )


def _of_keras_0(value: Config) -> MismatchError:
    return MismatchError(
        f"it is the configuration of a {value.get('name', 'model')!s} of Keras 0, whose layers do "
        "not say what they read",
        hints=["build the model in Keras 1 or later, load the weights, and write its to_json()"],
    )


def is_model_of_layers(config: Config) -> bool:
    """Whether a configuration lists its layers; that of a model class of its own does not."""
    return is_model(config)


# ---- YAML


def _yaml(text: str) -> Any:
    try:
        import yaml
    except ImportError:
        raise SourceError(
            "the configuration is no JSON, and YAML needs PyYAML, which is not installed"
        ) from None
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc]
        """Plain values; a tuple is a list, as JSON has it."""

    Loader.add_constructor(TUPLE, lambda loader, node: loader.construct_sequence(node, deep=True))
    try:
        _check_events(yaml, text)
        return yaml.load(text, Loader=Loader)
    except RecursionError:
        raise _too_deep() from None
    except (yaml.YAMLError, ValueError, TypeError) as error:
        words = " ".join(str(error).split())
        raise SourceError("the configuration is neither JSON nor YAML", [words[:200]]) from error


def _check_events(yaml: Any, text: str) -> None:
    """Refuse tags, depth, and aliases that multiply, before anything is made of a text."""
    base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    sizes: dict[str, int] = {}
    opened: list[tuple[str | None, int]] = []  # (anchor, values before it)
    values = 0
    for event in yaml.parse(text, Loader=base):
        if isinstance(event, yaml.events.AliasEvent):
            if event.anchor not in sizes:
                raise UnsafeError(f"the alias *{event.anchor} is within what it stands for")
            values += sizes[event.anchor]
        elif isinstance(event, yaml.events.CollectionStartEvent):
            _check_tag(event.tag)
            opened.append((event.anchor, values))
            values += 1
        elif isinstance(event, yaml.events.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor:
                sizes[anchor] = values - before
        elif isinstance(event, yaml.events.ScalarEvent):
            _check_tag(event.tag)
            values += 1
            if event.anchor:
                sizes[event.anchor] = 1
        if len(opened) > MAX_DEPTH:
            raise _too_deep()
        if values > MAX_VALUES:
            raise UnsafeError(
                f"the configuration has more than {MAX_VALUES:,} values, aliases counted"
            )


def _check_tag(tag: str | None) -> None:
    """Refuse a tag that makes something else than plain values."""
    if tag in (None, TUPLE) or tag in PLAIN:
        return
    shown = f"!!{tag.removeprefix('tag:yaml.org,2002:')}" if tag.startswith("tag:yaml") else tag
    if "numpy" in shown:
        raise UnsafeError(
            f"the YAML holds an object of numpy ({shown}): to read it, its code would be run",
            hints=[AS_JSON],
        )
    raise UnsafeError(f"the YAML makes an object ({shown}), which is not done", hints=[AS_JSON])
