"""How Keras writes a model's configuration: Keras 1, 2 and 3 in one set of questions.

Sources: keras 1.2.2 and 2.3.1 `engine/topology.py`, `engine/network.py`; keras 3.15
`src/models/functional.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from converter.files.kinds import SettingError, whole

Config = Mapping[str, Any]


NARROW = ("mixed_float16", "mixed_bfloat16", "float16", "bfloat16")
"""Keras' names of policies whose layers compute in half precision (`keras.mixed_precision`)."""


def epsilons(config: Any) -> dict[str, float]:
    """`{layer: epsilon}` of every batch norm in a configuration, those of nested models too."""
    found: dict[str, float] = {}
    for layer in all_layers(config):
        inner = layer.get("config")
        if isinstance(inner, dict) and isinstance(inner.get("epsilon"), float):
            found[layer_name(layer)] = inner["epsilon"]
    return found


KERAS_PACKAGES = ("keras", "tf_keras", "builtins")


def class_of(config: Config) -> str:
    """The class of a layer or another object: the bare name is Keras' own. Of a project's it has a
    package in front, `Mine>Conv2D`, as an `.h5` writes one that is registered; Keras 3 writes that
    beside the name, or the module that the class is from."""
    name, module = str(config.get("class_name")), config.get("module")
    registered = config.get("registered_name")
    if ">" in name:
        return name
    if registered not in (None, name):
        return str(registered) if ">" in str(registered) else f"{registered}>{name}"
    is_own = not module or str(module).split(".")[0] in KERAS_PACKAGES
    return name if is_own else f"{module}>{name}"


def function_named(value: Any) -> Any:
    """The name of a function where Keras 3 wrote it as an object, a project's own with its package
    in front; anything else as it is."""
    if not isinstance(value, dict) or value.get("class_name") != "function":
        return value
    said = value.get("config")
    return said if class_of(value) == "function" else f"{class_of(value)}>{said}"


MODELS = ("Model", "Functional", "Sequential")


def is_model(config: Config) -> bool:
    """Whether a layer's configuration is that of a nested model."""
    inner = config.get("config")
    listed = isinstance(inner, list) or (isinstance(inner, dict) and "layers" in inner)
    return config.get("class_name") in MODELS or listed


def is_operator(config: Config) -> bool:
    """Whether a layer's configuration is that of an operator on tensors (Keras 3). An `.h5` has
    no modules; operators are never trainable, and the base of all layers writes whether they are
    (keras 3.15 `src/layers/layer.py`, get_config)."""
    if ">" in str(config.get("class_name")):  # `package>Name`: a registered class
        return False
    if "module" in config:
        return str(config["module"]).startswith("keras.src.ops")
    inner, calls = config.get("config"), config.get("inbound_nodes") or ()
    is_keras_3 = any(isinstance(call, dict) for call in calls)
    return is_keras_3 and isinstance(inner, dict) and "trainable" not in inner


def model_layers(config: Config) -> Sequence[Config]:
    """The layer configurations of a model; Keras before 2.2.3 wrote a Sequential as a list."""
    inner = config["config"]
    return inner if isinstance(inner, list) else inner["layers"]


def all_layers(config: Any) -> Iterator[Config]:
    """The layers of a model that are no models, those of nested models too."""
    for layer in model_layers(config):
        if is_model(layer):
            yield from all_layers(layer)
        else:
            yield layer


CODE = ("Lambda", "LambdaMerge", "MaskedLambda", "__lambda__")
"""Classes that run code which is in the file."""

CODE_TYPES = ("function_type", "mode_type", "output_shape_type")
"""Settings that say 'lambda' where a layer has such code (keras 1.2.2 `engine/topology.py`, Merge;
`layers/core.py`, Lambda)."""


def with_code(config: Any) -> list[str]:
    """The layers of a model, and whatever within them, that would run code which is in the file."""
    return [layer_name(layer) for layer in all_layers(config) if _holds_code(layer)]


def _holds_code(value: Any) -> bool:
    if isinstance(value, dict):
        is_code = str(value.get("class_name")).rpartition(">")[2] in CODE
        is_code = is_code or any(value.get(key) == "lambda" for key in CODE_TYPES)
        return is_code or any(map(_holds_code, value.values()))
    return isinstance(value, list) and any(map(_holds_code, value))


def layer_name(config: Config) -> str:
    """A layer's name: beside its class in functional models, inside its config elsewhere."""
    inner = config.get("config")
    name = config.get("name")
    if name is None and isinstance(inner, dict):
        name = inner.get("name")
    return str(name if name is not None else config["class_name"])


KERAS_TENSOR = "__keras_tensor__"
"""The class of what stands for a tensor in a call of Keras 3."""

CONSTANT = "_CONSTANT_VALUE"
"""What stands for a tensor where an operator's first argument is none: `2 * x`, `1 - x`."""


def is_reference(value: Any) -> bool:
    """Whether an argument is a tensor of the graph: `["add_3", 0, 0]`."""
    return isinstance(value, list) and len(value) == 3 and isinstance(value[0], str)


Reference = tuple[str, int, int]
"""(layer, which of its calls, which of that call's outputs)."""

MAX_CALLS = 20_000


def references(value: Any) -> list[str]:
    return [name for name, _, _ in reference_list(value)]


def reference_list(value: Any) -> list[Reference]:
    """`[["a", 0, 0], …]`; Keras 3 writes `["a", 0, 0]` for a single one, or a dict by name, whose
    tensors it counts in the order of the names (keras 3.15 `src/ops/function.py`, tree.flatten;
    tf.nest in Keras 2), whatever the order in which they are written."""
    if isinstance(value, dict):
        value = [value[name] for name in sorted(value)]
    if value and isinstance(value[0], str):
        value = [value]
    tensors = [one for one in value if one[0] != CONSTANT]
    return [_reference(*one[:3]) for one in tensors]


def _reference(name: Any, call: Any, tensor: Any) -> Reference:
    call, tensor = (whole(one, "a reference", 0, MAX_CALLS) for one in (call, tensor))
    return str(name), call, tensor


def inbound(layer: Config) -> list[list[Reference]]:
    """For each call of a layer, the tensors it reads, in any of the three ways to write them; those
    that are passed by keyword come last."""
    found = []
    for call in layer.get("inbound_nodes") or []:
        if isinstance(call, dict) and "args" in call:
            given = [_in_order(layer, one) for one in call["args"]]
            found.append(list(_keras_3_references([given, call.get("kwargs")])))
        elif isinstance(call, dict):
            found.append(reference_list(_in_order(layer, call)))
        else:
            others = call_arguments(call).values()
            extra = [one for one in others if is_reference(one)]
            found.append([*reference_list(call), *reference_list(extra)])
    return found


def _in_order(layer: Config, given: Any) -> Any:
    """Values that a model is called with by its inputs' names, in the order of these; anything else
    as it is. Raises SettingError for other names."""
    if not isinstance(given, dict) or given.get("class_name") == KERAS_TENSOR:
        return given
    inner = layer["config"]
    listed = inner.get("input_layers") if isinstance(inner, dict) else None
    order = references(listed) if isinstance(listed, list) else sorted(listed or given)
    if sorted(order) != sorted(given):
        raise SettingError(
            f"{layer_name(layer)!r} is called with values for {sorted(given)}, and its inputs are "
            f"{sorted(order)}"
        )
    return [given[name] for name in order]


def keywords(call: Any) -> Config:
    """The constants that a call of a layer passes by keyword, by name."""
    given = call.get("kwargs") if isinstance(call, dict) else call_arguments(call)
    plain = given if isinstance(given, dict) else {}
    is_told = {name: one for name, one in plain.items() if one is not None and name != "training"}
    return {name: one for name, one in is_told.items() if not _holds_tensor(one)}


def _holds_tensor(value: Any) -> bool:
    return is_reference(value) or any(_keras_3_references(value))


def is_keras_tensor(value: Any) -> bool:
    """Whether an argument of a call of Keras 3 stands for a tensor."""
    return isinstance(value, dict) and value.get("class_name") == KERAS_TENSOR


def first_argument(call: Any) -> Any:
    """The constant that a Keras 2 operator has on its left; None where a tensor stands there."""
    is_constant = bool(call) and call[0] == CONSTANT and len(call) > 2
    return call[2] if is_constant else None


def call_arguments(call: Any) -> Config:
    """What Keras 2 passes in a call beside its first tensors."""
    first: Any = call if call and isinstance(call[0], str) else call[0] if call else ()
    return first[3] if len(first) > 3 and isinstance(first[3], dict) else {}


def _keras_3_references(value: Any) -> Iterator[Reference]:
    if isinstance(value, dict) and value.get("class_name") == KERAS_TENSOR:
        name, call, tensor = value["config"]["keras_history"]
        yield _reference(name, call, tensor)
    elif isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _keras_3_references(one)


def is_channels_first(config: Config) -> bool:
    """Whether a layer says that channels come first, or the one that it holds."""
    if config.get("data_format") == "channels_first" or config.get("dim_ordering") == "th":
        return True
    held = config.get("layer")
    inner = held.get("config") if isinstance(held, dict) else None
    return isinstance(inner, dict) and inner.get("data_format") == "channels_first"
